"""Small files that would unpack to gigabytes, as a fold and as weights: memory is measured."""

import io
import resource
import zipfile

import numpy as np
import torch

import main_HTNet
from support.files import BadInput
from support.run_folder import RunFolder
from support.weights_files import load_weights
from tests.endurance.common import FORK

SIZE = 3 * 2**29  # bytes that a bomb unpacks to
LIMIT = 10**9  # bytes that refusing it may take
SAMPLES = np.array(["sub01_a", "sub01_b"]), np.array([0, 1])


def write_fold(path, name="logits", shape=(SIZE // 4,), unpacked=SIZE):
    """A .npz file in which one array says that it is huge, and (or) is."""
    header = io.BytesIO()
    fields = {"descr": "<f4", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(header, fields)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
            file.write(header.getvalue())
            _write_zeros(file, unpacked)


def _write_zeros(file, size):
    for _ in range(size // 2**24):
        file.write(bytes(2**24))


def write_weights(path, size):
    """Weights whose storage of `size` bytes is packed to a thousandth."""
    torch.save({"weight": torch.zeros(4)}, path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, data in members.items():
            if name.endswith("/data/0"):
                with archive.open(name, "w", force_zip64=True) as file:
                    _write_zeros(file, size)
            else:
                # the storage's length, 4 elements, is a number in the pickle
                number = b"J" + (size // 4).to_bytes(4, "little")
                archive.writestr(name, data.replace(b"K\x04", number))


def write_stretched(path):
    """Weights of one number, repeated by a stride of 0 to gigabytes."""
    torch.save({"fc.bias": torch.zeros(1).expand(SIZE // 4)}, path)


MAKE = {
    "fold, packed zeros": write_fold,
    "fold, an array that it should not have": lambda path: write_fold(path, "extra"),
    "fold, a size that is not there": lambda path: write_fold(path, shape=(2**44,), unpacked=0),
    "weights, packed zeros": lambda path: write_weights(path, SIZE),
    "weights, one number repeated": write_stretched,
}


def _read(folder, name, sender):
    """In a forked process: reads the bomb and sends what came of it and its peak memory."""
    run, path = RunFolder(_settings(folder)), folder / "bomb"
    run.record = {"settings": {"MODEL": "STSTNet"}, "data": ""}
    outcome = "it was accepted"
    try:
        if name.startswith("fold"):
            path = run.fold_path("sub01")
            run.load_fold("sub01", *SAMPLES, 2, 3)
        else:
            load_weights(main_HTNet.STSTNet(), path)
    except BadInput:
        outcome = None
    except BaseException as error:
        outcome = f"{type(error).__name__}: {error}"
    sender.send((outcome, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024))


def _settings(folder):
    settings = {name: getattr(main_HTNet, name) for name in main_HTNet.CONSTANTS}
    settings |= {"RESULTS": folder, "RUN": "trial", "WEIGHTS": folder / "weights"}
    return type("Settings", (), settings)


def try_bombs(folder, count):
    """A case for each kind of bomb, `count` of them."""
    for name in list(MAKE)[:count]:
        run = RunFolder(_settings(folder))
        path = run.fold_path("sub01") if name.startswith("fold") else folder / "bomb"
        path.parent.mkdir(parents=True, exist_ok=True)
        MAKE[name](path)
        receiver, sender = FORK.Pipe(duplex=False)
        process = FORK.Process(target=_read, args=(folder, name, sender))
        process.start()
        process.join()
        if not receiver.poll():
            yield f"{name}: the process died ({process.exitcode})"
            continue
        outcome, peak = receiver.recv()
        if peak > LIMIT:
            outcome = f"{peak / 1e9:.1f} GB of memory ({outcome or 'then refused'})"
        yield f"{name}: {outcome}" if outcome else None
