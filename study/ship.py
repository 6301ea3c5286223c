"""Makes the files of weights/pretrained/HTNet/ from finished runs.

    python -m study.ship folds weights/RUN            folds.safetensors: a network per subject
    python -m study.ship clips weights/RUN-seed*      clips.safetensors: networks trained on all

The folds' networks are stored in half precision, which must not change a prediction. Those for
clips are averaged (`recognition/ensemble.py`); beside them lies the mean of the training samples'
inputs, in whose place an area is put to see what it contributes.
"""

import argparse
import hashlib
from pathlib import Path

import numpy as np
import torch

import loso
import main_HTNet
from recognition.ensemble import build_network
from run import adopt_settings, prepare
from support.files import BadInput, make_folder
from support.records import read_record
from support.settings import read_settings
from support.shipped_weights import ENDING, load_state, write_shipped
from support.weights_files import Weights

TARGET = Path(__file__).parents[1] / "weights" / "pretrained" / "HTNet"


def read_run(folder):
    """weights/<run>/ -> ({name: state dict}, its record); raises BadInput."""
    record = read_record(folder / "settings.json")
    states = {
        path.stem: torch.load(path, map_location="cpu", weights_only=True)
        for path in sorted(folder.glob("[!.]*.pth"))
    }
    if not states or record is None:
        raise BadInput(f"{folder} holds no weights: name the folder of a run that kept them.")
    return states, record


def check_runs(folders, records, data):
    """Raises BadInput unless the runs differ in their seeds only, and are fit to be shipped."""
    first = records[0]
    for folder, record in zip(folders, records):
        settings = record["settings"]
        if settings["KEEP"] != "last" or settings["FOLDS"] or settings["SHUFFLE_LABELS"]:
            raise BadInput(f"{folder} must be of the last epoch, without FOLDS, of true labels.")
        if record["data"] != data:
            raise BadInput(f"{folder} was trained on other data than these.")
        alike = settings | {"SEED": 0} == first["settings"] | {"SEED": 0}
        if not alike:
            raise BadInput(f"{folder} and {folders[0]} differ in more than their seeds.")


def predict_all(states, record, run, path):
    """Predictions int [N], each subject's by its own fold's network."""
    network, predicted = build_network(record), np.full(len(run.composite.names), -1)
    for fold in run.folds:
        load_state(network, states[fold.name], path)
        predicted[fold.test] = loso.predict(network, run.inputs[fold.test]).argmax(1)
    return predicted


def halve(state):
    """A state dict as half precision gives it back."""
    return {name: value.half().float() for name, value in state.items()}


def ship_folds(folder, states, record, run):
    """Writes the networks of a run's folds; raises BadInput where half precision is too coarse."""
    names = [fold.name for fold in run.folds]
    if sorted(states) != sorted(names):
        raise BadInput(f"{folder} must hold the weights of each subject, and no others.")
    halved = {name: halve(state) for name, state in states.items()}
    exact = predict_all(states, record, run, folder)
    changed = int((exact != predict_all(halved, record, run, folder)).sum())
    if changed:
        raise BadInput(f"half precision changes {changed} predictions of {folder}.")
    path = TARGET / f"folds{ENDING}"
    write_shipped(path, build_network(record), states, record, half=True)
    return path


def ship_clips(folders, states, record, run):
    """Writes networks trained on all subjects, and the mean input."""
    if any(set(state) != {"all"} for state in states):
        raise BadInput("each of the runs must hold all.pth alone: train with --subjects all.")
    members = {folder.name: state["all"] for folder, state in zip(folders, states)}
    path = TARGET / f"clips{ENDING}"
    plain = run.inputs if run.inputs.ndim == 4 else run.inputs[:, 0]  # without mirror images
    write_shipped(path, build_network(record), members, record, baseline=plain.mean(0))
    return path


def main(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kind", choices=("folds", "clips"))
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--datasets", default="datasets")
    arguments = parser.parse_args(argv)
    try:
        states, records = zip(*map(read_run, arguments.runs))
        constants = {name: getattr(main_HTNet, name) for name in main_HTNet.CONSTANTS}
        options = ["--train", "False", "--datasets", arguments.datasets]
        settings = read_settings(options, constants, main_HTNet.PRESETS, main_HTNet.__file__)
        settings = adopt_settings(settings, Weights(arguments.runs[0]))
        run = prepare(settings, main_HTNet.build_model)
        check_runs(arguments.runs, records, run.record["data"])
        record = records[0] | {"classes": run.composite.classes}
        make_folder(TARGET)
        if arguments.kind == "clips":
            path = ship_clips(arguments.runs, states, record, run)
        elif len(arguments.runs) == 1:
            path = ship_folds(arguments.runs[0], states[0], record, run)
        else:
            raise BadInput("the folds are of one run: name one.")
    except BadInput as error:
        parser.error(error)
    print(f"{path}, {path.stat().st_size / 1e6:.1f} MB")
    print("sha256", hashlib.sha256(path.read_bytes()).hexdigest())


if __name__ == "__main__":
    main()
