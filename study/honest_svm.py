"""Support vector machines on normalized mosaics and maps, averaged over mirror images; and one
whose features and C are chosen by inner groups of subjects.

    python -m study.honest_svm --output docs/results     some ten minutes on one core

The machine is the honest recipe's teacher (`teacher.py`), here with each choice of features. For
the nested one the subjects are cut into OUTER groups. Within the others, INNER groups compare all
of GRID by UF1 + UAR; what is best predicts the group's subjects, by leave-one-subject-out.
"""

import argparse
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from tqdm import tqdm

import loso
from augmentation import PADDING, mirror
from composite_dataset import load_composite
from evaluation import score_groups, unweighted_scores
from facial_areas import find_centres
from inputs import make_inputs, parse_areas
from report import format_markdown
from study.summarize import format_seeds
from study.svm import write_predictions
from teacher import LAYOUT, shrink

OUTER, INNER = 10, 5
PARTS = {"areas": [0], "whole": [1], "both": [0, 1]}
GRID = list(product(PARTS, ("", "magnitude"), (0.5, 1, 2, 4)))  # parts, magnitude, C
TEACHER = ("both", "magnitude", 1)


def make_features(composite, centres):
    """float [2, N, 2, 4, 196]: samples and mirror images; mosaic, map; strain, v, u, magnitude."""
    seen = make_inputs(composite.flows, centres, parse_areas("all,whole"), True, PADDING)
    views = [shrink(view) for view in (seen, mirror(seen, LAYOUT))]
    return np.stack(views).reshape(2, len(seen), 2, 4, -1)


def select_features(features, setting):
    parts, magnitude, _ = setting
    chosen = features[:, :, PARTS[parts], : 4 if magnitude else 3]
    return chosen.reshape(*chosen.shape[:2], -1)


def predict(features, labels, train, test, setting):
    """Predictions int [m] of a machine trained on samples and mirror images."""
    chosen = select_features(features, setting)
    machine = make_pipeline(StandardScaler(), SVC(C=setting[2], class_weight="balanced"))
    machine.fit(np.concatenate(chosen[:, train]), np.tile(labels[train], 2))
    return sum(machine.decision_function(view) for view in chosen[:, test]).argmax(1)


def choose_setting(features, labels, subjects):
    """The setting of GRID that scores best over INNER groups of these samples' subjects."""
    split = GroupKFold(INNER, shuffle=True, random_state=0).split(labels, groups=subjects)
    predicted = {setting: np.empty_like(labels) for setting in GRID}
    for train, test in split:
        for setting in GRID:
            predicted[setting][test] = predict(features, labels, train, test, setting)
    return max(GRID, key=lambda setting: sum(unweighted_scores(labels, predicted[setting])))


def main(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--datasets", type=Path, default="datasets")
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args(argv)
    composite = load_composite(arguments.datasets)
    centres, _ = find_centres(composite, arguments.datasets / "facial_areas.csv")
    features, labels = make_features(composite, centres), composite.labels
    folds = loso.split_subjects(composite, (0, 1, 2))
    mirrored, nested = np.full((2, len(labels)), -1)
    for fold in tqdm(folds, unit="fold"):
        mirrored[fold.test] = predict(features, labels, fold.train, fold.test, TEACHER)
    groups = loso.split_subjects(composite, (0, 1, 2), groups=OUTER)
    for group in tqdm(groups, unit="group"):
        others = np.sort(group.train)
        chosen = choose_setting(features[:, others], labels[others], composite.subjects[others])
        tqdm.write(f"{group.name}: {' '.join(map(str, chosen))}")
        for fold in folds:
            if fold.test[0] in group.test:
                nested[fold.test] = predict(features, labels, fold.train, fold.test, chosen)
    rows = []
    for name, predicted in (("SVM-both-mirrored-14", mirrored), ("SVM-nested", nested)):
        write_predictions(arguments.output / name, composite, predicted)
        scores = score_groups(composite.databases, labels, predicted)
        rows.append({"": name} | {key: format_seeds([pair]) for key, pair in scores.items()})
    print(format_markdown(pd.DataFrame(rows)))


if __name__ == "__main__":
    main()
