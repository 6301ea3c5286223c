"""Files: read or refused in one sentence, written whole or not at all."""

import contextlib
import os
from pathlib import Path

import cv2
import numpy as np
import pandas as pd


class BadInput(ValueError):
    """The user gave something wrong; the message is a sentence: what it is and what to do."""


def read_image(path, flags=cv2.IMREAD_UNCHANGED):
    """An image file -> uint8 or uint16 [H, W] or [H, W, C], OpenCV's channel order; or BadInput."""
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise BadInput(f"{path} cannot be read ({error.strerror}).") from None
    # OpenCV fills the missing part of a truncated file with grey and only warns, so the end is
    # looked for first.
    truncated = (
        data[:2] == b"\xff\xd8"
        and b"\xff\xd9" not in data[len(data) // 2 :]
        or data[:4] == b"\x89PNG"
        and b"IEND" not in data[-64:]
    )
    image = None if truncated or not data else cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    if image is None:
        raise BadInput(
            f"{path} is {'truncated' if truncated else 'not a readable image'}: replace the file."
        )
    return image


def read_table(path, columns, advice):
    """A CSV file -> DataFrame of text, so that SAMM's subjects stay '006'.

    Raises BadInput where it is no table or lacks one of `columns`; advice: what the user can do
    then.
    """
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except OSError as error:
        raise BadInput(f"{path} cannot be read ({error.strerror}).") from None
    except UnicodeError:
        raise BadInput(f"{path} is not text in UTF-8: save it as CSV, UTF-8.") from None
    except ValueError as error:
        raise BadInput(
            f"{path} is not a readable CSV file ({str(error).splitlines()[0].rstrip('.')}): "
            f"{advice}."
        ) from None
    if missing := [column for column in columns if column not in table]:
        raise BadInput(
            f"{path} lacks the column '{missing[0]}' (it has {', '.join(table.columns)}): {advice}."
        )
    return table


def replace_file(path, write):
    """Calls write(temporary path), then renames to `path`, so that no reader ever sees half a file.

    The temporary name keeps the ending (`.<pid>.tmp.<name>`). Raises BadInput where the disk is
    full or not writable.
    """
    path = Path(path)
    temporary = path.with_name(f".{os.getpid()}.tmp.{path.name}")
    try:
        write(temporary)
        temporary.replace(path)
    except (OSError, RuntimeError) as error:  # torch.save reports a full disk as RuntimeError
        raise BadInput(
            f"{path} could not be written ({error}): make room or choose another folder; what was "
            "finished before is kept."
        ) from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_text(path, text):
    """Writes a text file, UTF-8, whole or not at all."""
    replace_file(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_image(path, image, options=()):
    """Writes an image, format by the path's ending, whole or not at all."""
    data = cv2.imencode(Path(path).suffix, image, list(options))[
        1
    ].tobytes()  # cv2.imwrite fails without a word
    replace_file(path, lambda temporary: temporary.write_bytes(data))


def check_exists(path):
    """Whether `path` exists; raises BadInput where the system cannot tell."""
    try:
        return path.exists()
    except (OSError, ValueError) as error:
        raise BadInput(f"{path} cannot be used ({error}): choose another folder.") from None


def make_folder(folder):
    """Makes a folder, with those above it; raises BadInput."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise BadInput(f"{folder} cannot be made ({error}): choose another folder.") from None
