"""Leave-one-subject-out, groups of subjects, everybody; and the honest recipe, by the command."""

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import SMALL, rows

import loso
import main_HTNet
import teacher
from composite_dataset import FLOW_FOLDER, INDEX_NAME, load_composite
from evaluation import choose_epochs
from run import check_subjects
from support.files import BadInput


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
    for run in ([], ["--run", "everybody"]):
        status, _, error = command("--train", "False", *(run or arguments))
        assert status == 2 and error.count("\n") == 1
    assert "all.pth was trained on everybody" in error


def test_a_subject_named_all_is_refused():
    settings = SimpleNamespace(DATASETS="datasets", SUBJECTS=(), FOLDS=0)
    with pytest.raises(BadInput, match="datasets has a subject named 'all'"):
        check_subjects(settings, SimpleNamespace(subjects=["all", "s01"]))


def test_the_honest_recipe_is_a_preset_that_any_constant_outdoes(tiny, command, monkeypatch):
    monkeypatch.setattr(teacher, "MIXTURES", 40)
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


HONEST = ["--recipe", "honest", "--epochs", "4", "--subjects", "s01", "--keep", "none"]


def test_each_part_of_the_honest_recipe_changes_the_training(tiny, command, monkeypatch):
    monkeypatch.setattr(teacher, "MIXTURES", 20)
    changes = {
        "nothing": [],
        "teacher": ["--teacher", "False"],
        "augment": ["--augment", "False"],
        "shuffle": ["--shuffle", "False"],
        "schedule": ["--schedule", "constant"],
        "decay": ["--weight_decay", "0.9"],
        "smoothing": ["--label_smoothing", "0.3"],
        "areas": ["--areas", "whole"],
    }
    logits = {}
    for run, options in changes.items():
        assert command("--train", "True", *HONEST, "--run", run, *options)[0] == 0
        with np.load(tiny.parent / "results" / run / "folds" / "s01.npz") as stored:
            logits[run] = stored["logits"]
    for run in list(changes)[1:]:
        assert np.abs(logits[run] - logits["nothing"]).max() > 1e-5, run


def test_the_teacher_and_the_views_never_see_the_held_out_subject(tiny, command, monkeypatch):
    composite = load_composite(tiny)
    taught = []

    def teach(seen, inputs, labels, num_classes, seed):
        taught.append((len(seen), len(inputs), labels.tolist(), num_classes))
        return inputs, torch.nn.functional.one_hot(labels, num_classes).float()

    monkeypatch.setattr(main_HTNet, "teach", teach)
    command("--train", "True", *HONEST)
    others = composite.labels[composite.subjects != "s01"]
    assert taught == [(10, 10, sorted(others.tolist(), reverse=True), 3)]


def test_classes_count_the_same_also_where_one_is_absent():
    weights = loso.balance_classes(torch.tensor([0, 0, 0, 1]), 3)
    assert weights.tolist() == pytest.approx([2 / 3, 2.0, 2.0])  # 4 / (2 classes x samples)
    assert (weights * torch.tensor([3, 1, 0])).sum() == 4


def test_honest_weights_of_either_network_know_their_data(tiny, command, monkeypatch):
    """STSTNet sees no areas, but its teacher does: the data's hash holds them in both modes."""
    monkeypatch.setattr(teacher, "MIXTURES", 20)
    arguments = ["--model", "STSTNet", "--recipe", "honest", "--folds", "3", "--epochs", "1"]
    assert command("--train", "True", *arguments, "--run", "taught")[0] == 0
    status, output, _ = command("--train", "False", "--model", "STSTNet", "--run", "taught")
    assert status == 0 and "other data" not in output


def test_groups_of_other_data_are_not_evaluated(tiny, command):
    """The groups are cut from the data: another cut would score networks on those they saw."""
    assert command("--train", "True", "--folds", "3", "--run", "three", *SMALL)[0] == 0
    index = tiny / INDEX_NAME
    index.write_text("".join(line for line in index.open() if not line.startswith("smic,s02")))
    for path in (tiny / FLOW_FOLDER).glob("s02*"):
        path.unlink()
    status, _, error = command("--train", "False", "--run", "three")
    assert status == 2 and "groups of other data" in error and error.count("\n") == 1
