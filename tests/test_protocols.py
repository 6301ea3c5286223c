"""Leave-one-subject-out, groups of subjects, everybody; and the honest recipe, by the command."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import SMALL, rows

import loso
from composite_dataset import load_composite
from evaluation import choose_epochs


def test_groups_hold_every_subject_out_once(tiny):
    composite = load_composite(tiny)
    folds = loso.split_subjects(composite, (2, 1, 0), groups=3)
    assert [fold.name for fold in folds] == ["group01", "group02", "group03"]
    assert sorted(np.concatenate([fold.test for fold in folds])) == list(range(12))
    for fold in folds:
        held_out = set(composite.subjects[fold.test])
        assert len(held_out) == 2 and not held_out & set(composite.subjects[fold.train])
        assert sorted([*fold.train, *fold.test]) == list(range(12))
        assert np.all(np.diff(composite.labels[fold.train]) <= 0)  # classes 2, 1, 0


def test_folds_are_trained_reported_and_evaluated(tiny, command):
    arguments = ["--folds", "3", "--run", "three", *SMALL]
    status, output, _ = command("--train", "True", *arguments)
    assert status == 0 and output.count("Group group") == 3 and "3 groups so far" in output
    assert "3 groups of subjects, run 'three'" in output and "Published" not in output
    results = tiny.parent / "results" / "three"
    table = pd.read_csv(results / "predictions.csv", dtype={"subject": str})
    epochs = table.groupby("subject")["best_epoch"].first()
    composite = load_composite(tiny)
    for fold in loso.split_subjects(composite, (2, 1, 0), groups=3):
        with np.load(results / "folds" / f"{fold.name}.npz") as stored:
            same = np.full(len(fold.test), fold.name)
            best = choose_epochs(stored["logits"], stored["labels"], same, "best")
        assert set(epochs[composite.subjects[fold.test]]) == {best[0] + 1}
    status, evaluated, _ = command("--train", "False", "--run", "three")
    assert status == 0 and rows(evaluated, "best epoch") == rows(output, "best")


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--folds", "7"], ["FOLDS is 7", "6 subjects"]),
        (["--folds", "3", "--subjects", "s01"], ["SUBJECTS", "FOLDS"]),
        (["--folds", "1"], ["FOLDS"]),
        (["--augment", "True"], ["NORMALIZE"]),
        (["--recipe", "best"], ["RECIPE is 'best'", "honest"]),
        (["--areas", "chin"], ["AREAS is 'chin'"]),
        (["--label_smoothing", "1"], ["LABEL_SMOOTHING"]),
    ],
)
def test_wrong_protocols_are_one_sentence(tiny, command, arguments, words):
    status, _, error = command("--train", "True", *SMALL, *arguments)
    assert status == 2 and error.count("\n") == 1 and all(word in error for word in words)


def test_all_subjects_train_one_network_for_other_peoples_clips(tiny, command):
    arguments = ["--subjects", "all", "--run", "everybody", "--keep", "last", *SMALL]
    status, output, _ = command("--train", "True", *arguments)
    assert status == 0 and "Nobody was held out" in output
    weights = tiny.parent / "weights" / "everybody"
    assert [path.name for path in weights.glob("*.pth")] == ["all.pth"]
    assert torch.load(weights / "all.pth", weights_only=True)["head.bias"].shape == (3,)
    status, output, _ = command("--train", "True", *arguments)
    assert status == 0 and "1 of 1 folds were finished before" in output
    status, _, error = command("--train", "False", *arguments)
    assert status == 2 and error.count("\n") == 1


def test_the_honest_recipe_is_a_preset_that_any_constant_outdoes(tiny, command):
    arguments = ["--recipe", "honest", "--epochs", "2", "--keep", "none"]
    status, output, _ = command("--train", "True", *arguments, "--label_smoothing", "0.3")
    assert status == 0 and "Preset honest: " in output
    record = json.loads((tiny.parent / "results" / "HTNet-honest" / "settings.json").read_text())
    settings = record["settings"]
    assert settings["AUGMENT"] and settings["NORMALIZE"] and settings["SCHEDULE"] == "cosine"
    assert settings["EPOCHS"] == 2 and settings["LABEL_SMOOTHING"] == 0.3
    with np.load(tiny.parent / "results" / "HTNet-honest" / "folds" / "s01.npz") as stored:
        first = stored["logits"]
    command("--train", "True", *arguments, "--label_smoothing", "0.3", "--run", "again")
    with np.load(tiny.parent / "results" / "again" / "folds" / "s01.npz") as stored:
        assert np.array_equal(first, stored["logits"])  # the views are seeded
