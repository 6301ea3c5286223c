"""The tables of docs/tables.md, docs/reproduction.md and README, from docs/results/."""

import json

import numpy as np
import pandas as pd
import torch

from composite_dataset import CLASSES
from evaluation import CHOICES, count_confusions, group_by_database, score_groups
from htnet import PAPER, HTNet
from report import PUBLISHED, format_markdown
from study import choice_tables, critical_tables, honest, nested, part_tables, trainings
from study.choices import compute_uf1
from study.comparisons import (
    PAIRS,
    tabulate_every_seed,
    tabulate_methods,
    tabulate_pairs,
)
from study.experiments import (
    BY_DIM,
    EXPERIMENTS,
    NAMES,
    PAPER_BY_DIM,
    PAPER_BY_HEADS,
    README_HTNET,
    RESULTS,
    ROOT,
    SVMS,
    check_names,
    describe,
    find_runs,
    read_predictions,
    read_run,
)
from study.summarize import format_seeds, summarize

RELEASED = ROOT / "tests" / "reference" / "released_confusions.json"
COUNTED = {  # what stands beside a published row
    ("HTNet", "paper"): " (dim 256, 800 epochs; counted as `best`)",
    ("HTNet", "predictions the authors released"): (
        " (their settings are not known; counted as `best`)"
    ),
}


def tabulate_choices(name):
    """Mean ± std over an experiment's seeds under each choice, the published figures below."""
    folders, model = find_runs(name), name.partition("-")[0]
    seeds = f"{len(folders)} seeds, mean ± standard deviation" if len(folders) > 1 else "one seed"
    table = summarize(folders)
    for source, published in (
        PUBLISHED[model].items() if name in PUBLISHED or name == README_HTNET else ()
    ):
        table.loc[len(table)] = [
            source + COUNTED.get((model, source), ""),
            *(
                " / ".join(f"{score:.4f}" for score in published[group])
                for group in table.columns[1:]
            ),
        ]
    return f"**{EXPERIMENTS[name]}** ({seeds}; UF1 / UAR)\n\n{format_markdown(table)}"


def tabulate_dims():
    """Full UF1 by dim, mean ± deviation over seeds, beside the paper's ablation."""
    rows, begun = [], {dim for dim, name in BY_DIM if find_runs(name)}
    for dim, name in BY_DIM:
        folders = find_runs(name)
        if not folders and dim in begun:
            continue  # the list of open trainings has it
        with torch.device("meta"):
            parameters = sum(
                parameter.numel() for parameter in HTNet(**PAPER | {"dim": dim}).parameters()
            )
        row = {"dim": dim, "parameters": f"{parameters:,}", "epochs (seeds)": "open"}
        if folders:
            stored = [read_run(folder)["losses"] for folder in folders]
            row["epochs (seeds)"] = f"{len(stored[0])} ({len(stored)})"
            for choice in CHOICES:
                uf1 = [compute_uf1(folder.name, choice) for folder in folders]
                row[f"`{choice}`"] = f"{np.mean(uf1):.3f}" + (
                    f" ± {np.std(uf1, ddof=1):.3f}" if len(uf1) > 1 else ""
                )
            row["different predictions"] = f"{np.mean([*map(count_different, folders)]):.1f}"
            row["training loss"] = f"{np.mean([losses[-1] for losses in stored]):.4f}"
        rows.append(row | ({"paper": f"{PAPER_BY_DIM[dim]:.3f}"} if dim in PAPER_BY_DIM else {}))
    columns = [
        "dim",
        "parameters",
        "epochs (seeds)",
        *(f"`{choice}`" for choice in CHOICES),
        "different predictions",
        "training loss",
        "paper",
    ]
    return format_markdown(pd.DataFrame(rows, columns=columns).fillna("–"))


def count_different(folder):
    """How many different predictions (of all its samples) a subject has; the subjects' mean."""
    run = read_run(folder)
    return np.mean(
        [
            len(np.unique(run["predicted"][:, run["subjects"] == name], axis=0))
            for name in np.unique(run["subjects"])
        ]
    )


def tabulate_machines():
    """The support vector machines' UF1 / UAR in each database."""
    rows = []
    for name, meaning in SVMS.items():
        for table in read_predictions(name, "last").values():
            scores = score_groups(table["database"], table["label"], table["prediction"])
            cells = {group: format_seeds([pair]) for group, pair in scores.items()}
            rows.append({"": meaning} | cells)
    return format_markdown(pd.DataFrame(rows))


def score_classes(counts):
    """F1 of each class, float [C], of confusion counts [C, C]."""
    return 2 * np.diagonal(counts) / np.maximum(counts.sum(0) + counts.sum(1), 1)


def read_released():
    """{database: confusion counts [3, 3]} of the predictions that HTNet's authors released."""
    tables = json.loads(RELEASED.read_text(encoding="utf-8"))
    return {database: np.array(counts) for database, counts in tables.items()}


def count_pooled(table):
    """A table of predictions -> confusion counts [3, 3]."""
    return count_confusions(table["label"].to_numpy(), table["prediction"].to_numpy())


def tabulate_classes():
    """F1 of each class in Full, the mean over seeds."""
    rows = [{"": "released predictions (`best`)"} | name_classes(sum(read_released().values()))]
    for name in ("HTNet", "HTNet-epochs200", "HTNet-dim64", "STSTNet", "SVM-whole-pixels-14"):
        for choice in CHOICES if name in EXPERIMENTS else ("last",):
            if tables := read_predictions(name, choice).values():
                f1 = np.mean([score_classes(count_pooled(table)) for table in tables], axis=0)
                label = f"{describe(name)}, `{choice}`" if name in EXPERIMENTS else describe(name)
                rows.append({"": label} | dict(zip(CLASSES, f1)))
    return format_markdown(pd.DataFrame(rows))


