"""Recomputes the tables and figures of docs/reproduction.md and README from docs/results/, in seconds, without data.

    python -m docs.study.tables

Runs lie in docs/results/<experiment>-seed<N>/ (`pack.py`), support vector machines' predictions in SVM-<variant>/.
In the text, what stands between `<!-- tables: NAME -->` and `<!-- end -->` is replaced, and the number after
`<!-- uf1 RUNS/CHOICE -->` or `<!-- uf1 RUNS/CHOICE - RUNS/CHOICE -->` (Full, the mean over seeds).
"""
import argparse
import re
from functools import partial
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from composite_dataset import replace_with
from docs.study import run
from docs.study.paired import compared, drawn_subjects, holm, interval, resampled, scores
from docs.study.summarise import summarise
from evaluation import (
    CHOICES,
    PUBLISHED,
    choose_epochs,
    confusion_scores,
    confusions,
    groups,
    markdown,
    unweighted_scores,
    write_text,
)
from htnet import HTNet

ROOT = Path(__file__).parents[2]
RESULTS, FIGURES = ROOT / "docs" / "results", ROOT / "docs" / "study"
SIZES = {"HTNet": "HTNet", "HTNet-dim64": "HTNet, dim 64"}
HTNETS = {  # what follows "HTNet" or "HTNet-dim64" in a run's name; "order 210": classes in the order 2, 1, 0
    "": "order 210", "-released": "order 210, released centres", "-order012": "order 012", "-shuffle": "shuffled",
    "-two": "order 210, two hierarchies", "-normalized": "order 210, centred and scaled",
    "-control": "order 210, permuted labels"}
EXPERIMENTS = {  # a run's name without its seed: what it is
    "STSTNet": "STSTNet, order 012",
    "STSTNet-order210": "STSTNet, order 210",
    "STSTNet-normalized": "STSTNet, order 012, centred and scaled",
    "STSTNet-control": "STSTNet, order 012, permuted labels",
    **{f"{size}{kind}": f"{name}, {meaning}" for size, name in SIZES.items() for kind, meaning in HTNETS.items()},
    "HTNet-two-dim516": "HTNet, dim 516, order 210, two hierarchies",
    "HTNet-dim64-two-dim129": "HTNet, dim 129, order 210, two hierarchies",
    "HTNet-dim64-float32": "HTNet, dim 64, order 210, in float32",
    **{f"HTNet-dim{dim}": f"HTNet, dim {dim}, order 210" for dim in run.NARROW_DIMS},
    "HTNet-dim56-epochs100": "HTNet, dim 56, order 210",
    **{f"HTNet-dim{dim}-epochs200": f"HTNet, dim {dim}, order 210, 200 epochs" for dim in (16, 64)},
    **{f"HTNet-dim{dim}": f"HTNet, dim {dim}, order 210, 800 epochs" for dim in run.PAPER_DIMS},
}
BY_DIM = sorted([  # the paper's: 800 epochs, tf32; ours: 100 or 200 epochs, bf16
    (256, "HTNet"), *((dim, f"HTNet-dim{dim}") for dim in (64, *run.NARROW_DIMS, *run.PAPER_DIMS)),
    (56, "HTNet-dim56-epochs100"), *((dim, f"HTNet-dim{dim}-epochs200") for dim in (16, 64))])
PAPER_BY_DIM = {56: 0.815, 112: 0.832, 196: 0.848, 256: 0.860, 392: 0.853, 512: 0.843}  # UF1, read off its plot
SVMS = {f"SVM-{images}-{maps}-{side}": f"SVM, {where}{scaled}"
        for images, side, where in (("whole", 7, "whole maps at 7×7"), ("whole", 14, "whole maps at 14×14"),
                                    ("areas", 14, "four areas at 7×7 each"),
                                    ("areas", "14-released", "four areas at 7×7 each, released centres"),
                                    ("whole", "14-unweighted", "whole maps at 14×14, no class weights"),
                                    ("areas", "14-unweighted", "four areas at 7×7 each, no class weights"))
        for maps, scaled in (("pixels", ""), ("normalized", ", centred and scaled"))}
