"""Fixtures: a tiny fictitious composite, the real one where it is at hand, and the command run in
this process.
"""

import csv
import json
import os
import re
import tarfile
from pathlib import Path

# Before NumPy and PyTorch are imported, and for every command that a test starts: two tests run at
# once on two cores, and threads that wait for each other keep them busy.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import cv2
import numpy as np
import pytest
import torch
from hypothesis import settings

import main_HTNet
from composite_dataset import (
    FACE_FOLDER,
    FLOW_FOLDER,
    FLOW_TREE,
    INDEX_NAME,
    load_composite,
)
from facial_areas import find_centres
from inputs import make_inputs, parse_areas
from loso import train_fold
from recognition.ensemble import build_network, load_ensemble
from support.shipped_weights import write_shipped

ROOT = Path(__file__).parent.parent
torch.set_num_threads(1)  # threads cost more than they bring at these sizes
settings.register_profile("untimed", deadline=None)  # a busy machine is no fault
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def real_datasets(tmp_path_factory):
    """The real composite's datasets folder; where it is absent, the test is skipped.

    HTNET_COMPOSITE names the archive, a .tar.xz, where it lies elsewhere.
    """
    beside = ROOT.parent / "shared" / "data" / "composite.tar.xz"
    archive = Path(os.environ.get("HTNET_COMPOSITE") or beside)
    if not archive.exists():
        pytest.skip(f"the real composite ({archive}, or HTNET_COMPOSITE) is not at hand")
    folder = tmp_path_factory.mktemp("real")
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    return folder / "datasets"


@pytest.fixture(scope="session")
def reference():
    return {
        path.stem: json.loads(path.read_text())
        for path in (ROOT / "tests" / "reference").glob("*.json")
    }


SAMPLES = [  # subject, clip, label: two subjects of each database
    ("sub01", "EP01_01", 0),
    ("sub01", "EP01_02", 1),
    ("sub01", "EP01_03", 2),
    ("sub02", "EP02_01f", 0),
    ("s01", "s01_ne_01", 0),
    ("s01", "s01_po_01", 1),
    ("s02", "s02_sur_01", 2),
    ("s02", "s02_ne_01", 0),
    ("006", "006_1_2", 0),
    ("006", "006_1_3", 2),
    ("007", "007_3_1", 1),
    ("007", "007_3_2", 2),
]


def write_png(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)


def tiny_flow(number, label):
    """A flow image that shows its label: one corner bright in one channel."""
    image = np.random.default_rng(number).integers(0, 60, (28, 28, 3)).astype(np.uint8)
    image[4:12, 4 + 6 * label : 12 + 6 * label, label] = 250
    return image


def make_datasets(root, layout="flat", index=True, space=" "):
    """Writes the tiny composite in one of the released layouts; without faces."""
    for number, (subject, clip, label) in enumerate(SAMPLES):
        image, file = tiny_flow(number, label), f"{subject}_{clip}{space}.png"
        if layout == "tree":
            for held_out in dict.fromkeys(sample[0] for sample in SAMPLES):
                part = "u_test" if held_out == subject else "u_train"
                write_png(root / FLOW_TREE / held_out / part / str(label) / file, image)
        else:
            write_png(root / {"flat": FLOW_FOLDER, "combined": FACE_FOLDER}[layout] / file, image)
    if index:
        with open(root / INDEX_NAME, "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(
                ["dataset", "sub", "filename_o", "label", "apex", "imagename", "sub_filename"]
            )
            for subject, clip, label in SAMPLES:
                database = (
                    "casme2" if subject[:3] == "sub" else "smic" if subject[0] == "s" else "samm"
                )
                writer.writerow([database, subject, clip, label, "", "", ""])
    return root


@pytest.fixture
def tiny(tmp_path):
    return make_datasets(tmp_path / "datasets")


SMALL = [
    "--dim",
    "8",
    "--heads",
    "2",
    "--block_repeats",
    "1,1,1",
    "--epochs",
    "3",
    "--batch_size",
    "8",
    "--learning_rate",
    "1e-3",
]


@pytest.fixture
def command(tmp_path, capsys, monkeypatch):
    """command(*arguments) runs main_HTNet.py in tmp_path -> (exit status, standard output, standard
    error).
    """
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        status = 0
        try:
            main_HTNet.main([str(argument) for argument in arguments])
        except SystemExit as stop:
            status = stop.code
        return status, *capsys.readouterr()

    return run


def rows(output, choice):
    """{group: (UF1, UAR)} of a choice's rows in the printed table."""
    found = re.findall(
        rf"\| {choice} \| ([\w ]+) \| \d+ \| \d+ \| ([\d.]+) \| [\d.-]+ \| ([\d.]+) \|", output
    )
    return {group: (uf1, uar) for group, uf1, uar in found}


@pytest.fixture(scope="session")
def ensemble_file(tmp_path_factory):
    """Weights of two small networks, trained for some seconds on the synthetic sample."""
    composite = load_composite(ROOT / "datasets" / "sample")
    centres = find_centres(composite, ROOT / "datasets" / "sample" / "facial_areas.csv")[0]
    inputs = make_inputs(composite.flows, centres, parse_areas("all"), normalized=True)
    settings = {name: getattr(main_HTNet, name) for name in main_HTNet.CONSTANTS}
    settings |= {"DIM": 16, "BLOCK_REPEATS": [1, 1, 1], "NORMALIZE": True, "AUGMENT": True}
    record, states = {"settings": settings, "data": "", "classes": composite.classes}, {}
    for seed in range(2):
        torch.manual_seed(seed)
        model = build_network(record)
        order = torch.randperm(len(inputs))
        labels = torch.from_numpy(composite.labels)[order]
        options = dict(epochs=25, batch_size=27, learning_rate=1e-3, keep="none")
        train_fold(model, inputs[order], labels, inputs[:3], labels[:3], **options)
        states[f"seed{seed}"] = model.state_dict()
    path = tmp_path_factory.mktemp("ensemble") / "small.safetensors"
    write_shipped(path, model, states, record, baseline=inputs.mean(0))
    return path


@pytest.fixture(scope="session")
def ensemble(ensemble_file):
    return load_ensemble(ensemble_file)


def refusal(main, arguments, monkeypatch, capsys):
    """What a script of the study says to wrong arguments; its exit status is 2."""
    monkeypatch.setattr("sys.argv", ["script", *map(str, arguments)])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    return capsys.readouterr().err
