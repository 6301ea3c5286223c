"""The study's paired tests, and its support vector machines."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import refusal
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from composite_dataset import INDEX_NAME, load_composite
from evaluation import CHOICES, unweighted_scores
from study import (
    comparisons,
    experiments,
    svm,
    tables,
)
from study.paired import compare, correct_holm, exchange


def test_paired_test_finds_what_is_there(monkeypatch):
    random = np.random.default_rng(0)
    subjects, labels = np.repeat(np.arange(40).astype(str), 6), random.integers(0, 3, 240)

    def table(share):  # right for this share of the samples
        wrong = random.random(240) > share
        return pd.DataFrame(
            {"subject": subjects, "label": labels, "prediction": (labels + wrong) % 3}
        )

    made = {
        "good": {1: table(0.9)},
        "also good": {1: table(0.9)},
        "bad": {1: table(0.6), 2: table(0.6)},
        "elsewhere": {3: table(0.6)},
        "machine": {None: table(0.6)},
    }
    monkeypatch.setattr(comparisons, "read_predictions", lambda name, choice: made[name])
    monkeypatch.setattr(comparisons, "name_row", str)
    text = tables.tabulate_pairs(
        [
            ("good", "bad"),
            ("also good", "good"),
            ("good", "good"),
            ("bad", "machine"),
            ("good", "elsewhere"),
        ]
    )
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()[2:]]
    assert [row[1] for row in rows] == ["1", "1", "1", "1, 2"]  # no seed in common: no row
    differences, p, corrected = (
        [float(row[column].removeprefix("< ")) for row in rows] for column in (2, 4, 5)
    )
    assert differences[0] > 0.2 and p[0] < 0.001
    assert corrected == pytest.approx(correct_holm(p), abs=4e-4)
    assert abs(differences[1]) < 0.06 and p[1] > 0.05
    assert differences[2] == 0 and p[2] == corrected[2] == 1
    # no seed in common: every seed beside every other
    lines = tables.tabulate_pairs([("bad", "elsewhere")], every_seed=True).splitlines()
    assert lines[2].split(" | ")[1] == "1, 2 / 3"
    made["bad"][1] = made["bad"][1].assign(label=made["bad"][1]["label"].to_numpy()[::-1])
    with pytest.raises(SystemExit, match="seeds of bad are not of the same samples"):
        tables.tabulate_pairs([("bad", "machine")])


def test_holm():
    assert correct_holm([0.04, 0.01, 0.011]) == pytest.approx([0.04, 0.03, 0.03])
    assert correct_holm([0.5, 0.02, 0.6]) == pytest.approx([1, 0.06, 1])


def pooled_uf1(counts):
    """By scikit-learn, from confusion counts [C, C]."""
    truth, predicted = (
        np.repeat(classes.ravel(), counts.ravel()) for classes in np.indices((3, 3))
    )
    return f1_score(truth, predicted, labels=range(3), average="macro", zero_division=0)


@given(st.integers(0, 10_000), st.integers(1, 3))
@settings(max_examples=8)
def test_compared_is_of_the_means_over_seeds(seed, seeds):
    a, b = np.random.default_rng(seed).integers(0, 4, (2, seeds, 12, 3, 3))
    result = compare(a, b)
    assert result["difference"] == pytest.approx(
        np.mean([pooled_uf1(one.sum(0)) for one in a])
        - np.mean([pooled_uf1(one.sum(0)) for one in b])
    )
    opposite = compare(b, a)
    assert opposite["difference"] == pytest.approx(-result["difference"])
    assert exchange(b, a) == exchange(a, b) and opposite["seen"] == pytest.approx(result["seen"])
    assert opposite["interval"][::-1] == pytest.approx(-result["interval"])
    # Repeating seeds says nothing new.
    again = compare(np.concatenate([a, a]), np.concatenate([b, b]))
    both = exchange(np.concatenate([a, a]), np.concatenate([b, b]))
    assert both == exchange(a, b) and again["interval"] == pytest.approx(result["interval"])


def test_compared_where_nothing_differs():
    """p of two methods that err alike is uniform; what could be seen is a difference that is found
    in four cases of five.
    """
    random = np.random.default_rng(2)
    p = [exchange(*random.integers(0, 3, (2, 1, 15, 3, 3))) for _ in range(60)]
    assert 0.3 < np.mean(p) < 0.7 and 0 < np.mean(np.array(p) < 0.25) < 0.5

    def draw(share):
        right = random.binomial(6, share, (1, 60, 3))
        return np.stack([np.diag(row) for row in right[0]])[None] + np.roll(
            np.stack([np.diag(6 - row) for row in right[0]]), 1, axis=-1
        )

    seen = compare(draw(0.6), draw(0.6))["seen"]
    found = [exchange(draw(0.6 + seen), draw(0.6)) < 0.05 for _ in range(40)]
    assert 0.6 < np.mean(found) < 0.97


def test_full_size_networks_are_a_family_of_their_own(tmp_path, monkeypatch):
    def row_of_the_narrow():
        return tables.tabulate_pairs(
            [("STSTNet", "STSTNet-order210"), ("HTNet", "STSTNet")]
        ).splitlines()[2]

    monkeypatch.setattr(experiments, "RESULTS", tmp_path)
    random, label = np.random.default_rng(0), np.tile([0, 1, 2], 20)
    for name, right in (
        ("STSTNet-seed1", 0.8),
        ("STSTNet-order210-seed1", 0.6),
        ("HTNet-seed1", 0.7),
    ):
        before = row_of_the_narrow() if name[0] == "H" else None
        predicted = (label + (random.random(60) > right)) % 3
        table = pd.DataFrame(
            {"name": range(60), "subject": np.repeat(range(12), 5), "label": label}
        )
        (tmp_path / name).mkdir()
        table.assign(**dict.fromkeys(CHOICES, predicted)).to_csv(
            tmp_path / name / "predictions.csv", index=False
        )
    assert row_of_the_narrow() == before
    assert "HTNet, order 210 − STSTNet" in tables.tabulate_pairs(
        [("STSTNet", "STSTNet-order210"), ("HTNet", "STSTNet")]
    )


def test_support_vector_machine_without_data(tmp_path, monkeypatch, capsys):
    assert f"{tmp_path} holds no {INDEX_NAME}" in refusal(
        svm.main, ["--datasets", tmp_path], monkeypatch, capsys
    )


def test_support_vector_machine(real_datasets):
    composite = load_composite(real_datasets)
    inputs = svm.make_features(composite, "normalized", 7, None)
    assert inputs.shape == (442, 147)
    predicted = svm.predict_held_out(composite, inputs)
    assert np.round(unweighted_scores(composite.labels, predicted), 2).tolist() == [0.76, 0.77]
    stored = pd.read_csv(
        Path(experiments.RESULTS) / "SVM-whole-normalized-7" / "predictions.csv"
    ).set_index("name")
    assert (stored.loc[composite.names, "prediction"] == predicted).mean() > 0.99
