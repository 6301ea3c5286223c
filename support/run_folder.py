"""What a run leaves on disk, and the checks that keep runs apart.

results/<run>/settings.json, results/<run>/folds/<subject>.npz, report and plots
weights/<run>/settings.json, weights/<run>/<subject>.pth
"""

import contextlib
import errno
import functools
import json
import shutil
import time
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout

from support.files import (
    BadInput,
    check_exists,
    format_size,
    make_folder,
    replace_file,
    write_text,
)
from support.ranks import say
from support.records import (
    UNREADABLE,
    check_archive,
    fill_record,
    list_record_differences,
    read_record,
)
from support.weights_files import save_weights

LEFTOVERS = ("folds/*.npz", "*.pth", "report.md", "predictions.csv", "evaluation.csv", "*.png")
LEFTOVERS += ("facial_areas.csv",)
NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)  # how file systems say so
LOCKS = []  # of the runs that this process trains


@contextlib.contextmanager
def release_locks():
    """At the end of the context, lets go of the locks taken in it."""
    try:
        yield
    finally:
        while LOCKS:
            LOCKS.pop().release()


class RunFolder:
    """The two folders of a run: `results`, with a file per finished fold, and `weights`."""

    def __init__(self, settings):
        self.results = Path(settings.RESULTS, settings.RUN)
        self.weights = Path(settings.WEIGHTS, settings.RUN)
        self.keeps_weights = settings.KEEP != "none"
        self.record = None  # this run's settings and hash of the data, once both are known
        self.nameless = {}  # subjects of folds that were read and do not say whose they are: told?

    def fold_path(self, subject):
        return self.results / "folds" / f"{subject}.npz"

    def weights_path(self, subject):
        return self.weights / f"{subject}.pth"

    def areas_path(self):
        """Of the facial areas found, where the data are read-only."""
        return self.results / "facial_areas.csv"

    def is_finished(self, fold):
        """Whether the fold's logits, and its weights where they are kept, are there."""
        kept = not self.keeps_weights or self.weights_path(fold.name).exists()
        return kept and self.fold_path(fold.name).exists()

    def lacks_weights(self, fold):
        """Whether the fold's logits are there, but not its weights, which are to be kept."""
        return self.fold_path(fold.name).exists() and not self.is_finished(fold)

    def find_other_runs(self, record):
        """Which of the two folders hold another run's folds or weights -> {folder: difference}.

        record: {"settings": {...}, "data": hash}, or without "data" where it is not known yet.
        """
        others = {}
        for folder, work in ((self.results, "folds/[!.]*.npz"), (self.weights, "[!.]*.pth")):
            if not (check_exists(folder) and any(folder.glob(work))):
                continue
            stored = read_record(folder / "settings.json")
            if not stored:
                others[folder] = "files of a run without settings.json"
                continue
            if different := list_record_differences(record, stored):
                others[folder] = f"a run of other settings: {'; '.join(different)}"
        return others

    def refuse_other_runs(self, record):
        """Raises BadInput where the folders hold another run; touches nothing."""
        for folder, difference in self.find_other_runs(record).items():
            raise BadInput(
                f"{folder} holds {difference}; choose another RUN, or throw that run away with "
                "--overwrite True."
            )

    def take_locks(self):
        """Refuses a run that another process trains now; a killed process leaves no lock."""
        # two runs may share one of them
        folders = {folder.resolve(): folder for folder in (self.results, self.weights)}
        for folder in folders.values():
            make_folder(folder.parent)
            # a "soft" lock, where a file system has none, would be left behind by a kill
            lock = FileLock(folder.with_name(f".{folder.name}.lock"), fallback_to_soft=False)
            try:
                lock.acquire(timeout=0)
            except Timeout:
                raise BadInput(
                    f"{folder} is being trained by another process now: wait for it, or choose "
                    "another RUN."
                ) from None
            except OSError as error:
                if error.errno not in NO_LOCKS:
                    raise BadInput(
                        f"{folder} cannot be used ({error}): choose another folder."
                    ) from None
                say(f"Note: {folder.parent} has no locks: do not start this run twice at a time.")
            else:
                LOCKS.append(lock)

    def refuse_full_disk(self, parameters, subjects, record):
        """Raises BadInput where the weights would not fit: the paper's 68 networks are 38 GB."""
        if not self.keeps_weights:
            return
        replaced = self.weights in self.find_other_runs(record)  # with --overwrite True
        stored = [path.stat().st_size for path in self.weights.glob("[!.]*.pth")]
        missing = [subject for subject in subjects if not self.weights_path(subject).exists()]
        folders = (self.weights, *self.weights.absolute().parents)
        free = shutil.disk_usage(next(folder for folder in folders if folder.exists())).free
        free += sum(stored) if replaced else 0
        needed = 4 * parameters * len(subjects if replaced else missing)
        if needed > free:
            raise BadInput(
                f"{self.weights} needs {format_size(needed)} for the weights of {len(subjects)} "
                f"folds and has {format_size(free)} free: make room, set KEEP to 'none', or set "
                "WEIGHTS to a folder on another disk."
            )

    def claim(self, record, overwrite):
        """Makes the two folders this run's; `overwrite` throws another run's files away."""
        if not overwrite:
            self.refuse_other_runs(record)
        emptied = (self.results, self.weights) if self.find_other_runs(record) else ()
        for folder in (self.results, self.weights):
            for pattern in LEFTOVERS if folder in emptied else ():
                for path in folder.glob(pattern):
                    remove(path)
            make_folder(folder)
            # what a killed run left; a younger one may be another process's
            for path in folder.rglob(".*.tmp.*"):
                with contextlib.suppress(FileNotFoundError):
                    if time.time() - path.stat().st_mtime > 3600:
                        remove(path)
            write_text(folder / "settings.json", json.dumps(record, indent=1) + "\n")
        make_folder(self.results / "folds")

    def save_fold(self, subject, result, names, labels, seconds, machine):
        """A finished fold: its weights, then a .npz file with all that the report needs.

        It holds names, labels, logits, losses, epoch kept (-1: none), seconds, machine and the
        settings and data of its run.
        """
        for folder in (self.results, self.weights):
            if list_record_differences(self.record, read_record(folder / "settings.json")):
                raise BadInput(
                    f"{folder} was taken over by a run of other settings while this one trained: "
                    "start it again under another RUN."
                )
        if not (finite := result.logits.isfinite().flatten(1).all(1)).all():
            epoch = finite.tolist().index(False) + 1
            raise BadInput(
                f"the held-out logits of epoch {epoch} are not finite: lower LEARNING_RATE."
            )
        if result.state is not None:
            save_weights(self.weights_path(subject), result.state, subject, self.record)
        arrays = dict(
            names=names,
            labels=labels,
            logits=result.logits.float().numpy(),
            losses=result.losses.float().numpy(),
            epoch=-1 if result.epoch is None else result.epoch,
            seconds=seconds,
            machine=machine,
            record=json.dumps(self.record),
        )
        replace_file(self.fold_path(subject), functools.partial(np.savez, **arrays))

    def load_fold(self, subject, names, labels, epochs, num_classes):
        """What `save_fold` wrote, a dict of arrays.

        Raises BadInput where it is missing, damaged, of other samples or of another run.
        """
        path = self.fold_path(subject)
        try:
            check_archive(path)
            with np.load(path, allow_pickle=False) as file:
                fold = dict(file)
            check_fold(fold, names, labels, epochs, num_classes)
            # folds of earlier versions do not say whose they are
            theirs = fill_record(json.loads(str(fold["record"]))) if "record" in fold else None
        except FileNotFoundError:
            raise BadInput(
                f"{path} is missing, although its subject was trained: start the same command "
                "again."
            ) from None
        except UNREADABLE as error:
            raise BadInput(
                f"{path} is damaged ({error}): delete it and start again to train this subject "
                "anew."
            ) from None
        if theirs and (different := list_record_differences(self.record, theirs)):
            raise BadInput(
                f"{path} is of another run: {'; '.join(different)}; delete it to train this "
                "subject anew, or choose another RUN."
            )
        if not theirs:
            self.nameless.setdefault(subject, False)
        return fold

    def tell_nameless(self):
        """Prints, once of each, how many folds were taken that do not say whose they are."""
        if not all(self.nameless.values()):
            say(
                f"Note: {len(self.nameless)} of the folds in {self.results} do not say whose they "
                "are (earlier versions did not write it): taken as this run's."
            )
        self.nameless = dict.fromkeys(self.nameless, True)


def remove(path):
    """Removes a file; raises BadInput where it is a folder, or cannot be removed."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise BadInput(
            f"{path} cannot be removed ({error.strerror}): remove it, or choose another RUN."
        ) from None


def check_fold(fold, names, labels, epochs, num_classes):
    """Raises ValueError or KeyError unless a fold's arrays are what `save_fold` writes."""
    expected = {
        "names": ("U", (len(names),)),
        "labels": ("i", (len(names),)),
        "logits": ("f", (epochs, len(names), num_classes)),
        "losses": ("f", (epochs,)),
        "epoch": ("i", ()),
        "seconds": ("f", ()),
        "machine": ("U", ()),
    }
    for name, (kind, shape) in expected.items():
        array = fold[name]
        if array.dtype.kind != kind or array.shape != shape:
            raise ValueError(f"its {name} are {array.dtype} {array.shape}")
        if kind == "f" and not np.isfinite(array).all():
            raise ValueError(f"its {name} are not finite")
    if fold["names"].tolist() != list(names) or fold["labels"].tolist() != list(labels):
        raise ValueError("it holds other samples")
