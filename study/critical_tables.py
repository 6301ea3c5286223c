"""The tables and the figure of docs/critical_areas.md, from docs/results/critical-areas/."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse, Rectangle

from composite_dataset import CLASSES
from evaluation import draw_subjects
from facial_areas import AREAS
from pictures import save_figure
from report import format_markdown
from study.critical_areas import FOLDER
from study.experiments import ROOT

DRAWS = 2000
FIGURE = ROOT / "docs" / "critical_areas.png"
# In a face 28 wide and high, as on the flow map: where the areas lie on average.
PLACES = {"left_eye": (1, 1), "right_eye": (14, 1), "left_lip": (1, 14), "right_lip": (14, 14)}
ORDERS = ("contributions", "random", "centre first", "shuffled weights")


def read_contributions():
    return pd.read_csv(FOLDER / "contributions.csv", dtype={"subject": str})


def estimate_means(table, columns):
    """Mean of each column and its 95 % interval over subjects -> {column: (mean, low, high)}."""
    names = np.unique(table["subject"])
    drawn = draw_subjects(len(names), DRAWS)
    sums = table.groupby("subject")[list(columns)].sum().loc[names].to_numpy()
    sizes = table.groupby("subject").size().loc[names].to_numpy()
    means = (drawn @ sums) / np.maximum(drawn @ sizes, 1)[:, None]
    low, high = np.percentile(means, (2.5, 97.5), axis=0)
    return {c: (table[c].mean(), low[i], high[i]) for i, c in enumerate(columns)}


def format_mean(mean, low, high):
    return f"{mean:+.3f} ({low:+.3f} to {high:+.3f})"


def tabulate_contributions(against="_samples"):
    """A row per true class: the samples, each area's mean contribution, and their sum.

    against: "_samples", the training samples; "", their mean input.
    """
    table, rows = read_contributions(), []
    columns = {area.replace("_", " "): table[area + against] for area in AREAS}
    table = table[["subject", "label", "start"]].assign(**columns, sum=sum(columns.values()))
    for label, name in enumerate(CLASSES):
        mine = table[table["label"] == label]
        cells = estimate_means(mine, (*columns, "sum"))
        row = {"class": name, "samples": len(mine)}
        if not against:
            row["mean input's probability"] = f"{mine['start'].mean():.3f}"
        rows.append(row | {column: format_mean(*cells[column]) for column in cells})
    return format_markdown(pd.DataFrame(rows))


def tabulate_sides():
    """Contributions of both eyes' areas and both lips'."""
    table, rows = read_contributions(), []
    table["eyes"], table["lips"] = (
        table[[f"left_{part}_samples", f"right_{part}_samples"]].sum(axis=1)
        for part in ("eye", "lip")
    )
    table["eyes − lips"] = table["eyes"] - table["lips"]
    for label, name in enumerate(CLASSES):
        cells = estimate_means(table[table["label"] == label], ("eyes", "lips", "eyes − lips"))
        rows.append({"class": name} | {c: format_mean(*cells[c]) for c in cells})
    return format_markdown(pd.DataFrame(rows))


def tabulate_curves():
    """The mean height of the deletion and insertion curves under each order."""
    table, rows = pd.read_csv(FOLDER / "curves.csv", dtype={"subject": str}), []
    for unit in ("areas", "patches"):
        for order in ORDERS:
            row = {"units": unit, "order": order}
            for curve in ("deletion", "insertion"):
                own, random = (
                    table[(table[["unit", "order", "curve"]] == [unit, name, curve]).all(axis=1)]
                    for name in (order, "random")
                )
                row[curve] = np.average(own["mean"], weights=own["size"])
                gained = own.assign(mean=own["mean"].to_numpy() - random["mean"].to_numpy())
                row[f"{curve} − random"] = "–" if order == "random" else average(gained)
            rows.append(row)
    return format_markdown(pd.DataFrame(rows))


def average(table):
    """The mean over samples of a table with a subject's mean and size per row, with interval."""
    drawn = draw_subjects(len(table), DRAWS)
    table = table.sort_values("subject")
    sums = table["mean"].to_numpy() * table["size"].to_numpy()
    means = (drawn @ sums) / (drawn @ table["size"].to_numpy())
    mean = np.average(table["mean"], weights=table["size"])
    return format_mean(mean, *np.percentile(means, (2.5, 97.5)))


def draw_face(axis, values, limit):
    """A schematic face with the four areas in the colour of their contribution."""
    for area, (mean, low, high) in values.items():
        x, y = PLACES[area.removesuffix("_samples")]
        colour = (0.13, 0.40, 0.67) if mean > 0 else (0.70, 0.09, 0.17)
        strength = min(abs(mean) / limit, 1)
        axis.add_patch(Rectangle((x, y), 13, 13, color=colour, alpha=0.85 * strength, lw=0))
        axis.add_patch(Rectangle((x, y), 13, 13, fill=False, ec="0.6", lw=0.8))
        text = f"{mean:+.2f}\n({low:+.2f} to {high:+.2f})"
        below = 2.2 if y < 10 else 10.9
        plate = dict(boxstyle="round,pad=0.25", fc="white", ec="none", alpha=0.85)
        axis.text(
            x + 6.5, y + below, text, ha="center", va="center", fontsize=8, bbox=plate, zorder=5
        )
    line = dict(fill=False, ec="0.25", lw=1.4)
    axis.add_patch(Ellipse((14, 14), 23, 30, **line))
    for x in (8.5, 19.5):
        axis.add_patch(Ellipse((x, 9.6), 4.6, 1.9, **line))
        axis.plot([x - 2.8, x, x + 2.8], [7.4, 6.6, 7.4], color="0.25", lw=1.8)
    axis.plot([14, 13.2, 14.8], [10.5, 16, 16], color="0.25", lw=1.2)
    axis.add_patch(Ellipse((14, 20.6), 8.6, 2.4, **line))
    axis.plot([9.7, 18.3], [20.6, 20.6], color="0.25", lw=1)
    axis.set(xlim=(-1, 29), ylim=(30, -2), aspect="equal")
    axis.axis("off")


def draw_figure():
    """docs/critical_areas.png: a face per class."""
    table = read_contributions()
    values = [
        estimate_means(table[table["label"] == label], [f"{area}_samples" for area in AREAS])
        for label in range(len(CLASSES))
    ]
    limit = max(abs(mean) for cells in values for mean, _, _ in cells.values())
    figure = Figure(figsize=(10, 4.1), layout="constrained")
    for axis, cells, name in zip(figure.subplots(1, len(CLASSES)), values, CLASSES):
        draw_face(axis, cells, limit)
        axis.set_title(name, fontsize=13)
    figure.suptitle("What each area adds to the true class's probability (95 % over subjects)")
    save_figure(figure, FIGURE)
