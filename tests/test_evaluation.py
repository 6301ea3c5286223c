"""Metrics on known predictions, and the epoch choices against a plain count."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sklearn.metrics import f1_score, recall_score

from composite_dataset import Composite
from evaluation import (
    average_probabilities,
    bootstrap_scores,
    choose_epochs,
    choose_predictions,
    count_confusions,
    score_confusions,
    unweighted_scores,
)
from report import write_report


def expand(confusion):
    pairs = [
        (i, j)
        for i, row in enumerate(confusion)
        for j, count in enumerate(row)
        for _ in range(count)
    ]
    return np.array(pairs).T


def test_the_authors_released_predictions(reference):
    labels, predictions = np.concatenate(
        [expand(table) for table in reference["released_confusions"].values()], axis=1
    )
    assert len(labels) == 442
    assert np.round(unweighted_scores(labels, predictions), 4).tolist() == [0.8313, 0.8175]
    known = {"smic": [0.7691, 0.7620], "casme2": [0.9367, 0.9242], "samm": [0.7870, 0.7590]}
    for database, table in reference["released_confusions"].items():
        assert np.round(unweighted_scores(*expand(table)), 4).tolist() == known[database]


def test_every_class_counts():
    assert unweighted_scores([0, 0], [0, 0]) == pytest.approx((1 / 3, 1 / 3))
    assert unweighted_scores([0, 1], [0, 1], num_classes=2) == (1, 1)
    assert unweighted_scores([0, 1], [2, 2]) == (0, 0)


@st.composite
def runs(draw):
    epochs, samples, people = (
        draw(st.integers(1, 25)),
        draw(st.integers(1, 12)),
        draw(st.integers(1, 4)),
    )
    seed = draw(st.integers(0, 2**31))
    random = np.random.default_rng(seed)
    return (
        random.integers(0, 3, (epochs, samples, 3)).astype(float)
        + random.random((epochs, samples, 3)) / 9,
        random.integers(0, 3, samples),
        random.integers(0, people, samples).astype(str),
    )


def tied_run():
    """Two epochs whose UF1 over everybody but "b" is the same fraction, but not the same
    floating-point sum.
    """
    labels = np.array([1, 2, 2, 1, 2, 0, 0])
    predictions = np.array([[1, 1, 1, 0, 2, 0, 0], [2, 1, 0, 1, 2, 0, 0]])
    return np.eye(3)[predictions], labels, np.array(["a"] * 6 + ["b"])


@example(tied_run())
@given(runs())
def test_epoch_choices_against_a_plain_count(run):
    logits, labels, subjects = run
    predictions = logits.argmax(-1)
    assert (choose_epochs(*run, "last") == len(logits) - 1).all()
    for choice in ("best", "others"):
        chosen = choose_epochs(*run, choice)
        for subject in set(subjects):
            own = subjects == subject
            scores = [
                (row[own] == labels[own]).sum()
                if choice == "best"
                else f1_score(
                    labels[~own], row[~own], labels=range(3), average="macro", zero_division=0
                )
                if (~own).any()
                else 0
                for row in predictions
            ]
            latest = max(
                epoch
                for epoch, score in enumerate(scores)
                if np.isclose(score, max(scores), atol=1e-12)
            )
            assert (chosen[own] == latest).all()
    average, none = choose_predictions(*run, "average")
    assert none is None
    for i, row in enumerate(logits[-max(1, len(logits) // 10) :].transpose(1, 0, 2)):
        shares = [np.exp(epoch) / np.exp(epoch).sum() for epoch in row]
        assert average[i] == np.argmax(sum(shares))
    predicted, epochs = choose_predictions(*run, "best")
    assert all(predicted[i] == predictions[epochs[i], i] for i in range(len(labels)))


@given(runs())
def test_scores_of_counts_are_scikit_learns(run):
    logits, labels, _ = run
    counts = count_confusions(labels, logits.argmax(-1))
    for row, uf1, uar in zip(logits.argmax(-1), *score_confusions(counts)):
        options = dict(labels=range(3), average="macro", zero_division=0)
        assert uf1 == pytest.approx(f1_score(labels, row, **options))
        assert uar == pytest.approx(recall_score(labels, row, **options))
        assert unweighted_scores(labels, row) == (uf1, uar)


def test_best_flatters_chance():
    """What the honest choices are for: on coin tosses, `best` rises far above chance and they do
    not.
    """
    random = np.random.default_rng(0)
    labels, subjects = random.integers(0, 3, 300), np.repeat(np.arange(60), 5).astype(str)
    logits = random.random((200, 300, 3))
    scores = {
        choice: unweighted_scores(labels, choose_predictions(logits, labels, subjects, choice)[0])[
            0
        ]
        for choice in ("last", "average", "others", "best")
    }
    honest = [scores[choice] for choice in ("last", "average", "others")]
    assert scores["best"] > 0.7 and max(honest) < 0.45


def test_unknown_choice():
    with pytest.raises(ValueError, match="last, best, others"):
        choose_epochs(np.zeros((1, 1, 3)), [0], ["a"], "first")
    with pytest.raises(ValueError, match="several epochs.*use choose_predictions"):
        choose_epochs(np.zeros((1, 1, 3)), [0], ["a"], "average")


def test_average_is_of_probabilities_over_the_last_tenth():
    """Of 20 epochs the last two count, of 19 the last one."""
    logits = np.zeros((20, 1, 2))
    logits[:18, 0, 0] = 50
    logits[18, 0], logits[19, 0] = [4, 0], [0, 3.9]
    expected = (1 / (1 + np.exp(-4)) + 1 / (1 + np.exp(3.9))) / 2
    assert average_probabilities(logits)[0] == pytest.approx([expected, 1 - expected])
    assert average_probabilities(logits[:19])[0].argmax() == 0  # of 19 the last one
    assert average_probabilities(logits.astype(np.float16)).dtype == np.float64


def test_bootstrap_holds_the_score_and_is_wider_for_subjects_that_differ():
    random = np.random.default_rng(3)
    labels = random.integers(0, 3, 400)
    predictions = np.where(np.arange(400) < 280, labels, (labels + 1) % 3)
    widths = []
    # errors spread over all, or in some subjects only
    for subjects in (
        np.arange(400) % 40,
        np.arange(400) // 10,
    ):
        intervals = bootstrap_scores(labels, predictions, subjects)
        assert (
            (intervals[:, 0] < unweighted_scores(labels, predictions))
            & (intervals[:, 1] > unweighted_scores(labels, predictions))
        ).all()
        widths.append(intervals[0, 1] - intervals[0, 0])
    assert 0 < widths[0] < 0.05 and widths[1] > 4 * widths[0]
    assert (bootstrap_scores(labels, labels, np.arange(400) % 8) > 0.99).all()


def test_report_of_one_database_has_no_full_row(tmp_path):
    """CASME III runs as its own experiment."""
    composite = Composite(
        names=np.array(["spNO.1_a", "spNO.2_b"]),
        subjects=np.array(["spNO.1", "spNO.2"]),
        databases=np.array(["casme3"] * 2),
        labels=np.array([0, 2]),
        flows=np.zeros((2, 28, 28, 3), np.uint8),
        faces=[None, None],
    )
    logits = np.eye(3)[[[0, 0], [0, 2]]]
    text = write_report(
        tmp_path, composite, logits, np.ones((2, 2)), published={}, heading="run", description=""
    )
    assert "others" not in text and "- `average`: " in text
    assert "CASME III" in text and "Full" not in text
    assert "| last | CASME III | 2 | 2 | 0.6667 |" in text
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "confusion_matrices.png",
        "learning_curves.png",
        "predictions.csv",
        "report.md",
    ]
    assert (tmp_path / "predictions.csv").read_text().splitlines()[
        1
    ] == "spNO.1_a,casme3,spNO.1,0,0,2,0,0,2"
