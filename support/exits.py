"""How a command ends: what goes wrong is one sentence and an exit status, no traceback."""

import os
import signal
import sys
import threading
from contextlib import contextmanager

from support.files import BadInput

STOPS = (signal.SIGINT, signal.SIGTERM)  # Ctrl-C, and what SLURM sends some time before it kills
LONGEST = 2000  # characters of a sentence, where what was given is longer than that


class Stopped(KeyboardInterrupt):
    """The process was asked to end, by this signal."""

    def __init__(self, number):
        super().__init__(number)
        self.number = number


STOPPED = "Stopped. What is finished is kept; the same command goes on from there."


@contextmanager
def explain_errors(script, expected=(), explain=lambda error: "", stopped=STOPPED):
    """Bad input ends with exit status 2, Ctrl-C with 130, SIGTERM with 143.

    script: the command's name, which begins the sentence; expected: other errors whose own message
    is the sentence; explain(error): a sentence for an error of the machine, or empty; stopped: what
    is said on Ctrl-C.
    """
    previous = {}
    if threading.current_thread() is threading.main_thread():
        heard = [n for n in STOPS if signal.getsignal(n) != signal.SIG_IGN]  # not behind nohup
        previous = {number: signal.signal(number, stop) for number in heard}
    try:
        yield
    except (BadInput, *expected) as error:
        end(f"{script}: {make_one_line(error)}", 2)
    except KeyboardInterrupt as error:
        end(f"\n{stopped}", 128 + getattr(error, "number", signal.SIGINT))
    except (RuntimeError, MemoryError) as error:
        sentence = explain(error)
        if not sentence:
            raise
        end(f"{script}: {make_one_line(sentence)}", 2)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler or signal.SIG_DFL)


def stop(number, _):
    """The first signal ends the program in good order; one more, such as torchrun's, at once."""
    for other in STOPS:
        signal.signal(other, lambda number, _: os._exit(128 + number))
    raise Stopped(number)


def make_one_line(sentence):
    """Text without line breaks and other control characters, cut in the middle if it is long."""
    text = "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in str(sentence)
    )
    if len(text) > LONGEST:
        text = f"{text[: LONGEST // 2]} [...] {text[-LONGEST // 2 :]}"
    return text


def end(sentence, status):
    print(sentence, file=sys.stderr)
    raise SystemExit(status) from None
