"""Packs finished runs for docs/results/: every epoch's held-out predictions and logits, and the
run's report.

    python -m study.pack results/STSTNet-seed2 ...      writes docs/results/STSTNet-seed2/ ...
    python -m study.pack --again docs/results/STSTNet-seed2 ...
                                                        after a change of what a report shows

epochs.npz holds names, databases, subjects [N] (text), labels [N], predicted uint8 [E, N], logits
float16 [E, N, 3] and losses float32 [E], the mean over folds. The predictions are those of the full
logits: rounding can turn one.
"""

import argparse
import functools
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from composite_dataset import Composite
from report import PUBLISHED, write_report
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


def write_again(folder):
    """Writes predictions.csv, report.md and the confusion matrices of a packed run again.

    `average` is then of the rounded logits. The learning curves, of losses per fold that are not
    packed, stay.
    """
    if not (folder / "epochs.npz").exists():
        raise BadInput(f"{folder} holds no epochs.npz: name a packed run in docs/results/.")
    with np.load(folder / "epochs.npz") as file:
        run = dict(file)
    composite = Composite(
        names=run["names"],
        subjects=run["subjects"],
        databases=run["databases"],
        labels=run["labels"].astype(int),
        flows=None,
        faces=None,
    )
    old = (folder / "report.md").read_text(encoding="utf-8")
    heading, _, rest = old.removeprefix("# ").partition("\n")
    with tempfile.TemporaryDirectory() as temporary:
        write_report(
            temporary,
            composite,
            experiments.restore_logits(run),
            run["losses"][None],
            published=PUBLISHED[heading.partition(",")[0]] if "\nPublished:\n" in old else {},
            heading=heading,
            description=rest.partition("Which epoch")[0].strip(),
        )
        for name in ("predictions.csv", "report.md", "confusion_matrices.png"):
            shutil.copyfile(Path(temporary, name), folder / name)


def main(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--again", action="store_true", help="the runs are packed ones")
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folder of a run")
    arguments = parser.parse_args(argv)
    try:
        for folder in arguments.runs:
            if arguments.again:
                write_again(folder)
            else:
                pack(folder, experiments.RESULTS / folder.name)
    except BadInput as error:
        parser.error(error)


if __name__ == "__main__":
    main()
