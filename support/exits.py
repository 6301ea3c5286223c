"""How a command ends: what goes wrong is one sentence and an exit status, no traceback."""

import signal
import sys
import threading
from contextlib import contextmanager

from support.files import BadInput


class Terminated(KeyboardInterrupt):
    """The process was asked to end, and ends as on Ctrl-C."""


STOPPED = "Stopped. What is finished is kept; the same command goes on from there."


@contextmanager
def explain_errors(script, expected=(), explain=lambda error: "", stopped=STOPPED):
    """Bad input ends with exit status 2, Ctrl-C with 130, SIGTERM (what SLURM sends) with 143.

    script: the command's name, which begins the sentence; expected: other errors whose own message
    is the sentence; explain(error): a sentence for an error of the machine, or empty; stopped: what
    is said on Ctrl-C.
    """
    previous = None
    if threading.current_thread() is threading.main_thread():
        previous = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    except (BadInput, *expected) as error:
        end(f"{script}: {error}", 2)
    except KeyboardInterrupt as stop:
        status = 143 if isinstance(stop, Terminated) else 130
        end(f"\n{stopped}", status)
    except (RuntimeError, MemoryError) as error:
        sentence = explain(error)
        if not sentence:
            raise
        end(f"{script}: {sentence}", 2)
    finally:
        if previous is not None:
            signal.signal(signal.SIGTERM, previous)


def terminate(*_):
    raise Terminated


def end(sentence, status):
    print(sentence, file=sys.stderr)
    raise SystemExit(status) from None
