"""The pictures of the study: docs/finding.png and docs/curves.png."""

import numpy as np

from report import PUBLISHED
from study.choices import compute_uf1, score_epochs
from study.experiments import (
    BY_DIM,
    EXPERIMENTS,
    ROOT,
    describe,
    find_runs,
    is_full_size,
    read_run,
    split_seed,
)
from support.files import replace_file

FIGURE, FINDING = ROOT / "docs" / "curves.png", ROOT / "docs" / "finding.png"
ROWS = {  # of docs/finding.png, from above: what stands at the left
    "HTNet": "HTNet at the paper's\nsettings",
    "HTNet-epochs200": "HTNet, the paper's width,\n200 epochs",
    "HTNet-dim64": "HTNet, dim 64",
    "HTNet-dim16": "HTNet, dim 16",
    "STSTNet": "STSTNet",
}
# Okabe and Ito's colours, told apart by the colour-blind; shapes tell them apart, too
MARKS = {
    "last": ("last epoch", "o", "#0072B2"),
    "average": ("average of the last tenth", "s", "#555555"),
    "across": ("best epoch of another seed", "D", "#009E73"),
    "best": ("each subject's best epoch", "o", "#D55E00"),
}
SHIFTS = {"average": 0.22, "across": 0.22}  # below the row's line: no mark hides `last`
LABELS = {  # of the first row: how far to the side, how far below, which end is meant
    "last": (0.012, 0.46, "left"),
    "average": (0.0, 0.80, "center"),
    "across": (-0.012, 0.46, "right"),
    "best": (0.0, 0.46, "center"),
}
LINES = {  # text: UF1, how high the text stands
    "HTNet, paper": (PUBLISHED["HTNet"]["paper"]["Full"][0], 0),
    "HTNet, released predictions": (
        PUBLISHED["HTNet"]["predictions the authors released"]["Full"][0],
        1,
    ),
    "STSTNet, paper": (PUBLISHED["STSTNet"]["paper"]["Full"][0], 0),
}
INK, GREY = "#222222", "#777777"
WHITE = {"facecolor": "white", "edgecolor": "none", "pad": 1}  # behind words, over the lines


def label_marks(axis, values, y):
    """Says below a row at y what each mark is, in the mark's colour."""
    for choice, (dx, dy, side) in LABELS.items():
        text, _, colour = MARKS[choice]
        axis.annotate(
            text,
            (values[choice], y + SHIFTS.get(choice, 0) + 0.12),
            xytext=(values[choice] + dx, y + dy),
            ha=side,
            va="center",
            fontsize=10,
            color=colour,
            weight="bold",
            bbox=WHITE,
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 1},
        )


def draw_finding():
    """Draws a dumbbell per method: UF1 of the same networks, counted in four ways -> figure."""
    from matplotlib.figure import Figure

    rows = [name for name in ROWS if find_runs(name)]
    figure = Figure(figsize=(9, 2.2 + 0.6 * len(rows)), layout="constrained")
    axis = figure.subplots()
    for text, (uf1, level) in LINES.items():
        axis.axvline(uf1, color=GREY, linewidth=1, linestyle=(0, (4, 3)), zorder=0)
        axis.annotate(
            f"{text} {uf1:.4f}",
            (uf1, -0.75 - 0.42 * level),
            ha="right" if level else "center",
            xytext=(4 if level else 0, 0),
            textcoords="offset points",
            fontsize=10,
            color=INK,
            bbox=WHITE,
        )
    # the marks are named below the first row that has all of them
    named = next(y for y, name in enumerate(rows) if compute_uf1(name, "across") is not None)
    places = [y + 0.6 * (y > named) for y in range(len(rows))]
    for y, name in zip(places, rows):
        values = {choice: compute_uf1(name, choice) for choice in MARKS}
        values = {choice: uf1 for choice, uf1 in values.items() if uf1 is not None}
        honest = [uf1 for choice, uf1 in values.items() if choice != "best"]
        axis.plot([min(honest), values["best"]], [y, y], color="#BBBBBB", linewidth=3, zorder=1)
        for choice in sorted(values, key=lambda choice: choice == "last"):  # on top of the others
            _, shape, colour = MARKS[choice]
            size = 130 if shape == "o" else 62
            axis.scatter(
                values[choice],
                y + SHIFTS.get(choice, 0),
                s=size,
                marker=shape,
                color=colour,
                edgecolor="white",
                zorder=3,
            )
        for choice in ("last", "best"):  # above their own dots
            text, colour = f"{values[choice]:.3f}", MARKS[choice][2]
            style = {"ha": "center", "va": "center", "color": colour, "weight": "bold"}
            axis.text(values[choice], y - 0.36, text, fontsize=11, bbox=WHITE, zorder=2, **style)
        if y == named:
            label_marks(axis, values, y)
    few = {name: " (one seed)" if len(find_runs(name)) == 1 else "" for name in rows}
    axis.set_yticks(places, [ROWS[name] + few[name] for name in rows], fontsize=11)
    axis.set(xlim=(0.56, 0.885), ylim=(len(rows) + 0.1, -1.35))
    seeds = sorted({split_seed(folder.name)[1] for name in rows for folder in find_runs(name)})
    seeds = ", ".join(map(str, seeds))
    axis.set_xlabel(f"UF1 over all 442 samples, the mean over seeds {seeds}", fontsize=11)
    axis.tick_params(left=False)
    for side in ("left", "right", "top"):
        axis.spines[side].set_visible(False)
    replace_file(FINDING, lambda temporary: figure.savefig(temporary, dpi=130))
    return figure


