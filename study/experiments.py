"""The experiments of the study: what they are called, and their packed runs in docs/results/.

Runs lie in docs/results/<experiment>-seed<N>/ (`pack.py`), support vector machines' predictions in
docs/results/SVM-<variant>/.
"""

import functools
import re
from pathlib import Path

import numpy as np
import pandas as pd

from study import trainings

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "docs" / "results"
SIZES = {  # what a run's name begins with: what it is
    "HTNet": "HTNet",
    "HTNet-epochs200": "HTNet, dim 256, 200 epochs",
    "HTNet-dim64": "HTNet, dim 64",
}
# what follows one of SIZES in a run's name; "order 210": classes in the order 2, 1, 0
HTNETS = {
    "": "order 210",
    "-released": "order 210, released centres",
    "-order012": "order 012",
    "-shuffle": "shuffled",
    "-two": "order 210, two hierarchies",
    "-normalized": "order 210, centred and scaled",
    "-control": "order 210, permuted labels",
    **{f"-areas-{name}": f"order 210, {meaning}" for name, (meaning, _) in trainings.AREAS.items()},
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
    **{
        f"HTNet-dim64-float32-repeats{repeats}": (
            f"HTNet, dim 64, order 210, in float32, repeats {repeats}"
        )
        for repeats in trainings.REPEATS
    },
    **{
        f"HTNet-dim64-float32-heads{heads}": f"HTNet, dim 64, order 210, in float32, heads {heads}"
        for heads in trainings.HEADS
    },
    **{f"HTNet-dim{dim}": f"HTNet, dim {dim}, order 210" for dim in trainings.NARROW_DIMS},
    "HTNet-dim56-epochs100": "HTNet, dim 56, order 210",
    "HTNet-dim56-epochs800": "HTNet, dim 56, order 210, 800 epochs, bf16",
    **{f"HTNet-dim{dim}-epochs200": f"HTNet, dim {dim}, order 210, 200 epochs" for dim in (16, 64)},
    **{
        f"HTNet-dim{dim}": f"HTNet, dim {dim}, order 210, 800 epochs"
        for dim in trainings.PAPER_DIMS
    },
}
# Some subjects only: compared on these, never beside complete runs.
PART = {
    "HTNet-epochs800": "HTNet, order 210, 800 epochs, bf16, sixteen subjects",
    "HTNet-epochs200-float32": "HTNet, dim 256, 200 epochs, order 210, in float32, eight subjects",
    "HTNet-epochs800-float32": "HTNet, dim 256, 800 epochs, order 210, in float32, two subjects",
}
NESTED = {"HTNet-dim64-nested": "HTNet, dim 64, order 210, the epoch chosen by inner subjects"}
BY_DIM = sorted(
    [  # the paper's: 800 epochs, tf32; ours: 100 to 800 epochs, bf16
        (256, "HTNet"),
        (256, "HTNet-epochs200"),
        *((dim, f"HTNet-dim{dim}") for dim in (64, *trainings.NARROW_DIMS, *trainings.PAPER_DIMS)),
        (56, "HTNet-dim56-epochs100"),
        (56, "HTNet-dim56-epochs800"),
        *((dim, f"HTNet-dim{dim}-epochs200") for dim in (16, 64)),
    ]
)
# UF1, read off its plots
PAPER_BY_DIM = {56: 0.815, 112: 0.832, 196: 0.848, 256: 0.860, 392: 0.853, 512: 0.843}
PAPER_BY_HEADS = {1: 0.832, 2: 0.859, 3: 0.860, 4: 0.858, 5: 0.828, 6: 0.848}
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
# In docs/honest.md.
HONEST = {
    "HTNet-honest": "HTNet, honest recipe",
    "STSTNet-honest": "STSTNet, honest recipe",
    "STSTNet-views": "STSTNet, honest recipe without the teacher",
}
SVMS |= {
    "SVM-both-mirrored-14": "SVM, maps and areas with magnitude, mirrored",
    "SVM-nested": "SVM, chosen by inner groups",
}
NAMES = EXPERIMENTS | SVMS | PART | NESTED | HONEST
README_HTNET = "HTNet-epochs200"  # where HTNet's published figures stand beside ours


def is_full_size(name):
    """Whether an experiment is of the paper's width or one of its dims at full length."""
    groups = ("full", "wide")
    runs = {run for group in groups for run, _ in trainings.list_trainings(group)}
    return name[0] == "H" and split_seed(name)[0] in {split_seed(run)[0] for run in runs}


def split_seed(name):
    """A run's name -> (experiment, seed); the seed of an experiment or a machine is None."""
    experiment, _, seed = name.partition("-seed")
    return experiment, int(seed) if seed else None


def check_names():
    """Refuses a folder whose name stands for nothing here: it would be left out in silence."""
    for folder in RESULTS.iterdir():
        # no runs: those that go on, the honest recipe's trials, the critical areas
        if folder.name in ("unfinished", "honest-trials", "critical-areas") or not folder.is_dir():
            continue
        name = re.sub(r"-seed\d+$", "", folder.name)
        if name not in SVMS and (name not in NAMES or name == folder.name):
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
    name, seed = split_seed(name)
    return NAMES[name] + (
        f", seed {seed}" if seed else "" if name in SVMS else f" ({len(find_runs(name))})"
    )


def read_predictions(name, choice):
    """{seed: table} indexed by the samples' names: database, subject, label, prediction.

    A machine has no epochs to choose from: its predictions stand under every choice, its seed is
    None.
    """
    column = "prediction" if name in SVMS else choice
    tables = {}
    for folder in find_runs(name):
        table = read_packed_table(folder)
        tables[split_seed(folder.name)[1]] = table.assign(prediction=table[column])
    return tables


@functools.cache
def read_packed_table(folder):
    """The predictions.csv of a packed run or a machine, indexed by name."""
    table = pd.read_csv(folder / "predictions.csv", dtype={"subject": str})
    return table.set_index("name").sort_index()


def restore_logits(run):
    """float32 [E, N, 3] of a packed run's arrays, with the predictions of the full logits.

    Rounding to float16 can turn a prediction: what was predicted is put on top again.
    """
    logits, predicted = run["logits"].astype(np.float32), run["predicted"][..., None].astype(int)
    top = logits.max(-1, keepdims=True)
    turned = logits.argmax(-1, keepdims=True) != predicted
    raised = np.where(turned, np.nextafter(top, np.float32(np.inf)), top)
    np.put_along_axis(logits, predicted, raised, -1)
    return logits


@functools.cache
def read_run(folder):
    """A packed run, samples by name: names, labels, subjects [N], predicted [E, N], losses [E]."""
    with np.load(folder / "epochs.npz") as file:
        order = np.argsort(file["names"])
        return {
            "names": file["names"][order],
            "labels": file["labels"][order].astype(int),
            "subjects": file["subjects"][order],
            "predicted": file["predicted"][:, order],
            "losses": file["losses"],
        }


def read_runs(name):
    """The packed runs of an experiment, by seed; SystemExit where docs/results/ holds none."""
    if not find_runs(name):
        raise SystemExit(f"The text has a number of {name}, of which docs/results/ holds no run.")
    return [read_run(folder) for folder in find_runs(name)]
