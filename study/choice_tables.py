"""Tables about the choice of the epoch: what it is worth, and why that is chance."""

import numpy as np
import pandas as pd

from evaluation import CHOICES, choose_epochs
from report import PUBLISHED, format_markdown
from study.choices import (
    choose_best,
    compare_others,
    compute_uf1,
    count_across,
    count_chosen,
    count_epochs,
    count_late,
    count_own_half,
    list_late,
    score_chosen,
    score_counts,
    score_epochs,
)
from study.comparisons import count_by_subject
from study.experiments import EXPERIMENTS, SIZES, describe, find_runs, read_run, read_runs
from study.paired import estimate_interval, resample

# Written when 46 of the 68 folds of HTNet-epochs200-seed1 were trained and 26 had been looked at.
REFUTED_BELOW, GAP_ABOVE, ACROSS_WITHIN = 0.80, 0.05, 0.03
JUDGED = (
    "HTNet",
    "HTNet-epochs200",
    "HTNet-dim56",
    "HTNet-dim56-epochs800",
    "HTNet-dim64",
    "HTNet-dim64-released",
    "HTNet-dim32",
    "HTNet-dim16",
)
FEW = (*SIZES, "STSTNet", "HTNet-dim64-control")
CARRIED = (*FEW, "HTNet-dim32", "HTNet-dim16", "STSTNet-control")


def list_run():
    return [name for name in EXPERIMENTS if find_runs(name)]


def tabulate_gain():
    """What choosing the epoch is worth: UF1 of Full under each choice, and under blind ones."""
    rows = []
    for name in list_run():
        across, halves, runs = compute_uf1(name, "across"), [], read_runs(name)
        for run in runs:
            epochs = np.array_split(np.arange(len(run["predicted"])), 2)
            halves.append([score_chosen(run, choose_best(run, half)) for half in epochs])
        rows.append(
            {"": describe(name)}
            | {f"`{choice}`": compute_uf1(name, choice) for choice in CHOICES}
            | {
                "`best` − `last`": compute_uf1(name, "best") - compute_uf1(name, "last"),
                "mean late epoch": compute_uf1(name, "late"),
                "`best` across seeds": "–" if across is None else across,
                "own other half": compute_uf1(name, "own-half"),
                "split subjects": compute_uf1(name, "split"),
                "best common epoch": compute_uf1(name, "common"),
                "`best`, halves": " / ".join(f"{half:.4f}" for half in np.mean(halves, axis=0)),
                "training loss": float(np.mean([run["losses"][-1] for run in runs])),
            }
        )
    return format_markdown(pd.DataFrame(rows))


def list_late_ways(runs):
    """{how a late epoch is chosen: counts [K, P, 3, 3]}; None for what needs a second seed."""
    return {
        "the last epoch": np.stack([count_epochs(run)[-1] for run in runs]),
        "chosen by another seed": count_across(runs, late=True),
        "chosen on the other half": np.concatenate(
            [count_own_half(run, late=True) for run in runs]
        ),
        "chosen on the test samples": np.stack(
            [count_chosen(run, choose_best(run, list_late(run))) for run in runs]
        ),
    }


def describe_gains(runs, ways):
    """UF1 of the mean late epoch; above it, with intervals, ways {name: counts [K, P, 3, 3]}."""
    blind = np.concatenate([count_late(run) for run in runs])
    score, drawn, gains = score_counts(blind), resample(blind)[0], {}
    for way, counts in ways.items():
        gains[way] = "–"
        if counts is not None:
            low, high = estimate_interval(resample(counts)[0] - drawn)
            gains[way] = f"{score_counts(counts) - score:+.4f} ({low:+.3f} to {high:+.3f})"
    return score, gains


def describe_carried(names=CARRIED):
    """What the last epoch, and a choice among the late ones, is worth above their mean: {name of an
    experiment: row}.
    """
    rows = {}
    for name in filter(find_runs, names):
        runs = read_runs(name)
        score, gains = describe_gains(runs, list_late_ways(runs))
        rows[name] = {"": describe(name), "mean late epoch": score} | gains
    return rows


def tabulate_epochs():
    """UF1 of Full, `last` / `best`, had the training ended after so many epochs."""
    columns = {}
    sizes = (f"{size}{kind}" for size in SIZES for kind in ("", "-epochs200", "-control"))
    for name in ("STSTNet", "STSTNet-control", *sizes):
        cells = {}
        for run in read_runs(name) if name in EXPERIMENTS and find_runs(name) else ():
            last = score_epochs(run)
            for epochs in (n for n in (10, 25, 50, 100, 200, 400, 800) if n <= len(last)):
                best = score_chosen(run, choose_best(run, np.arange(epochs)))
                cells.setdefault(epochs, []).append([last[epochs - 1], best])
        if cells:
            columns[describe(name)] = pd.Series(
                {
                    epochs: " / ".join(f"{uf1:.4f}" for uf1 in np.mean(pairs, axis=0))
                    for epochs, pairs in cells.items()
                }
            )
    table = pd.DataFrame(columns).sort_index().fillna("–")
    return format_markdown(table.rename_axis("epochs").reset_index())


