"""The command line: every constant at the top of `main_HTNet.py` can be given under its own name."""
import argparse
import ast
import re
from pathlib import Path

from composite_dataset import BadInput, holds_data


def read_settings(argv, constants, model_defaults, sample, script):
    """-> a namespace with every constant under its own name, `train`, `overwrite` and `on_sample`.

    constants {name: value}; model_defaults {model: {name: value}}; sample {name: value}, which counts where DATASETS
    holds no data and so its folder `sample` is used. What wins: command line, then sample, then the model's defaults,
    then the constant. script: the file with the constants, whose comments --help prints. Raises BadInput for unknown
    names and wrong values.
    """
    meanings = dict(re.findall(r"^([A-Z_]+) = .*?  # (.+)$", Path(script).read_text(encoding="utf-8"), re.MULTILINE))
    names = ", ".join(f"--{name.lower()}" for name in constants)
    parser = argparse.ArgumentParser(prog="main_HTNet.py", allow_abbrev=False,
                                     usage="main_HTNet.py [--train True|False] [--overwrite True] [--NAME VALUE ...]",
                                     epilog="Some defaults are others for STSTNet and on the synthetic sample: see "
                                            "MODEL_DEFAULTS and SAMPLE in the script.")

    def refuse(message):
        which = f" The names are --train, --overwrite, {names}." if "unrecognized" in message else ""
        raise BadInput(f"{message.rstrip('.')}.{which}")

    parser.error = refuse
    parser.add_argument("--train", type=boolean, default=None, help="True: train; False: evaluate the weights")
    parser.add_argument("--overwrite", type=boolean, default=False,
                        help="True: throw away the folds and weights that stand under the run's name")
    for name, value in constants.items():
        kind = float if name in ("LEARNING_RATE", "DROPOUT") else integers if name in ("CLASS_ORDER", "BLOCK_REPEATS") \
            else {bool: boolean, int: whole}.get(type(value), type(value))
        spellings = dict.fromkeys((f"--{name.lower()}", f"--{name.lower().replace('_', '-')}", f"--{name}"))
        parser.add_argument(*spellings, dest=name, type=kind, default=argparse.SUPPRESS,
                            metavar="VALUE", help=f"{meanings.get(name, '')} (default: {value!r})".replace("%", "%%"))
    given = vars(parser.parse_args(argv))
    if given["train"] is None:
        given["train"] = False
        print("Neither --train True nor --train False was given: evaluating, as the released script does.")
    data = Path(given.get("DATASETS", constants["DATASETS"]))
    on_sample = not holds_data(data) and holds_data(data / "sample")
    model = given.get("MODEL", constants["MODEL"])
    settings = argparse.Namespace(**(constants | model_defaults.get(model, {}) | (sample if on_sample else {}) | given))
    settings.on_sample = on_sample
    if on_sample:
        settings.DATASETS = str(data / "sample")
    settings.RUN = settings.RUN or (("sample" if model == "HTNet" else f"sample-{model}") if on_sample else model)
    check(settings, model_defaults)
    return settings


def boolean(text):
    """True or False in any usual spelling."""
    text = text.strip().lower()
    if text not in ("true", "yes", "y", "t", "1", "on", "false", "no", "n", "f", "0", "off"):
        raise argparse.ArgumentTypeError(f"'{text}' is neither True nor False")
    return text in ("true", "yes", "y", "t", "1", "on")


def whole(text):
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number") from None


def integers(text):
    """'2,2,10' or '(2, 2, 10)' -> (2, 2, 10)."""
    try:
        value = ast.literal_eval(text if text.strip()[:1] in ("(", "[") else f"({text},)")
        if all(type(item) is int for item in value):
            return tuple(value)
    except (ValueError, SyntaxError, TypeError):
        pass
    raise argparse.ArgumentTypeError(f"'{text}' is not a list of whole numbers such as 2,2,10")


def check(settings, models):
    """Raises BadInput naming the constant whose value makes no sense; what the network refuses, it refuses itself."""
    def require(name, condition, wanted):
        if not condition:
            raise BadInput(f"{name} is {getattr(settings, name)!r}: it must be {wanted}.")

    for name in ("EPOCHS", "BATCH_SIZE", "DIM", "HEADS", "PATCH_SIZE", "NUM_HIERARCHIES", "MLP_MULT"):
        require(name, type(getattr(settings, name)) is int and getattr(settings, name) >= 1, "a whole number from 1 up")
    for name in ("SEED", "THREADS"):
        require(name, type(getattr(settings, name)) is int and getattr(settings, name) >= 0, "a whole number from 0 up")
    require("LEARNING_RATE", isinstance(settings.LEARNING_RATE, (int, float)) and 0 < settings.LEARNING_RATE < 1e3,
            "a number above 0")
    require("MODEL", settings.MODEL in models, " or ".join(models))
    require("KEEP", settings.KEEP in ("best", "last", "none"), "best, last or none")
    require("PRECISION", settings.PRECISION in ("tf32", "float32", "bf16"), "tf32, float32 or bf16")
    require("PRECISION", settings.PRECISION != "bf16" or settings.MODEL == "HTNet", "tf32 or float32 for STSTNet")
    for name in ("SHUFFLE", "NORMALIZE", "SHUFFLE_LABELS"):
        require(name, type(getattr(settings, name)) is bool, "True or False")
    require("SHUFFLE", not settings.SHUFFLE or settings.MODEL == "HTNet", "False for STSTNet")
    require("CLASS_ORDER", isinstance(settings.CLASS_ORDER, (tuple, list))
            and sorted(settings.CLASS_ORDER) == [0, 1, 2], "the classes 0, 1 and 2 in some order")
    require("BLOCK_REPEATS", isinstance(settings.BLOCK_REPEATS, (tuple, list))
            and all(type(count) is int for count in settings.BLOCK_REPEATS), "whole numbers, one per hierarchy")
    require("DROPOUT", type(settings.DROPOUT) in (int, float), "a number from 0 up to 1")
    require("RUN", re.fullmatch(r"[^/\\\0]{1,100}", settings.RUN) and settings.RUN not in (".", ".."),
            "a plain folder name of at most 100 characters, without slashes")
    require("SUBJECTS", not settings.SUBJECTS or any(name.strip() for name in subject_names(settings.SUBJECTS)),
            "subjects' names with commas between them, or empty for all")


def subject_names(subjects):
    """SUBJECTS, a text with commas or a list of names -> list of names."""
    return subjects.split(",") if isinstance(subjects, str) else list(subjects)
