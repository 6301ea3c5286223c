"""A recognized clip on one page: frames, motion, flow, areas and classes."""

import textwrap
import warnings
from pathlib import Path

import cv2
import numpy as np

from clips import FACE_SIZE
from composite_dataset import FLOW_SIZE
from facial_areas import AREAS, HALF
from optical_flow import optical_flow
from support.files import make_folder, replace_file

INK, GREY, PALE = "#1d2733", "#7b8794", "#e4e8ec"
COLOURS = {"negative": "#4a6fa5", "positive": "#e08e36", "surprise": "#7a5aa6"}
FOR, AGAINST = "#d1495b", "#30638e"  # contributions that raise and that lower the probability
ARROWS = 14  # pixels between arrows
PAGE = (13.33, 7.5)  # inches, as a slide
PLAIN = dict(parse_math=False)  # a name with two dollar signs is no formula


def draw_recognition(path, result):
    """Draws a `clip.Recognition`; the file's ending gives the format (png, pdf, svg, jpg).

    Where there is no answer, the page shows what there is and why.
    """
    figure = make_page(result)
    make_folder(path.absolute().parent)
    with warnings.catch_warnings():  # a name in a script that the font lacks is drawn as boxes
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        replace_file(path, lambda temporary: figure.savefig(temporary, dpi=150))


def make_page(result):
    """A `clip.Recognition` -> matplotlib Figure."""
    from matplotlib.figure import Figure  # here, since a run without pictures does not need it

    figure = Figure(figsize=PAGE, facecolor="white")
    draw_title(figure, result)
    top = [add_panel(figure, 0.6 + 3.09 * i, 3.2, 2.85, 2.85) for i in range(4)]
    curve = add_panel(figure, 0.95, 0.85, 3.75, 1.75)
    maps = [add_panel(figure, 5.2 + 1.72 * i, 0.85, 1.56, 1.56) for i in range(3)]
    bars = add_panel(figure, 11.35, 0.85, 0.97, 1.75)
    draw_faces(top, result)
    draw_curve(curve, result)
    draw_maps(maps, result.evidence)
    draw_bars(bars, result)
    return figure


def add_panel(figure, left, bottom, width, height):
    """Axes at a place in inches."""
    wide, high = PAGE
    return figure.add_axes((left / wide, bottom / high, width / wide, height / high))


def draw_title(figure, result):
    """The answer in large type, then what it rests on."""
    row = result.row
    if row["label"]:
        probability, colour = row[f"p_{row['label']}"], COLOURS.get(row["label"], INK)
        figure.text(0.045, 0.905, row["label"], size=30, weight="bold", color=colour)
        said = f"probability {probability:.2f},  agreement {row['agreement']:.0%}"
        figure.text(0.954, 0.945, said, size=13, color=INK, ha="right")
    else:
        figure.text(
            0.045, 0.905, "no answer: " + row["status"].replace("_", " "), size=30, weight="bold",
            color=GREY,
        )  # fmt: skip
    measured = [("motion", "motion"), ("noise_floor", "noise floor"), ("head_motion", "head")]
    said = [f"{name} {row[key]:.2f} px" for key, name in measured if row[key] is not None]
    figure.text(0.954, 0.908, ",  ".join(said), size=11, color=GREY, ha="right")
    title = result.title or Path(row["input"]).name
    figure.text(0.045, 0.862, title, size=11, color=GREY, **PLAIN)
    model = f"{row['model']} ({(row['checksum'] or '')[:8]})"
    figure.text(0.954, 0.862, model, size=11, color=GREY, ha="right", **PLAIN)
    if row["warning"] and row["label"]:
        said = textwrap.shorten(row["warning"], 190)
        figure.text(0.045, 0.022, said, size=10, color=AGAINST, **PLAIN)
    elif row["warning"]:  # the reason, where otherwise the flow and the areas would be
        said = textwrap.fill(row["warning"], 44)
        figure.text(0.53, 0.6, said, size=17, color=INK, va="center", **PLAIN)