PIXELS_SVM, SCALED_SVM = "SVM-whole-pixels-14", "SVM-whole-normalized-14"
NAMES = EXPERIMENTS | SVMS
README_HTNET = "HTNet-dim64"  # where HTNet's published figures stand beside ours
FULL_SIZE = {name.partition("-seed")[0] for name, _ in run.trainings(False) if name[0] == "H"}
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
    "dims": [*((f"HTNet-dim{dim}", "HTNet-dim64") for dim in run.NARROW_DIMS),
             ("HTNet-dim16-epochs200", "HTNet-dim64-epochs200"),
             *((f"HTNet-dim{dim}", "HTNet") for dim in run.PAPER_DIMS)],
    "seeds": [*((f"{name}-seed{a}", f"{name}-seed{b}") for name in ("STSTNet", *SIZES)
                for a, b in combinations((1, 2, 3), 2)), ("HTNet-dim64-float32-seed1", "HTNet-dim64-seed1")]}


def check_names():
    """Refuses a folder whose name stands for nothing here, which would be left out without a word."""
    for folder in RESULTS.iterdir():
        name = re.sub(r"-seed\d+$", "", folder.name)
        if folder.is_dir() and name not in SVMS and (name not in EXPERIMENTS or name == folder.name):
            raise SystemExit(f"{folder}: its name must be one of EXPERIMENTS in docs/study/tables.py with -seed<N>, or "
                             "one of SVMS: rename it, or add it there.")


def runs(experiment):
    """The folders of an experiment's seeds; of one, where the name has a seed itself."""
    return sorted(folder for folder in RESULTS.glob(f"{experiment}*")
                  if re.fullmatch(rf"{re.escape(experiment)}(-seed\d+)?", folder.name))


def label(name):
    """What stands in a table: an experiment's number of seeds in brackets."""
    name, _, seed = name.partition("-seed")
    return NAMES[name] + (f", seed {seed}" if seed else f" ({len(runs(name))})" if name in EXPERIMENTS else "")


def predictions(name, choice):
    """A list with a table per seed, indexed by the samples' names: subject, label, prediction under a choice."""
    column = "prediction" if name in SVMS else choice
    tables = [pd.read_csv(folder / "predictions.csv", dtype={"subject": str}).set_index("name").sort_index()
              for folder in runs(name)]
    return [table.assign(prediction=table[column]) for table in tables]


def pooled(predicted, labels):
    """UF1 [E] of predictions [E, N], all subjects pooled at the same epoch."""
    counts = confusions(labels, predicted, np.zeros(len(labels), int), 1, 3)
    return confusion_scores(counts)[0][:, 0]


def score_table(name):
    """Mean ± std over an experiment's seeds under each choice, the published figures below."""
    folders, model = runs(name), name.partition("-")[0]
    counted = " (dim 256, 800 epochs; counted as `best`)" if model == "HTNet" else ""
    seeds = f"{len(folders)} seeds, mean ± standard deviation" if len(folders) > 1 else "one seed"
    table = summarise(folders)
    for source, published in PUBLISHED[model].items() if name in PUBLISHED or name == README_HTNET else ():
        table.loc[len(table)] = [source + counted, *(" / ".join(f"{score:.4f}" for score in published[group])
                                                     for group in table.columns[1:])]
    return f"**{EXPERIMENTS[name]}** ({seeds}; UF1 / UAR)\n\n{markdown(table)}"


def epochs_of(folder):
    """-> held-out predictions [E, N], labels [N], subjects [N] of a packed run."""
    with np.load(folder / "epochs.npz") as file:
        return file["predicted"], file["labels"].astype(int), file["subjects"]


