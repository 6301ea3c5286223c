"""The figure of docs/reproduction.md: docs/curves.png."""

import numpy as np

from study.experiments import (
    BY_DIM,
    EXPERIMENTS,
    FULL_SIZE,
    ROOT,
    SIZES,
    find_runs,
    read_epochs,
    score_pooled,
)
from support.files import replace_file

FIGURE = ROOT / "docs" / "curves.png"


def draw_curves():
    """Draws panels for STSTNet, for HTNets of either size and for HTNet by dim -> figure."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    panels, by_dim = {}, [name for _, name in BY_DIM]
    for name, meaning in EXPERIMENTS.items():
        size = name.partition("-")[0]
        if size == "HTNet" and name not in FULL_SIZE:
            size = "HTNet, narrow"
        if find_runs(name) and (name in SIZES or name not in by_dim):
            panels.setdefault(size, []).append((name, meaning))
    panels["HTNet by dim"] = [(name, EXPERIMENTS[name]) for name in by_dim if find_runs(name)]
    panels = {title: experiments for title, experiments in panels.items() if experiments}
    figure = Figure(figsize=(5.5 * len(panels), 7), layout="constrained")
    for axis, (title, experiments) in zip(
        figure.subplots(1, len(panels), squeeze=False)[0], panels.items()
    ):
        if title == "HTNet by dim":  # from narrow to wide
            axis.set_prop_cycle(color=colormaps["viridis"](np.linspace(0, 0.9, len(experiments))))
        for name, meaning in experiments:
            curves = [score_pooled(*read_epochs(folder)[:2]) for folder in find_runs(name)]
            if len({len(curve) for curve in curves}) > 1:
                raise SystemExit(f"The runs of {name} have different numbers of epochs.")
            epochs, mean = np.arange(1, len(curves[0]) + 1), np.mean(curves, axis=0)
            (line,) = axis.plot(epochs, mean, label=f"{meaning} ({len(curves)})", linewidth=1)
            if len(curves) > 1:
                axis.fill_between(
                    epochs,
                    np.min(curves, axis=0),
                    np.max(curves, axis=0),
                    alpha=0.2,
                    color=line.get_color(),
                )
        axis.axhline(1 / 3, color="grey", linewidth=0.5, linestyle=":")
        axis.set(
            xlabel="epoch",
            ylabel="held-out UF1, all subjects at the same epoch",
            title=title,
            ylim=(0.15, 0.8),
        )
        axis.legend(fontsize=9, loc="upper center", bbox_to_anchor=(0.5, -0.1))
    replace_file(FIGURE, lambda temporary: figure.savefig(temporary, dpi=110))
    return figure
