"""Intervals and paired tests for study/comparisons.py.

`counts` is one method's confusion counts (rows: truth), int [seeds, subjects, C, C]; the seeds'
mean is what counts.
"""

import numpy as np

from evaluation import score_confusions

DRAWS, INTERVAL_DRAWS = 10_000, 2_000


def score_seeds(counts):
    """UF1 and UAR, float [2]: subjects pooled, then the mean over seeds."""
    return np.mean([score_confusions(seed.sum(0)) for seed in counts], axis=0)


def draw_subjects(people, random):
    """How often each subject counts in each bootstrap draw, int [INTERVAL_DRAWS, people]."""
    return random.multinomial(people, np.full(people, 1 / people), size=INTERVAL_DRAWS)


def resample(counts, drawn, random):
    """UF1 and UAR, float [2, D], of bootstrap draws: subjects as `drawn` [D, P] says, and seeds
    with replacement.

    Of a single seed nothing is known about what another would have given: its interval is that
    network's only.
    """
    # [seeds, 2, D]
    each = np.stack([score_confusions(np.tensordot(drawn, seed, 1)) for seed in counts])
    chosen = random.integers(0, len(counts), (len(counts), 1, len(drawn)))
    return np.take_along_axis(each, chosen, axis=0).mean(0)


def estimate_interval(values):
    """95 % of the draws: float [2]."""
    return np.percentile(values, (2.5, 97.5))


def compare(a, b):
    """Two methods on the same subjects -> difference of their UF1, its 95 % bootstrap interval, p.

    p: under the null hypothesis it does not matter which of the two methods a subject's predictions
    came from. Like any test over subjects, it takes the trained networks as they are.
    """
    random, people = np.random.default_rng(0), a.shape[1]
    observed = score_seeds(a)[0] - score_seeds(b)[0]
    kept, drawn = random.integers(0, 2, (DRAWS, people)), draw_subjects(people, random)
    differences = resample(a, drawn, random)[0] - resample(b, drawn, random)[0]
    exchanged = np.zeros(DRAWS)
    for one in a:
        for other in b:
            kept_one, kept_other = np.tensordot(kept, one, 1), np.tensordot(kept, other, 1)
            exchanged += (
                score_confusions(kept_one + other.sum(0) - kept_other)[0]
                - score_confusions(kept_other + one.sum(0) - kept_one)[0]
            )
    exchanged /= len(a) * len(b)
    p = (1 + np.sum(np.abs(exchanged) >= abs(observed) - 1e-12)) / (1 + DRAWS)
    return observed, estimate_interval(differences), p


def correct_holm(p):
    """p-values [n] -> corrected for their number (Holm 1979): float [n]."""
    p = np.asarray(p)
    order, corrected = np.argsort(p), np.empty(len(p))
    corrected[order] = np.minimum(1, np.maximum.accumulate(np.arange(len(p), 0, -1) * p[order]))
    return corrected
