"""Packs finished runs for docs/results/: every epoch's held-out predictions and logits, and the run's report.

    python -m docs.study.pack results/STSTNet-seed2 ...      writes docs/results/STSTNet-seed2/ ...

epochs.npz holds names, databases, subjects [N] (text), labels [N], predicted uint8 [E, N], logits float16 [E, N, 3] and
losses float32 [E], the mean over folds. The predictions are those of the full logits: rounding can turn one.
"""
import functools
import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from composite_dataset import replace_with

REPORT = ("report.md", "predictions.csv", "settings.json", "confusion_matrices.png", "learning_curves.png")


def pack(run, target):
    """run: a folder results/<run>/ with all its folds finished; target: a folder that is made."""
    if not (run / "report.md").exists():
        sys.exit(f"{run} holds no report.md: name the folder of a finished run.")
    if "synthetic sample" in (run / "report.md").read_text(encoding="utf-8"):
        sys.exit(f"{run} is a run on the synthetic sample, which says nothing about the method.")
    table = pd.read_csv(run / "predictions.csv", dtype={"subject": str}).set_index("name")
    folds = [dict(np.load(path)) for path in sorted((run / "folds").glob("[!.]*.npz"))]
    names = np.concatenate([fold["names"] for fold in folds])
    if sorted(names) != sorted(table.index):
        sys.exit(f"{run}: its folds and predictions.csv are not of the same samples; let the run finish first.")
    table, logits = table.loc[names], np.concatenate([fold["logits"] for fold in folds], axis=1)
    arrays = dict(names=names, databases=table["database"].to_numpy(str), subjects=table["subject"].to_numpy(str),
                  labels=table["label"].to_numpy(np.uint8), predicted=logits.argmax(-1).astype(np.uint8),
                  logits=logits.astype(np.float16), losses=np.mean([fold["losses"] for fold in folds], axis=0))
    target.mkdir(parents=True, exist_ok=True)
    replace_with(target / "epochs.npz", functools.partial(np.savez_compressed, **arrays))
    for name in REPORT:
        shutil.copyfile(run / name, target / name)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    for folder in map(Path, sys.argv[1:]):
        pack(folder, Path(__file__).parents[1] / "results" / folder.name)