def draw_faces(axes, result):
    """Onset, apex, the flow as arrows, the areas tinted by their contributions."""
    row, evidence = result.row, result.evidence
    for axis in axes:
        axis.set_axis_off()
    if evidence is None:
        return
    draw_image(axes[0], evidence.onset, f"onset{describe_time(row, 'onset')}")
    if evidence.apex is None:
        return
    draw_image(axes[1], evidence.apex, f"apex{describe_time(row, 'apex')}")
    if evidence.flow is None:
        return
    draw_arrows(axes[2], evidence)
    draw_contributions(axes[3], result)


def draw_image(axis, image, title):
    axis.imshow(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), interpolation="bilinear")
    axis.set_title(title, size=12, color=INK, loc="left", pad=6)
    axis.set(xlim=(-0.5, FACE_SIZE - 0.5), ylim=(FACE_SIZE - 0.5, -0.5))


def describe_time(row, name):
    seconds = row[f"{name}_time"]
    return f"  frame {row[name]}" + ("" if seconds is None else f",  {seconds:.2f} s")


def fade(image):
    """Grey and pale, for what is drawn over it."""
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    return cv2.cvtColor((90 + 0.6 * grey).astype(np.uint8), cv2.COLOR_GRAY2BGR)


def draw_arrows(axis, evidence):
    """The flow on the face; long arrows, for the motion itself is hardly to be seen."""
    flow = optical_flow(evidence.onset, evidence.apex, "dis")
    flow = cv2.GaussianBlur(flow, (0, 0), ARROWS / 4)
    y, x = np.mgrid[ARROWS // 2 : FACE_SIZE : ARROWS, ARROWS // 2 : FACE_SIZE : ARROWS]
    u, v = flow[y, x].transpose(2, 0, 1)
    length = np.hypot(u, v)
    longest = max(float(np.percentile(length, 99)), 1e-3)
    times = 1.7 * ARROWS / longest
    draw_image(axis, fade(evidence.onset), f"flow  arrows {times:.0f} times as long")
    seen = length > 0.12 * longest
    axis.quiver(
        x[seen], y[seen], u[seen], v[seen], length[seen], angles="xy", scale_units="xy",
        scale=1 / times, cmap="plasma", clim=(0, 1.1 * longest), width=0.009, headwidth=3.6,
        headlength=4.2,
    )  # fmt: skip


def draw_contributions(axis, result):
    """The four areas, or with the finer map their patches: red for the label, blue against it."""
    from matplotlib.patches import FancyBboxPatch, Rectangle

    row, evidence = result.row, result.evidence
    draw_image(axis, fade(evidence.onset), f"what speaks for {row['label']}")
    values = [row[f"contribution_{area}"] for area in AREAS]
    scale = FACE_SIZE / FLOW_SIZE
    strongest = max(np.abs(values if evidence.patches is None else evidence.patches).max(), 1e-6)
    for index, value in enumerate(values):
        middle, col = evidence.centres[index]
        left, top = (int(col) - HALF) * scale, (int(middle) - HALF) * scale
        side, colour = 2 * HALF * scale, FOR if value > 0 else AGAINST
        tint = [(left, top, side, value)]
        if evidence.patches is not None:  # the mosaic: rows are left and right, columns eye, lip
            r, c = 2 * (index % 2), 2 * (index // 2)
            part = evidence.patches[r : r + 2, c : c + 2]
            tint = [
                (left + j * side / 2, top + i * side / 2, side / 2, part[i, j])
                for i in (0, 1)
                for j in (0, 1)
            ]
        for x, y, width, strength in tint:
            axis.add_patch(
                Rectangle(
                    (x, y),
                    width,
                    width,
                    alpha=0.6 * min(abs(strength) / strongest, 1),
                    lw=0,
                    color=FOR if strength > 0 else AGAINST,
                )  # fmt: skip
            )
        inset = 2.5
        axis.add_patch(
            FancyBboxPatch(
                (left + inset, top + inset),
                side - 2 * inset,
                side - 2 * inset,
                fill=False,
                boxstyle="round,pad=0,rounding_size=6",
                lw=1.6,
                edgecolor=colour,
            )  # fmt: skip
        )
        place = dict(ha="center", va="center", color="white", size=12, weight="bold")
        box = dict(boxstyle="round,pad=0.3", facecolor=colour, edgecolor="none")
        axis.text(
            left + side / 2,
            top + side / 2,
            f"{value:+.2f}".replace("-", "\u2212"),
            bbox=box,
            **place,
        )


def draw_curve(axis, result):
    """The motion since the onset, frame by frame, with onset and apex: the search's measure, so
    without the noise floor, which is the areas' (the title says both).
    """
    row, evidence = result.row, result.evidence
    curve = evidence.curve if evidence else None
    if curve is None or len(curve[0]) < 2:
        axis.set_axis_off()
        if row["frames_from"] == "given":
            axis.text(0, 0.6, "onset and apex were given", color=GREY, transform=axis.transAxes)
        return
    axis.set_title("motion since the onset, pixels", size=12, color=INK, loc="left")
    style(axis)
    numbers, moved = curve
    x = numbers / row["fps"] if row["fps"] else numbers
    axis.fill_between(x, moved, color=PALE, lw=0)
    axis.plot(x, moved, color=INK, lw=1.8)
    marks = [("onset", "onset_time"), ("apex", "apex_time")]
    for name, time in marks:
        place = row[time] if row["fps"] else row[name]
        height = float(np.interp(place, x, moved))
        axis.plot([place, place], [0, height], color=FOR, lw=1.2, ls=(0, (3, 2)))
        axis.plot([place], [height], "o", color=FOR, ms=7, mec="white", mew=1.2, clip_on=False)
        axis.annotate(
            name, (place, height), (0, 9), textcoords="offset points", ha="center", color=FOR,
            size=11,
        )  # fmt: skip
    axis.set_xlim(x[0], x[-1])
    axis.set_ylim(0, 1.25 * max(moved.max(), 1e-3))
    axis.set_xlabel("seconds" if row["fps"] else "frame", color=GREY, size=10, labelpad=1)


def style(axis):
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axis.spines[side].set_color(PALE)
    axis.tick_params(colors=GREY, labelsize=9, length=0)


def draw_maps(axes, evidence):
    """u, v and strain as the network's input has them."""
    titles = ("u  to the right", "v  downwards", "strain")
    for axis, title, channel in zip(axes, titles, (2, 1, 0)):
        axis.set_axis_off()
        if evidence is None or evidence.flow is None:
            continue
        plane = evidence.flow[..., channel].astype(float)
        if channel:  # zero motion is about the median
            plane -= np.median(plane)
            limit = np.abs(plane).max()
            axis.imshow(plane, cmap="RdBu_r", vmin=-limit, vmax=limit)
        else:
            axis.imshow(plane, cmap="magma")
        axis.set_title(title, size=11, color=INK, loc="left")


def draw_bars(axis, result):
    """A bar for each class."""
    row = result.row
    names = [key[2:] for key in row if key.startswith("p_")]
    style(axis)
    if row["label"] is None:
        axis.set_axis_off()
        return
    axis.spines["bottom"].set_visible(False)
    axis.set_title("probability", size=12, color=INK, loc="left")
    for place, name in enumerate(reversed(names)):
        value = row[f"p_{name}"]
        axis.barh(place, 1, color=PALE, height=0.56, alpha=0.6)
        axis.barh(place, value, color=COLOURS.get(name, INK), height=0.56)
        axis.text(1.02, place, f"{value:.2f}", va="center", size=11, color=INK)
    bold = {name: "bold" if name == row["label"] else "normal" for name in names}
    axis.set_yticks(range(len(names)), list(reversed(names)), size=11)
    for tick, name in zip(axis.get_yticklabels(), reversed(names)):
        tick.set(color=INK, weight=bold[name])
    axis.set(xlim=(0, 1), xticks=[])
