"""Recomputes the tables and figures of docs/reproduction.md and README from docs/results/, in seconds, without data.

    python -m docs.study.tables

Runs lie in docs/results/<experiment>-seed<N>/ (`pack.py`), support vector machines' predictions in SVM-<variant>/.
In the text, what stands between `<!-- tables: NAME -->` and `<!-- end -->` is replaced.
"""
import re
from pathlib import Path

import numpy as np
import pandas as pd

from docs.study.summarise import summarise
from evaluation import (
    CHOICES,
    PUBLISHED,
    choose_epochs,
    confusion_scores,
    confusions,
    markdown,
    unweighted_scores,
    write_text,
)

ROOT = Path(__file__).parents[2]
RESULTS, FIGURES = ROOT / "docs" / "results", ROOT / "docs" / "study"
DRAWS = 10_000
HTNETS = {  # what follows "HTNet" or "HTNet-dim64" in a run's name
    "": "", "-released": ", the released area centres", "-order012": ", classes in the order 0, 1, 2",
    "-shuffle": ", shuffled every epoch", "-two": ", two hierarchies", "-normalized": ", maps centred and scaled",
    "-control": ", training labels permuted"}
EXPERIMENTS = {  # a run's name without its seed: what it is
    "STSTNet": "STSTNet, classes in the order 0, 1, 2",
    "STSTNet-order210": "STSTNet, classes in the order 2, 1, 0",
    "STSTNet-normalized": "STSTNet, maps centred and scaled",
    "STSTNet-control": "STSTNet, training labels permuted",
    **{f"HTNet{kind}": f"HTNet, the paper's settings{meaning}" for kind, meaning in HTNETS.items()},
    "HTNet-two-dim516": "HTNet, two hierarchies, dim 516",
    **{f"HTNet-dim64{kind}": f"HTNet, dim 64{meaning}" for kind, meaning in HTNETS.items()},
    "HTNet-dim64-float32": "HTNet, dim 64, in float32",
    "HTNet-dim64-two-dim129": "HTNet, dim 129, two hierarchies",
    **{f"HTNet-dim{dim}": f"HTNet, dim {dim}" for dim in (56, 112, 196, 392, 512)},
}
SVMS = {"SVM-whole-pixels-7": "SVM, whole maps at 7×7, pixels",
        "SVM-whole-pixels-14": "SVM, whole maps at 14×14, pixels",
        "SVM-whole-normalized-7": "SVM, whole maps at 7×7, centred and scaled",
        "SVM-whole-normalized-14": "SVM, whole maps at 14×14, centred and scaled",
        "SVM-areas-pixels-14": "SVM, four areas at 7×7 each, pixels",
        "SVM-areas-normalized-14": "SVM, four areas at 7×7 each, centred and scaled",
        "SVM-areas-normalized-14-released": "SVM, four areas at 7×7 each, centred and scaled, released centres"}
README_HTNET = "HTNet-dim64"  # where HTNet's published figures stand beside ours
PIXELS_SVM, SCALED_SVM = "SVM-whole-pixels-14", "SVM-whole-normalized-14"
SIZES = ("HTNet", "HTNet-dim64")
PAIRS = {  # family of comparisons, each corrected for its own number: the pairs
    "methods": [*((size, other) for size in SIZES for other in ("STSTNet", PIXELS_SVM)), ("STSTNet", PIXELS_SVM),
                *((f"{size}-normalized", other) for size in SIZES for other in ("STSTNet-normalized", SCALED_SVM)),
                ("STSTNet-normalized", SCALED_SVM)],
    "recipe": [*((f"{size}{kind}", size) for size in SIZES
                 for kind in ("-released", "-order012", "-shuffle", "-two", "-two-dim129", "-two-dim516", "-normalized")
                 if f"{size}{kind}" in EXPERIMENTS),
               ("STSTNet-order210", "STSTNet"), ("STSTNet-normalized", "STSTNet"), (SCALED_SVM, PIXELS_SVM)]}