def tabulate_best_of():
    """UF1 of `best` among k random late epochs."""
    rows = [
        {"": describe(name)}
        | {f"k = {k}": compute_uf1(name, f"best of {k}") for k in (1, 5, 10, 50)}
        | {"all epochs": compute_uf1(name, "best")}
        for name in ("STSTNet", "HTNet-dim16", "HTNet-dim32", *SIZES)
        if find_runs(name)
    ]
    return format_markdown(pd.DataFrame(rows))


def tabulate_headline():
    """HTNet's lead over STSTNet, counted as the papers do, taken apart."""
    papers = [PUBLISHED[model]["paper"]["Full"][0] for model in ("HTNet", "STSTNet")]
    rows, other = [], compute_uf1("STSTNet", "last")
    rows.append({"": "as published", "HTNet": papers[0], "STSTNet": papers[1]})
    for name in SIZES:
        if find_runs(name):
            best, last = compute_uf1(name, "best"), compute_uf1(name, "last")
            rows.append(
                {
                    "": describe(name),
                    "HTNet": best,
                    "STSTNet": other,
                    "of this, the epoch chosen on the test subject": f"{best - last:+.4f}",
                    "of this, the networks": f"{last - other:+.4f}",
                }
            )
    table = pd.DataFrame(rows).fillna("–")
    table.insert(3, "lead", [f"{row['HTNet'] - row['STSTNet']:+.4f}" for row in rows])
    return format_markdown(table.rename(columns={"HTNet": "HTNet, `best`", "STSTNet": "STSTNet"}))


def tabulate_rules():
    """The rules of docs/reproduction.md, applied to what has been run."""
    rows = []
    for name in filter(find_runs, JUDGED):
        last, best = (
            np.stack(list(count_by_subject(name, choice)[0].values()))
            for choice in ("last", "best")
        )
        high = estimate_interval(resample(last)[0])[1]
        low = estimate_interval(resample(best)[0] - resample(last)[0])[0]
        refuted = high < REFUTED_BELOW and low > GAP_ABOVE
        across, late = compute_uf1(name, "across"), compute_uf1(name, "late")
        row = {
            "": describe(name),
            "`last`, upper bound": f"{high:.3f}",
            "`best` − `last`, lower bound": f"{low:.3f}",
            "0.86 at this size": "refuted" if refuted else "not refuted",
            "the explanation": "open (one seed)",
        }
        if across is not None:
            row["across − late"] = f"{across - late:+.4f}"
            row["the explanation"] = (
                "stands" if abs(across - late) <= ACROSS_WITHIN else "does not stand"
            )
        rows.append(row)
    columns = [
        "",
        "`last`, upper bound",
        "`best` − `last`, lower bound",
        "0.86 at this size",
        "across − late",
        "the explanation",
    ]
    return format_markdown(pd.DataFrame(rows, columns=columns).fillna("–"))


def tabulate_others():
    """Why `others` is no basis for inference: its epochs, beside all late common ones."""
    rows = []
    for name in list_run():
        for folder in find_runs(name):
            run = read_run(folder)
            one_hot = np.eye(3)[run["predicted"]]
            epochs = choose_epochs(one_hot, run["labels"], run["subjects"], "others")
            late = score_epochs(run)[len(one_hot) // 2 :]
            uf1 = score_chosen(run, epochs)
            rows.append(
                {
                    "run": folder.name,
                    "`others`": uf1,
                    "different epochs": len(set(epochs)),
                    "lowest late epoch": late.min(),
                    "highest late epoch": late.max(),
                    "": "below all of them" if uf1 < late.min() else "",
                }
            )
    return format_markdown(pd.DataFrame(rows))


def tabulate_withdrawn():
    """What had been said from `others`, with the choice repeated inside the bootstrap."""
    rows = []
    for one, other in (
        ("HTNet-dim64-released", "HTNet-dim64"),
        ("HTNet-dim64-float32-seed1", "HTNet-dim64-seed1"),
    ):
        if find_runs(one) and find_runs(other):
            difference, (low, high) = compare_others(read_runs(one), read_runs(other))
            rows.append(
                {
                    "": f"{describe(one)} − {describe(other)}",
                    "`others`": f"{difference:+.4f}",
                    "95 %": f"{low:+.3f} to {high:+.3f}",
                }
            )
    return format_markdown(pd.DataFrame(rows))
