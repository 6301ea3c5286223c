"""Makes the files of weights/pretrained/HTNet/ from finished runs.

    python -m study.ship folds weights/RUN            folds.safetensors: a network per subject
    python -m study.ship clips weights/RUN-seed*      clips.safetensors: networks trained on all

The folds' networks are stored in half precision, which must not change a prediction. Those for
clips are averaged (`recognition/ensemble.py`); beside them lies the mean of the training samples'
inputs, in whose place an area is put to see what it contributes.
"""

import argparse
import hashlib
import json
from pathlib import Path

import numpy as np
import torch

import loso
from augmentation import mirror
from composite_dataset import load_composite
from facial_areas import find_centres
from inputs import list_layout, make_inputs, parse_areas
from recognition.ensemble import build_network
from support.files import BadInput, make_folder
from support.shipped_weights import ENDING, load_state, read_shipped, write_shipped

TARGET = Path(__file__).parents[1] / "weights" / "pretrained" / "HTNet"


def read_run(folder, composite):
    """weights/<run>/ -> ({name: state dict}, its record with the classes' names)."""
    record = json.loads((folder / "settings.json").read_text(encoding="utf-8"))
    states = {
        path.stem: torch.load(path, map_location="cpu", weights_only=True)
        for path in sorted(folder.glob("[!.]*.pth"))
    }
    if not states:
        raise BadInput(f"{folder} holds no weights: name the folder of a run that kept them.")
    return states, record | {"classes": list(composite.classes)}


def predict_all(states, record, composite, inputs, path):
    """Predictions int [N], each subject's by its own fold's network."""
    network, predicted = build_network(record), np.full(len(composite.names), -1)
    for fold in loso.split_subjects(composite, record["settings"]["CLASS_ORDER"]):
        load_state(network, states[fold.name], path)
        predicted[fold.test] = loso.predict(network, inputs[fold.test]).argmax(1)
    return predicted


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kind", choices=("folds", "clips"))
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--datasets", type=Path, default="datasets")
    arguments = parser.parse_args()
    composite = load_composite(arguments.datasets)
    centres, _ = find_centres(composite, arguments.datasets / "facial_areas.csv")
    runs = [read_run(folder, composite) for folder in arguments.runs]
    record, path = runs[0][1], TARGET / f"{arguments.kind}{ENDING}"
    names = parse_areas(record["settings"]["AREAS"])
    inputs = make_inputs(composite.flows, centres, names, record["settings"]["NORMALIZE"])
    make_folder(TARGET)
    if arguments.kind == "clips":
        states = {folder.name: run[0]["all"] for folder, run in zip(arguments.runs, runs)}
        write_shipped(path, states, record, baseline=inputs.mean(0))
    else:
        views = inputs
        if record["settings"]["AUGMENT"]:
            views = torch.stack([inputs, mirror(inputs, list_layout(names))], dim=1)
        exact = predict_all(runs[0][0], record, composite, views, arguments.runs[0])
        write_shipped(path, runs[0][0], record, half=True)
        halved = predict_all(read_shipped(path)[0], record, composite, views, path)
        if (exact != halved).any():
            path.unlink()
            parser.error(f"half precision changes {(exact != halved).sum()} predictions.")
    print(f"{path}, {path.stat().st_size / 1e6:.1f} MB")
    print("sha256", hashlib.sha256(path.read_bytes()).hexdigest())


if __name__ == "__main__":
    main()