def best_among(predicted, labels, subjects):
    """UF1 of `best` where each subject's epoch is chosen among these: predictions [E, N]."""
    chosen = choose_epochs(np.eye(3)[predicted], labels, subjects, "best")
    return unweighted_scores(labels, predicted[chosen, np.arange(len(labels))])[0]


def uf1_of(name, choice):
    """UF1 of Full, the mean over seeds; choice: one of CHOICES, or "common", each seed's best epoch for everybody."""
    if not runs(name):
        raise SystemExit(f"The text has a number of {name}, of which docs/results/ holds no run.")
    if choice == "common":
        return np.mean([pooled(*epochs_of(folder)[:2]).max() for folder in runs(name)])
    return np.mean([unweighted_scores(table["label"], table["prediction"])[0] for table in predictions(name, choice)])


def choice_table():
    """What choosing the epoch is worth: UF1 of Full under each choice, the mean over seeds, and without a choice."""
    rows = []
    for name in EXPERIMENTS:
        if runs(name):
            uf1, seeds = {choice: uf1_of(name, choice) for choice in (*CHOICES, "common")}, []
            for folder in runs(name):
                predicted, labels, subjects = epochs_of(folder)
                seeds.append([pooled(predicted, labels)[-10:].mean(), np.load(folder / "epochs.npz")["losses"][-1],
                              *(best_among(half, labels, subjects) for half in np.array_split(predicted, 2))])
            late, loss, *halves = np.mean(seeds, axis=0)
            rows.append({"": label(name)} | {f"`{choice}`": uf1[choice] for choice in CHOICES}
                        | {"`best` − `last`": uf1["best"] - uf1["last"],
                           "`best`, halves": " / ".join(f"{half:.4f}" for half in halves), "last 10 epochs": late,
                           "best common epoch": uf1["common"], "training loss": loss})
    return markdown(pd.DataFrame(rows))


def epochs_table():
    """UF1 of Full, `last` / `best`, had the training ended after so many epochs; the mean over seeds."""
    columns = {}
    for name in ("STSTNet", "STSTNet-control",
                 *(f"{size}{kind}" for size in SIZES for kind in ("", "-epochs200", "-control"))):
        cells = {}
        for folder in runs(name) if name in EXPERIMENTS else ():
            predicted, labels, subjects = epochs_of(folder)
            for epochs in (n for n in (10, 25, 50, 100, 200, 400, 800) if n <= len(predicted)):
                cells.setdefault(epochs, []).append([unweighted_scores(labels, predicted[epochs - 1])[0],
                                                     best_among(predicted[:epochs], labels, subjects)])
        if cells:
            columns[label(name)] = pd.Series({epochs: " / ".join(f"{uf1:.4f}" for uf1 in np.mean(pairs, axis=0))
                                              for epochs, pairs in cells.items()})
    table = pd.DataFrame(columns).sort_index().fillna("–")
    return markdown(table.rename_axis("epochs").reset_index())


