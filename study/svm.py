"""The one-second baseline: an RBF support vector machine on shrunken flow maps.

    python -m study.svm                        prints a table; needs the databases in datasets/
    python -m study.svm --output docs/results  also writes <output>/SVM-<variant>/predictions.csv

Folds and metrics are the networks'.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

import facial_areas
import loso
from composite_dataset import INDEX_NAME, load_composite, normalize
from evaluation import score_groups
from report import format_markdown
from study.summarize import format_seeds
from support.files import BadInput, write_text

RELEASED = Path(__file__).parents[1] / "datasets" / "released_area_centres.csv"


def make_features(composite, maps, side, centres):
    """[N, side * side * 3]: flow maps, or mosaics of four areas, averaged to side x side."""
    flows = (
        normalize(composite.flows) if maps == "normalized" else composite.flows.astype(np.float32)
    )
    if centres is not None:
        flows = [facial_areas.crop_areas(flow, four) for flow, four in zip(flows, centres)]
    return np.stack(
        [cv2.resize(flow, (side, side), interpolation=cv2.INTER_AREA).ravel() for flow in flows]
    )


def predict_held_out(composite, inputs, class_weight="balanced"):
    """Held-out predictions int [N]; features standardised on each fold's training samples."""
    predicted = np.full(len(inputs), -1)
    for fold in loso.split_subjects(composite, (0, 1, 2)):
        machine = make_pipeline(StandardScaler(), SVC(C=1.0, class_weight=class_weight))
        machine.fit(inputs[fold.train], composite.labels[fold.train])
        predicted[fold.test] = machine.predict(inputs[fold.test])
    return predicted


def write_predictions(folder, composite, predicted):
    """A machine's folder in docs/results/: predictions.csv."""
    folder.mkdir(parents=True, exist_ok=True)
    columns = {
        "name": composite.names,
        "database": composite.databases,
        "subject": composite.subjects,
        "label": composite.labels,
        "prediction": predicted,
    }
    write_text(folder / "predictions.csv", pd.DataFrame(columns).to_csv(index=False))


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--datasets", type=Path, default="datasets")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    if not (arguments.datasets / INDEX_NAME).exists():
        parser.error(
            f"{arguments.datasets} holds no {INDEX_NAME}: put the databases there first "
            "(docs/data.md), or give their folder with --datasets."
        )
    try:
        composite = load_composite(arguments.datasets)
        areas = arguments.datasets / "facial_areas.csv"
        dlib, found = facial_areas.find_centres(composite, areas)
        facial_areas.append_centres(areas, found)
    except BadInput as error:
        parser.error(error)
    variants = {  # name: side, centres, class weights
        "whole-{maps}-7": (7, None, "balanced"),
        "whole-{maps}-14": (14, None, "balanced"),
        "areas-{maps}-14": (14, dlib, "balanced"),
        "whole-{maps}-14-unweighted": (14, None, None),
        "areas-{maps}-14-unweighted": (14, dlib, None),
    }
    released = facial_areas.read_centres(RELEASED)
    if set(composite.names) <= set(released):
        variants["areas-{maps}-14-released"] = (
            14,
            np.stack([released[name] for name in composite.names]),
            "balanced",
        )
    rows = []
    for pattern, (side, centres, class_weight) in variants.items():
        for maps in ("pixels", "normalized"):
            variant = pattern.format(maps=maps)
            predicted = predict_held_out(
                composite, make_features(composite, maps, side, centres), class_weight
            )
            scores = score_groups(composite.databases, composite.labels, predicted)
            cells = {group: format_seeds([pair]) for group, pair in scores.items()}
            rows.append({"variant": variant} | cells)
            if arguments.output:
                write_predictions(arguments.output / f"SVM-{variant}", composite, predicted)
    print(format_markdown(pd.DataFrame(rows)))


if __name__ == "__main__":
    main()
