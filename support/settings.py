"""The command line: every constant of `main_HTNet.py` under its own name."""

import argparse
import os
import re
from collections import namedtuple
from pathlib import Path

from composite_dataset import holds_data
from support.devices import PRECISIONS
from support.files import BadInput, is_plain
from support.ranks import say

MODELS = ("HTNet", "STSTNet")
KEEPS = ("best", "last", "none")
RECIPES = ("paper", "honest")
SCHEDULES = ("constant", "cosine")
# what HTNet has and STSTNet has not
NETWORK = (
    "AREAS",
    "DIM",
    "HEADS",
    "PATCH_SIZE",
    "NUM_HIERARCHIES",
    "BLOCK_REPEATS",
    "MLP_MULT",
    "DROPOUT",
)
LIMITS = {  # whole numbers, from and to: what is beyond is a slip, or would never end
    "SEED": (0, 2**63 - 1),
    "THREADS": (0, 1024),
    "FOLDS": (0, 1000),
    "EPOCHS": (1, 10**6),
    "BATCH_SIZE": (1, 10**6),
    "DIM": (1, 2**16),
    "HEADS": (1, 2**16),
    "PATCH_SIZE": (1, 28),
    "NUM_HIERARCHIES": (1, 8),
    "BLOCK_REPEATS": (0, 100),  # each of them
    "MLP_MULT": (1, 1024),
}
LONGEST_PATH = 3000  # bytes; systems take 4096, of which the files' own names need some


def read_settings(argv, constants, presets, script):
    """-> a named tuple: every constant under its own name, `train`, `overwrite`, `on_sample` and
    `given`, the names on the command line and those that a recipe given there stands for.

    constants: {name: value}. presets: {preset: {name: (value as shipped, value of the preset)}}; in
    force are the model's, the sample's where DATASETS holds no data (its folder `sample` is then
    used), the recipe's, and "all" where nobody is held out; of two the later counts. What wins: the
    command line, then an edited constant, then the preset, then the constant as shipped; what
    presets replaced is printed. script: the file with the constants, whose comments --help prints.
    Raises BadInput for unknown names and wrong values.
    """
    given = parse_arguments(argv, constants, script)
    values = constants | given
    check_texts(values)
    model, data = values["MODEL"], Path(values["DATASETS"])
    on_sample = not holds_data(data) and holds_data(data / "sample")
    on_all = values["SUBJECTS"] == "all"
    idle, asked, origins = NETWORK if model != "HTNet" else (), dict(given), {}
    presets_in_force = (model, *("sample",) * on_sample, values["RECIPE"], *("all",) * on_all)
    for preset in presets_in_force:
        replaced = {
            name: value
            for name, (shipped, value) in presets.get(preset, {}).items()
            if name not in given and constants[name] == shipped and name not in idle
        }
        values |= replaced
        origins |= dict.fromkeys(replaced, preset)
        if preset == given.get("RECIPE"):  # asked for, as if each were given
            asked |= replaced
    for preset in dict.fromkeys(origins.values()):
        names = [name for name, origin in origins.items() if origin == preset]
        listed = ", ".join(f"{name} {format_value(values[name])}" for name in names)
        say(f"Preset {preset}: {listed}. An edited constant, or one that is given, counts more.")
    values["SUBJECTS"] = split_names(values["SUBJECTS"])
    if on_sample:
        values["DATASETS"] = str(data / "sample")
    if not values["RUN"]:
        sample_run = "sample" if model == "HTNet" else f"sample-{model}"
        kind = "-honest" * (values["RECIPE"] == "honest") + "-all" * on_all
        values["RUN"] = f"{sample_run if on_sample else model}{kind}"
    values |= {"on_sample": on_sample, "given": tuple(asked)}
    settings = namedtuple("Settings", values)(**values)
    check_settings(settings)
    return settings


