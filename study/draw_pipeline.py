"""Draws docs/pipeline.png from the synthetic sample.

python -m study.draw_pipeline [sample name]
"""

import sys

import cv2
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from composite_dataset import CLASSES, load_composite
from facial_areas import AREAS, crop_areas, find_centres
from study.experiments import ROOT
from support.files import read_image

COLOURS = ("tab:orange", "tab:green", "tab:blue", "tab:red")


def main(argv):
    """argv: nothing, or the name of a sample."""
    sample = ROOT / "datasets" / "sample"
    composite = load_composite(sample)
    index = (
        composite.names.tolist().index(argv[0]) if argv else int(np.argmax(composite.labels == 1))
    )
    centres = find_centres(composite, sample / "facial_areas.csv")[0][index]
    face = cv2.cvtColor(read_image(composite.faces[index], cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    flow = composite.flows[index][..., ::-1]  # (u, v, strain) as (red, green, blue)

    figure = Figure(figsize=(15.5, 3.2), layout="constrained")
    axes = figure.subplots(1, 6)
    for axis in axes:
        axis.set_xticks([]), axis.set_yticks([])
    axes[0].imshow(face, extent=(0, 28, 28, 0))
    axes[0].set_title("apex face, four areas\nby dlib's landmarks")
    axes[1].imshow(flow, extent=(0, 28, 28, 0))
    axes[1].set_title("optical flow onset → apex\nu, v, strain (28×28)")
    for (row, col), colour in zip(centres, COLOURS):
        for axis in axes[:2]:
            axis.add_patch(
                Rectangle((col - 7, row - 7), 14, 14, fill=False, color=colour, linewidth=2.5)
            )
    axes[2].imshow(crop_areas(flow, centres), extent=(0, 28, 28, 0))
    for (x, y), colour, area in zip(((0, 0), (0, 14), (14, 0), (14, 14)), COLOURS, AREAS):
        axes[2].add_patch(
            Rectangle((x + 0.2, y + 0.2), 13.6, 13.6, fill=False, color=colour, linewidth=2.5)
        )
        axes[2].text(
            x + 0.8,
            y + 1.8,
            area.replace("_", " "),
            color="white",
            fontsize=8,
            backgroundcolor="#00000060",
        )
    axes[2].set_title("mosaic of four 14×14 crops\n16 patches of 7×7")
    for k in range(1, 4):
        axes[2].axhline(7 * k, color="white", linewidth=0.5)
        axes[2].axvline(7 * k, color="white", linewidth=0.5)
    for axis, side, title in (
        (axes[3], 4, "level 1: 16 blocks, dim 256\n2 layers, then aggregation"),
        (axes[4], 2, "level 2: 4 blocks, dim 512\n2 layers, then aggregation"),
        (axes[5], 1, "level 3: 1 block, dim 1024\n10 layers, then head"),
    ):
        cell = 28 / side
        for i in range(side):
            for j in range(side):
                colour = "0.6" if side == 1 else COLOURS[(2 * j // side) * 2 + 2 * i // side]
                axis.add_patch(
                    Rectangle(
                        (j * cell + 0.4, i * cell + 0.4),
                        cell - 0.8,
                        cell - 0.8,
                        color=colour,
                        alpha=0.6,
                    )
                )
        axis.set(xlim=(0, 28), ylim=(28, 0), aspect="equal", title=title)
    axes[5].text(14, 14, "negative\npositive\nsurprise", ha="center", va="center", fontsize=11)
    figure.savefig(ROOT / "docs" / "pipeline.png", dpi=80, bbox_inches="tight")
    print(f"docs/pipeline.png: {composite.names[index]}, {CLASSES[composite.labels[index]]}")


if __name__ == "__main__":
    main(sys.argv[1:])
