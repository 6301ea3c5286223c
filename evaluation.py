"""Scores of a LOSO run: UF1 and UAR, the three answers to "which epoch counts?", bootstrap intervals, the report.

The predictions of all folds are pooled, then scored (never a mean of per-subject scores); a database's scores pool its
own subjects of the same folds.
"""
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, recall_score

from composite_dataset import CLASSES, replace_with

CHOICES = {
    "last": "the last epoch for everybody: no selection at all",
    "others": "for each subject the one epoch with the highest UF1 pooled over all the other subjects: nearly "
              "unbiased, not nested, since the other subjects' networks had the scored subject among their training "
              "samples",
    "best": "each subject's own epoch of highest accuracy, as the released code counts: chosen on the test subject "
            "itself, so optimistic by construction",
}
DATABASE_NAMES = {"casme2": "CASME II", "smic": "SMIC", "samm": "SAMM", "casme3": "CASME III"}
PUBLISHED = {  # UF1, UAR
    "HTNet": {"paper": {"Full": (0.8603, 0.8475), "SMIC": (0.8049, 0.7905), "CASME II": (0.9532, 0.9516),
                        "SAMM": (0.8131, 0.8124)},
              "predictions the authors released": {"Full": (0.8313, 0.8175), "SMIC": (0.7691, 0.7620),
                                                   "CASME II": (0.9367, 0.9242), "SAMM": (0.7870, 0.7590)}},
    "STSTNet": {"paper": {"Full": (0.7353, 0.7605), "SMIC": (0.6801, 0.7013), "CASME II": (0.8382, 0.8686),
                          "SAMM": (0.6588, 0.6810)},
                "PyTorch port, last epoch": {"Full": (0.7209, 0.7250), "SMIC": (0.6871, 0.6876),
                                             "CASME II": (0.8304, 0.8304), "SAMM": (0.5993, 0.6145)}},
}


def unweighted_scores(labels, predictions, num_classes=3):
    """labels, predictions int [N] -> (UF1, UAR): F1 and recall of each class, unweighted means over all classes.

    Every one of `num_classes` counts; one that is absent from labels and predictions scores 0 (MEGC 2019's definition).
    """
    options = dict(labels=range(num_classes), average="macro", zero_division=0)
    return float(f1_score(labels, predictions, **options)), float(recall_score(labels, predictions, **options))


def choose_epochs(logits, labels, subjects, choice):
    """The epoch (from 0) that counts for each sample, int [N], under one of CHOICES.

    logits [E, N, C]: held-out logits of every epoch; labels int [N]; subjects [N]. Ties go to the latest epoch.
    """
    logits, labels, subjects = np.asarray(logits), np.asarray(labels), np.asarray(subjects)
    epochs, samples, classes = logits.shape
    if choice == "last":
        return np.full(samples, epochs - 1)
    people, person = np.unique(subjects, return_inverse=True)
    if choice == "others":
        counts = confusions(labels, logits.argmax(-1), person, len(people), classes)  # [E, S, C, C]
        score = confusion_scores(counts.sum(1, keepdims=True) - counts)[0]  # UF1 [E, S] of everybody but S
    elif choice == "best":
        correct = (logits.argmax(-1) == labels).astype(float)  # [E, N]
        score = np.stack([correct[:, person == i].sum(1) for i in range(len(people))], axis=1)
    else:
        raise ValueError(f"choice is '{choice}': it must be one of {', '.join(CHOICES)}.")
    score = np.round(score, 12)  # equal fractions may differ in the last bit, and ties must be ties
    latest_best = epochs - 1 - score[::-1].argmax(0)  # argmax takes the first: seen from the end, the latest
    return latest_best[person]


def chosen_predictions(logits, labels, subjects, choice):
    """-> (predicted class [N], the epoch that counts [N])."""
    epochs = choose_epochs(logits, labels, subjects, choice)
    return np.asarray(logits)[epochs, np.arange(len(labels))].argmax(-1), epochs


def confusions(labels, predictions, groups, num_groups, classes):
    """Confusion counts per group (rows: truth): predictions [..., N] -> [..., num_groups, C, C]."""
    cells = (groups * classes + labels) * classes + predictions
    size = num_groups * classes ** 2
    counts = [np.bincount(row, minlength=size) for row in cells.reshape(-1, cells.shape[-1])]
    return np.reshape(counts, (*predictions.shape[:-1], num_groups, classes, classes))


def confusion_scores(confusion):
    """(UF1 [...], UAR [...]) of confusion counts [..., C, C]: scikit-learn's figures, for many tables at once."""
    hits = np.diagonal(confusion, axis1=-2, axis2=-1)
    truth, predicted = confusion.sum(-1), confusion.sum(-2)
    # hits is 0 wherever a denominator is, so that an absent class scores 0
    return ((2 * hits / np.maximum(truth + predicted, 1)).mean(-1), (hits / np.maximum(truth, 1)).mean(-1))


def bootstrap(labels, predictions, subjects, num_classes=3, draws=2000, seed=0):
    """95 % intervals over subjects drawn with replacement: float [2, 2], (UF1, UAR) x (2.5 %, 97.5 %)."""
    people, person = np.unique(subjects, return_inverse=True)
    counts = confusions(np.asarray(labels), np.asarray(predictions), person, len(people), num_classes)
    drawn = np.random.default_rng(seed).multinomial(len(people), np.full(len(people), 1 / len(people)), size=draws)
    resampled = np.tensordot(drawn, counts, axes=1)  # [draws, C, C]
    return np.stack([np.percentile(score, (2.5, 97.5)) for score in confusion_scores(resampled)])


