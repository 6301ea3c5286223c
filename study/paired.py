"""Intervals and paired tests for study/comparisons.py.

`counts` is one method's confusion counts (rows: truth), int [seeds, subjects, C, C]; the seeds'
mean is what counts. Each fold was trained with a seed of its own, so that drawing subjects draws
their networks, too: seeds are not drawn a second time.
"""

import functools

import numpy as np

from evaluation import draw_subjects, score_confusions

DRAWS, INTERVAL_DRAWS = 100_000, 2_000
POWER = 1.96 + 0.84  # standard errors: what a test at 5 % finds in 80 % of the cases


def score_seeds(counts):
    """UF1 and UAR, float [2]: subjects pooled, then the mean over seeds."""
    return np.mean([score_confusions(seed.sum(0)) for seed in counts], axis=0)


def resample(counts, draws=INTERVAL_DRAWS, seed=0):
    """UF1 and UAR, float [2, draws]: subjects drawn with replacement, the same for every call."""
    drawn = draw_as_float(counts.shape[1], draws, seed)
    return np.mean([score_confusions(np.tensordot(drawn, one, 1)) for one in counts], axis=0)


@functools.cache
def draw_as_float(people, draws, seed):
    """`draw_subjects` for products with counts; of int they would take several times as long."""
    return draw_subjects(people, draws, seed).astype(float)


def estimate_interval(values):
    """95 % of the draws: float [2]."""
    return np.percentile(values, (2.5, 97.5))


def compare(a, b):
    """Two methods, same subjects, the seeds that are compared in the same places -> dict.

    difference: of their UF1; interval: its 95 % bootstrap interval; seen: the smallest difference
    that `exchange` would have found in four cases of five.
    """
    differences = resample(a)[0] - resample(b)[0]
    return {
        "difference": score_seeds(a)[0] - score_seeds(b)[0],
        "interval": estimate_interval(differences),
        "seen": POWER * differences.std(),
    }


def exchange(a, b):
    """p of the difference of two methods' UF1; a, b as in `compare`.

    Under the null hypothesis it does not matter which of the two methods a subject's predictions
    came from; a subject's seeds are exchanged together.
    """
    observed = score_seeds(a)[0] - score_seeds(b)[0]
    people = a.shape[1]
    kept = np.random.default_rng(0).integers(0, 2, (DRAWS, people)).astype(float)
    exchanged = np.zeros(DRAWS)
    for one, other in zip(a, b, strict=True):
        kept_one, kept_other = np.tensordot(kept, one, 1), np.tensordot(kept, other, 1)
        exchanged += (
            score_confusions(kept_one + other.sum(0) - kept_other)[0]
            - score_confusions(kept_other + one.sum(0) - kept_one)[0]
        )
    exchanged /= len(a)
    return (1 + np.sum(np.abs(exchanged) >= abs(observed) - 1e-12)) / (1 + DRAWS)


def correct_holm(p):
    """p-values [n] -> corrected for their number (Holm 1979): float [n]."""
    p = np.asarray(p)
    order, corrected = np.argsort(p), np.empty(len(p))
    corrected[order] = np.minimum(1, np.maximum.accumulate(np.arange(len(p), 0, -1) * p[order]))
    return corrected