def dims_table():
    """Full UF1 by dim, mean ± std over seeds, beside the paper's ablation; parameters, and the last training loss."""
    network = partial(HTNet, image_size=28, patch_size=7, num_classes=3, heads=3, num_hierarchies=3,
                      block_repeats=(2, 2, 10))
    rows = []
    for dim, name in BY_DIM:
        folders = runs(name)
        with torch.device("meta"):
            parameters = sum(parameter.numel() for parameter in network(dim=dim).parameters())
        row = {"dim": dim, "parameters": f"{parameters:,}", "epochs (seeds)": "open"}
        if folders:
            stored = [np.load(folder / "epochs.npz")["losses"] for folder in folders]
            row["epochs (seeds)"] = f"{len(stored[0])} ({len(stored)})"
            for choice in CHOICES:
                uf1 = [uf1_of(folder.name, choice) for folder in folders]
                row[f"`{choice}`"] = f"{np.mean(uf1):.3f}" + (f" ± {np.std(uf1, ddof=1):.3f}" if len(uf1) > 1 else "")
            row["training loss"] = f"{np.mean([losses[-1] for losses in stored]):.4f}"
        rows.append(row | ({"paper": f"{PAPER_BY_DIM[dim]:.3f}"} if dim in PAPER_BY_DIM else {}))
    columns = ["dim", "parameters", "epochs (seeds)", *(f"`{choice}`" for choice in CHOICES), "training loss", "paper"]
    return markdown(pd.DataFrame(rows, columns=columns).fillna("–"))


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
    """The mean over seeds under each epoch choice, with 95 % intervals; best `last` first."""
    rows = []
    for name in NAMES:
        if "control" in name or subject_counts(name, "last")[0] is None:
            continue
        row, random = {"": label(name)}, np.random.default_rng(0)
        for choice in CHOICES if name in EXPERIMENTS else ("last",):
            counts, _ = subject_counts(name, choice)
            drawn = resampled(counts, drawn_subjects(counts.shape[1], random), random)
            for score, value, values in zip(("UF1", "UAR"), scores(counts), drawn):
                low, high = interval(values)
                row[f"{score}, `{choice}`"] = f"{value:.4f} ({low:.3f}–{high:.3f})"
        rows.append(row)
    columns = ["", *(f"UF1, `{choice}`" for choice in CHOICES), "UAR, `last`"]
    return markdown(pd.DataFrame(rows).sort_values("UF1, `last`", ascending=False)[columns].fillna("–"))


def machine_table():
    """The support vector machines' UF1 / UAR in each database."""
    rows = []
    for name, meaning in SVMS.items():
        for table in predictions(name, "last"):
            rows.append({"": meaning} | {
                group: " / ".join(f"{score:.4f}" for score in
                                  unweighted_scores(table["label"][mask], table["prediction"][mask]))
                for group, mask in groups(table["database"].to_numpy()).items()})
    return markdown(pd.DataFrame(rows))


def pair_table(pairs):
    """Paired comparisons: at the last epoch with interval, p, and p after Holm's correction for the rows; `others` too.

    Rows of full-size HTNets are a family of their own, so that they don't change what narrow ones have shown. A support
    vector machine, which has no epochs, keeps its predictions under every choice.
    """
    rows, full_size = [], []
    for one, other in pairs:
        results = {}
        for choice in CHOICES:
            (a, samples), (b, others_samples) = subject_counts(one, choice), subject_counts(other, choice)
            if a is None or b is None:
                break
            if not samples.equals(others_samples):
                raise SystemExit(f"{one} and {other} are not of the same samples.")
            results[choice] = compared(a, b)
        else:
            row = {"": f"{label(one)} − {label(other)}"}
            for choice, comma in (("last", ""), ("others", ", `others`")):
                difference, (low, high), p = results[choice]
                row |= {f"`{choice}`": f"{difference:+.4f}", f"95 %{comma}": f"{low:+.3f} to {high:+.3f}",
                        f"p{comma}": p, f"p, Holm{comma}": None}
            rows.append(row | {"`best`": f"{results['best'][0]:+.4f}"})
            full_size.append(one.partition("-seed")[0] in FULL_SIZE)
    table = pd.DataFrame(rows)
    for comma in ("", ", `others`"):
        table[f"p, Holm{comma}"] = table.groupby(full_size)[f"p{comma}"].transform(holm)
    return markdown(table)


def open_table(narrow):
    """The trainings of `run.py` that are not packed yet."""
    rows = {}
    for name, _ in run.trainings(narrow):
        if not runs(name):
            experiment, _, seed = name.partition("-seed")
            rows.setdefault(experiment, []).append(seed)
    return markdown(pd.DataFrame([{"open": f"`{name}`", "what": EXPERIMENTS[name], "seeds": ", ".join(seeds)}
                                  for name, seeds in rows.items()], columns=["open", "what", "seeds"]))


