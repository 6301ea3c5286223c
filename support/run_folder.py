"""What a run leaves on disk, and the checks that keep runs apart.

results/<run>/settings.json, results/<run>/folds/<subject>.npz, report and plots
weights/<run>/settings.json, weights/<run>/<subject>.pth
"""

import functools
import json
import pickle
import shutil
import struct
import time
import zipfile
import zlib
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock, Timeout

from support.files import BadInput, check_exists, make_folder, replace_file, write_text
from support.released_weights import is_released, load_released_weights

LEFTOVERS = ("folds/*.npz", "*.pth", "report.md", "predictions.csv", "evaluation.csv", "*.png")
# Settings that came later, and what a run did before they existed.
ADDED_LATER = {
    "PRECISION": "tf32",
    "SHUFFLE": False,
    "NORMALIZE": False,
    "SHUFFLE_LABELS": False,
    "AREAS": "all",
    "AUGMENT": False,
    "CLASS_WEIGHTS": False,
    "LABEL_SMOOTHING": 0.0,
    "WEIGHT_DECAY": 0.0,
    "SCHEDULE": "constant",
}
UNREADABLE = (
    OSError,
    EOFError,
    RuntimeError,
    ValueError,
    KeyError,
    AttributeError,
    TypeError,
    NotImplementedError,
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    zlib.error,
    RecursionError,
    IndexError,
    AssertionError,
    struct.error,
)


LOCKS = []  # of the runs that this process trains


@contextmanager
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

    def fold_path(self, subject):
        return self.results / "folds" / f"{subject}.npz"

    def weights_path(self, subject):
        return self.weights / f"{subject}.pth"

    def is_finished(self, fold):
        """Whether the fold's logits, and its weights where they are kept, are there."""
        kept = not self.keeps_weights or self.weights_path(fold.subject).exists()
        return kept and self.fold_path(fold.subject).exists()

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

    def take_lock(self):
        """Refuses a run that another process is training now; a killed process leaves no lock."""
        make_folder(self.results.parent)
        lock = FileLock(self.results.with_name(f".{self.results.name}.lock"))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise BadInput(
                f"{self.results} is being trained by another process now: wait for it, or choose "
                "another RUN."
            ) from None
        except NotImplementedError:  # a file system without locks
            return
        except OSError as error:
            raise BadInput(f"{self.results} cannot be used ({error}): set RESULTS.") from None
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
                f"{self.weights} needs {needed / 1e9:.1f} GB for the weights of {len(subjects)} "
                f"folds and has {free / 1e9:.1f} GB free: make room, set KEEP to 'none', or set "
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
                    path.unlink()
            make_folder(folder)
            for path in folder.rglob(".*.tmp.*"):  # what a killed run left; another's may be in use
                if time.time() - path.stat().st_mtime > 3600:
                    path.unlink(missing_ok=True)
            write_text(folder / "settings.json", json.dumps(record, indent=1) + "\n")
        make_folder(self.results / "folds")

    def save_fold(self, subject, result, names, labels, seconds, machine):
        """A finished fold: its weights, then a .npz file with all that the report needs.

        It holds names, labels, logits, losses, epoch kept (-1: none), seconds, machine and the
        settings and data of its run.
        """
        if list_record_differences(self.record, read_record(self.results / "settings.json")):
            raise BadInput(
                f"{self.results} was taken over by a run of other settings while this one trained: "
                "start it again under another RUN."
            )
        if result.state is not None:
            replace_file(self.weights_path(subject), functools.partial(torch.save, result.state))
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
        return fold


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


def read_record(path):
    """A settings.json with today's settings, or None where there is none."""
    if not check_exists(path):
        return None
    try:
        return fill_record(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, KeyError, TypeError, OSError, RecursionError):
        raise BadInput(
            f"{path} is damaged: delete it and what lies beside it, or choose another RUN."
        ) from None


def fill_record(record):
    """A stored record with the settings that came later; KeyError or TypeError if it is none."""
    settings = ADDED_LATER | record["settings"]
    settings["MODEL"]
    return {"settings": settings, "data": record["data"]}


def list_record_differences(record, stored):
    """How a stored record (or None) differs from this run's -> list of texts."""
    if stored is None:
        return ["settings.json is gone"]
    different = list_differences(record["settings"], stored["settings"])
    if "data" in record and stored["data"] != record["data"]:
        different.append("the data (samples, flow images or facial areas) differ")
    return different


def list_differences(wanted, stored):
    """Two dicts of settings -> ["EPOCHS is 800 here, 100 there", ...]."""
    return [
        f"{name} is {value} here, {stored.get(name, 'unknown')} there"
        for name, value in wanted.items()
        if stored.get(name) != value
    ]


def find_weights(run_folder, pretrained):
    """The folder whose weights are evaluated: the run's, or else those that ship."""
    for folder in (run_folder.weights, pretrained):
        if any(folder.glob("[!.]*.pth")):
            return folder
    raise BadInput(
        f"{run_folder.weights} holds no weights, a .pth is missing for every subject: train with "
        "--train True (and KEEP 'best' or 'last') first, or give the RUN that has them."
    )


def load_weights(model, path):
    """Loads our weights, the released HTNet code's or the STSTNet port's; raises BadInput."""
    try:
        if zipfile.is_zipfile(path):  # torch does not compare its checksums
            with zipfile.ZipFile(path) as archive:
                if archive.testzip():
                    raise ValueError("its checksum is wrong")
        state = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(state, dict):
            raise ValueError("it holds no state dict")
        for name, value in state.items():
            if not isinstance(value, torch.Tensor):
                raise ValueError("it holds no state dict")
            if not value.isfinite().all():
                raise ValueError(f"'{name}' is not finite")
        if is_released(state):
            load_released_weights(model, state)
        else:
            model.load_state_dict(state)
    except pickle.UnpicklingError as error:
        reason = "holds code, not weights" if "global" in str(error).lower() else "is damaged"
        raise BadInput(f"{path} cannot be used, it {reason}: replace it.") from None
    except UNREADABLE as error:
        raise BadInput(
            f"{path} cannot be used, it is damaged or of another network "
            f"({' '.join(str(error).split())[:200]}): replace it."
        ) from None