NAMES = EXPERIMENTS | SVMS


def check_names():
    """Refuses a folder whose name stands for nothing here, which would be left out without a word."""
    for folder in RESULTS.iterdir():
        name = re.sub(r"-seed\d+$", "", folder.name)
        if folder.is_dir() and name not in SVMS and (name not in EXPERIMENTS or name == folder.name):
            raise SystemExit(f"{folder}: its name must be one of EXPERIMENTS in docs/study/tables.py with -seed<N>, or "
                             "one of SVMS: rename it, or add it there.")


def runs(experiment):
    """The folders of an experiment's seeds."""
    return sorted(folder for folder in RESULTS.glob(f"{experiment}-seed*")
                  if re.fullmatch(rf"{re.escape(experiment)}-seed\d+", folder.name))


def predictions(name, choice):
    """A list with a table per seed, indexed by the samples' names: subject, label, prediction under a choice."""
    if name in SVMS:
        folders, column = [RESULTS / name] * (RESULTS / name).exists(), "prediction"
    else:
        folders, column = runs(name), choice
    tables = [pd.read_csv(folder / "predictions.csv", dtype={"subject": str}).set_index("name").sort_index()
              for folder in folders]
    return [table.assign(prediction=table[column]) for table in tables]


def pooled(predicted, labels):
    """UF1 [E] of predictions [E, N], all subjects pooled at the same epoch."""
    counts = confusions(labels, predicted, np.zeros(len(labels), int), 1, 3)
    return confusion_scores(counts)[0][:, 0]


def score_table(name):
    """Mean ± std over an experiment's seeds under each choice, the published figures below."""
    folders, model = runs(name), name.partition("-")[0]
    seeds = f"{len(folders)} seeds, mean ± standard deviation" if len(folders) > 1 else "one seed"
    table = summarise(folders)
    for source, scores in PUBLISHED[model].items() if name in PUBLISHED or name == README_HTNET else ():
        table.loc[len(table)] = [source, *(" / ".join(f"{score:.4f}" for score in scores[group])
                                           for group in table.columns[1:])]
    return f"**{EXPERIMENTS[name]}** ({seeds}; UF1 / UAR)\n\n{markdown(table)}"


def choice_table():
    """What choosing the epoch is worth: UF1 of Full under each choice, the mean over seeds, and the differences."""
    rows = []
    for name, meaning in EXPERIMENTS.items():
        if runs(name):
            uf1 = {choice: np.mean([unweighted_scores(table["label"], table["prediction"])[0]
                                    for table in predictions(name, choice)]) for choice in CHOICES}
            rows.append({"": meaning, "seeds": len(runs(name))} | {f"`{choice}`": uf1[choice] for choice in CHOICES}
                        | {f"`{choice}` − `last`": uf1[choice] - uf1["last"] for choice in ("others", "best")})
    return markdown(pd.DataFrame(rows))


def epochs_table():
    """UF1 of Full, `last` / `best`, had the training ended after so many epochs; the mean over seeds."""
    rows = []
    for name in ("STSTNet", "STSTNet-control", *(f"{size}{kind}" for size in SIZES for kind in ("", "-control"))):
        row = {"": EXPERIMENTS[name]}
        for folder in runs(name):
            with np.load(folder / "epochs.npz") as run:
                predicted, labels, subjects = run["predicted"], run["labels"].astype(int), run["subjects"]
            for epochs in (n for n in (10, 25, 50, 100, 200, 400, 800) if n <= len(predicted)):
                chosen = choose_epochs(np.eye(3)[predicted[:epochs]], labels, subjects, "best")
                row.setdefault(f"{epochs} epochs", []).append([
                    unweighted_scores(labels, predicted[epochs - 1])[0],
                    unweighted_scores(labels, predicted[chosen, np.arange(len(labels))])[0]])
        if len(row) > 1:
            rows.append(row)
    return markdown(pd.DataFrame(rows).map(lambda cell: cell if isinstance(cell, str) else "–" if np.ndim(cell) == 0
                                           else " / ".join(f"{uf1:.4f}" for uf1 in np.mean(cell, axis=0))))


