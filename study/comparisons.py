"""Methods side by side with intervals, and paired tests between them."""

from itertools import combinations

import numpy as np
import pandas as pd

from evaluation import CHOICES, count_confusions
from report import format_markdown
from study import trainings
from study.experiments import (
    EXPERIMENTS,
    NAMES,
    PIXELS_SVM,
    SCALED_SVM,
    SIZES,
    SVMS,
    describe,
    is_full_size,
    read_predictions,
    split_seed,
)
from study.paired import (
    compare,
    correct_holm,
    estimate_interval,
    exchange,
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
    ],
    "machines' scaling": [
        (name.replace("pixels", "normalized"), name) for name in SVMS if "-pixels-" in name
    ],
    "machines' areas": [
        ("SVM-areas-pixels-14", PIXELS_SVM),
        ("SVM-areas-normalized-14", SCALED_SVM),
    ],
    "dims": [
        *((f"HTNet-dim{dim}", "HTNet-dim64") for dim in trainings.NARROW_DIMS),
        ("HTNet-dim16-epochs200", "HTNet-dim64-epochs200"),
        *((f"HTNet-dim{dim}", "HTNet") for dim in trainings.PAPER_DIMS),
        ("HTNet-dim56-epochs800", "HTNet-dim56-epochs100"),
        ("HTNet-epochs200", "HTNet-dim64-epochs200"),
        # seed 1 is the lowest of the three at dim 64
        *(("HTNet-epochs200-seed1", f"HTNet-dim64-seed{seed}") for seed in (1, 2, 3)),
    ],
    "areas": [
        *((f"{size}-areas-{name}", size) for size in SIZES for name in trainings.AREAS),
    ],
    "depth and heads": [
        (f"HTNet-dim64-float32-{kind}", "HTNet-dim64-float32")
        for kind in (
            *(f"repeats{repeats}" for repeats in trainings.REPEATS),
            *(f"heads{heads}" for heads in trainings.HEADS),
        )
    ],
    "honest": [
        ("HTNet-honest", "SVM-nested"),
        ("HTNet-honest", "STSTNet-honest"),
        ("HTNet-honest", "HTNet-dim64"),
        ("HTNet-honest", "HTNet-epochs200"),
        ("STSTNet-honest", "STSTNet"),
        ("STSTNet-honest", "STSTNet-views"),
    ],
    "seeds": [
        *(
            (f"{name}-seed{a}", f"{name}-seed{b}")
            for name in ("STSTNet", *SIZES)
            for a, b in combinations((1, 2, 3), 2)
        ),
        ("HTNet-dim64-float32", "HTNet-dim64"),
    ],
}
# Only where every seed is compared: the table of same seeds has them one by one.
POOLED = {"dims": [("HTNet-epochs200", "HTNet-dim64")]}


def count_by_subject(name, choice):
    """{seed: confusion counts [subjects, 3, 3]} of an experiment, and its samples.

    Without runs: an empty dict and None.
    """
    counts, samples = {}, None
    for seed, table in read_predictions(name, choice).items():
        counts[seed] = count_table(table)
        others, samples = samples, table[["subject", "label"]]
        if others is not None and not samples.equals(others):
            raise SystemExit(f"The seeds of {name} are not of the same samples.")
    return counts, samples


def count_table(table):
    """A table of predictions -> confusion counts [subjects, 3, 3]."""
    people, person = np.unique(table["subject"], return_inverse=True)
    pair = table["label"].to_numpy(), table["prediction"].to_numpy()
    return count_confusions(*pair, person, len(people), 3)


def pair_seeds(one, other, choice, every_seed=False):
    """Two methods' counts [pairs, subjects, 3, 3], same seeds in the same places, and these seeds
    as text; or each seed of the one beside every seed of the other.

    A machine has no seed and stands beside each seed of the other; two runs that are named with
    their seeds are a pair. None where there is no pair.
    """
    (a, samples), (b, others_samples) = (count_by_subject(name, choice) for name in (one, other))
    if not a or not b:
        return None
    if not samples.equals(others_samples):
        raise SystemExit(f"{one} and {other} are not of the same samples.")
    pairs = [
        (seed, others_seed)
        for seed in a
        for others_seed in b
        if every_seed
        or seed == others_seed
        or None in (seed, others_seed)
        or (split_seed(one)[1] and split_seed(other)[1])
    ]
    if not pairs:
        return None
    if every_seed:
        seeds = f"{list_seeds(a)} / {list_seeds(b)}"
    elif split_seed(one)[1]:
        seeds = "–"
    else:
        seeds = list_seeds(seed or others_seed for seed, others_seed in pairs)
    return (
        np.stack([a[seed] for seed, _ in pairs]),
        np.stack([b[others_seed] for _, others_seed in pairs]),
        seeds,
    )


