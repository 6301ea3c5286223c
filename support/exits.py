"""How a command ends: what goes wrong is one sentence and an exit status, no traceback."""

import sys
from contextlib import contextmanager

from support.files import BadInput


@contextmanager
def explain_errors(script, expected=(), explain=lambda error: ""):
    """Bad input ends with exit status 2, Ctrl-C with 130.

    script: the command's name, which begins the sentence; expected: other errors whose own message
    is the sentence; explain(error): a sentence for an error of the machine, or empty.
    """
    try:
        yield
    except (BadInput, *expected) as error:
        end(f"{script}: {error}", 2)
    except KeyboardInterrupt:
        end("\nStopped. What is finished is kept; the same command goes on from there.", 130)
    except (RuntimeError, MemoryError) as error:
        sentence = explain(error)
        if not sentence:
            raise
        end(f"{script}: {sentence}", 2)


def end(sentence, status):
    print(sentence, file=sys.stderr)
    raise SystemExit(status) from None