def subject_counts(name, choice):
    """-> confusion counts [seeds, subjects, 3, 3] and what they are of; (None, None) where there are no runs."""
    tables = predictions(name, choice)
    if not tables:
        return None, None
    people, person = np.unique(tables[0]["subject"], return_inverse=True)
    counts = np.stack([confusions(table["label"].to_numpy(), table["prediction"].to_numpy(), person, len(people), 3)
                       for table in tables])
    return counts, tables[0][["subject", "label"]]


def side_by_side():
    """The mean over seeds under each epoch choice, with bootstrap intervals over subjects; best `last` first."""
    rows = []
    for name, meaning in NAMES.items():
        if "control" in name or subject_counts(name, "last")[0] is None:
            continue
        row = {"": f"{meaning} ({len(runs(name))})" if name in EXPERIMENTS else meaning}
        for choice in CHOICES if name in EXPERIMENTS else ("last",):
            counts, _ = subject_counts(name, choice)
            people = counts.shape[1]
            drawn = np.random.default_rng(0).multinomial(people, np.full(people, 1 / people), size=2000)
            drawn = np.concatenate([np.ones((1, people)), drawn])  # the first row: as observed
            scores = np.mean([confusion_scores(np.tensordot(drawn, seed, 1)) for seed in counts], axis=0)
            for score, values in zip(("UF1", "UAR"), scores):
                low, high = np.percentile(values[1:], (2.5, 97.5))
                row[f"{score}, `{choice}`"] = f"{values[0]:.4f} ({low:.3f}–{high:.3f})"
        rows.append(row)
    columns = ["", *(f"UF1, `{choice}`" for choice in CHOICES), "UAR, `last`"]
    return markdown(pd.DataFrame(rows).sort_values("UF1, `last`", ascending=False)[columns].fillna("–"))


def compared(a, b):
    """Confusion counts of two methods -> difference of their mean UF1, its 95 % bootstrap interval, p; over subjects.

    Where one has more seeds than the other, the first ones count; a single one is compared with each of the other's.
    """
    seeds = max(len(a), len(b)) if min(len(a), len(b)) == 1 else min(len(a), len(b))
    a, b = (np.broadcast_to(counts, (seeds, *counts.shape[1:])) if len(counts) == 1 else counts[:seeds]
            for counts in (a, b))
    people, random = a.shape[1], np.random.default_rng(0)

    def difference(weights_of_a, weights_of_b):  # [draws, subjects], how often each subject's a and b count for a
        return np.mean([confusion_scores(np.tensordot(weights_of_a, x, 1) + np.tensordot(weights_of_b, y, 1))[0]
                        - confusion_scores(np.tensordot(weights_of_a, y, 1) + np.tensordot(weights_of_b, x, 1))[0]
                        for x, y in zip(a, b)], axis=0)

    ones = np.ones((1, people))
    observed = difference(ones, 0 * ones)[0]
    # Under the null hypothesis it does not matter which of the two methods a subject's predictions came from.
    kept = random.integers(0, 2, (DRAWS, people))
    p = (1 + np.sum(np.abs(difference(kept, 1 - kept)) >= abs(observed) - 1e-12)) / (1 + DRAWS)
    drawn = random.multinomial(people, np.full(people, 1 / people), size=2000)
    return observed, np.percentile(difference(drawn, 0 * drawn), (2.5, 97.5)), p