def name_classes(counts):
    return dict(zip(CLASSES, score_classes(counts)))


def tabulate_confusions(name):
    """Confusion counts of each database beside the authors' released ones; the mean over seeds."""
    released, rows = read_released(), []
    ours = {choice: list(read_predictions(name, choice).values()) for choice in ("best", "average")}
    masks = group_by_database(ours["best"][0]["database"])
    for key, (group, mask) in zip(("smic", "casme2", "samm"), list(masks.items())[1:]):
        counted = {"released": released[key]} | {
            f"`{choice}`": np.mean([count_pooled(table[mask]) for table in tables], axis=0)
            for choice, tables in ours.items()
        }
        for i, truth in enumerate(CLASSES):
            cells = {
                source: " / ".join(f"{count:.1f}".removesuffix(".0") for count in counts[i])
                for source, counts in counted.items()
            }
            rows.append({"database": group, "truth": truth} | cells)
    return format_markdown(pd.DataFrame(rows))


def tabulate_published():
    """What the papers and the authors' files say: UF1 / UAR."""
    rows = [
        {"method": model, "source": source}
        | {group: " / ".join(f"{score:.4f}" for score in pair) for group, pair in scores.items()}
        for model, sources in PUBLISHED.items()
        for source, scores in sources.items()
    ]
    return format_markdown(pd.DataFrame(rows))


def tabulate_plots():
    """The paper's ablations, read off its plots."""
    rows = [
        {"ablation": name} | {str(key): f"{uf1:.3f}" for key, uf1 in plotted.items()}
        for name, plotted in (("dim", PAPER_BY_DIM), ("heads", PAPER_BY_HEADS))
    ]
    tables = [format_markdown(pd.DataFrame([row])) for row in rows]
    return "\n\n".join(tables)


def tabulate_open(group):
    """The trainings of `trainings.py` that are not packed yet."""
    rows = {}
    for name, _ in trainings.list_trainings(group):
        if not find_runs(name):
            experiment, _, seed = name.partition("-seed")
            rows.setdefault(experiment, []).append(seed)
    return format_markdown(
        pd.DataFrame(
            [
                {"open": f"`{name}`", "what": NAMES[name], "seeds": ", ".join(seeds)}
                for name, seeds in rows.items()
            ],
            columns=["open", "what", "seeds"],
        )
    )


def tabulate_unfinished():
    """How many folds of the runs in docs/results/unfinished/ are trained."""
    folders, options = sorted((RESULTS / "unfinished").glob("*-seed*")), {}
    for group in ("narrow", "wide"):
        options |= dict(trainings.list_trainings(group))
    rows = [
        {
            "run": f"`{folder.name}`",
            "folds": f"{len(list(folder.glob('folds/*.npz')))} of "
            f"{count_subjects(options[folder.name])}",
        }
        for folder in folders
        if not (RESULTS / folder.name).exists()
    ]
    return format_markdown(pd.DataFrame(rows)) if rows else "None at the moment."


def count_subjects(options):
    """How many folds a training of these options has."""
    if "--subjects" not in options:
        return 68
    return len(options[options.index("--subjects") + 1].split(","))


def make_tables():
    """{name in the text: markdown}"""
    check_names()
    carried = choice_tables.describe_carried()
    few = [carried[name] for name in choice_tables.FEW if name in carried]
    each = {name: tabulate_choices(name) for name in EXPERIMENTS if find_runs(name)}
    return each | {
        "HTNet-honest-seed1": (RESULTS / "HTNet-honest-seed1" / "report.md").read_text("utf-8"),
        "STSTNet-seed1": (RESULTS / "STSTNet-seed1" / "report.md").read_text(encoding="utf-8"),
        "published": tabulate_published(),
        "plots": tabulate_plots(),
        "scores": "\n\n".join(each.values()),
        "choice": choice_tables.tabulate_gain(),
        "carried over": format_markdown(pd.DataFrame(carried.values())),
        "carried over, few": format_markdown(pd.DataFrame(few)),
        "best of k": choice_tables.tabulate_best_of(),
        "headline": choice_tables.tabulate_headline(),
        "rules": choice_tables.tabulate_rules(),
        "others": choice_tables.tabulate_others(),
        "withdrawn": choice_tables.tabulate_withdrawn(),
        "longer": part_tables.tabulate_longer(),
        "longer, two subjects": part_tables.tabulate_longer(
            "HTNet-epochs800-float32", "HTNet-epochs200-float32"
        ),
        "second seed": part_tables.tabulate_second_seed(),
        "nested": nested.tabulate(),
        "epochs": choice_tables.tabulate_epochs(),
        "classes": tabulate_classes(),
        "confusions": tabulate_confusions(README_HTNET),
        "honest trials": honest.tabulate_trials(),
        "honest nested": honest.tabulate_nested(),
        "recipes": honest.tabulate_recipes(),
        "recipes, few": honest.tabulate_recipes(honest.FEW_ROWS),
        "card": honest.tabulate_card(),
        "contributions": critical_tables.tabulate_contributions(),
        "against the mean": critical_tables.tabulate_contributions(""),
        "eyes and lips": critical_tables.tabulate_sides(),
        "curves": critical_tables.tabulate_curves(),
        "side by side": tabulate_methods(),
        "machines": tabulate_machines(),
        "by dim": tabulate_dims(),
        **{family: tabulate_pairs(pairs) for family, pairs in PAIRS.items()},
        "every seed": tabulate_every_seed(),
        "unfinished": tabulate_unfinished(),
        **{f"open, {group}": tabulate_open(group) for group in ("narrow", "wide", "full")},
    }
