"""What a person reads of a run: lines per fold, tables, pictures, report.md."""
import os
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from sklearn.metrics import accuracy_score, confusion_matrix

from composite_dataset import CLASSES
from evaluation import (
    CHOICES,
    bootstrap_scores,
    choose_predictions,
    count_confusions,
    group_by_database,
    score_confusions,
    unweighted_scores,
)
from facial_areas import AREAS, crop_areas
from support.files import make_folder, read_image, replace_file, write_image, write_text

PUBLISHED = {  # model: {source: {group: (UF1, UAR)}}
    "HTNet": {
        "paper": {
            "Full": (0.8603, 0.8475),
            "SMIC": (0.8049, 0.7905),
            "CASME II": (0.9532, 0.9516),
            "SAMM": (0.8131, 0.8124),
        },
        "predictions the authors released": {
            "Full": (0.8313, 0.8175),
            "SMIC": (0.7691, 0.7620),
            "CASME II": (0.9367, 0.9242),
            "SAMM": (0.7870, 0.7590),
        },
    },
    "STSTNet": {
        "paper": {
            "Full": (0.7353, 0.7605),
            "SMIC": (0.6801, 0.7013),
            "CASME II": (0.8382, 0.8686),
            "SAMM": (0.6588, 0.6810),
        },
        "PyTorch port, last epoch": {
            "Full": (0.7209, 0.7250),
            "SMIC": (0.6871, 0.6876),
            "CASME II": (0.8304, 0.8304),
            "SAMM": (0.5993, 0.6145),
        },
    },
}
SAMPLE_BANNER = f"""{"!" * 96}
!  No data in the datasets folder: this is the small synthetic sample. Its scores say nothing about
!  the method or the databases; README tells how to obtain them.
{"!" * 96}"""
CONTROL = "CONTROL: trained on permuted labels; the scores say what chance gives."
COLOURS = ((66, 133, 244), (52, 168, 83), (251, 188, 5), (234, 67, 53))  # of the four areas
PANEL = 448  # pixels: side of a picture in the sheet of facial areas


def describe_fold(subject, finished):
    """A fold as the released script prints it: predictions, truth, and the scores so far -> text.

    finished: {subject: fold}, the finished ones, `subject` among them; folds as from
    `RunFolder.load_fold`.
    """
    truth = np.concatenate([fold["labels"] for fold in finished.values()])
    lines = [f"\nSubject {subject}"]
    for choice in ("best", "last"):
        predicted = {
            name: choose_predictions(fold["logits"], fold["labels"], [name] * len(fold["labels"]), choice)[0]
            for name, fold in finished.items()
        }
        uf1, uar = unweighted_scores(truth, np.concatenate(list(predicted.values())))
        lines.append(
            f"  predicted  {join_numbers(predicted[subject])}   ({choice} epoch; "
            f"{len(finished)} subjects so far: UF1 {uf1:.4f}, UAR {uar:.4f})"
        )
    lines.append(f"  truth      {join_numbers(finished[subject]['labels'])}")
    return "\n".join(lines)


def name_choice(keep):
    """The row of weights that were kept so: "best epoch", or "epoch unknown"."""
    return f"{keep} epoch" if keep in CHOICES else f"epoch {keep}"


def join_numbers(numbers):
    return " ".join(map(str, numbers))


def tabulate_scores(composite, predictions):
    """{row name: predictions int [N]} -> DataFrame: UF1, UAR, accuracy of each group under each row name."""
    rows = []
    for choice, predicted in predictions.items():
        for group, mask in group_by_database(composite.databases).items():
            truth, subjects = composite.labels[mask], composite.subjects[mask]
            uf1, uar = unweighted_scores(truth, predicted[mask])
            intervals = bootstrap_scores(truth, predicted[mask], subjects)
            uf1_interval, uar_interval = (f"{low:.3f}-{high:.3f}" for low, high in intervals)
            rows.append({
                "epoch choice": choice, "group": group,
                "subjects": len(set(subjects)), "samples": len(truth),
                "UF1": uf1, "UF1 95 %": uf1_interval,
                "UAR": uar, "UAR 95 %": uar_interval,
                "accuracy": accuracy_score(truth, predicted[mask]),
            })
    return pd.DataFrame(rows)


def format_markdown(table):
    """A DataFrame as a markdown table; numbers with four digits."""
    cells = [
        [f"{value:.4f}" if isinstance(value, float) else str(value) for value in row]
        for row in table.itertuples(index=False)
    ]
    rows = [list(table.columns), ["---"] * len(table.columns), *cells]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def format_duration(seconds):
    """Seconds -> "h:mm:ss"."""
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"


