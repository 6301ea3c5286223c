"""Several commands in one folder: evaluation beside a training, and two hosts, one of them dying.

The hosts are two processes with host names of their own and one folder of this machine, not two
machines with a network's file system between them.
"""

import os
import random
import shutil
import signal
import time

from tests.endurance.common import (
    EVALUATE,
    TRAIN,
    check_end,
    finish,
    last_line,
    make_place,
    read_tree,
    start,
)


def _clear(*places):
    for place in places:
        for name in ("results", "weights"):
            shutil.rmtree(place / name, ignore_errors=True)


def try_evaluations(folder, count):
    """Evaluations while a training of the same run goes on, and its report afterwards."""
    place, beside = make_place(folder), make_place(folder, "beside")
    finish(place, TRAIN)
    expected = read_tree(place / "results/trial")
    for name in ("results", "weights"):
        os.symlink(place / name, beside / name)
    cases = 0
    while cases < count:
        _clear(place)
        for name in ("results", "weights"):
            (place / name).mkdir()
        training = start(place, TRAIN)
        while training.is_alive() and cases < count:
            status, cases = finish(beside, EVALUATE), cases + 1
            refused = status == 2 and last_line(beside).startswith("main_HTNet.py: ")
            yield None if status == 0 or refused else f"{status}: {last_line(beside)}"
        training.join()
        if training.exitcode:
            yield f"the training beside it ends in {training.exitcode}: {last_line(place)}"
        if read_tree(place / "results/trial")["predictions.csv"] != expected["predictions.csv"]:
            yield "another predictions.csv"


def try_two_hosts(folder, count):
    """Host a trains, host b is refused; a is killed, and b goes on to the same result."""
    place, beside = make_place(folder), make_place(folder, "beside")
    begun = time.perf_counter()
    finish(place, TRAIN, "a")
    seconds = time.perf_counter() - begun
    expected = read_tree(place / "results/trial")
    for name in ("results", "weights"):
        os.symlink(place / name, beside / name)
    choose = random.Random(1)
    for _ in range(count):
        _clear(place)
        for name in ("results", "weights"):
            (place / name).mkdir()
        first = start(place, TRAIN, "a")
        first.join(choose.uniform(0, seconds))
        if first.is_alive():
            os.kill(first.pid, signal.SIGSTOP)
        results = place / "results/trial"
        trains = any(results.glob("folds/[!.]*")) and not (results / "report.md").exists()
        status = finish(beside, TRAIN, "b")
        fault = None
        if status not in ((2,) if trains else (0, 2)):
            fault = f"host b ends in {status}: {last_line(beside)}"
        first.kill()
        first.join()
        yield fault or check_end(place, expected)
