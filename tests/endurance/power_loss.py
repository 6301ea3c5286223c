"""Power loss: a training's renames and fsyncs are recorded, then every state is built in which a
disk may be left that drops what was not synced.

The model: what a file held may be lost (the file empty, half or full of zeros) until it is
fsynced; a rename may be lost until its folder is fsynced, each by itself. Newly made folders are
taken as kept.
"""

import contextlib
import itertools
import os
import random
import shutil
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from tests.endurance.common import FORK, TRAIN, check_end, make_place, read_tree, run_command

STATES_PER_POINT = 24  # at most, of one moment of the power loss


@dataclass(frozen=True)
class Rename:
    """A file that got its final name."""

    path: str
    content: bytes
    synced: bool  # before it was renamed

    def list_contents(self):
        if self.synced:
            return [self.content]
        size = len(self.content)
        return [self.content, b"", bytes(size), self.content[: size // 2]]


@dataclass(frozen=True)
class Sync:
    """A folder that was fsynced."""

    folder: str


@contextlib.contextmanager
def record(root):
    """In the context, fills a list with the Renames and Syncs below `root`, in their order."""
    operations, synced = [], {}
    replace, fsync = os.replace, os.fsync

    def record_replace(source, target, **options):
        content, inode = Path(source).read_bytes(), os.stat(source).st_ino
        replace(source, target, **options)
        path = os.path.relpath(target, root)
        operations.append(Rename(path, content, synced.get(inode) == content))

    def record_fsync(file):
        fsync(file)
        number = file if isinstance(file, int) else file.fileno()
        path = Path(os.readlink(f"/proc/self/fd/{number}"))
        if path.is_dir():
            operations.append(Sync(os.path.relpath(path, root)))
        else:
            synced[path.stat().st_ino] = path.read_bytes()

    with mock.patch("os.replace", record_replace), mock.patch("os.rename", record_replace):
        with mock.patch("os.fsync", record_fsync), mock.patch("os.fdatasync", record_fsync):
            yield operations


def list_states(operations):
    """Every {path: bytes} in which the disk may be left, once each; where a moment has very many,
    a random choice of them."""
    seen, choose = set(), random.Random(1)
    for end in range(len(operations) + 1):
        versions = {}  # path: what may stand there, None for nothing
        for operation in operations[:end]:
            if isinstance(operation, Rename):
                versions.setdefault(operation.path, [None]).append(operation)
            else:
                for path, there in versions.items():
                    if os.path.dirname(path) == operation.folder:
                        versions[path] = there[-1:]
        contents = [
            [text for item in there for text in (item.list_contents() if item else [None])]
            for there in versions.values()
        ]
        number = 1
        for there in contents:
            number *= len(there)
        if number <= STATES_PER_POINT:
            picks = itertools.product(*contents)
        else:
            picks = (tuple(map(choose.choice, contents)) for _ in range(STATES_PER_POINT))
        for pick in picks:
            state = {path: text for path, text in zip(versions, pick) if text is not None}
            key = frozenset(state.items())
            if key not in seen:
                seen.add(key)
                yield state


def add_temporary_files(state, operations):
    """The state, and beside each of its folders' files a half one that a killed process left."""
    files = {item.path: item.content for item in operations if isinstance(item, Rename)}
    return state | {
        f"{os.path.dirname(path)}/.1.tmp.{os.path.basename(path)}": content[: len(content) // 2]
        for path, content in files.items()
    }


def _train_recorded(place, sender):
    with record(place) as operations:
        run_command(place, TRAIN)
    sender.send(operations)


def try_power_loss(folder, count):
    """Every state of the disk, with and without half temporary files; `count` cases of them."""
    place = make_place(folder)
    receiver, sender = FORK.Pipe(duplex=False)
    process = FORK.Process(target=_train_recorded, args=(place, sender))
    process.start()
    operations = receiver.recv()
    process.join()
    expected = read_tree(place / "results/trial")
    states = list(list_states(operations))
    states += [add_temporary_files(state, operations) for state in states]
    step = max(1, len(states) / count)
    for state in (states[int(i * step)] for i in range(min(count, len(states)))):
        for name in ("results", "weights"):
            shutil.rmtree(place / name, ignore_errors=True)
        for path, content in state.items():
            file = place / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        yield check_end(place, expected)
