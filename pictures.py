"""Pictures of a run: confusion matrices, learning curves, the facial areas on some faces."""

from pathlib import Path

import cv2
import numpy as np
from sklearn.metrics import confusion_matrix

from evaluation import count_confusions, group_by_database, score_confusions
from facial_areas import AREAS, crop_areas
from support.files import make_folder, read_image, replace_file, write_image

COLOURS = ((66, 133, 244), (52, 168, 83), (251, 188, 5), (234, 67, 53))  # of the four areas
PANEL = 448  # pixels: side of a picture in the sheet of facial areas


def save_figure(figure, path):
    replace_file(path, lambda temporary: figure.savefig(temporary, dpi=110))


def draw_confusions(path, composite, predictions):
    """Draws the confusion matrix of each group (columns) under each epoch choice (rows)."""
    from matplotlib.figure import Figure  # here, since evaluation does not need it

    masks = group_by_database(composite.databases)
    figure = Figure(figsize=(3 * len(masks), 3 * len(predictions)), layout="constrained")
    axes = figure.subplots(len(predictions), len(masks), squeeze=False)
    for row, (choice, predicted) in zip(axes, predictions.items()):
        for axis, (group, mask) in zip(row, masks.items()):
            counts = confusion_matrix(
                composite.labels[mask], predicted[mask], labels=range(len(composite.classes))
            )
            shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
            axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
            for (i, j), count in np.ndenumerate(counts):
                colour = "white" if shares[i, j] > 0.6 else "black"
                axis.text(j, i, count, ha="center", va="center", color=colour)
            axis.set_xticks(range(len(composite.classes)), [name[:3] for name in composite.classes])
            axis.set_yticks(range(len(composite.classes)), [name[:3] for name in composite.classes])
            axis.set_title(f"{group}, {choice}")
    figure.supxlabel("predicted")
    figure.supylabel("truth")
    save_figure(figure, path)


def draw_curves(path, labels, logits, losses):
    """Draws the training loss and the scores of all subjects at the same epoch."""
    from matplotlib.figure import Figure

    uf1, uar = score_confusions(
        count_confusions(labels, logits.argmax(-1), num_classes=logits.shape[-1])
    )
    epochs = np.arange(1, len(logits) + 1)
    style = {"marker": "o"} if len(epochs) == 1 else {}  # a line of one point is not seen
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(epochs, losses.mean(0), **style)
    left.fill_between(epochs, losses.min(0), losses.max(0), alpha=0.2)
    left.set(xlabel="epoch", ylabel="training loss (mean and range over folds)", yscale="log")
    right.plot(epochs, uf1, label="UF1", **style)
    right.plot(epochs, uar, label="UAR", **style)
    right.set(xlabel="epoch", ylabel="held-out score, all subjects at the same epoch", ylim=(0, 1))
    right.legend()
    for axis in (left, right):
        axis.xaxis.get_major_locator().set_params(integer=True)
    save_figure(figure, path)


def draw_areas(path, composite, centres, per_database=1):
    """Draws faces with their four areas, flow images, mosaics; so many samples per database."""
    rows = []
    for database in dict.fromkeys(composite.databases):
        members = np.flatnonzero(composite.databases == database)
        _, first_of_class = np.unique(composite.labels[members], return_index=True)
        for i in members[first_of_class[:per_database]]:
            rows.append(draw_sample(composite, i, centres[i]))
    make_folder(Path(path).parent)
    write_image(path, np.concatenate(rows))


def draw_sample(composite, i, centres):
    """One row of `draw_areas`: uint8 [36 + PANEL, 3 PANEL, 3]."""
    face = np.full((PANEL, PANEL, 3), 128, np.uint8)
    if composite.faces[i] is not None:
        face = read_image(composite.faces[i], cv2.IMREAD_COLOR)
    flow = composite.flows[i]
    panels = [
        cv2.resize(image, (PANEL, PANEL), interpolation=cv2.INTER_NEAREST)
        for image in (face, flow, crop_areas(flow, centres))
    ]
    scale = PANEL // 28
    for (row, col), colour, area in zip(centres, COLOURS, AREAS):
        left, top = (int(col) - 7) * scale, (int(row) - 7) * scale
        right, bottom = left + 14 * scale - 1, top + 14 * scale - 1
        for panel in panels[:2]:
            cv2.rectangle(panel, (left, top), (right, bottom), colour, 2)
        cv2.rectangle(panels[0], (left, top), (left + 100, top + 24), colour, -1)
        write_label(panels[0], area.replace("_", " "), (left + 6, top + 18), 0.55, (255, 255, 255))
    title = np.full((36, 3 * PANEL, 3), 255, np.uint8)
    emotion = composite.classes[composite.labels[i]]
    text = (
        f"{composite.databases[i]}  {composite.names[i]}  {emotion}    face | flow image | mosaic"
    )
    write_label(title, text, (8, 26), 0.7, (0, 0, 0))
    return np.concatenate([title, np.concatenate(panels, axis=1)])


def write_label(image, text, place, size, colour):
    cv2.putText(image, text, place, cv2.FONT_HERSHEY_SIMPLEX, size, colour, 1, cv2.LINE_AA)
