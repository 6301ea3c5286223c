"""Random and odd input for every reader: it succeeds or says BadInput; no traceback, no hang."""

import contextlib
import io
import os
import resource
import signal
import traceback
import warnings
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed
from hypothesis import settings as hypothesis_settings

from support.files import BadInput
from tests.endurance.run_readers import fuzz_folds, fuzz_records, fuzz_weights
from tests.endurance.table_readers import (
    fuzz_centres,
    fuzz_clips,
    fuzz_index,
    fuzz_settings,
    fuzz_sheets,
)

SECONDS = 20  # a case that takes longer is a hang
MEMORY = 10**9  # bytes
FUZZ = {
    "settings": fuzz_settings,
    "index": fuzz_index,
    "centres": fuzz_centres,
    "clips": fuzz_clips,
    "sheets": fuzz_sheets,
    "folds": fuzz_folds,
    "weights": fuzz_weights,
    "records": fuzz_records,
}


class Hang(BaseException):
    """The case took too long."""


def run_case(check, case):
    """None where the reader succeeds or says BadInput, else what happened and where."""

    def stop(*_):
        raise Hang

    signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            check(case)
    except BadInput:
        pass
    except SystemExit as stop:
        if stop.code not in (0, 2):
            return f"exit status {stop.code}"
    except (Exception, Hang) as error:
        place = traceback.extract_tb(error.__traceback__)
        ours = [f for f in place if "site-packages" not in f.filename and "/lib/" not in f.filename]
        where = f"{os.path.basename(ours[-1].filename)}:{ours[-1].lineno}"
        return f"{type(error).__name__} at {where}: {str(error)[:100]!r}"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return find_large_memory()


def find_large_memory():
    """None, or what is wrong with this process's peak, forgotten for the next case."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    if peak <= MEMORY:
        return None
    forget_peak()
    return f"more than {MEMORY / 1e9:.0f} GB"


def forget_peak():
    """This process's peak memory begins anew."""
    Path("/proc/self/clear_refs").write_text("5")


def check_unedited(check, case):
    """None, or what is wrong with a reader that refuses even a whole file."""

    def refuse_nothing(case):
        try:
            check(case)
        except (BadInput, SystemExit) as error:
            raise AssertionError(f"the unedited file is refused: {error}") from None

    return run_case(refuse_nothing, case)


def try_fuzz(name, folder, count):
    """The unedited file, then `count` cases of one reader -> a list of None or what happened."""
    forget_peak()  # of the trials before, in the same process
    strategy, check, unedited = FUZZ[name](folder)
    results = [check_unedited(check, unedited)]

    @seed(1)
    @hypothesis_settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def run(case):
        fault = run_case(check, case)
        results.append(fault and f"{fault} for {case!r:.200}")

    run()
    return results
