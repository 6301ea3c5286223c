"""Files: read or refused in one sentence, written whole or not at all."""

import contextlib
import errno
import os
import re
import warnings
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from PIL import Image

LARGEST_SIDE = 8192  # pixels: frames of the databases have up to 2040, of telephones some 8,000
Image.MAX_IMAGE_PIXELS = None  # the limit above is stricter than Pillow's own
ADVICE = {  # why a file could not be written: what to do
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "make room or choose another folder"),
    **dict.fromkeys(
        (errno.EACCES, errno.EPERM, errno.EROFS), "make the folder writable or choose another one"
    ),
}


class BadInput(ValueError):
    """The user gave something wrong; the message is a sentence: what it is and what to do."""


def is_plain(text):
    """Whether a text is UTF-8 (a name in another encoding has surrogates) on a single line."""
    return not re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]", text)


def check_name(path):
    """Raises BadInput where a path cannot be written into a table or handed to a library."""
    if not is_plain(str(path)):
        raise BadInput(f"{path}: its name must be UTF-8 without control characters; rename it.")


def read_image(path, flags=cv2.IMREAD_UNCHANGED):
    """An image file -> uint8 or uint16 [H, W] or [H, W, C], OpenCV's channel order; or BadInput.

    The size is read from the header first: a small file can claim billions of pixels.
    """
    check_image_size(path)
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
    image = None
    if data and not truncated:
        with contextlib.suppress(cv2.error):
            image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    if image is None:
        raise BadInput(
            f"{path} is {'truncated' if truncated else 'not a readable image'}: replace the file."
        )
    return image


def check_image_size(path):
    """Raises BadInput where an image's header says too many pixels, or cannot be read."""
    try:
        if not Path(path).is_file():
            raise FileNotFoundError(errno.ENOENT, "no such file")  # nor a pipe, which would hang
        with warnings.catch_warnings(action="ignore"), Image.open(path) as image:
            width, height = image.size
    except Exception as error:  # of a damaged header Pillow's formats raise whatever they like
        reason = getattr(error, "strerror", None)
        problem = f"cannot be read ({reason})" if reason else "is not a readable image"
        raise BadInput(f"{path} {problem}: replace the file.") from None
    if max(width, height) > LARGEST_SIDE:
        raise BadInput(
            f"{path} has {width}x{height} pixels, more than {LARGEST_SIDE} a side: replace the "
            "file by a smaller image."
        )


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

    The temporary name keeps the ending (`.<pid>.tmp.<name>`). File and folder are synced: a file
    that is there is whole, also after a power loss. Raises BadInput where it cannot be written.
    """
    path = Path(path)
    temporary = path.with_name(f".{os.getpid()}.tmp.{path.name}")
    try:
        write(temporary)
        sync(temporary)
        temporary.replace(path)
        with contextlib.suppress(OSError):  # not every file system syncs folders
            sync(path.parent)
    except (OSError, RuntimeError) as error:
        # torch.save raises RuntimeError while it handles the OSError
        cause = error if isinstance(error, OSError) else error.__context__
        reason = getattr(cause, "strerror", None) or error
        advice = ADVICE.get(getattr(cause, "errno", None), "choose another folder")
        raise BadInput(
            f"{path} could not be written ({reason}): {advice}; what was finished before is kept."
        ) from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def sync(path):
    """Returns when a file, or a folder's list of names, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path, text):
    """Writes a text file, UTF-8, whole or not at all."""
    replace_file(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_image(path, image, options=()):
    """Writes an image, format by the path's ending, whole or not at all."""
    made, data = cv2.imencode(Path(path).suffix, image, list(options))
    if not made:
        raise BadInput(f"{path} could not be written (OpenCV cannot encode it): take another name.")
    replace_file(path, lambda temporary: temporary.write_bytes(data.tobytes()))


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


def format_size(count):
    """A number of bytes as people read it: "38.0 GB", "213.1 kB"."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} bytes"