def list_seeds(seeds):
    """Seeds, or None of a machine, as text: "1, 2, 3"."""
    return ", ".join(map(str, sorted(set(seeds) - {None}))) or "–"


def tabulate_methods():
    """The mean over seeds under each epoch choice, with 95 % intervals; best `last` first."""
    rows = []
    for name in (*EXPERIMENTS, *SVMS):
        if "control" in name or not count_by_subject(name, "last")[0]:
            continue
        row = {"": describe(name)}
        for choice in CHOICES if name in EXPERIMENTS else ("last",):
            counts = np.stack(list(count_by_subject(name, choice)[0].values()))
            for score, value, values in zip(("UF1", "UAR"), score_seeds(counts), resample(counts)):
                low, high = estimate_interval(values)
                row[f"{score}, `{choice}`"] = f"{value:.4f} ({low:.3f}–{high:.3f})"
        rows.append(row)
    columns = ["", *(f"UF1, `{choice}`" for choice in CHOICES), "UAR, `last`"]
    return format_markdown(
        pd.DataFrame(rows).sort_values("UF1, `last`", ascending=False)[columns].fillna("–")
    )


def have_other_seeds(one, other):
    """Whether two experiments were trained with different seeds, so that some have no pair."""
    if split_seed(one)[1] or split_seed(other)[1]:  # two runs
        return False
    a, b = (set(count_by_subject(name, "last")[0]) for name in (one, other))
    return bool(a and b) and a != b and None not in a | b


def tabulate_every_seed():
    """What changes where each seed stands beside every seed of the other, by family."""
    parts = []
    for family, pairs in PAIRS.items():
        if rows := [pair for pair in (*pairs, *POOLED.get(family, ())) if have_other_seeds(*pair)]:
            parts.append(f"*{family.capitalize()}*\n\n{tabulate_pairs(rows, every_seed=True)}")
    return "\n\n".join(parts)


def tabulate_pairs(pairs, every_seed=False):
    """Paired comparisons, of same seeds unless `every_seed`. At the last epoch: difference,
    interval, p, p after Holm's correction for the rows, and what could have been seen; of `average`
    and `best` untested.

    Rows that begin with a full-size HTNet are a family of their own, so that they don't change what
    narrow ones have shown.
    """
    rows, full_size = [], []
    for one, other in pairs:
        compared = {choice: pair_seeds(one, other, choice, every_seed) for choice in CHOICES}
        if compared["last"] is None:
            continue
        seeds = compared["last"][2]
        row = {"": f"{name_row(one)} − {name_row(other)}", "seeds": seeds}
        results = {choice: compare(a, b) for choice, (a, b, _) in compared.items()}
        row |= show_difference(results["last"], "`last`", "95 %")
        row |= {"p": exchange(*compared["last"][:2]), "p, Holm": None}
        row |= {"could be seen": f"{results['last']['seen']:.3f}"}
        row |= show_difference(results["average"], "`average`", "95 %, `average`")
        rows.append(row | {"`best`": f"{results['best']['difference']:+.4f}"})
        full_size.append(is_full_size(one))
    if not rows:
        return "No pair of these has been run."
    table = pd.DataFrame(rows)
    table["p, Holm"] = table.groupby(full_size)["p"].transform(correct_holm)
    for column in ("p", "p, Holm"):
        table[column] = [f"{p:.4f}" if p >= 0.0001 else "< 0.0001" for p in table[column]]
    return format_markdown(table)


def show_difference(result, difference, interval):
    """Two cells under these headings."""
    low, high = result["interval"]
    return {difference: f"{result['difference']:+.4f}", interval: f"{low:+.3f} to {high:+.3f}"}


def name_row(name):
    """What an experiment, a run or a machine is, without its number of seeds."""
    name, seed = split_seed(name)
    return NAMES[name] + (f", seed {seed}" if seed else "")