def pair_table(pairs):
    """Paired comparisons under each epoch choice, with Holm's correction for their number.

    A support vector machine, which has no epochs, keeps its predictions under every choice.
    """
    rows = []
    for one, other in pairs:
        row = {"": f"{NAMES[one]} − {NAMES[other]}"}
        for choice in CHOICES:
            (a, samples), (b, others_samples) = subject_counts(one, choice), subject_counts(other, choice)
            if a is None or b is None:
                break
            if not samples.equals(others_samples):
                raise SystemExit(f"{one} and {other} are not of the same samples.")
            observed, (low, high), p = compared(a, b)
            row |= {f"UF1, `{choice}`": f"{observed:+.4f} ({low:+.3f} to {high:+.3f})", f"p / Holm, `{choice}`": p}
        else:
            rows.append(row)
    table = pd.DataFrame(rows)
    for column in (f"p / Holm, `{choice}`" for choice in CHOICES):
        order = table[column].sort_values().index
        holm = (table[column][order] * np.arange(len(order), 0, -1)).cummax().clip(upper=1)
        table[column] = [f"{p:.4f} / {corrected:.4f}" for p, corrected in zip(table[column], holm[table.index])]
    return markdown(table)


def figures():
    """curves.png: a panel for STSTNet and for each size of HTNet, a line for each experiment."""
    from matplotlib.figure import Figure

    panels = {}
    for name, meaning in EXPERIMENTS.items():
        if files := [folder / "epochs.npz" for folder in runs(name)]:
            size = "HTNet, dim 64" if name.startswith("HTNet-dim64") else name.partition("-")[0]
            panels.setdefault(size, []).append((name, meaning, files))
    figure = Figure(figsize=(5.5 * len(panels), 6), layout="constrained")
    for axis, (title, experiments) in zip(figure.subplots(1, len(panels)), panels.items()):
        for name, meaning, files in experiments:
            curves = []
            for file in files:
                with np.load(file) as run:
                    curves.append(pooled(run["predicted"], run["labels"].astype(int)))
            if len({len(curve) for curve in curves}) > 1:
                raise SystemExit(f"The runs of {name} have different numbers of epochs.")
            epochs, mean = np.arange(1, len(curves[0]) + 1), np.mean(curves, axis=0)
            line, = axis.plot(epochs, mean, label=f"{meaning} ({len(curves)})", linewidth=1)
            if len(curves) > 1:
                axis.fill_between(epochs, np.min(curves, axis=0), np.max(curves, axis=0), alpha=0.2,
                                  color=line.get_color())
        axis.axhline(1 / 3, color="grey", linewidth=0.5, linestyle=":")
        axis.set(xlabel="epoch", ylabel="held-out UF1, all subjects at the same epoch", title=title, ylim=(0.15, 0.8))
        axis.legend(fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.11), ncols=2)
    figure.savefig(FIGURES / "curves.png", dpi=110)


def all_tables():
    """{name in the text: markdown}"""
    check_names()
    scores = {name: score_table(name) for name in EXPERIMENTS if runs(name)}
    return scores | {"scores": "\n\n".join(scores.values()), "choice": choice_table(), "epochs": epochs_table(),
                     "side by side": side_by_side(), **{family: pair_table(pairs) for family, pairs in PAIRS.items()}}


DOCUMENTS = (ROOT / "docs" / "reproduction.md", ROOT / "README.md")


def filled(text, tables):
    """The text with every `<!-- tables: NAME -->` part replaced."""
    for name in re.findall(r"<!-- tables: (.+?) -->", text):
        text = re.sub(rf"(<!-- tables: {name} -->\n).*?(<!-- end -->)",
                      lambda match, name=name: f"{match[1]}\n{tables[name]}\n\n{match[2]}", text, flags=re.DOTALL)
    return text


if __name__ == "__main__":
    made = all_tables()
    for document in DOCUMENTS:
        write_text(document, filled(document.read_text(encoding="utf-8"), made))
    figures()
    print("\n\n".join(made[name] for name in ("scores", "choice", "epochs", "side by side", *PAIRS)))