def group_curves():
    """What has been run, by panel of docs/curves.png: {title: [experiment]}."""
    by_dim = [name for _, name in BY_DIM]
    panels = {
        "STSTNet": [],
        "HTNet by width": by_dim,
        "HTNet at the paper's width": ["HTNet", "HTNet-epochs200"],
        "HTNet, dim 64: recipe": ["HTNet-dim64"],
        "HTNet, dim 64: areas, layers, heads": ["HTNet-dim64"],
    }
    for name in EXPERIMENTS:
        if name.startswith("STSTNet"):
            panels["STSTNet"].append(name)
        elif name in by_dim:
            continue
        elif is_full_size(name):
            panels["HTNet at the paper's width"].append(name)
        else:
            shaped = any(word in name for word in ("-areas-", "-repeats", "-heads"))
            panels[f"HTNet, dim 64: {'areas, layers, heads' if shaped else 'recipe'}"].append(name)
    there = {title: list(filter(find_runs, names)) for title, names in panels.items()}
    return {  # a panel of its first curve alone would repeat another one
        title: names
        for title, names in there.items()
        if title == "HTNet by width" and names or set(names) - set(by_dim)
    }


def draw_curves():
    """Draws held-out UF1 at every epoch, a panel per group of experiments -> figure."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    panels = group_curves()
    rows = -(-len(panels) // 2)
    figure = Figure(figsize=(12, 6.5 * rows), layout="constrained")
    axes = figure.subplots(rows, 2, squeeze=False).flat
    for (title, names), axis in zip(panels.items(), axes):  # in this order: none is lost
        colours = colormaps["tab20" if len(names) > 10 else "tab10"].colors
        if "by width" in title:  # from narrow to wide
            colours = colormaps["viridis"](np.linspace(0, 0.9, len(names)))
        axis.set_prop_cycle(color=colours)
        for name in names:
            curves = [score_epochs(read_run(folder)) for folder in find_runs(name)]
            if len({len(curve) for curve in curves}) > 1:
                raise SystemExit(f"The runs of {name} have different numbers of epochs.")
            epochs, mean = np.arange(1, len(curves[0]) + 1), np.mean(curves, axis=0)
            (line,) = axis.plot(epochs, mean, label=describe(name), linewidth=1)
            if len(curves) > 1:
                low, high = np.min(curves, axis=0), np.max(curves, axis=0)
                axis.fill_between(epochs, low, high, alpha=0.2, color=line.get_color())
        axis.axhline(1 / 3, color="grey", linewidth=0.5, linestyle=":")
        axis.set(
            xlabel="epoch",
            ylabel="held-out UF1, all subjects at the same epoch",
            title=title,
            ylim=(0.15, 0.8),
        )
        axis.legend(fontsize=9, loc="upper center", bbox_to_anchor=(0.5, -0.1))
    for axis in axes:  # what is left of the last row
        axis.set_axis_off()
    replace_file(FIGURE, lambda temporary: figure.savefig(temporary, dpi=100))
    return figure