def figures():
    """curves.png: panels for STSTNet, for HTNets of either size and for HTNet by dim -> the figure."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    panels, by_dim = {}, [name for _, name in BY_DIM]
    for name, meaning in EXPERIMENTS.items():
        size = name.partition("-")[0]
        if size == "HTNet" and name not in FULL_SIZE:
            size = "HTNet, narrow"
        if runs(name) and (name in SIZES or name not in by_dim):
            panels.setdefault(size, []).append((name, meaning))
    panels["HTNet by dim"] = [(name, EXPERIMENTS[name]) for name in by_dim if runs(name)]
    panels = {title: experiments for title, experiments in panels.items() if experiments}
    figure = Figure(figsize=(5.5 * len(panels), 7), layout="constrained")
    for axis, (title, experiments) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items()):
        if title == "HTNet by dim":  # from narrow to wide
            axis.set_prop_cycle(color=colormaps["viridis"](np.linspace(0, 0.9, len(experiments))))
        for name, meaning in experiments:
            curves = [pooled(*epochs_of(folder)[:2]) for folder in runs(name)]
            if len({len(curve) for curve in curves}) > 1:
                raise SystemExit(f"The runs of {name} have different numbers of epochs.")
            epochs, mean = np.arange(1, len(curves[0]) + 1), np.mean(curves, axis=0)
            line, = axis.plot(epochs, mean, label=f"{meaning} ({len(curves)})", linewidth=1)
            if len(curves) > 1:
                axis.fill_between(epochs, np.min(curves, axis=0), np.max(curves, axis=0), alpha=0.2,
                                  color=line.get_color())
        axis.axhline(1 / 3, color="grey", linewidth=0.5, linestyle=":")
        axis.set(xlabel="epoch", ylabel="held-out UF1, all subjects at the same epoch", title=title, ylim=(0.15, 0.8))
        axis.legend(fontsize=9, loc="upper center", bbox_to_anchor=(0.5, -0.1))
    replace_with(FIGURES / "curves.png", lambda temporary: figure.savefig(temporary, dpi=110))
    return figure


def all_tables():
    """{name in the text: markdown}"""
    check_names()
    each = {name: score_table(name) for name in EXPERIMENTS if runs(name)}
    return each | {"scores": "\n\n".join(each.values()), "choice": choice_table(), "epochs": epochs_table(),
                   "side by side": side_by_side(), "machines": machine_table(), "by dim": dims_table(),
                   **{family: pair_table(pairs) for family, pairs in PAIRS.items()},
                   "open, narrow": open_table(True), "open": open_table(False)}


DOCUMENTS = (ROOT / "docs" / "reproduction.md", ROOT / "README.md")
NUMBER = r"(<!-- uf1 (\S+)/(\w+)(?: - (\S+)/(\w+))? -->\n?)(-?[\d.]*\d)"


def filled(text, tables):
    """The text with every `<!-- tables: NAME -->` part and every marked number replaced."""
    for name in re.findall(r"<!-- tables: (.+?) -->", text):
        text = re.sub(rf"(<!-- tables: {name} -->\n).*?(<!-- end -->)",
                      lambda match, name=name: f"{match[1]}\n{tables[name]}\n\n{match[2]}", text, flags=re.DOTALL)

    def number(match):
        mark, one, choice, other, others_choice, _ = match.groups()
        return f"{mark}{uf1_of(one, choice) - (uf1_of(other, others_choice) if other else 0):.3f}"

    return re.sub(NUMBER, number, text)


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    made = all_tables()
    for document in DOCUMENTS:
        write_text(document, filled(document.read_text(encoding="utf-8"), made))
    figures()
    print("\n\n".join(made[name] for name in re.findall("<!-- tables: (.+?) -->", DOCUMENTS[0].read_text("utf-8"))))
