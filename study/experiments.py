"""The experiments of the study: what they are called, and their packed runs in docs/results/.

Runs lie in docs/results/<experiment>-seed<N>/ (`pack.py`), support vector machines' predictions in
docs/results/SVM-<variant>/.
"""

import re
from pathlib import Path

import numpy as np
import pandas as pd

from evaluation import choose_epochs, count_confusions, score_confusions, unweighted_scores
from study import trainings

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "docs" / "results"
SIZES = {"HTNet": "HTNet", "HTNet-dim64": "HTNet, dim 64"}
# what follows "HTNet" or "HTNet-dim64" in a run's name; "order 210": classes in the order 2, 1, 0
HTNETS = {
    "": "order 210",
    "-released": "order 210, released centres",
    "-order012": "order 012",
    "-shuffle": "shuffled",
    "-two": "order 210, two hierarchies",
    "-normalized": "order 210, centred and scaled",
    "-control": "order 210, permuted labels",
}
EXPERIMENTS = {  # a run's name without its seed: what it is
    "STSTNet": "STSTNet, order 012",
    "STSTNet-order210": "STSTNet, order 210",
    "STSTNet-normalized": "STSTNet, order 012, centred and scaled",
    "STSTNet-control": "STSTNet, order 012, permuted labels",
    **{
        f"{size}{kind}": f"{name}, {meaning}"
        for size, name in SIZES.items()
        for kind, meaning in HTNETS.items()
    },
    "HTNet-two-dim516": "HTNet, dim 516, order 210, two hierarchies",
    "HTNet-dim64-two-dim129": "HTNet, dim 129, order 210, two hierarchies",
    "HTNet-dim64-float32": "HTNet, dim 64, order 210, in float32",
    **{f"HTNet-dim{dim}": f"HTNet, dim {dim}, order 210" for dim in trainings.NARROW_DIMS},
    "HTNet-dim56-epochs100": "HTNet, dim 56, order 210",
    **{f"HTNet-dim{dim}-epochs200": f"HTNet, dim {dim}, order 210, 200 epochs" for dim in (16, 64)},
    **{
        f"HTNet-dim{dim}": f"HTNet, dim {dim}, order 210, 800 epochs"
        for dim in trainings.PAPER_DIMS
    },
}
BY_DIM = sorted(
    [  # the paper's: 800 epochs, tf32; ours: 100 or 200 epochs, bf16
        (256, "HTNet"),
        *((dim, f"HTNet-dim{dim}") for dim in (64, *trainings.NARROW_DIMS, *trainings.PAPER_DIMS)),
        (56, "HTNet-dim56-epochs100"),
        *((dim, f"HTNet-dim{dim}-epochs200") for dim in (16, 64)),
    ]
)
# UF1, read off its plot
PAPER_BY_DIM = {
    56: 0.815,
    112: 0.832,
    196: 0.848,
    256: 0.860,
    392: 0.853,
    512: 0.843,
}
SVMS = {
    f"SVM-{images}-{maps}-{side}": f"SVM, {where}{scaled}"
    for images, side, where in (
        ("whole", 7, "whole maps at 7×7"),
        ("whole", 14, "whole maps at 14×14"),
        ("areas", 14, "four areas at 7×7 each"),
        ("areas", "14-released", "four areas at 7×7 each, released centres"),
        ("whole", "14-unweighted", "whole maps at 14×14, no class weights"),
        ("areas", "14-unweighted", "four areas at 7×7 each, no class weights"),
    )
    for maps, scaled in (("pixels", ""), ("normalized", ", centred and scaled"))
}
PIXELS_SVM, SCALED_SVM = "SVM-whole-pixels-14", "SVM-whole-normalized-14"
NAMES = EXPERIMENTS | SVMS
README_HTNET = "HTNet-dim64"  # where HTNet's published figures stand beside ours
FULL_SIZE = {
    name.partition("-seed")[0] for name, _ in trainings.list_trainings(False) if name[0] == "H"
}


def check_names():
    """Refuses a folder whose name stands for nothing here: it would be left out in silence."""
    for folder in RESULTS.iterdir():
        if folder.name == "unfinished":  # runs that go on where they stopped, see its README
            continue
        name = re.sub(r"-seed\d+$", "", folder.name)
        if (
            folder.is_dir()
            and name not in SVMS
            and (name not in EXPERIMENTS or name == folder.name)
        ):
            raise SystemExit(
                f"{folder}: its name must be one of EXPERIMENTS in study/experiments.py with "
                "-seed<N>, or one of SVMS: rename it, or add it there."
            )


def find_runs(experiment):
    """The folders of an experiment's seeds; of one, where the name has a seed itself."""
    return sorted(
        folder
        for folder in RESULTS.glob(f"{experiment}*")
        if re.fullmatch(rf"{re.escape(experiment)}(-seed\d+)?", folder.name)
    )


def describe(name):
    """What stands in a table: an experiment's number of seeds in brackets."""
    name, _, seed = name.partition("-seed")
    return NAMES[name] + (
        f", seed {seed}" if seed else f" ({len(find_runs(name))})" if name in EXPERIMENTS else ""
    )


def read_predictions(name, choice):
    """A table per seed, indexed by the samples' names: subject, label, prediction."""
    column = "prediction" if name in SVMS else choice
    tables = [
        pd.read_csv(folder / "predictions.csv", dtype={"subject": str})
        .set_index("name")
        .sort_index()
        for folder in find_runs(name)
    ]
    return [table.assign(prediction=table[column]) for table in tables]


def read_epochs(folder):
    """-> held-out predictions [E, N], labels [N], subjects [N] of a packed run."""
    with np.load(folder / "epochs.npz") as file:
        return file["predicted"], file["labels"].astype(int), file["subjects"]


def score_pooled(predicted, labels):
    """UF1 [E] of predictions [E, N], all subjects pooled at the same epoch."""
    return score_confusions(count_confusions(labels, predicted))[0]


def score_best(predicted, labels, subjects):
    """UF1 of `best` where each subject's epoch is chosen among these: predictions [E, N]."""
    chosen = choose_epochs(np.eye(3)[predicted], labels, subjects, "best")
    return unweighted_scores(labels, predicted[chosen, np.arange(len(labels))])[0]


def compute_uf1(name, choice):
    """UF1 of Full, the mean over seeds.

    choice: one of CHOICES, or "common", each seed's best epoch for everybody.
    """
    if not find_runs(name):
        raise SystemExit(f"The text has a number of {name}, of which docs/results/ holds no run.")
    if choice == "common":
        return np.mean([score_pooled(*read_epochs(folder)[:2]).max() for folder in find_runs(name)])
    return np.mean(
        [
            unweighted_scores(table["label"], table["prediction"])[0]
            for table in read_predictions(name, choice)
        ]
    )
