"""Packs finished runs for docs/results/: every epoch's held-out predictions and logits, and the
run's report.

    python -m study.pack results/STSTNet-seed2 ...      writes docs/results/STSTNet-seed2/ ...

epochs.npz holds names, databases, subjects [N] (text), labels [N], predicted uint8 [E, N], logits
float16 [E, N, 3] and losses float32 [E], the mean over folds. The predictions are those of the full
logits: rounding can turn one.
"""

import argparse
import functools
import shutil
from pathlib import Path

import numpy as np
import pandas as pd

from study import experiments
from support.files import BadInput, replace_file

REPORT = (
    "report.md",
    "predictions.csv",
    "settings.json",
    "confusion_matrices.png",
    "learning_curves.png",
)


def pack(run, target):
    """run: a folder results/<run>/ with all its folds; target: a folder that is made."""
    if not (run / "report.md").exists():
        raise BadInput(f"{run} holds no report.md: name the folder of a finished run.")
    if "synthetic sample" in (run / "report.md").read_text(encoding="utf-8"):
        raise BadInput(
            f"{run} is a run on the synthetic sample, which says nothing about the method."
        )
    table = pd.read_csv(run / "predictions.csv", dtype={"subject": str}).set_index("name")
    folds = [dict(np.load(path)) for path in sorted((run / "folds").glob("[!.]*.npz"))]
    if not folds:
        raise BadInput(
            f"{run} holds no folds: name the run's own folder in results/, not a packed one."
        )
    names = np.concatenate([fold["names"] for fold in folds])
    if sorted(names) != sorted(table.index):
        raise BadInput(
            f"{run}: its folds and predictions.csv are not of the same samples; let the run finish "
            "first."
        )
    table, logits = table.loc[names], np.concatenate([fold["logits"] for fold in folds], axis=1)
    arrays = dict(
        names=names,
        databases=table["database"].to_numpy(str),
        subjects=table["subject"].to_numpy(str),
        labels=table["label"].to_numpy(np.uint8),
        predicted=logits.argmax(-1).astype(np.uint8),
        logits=logits.astype(np.float16),
        losses=np.mean([fold["losses"] for fold in folds], axis=0),
    )
    target.mkdir(parents=True, exist_ok=True)
    replace_file(target / "epochs.npz", functools.partial(np.savez_compressed, **arrays))
    for name in REPORT:
        shutil.copyfile(run / name, target / name)


def main(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "runs", nargs="+", type=Path, metavar="results/RUN", help="folder of a finished run"
    )
    try:
        for folder in parser.parse_args(argv).runs:
            pack(folder, experiments.RESULTS / folder.name)
    except BadInput as error:
        parser.error(error)


if __name__ == "__main__":
    main()
