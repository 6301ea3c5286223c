"""The trials of tests/endurance in short; `python -m tests.endurance` runs them in full."""

import multiprocessing
import re
import resource
import shutil
import time
from concurrent.futures import ProcessPoolExecutor
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest

from support.files import BadInput
from support.run_folder import RunFolder
from tests.endurance import fuzz, kills, together
from tests.endurance.__main__ import DOCUMENT
from tests.endurance.edits import EDITS
from tests.endurance.power_loss import Rename, Sync, list_states
from tests.endurance.trials import TRIALS, run_here


@pytest.fixture(scope="module")
def pool():
    """One fresh process for all trials, since they fork: this one may have threads."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        yield pool


@pytest.mark.parametrize("name", TRIALS)
def test_trials_come_through(name, pool):
    if name == "report" and not shutil.which("strace"):
        pytest.skip("strace, which kills at a system call, is not installed")
    outcome = pool.submit(run_here, name, TRIALS[name].few).result()
    assert outcome.cases and not outcome.faults, outcome.describe()


def test_a_rename_without_fsync_can_leave_half_a_file():
    states = list(list_states([Rename("folds/a.npz", b"whole", synced=False)]))
    assert {} in states  # the rename itself is lost
    assert {"folds/a.npz": b""} in states and {"folds/a.npz": bytes(5)} in states
    states = list(list_states([Rename("folds/a.npz", b"whole", synced=True)]))
    assert states == [{}, {"folds/a.npz": b"whole"}]
    states = list(
        list_states(
            [Rename("a", b"1", True), Sync(""), Rename("a", b"2", True), Rename("b", b"3", True)]
        )
    )
    assert {"a": b"1", "b": b"3"} in states and {"b": b"3"} not in states


def test_the_document_names_every_trial():
    table = re.search(r"<!-- trials -->\n(.*)<!-- end -->", DOCUMENT.read_text("utf-8"), re.DOTALL)
    for trial in TRIALS.values():
        assert f"| {trial.what} |" in table[1]


def test_a_reader_that_refuses_everything_is_a_fault(tmp_path, monkeypatch):
    def refuse(case):
        raise BadInput("never")

    monkeypatch.setitem(fuzz.FUZZ, "records", lambda folder: (EDITS, refuse, []))
    assert any(fuzz.try_fuzz("records", tmp_path, 3))


def test_every_case_that_takes_much_memory_is_a_fault(monkeypatch):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    monkeypatch.setattr(fuzz, "MEMORY", before + 10**8)
    size = 3 * 10**8
    faults = [fuzz.run_case(np.ones, (size // 8,)) for _ in range(2)]
    assert all(faults), faults
    assert fuzz.run_case(np.ones, (3,)) is None


def test_half_a_report_is_a_fault(tmp_path):
    expected = {"report.md": b"# whole", "predictions.csv": b"a,b"}
    (tmp_path / "report.md").write_bytes(b"# whole")
    (tmp_path / ".1.tmp.predictions.csv").write_bytes(b"a")
    assert kills.find_half(tmp_path, expected) is None
    (tmp_path / "predictions.csv").write_bytes(b"a,")
    assert kills.find_half(tmp_path, expected) == "not whole under the final name: predictions.csv"


@pytest.mark.parametrize("status, counted", [(0, 0), (1, 0), (-9, 2)])
def test_a_report_that_was_not_killed_is_no_case(tmp_path, monkeypatch, status, counted):
    def make_report(folder):
        results = folder / "place" / "results" / "trial"
        results.mkdir(parents=True)
        (results / "report.md").write_bytes(b"# whole")
        return folder / "place"

    def trace(place, options, log):
        log.write_text("7 write(1)\n7 rename()\n")
        return status

    monkeypatch.setattr(kills, "make_place", make_report)
    monkeypatch.setattr(kills, "_trace", trace)
    monkeypatch.setattr(kills, "finish", lambda *_: 0)
    monkeypatch.setattr(kills, "check_end", lambda *_, **__: None)
    monkeypatch.setattr(kills.shutil, "which", lambda name: name)
    assert len(list(kills.try_report_kills(tmp_path, 2))) == counted


def hit(folder, seconds, name):
    """In the pool: what the big weights' trial says of one kill; name: of a file that is there."""
    run = RunFolder(SimpleNamespace(RESULTS=folder, WEIGHTS=folder / "w", RUN="trial", KEEP="best"))
    run.record, run.claim = {}, lambda record, overwrite: run.weights.mkdir(parents=True)

    def save(run, result):
        (run.weights / name).write_bytes(b"half")
        time.sleep(seconds)

    with mock.patch.object(kills, "_save", save):
        return kills._write_and_kill(run, None, 20 if seconds == 0 else 2)


@pytest.mark.parametrize(
    "seconds, name, expected",
    [(60, ".1.tmp.sub01.pth", True), (60, "sub01.pth", False), (0, ".1.tmp.sub01.pth", False)],
)
def test_only_a_kill_during_the_writing_hits(tmp_path, pool, seconds, name, expected):
    assert pool.submit(hit, tmp_path, seconds, name).result() is expected


@pytest.mark.parametrize("name", ["try_evaluations", "try_two_hosts"])
def test_trials_side_by_side_that_never_meet_are_a_fault(tmp_path, monkeypatch, name):
    def make_place(folder, name="place"):
        (folder / name).mkdir(exist_ok=True)
        return folder / name

    def train(place, *_):
        (place / "results/trial").mkdir(parents=True)
        (place / "results/trial/predictions.csv").write_text("")
        alive = iter([True])
        return SimpleNamespace(
            is_alive=lambda: next(alive, False),
            exitcode=0,
            join=lambda *_: 0,
            kill=lambda: 0,
            pid=0,
        )

    def finish(place, *_):
        if not (place / "results").exists():
            train(place)
        return 2  # refused, whatever the case

    for replaced in (make_place, finish):
        monkeypatch.setattr(together, replaced.__name__, replaced)
    monkeypatch.setattr(together, "start", train)
    monkeypatch.setattr(together, "last_line", lambda place: "main_HTNet.py: refused")
    monkeypatch.setattr(together, "check_end", lambda *_: None)
    monkeypatch.setattr(together.os, "kill", lambda *_: None)
    assert any("nothing was tried" in str(fault) for fault in getattr(together, name)(tmp_path, 1))