def write_report(folder, composite, logits, losses, *, published, heading, description):
    """Writes predictions.csv, report.md and two plots -> the report's text without the plots.

    composite: the N samples that were held out; logits [E, N, C]; losses [S, E] per fold;
    published: {source: {group: (UF1, UAR)}} to print beside ours; heading: the title; description:
    markdown on settings and machine.
    """
    folder, logits, losses = Path(folder), np.asarray(logits), np.asarray(losses)
    columns = {
        "name": composite.names, "database": composite.databases,
        "subject": composite.subjects, "label": composite.labels,
    }
    predictions = {}
    for choice in CHOICES:
        predictions[choice], epochs = choose_predictions(
            logits, composite.labels, composite.subjects, choice
        )
        columns |= {choice: predictions[choice], f"{choice}_epoch": epochs + 1}
    write_text(folder / "predictions.csv", pd.DataFrame(columns).to_csv(index=False))

    table = tabulate_scores(composite, predictions)
    text = [
        f"# {heading}", "", description, "",
        "Which epoch's prediction of a held-out subject counts:", "",
        *(f"- `{choice}`: {meaning}." for choice, meaning in CHOICES.items()), "",
        format_markdown(table), "",
        "95 % intervals: bootstrap over subjects, 2,000 draws, the epochs kept as chosen.",
    ]
    beside = [
        {"source": source, "group": group, "UF1": uf1, "UAR": uar}
        for source, scores in published.items()
        for group, (uf1, uar) in scores.items()
        if group in set(table["group"])
    ]
    if beside:
        text += ["", "Published:", "", format_markdown(pd.DataFrame(beside))]
    plots = [
        "![Confusion matrices](confusion_matrices.png)", "", "![Learning curves](learning_curves.png)"
    ]
    draw_confusions(folder / "confusion_matrices.png", composite, predictions)
    draw_curves(folder / "learning_curves.png", composite.labels, logits, losses)
    write_text(folder / "report.md", "\n".join([*text, "", *plots, ""]))
    return "\n".join(text) + "\n"


def report_run(run):
    """Writes and prints the report on the folds of SUBJECTS and on those finished before."""
    settings = run.settings
    folds = [fold for fold in run.folds if fold in run.held_out or run.folder.is_finished(fold)]
    stored = [run.load_fold(fold) for fold in folds]
    composite = run.composite.select(np.concatenate([fold.test for fold in folds]))
    comparable = len(folds) == len(run.folds) and not settings.on_sample and not settings.SHUFFLE_LABELS
    notes = [SAMPLE_BANNER + "\n"] * settings.on_sample + [CONTROL + "\n"] * settings.SHUFFLE_LABELS
    recorded = ", ".join(f"{name} {value}" for name, value in run.record["settings"].items())
    seconds = sum(float(fold["seconds"]) for fold in stored)
    description = [
        *notes,
        f"- {len(composite.names)} samples of {len(folds)} of the {len(run.folds)} subjects",
        f"- settings: {recorded}",
        f"- {' and '.join(sorted({str(fold['machine']) for fold in stored}))}",
        f"- training took {format_duration(seconds)} (h:mm:ss), summed over the folds",
    ]
    text = write_report(
        run.folder.results,
        composite,
        np.concatenate([fold["logits"] for fold in stored], axis=1),
        np.stack([fold["losses"] for fold in stored]),
        published=PUBLISHED[settings.MODEL] if comparable else {},
        heading=f"{settings.MODEL}, leave-one-subject-out, run '{settings.RUN}'",
        description="\n".join(description),
    )
    print(f"\n{text}\nWritten to {run.folder.results}{os.sep}")


def report_evaluation(run, keep, predicted):
    """Prints the row of kept weights and writes evaluation.csv. predicted: int [N], -1 if not held out."""
    order = np.concatenate([fold.test for fold in run.held_out])
    composite, predicted = run.composite.select(order), predicted[order]
    table = tabulate_scores(composite, {name_choice(keep): predicted})
    make_folder(run.folder.results)
    path = run.folder.results / "evaluation.csv"
    columns = {"name": composite.names, "label": composite.labels, "prediction": predicted}
    write_text(path, pd.DataFrame(columns).to_csv(index=False))
    if keep in CHOICES:
        print(f"\n{name_choice(keep)}: {CHOICES[keep]}.")
    print(f"\n{format_markdown(table)}\n\nPredictions written to {path}")


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
                composite.labels[mask], predicted[mask], labels=range(len(CLASSES))
            )
            shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
            axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
            for (i, j), count in np.ndenumerate(counts):
                colour = "white" if shares[i, j] > 0.6 else "black"
                axis.text(j, i, count, ha="center", va="center", color=colour)
            axis.set_xticks(range(len(CLASSES)), [name[:3] for name in CLASSES])
            axis.set_yticks(range(len(CLASSES)), [name[:3] for name in CLASSES])
            axis.set_title(f"{group}, {choice}")
    figure.supxlabel("predicted")
    figure.supylabel("truth")
    save_figure(figure, path)


def draw_curves(path, labels, logits, losses):
    """Draws the training loss over the epochs, and UF1 and UAR of all subjects at the same epoch."""
    from matplotlib.figure import Figure

    uf1, uar = score_confusions(count_confusions(labels, logits.argmax(-1), num_classes=len(CLASSES)))
    epochs = np.arange(1, len(logits) + 1)
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(epochs, losses.mean(0))
    left.fill_between(epochs, losses.min(0), losses.max(0), alpha=0.2)
    left.set(xlabel="epoch", ylabel="training loss (mean and range over folds)", yscale="log")
    right.plot(epochs, uf1, label="UF1")
    right.plot(epochs, uar, label="UAR")
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
    emotion = CLASSES[composite.labels[i]]
    text = f"{composite.databases[i]}  {composite.names[i]}  {emotion}    face | flow image | mosaic"
    write_label(title, text, (8, 26), 0.7, (0, 0, 0))
    return np.concatenate([title, np.concatenate(panels, axis=1)])


def write_label(image, text, place, size, colour):
    cv2.putText(image, text, place, cv2.FONT_HERSHEY_SIMPLEX, size, colour, 1, cv2.LINE_AA)
