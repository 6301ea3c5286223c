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


def _wait_for(pattern, process):
    """Returns when such a file is there, or the process has ended."""
    while process.is_alive() and not any(pattern.parent.glob(pattern.name)):
        time.sleep(0.002)


def try_evaluations(folder, count):
    """Evaluations while a training of the same run goes on, and its report afterwards."""
    place, beside = make_place(folder), make_place(folder, "beside")
    finish(place, TRAIN)
    expected = read_tree(place / "results/trial")
    for name in ("results", "weights"):
        os.symlink(place / name, beside / name)
    cases = ended_well = 0
    while cases < count:
        _clear(place)
        for name in ("results", "weights"):
            (place / name).mkdir()
        training = start(place, TRAIN)
        while training.is_alive() and cases < count:
            if cases % 2:  # at any moment; else where all weights are there and the report is drawn
                _wait_for(place / "weights/trial/s01.pth", training)
            status, cases = finish(beside, EVALUATE), cases + 1
            ended_well += status == 0
            refused = status == 2 and last_line(beside).startswith("main_HTNet.py: ")
            yield None if status == 0 or refused else f"{status}: {last_line(beside)}"
        training.join()
        if training.exitcode:
            yield f"the training beside it ends in {training.exitcode}: {last_line(place)}"
        if read_tree(place / "results/trial")["predictions.csv"] != expected["predictions.csv"]:
            yield "another predictions.csv"
    if not ended_well:
        yield "no evaluation ended well: nothing was tried"


def try_two_hosts(folder, count):
    """Host a trains, host b is refused; a is killed, and b goes on to the same result."""
    place, beside = make_place(folder), make_place(folder, "beside")
    begun = time.perf_counter()
    finish(place, TRAIN, "a")
    seconds = time.perf_counter() - begun
    expected = read_tree(place / "results/trial")
    for name in ("results", "weights"):
        os.symlink(place / name, beside / name)
    choose, refused = random.Random(1), 0
    for case in range(count):
        _clear(place)
        for name in ("results", "weights"):
            (place / name).mkdir()
        first = start(place, TRAIN, "a")
        if case == 0:  # one moment in the training for certain
            _wait_for(place / "results/trial/folds/[!.]*", first)
        else:
            first.join(choose.uniform(0, seconds))
        if first.is_alive():
            os.kill(first.pid, signal.SIGSTOP)
        results = place / "results/trial"
        trains = any(results.glob("folds/[!.]*")) and not (results / "report.md").exists()
        status = finish(beside, TRAIN, "b")
        refused += bool(trains and status == 2)
        fault = None
        if status not in ((2,) if trains else (0, 2)):
            fault = f"host b ends in {status}: {last_line(beside)}"
        first.kill()
        first.join()
        yield fault or check_end(place, expected)
    if not refused:
        yield "host b was never refused while a trained: nothing was tried"