def parse_arguments(argv, constants, script):
    """{name: value} of what was given; always with `train` and `overwrite`."""
    comments = re.findall(
        r"^([A-Z_]+) = .*?  # (.+)$", Path(script).read_text("utf-8"), re.MULTILINE
    )
    meanings = dict(comments)
    parser = argparse.ArgumentParser(
        prog="main_HTNet.py",
        allow_abbrev=False,
        usage="main_HTNet.py [--train True|False] [--overwrite True] [--NAME VALUE ...]",
        epilog="Some defaults are others for STSTNet and on the synthetic sample: see PRESETS in "
        "the script.",
    )

    def refuse(message):
        which = ""
        if "unrecognized" in message:
            names = ", ".join(f"--{name.lower()}" for name in constants)
            which = f" The names are --train, --overwrite, {names}."
        raise BadInput(f"{message.rstrip('.')}.{which}")

    parser.error = refuse
    parser.add_argument(
        "--train", type=parse_boolean, default=None, help="True: train; False: evaluate the weights"
    )
    parser.add_argument(
        "--overwrite",
        type=parse_boolean,
        default=False,
        help="True: throw away what other settings or data left under the run's name",
    )
    for name, value in constants.items():
        option = f"--{name.lower()}"
        spellings = dict.fromkeys((option, option.replace("_", "-"), f"--{name}"))
        parser.add_argument(
            *spellings,
            dest=name,
            type=pick_parser(name, value),
            default=argparse.SUPPRESS,
            metavar="VALUE",
            help=f"{meanings.get(name, '')} (default: {format_value(value)})".replace("%", "%%"),
        )
    given = vars(parser.parse_args(argv))
    if given["train"] is None:
        given["train"] = False
        say(
            "Neither --train True nor --train False was given: evaluating, as the released script "
            "does."
        )
    return given


def pick_parser(name, value):
    """What turns an option's text into the constant's type."""
    if name in ("LEARNING_RATE", "DROPOUT", "LABEL_SMOOTHING", "WEIGHT_DECAY"):
        return float
    if name in ("CLASS_ORDER", "BLOCK_REPEATS"):
        return parse_integers
    return {bool: parse_boolean, int: parse_integer}.get(type(value), str)


def parse_boolean(text):
    """True or False in any usual spelling."""
    text = text.strip().lower()
    if text in ("true", "yes", "y", "t", "1", "on"):
        return True
    if text in ("false", "no", "n", "f", "0", "off"):
        return False
    raise argparse.ArgumentTypeError(f"'{text}' is neither True nor False")


def parse_integer(text):
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number") from None


def parse_integers(text):
    """'2,2,10' or '(2, 2, 10)' -> (2, 2, 10)."""
    try:
        return tuple(int(item) for item in text.strip().strip("()[]").removesuffix(",").split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"'{text}' is not a list of whole numbers such as 2,2,10"
        ) from None


def split_names(subjects):
    """SUBJECTS, a text with commas or a list of names -> tuple of names; () means all."""
    names = subjects.split(",") if isinstance(subjects, str) else subjects
    if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
        raise BadInput(
            f"SUBJECTS is {subjects!r}: it must be subjects' names with commas between them."
        )
    stripped = tuple(dict.fromkeys(name.strip() for name in names if name.strip()))
    if subjects and not stripped:
        raise BadInput(f"SUBJECTS is {subjects!r}: it must be subjects' names, or empty for all.")
    return stripped


def format_value(value):
    """A setting as it is given on the command line: (2, 2, 10) as 2,2,10."""
    return ",".join(map(str, value)) if isinstance(value, (tuple, list)) else str(value)


def check_texts(values):
    """Raises BadInput naming the constant that should be a text, or a folder, and is none."""
    folders = ("DATASETS", "WEIGHTS", "RESULTS")
    choices = ("MODEL", "RECIPE", "DEVICE", "PRECISION", "AREAS", "SCHEDULE", "KEEP")
    for name in ("RUN", *choices, *folders):
        value = values[name]
        if not isinstance(value, (str, Path) if name in folders else str):
            raise BadInput(f"{name} is {value!r}: it must be a text, in quotes.")
        if not is_plain(str(value)):
            raise BadInput(
                f"{name} is {str(value)!r}: it must be text in UTF-8 without control characters."
            )
    for name in folders:
        check_folder(name, values[name])


