"""Methods side by side with intervals, and paired tests between them."""

from itertools import combinations

import numpy as np
import pandas as pd

from evaluation import CHOICES, count_confusions
from report import format_markdown
from study import trainings
from study.experiments import (
    EXPERIMENTS,
    FULL_SIZE,
    NAMES,
    PIXELS_SVM,
    SCALED_SVM,
    SIZES,
    describe,
    read_predictions,
)
from study.paired import (
    compare,
    correct_holm,
    draw_subjects,
    estimate_interval,
    resample,
    score_seeds,
)

# family of comparisons: the pairs; those of full-size HTNets are corrected for their own number
PAIRS = {
    "methods": [
        *(
            (size, other)
            for size in SIZES
            for other in ("STSTNet", "STSTNet-order210", PIXELS_SVM, "SVM-areas-pixels-14")
        ),
        *((f"{size}-order012", "STSTNet") for size in SIZES),
        ("STSTNet", PIXELS_SVM),
        *(
            (f"{size}-normalized", other)
            for size in SIZES
            for other in ("STSTNet-normalized", SCALED_SVM, "SVM-areas-normalized-14")
        ),
        ("STSTNet-normalized", SCALED_SVM),
    ],
    "recipe": [
        *(
            (f"{size}{kind}", size)
            for size in SIZES
            for kind in (
                "-released",
                "-order012",
                "-shuffle",
                "-two",
                "-two-dim129",
                "-two-dim516",
                "-normalized",
                "-epochs200",
            )
            if f"{size}{kind}" in EXPERIMENTS
        ),
        ("STSTNet-order210", "STSTNet"),
        ("STSTNet-normalized", "STSTNet"),
        (SCALED_SVM, PIXELS_SVM),
    ],
    "dims": [
        *((f"HTNet-dim{dim}", "HTNet-dim64") for dim in trainings.NARROW_DIMS),
        ("HTNet-dim16-epochs200", "HTNet-dim64-epochs200"),
        *((f"HTNet-dim{dim}", "HTNet") for dim in trainings.PAPER_DIMS),
    ],
    "seeds": [
        *(
            (f"{name}-seed{a}", f"{name}-seed{b}")
            for name in ("STSTNet", *SIZES)
            for a, b in combinations((1, 2, 3), 2)
        ),
        ("HTNet-dim64-float32-seed1", "HTNet-dim64-seed1"),
    ],
}


def count_by_subject(name, choice):
    """-> confusion counts [seeds, subjects, 3, 3] and their samples; (None, None) without runs."""
    tables = read_predictions(name, choice)
    if not tables:
        return None, None
    people, person = np.unique(tables[0]["subject"], return_inverse=True)
    counts = np.stack(
        [
            count_confusions(
                table["label"].to_numpy(), table["prediction"].to_numpy(), person, len(people), 3
            )
            for table in tables
        ]
    )
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
    return format_markdown(
        pd.DataFrame(rows).sort_values("UF1, `last`", ascending=False)[columns].fillna("–")
    )


def tabulate_pairs(pairs):
    """Paired comparisons: at the last epoch with interval, p, and p after Holm's correction for the
    rows; `others` too.

    Rows of full-size HTNets are a family of their own, so that they don't change what narrow ones
    have shown. A support vector machine, which has no epochs, keeps its predictions under every
    choice.
    """
    rows, full_size = [], []
    for one, other in pairs:
        results = {}
        for choice in CHOICES:
            (a, samples), (b, others_samples) = (
                count_by_subject(one, choice),
                count_by_subject(other, choice),
            )
            if a is None or b is None:
                break
            if not samples.equals(others_samples):
                raise SystemExit(f"{one} and {other} are not of the same samples.")
            results[choice] = compare(a, b)
        else:
            row = {"": f"{describe(one)} − {describe(other)}"}
            for choice, comma in (("last", ""), ("others", ", `others`")):
                difference, (low, high), p = results[choice]
                row |= {
                    f"`{choice}`": f"{difference:+.4f}",
                    f"95 %{comma}": f"{low:+.3f} to {high:+.3f}",
                    f"p{comma}": p,
                    f"p, Holm{comma}": None,
                }
            rows.append(row | {"`best`": f"{results['best'][0]:+.4f}"})
            full_size.append(one.partition("-seed")[0] in FULL_SIZE)
    if not rows:
        return "No pair of these has been run."
    table = pd.DataFrame(rows)
    for comma in ("", ", `others`"):
        table[f"p, Holm{comma}"] = table.groupby(full_size)[f"p{comma}"].transform(correct_holm)
    return format_markdown(table)
