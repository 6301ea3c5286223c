"""What a run leaves on disk: settings.json, a file per finished fold in results/<run>/folds/, weights/<run>/*.pth."""
import functools
import json
import pickle
import shutil
import time
import zipfile
import zlib

import numpy as np
import torch

import htnet
from composite_dataset import BadInput, replace_with
from evaluation import write_text

LEFTOVERS = ("folds/*.npz", "*.pth", "report.md", "predictions.csv", "evaluation.csv", "*.png")


def check_claim(settings, results, weights, record):
    """Refuses where the run's folders hold folds or weights of other settings; touches nothing.

    record: {"settings": {...}, "data": hash}. -> the folders whose contents `claim` is to throw away.
    """
    discard = []
    for folder, work in ((results, "folds/[!.]*.npz"), (weights, "[!.]*.pth")):
        if not (exists(folder) and any(folder.glob(work))):
            continue
        stored = read_record(folder / "settings.json")
        if stored and stored.get("pretrained") and not settings.on_sample:
            discard.append(folder)
            continue
        different = differences(record["settings"], stored["settings"]) if stored else ""
        if stored and stored["data"] != record["data"]:
            different += ("; " if different else "") + "the data (samples, flow images or facial areas) differ"
        if stored and not different:
            continue
        if not settings.overwrite:
            raise BadInput(f"{folder} holds " + (f"a run of other settings: {different}" if stored else
                                                 "files of a run without settings.json")
                           + "; choose another RUN, or throw that run away with --overwrite True.")
        discard.append(folder)
    return [results, weights] if discard and settings.overwrite else discard


def claim(results, weights, record, discard):
    """Makes the two folders this run's: throws away what `check_claim` named and writes settings.json into both."""
    for folder in (results, weights):
        for pattern in LEFTOVERS if folder in discard else ():
            for path in folder.glob(pattern):
                path.unlink()
        make(folder)
        for path in folder.rglob(".*.tmp.*"):  # what a killed run left; another one's may be in use
            if time.time() - path.stat().st_mtime > 3600:
                path.unlink(missing_ok=True)
        write_text(folder / "settings.json", json.dumps(record, indent=1) + "\n")
    make(results / "folds")


def exists(path):
    try:
        return path.exists()
    except (OSError, ValueError) as error:
        raise BadInput(f"{path} cannot be used ({error}): choose another folder.") from None


def make(folder):
    """Makes a folder, with those above it; raises BadInput."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise BadInput(f"{folder} cannot be made ({error}): choose another folder.") from None


def read_record(path):
    """A settings.json, or None where there is none."""
    if not exists(path):
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


def check_disk(weights, parameters, folds, discard):
    """Refuses to start what would fill the disk: 68 folds of the paper's HTNet are 38 GB of weights."""
    freed = sum(path.stat().st_size for path in weights.glob("*.pth")) if weights in discard else 0
    there = next(folder for folder in (weights, *weights.absolute().parents) if folder.exists())
    needed, free = 4 * parameters * folds, shutil.disk_usage(there).free + freed
    if needed > free:
        raise BadInput(f"{weights} needs {needed / 1e9:.1f} GB for the weights of {folds} folds and has "
                       f"{free / 1e9:.1f} GB free: make room, set KEEP to 'none', or set WEIGHTS to a folder on "
                       "another disk.")


def save_fold(path, result, names, labels, seconds, machine):
    """A finished fold as a .npz file: names, labels, logits, losses, epoch kept (-1: none), time, kind of machine."""
    arrays = dict(names=names, labels=labels, logits=result.logits.float().numpy(),
                  losses=result.losses.float().numpy(), epoch=-1 if result.epoch is None else result.epoch,
                  seconds=seconds, machine=machine)
    replace_with(path, functools.partial(np.savez, **arrays))


def load_fold(path, names, labels, epochs):
    """What `save_fold` wrote, as a dict of arrays; raises BadInput where it is damaged or of other samples."""
    try:
        with np.load(path, allow_pickle=False) as file:
            fold = dict(file)
        if (fold["names"].tolist() != list(names) or fold["labels"].tolist() != list(labels)
                or fold["logits"].shape[:2] != (epochs, len(names)) or fold["losses"].shape != (epochs,)
                or not {"seconds", "machine"} <= fold.keys()):
            raise ValueError("it holds other samples or epochs")
    except (OSError, ValueError, KeyError, EOFError, TypeError, NotImplementedError, zipfile.BadZipFile,
            zlib.error) as error:
        raise BadInput(f"{path} is damaged ({error}): delete it and start again to train this subject anew.") from None
    return fold


def load_weights(model, path):
    """Our own weights, the released HTNet code's or the STSTNet port's; from a GPU or a CPU; raises BadInput."""
    try:
        if zipfile.is_zipfile(path):  # torch does not compare its checksums
            with zipfile.ZipFile(path) as archive:
                if archive.testzip():
                    raise ValueError("its checksum is wrong")
        state = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
            raise ValueError("it holds no state dict")
        if isinstance(model, htnet.HTNet) and htnet.is_released(state):
            htnet.load_released_weights(model, state)
        else:
            model.load_state_dict(state)
    except (OSError, EOFError, RuntimeError, ValueError, KeyError, AttributeError, pickle.UnpicklingError,
            zipfile.BadZipFile, zlib.error) as error:
        raise BadInput(f"{path} cannot be used, it is damaged or of another network "
                       f"({' '.join(str(error).split())[:200]}): replace it.") from None
