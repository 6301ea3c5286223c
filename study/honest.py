"""The tables of docs/honest.md, from docs/results/honest-trials/ and the packed runs."""

import numpy as np
import pandas as pd
import torch
from sklearn.metrics import f1_score

from composite_dataset import CLASSES
from evaluation import bootstrap_scores, group_by_database, score_groups, unweighted_scores
from report import format_markdown
from study.comparisons import count_table
from study.experiments import (
    HONEST,
    NAMES,
    RESULTS,
    describe,
    find_runs,
    read_predictions,
    read_run,
)
from study.honest_settings import AVERAGES, SETTINGS
from study.honest_trials import GROUPS, split_groups
from study.paired import estimate_interval, resample
from study.summarize import format_seeds

TRIALS = RESULTS / "honest-trials"
REFERENCE = "STSTNet-seed1"  # any complete run: the samples' names, subjects and labels
SHIPPED = "HTNet-honest-seed1"  # the run of weights/pretrained/HTNet/folds.safetensors
ROWS = ("HTNet-dim64", "STSTNet", *HONEST, "SVM-both-mirrored-14", "SVM-nested")
FEW_ROWS = ("HTNet-honest", "STSTNet-honest", "SVM-nested")


def read_trials(seed=1):
    """{setting: probabilities [GROUPS, N, C]}, averages among them; nan where nobody predicted.

    Row h: by networks that were trained without group h, and without the sample's own group.
    """
    found = {}
    for name in (*SETTINGS, "teacher"):
        path = TRIALS / f"{name}-seed{seed}.npz"
        if path.exists():
            found[name] = np.load(path)["probabilities"].astype(float)
    for name, members in AVERAGES.items():
        if set(members) <= found.keys():
            found[name] = np.mean([found[member] for member in members], axis=0)
    return found


def read_samples():
    """-> (subjects [N], labels int [N]) in the trials' order, by name."""
    run = read_run(RESULTS / REFERENCE)
    order = np.argsort(run["names"])
    return run["subjects"][order], run["labels"][order].astype(int)


def score_inner(probabilities, group, labels):
    """(UF1, UAR) for each left-out group, float [GROUPS, 2], over the other groups' samples."""
    return np.array(
        [
            unweighted_scores(labels[group != left_out], row[group != left_out].argmax(1))
            for left_out, row in enumerate(probabilities)
        ]
    )


def tabulate_trials():
    """The mean inner scores of every setting, the highest sum of the two first."""
    (subjects, labels), rows = read_samples(), []
    group, trials = split_groups(subjects), read_trials()
    for name in (*SETTINGS, *AVERAGES, "teacher"):
        if name in trials:
            uf1, uar = score_inner(trials[name], group, labels).mean(0)
            rows.append({"setting": name, "UF1": uf1, "UAR": uar})
    rows.sort(key=lambda row: -row["UF1"] - row["UAR"])
    not_run = "; ".join(name for name in SETTINGS if name not in trials) or "none"
    return f"{format_markdown(pd.DataFrame(rows))}\n\nOn the list and not run: {not_run}."


def tabulate_nested():
    """What each group would choose by the others' scores, and how its own samples then score."""
    subjects, labels = read_samples()
    group, trials = split_groups(subjects), read_trials()
    trials.pop("teacher", None)
    inner = {name: score_inner(p, group, labels).sum(1) for name, p in trials.items()}
    predicted, chosen = np.full(len(labels), -1), []
    for number in range(GROUPS):
        best = max(inner, key=lambda name: inner[name][number])
        mine, others = group == number, np.arange(GROUPS) != number
        predicted[mine] = trials[best][others][:, mine].mean(0).argmax(1)
        chosen.append({"group left out": number + 1, "chosen": best, "samples": int(mine.sum())})
    uf1, uar = unweighted_scores(labels, predicted)
    table = format_markdown(pd.DataFrame(chosen))
    return f"{table}\n\nScored on the groups left out: UF1 {uf1:.4f}, UAR {uar:.4f}."


def average_seeds(name):
    """-> (one of an experiment's runs, predictions int [N] of its seeds' mean probabilities)."""
    runs = [dict(np.load(folder / "epochs.npz")) for folder in find_runs(name)]
    if any(not np.array_equal(run["names"], runs[0]["names"]) for run in runs):
        raise SystemExit(f"The seeds of {name} are not of the same samples.")
    logits = torch.from_numpy(np.stack([run["logits"][-1] for run in runs])).double()
    return runs[0], logits.softmax(-1).mean(0).argmax(-1).numpy()


def tabulate_recipes(names=ROWS):
    """The honest scores of each recipe, and what `best` would have made of it."""
    rows = []
    for name in names:
        folders = find_runs(name)
        if not folders:
            continue
        tables = list(read_predictions(name, "last").values())
        rows.append(make_row(describe(name), tables))
        if not name.startswith("SVM"):
            best = read_predictions(name, "best").values()
            scores = [unweighted_scores(t["label"], t["prediction"])[0] for t in best]
            rows[-1]["`best`"] = f"{np.mean(scores):.3f}"
        if len(tables) > 1 and name.endswith("honest"):
            run, predicted = average_seeds(name)
            columns = {key: run[key + "s"] for key in ("name", "database", "subject", "label")}
            table = pd.DataFrame(columns | {"prediction": predicted})
            rows.append(make_row(f"{NAMES[name]}, ensemble of {len(tables)} seeds", [table]))
    return format_markdown(pd.DataFrame(rows).fillna("–"))


def make_row(name, tables):
    """Mean scores over tables of predictions, and the 95 % interval of the mean UF1."""
    low, high = estimate_interval(resample(np.stack([*map(count_table, tables)]))[0])
    scores = [score_groups(t["database"], t["label"], t["prediction"]) for t in tables]
    cells = {group: format_seeds([score[group] for score in scores]) for group in scores[0]}
    return {"": name} | cells | {"UF1, 95 %": f"{low:.3f}–{high:.3f}"}


def tabulate_card():
    """The scores of the folds that ship: UF1 and UAR with intervals, and F1 of each class."""
    table, rows = read_predictions(SHIPPED, "last")[1], []
    for group, mask in group_by_database(table["database"]).items():
        truth, predicted = table["label"][mask].to_numpy(), table["prediction"][mask].to_numpy()
        intervals = bootstrap_scores(truth, predicted, table["subject"][mask])
        row = {"": group, "samples": len(truth)}
        for name, score, (low, high) in zip(
            ("UF1", "UAR"), unweighted_scores(truth, predicted), intervals
        ):
            row[name] = f"{score:.4f} ({low:.3f}–{high:.3f})"
        f1 = f1_score(truth, predicted, labels=range(len(CLASSES)), average=None)
        rows.append(row | {f"F1 {name}": value for name, value in zip(CLASSES, f1)})
    return format_markdown(pd.DataFrame(rows))
