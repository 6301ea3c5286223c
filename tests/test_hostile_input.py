"""Values, names, images and file systems that nobody would wish for: one sentence each, at once."""

import errno
import os
import signal
import struct
import subprocess
import sys
import time
import zlib

import cv2
import numpy as np
import pytest
from conftest import ROOT, SMALL, make_datasets
from test_main import TORCHRUN, launch

import loso
import pictures
from support import files
from support.files import BadInput, format_size, read_image, replace_file, write_image

DIGITS = "9" * 30


@pytest.mark.parametrize(
    "option, value, word",
    [
        *((f"--{name}", DIGITS, name.upper()) for name in ("dim", "mlp_mult", "threads", "epochs")),
        *((f"--{name}", DIGITS, name.upper()) for name in ("batch_size", "heads", "seed")),
        ("--threads", "20000", "THREADS"),
        ("--dim", "9" * 5000, "whole number"),
        ("--dim", "60000", "lower DIM"),
        ("--block_repeats", "100000000,1,1", "BLOCK_REPEATS"),
        ("--block_repeats", "-" * 3000 + "1", "whole numbers"),
        ("--block_repeats", "(" * 3000, "whole numbers"),
        ("--class_order", "9" * 5000, "whole numbers"),
        ("--learning_rate", "nan", "LEARNING_RATE"),
        ("--learning_rate", "x" * 5000, "--learning_rate"),
        ("--dropout", "inf", "DROPOUT"),
        ("--device", "cuda:" + DIGITS, "DEVICE"),
        ("--device", "c" * 5000, "DEVICE"),
        ("--model", "--", "MODEL"),
        ("--run", "--", "RUN"),
        ("--run", "-x", "RUN"),
        ("--run", ".x", "RUN"),
        ("--run", "a\nb", "RUN"),
        ("--run", "a\x1b[31mb", "RUN"),
        ("--run", "ü" * 51, "RUN"),
        ("--run", "\udcff", "RUN"),
        ("--results", "\udcff", "RESULTS"),
        ("--weights", "a\udcff/b", "WEIGHTS"),
        ("--datasets", "\udcff", "DATASETS"),
        ("--results", "", "RESULTS"),
        ("--weights", "a\0b", "WEIGHTS"),
        ("--results", "x" * 300, "RESULTS"),
        ("--datasets", "x" * 300, "DATASETS"),
        ("--weights", "x/" * 2000, "WEIGHTS"),
        ("--subjects", "a\n\udcff", "SUBJECTS"),
        ("--subjects", "x" * 5000, "SUBJECTS"),
    ],
)
def test_odd_values_are_one_sentence(tiny, command, option, value, word):
    before = sorted(tiny.parent.iterdir())
    status, _, error = command("--train", "True", f"{option}={value}")
    assert status == 2 and error.count("\n") == 1 and word in error and len(error) < 3000
    assert error.strip().isprintable() and sorted(tiny.parent.iterdir()) == before


def test_names_that_are_not_utf8_do_not_end_in_a_crash(tiny):
    """In a process of its own, since it was a segmentation fault."""
    arguments = [sys.executable, ROOT / "main_HTNet.py", "--train", "True", *SMALL]
    for option in (b"--run", b"--results", b"--weights", b"--datasets"):
        done = subprocess.run(
            [*arguments, option, b"\xff\xfe"], cwd=tiny.parent, capture_output=True, text=True
        )
        assert done.returncode == 2 and done.stderr.count("\n") == 1 and "UTF-8" in done.stderr


def test_data_whose_names_are_not_utf8(tiny, command):
    (tiny / "combined_3_class2_for_optical_flow.csv").unlink()
    make_datasets(tiny, layout="tree", index=False)
    source = next((tiny / "three_norm_u_v_os" / "s01" / "u_test" / "0").iterdir())
    source.rename(source.with_name("s01_\udcff.png"))
    for folder in (tiny / "three_norm_u_v_os").iterdir():
        for path in (folder / "u_train").glob(f"*/{source.name}"):
            path.rename(path.with_name("s01_\udcff.png"))
    status, _, error = command("--train", "True", *SMALL)
    assert status == 2 and error.count("\n") == 1 and "UTF-8" in error and "s01_\\udcff" in error