def check_folder(name, folder):
    """Raises BadInput for a folder whose name is empty, or longer than the system takes."""
    if not str(folder):
        raise BadInput(f"{name} is empty: it must be a folder; . is the one you are in.")
    try:
        if len(os.fsencode(os.path.abspath(folder))) > LONGEST_PATH:
            raise OSError(f"longer than {LONGEST_PATH} bytes")
        os.stat(folder)
    except (FileNotFoundError, NotADirectoryError):
        pass  # made later, or refused where it is looked into
    except OSError as error:
        raise BadInput(
            f"{name} is {folder}, which cannot be used ({error.strerror or error}): choose another "
            "folder."
        ) from None


def check_settings(settings):
    """Raises BadInput naming the constant whose value makes no sense."""

    def require(name, condition, wanted):
        if not condition:
            raise BadInput(f"{name} is {getattr(settings, name)!r}: it must be {wanted}.")

    def are_whole(value, least=0, most=999):
        """Whether it is a list of whole numbers."""
        return isinstance(value, (tuple, list)) and all(
            type(item) is int and least <= item <= most for item in value
        )

    for name, (least, most) in LIMITS.items():
        value = getattr(settings, name)
        is_list = name == "BLOCK_REPEATS"
        wanted = "whole numbers, one per hierarchy, each" if is_list else "a whole number"
        valid = are_whole(value if is_list else (value,), least, most)
        require(name, valid, f"{wanted} from {least} to {most}")
    switches = ("SHUFFLE", "NORMALIZE", "SHUFFLE_LABELS", "AUGMENT", "TEACHER", "CLASS_WEIGHTS")
    for name in (*switches, "CUDA_GRAPHS"):
        require(name, type(getattr(settings, name)) is bool, "True or False")
    rate = settings.LEARNING_RATE
    require("LEARNING_RATE", type(rate) in (int, float) and 0 < rate < 1e3, "a number above 0")
    for name in ("DROPOUT", "LABEL_SMOOTHING", "WEIGHT_DECAY"):
        value = getattr(settings, name)
        require(name, type(value) in (int, float) and 0 <= value < 1, "a number from 0 up to 1")
    balanced = settings.TEACHER and settings.CLASS_WEIGHTS
    require("CLASS_WEIGHTS", not balanced, "False with TEACHER, which balances the classes itself")
    views = settings.AUGMENT
    require("NORMALIZE", settings.NORMALIZE or not views, "True where AUGMENT is")
    recordable = not (views or settings.SCHEDULE == "cosine")
    require(
        "CUDA_GRAPHS",
        recordable or not settings.CUDA_GRAPHS,
        "False with AUGMENT or SCHEDULE 'cosine'",
    )
    require("FOLDS", settings.FOLDS != 1, "0 (leave one subject out), or the number of groups")
    require("RECIPE", settings.RECIPE in RECIPES, " or ".join(RECIPES))
    require("SCHEDULE", settings.SCHEDULE in SCHEDULES, " or ".join(SCHEDULES))
    require("MODEL", settings.MODEL in MODELS, " or ".join(MODELS))
    held_out = settings.SUBJECTS != ("all",)
    require("KEEP", held_out or settings.KEEP != "best", "last where SUBJECTS is 'all'")
    require("KEEP", settings.KEEP in KEEPS, ", ".join(KEEPS[:-1]) + f" or {KEEPS[-1]}")
    require("PRECISION", settings.PRECISION in PRECISIONS, ", ".join(PRECISIONS))
    order = settings.CLASS_ORDER
    is_order = are_whole(order) and sorted(order) == list(range(len(order))) != []
    require("CLASS_ORDER", is_order, "the classes 0, 1 and 2 (or as many as there are), each once")
    plain_name = (
        re.fullmatch(r"[^/\\.-][^/\\]*", settings.RUN) and len(settings.RUN.encode()) <= 100
    )
    require(
        "RUN",
        plain_name,
        "a folder name of at most 100 bytes, without slashes, that begins with neither . nor -",
    )
    reserved = settings.RUN == "pretrained"
    require("RUN", not reserved, "another name: weights/pretrained/ is for those that ship")
