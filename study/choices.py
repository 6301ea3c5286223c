"""Which epoch counts? UF1 of Full under ways of choosing it, all from the packed predictions.

A run is a dict as `experiments.read_run` gives it: predicted [E, N], labels [N], subjects [N].
"Late" epochs are those of the second half.
"""

import functools

import numpy as np

from evaluation import (
    CHOICES,
    choose_epochs,
    count_confusions,
    draw_subjects,
    find_latest_best,
    score_confusions,
    unweighted_scores,
)
from study.experiments import SVMS, find_runs, read_predictions, read_runs

SPLITS, HALVES, DRAWS = 200, 50, 100


def score_epochs(run):
    """UF1 [E], all subjects pooled at the same epoch."""
    return score_confusions(count_confusions(run["labels"], run["predicted"]))[0]


def choose_best(run, epochs=None):
    """The epochs of `best`, int [N], where each subject's is chosen among these, int [e]."""
    epochs = np.arange(len(run["predicted"])) if epochs is None else epochs
    one_hot = np.eye(3)[run["predicted"][epochs]]
    return epochs[choose_epochs(one_hot, run["labels"], run["subjects"], "best")]


def score_chosen(run, epochs):
    """UF1 where epochs int [N] count, one for each sample."""
    predicted = run["predicted"][epochs, np.arange(len(epochs))]
    return unweighted_scores(run["labels"], predicted)[0]


def count_chosen(run, epochs):
    """Confusion counts by subject, [..., P, 3, 3], where epochs int [..., N] count."""
    people, person = np.unique(run["subjects"], return_inverse=True)
    predicted = run["predicted"][epochs, np.arange(len(person))]
    return count_confusions(run["labels"], predicted, person, len(people))


def count_epochs(run):
    """Confusion counts by subject, all at the same epoch: [E, P, 3, 3]."""
    people, person = np.unique(run["subjects"], return_inverse=True)
    return count_confusions(run["labels"], run["predicted"], person, len(people))