def groups(databases):
    """{'Full': mask [N], 'SMIC': mask, ...} of the databases that are there; Full only where there are several."""
    present = [database for database in ("smic", "casme2", "samm", "casme3") if (databases == database).any()]
    masks = {DATABASE_NAMES[database]: databases == database for database in present}
    return masks if len(present) == 1 else {"Full": np.full(len(databases), True), **masks}


def score_table(composite, predictions):
    """{row name: predictions int [N]} -> DataFrame: UF1, UAR, accuracy of each group under each row name."""
    rows = []
    for choice, predicted in predictions.items():
        for group, mask in groups(composite.databases).items():
            truth, subjects = composite.labels[mask], composite.subjects[mask]
            uf1, uar = unweighted_scores(truth, predicted[mask])
            (uf1_low, uf1_high), (uar_low, uar_high) = bootstrap(truth, predicted[mask], subjects)
            rows.append({"epoch choice": choice, "group": group, "subjects": len(set(subjects)), "samples": len(truth),
                         "UF1": uf1, "UF1 95 %": f"{uf1_low:.3f}-{uf1_high:.3f}",
                         "UAR": uar, "UAR 95 %": f"{uar_low:.3f}-{uar_high:.3f}",
                         "accuracy": accuracy_score(truth, predicted[mask])})
    return pd.DataFrame(rows)


def markdown(table):
    cells = [[f"{value:.4f}" if isinstance(value, float) else str(value) for value in row]
             for row in table.itertuples(index=False)]
    rows = [list(table.columns), ["---"] * len(table.columns), *cells]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def write_text(path, text):
    replace_with(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def report(folder, composite, logits, losses, *, published, heading, description):
    """Writes predictions.csv, report.md, confusion_matrices.png and learning_curves.png; returns the report's text.

    composite: the N samples that were held out; logits [E, N, C]; losses [S, E] per fold; heading: the title;
    description: lines of markdown on settings and machine; published: figures to print beside ours,
    {source: {group: (UF1, UAR)}}.
    """
    folder = Path(folder)
    logits, losses = np.asarray(logits), np.asarray(losses)
    chosen = {choice: chosen_predictions(logits, composite.labels, composite.subjects, choice) for choice in CHOICES}
    predictions = {choice: predicted for choice, (predicted, _) in chosen.items()}
    columns = {"name": composite.names, "database": composite.databases, "subject": composite.subjects,
               "label": composite.labels}
    for choice, (predicted, epochs) in chosen.items():
        columns |= {choice: predicted, f"{choice}_epoch": epochs + 1}
    write_text(folder / "predictions.csv", pd.DataFrame(columns).to_csv(index=False))

    table = score_table(composite, predictions)
    beside = pd.DataFrame([{"source": source, "group": group, "UF1": uf1, "UAR": uar}
                           for source, scores in published.items()
                           for group, (uf1, uar) in scores.items() if group in set(table["group"])])
    text = [f"# {heading}", "", description, "", "Which epoch's prediction of a held-out subject counts:", "",
            *(f"- `{choice}`: {meaning}." for choice, meaning in CHOICES.items()), "", markdown(table), "",
            "95 % intervals: bootstrap over subjects, 2,000 draws, the epochs kept as chosen.", ""]
    if len(beside):
        text += ["Published:", "", markdown(beside), ""]
    text += ["![Confusion matrices](confusion_matrices.png)", "", "![Learning curves](learning_curves.png)", ""]
    _plots(folder, composite, logits, losses, predictions)
    write_text(folder / "report.md", "\n".join(text))
    return "\n".join(text[:-4])


def _plots(folder, composite, logits, losses, predictions):
    from matplotlib.figure import Figure  # here, since evaluation without plots does not need it

    def save(figure, name):
        replace_with(folder / name, lambda temporary: figure.savefig(temporary, dpi=110))

    masks = groups(composite.databases)
    figure = Figure(figsize=(3 * len(masks), 3 * len(predictions)), layout="constrained")
    axes = figure.subplots(len(predictions), len(masks), squeeze=False)
    for row, (choice, predicted) in zip(axes, predictions.items()):
        for axis, (group, mask) in zip(row, masks.items()):
            counts = confusion_matrix(composite.labels[mask], predicted[mask], labels=range(len(CLASSES)))
            shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
            axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
            for (i, j), count in np.ndenumerate(counts):
                axis.text(j, i, count, ha="center", va="center", color="white" if shares[i, j] > 0.6 else "black")
            axis.set_xticks(range(len(CLASSES)), [name[:3] for name in CLASSES])
            axis.set_yticks(range(len(CLASSES)), [name[:3] for name in CLASSES])
            axis.set_title(f"{group}, {choice}")
    figure.supxlabel("predicted")
    figure.supylabel("truth")
    save(figure, "confusion_matrices.png")

    counts = confusions(composite.labels, logits.argmax(-1), np.zeros(len(composite.labels), int), 1, len(CLASSES))
    uf1, uar = (score[:, 0] for score in confusion_scores(counts))
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
    save(figure, "learning_curves.png")