def claim_size(width, height):
    """A small PNG, JPEG and BMP file whose headers claim so many pixels, {ending: bytes}."""
    image = np.zeros((8, 8, 3), np.uint8)
    data = {
        end: bytearray(cv2.imencode(end, image)[1].tobytes()) for end in (".png", ".jpg", ".bmp")
    }
    header = struct.pack(">II", width, height) + bytes(data[".png"][24:29])
    data[".png"][16:33] = header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    at = data[".jpg"].index(b"\xff\xc0") + 5
    data[".jpg"][at : at + 4] = struct.pack(">HH", height, width)
    data[".bmp"][18:26] = struct.pack("<ii", width, height)
    return {ending: bytes(content) for ending, content in data.items()}


@pytest.mark.parametrize("size", [(60000, 60000), (20000, 20000), (9000, 1)])
def test_images_of_billions_of_pixels_are_not_decoded(tmp_path, monkeypatch, size):
    monkeypatch.setattr(cv2, "imdecode", None)
    for ending, data in claim_size(*size).items():
        path = tmp_path / f"face{ending}"
        path.write_bytes(data)
        with pytest.raises(BadInput, match=f"face{ending} has {size[0]}x{size[1]} pixels"):
            read_image(path)


def test_frames_of_the_databases_and_telephones_are_read(tmp_path):
    for shape in ((1088, 2040), (6000, 8000, 3)):
        cv2.imwrite(str(tmp_path / "frame.jpg"), np.zeros(shape, np.uint8))
        assert read_image(tmp_path / "frame.jpg").shape == shape


