"""SIGKILL while weights of half a gigabyte are written, and at each system call of the report."""

import random
import re
import shutil
import signal
import subprocess
import time
from types import SimpleNamespace

import numpy as np
import torch

from loso import FoldResult
from support.records import ADDED_LATER
from support.run_folder import RunFolder
from tests.endurance.common import (
    FORK,
    TRAIN,
    check_end,
    finish,
    make_place,
    read_tree,
    run_command,
)

PARAMETERS = 139_582_982  # HTNet at the paper's width: 558 MB
# Those that change a file: between two of them a kill finds the same disk.
CALLS = "write,pwrite64,writev,rename,renameat,renameat2,unlink,unlinkat,mkdir,mkdirat,ftruncate"
CALLS += ",fsync,fdatasync,chmod,fchmod"
DRAWS = 10  # moments of a kill at most, until one hits
SAMPLES = np.array(["sub01_a", "sub01_b"]), np.array([0, 1])


def _save(run, result):
    run.save_fold("sub01", result, *SAMPLES, 1.0, "trial")


def _find_fault(run, result):
    """What is wrong with the files of a fold that may have been interrupted, or None."""
    weights, fold = run.weights_path("sub01"), run.fold_path("sub01")
    try:
        if weights.exists():
            state = torch.load(weights, map_location="cpu", weights_only=True, mmap=True)
            if not torch.equal(state["weight"], result.state["weight"]):
                return "other weights under the final name"
        if fold.exists():
            run.load_fold("sub01", *SAMPLES, 2, 3)
            return None if weights.exists() else "a finished fold without its weights"
    except Exception as error:  # half a file can make any
        return f"half a file under the final name ({error})"
    return None


def try_big_weights(folder, count, parameters=PARAMETERS):
    """A fold's weights of 558 MB are written and the process killed, at any moment of it."""
    settings = SimpleNamespace(RESULTS=folder, WEIGHTS=folder / "w", RUN="trial", KEEP="best")
    run, choose = RunFolder(settings), random.Random(1)
    run.record = {"settings": ADDED_LATER | {"MODEL": "HTNet"}, "data": "trial"}
    state = {"weight": torch.arange(parameters, dtype=torch.float32)}
    result = FoldResult(torch.zeros(2, 2, 3), torch.zeros(2), 1, state)
    begun = time.perf_counter()
    _write_and_kill(run, result, None)  # whole, to see how long it takes
    seconds, hits = time.perf_counter() - begun, 0
    for _ in range(DRAWS * count):
        if hits == count:
            break
        if not _write_and_kill(run, result, choose.uniform(0, seconds)):
            continue  # before the first file or after the last: no case
        hits += 1
        fault = _find_fault(run, result)
        again = FORK.Process(target=_save, args=(run, result))
        again.start()
        again.join()
        if again.exitcode or not run.fold_path("sub01").exists():
            fault = fault or "the second writing failed"
        yield fault or _find_fault(run, result)


def _write_and_kill(run, result, seconds):
    """In empty folders, writes a fold and kills it after `seconds` (None: not).

    -> whether the kill hit the process while it wrote a file.
    """
    for path in (run.results, run.weights):
        shutil.rmtree(path, ignore_errors=True)
    run.claim(run.record, overwrite=False)
    process = FORK.Process(target=_save, args=(run, result))
    process.start()
    process.join(seconds)
    process.kill()
    process.join()
    written = [*run.weights.glob(".*.tmp.*"), *run.fold_path("sub01").parent.glob(".*.tmp.*")]
    return process.exitcode == -signal.SIGKILL and bool(written)


def _report_when_told(place, receiver):
    receiver.recv()
    run_command(place, TRAIN)


def _trace(place, options, log):
    """The report alone, in a process that strace follows -> its exit status (negative: a signal)"""
    receiver, sender = FORK.Pipe(duplex=False)
    process = FORK.Process(target=_report_when_told, args=(place, receiver))
    process.start()
    tracer = subprocess.Popen(
        ["strace", "-f", "-p", str(process.pid), "-o", str(log), *options],
        stderr=subprocess.PIPE,
        text=True,
    )
    tracer.stderr.readline()  # "attached"
    sender.send("go")
    process.join()
    tracer.communicate()
    return process.exitcode


def try_report_kills(folder, count):
    """All folds are finished; the report is killed at system calls that change a file, spread over
    all of them."""
    if not shutil.which("strace"):
        raise FileNotFoundError("strace is not installed")
    place, log = make_place(folder), folder / "calls.txt"
    finish(place, TRAIN)
    expected = read_tree(place / "results/trial")
    shutil.copytree(place, folder / "finished")
    _trace(place, ["-e", f"trace={CALLS}"], log)
    calls = re.findall(r"^\d+ +(\w+)\(", log.read_text(errors="replace"), re.MULTILINE)
    chosen = np.linspace(0, len(calls) - 1, min(count, len(calls))).astype(int)
    for last in chosen:
        number = calls[: last + 1].count(calls[last])  # strace counts each kind of call on its own
        shutil.rmtree(place)
        shutil.copytree(folder / "finished", place)
        for name in expected:
            if not name.startswith("folds/") and name != "settings.json":
                (place / "results/trial" / name).unlink()
        inject = f"inject={calls[last]}:signal=KILL:when={number}"
        status = _trace(place, ["-e", f"trace={CALLS}", "-e", inject], log)
        if status != -signal.SIGKILL:
            continue  # it came to its end before that call: no case
        half = find_half(place / "results/trial", expected)
        yield half or check_end(place, expected, only=tuple(expected))


def find_half(folder, expected):
    """None, or which files of a killed report are there, but not as `expected` ({name: bytes})."""
    there = read_tree(folder)
    half = [name for name, content in there.items() if content != expected.get(name)]
    return f"not whole under the final name: {', '.join(half)}" if half else None
