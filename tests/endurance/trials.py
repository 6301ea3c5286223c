"""The trials, each run in a process of its own, so that its memory can be told."""

import multiprocessing
import resource
import tempfile
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tests.endurance.bombs import MAKE, try_bombs
from tests.endurance.common import use_one_thread
from tests.endurance.fuzz import FUZZ, try_fuzz
from tests.endurance.kills import try_big_weights, try_report_kills
from tests.endurance.power_loss import try_power_loss
from tests.endurance.together import try_evaluations, try_two_hosts


@dataclass(frozen=True)
class Trial:
    """run(folder, number of cases) yields for each case None, or what went wrong."""

    what: str
    run: callable
    cases: int  # in full
    few: int  # in pytest


ALL = 10**6  # as many as there are
FUZZED = {"settings": 15_000, "index": 15_000, "centres": 15_000, "clips": 15_000}
FUZZED |= {"sheets": 5_000, "folds": 15_000, "weights": 10_000, "records": 10_000}
TRIALS = {
    "power": Trial("power loss, by the state of the disk", try_power_loss, ALL, 3),
    "kills": Trial("kill while 558 MB of weights are written", try_big_weights, 12, 1),
    "report": Trial("kill at a system call of the report", try_report_kills, 40, 2),
    "bombs": Trial(
        "fold or weights that unpack to 1.6 GB or more", try_bombs, len(MAKE), len(MAKE)
    ),
    "evaluation": Trial("evaluation beside a training", try_evaluations, 20, 2),
    "hosts": Trial("two hosts, one dying", try_two_hosts, 12, 1),
} | {
    name: Trial(
        f"random input: {make.__doc__.rstrip('.')}", partial(try_fuzz, name), FUZZED[name], 100
    )
    for name, make in FUZZ.items()
}


@dataclass
class Outcome:
    """What became of a trial."""

    name: str
    cases: int = 0
    faults: list = field(default_factory=list)
    memory: float = 0.0  # GB at most in one process
    seconds: float = 0.0

    def describe(self):
        """The outcome and every kind of fault once, as text."""
        kinds = Counter(fault.split(" for ")[0] for fault in self.faults)
        lines = [f"{self.name}: {self.cases} cases, {len(self.faults)} faults"]
        for kind, number in kinds.most_common(12):
            example = next(fault for fault in self.faults if fault.startswith(kind))
            lines.append(f"  {number} x {example}")
        return "\n".join(lines)


def run_here(name, count):
    """In a process of its own -> Outcome."""
    use_one_thread()
    outcome, start = Outcome(name), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        for fault in TRIALS[name].run(Path(folder), count):
            outcome.cases += 1
            outcome.faults += [fault] if fault else []
    peaks = [resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, -1)]
    outcome.memory = max(peaks) * 1024 / 1e9
    outcome.seconds = time.perf_counter() - start
    return outcome


def run_trial(name, count):
    """A trial with `count` cases -> Outcome; a process that dies is a fault."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        try:
            return pool.submit(run_here, name, count).result()
        except BrokenProcessPool:
            return Outcome(name, faults=["the process died"])


HEADER = ("| trial | cases | faults | peak memory, GB | seconds |", "| --- " * 5 + "|")


def make_rows(outcomes):
    """{trial: a row of the table in markdown}."""
    return {
        outcome.name: f"| {TRIALS[outcome.name].what} | {outcome.cases:,} | {len(outcome.faults)} "
        f"| {outcome.memory:.1f} | {outcome.seconds:.0f} |"
        for outcome in outcomes
    }