def test_a_pipe_in_an_images_place(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(BadInput, match="a.png cannot be read"):
        read_image(tmp_path / "a.png")


def test_damaged_images_are_one_sentence(tmp_path):
    random = np.random.default_rng(0)
    image = random.integers(0, 255, (40, 40, 3)).astype(np.uint8)
    path, refused = tmp_path / "a.png", 0
    for ending in (".png", ".jpg", ".bmp", ".tif"):
        whole = cv2.imencode(ending, image)[1].tobytes()
        for _ in range(200):
            data = bytearray(whole)
            data[random.integers(0, min(len(data), 120))] = random.integers(0, 255)
            path.write_bytes(data)
            try:
                read_image(path)
            except BadInput:
                refused += 1
    assert refused > 100


def test_an_image_that_cannot_be_encoded(tmp_path, monkeypatch):
    monkeypatch.setattr(cv2, "imencode", lambda *_: (False, np.zeros(0, np.uint8)))
    with pytest.raises(BadInput, match="a.png could not be written"):
        write_image(tmp_path / "a.png", np.zeros((8, 8, 3), np.uint8))
    assert not list(tmp_path.iterdir())


def test_a_folder_in_a_files_place(tiny, command):
    command("--train", "True", *SMALL)
    folder = tiny.parent / "results" / "HTNet" / "folds" / "zz.npz"
    folder.mkdir()
    status, _, error = command("--train", "True", "--overwrite", "True", "--seed", "2", *SMALL)
    assert status == 2 and error.count("\n") == 1 and "zz.npz cannot be removed" in error


def test_a_temporary_file_that_vanishes(tiny, command, monkeypatch):
    """Another process renames it, between the look into the folder and that at the file."""
    command("--train", "True", *SMALL)
    vanished = tiny.parent / "results" / "HTNet" / ".1.tmp.report.md"
    vanished.symlink_to("nowhere")
    status, output, _ = command("--train", "True", *SMALL)
    assert status == 0 and "6 of 6 folds were finished before" in output


def test_a_file_system_without_locks(tiny, command, monkeypatch):
    """A note; and what a killed run leaves does not block the next one."""

    def refuse(*_):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr("fcntl.flock", refuse)
    (tiny.parent / "results").mkdir()
    (tiny.parent / "results" / ".HTNet.lock").write_text("1\nother-host\n")
    status, output, _ = command("--train", "True", *SMALL)
    assert status == 0 and "results has no locks" in output


def test_runs_that_share_only_the_weights_folder(tiny, command):
    code = (
        "import sys; from filelock import FileLock; lock = FileLock(sys.argv[1]); "
        "lock.acquire(); print('held', flush=True); sys.stdin.read()"
    )
    (tiny.parent / "weights").mkdir()
    arguments = [sys.executable, "-c", code, tiny.parent / "weights" / ".HTNet.lock"]
    pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    process = subprocess.Popen(arguments, **pipes)
    assert process.stdout.readline() == "held\n"
    status, _, error = command("--train", "True", "--results", "other", *SMALL)
    process.communicate()
    assert status == 2 and "weights/HTNet is being trained by another process" in error
    # one folder for both is no other process
    assert command("--train", "True", "--results", "one", "--weights", "one", *SMALL)[0] == 0


def test_sizes_as_people_read_them():
    assert [format_size(n) for n in (0, 999, 213_120, 38e9)] == [
        "0 bytes",
        "999 bytes",
        "213.1 kB",
        "38.0 GB",
    ]


@pytest.mark.parametrize("what", ["loss", "logits"])
def test_what_is_not_finite_names_subject_and_epoch(tiny, command, monkeypatch, what):
    calls, predict, entropy = [], loso.predict, loso.F.cross_entropy

    def spoil(function, *arguments, **options):
        calls.append(1)  # 2 batches an epoch, one prediction
        late = len(calls) > (3 if what == "loss" else 1)
        return function(*arguments, **options) * (float("nan") if late else 1)

    if what == "loss":
        monkeypatch.setattr(loso.F, "cross_entropy", lambda *a, **o: spoil(entropy, *a, **o))
    else:
        monkeypatch.setattr(loso, "predict", lambda *a: spoil(predict, *a))
    status, _, error = command("--train", "True", *SMALL)
    error = error.splitlines()[-1]
    assert status == 2 and "subject 006: the " in error and "epoch 2" in error
    assert not list((tiny.parent / "results" / "HTNet" / "folds").iterdir())


def test_one_epoch_is_a_point_that_is_seen(tmp_path, monkeypatch):
    figures = []
    monkeypatch.setattr(pictures, "save_figure", lambda figure, path: figures.append(figure))
    for epochs in (1, 2):
        logits = np.zeros((epochs, 4, 3))
        pictures.draw_curves(tmp_path, np.array([0, 1, 2, 0]), logits, np.ones((2, epochs)))
    markers = [
        {line.get_marker() for axis in figure.axes for line in axis.lines} for figure in figures
    ]
    assert markers == [{"o"}, {"None"}]


def test_a_file_is_synced_before_its_renaming_and_its_folder_after(tmp_path, monkeypatch):
    """Otherwise it may be there and empty after a power loss."""
    steps, fsync, path = [], os.fsync, tmp_path / "a.txt"

    def note(descriptor):
        steps.append((os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}")), path.exists()))
        fsync(descriptor)

    monkeypatch.setattr(files.os, "fsync", note)
    replace_file(path, lambda temporary: temporary.write_text("text"))
    assert steps == [(f".{os.getpid()}.tmp.a.txt", False), (tmp_path.name, True)]


@pytest.mark.parametrize(
    "script, seconds",
    [
        *(("main_HTNet.py", seconds) for seconds in (0.2, 0.5, 1, 2)),
        *(("prepare_datasets.py", seconds) for seconds in (0.2, 0.5, 1, 2)),
        ("recognize.py", 1),
    ],
)
def test_ctrl_c_in_the_first_seconds(tiny, script, seconds):
    """While PyTorch and others are imported."""
    process = start([sys.executable, ROOT / script, "--train", "True", *SMALL], tiny.parent)
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert "Traceback" not in output
    assert process.returncode == 130 or script != "main_HTNet.py"  # it may have ended


def start(arguments, folder):
    """A process that hears Ctrl-C, also where the tests run in the background."""
    return subprocess.Popen(
        arguments,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_under_torchrun(tiny, number):
    """torchrun prints its own report and passes the signal on; the ranks add no traceback."""
    process = launch(tiny.parent, *SMALL, "--epochs", "3000", launcher=TORCHRUN)
    folder = tiny.parent / "results" / "HTNet" / "folds"
    deadline = time.monotonic() + 120
    while not folder.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(number)
    output, _ = process.communicate(timeout=60)
    assert process.returncode != 0 and 'main_HTNet.py", line' not in output
