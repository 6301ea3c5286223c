"""The tables of docs/reproduction.md and README, from docs/results/."""

import numpy as np
import pandas as pd
import torch

from evaluation import CHOICES, score_groups, unweighted_scores
from htnet import PAPER, HTNet
from report import PUBLISHED, format_markdown
from study import trainings
from study.comparisons import PAIRS, tabulate_methods, tabulate_pairs
from study.experiments import (
    BY_DIM,
    EXPERIMENTS,
    PAPER_BY_DIM,
    README_HTNET,
    SIZES,
    SVMS,
    check_names,
    compute_uf1,
    describe,
    find_runs,
    read_epochs,
    read_predictions,
    score_best,
    score_pooled,
)
from study.summarize import format_seeds, summarize


def tabulate_choices(name):
    """Mean ± std over an experiment's seeds under each choice, the published figures below."""
    folders, model = find_runs(name), name.partition("-")[0]
    counted = " (dim 256, 800 epochs; counted as `best`)" if model == "HTNet" else ""
    seeds = f"{len(folders)} seeds, mean ± standard deviation" if len(folders) > 1 else "one seed"
    table = summarize(folders)
    for source, published in (
        PUBLISHED[model].items() if name in PUBLISHED or name == README_HTNET else ()
    ):
        table.loc[len(table)] = [
            source + counted,
            *(
                " / ".join(f"{score:.4f}" for score in published[group])
                for group in table.columns[1:]
            ),
        ]
    return f"**{EXPERIMENTS[name]}** ({seeds}; UF1 / UAR)\n\n{format_markdown(table)}"


def tabulate_gain():
    """What choosing the epoch is worth: UF1 of Full under each choice, and without one."""
    rows = []
    for name in EXPERIMENTS:
        if find_runs(name):
            uf1, seeds = {choice: compute_uf1(name, choice) for choice in (*CHOICES, "common")}, []
            for folder in find_runs(name):
                predicted, labels, subjects = read_epochs(folder)
                seeds.append(
                    [
                        score_pooled(predicted, labels)[-10:].mean(),
                        np.load(folder / "epochs.npz")["losses"][-1],
                        *(
                            score_best(half, labels, subjects)
                            for half in np.array_split(predicted, 2)
                        ),
                    ]
                )
            late, loss, *halves = np.mean(seeds, axis=0)
            rows.append(
                {"": describe(name)}
                | {f"`{choice}`": uf1[choice] for choice in CHOICES}
                | {
                    "`best` − `last`": uf1["best"] - uf1["last"],
                    "`best`, halves": " / ".join(f"{half:.4f}" for half in halves),
                    "last 10 epochs": late,
                    "best common epoch": uf1["common"],
                    "training loss": loss,
                }
            )
    return format_markdown(pd.DataFrame(rows))


def tabulate_epochs():
    """UF1 of Full, `last` / `best`, had the training ended after so many epochs."""
    columns = {}
    for name in (
        "STSTNet",
        "STSTNet-control",
        *(f"{size}{kind}" for size in SIZES for kind in ("", "-epochs200", "-control")),
    ):
        cells = {}
        for folder in find_runs(name) if name in EXPERIMENTS else ():
            predicted, labels, subjects = read_epochs(folder)
            for epochs in (n for n in (10, 25, 50, 100, 200, 400, 800) if n <= len(predicted)):
                cells.setdefault(epochs, []).append(
                    [
                        unweighted_scores(labels, predicted[epochs - 1])[0],
                        score_best(predicted[:epochs], labels, subjects),
                    ]
                )
        if cells:
            columns[describe(name)] = pd.Series(
                {
                    epochs: " / ".join(f"{uf1:.4f}" for uf1 in np.mean(pairs, axis=0))
                    for epochs, pairs in cells.items()
                }
            )
    table = pd.DataFrame(columns).sort_index().fillna("–")
    return format_markdown(table.rename_axis("epochs").reset_index())


def tabulate_dims():
    """Full UF1 by dim, mean ± deviation over seeds, beside the paper's ablation."""
    rows = []
    for dim, name in BY_DIM:
        folders = find_runs(name)
        with torch.device("meta"):
            parameters = sum(
                parameter.numel() for parameter in HTNet(**PAPER | {"dim": dim}).parameters()
            )
        row = {"dim": dim, "parameters": f"{parameters:,}", "epochs (seeds)": "open"}
        if folders:
            stored = [np.load(folder / "epochs.npz")["losses"] for folder in folders]
            row["epochs (seeds)"] = f"{len(stored[0])} ({len(stored)})"
            for choice in CHOICES:
                uf1 = [compute_uf1(folder.name, choice) for folder in folders]
                row[f"`{choice}`"] = f"{np.mean(uf1):.3f}" + (
                    f" ± {np.std(uf1, ddof=1):.3f}" if len(uf1) > 1 else ""
                )
            row["training loss"] = f"{np.mean([losses[-1] for losses in stored]):.4f}"
        rows.append(row | ({"paper": f"{PAPER_BY_DIM[dim]:.3f}"} if dim in PAPER_BY_DIM else {}))
    columns = [
        "dim",
        "parameters",
        "epochs (seeds)",
        *(f"`{choice}`" for choice in CHOICES),
        "training loss",
        "paper",
    ]
    return format_markdown(pd.DataFrame(rows, columns=columns).fillna("–"))


def tabulate_machines():
    """The support vector machines' UF1 / UAR in each database."""
    rows = []
    for name, meaning in SVMS.items():
        for table in read_predictions(name, "last"):
            scores = score_groups(table["database"], table["label"], table["prediction"])
            cells = {group: format_seeds([pair]) for group, pair in scores.items()}
            rows.append({"": meaning} | cells)
    return format_markdown(pd.DataFrame(rows))


def tabulate_open(narrow):
    """The trainings of `trainings.py` that are not packed yet."""
    rows = {}
    for name, _ in trainings.list_trainings(narrow):
        if not find_runs(name):
            experiment, _, seed = name.partition("-seed")
            rows.setdefault(experiment, []).append(seed)
    return format_markdown(
        pd.DataFrame(
            [
                {"open": f"`{name}`", "what": EXPERIMENTS[name], "seeds": ", ".join(seeds)}
                for name, seeds in rows.items()
            ],
            columns=["open", "what", "seeds"],
        )
    )


def make_tables():
    """{name in the text: markdown}"""
    check_names()
    each = {name: tabulate_choices(name) for name in EXPERIMENTS if find_runs(name)}
    return each | {
        "scores": "\n\n".join(each.values()),
        "choice": tabulate_gain(),
        "epochs": tabulate_epochs(),
        "side by side": tabulate_methods(),
        "machines": tabulate_machines(),
        "by dim": tabulate_dims(),
        **{family: tabulate_pairs(pairs) for family, pairs in PAIRS.items()},
        "open, narrow": tabulate_open(True),
        "open": tabulate_open(False),
    }
