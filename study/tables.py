"""The tables of docs/reproduction.md and README, from docs/results/."""
from itertools import combinations

import numpy as np
import pandas as pd
import torch

from evaluation import CHOICES, count_confusions, score_groups, unweighted_scores
from htnet import PAPER, HTNet
from report import PUBLISHED, format_markdown
from study import trainings
from study.experiments import (
    BY_DIM,
    EXPERIMENTS,
    FULL_SIZE,
    NAMES,
    PAPER_BY_DIM,
    PIXELS_SVM,
    README_HTNET,
    SCALED_SVM,
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
from study.paired import compare, correct_holm, draw_subjects, estimate_interval, resample, score_seeds
from study.summarize import summarize

PAIRS = {  # family of comparisons: the pairs; those of full-size HTNets are corrected for their own number
    "methods": [*((size, other) for size in SIZES
                  for other in ("STSTNet", "STSTNet-order210", PIXELS_SVM, "SVM-areas-pixels-14")),
                *((f"{size}-order012", "STSTNet") for size in SIZES), ("STSTNet", PIXELS_SVM),
                *((f"{size}-normalized", other) for size in SIZES
                  for other in ("STSTNet-normalized", SCALED_SVM, "SVM-areas-normalized-14")),
                ("STSTNet-normalized", SCALED_SVM)],
    "recipe": [*((f"{size}{kind}", size) for size in SIZES
                 for kind in ("-released", "-order012", "-shuffle", "-two", "-two-dim129", "-two-dim516", "-normalized",
                              "-epochs200") if f"{size}{kind}" in EXPERIMENTS),
               ("STSTNet-order210", "STSTNet"), ("STSTNet-normalized", "STSTNet"), (SCALED_SVM, PIXELS_SVM)],
    "dims": [*((f"HTNet-dim{dim}", "HTNet-dim64") for dim in trainings.NARROW_DIMS),
             ("HTNet-dim16-epochs200", "HTNet-dim64-epochs200"),
             *((f"HTNet-dim{dim}", "HTNet") for dim in trainings.PAPER_DIMS)],
    "seeds": [*((f"{name}-seed{a}", f"{name}-seed{b}") for name in ("STSTNet", *SIZES)
                for a, b in combinations((1, 2, 3), 2)), ("HTNet-dim64-float32-seed1", "HTNet-dim64-seed1")]}




def tabulate_choices(name):
    """Mean ± std over an experiment's seeds under each choice, the published figures below."""
    folders, model = find_runs(name), name.partition("-")[0]
    counted = " (dim 256, 800 epochs; counted as `best`)" if model == "HTNet" else ""
    seeds = f"{len(folders)} seeds, mean ± standard deviation" if len(folders) > 1 else "one seed"
    table = summarize(folders)
    for source, published in PUBLISHED[model].items() if name in PUBLISHED or name == README_HTNET else ():
        table.loc[len(table)] = [source + counted, *(" / ".join(f"{score:.4f}" for score in published[group])
                                                     for group in table.columns[1:])]
    return f"**{EXPERIMENTS[name]}** ({seeds}; UF1 / UAR)\n\n{format_markdown(table)}"


def tabulate_gain():
    """What choosing the epoch is worth: UF1 of Full under each choice, the mean over seeds, and without a choice."""
    rows = []
    for name in EXPERIMENTS:
        if find_runs(name):
            uf1, seeds = {choice: compute_uf1(name, choice) for choice in (*CHOICES, "common")}, []
            for folder in find_runs(name):
                predicted, labels, subjects = read_epochs(folder)
                seeds.append([score_pooled(predicted, labels)[-10:].mean(), np.load(folder / "epochs.npz")["losses"][-1],
                              *(score_best(half, labels, subjects) for half in np.array_split(predicted, 2))])
            late, loss, *halves = np.mean(seeds, axis=0)
            rows.append({"": describe(name)} | {f"`{choice}`": uf1[choice] for choice in CHOICES}
                        | {"`best` − `last`": uf1["best"] - uf1["last"],
                           "`best`, halves": " / ".join(f"{half:.4f}" for half in halves), "last 10 epochs": late,
                           "best common epoch": uf1["common"], "training loss": loss})
    return format_markdown(pd.DataFrame(rows))


def tabulate_epochs():
    """UF1 of Full, `last` / `best`, had the training ended after so many epochs; the mean over seeds."""
    columns = {}
    for name in ("STSTNet", "STSTNet-control",
                 *(f"{size}{kind}" for size in SIZES for kind in ("", "-epochs200", "-control"))):
        cells = {}
        for folder in find_runs(name) if name in EXPERIMENTS else ():
            predicted, labels, subjects = read_epochs(folder)
            for epochs in (n for n in (10, 25, 50, 100, 200, 400, 800) if n <= len(predicted)):
                cells.setdefault(epochs, []).append([unweighted_scores(labels, predicted[epochs - 1])[0],
                                                     score_best(predicted[:epochs], labels, subjects)])
        if cells:
            columns[describe(name)] = pd.Series({epochs: " / ".join(f"{uf1:.4f}" for uf1 in np.mean(pairs, axis=0))
                                              for epochs, pairs in cells.items()})
    table = pd.DataFrame(columns).sort_index().fillna("–")
    return format_markdown(table.rename_axis("epochs").reset_index())


def tabulate_dims():
    """Full UF1 by dim, mean ± std over seeds, beside the paper's ablation; parameters, and the last training loss."""
    rows = []
    for dim, name in BY_DIM:
        folders = find_runs(name)
        with torch.device("meta"):
            parameters = sum(parameter.numel() for parameter in HTNet(**PAPER | {"dim": dim}).parameters())
        row = {"dim": dim, "parameters": f"{parameters:,}", "epochs (seeds)": "open"}
        if folders:
            stored = [np.load(folder / "epochs.npz")["losses"] for folder in folders]
            row["epochs (seeds)"] = f"{len(stored[0])} ({len(stored)})"
            for choice in CHOICES:
                uf1 = [compute_uf1(folder.name, choice) for folder in folders]
                row[f"`{choice}`"] = f"{np.mean(uf1):.3f}" + (f" ± {np.std(uf1, ddof=1):.3f}" if len(uf1) > 1 else "")
            row["training loss"] = f"{np.mean([losses[-1] for losses in stored]):.4f}"
        rows.append(row | ({"paper": f"{PAPER_BY_DIM[dim]:.3f}"} if dim in PAPER_BY_DIM else {}))
    columns = ["dim", "parameters", "epochs (seeds)", *(f"`{choice}`" for choice in CHOICES), "training loss", "paper"]
    return format_markdown(pd.DataFrame(rows, columns=columns).fillna("–"))


def count_by_subject(name, choice):
    """-> confusion counts [seeds, subjects, 3, 3] and what they are of; (None, None) where there are no runs."""
    tables = read_predictions(name, choice)
    if not tables:
        return None, None
    people, person = np.unique(tables[0]["subject"], return_inverse=True)
    counts = np.stack([count_confusions(table["label"].to_numpy(), table["prediction"].to_numpy(), person, len(people), 3)
                       for table in tables])
    return counts, tables[0][["subject", "label"]]


def tabulate_methods():
    """The mean over seeds under each epoch choice, with 95 % intervals; best `last` first."""
    rows = []
    for name in NAMES:
        if "control" in name or count_by_subject(name, "last")[0] is None:
            continue
        row, random = {"": describe(name)}, np.random.default_rng(0)
        for choice in CHOICES if name in EXPERIMENTS else ("last",):
            counts, _ = count_by_subject(name, choice)
            drawn = resample(counts, draw_subjects(counts.shape[1], random), random)
            for score, value, values in zip(("UF1", "UAR"), score_seeds(counts), drawn):
                low, high = estimate_interval(values)
                row[f"{score}, `{choice}`"] = f"{value:.4f} ({low:.3f}–{high:.3f})"
        rows.append(row)
    columns = ["", *(f"UF1, `{choice}`" for choice in CHOICES), "UAR, `last`"]
    return format_markdown(pd.DataFrame(rows).sort_values("UF1, `last`", ascending=False)[columns].fillna("–"))


def tabulate_machines():
    """The support vector machines' UF1 / UAR in each database."""
    rows = []
    for name, meaning in SVMS.items():
        for table in read_predictions(name, "last"):
            scores = score_groups(table["database"], table["label"], table["prediction"])
            cells = {group: f"{uf1:.4f} / {uar:.4f}" for group, (uf1, uar) in scores.items()}
            rows.append({"": meaning} | cells)
    return format_markdown(pd.DataFrame(rows))


def tabulate_pairs(pairs):
    """Paired comparisons: at the last epoch with interval, p, and p after Holm's correction for the rows; `others` too.

    Rows of full-size HTNets are a family of their own, so that they don't change what narrow ones have shown. A support
    vector machine, which has no epochs, keeps its predictions under every choice.
    """
    rows, full_size = [], []
    for one, other in pairs:
        results = {}
        for choice in CHOICES:
            (a, samples), (b, others_samples) = count_by_subject(one, choice), count_by_subject(other, choice)
            if a is None or b is None:
                break
            if not samples.equals(others_samples):
                raise SystemExit(f"{one} and {other} are not of the same samples.")
            results[choice] = compare(a, b)
        else:
            row = {"": f"{describe(one)} − {describe(other)}"}
            for choice, comma in (("last", ""), ("others", ", `others`")):
                difference, (low, high), p = results[choice]
                row |= {f"`{choice}`": f"{difference:+.4f}", f"95 %{comma}": f"{low:+.3f} to {high:+.3f}",
                        f"p{comma}": p, f"p, Holm{comma}": None}
            rows.append(row | {"`best`": f"{results['best'][0]:+.4f}"})
            full_size.append(one.partition("-seed")[0] in FULL_SIZE)
    table = pd.DataFrame(rows)
    for comma in ("", ", `others`"):
        table[f"p, Holm{comma}"] = table.groupby(full_size)[f"p{comma}"].transform(correct_holm)
    return format_markdown(table)


def tabulate_open(narrow):
    """The trainings of `trainings.py` that are not packed yet."""
    rows = {}
    for name, _ in trainings.list_trainings(narrow):
        if not find_runs(name):
            experiment, _, seed = name.partition("-seed")
            rows.setdefault(experiment, []).append(seed)
    return format_markdown(pd.DataFrame([{"open": f"`{name}`", "what": EXPERIMENTS[name], "seeds": ", ".join(seeds)}
                                  for name, seeds in rows.items()], columns=["open", "what", "seeds"]))


def make_tables():
    """{name in the text: markdown}"""
    check_names()
    each = {name: tabulate_choices(name) for name in EXPERIMENTS if find_runs(name)}
    return each | {"scores": "\n\n".join(each.values()), "choice": tabulate_gain(), "epochs": tabulate_epochs(),
                   "side by side": tabulate_methods(), "machines": tabulate_machines(), "by dim": tabulate_dims(),
                   **{family: tabulate_pairs(pairs) for family, pairs in PAIRS.items()},
                   "open, narrow": tabulate_open(True), "open": tabulate_open(False)}
