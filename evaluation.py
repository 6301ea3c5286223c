"""Scores of a LOSO run: UF1 and UAR, the answers to "which epoch counts?", bootstrap intervals.

The predictions of all folds are pooled, then scored (never a mean of per-subject scores); a
database's scores pool its own subjects of the same folds.
"""

import numpy as np
import torch

CHOICES = {
    "last": "the last epoch for everybody: fixed in advance",
    "average": "the mean of the probabilities over the last tenth of the epochs: fixed in advance, "
    "and no single epoch decides",
    "best": "each subject's own epoch of highest accuracy, as the released code counts: chosen on "
    "the test subject itself, so optimistic by construction",
}
# In the order of the tables.
DATABASE_NAMES = {"smic": "SMIC", "casme2": "CASME II", "samm": "SAMM", "casme3": "CASME III"}


def unweighted_scores(labels, predictions, num_classes=3):
    """labels, predictions int [N] -> (UF1, UAR), the unweighted means of F1 and recall over
    classes.

    Every one of `num_classes` counts; one that is absent from labels and predictions scores 0
    (MEGC 2019's definition).
    """
    labels, predictions = np.asarray(labels), np.asarray(predictions)
    uf1, uar = score_confusions(count_confusions(labels, predictions, num_classes=num_classes))
    return float(uf1), float(uar)


def count_confusions(labels, predictions, groups=None, num_groups=None, num_classes=3):
    """Confusion counts, rows: truth. labels int [N], predictions int [..., N] -> [..., C, C].

    With groups int [N], below num_groups: counts of each group, [..., G, C, C].
    """
    cells = labels * num_classes + predictions
    shape = (num_classes, num_classes)
    if groups is not None:
        cells = cells + groups * num_classes**2
        shape = (num_groups, *shape)
    counts = [
        np.bincount(row, minlength=np.prod(shape)) for row in cells.reshape(-1, cells.shape[-1])
    ]
    return np.reshape(counts, (*predictions.shape[:-1], *shape))


def score_confusions(counts):
    """(UF1 [...], UAR [...]) of confusion counts [..., C, C], many tables at once."""
    hits = np.diagonal(counts, axis1=-2, axis2=-1)
    truth, predicted = counts.sum(-1), counts.sum(-2)
    # hits is 0 wherever a denominator is, so that an absent class scores 0
    f1 = 2 * hits / np.maximum(truth + predicted, 1)
    recall = hits / np.maximum(truth, 1)
    return f1.mean(-1), recall.mean(-1)


def choose_epochs(logits, labels, subjects, choice):
    """The epoch (from 0) that counts for each sample, int [N]: choice "last", "best" or "others".

    logits [E, N, C]: held-out logits of every epoch; labels int [N]; subjects [N]. Ties go to the
    latest epoch. "others", for each subject the one epoch with the highest UF1 pooled over all the
    other subjects, is in no report: see docs/tables.md. "average" has no epoch: ValueError.
    """
    logits, labels, subjects = np.asarray(logits), np.asarray(labels), np.asarray(subjects)
    num_epochs, num_samples, num_classes = logits.shape
    if choice == "last":
        return np.full(num_samples, num_epochs - 1)
    names, person = np.unique(subjects, return_inverse=True)
    predictions = logits.argmax(-1)
    if choice == "others":
        # confusion counts [E, S, C, C], then UF1 [E, S] of everybody but S
        counts = count_confusions(labels, predictions, person, len(names), num_classes)
        score, _ = score_confusions(counts.sum(1, keepdims=True) - counts)
    elif choice == "best":
        correct = (predictions == labels).astype(float)  # [E, N]
        score = np.stack([correct[:, person == i].sum(1) for i in range(len(names))], axis=1)
    elif choice == "average":
        raise ValueError("'average' is of several epochs, not of one: use choose_predictions.")
    else:
        raise ValueError(f"choice is '{choice}': it must be one of last, best, others.")
    return find_latest_best(score)[person]


def find_latest_best(score):
    """The epoch of the highest score [E, ...], int [...]; ties go to the latest."""
    score = np.round(score, 12)  # equal fractions may differ in the last bit, and ties must be ties
    # argmax takes the first of equal ones: seen from the end, the latest
    return len(score) - 1 - score[::-1].argmax(0)


def average_probabilities(logits):
    """Logits [E, N, C] -> probabilities [N, C], the mean over the last tenth of the epochs.

    At least one epoch counts; of 100 epochs the last 10, of 19 the last one.
    """
    late = np.asarray(logits)[-max(1, len(logits) // 10) :]
    return torch.as_tensor(late, dtype=torch.float64).softmax(-1).mean(0).numpy()


def choose_predictions(logits, labels, subjects, choice):
    """-> (predicted class [N], the epoch that counts [N] or, for "average", None)."""
    if choice == "average":
        return average_probabilities(logits).argmax(-1), None
    epochs = choose_epochs(logits, labels, subjects, choice)
    return np.asarray(logits)[epochs, np.arange(len(labels))].argmax(-1), epochs


def draw_subjects(count, draws, seed=0):
    """How often each subject is drawn, with replacement: int [draws, count]."""
    share = np.full(count, 1 / count)
    return np.random.default_rng(seed).multinomial(count, share, size=draws)


def bootstrap_scores(labels, predictions, subjects, num_classes=3, draws=2000, seed=0):
    """95 % intervals over subjects drawn with replacement.

    Returns float [2, 2]: (UF1, UAR) x (2.5 %, 97.5 %).
    """
    names, person = np.unique(subjects, return_inverse=True)
    counts = count_confusions(
        np.asarray(labels), np.asarray(predictions), person, len(names), num_classes
    )
    drawn = draw_subjects(len(names), draws, seed)
    scores = score_confusions(np.tensordot(drawn, counts, axes=1))  # of [draws, C, C]
    return np.stack([np.percentile(score, (2.5, 97.5)) for score in scores])


def group_by_database(databases):
    """{'Full': mask [N], 'SMIC': mask, ...}; 'Full' only where there are several databases."""
    databases = np.asarray(databases)
    order = [*DATABASE_NAMES, *sorted(set(databases) - DATABASE_NAMES.keys())]
    present = [name for name in order if (databases == name).any()]
    masks = {DATABASE_NAMES.get(name, name): databases == name for name in present}
    return masks if len(present) == 1 else {"Full": np.full(len(databases), True), **masks}


def score_groups(databases, labels, predictions):
    """{'Full': (UF1, UAR), 'SMIC': (UF1, UAR), ...} of predictions int [N]."""
    labels, predictions = np.asarray(labels), np.asarray(predictions)
    return {
        group: unweighted_scores(labels[mask], predictions[mask])
        for group, mask in group_by_database(databases).items()
    }
