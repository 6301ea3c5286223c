"""Weights on disk: weights/<run>/<subject>.pth, state dicts that say whose they are."""

import contextlib
import json
import pickle
import zipfile
from collections import OrderedDict

import torch

from support.files import BadInput, replace_file
from support.records import (
    UNREADABLE,
    check_archive,
    fill_record,
    list_record_differences,
    read_record,
)
from support.released_weights import is_released, load_released_weights
from support.shipped_weights import ENDING, load_state, read_shipped


def save_weights(path, state, subject, record):
    """Writes a state dict that also says which subject was held out in which run.

    record: the run's settings and hash of its data. They are attributes of the dictionary, which
    `torch.save` keeps: read with `weights_only=True`, the file is a state dict as ever.
    """
    state = OrderedDict(state)
    state.subject, state.record = subject, json.dumps(record)

    def write(temporary):
        with open(temporary, "wb") as file:  # given a path, torch.save hides why it failed
            torch.save(state, file)

    replace_file(path, write)


class Weights:
    """The weights that are evaluated: a folder of .pth files, or one file with all that ship."""

    def __init__(self, path):
        self.path = path
        self.states = None
        if path.suffix == ENDING:
            self.states, self.record, _ = read_shipped(path)
        else:
            self.record = read_record(path / "settings.json") or self.read_first_record()

    def read_first_record(self):
        """Without a settings.json, what the first of the files says of its run; or None."""
        for name in self.list_held_out()[:1]:
            with contextlib.suppress(*UNREADABLE):  # said where the file is needed
                return read_carried_record(read_state(self.path / f"{name}.pth"))
        return None

    def list_held_out(self):
        """The names of the folds whose weights are there."""
        return sorted(list_folds(self.path) if self.states is None else self.states)

    def locate(self, name):
        """Where the weights of the fold `name` lie, in words."""
        return f"'{name}' in {self.path}" if self.states is not None else f"{self.path / name}.pth"

    def load(self, model, name):
        """Loads the weights of the fold `name` into `model`; raises BadInput."""
        if self.states is not None:
            load_state(model, self.states[name], self.locate(name))
        else:
            self.record = load_weights(model, self.path / f"{name}.pth", name, self.record)


def list_folds(folder):
    """The names of the folds whose .pth files are there; "all", which holds nobody out, is none."""
    return [path.stem for path in folder.glob("[!.]*.pth") if path.stem != "all"]


def find_weights(run_folder, pretrained):
    """The run's Weights, or else those that ship; raises BadInput.

    A run that was trained and kept no weights has none to evaluate: those that ship are not its.
    """
    shipped, for_clips = pretrained / f"folds{ENDING}", run_folder.weights / "all.pth"
    if for_clips.exists() and not list_folds(run_folder.weights):
        raise BadInput(
            f"{for_clips} was trained on everybody, so that nobody is left to evaluate it on: give "
            "a RUN that was trained without SUBJECTS 'all'."
        )
    if not list_folds(run_folder.weights) and any(run_folder.results.glob("folds/[!.]*.npz")):
        raise BadInput(
            f"{run_folder.weights} holds no weights, although the run was trained (KEEP 'none'?): "
            f"its scores are in {run_folder.results}; for weights train another RUN with KEEP "
            "'best' or 'last', for those that ship give a RUN that was not trained."
        )
    for folder in (run_folder.weights, pretrained):
        if list_folds(folder):
            return Weights(folder)
    if shipped.exists():
        return Weights(shipped)
    raise BadInput(
        f"{run_folder.weights} holds no weights, a .pth is missing for every subject: train with "
        "--train True (and KEEP 'best' or 'last') first, or give the RUN that has them."
    )


def load_weights(model, path, subject=None, record=None):
    """Loads our weights, the released HTNet code's or the STSTNet port's -> the run's record.

    Raises BadInput where they are damaged, of another network, of another held-out subject than
    `subject`, or of another run than `record`. Weights that do not say whose they are, such as the
    released ones, are taken; returned is then `record`.
    """
    try:
        state = read_state(path)
        if is_released(state):
            load_released_weights(model, state)
        else:
            model.load_state_dict(state)
        for name, value in model.state_dict().items():
            if not value.isfinite().all():
                raise ValueError(f"'{name}' is not finite")
        theirs = read_carried_record(state)
        their_subject = str(getattr(state, "subject", subject))
    except pickle.UnpicklingError as error:
        reason = "holds code, not weights" if "global" in str(error).lower() else "is damaged"
        raise BadInput(f"{path} cannot be used, it {reason}: replace it.") from None
    except UNREADABLE as error:
        raise BadInput(
            f"{path} cannot be used, it is damaged or of another network "
            f"({' '.join(str(error).split())[:200]}): replace it."
        ) from None
    if subject and subject != their_subject:
        raise BadInput(
            f"{path} holds the weights of subject {their_subject}, which have seen {subject}: put "
            f"{subject}'s own in its place."
        )
    if theirs and record and (different := list_record_differences(record, theirs)):
        raise BadInput(
            f"{path} is of another run than the weights beside it: {'; '.join(different)}; put "
            "this run's own in its place."
        )
    return record or theirs


def read_carried_record(state):
    """The record that `save_weights` gave a state dict, or None."""
    record = getattr(state, "record", None)
    return record and fill_record(json.loads(record))


def read_state(path):
    """A state dict, on the CPU; raises one of UNREADABLE."""
    if zipfile.is_zipfile(path):
        check_archive(path)  # torch does not compare the checksums
    state = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(state, dict):
        raise ValueError("it holds no state dict")
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, torch.Tensor):
            raise ValueError("it holds no state dict")
        if value.nbytes > value.untyped_storage().nbytes():  # gigabytes, once it is worked with
            raise ValueError(f"'{name}' repeats its numbers")
    return state
