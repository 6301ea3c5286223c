"""How a command ends: what goes wrong is one sentence and an exit status, no traceback."""

import sys
from contextlib import contextmanager

from support.files import BadInput


@contextmanager
def explain_errors(script):
    """Bad input and failing devices end with status 2, Ctrl-C with 130.

    script: the command's name, which begins the sentence.
    """
    try:
        yield
    except (BadInput, OSError) as error:
        end(f"{script}: {error}", 2)
    except KeyboardInterrupt:
        end("\nStopped. What is finished is kept; the same command goes on from there.", 130)
    except (RuntimeError, MemoryError) as error:
        from support.devices import (
            explain_failure,
        )  # here, since preparing databases needs no PyTorch

        if not (sentence := explain_failure(error)):
            raise
        end(f"{script}: {sentence}", 2)


def end(sentence, status):
    print(sentence, file=sys.stderr)
    raise SystemExit(status) from None
