"""What a person reads of a run: lines per fold, tables, report.md."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import accuracy_score

from composite_dataset import CLASSES
from evaluation import (
    CHOICES,
    bootstrap_scores,
    choose_predictions,
    group_by_database,
    unweighted_scores,
)
from pictures import draw_confusions, draw_curves
from support.files import make_folder, write_text

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
MEGC_SAMPLES = 442  # of the composite that these scores are of
SAMPLE_BANNER = f"""{"!" * 96}
!  No data in the datasets folder: this is the small synthetic sample. Its scores say nothing about
!  the method or the databases; README tells how to obtain them.
{"!" * 96}"""
CONTROL = "CONTROL: trained on permuted labels; the scores say what chance gives."


def describe_fold(run, fold):
    """A fold as the released script prints it: predictions, truth, and the scores so far -> text.

    The scores are of all finished folds, those of other ranks among them.
    """
    folds = [other for other in run.held_out if other is fold or run.folder.is_finished(other)]
    finished = {other.name: run.load_fold(other) for other in folds}
    subject = fold.name
    if not len(fold.test):
        kept = run.folder.weights_path(subject) if run.folder.keeps_weights else "no weights kept"
        return f"\nTrained on all subjects: {kept}"
    truth = np.concatenate([stored["labels"] for stored in finished.values()])
    unit = "Group" if run.settings.FOLDS else "Subject"
    lines = [f"\n{unit} {subject}"]
    for choice in ("best", "last"):
        predicted = {}
        for name, stored in finished.items():
            labels = stored["labels"]
            predicted[name], _ = choose_predictions(
                stored["logits"], labels, [name] * len(labels), choice
            )
        pooled = np.concatenate(list(predicted.values()))
        uf1, uar = unweighted_scores(truth, pooled, len(run.composite.classes))
        lines.append(
            f"  predicted  {join_numbers(predicted[subject])}   ({choice} epoch; {len(finished)} "
            f"{unit.lower()}s so far: UF1 {uf1:.4f}, UAR {uar:.4f})"
        )
    lines.append(f"  truth      {join_numbers(finished[subject]['labels'])}")
    return "\n".join(lines)


def name_choice(keep):
    """The row of weights that were kept so: "best epoch", or "epoch unknown"."""
    return f"{keep} epoch" if keep in CHOICES else f"epoch {keep}"


def join_numbers(numbers):
    return " ".join(map(str, numbers))


def tabulate_scores(composite, predictions):
    """{row name: predictions int [N]} -> DataFrame: UF1, UAR, accuracy of each group."""
    rows = []
    for choice, predicted in predictions.items():
        for group, mask in group_by_database(composite.databases).items():
            truth, subjects = composite.labels[mask], composite.subjects[mask]
            uf1, uar = unweighted_scores(truth, predicted[mask], len(composite.classes))
            intervals = bootstrap_scores(truth, predicted[mask], subjects, len(composite.classes))
            uf1_interval, uar_interval = (f"{low:.3f}-{high:.3f}" for low, high in intervals)
            rows.append(
                {
                    "epoch choice": choice,
                    "group": group,
                    "subjects": len(set(subjects)),
                    "samples": len(truth),
                    "UF1": uf1,
                    "UF1 95 %": uf1_interval,
                    "UAR": uar,
                    "UAR 95 %": uar_interval,
                    "accuracy": accuracy_score(truth, predicted[mask]),
                }
            )
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


def write_report(
    folder, composite, logits, losses, *, published, heading, description, groups=None
):
    """Writes predictions.csv, report.md and two plots -> the report's text without the plots.

    composite: the N samples that were held out; logits [E, N, C]; losses [S, E] per fold;
    published: {source: {group: (UF1, UAR)}} to print beside ours; heading: the title; description:
    markdown on settings and machine; groups [N]: what was held out together, by default a subject.
    """
    folder, logits, losses = Path(folder), np.asarray(logits), np.asarray(losses)
    columns = {
        "name": composite.names,
        "database": composite.databases,
        "subject": composite.subjects,
        "label": composite.labels,
    }
    predictions = {}
    for choice in CHOICES:
        predictions[choice], epochs = choose_predictions(
            logits, composite.labels, composite.subjects if groups is None else groups, choice
        )
        columns[choice] = predictions[choice]
        if epochs is not None:
            columns[f"{choice}_epoch"] = epochs + 1
    write_text(folder / "predictions.csv", pd.DataFrame(columns).to_csv(index=False))

    table = tabulate_scores(composite, predictions)
    text = [
        f"# {heading}",
        "",
        description,
        "",
        "Which epoch's prediction of a held-out subject counts:",
        "",
        *(f"- `{choice}`: {meaning}." for choice, meaning in CHOICES.items()),
        "",
        format_markdown(table),
        "",
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
        "![Confusion matrices](confusion_matrices.png)",
        "",
        "![Learning curves](learning_curves.png)",
    ]
    draw_confusions(folder / "confusion_matrices.png", composite, predictions)
    draw_curves(folder / "learning_curves.png", composite.labels, logits, losses)
    write_text(folder / "report.md", "\n".join([*text, "", *plots, ""]))
    return "\n".join(text) + "\n"


def format_settings(record):
    """The settings of a run in one line: "MODEL HTNet, SEED 1, ..."."""
    return ", ".join(f"{name} {value}" for name, value in record["settings"].items())


def report_run(run):
    """Writes and prints the report on the folds of SUBJECTS and on those finished before."""
    settings = run.settings
    if not any(len(fold.test) for fold in run.held_out):
        return print("Nobody was held out: there is nothing to score.")
    folds = [fold for fold in run.folds if fold in run.held_out or run.folder.is_finished(fold)]
    stored = [run.load_fold(fold) for fold in folds]
    run.folder.tell_nameless()
    composite = run.composite.select(np.concatenate([fold.test for fold in folds]))
    comparable = (
        len(folds) == len(run.folds)
        and not settings.FOLDS
        # all of MEGC 2019's databases, and not more clips (`--all-clips`) than it has
        and set(composite.databases) == {"smic", "casme2", "samm"}
        and len(composite.names) <= MEGC_SAMPLES
        and composite.classes == CLASSES
        and not settings.on_sample
        and not settings.SHUFFLE_LABELS
    )
    notes = [SAMPLE_BANNER + "\n"] * settings.on_sample + [CONTROL + "\n"] * settings.SHUFFLE_LABELS
    unit, protocol = "subjects", "leave-one-subject-out"
    if settings.FOLDS:
        unit, protocol = "groups", f"{settings.FOLDS} groups of subjects"
    seconds = sum(float(fold["seconds"]) for fold in stored)
    description = [
        *notes,
        f"- {len(composite.names)} samples of {len(folds)} of the {len(run.folds)} {unit}",
        f"- settings: {format_settings(run.record)}",
        f"- {' and '.join(sorted({str(fold['machine']) for fold in stored}))}",
        f"- training took {format_duration(seconds)} (h:mm:ss), summed over the folds",
    ]
    text = write_report(
        run.folder.results,
        composite,
        np.concatenate([fold["logits"] for fold in stored], axis=1),
        np.stack([fold["losses"] for fold in stored]),
        published=PUBLISHED[settings.MODEL] if comparable else {},
        heading=f"{settings.MODEL}, {protocol}, run '{settings.RUN}'",
        groups=np.repeat([fold.name for fold in folds], [len(fold.test) for fold in folds]),
        description="\n".join(description),
    )
    print(f"\n{text}\nWritten to {run.folder.results}{os.sep}")


def report_evaluation(run, predicted):
    """Prints the scores of kept weights and writes evaluation.csv.

    predicted: int [N], -1 where not held out.
    """
    keep = run.weights_keep
    order = np.concatenate([fold.test for fold in run.held_out])
    composite, predicted = run.composite.select(order), predicted[order]
    table = tabulate_scores(composite, {name_choice(keep): predicted})
    make_folder(run.folder.results)
    path = run.folder.results / "evaluation.csv"
    columns = {"name": composite.names, "label": composite.labels, "prediction": predicted}
    write_text(path, pd.DataFrame(columns).to_csv(index=False))
    if keep in CHOICES:
        print(f"\n{name_choice(keep)}: {CHOICES[keep]}.")
    print(f"\n{format_markdown(table)}\n\nWeights: {run.weights.path}. Predictions: {path}")
