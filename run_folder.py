"""What a run leaves on disk: settings.json, a file per finished fold in results/<run>/folds/, weights/<run>/*.pth."""
import functools
import json
import pickle
import shutil
import zipfile
import zlib

import numpy as np
import torch

import htnet
from composite_dataset import BadInput, replace_with
from evaluation import write_text


def claim(settings, results, weights, record):
    """Makes the two folders this run's, or refuses where they hold folds or weights of other settings.

    record: {"settings": {...}, "data": hash}, written to both as settings.json.
    """
    for folder, leftovers in ((results, "folds/*.npz"), (weights, "*.pth")):
        stored = None if settings.overwrite else read_record(folder / "settings.json")
        if stored:
            different = differences(record["settings"], stored["settings"])
            if stored["data"] != record["data"]:
                different += ("; " if different else "") + "the data (samples, flow images or facial areas) differ"
            if different:
                raise BadInput(f"{folder} holds a run of other settings: {different}; choose another RUN, or throw "
                               "that run away with --overwrite True.")
        elif any(folder.glob(leftovers)) and not settings.overwrite:
            raise BadInput(f"{folder} holds files of a run without settings.json: choose another RUN, or throw them "
                           "away with --overwrite True.")
    for folder, leftovers in ((results, "folds/*.npz"), (weights, "*.pth")):  # nothing is touched before both are clear
        for path in folder.glob(leftovers) if settings.overwrite else folder.rglob(".*.tmp.*"):
            path.unlink()  # a killed run may have left temporary files behind
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / "settings.json", json.dumps(record, indent=1) + "\n")
    (results / "folds").mkdir(exist_ok=True)


def read_record(path):
    """A settings.json, or None where there is none."""
    if not path.exists():
        return None
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        record["settings"]["MODEL"], record["data"]
        return record
    except (ValueError, KeyError, TypeError, OSError):
        raise BadInput(f"{path} is damaged: delete it and what lies beside it, or choose another RUN.") from None


def differences(wanted, stored):
    """'EPOCHS is 800 here, 100 there; ...' for two dicts of settings; empty where they agree."""
    return "; ".join(f"{name} is {value} here, {stored.get(name, 'unknown')} there"
                     for name, value in wanted.items() if stored.get(name) != value)


def check_disk(weights, parameters, folds):
    """Refuses to start what would fill the disk: 68 folds of the paper's HTNet are 38 GB of weights."""
    needed, free = 4 * parameters * folds, shutil.disk_usage(weights).free
    if needed > free:
        raise BadInput(f"{weights} needs {needed / 1e9:.1f} GB for the weights of {folds} folds and has "
                       f"{free / 1e9:.1f} GB free: make room, set KEEP to 'none', or set WEIGHTS to a folder on "
                       "another disk.")


def save_fold(path, result, names, labels, seconds):
    """A finished fold as a .npz file: names, labels, logits, losses, the epoch kept (-1: none), its training time."""
    arrays = dict(names=names, labels=labels, logits=result.logits.float().numpy(),
                  losses=result.losses.float().numpy(), seconds=seconds,
                  epoch=-1 if result.epoch is None else result.epoch)
    replace_with(path, functools.partial(np.savez, **arrays))


def load_fold(path, names, labels, epochs):
    """What `save_fold` wrote, as a dict of arrays; raises BadInput where it is damaged or of other samples."""
    try:
        with np.load(path, allow_pickle=False) as file:
            fold = dict(file)
        if (fold["names"].tolist() != list(names) or fold["labels"].tolist() != list(labels)
                or fold["logits"].shape[:2] != (epochs, len(names)) or fold["losses"].shape != (epochs,)):
            raise ValueError("it holds other samples or epochs")
    except (OSError, ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise BadInput(f"{path} is damaged ({error}): delete it and start again to train this subject anew.") from None
    return fold


def load_weights(model, path):
    """Our own weights, the released HTNet code's or the STSTNet port's; from a GPU or a CPU; raises BadInput."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
            raise ValueError("it holds no state dict")
        if isinstance(model, htnet.HTNet) and htnet.is_released(state):
            htnet.load_released_weights(model, state)
        else:
            model.load_state_dict(state)
    except (OSError, EOFError, RuntimeError, ValueError, KeyError, AttributeError, pickle.UnpicklingError) as error:
        raise BadInput(f"{path} cannot be used, it is damaged or of another network "
                       f"({' '.join(str(error).split())[:200]}): replace it.") from None
