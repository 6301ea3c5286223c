"""A run's record, stored as settings.json and in its files: its settings and a hash of its data."""

import json
import pickle
import struct
import zipfile
import zlib

from support.files import BadInput, check_exists
from support.settings import NETWORK

# Settings that came later, and what a run did before they existed.
ADDED_LATER = {
    "PRECISION": "tf32",
    "SHUFFLE": False,
    "NORMALIZE": False,
    "SHUFFLE_LABELS": False,
    "FOLDS": 0,
    "AREAS": "all",
    "AUGMENT": False,
    "TEACHER": False,
    "CLASS_WEIGHTS": False,
    "LABEL_SMOOTHING": 0.0,
    "WEIGHT_DECAY": 0.0,
    "SCHEDULE": "constant",
}
# May differ between two starts of one run; all other constants make a run that run.
# RECIPE is only a name: what it sets is recorded.
NOT_RECORDED = (
    "RECIPE",
    "RUN",
    "SUBJECTS",
    "DEVICE",
    "THREADS",
    "CUDA_GRAPHS",
    "DATASETS",
    "WEIGHTS",
    "RESULTS",
)
UNREADABLE = (  # what reading a damaged file raises
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
    MemoryError,  # an array that claims to be huge
)


def list_recorded(settings):
    """{name: value} of the settings that make this run, as JSON gives them back."""
    left_out = NOT_RECORDED if settings.MODEL == "HTNet" else (*NOT_RECORDED, *NETWORK)
    values = settings._asdict().items()
    recorded = {name: value for name, value in values if name.isupper() and name not in left_out}
    return json.loads(json.dumps(recorded))


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
    for name, value in (*settings.items(), ("data", record["data"])):
        for item in value if isinstance(value, list) else (value,):
            if not isinstance(item, (str, int, float)):
                raise TypeError(f"{name} is no setting")
    settings["MODEL"]
    return {"settings": settings, "data": record["data"]}


def check_archive(path):
    """Raises one of UNREADABLE for a zip file that is damaged, or that would grow on reading."""
    with zipfile.ZipFile(path) as archive:
        if any(file.compress_type != zipfile.ZIP_STORED for file in archive.infolist()):
            raise ValueError("it is compressed")
        if archive.testzip():
            raise ValueError("its checksum is wrong")


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
