"""The readers of files that a run leaves, each with what it is given: folds, weights, records.

Each function gets a folder and returns (what hypothesis draws, check(case), the unedited case).
"""

import io
import json

import hypothesis.strategies as st
import numpy as np
import torch

import main_HTNet
from support.records import read_record
from support.run_folder import RunFolder
from support.weights_files import load_weights
from tests.conftest import SAMPLES
from tests.endurance.edits import EDITS, edit, edit_pickle

ARRAYS = st.sampled_from(
    [
        np.array([]),
        np.array(3),
        np.array("x"),
        np.array(["a", "b"]),
        np.array([[1.0, np.nan]]),
        np.full((3, 2, 3), np.inf),
        np.zeros((3, 2, 5), "f4"),
        np.zeros((3, 2, 3), complex),
        np.zeros((3, 2, 3), "f8"),
        np.zeros((3, 2, 3), "U1"),
        np.zeros((0, 2, 3)),
        np.array(-5),
        np.array(10**18),
        np.array(np.datetime64("NaT")),
        np.array(b"{}"),
        np.array("{}"),
        np.array('{"settings": 3, "data": 1}'),
        np.array("[" * 5000),
    ]
)
KEYS = ("names", "labels", "logits", "losses", "epoch", "seconds", "machine", "record")


def fuzz_folds(folder):
    """Files of finished folds: arrays of other kinds, and damaged files."""
    values = {name: getattr(main_HTNet, name) for name in main_HTNet.CONSTANTS}
    values |= {"RESULTS": folder, "RUN": "trial"}
    run = RunFolder(type("Settings", (), values))
    run.record = {"settings": {"MODEL": "HTNet"}, "data": "x"}
    names, labels = np.array([f"{s[0]}_{s[1]}" for s in SAMPLES[:2]]), np.array([0, 1])
    good = dict(names=names, labels=labels, logits=np.zeros((3, 2, 3), "f4"), epoch=1, seconds=1.0)
    good |= dict(losses=np.zeros(3, "f4"), machine="m", record=json.dumps(run.record))
    path = run.fold_path("sub01")
    path.parent.mkdir(parents=True)

    def check(case):
        changes, edits = case
        stream = io.BytesIO()
        np.savez(stream, **(good | changes))
        path.write_bytes(edit(stream.getvalue(), edits))
        run.load_fold("sub01", names, labels, 3, 3)

    changes = st.dictionaries(st.sampled_from(KEYS), ARRAYS, max_size=2)
    return st.tuples(changes, EDITS), check, ({}, [])


TENSORS = st.sampled_from(
    [
        None,
        3,
        "x",
        [1],
        {},
        torch.tensor(float("nan")),
        torch.zeros(0),
        torch.zeros(3),
        torch.zeros(3, dtype=torch.complex64),
        torch.zeros(3, dtype=torch.int64),
        torch.zeros(3, dtype=torch.bool),
        torch.zeros(3, device="meta"),
        torch.zeros(3).to_sparse(),
        torch.zeros(1).expand(3),
        torch.full((3,), float("inf")),
        torch.zeros(3, dtype=torch.bfloat16),
    ]
)


def fuzz_weights(folder):
    """Weights: other tensors, other names, and damaged files."""
    model, path = main_HTNet.STSTNet(), folder / "sub01.pth"
    good = model.state_dict()
    names = st.one_of(st.sampled_from([*good, "mlp_head.0.g", "x"]), st.integers())

    def check(case):
        changes, edits, in_archive = case
        stream = io.BytesIO()
        torch.save(good | changes, stream)
        data = stream.getvalue()
        data = edit_pickle(data, edits) if in_archive else edit(data, edits)
        path.write_bytes(data)
        load_weights(main_HTNet.STSTNet(), path)

    changes = st.dictionaries(names, TENSORS, max_size=2)
    return st.tuples(changes, EDITS, st.booleans()), check, ({}, [], True)


def fuzz_records(folder):
    """settings.json."""
    path = folder / "settings.json"
    good = json.dumps({"settings": {"MODEL": "HTNet", "EPOCHS": 3}, "data": "x"}, indent=1)

    def check(edits):
        path.write_bytes(edit(good.encode(), edits))
        read_record(path)

    return EDITS, check, []