def list_late(run):
    return np.arange(len(run["predicted"]) // 2, len(run["predicted"]))


def count_late(run):
    """Every late epoch for all, [E/2, P, 3, 3]: an epoch chosen blindly."""
    return count_epochs(run)[list_late(run)]


def count_across(runs, late=False):
    """Each subject's epoch chosen by another seed's accuracy on that same subject, for each pair of
    seeds: [pairs, P, 3, 3]; None of a single seed. late: among the late epochs only.

    Still chosen on the test subject. If a subject had epochs that are good for it, they would be
    found so, too.
    """
    pairs = [(run, other) for run in runs for other in runs if other is not run]
    if not pairs:
        return None
    return np.stack(
        [
            count_chosen(run, choose_best(other, list_late(other) if late else None))
            for run, other in pairs
        ]
    )


def count_own_half(run, late=False):
    """Each subject's epoch chosen on one half of its own samples, scored on the other half of the
    same run, and vice versa, for HALVES splits: [HALVES, P, 3, 3]. late: among the late epochs only

    A subject with one sample has no other half: it takes a random late epoch.
    """
    correct = (run["predicted"] == run["labels"]).astype(float)
    people = [np.flatnonzero(run["subjects"] == name) for name in np.unique(run["subjects"])]
    random, total = np.random.default_rng(0), len(correct)
    first = total // 2 if late else 0
    epochs = np.empty((HALVES, len(run["labels"])), int)
    for split in epochs:
        for samples in people:
            one, other = np.array_split(random.permutation(samples), 2)
            if not len(other):
                split[one] = random.integers(total // 2, total)
                continue
            split[other] = first + find_latest_best(correct[first:, one].sum(1))
            split[one] = first + find_latest_best(correct[first:, other].sum(1))
    return count_chosen(run, epochs)


def score_counts(counts):
    """Counts [K, P, 3, 3] -> the mean of K UF1, subjects pooled; None of None."""
    return None if counts is None else score_confusions(counts.sum(1))[0].mean()


def score_best_of(run, k):
    """`best` among k late epochs drawn by chance: the mean of DRAWS draws."""
    random, total = np.random.default_rng(0), len(run["predicted"])
    late = np.arange(total // 2, total)
    drawn = (np.sort(random.choice(late, k, replace=False)) for _ in range(DRAWS))
    return np.mean([score_chosen(run, choose_best(run, epochs)) for epochs in drawn])


def score_split(run):
    """One epoch for all, chosen on one half of the subjects, scored on the other, and vice versa.

    The two halves are pooled; the mean over SPLITS splits.
    """
    counts, random, scores = count_epochs(run), np.random.default_rng(0), []
    people = counts.shape[1]
    for _ in range(SPLITS):
        half = np.arange(people) < people // 2
        random.shuffle(half)
        held_out = 0
        for chosen_on in (half, ~half):
            epoch = find_latest_best(score_confusions(counts[:, chosen_on].sum(1))[0])
            held_out = held_out + counts[epoch, ~chosen_on].sum(0)
        scores.append(score_confusions(held_out)[0])
    return np.mean(scores)


def score_others(counts, weights):
    """UF1 of `others` in a bootstrap draw, the choice repeated in it.

    counts [E, P, C, C] by subject; weights int [P]: how often each subject was drawn. All copies of
    a subject are left out where its epoch is chosen.
    """
    drawn = np.flatnonzero(weights)
    counts = counts[:, drawn] * weights[drawn, None, None]
    epochs = find_latest_best(score_confusions(counts.sum(1, keepdims=True) - counts)[0])
    return score_confusions(counts[epochs, np.arange(len(drawn))].sum(0))[0]


def compare_others(one, other, draws=400):
    """`others` of two experiments' same seeds: difference and 95 % interval, the choice repeated.

    one, other: lists of runs.
    """
    for run, others in zip(one, other, strict=True):
        if any(not np.array_equal(run[key], others[key]) for key in ("subjects", "labels")):
            raise SystemExit("Runs of different samples cannot be compared.")
    size = len(np.unique(one[0]["subjects"]))
    drawn = draw_subjects(size, draws)

    def score(runs):
        counts = [count_epochs(run) for run in runs]
        return np.array(
            [
                np.mean([score_others(each, weights) for each in counts])
                for weights in (np.ones(size, int), *drawn)
            ]
        )

    difference = score(one) - score(other)
    return difference[0], np.percentile(difference[1:], (2.5, 97.5))


PER_RUN = {  # choice: UF1 of a run
    "common": lambda run: score_epochs(run).max(),
    "late": lambda run: score_counts(count_late(run)),
    "split": score_split,
    "own-half": lambda run: score_counts(count_own_half(run)),
    "others": lambda run: score_chosen(
        run,
        choose_epochs(np.eye(3)[run["predicted"]], run["labels"], run["subjects"], "others"),
    ),
    **{f"best of {k}": functools.partial(score_best_of, k=k) for k in (1, 5, 10, 50)},
}


def compute_uf1(name, choice):
    """UF1 of Full, the mean over seeds.

    name: an experiment, a run or a machine. choice: one of CHOICES; "common", each run's best epoch
    for everybody; "late", the mean late epoch; "split", "own-half", "across", "others" as above.
    """
    if choice in CHOICES:
        tables = read_predictions(name, choice).values()
        if not tables:
            read_runs(name)  # says that there are none
        return np.mean([unweighted_scores(t["label"], t["prediction"])[0] for t in tables])
    if name in SVMS:
        raise SystemExit(f"The text has '{choice}' of {name}, which has no epochs to choose from.")
    return compute_from_epochs(name, choice, tuple(find_runs(name)))


@functools.cache
def compute_from_epochs(name, choice, folders):
    """`compute_uf1` for the choices that predictions.csv does not hold; folders: the runs'."""
    runs = read_runs(name)
    if choice == "across":
        return score_counts(count_across(runs))
    return np.mean([PER_RUN[choice](run) for run in runs])
