"""Which epoch counts? The study's answers on runs whose answer is known, and the nested choice."""

import json
import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import make_datasets

from evaluation import count_confusions, unweighted_scores
from study import choice_tables, choices, experiments, nested, part_tables
from study.choices import (
    compare_others,
    compute_uf1,
    count_across,
    count_late,
    count_own_half,
    score_best_of,
    score_chosen,
    score_counts,
    score_epochs,
    score_others,
    score_split,
)

SUBJECTS = np.repeat([f"{i:02}" for i in range(30)], 6)
LABELS = np.tile([0, 1, 2], 60)


def make_run(right, seed=0):
    """A run whose predictions are right with the chance right [E, 1] or [E, N]."""
    random = np.random.default_rng(seed)
    wrong = random.random(np.broadcast_shapes(np.shape(right), (1, 180))) > right
    predicted = (LABELS + wrong * random.integers(1, 3, wrong.shape)) % 3
    return {"labels": LABELS, "subjects": SUBJECTS, "predicted": predicted}


def test_noise_that_best_picks_does_not_carry_over():
    """Every epoch is as good as any other: `best` gains, an epoch of another seed does not."""
    runs = [make_run(np.full((60, 1), 0.6), seed) for seed in range(3)]
    best = score_chosen(runs[0], choices.choose_best(runs[0]))
    assert best > 0.85
    late = score_counts(count_late(runs[0]))
    assert score_counts(count_across(runs)) == pytest.approx(late, abs=0.03)
    assert score_split(runs[0]) == pytest.approx(late, abs=0.04)
    assert score_counts(count_own_half(runs[0])) == pytest.approx(late, abs=0.03)
    of_few = [score_best_of(runs[0], k) for k in (1, 5, 30)]
    assert of_few[0] == pytest.approx(late, abs=0.01)
    assert of_few[0] + 0.1 < of_few[1] < of_few[2] - 0.02
    assert score_counts(count_across(runs[:1])) is None


def test_the_table_of_what_carries_over_tells_noise_from_a_gain(monkeypatch):
    runs = [make_run(np.full((60, 1), 0.6), seed) for seed in range(3)]
    monkeypatch.setattr(choice_tables, "read_runs", lambda name: runs)
    cells = list(choice_tables.describe_carried(["STSTNet"])["STSTNet"].values())[2:]
    intervals = [re.search(r"\(([+-][\d.]+) to ([+-][\d.]+)\)", cell).groups() for cell in cells]
    *blind, (best_low, _) = np.float64(intervals)  # the last epoch, another seed, the other half
    assert len(blind) == 3 and all(low < 0 < high for low, high in blind) and best_low > 0.1


def test_epochs_that_are_good_for_a_subject_would_be_found():
    """Were there such epochs, another seed would find them: the test of `best` can fail."""
    good = np.random.default_rng(0).integers(0, 60, 30)
    right = np.full((60, 180), 0.55)
    right[good[np.repeat(np.arange(30), 6)], np.arange(180)] = 1
    runs = [make_run(right, seed) for seed in range(3)]
    assert score_counts(count_across(runs)) > score_counts(count_late(runs[0])) + 0.2
    # half of a subject is three samples: few epochs, so that chance alone seldom has them right
    right = np.full((12, 180), 0.3)
    right[np.repeat(good % 12, 6), np.arange(180)] = 1
    run = make_run(right)
    assert score_counts(count_own_half(run)) > score_counts(count_late(run)) + 0.3


def test_a_subject_with_one_sample_takes_a_late_epoch():
    """Right in the first half of the epochs only: chosen there, were it chosen by its label."""
    right = np.repeat([[1.0], [0.0]], 20, axis=0)
    run = make_run(right) | {"subjects": np.arange(180).astype(str)}
    assert score_counts(count_own_half(run)) == 0


def test_a_common_epoch_that_is_good_is_found_by_the_other_half():
    right = np.full((40, 1), 0.5)
    right[25] = 0.8
    run = make_run(right)
    assert score_split(run) == pytest.approx(score_epochs(run)[25], abs=0.01)
    assert score_epochs(run).argmax() == 25


def test_others_of_every_subject_once_is_that_of_the_epoch_choice():
    run = make_run(np.linspace(0.4, 0.7, 12)[:, None])
    person = np.unique(SUBJECTS, return_inverse=True)[1]
    counts = count_confusions(LABELS, run["predicted"], person, 30)
    assert score_others(counts, np.ones(30, int)) == pytest.approx(choices.PER_RUN["others"](run))
    doubled = np.ones(30, int)
    doubled[3] = 2  # both copies are left out where subject 3's epoch is chosen
    assert 0 < score_others(counts, doubled) < 1
    difference, (low, high) = compare_others([run], [run], draws=20)
    assert difference == low == high == 0


def test_marked_choices_of_the_committed_runs():
    """Computed here by a plain loop: `best` of seed 1 scored by seed 2's predictions, and so on."""
    runs = experiments.read_runs("HTNet-dim16")
    scores = []
    for run in runs:
        for other in runs:
            if run is other:
                continue
            predicted = np.empty(442, int)
            for subject in set(run["subjects"]):
                own = run["subjects"] == subject
                hits = (other["predicted"][:, own] == run["labels"][own]).sum(1)
                latest = max(np.flatnonzero(hits == hits.max()))
                predicted[own] = run["predicted"][latest, own]
            scores.append(unweighted_scores(run["labels"], predicted)[0])
    assert compute_uf1("HTNet-dim16", "across") == pytest.approx(np.mean(scores))
    with pytest.raises(SystemExit, match="no epochs to choose from"):
        compute_uf1("SVM-areas-pixels-14", "late")


def write_packed(folder, run, names=None):
    """A packed run with the files that the tables read."""
    folder.mkdir(parents=True)
    names = [f"{i:03}" for i in range(len(run["labels"]))] if names is None else names
    epochs = len(run["predicted"])
    np.savez(folder / "epochs.npz", names=names, losses=np.zeros(epochs), **run)
    table = pd.DataFrame({"name": names, "subject": run["subjects"], "label": run["labels"]})
    best = run["predicted"][choices.choose_best(run), np.arange(len(names))]
    columns = {"last": run["predicted"][-1], "average": run["predicted"][-1], "best": best}
    table.assign(**columns).to_csv(folder / "predictions.csv", index=False)


@pytest.mark.parametrize(
    "right, refuted", [(0.55, "refuted"), (0.9, "not refuted")], ids=["low", "high"]
)
def test_rules_are_applied(right, refuted, tmp_path, monkeypatch):
    monkeypatch.setattr(experiments, "RESULTS", tmp_path)
    for seed in (1, 2):
        run = make_run(np.full((40, 1), right), seed)
        write_packed(tmp_path / f"HTNet-epochs200-seed{seed}", run)
    write_packed(tmp_path / "HTNet-dim64-seed1", make_run(np.full((40, 1), right)))
    rows = {
        line.split("|")[1].strip(): [cell.strip() for cell in line.split("|")[2:-1]]
        for line in choice_tables.tabulate_rules().splitlines()[2:]
    }
    wide, narrow = (
        rows["HTNet, dim 256, 200 epochs, order 210 (2)"],
        rows["HTNet, dim 64, order 210 (1)"],
    )
    assert wide[2] == narrow[2] == refuted
    assert wide[4] == "stands" and narrow[4] == "open (one seed)"
    assert len(rows) == 2  # what has not been run has no row


def test_some_subjects_trained_longer_are_swapped_in(tmp_path, monkeypatch):
    monkeypatch.setattr(experiments, "RESULTS", tmp_path)
    assert part_tables.tabulate_longer() == "Not run yet."
    shorter, longer = make_run(np.full((10, 1), 0.5)), make_run(np.full((40, 1), 1.0))
    few = np.isin(SUBJECTS, ["03", "07"])
    longer["predicted"][28, 18] = (LABELS[18] + 1) % 3  # the 29th epoch, wrong once
    part = {
        "labels": LABELS[few],
        "subjects": SUBJECTS[few],
        "predicted": longer["predicted"][:, few],
    }
    write_packed(tmp_path / "HTNet-epochs200-seed1", shorter)
    names = [f"{i:03}" for i in np.flatnonzero(few)]
    write_packed(tmp_path / "HTNet-epochs800-seed1", part, names)
    experiments.check_names()
    lines = part_tables.tabulate_longer().splitlines()
    last = [cell.strip() for cell in lines[2].split("|")]
    before = shorter["predicted"][-1]
    swapped = np.where(few, LABELS, before)
    assert last[2] == f"{unweighted_scores(LABELS[few], before[few])[0]:.4f}"
    assert last[3] == "1.0000" and last[5] == f"{unweighted_scores(LABELS, swapped)[0]:.4f}"
    wrong = 1 - unweighted_scores(LABELS[few], before[few])[0]
    assert last[6] == f"{wrong:+.4f}"
    assert f": {np.sum(before[few] != LABELS[few])} of 12. " in lines[-1]
    assert lines[-1].endswith(" changes: 30.")


def test_runs_of_other_samples_are_not_compared(tmp_path, monkeypatch):
    monkeypatch.setattr(experiments, "RESULTS", tmp_path)
    run = make_run(np.full((10, 1), 0.5))
    write_packed(tmp_path / "HTNet-epochs200-seed1", run)
    others = [f"other{i:03}" for i in range(180)]
    write_packed(tmp_path / "HTNet-epochs800-seed1", run, others)
    with pytest.raises(SystemExit, match="are not of the same samples"):
        part_tables.tabulate_longer()


def test_the_longer_training_begins_as_the_shorter():
    """docs/tables.md: the 800 epochs of two subjects are the second seed's networks, trained on."""
    longer, shorter = (
        np.load(experiments.RESULTS / f"HTNet-epochs{epochs}-float32-seed2" / "epochs.npz")
        for epochs in (800, 200)
    )
    place = [list(shorter["names"]).index(name) for name in longer["names"]]
    assert len(place) == 70
    for key in ("predicted", "logits"):
        assert np.array_equal(longer[key][:200], shorter[key][:, place])


@pytest.mark.parametrize("shared", [False, True], ids=["chance", "epochs-that-are-good"])
def test_a_second_seed_of_some_subjects(shared, tmp_path, monkeypatch):
    """Where an epoch is good for a subject in both seeds, the other seed finds it."""
    monkeypatch.setattr(experiments, "RESULTS", tmp_path)
    assert part_tables.tabulate_second_seed() == "Not run yet."
    right = np.full((60, 180), 0.6)
    if shared:  # each subject has late epochs of its own in which its predictions are right
        right[np.random.default_rng(5).integers(30, 60, 30).repeat(6), np.arange(180)] = 1.0
    first, second = make_run(right, seed=1), make_run(right, seed=2)
    few = SUBJECTS.astype(int) % 3 > 0
    write_packed(tmp_path / "HTNet-epochs200-seed1", first)
    part = {key: second[key][..., few] for key in second}
    names = [f"{i:03}" for i in np.flatnonzero(few)]
    write_packed(tmp_path / "HTNet-epochs200-float32-seed2", part, names)
    rows = part_tables.tabulate_second_seed().splitlines()[2:]
    cells = {row.split("|")[1].strip(): row.split("|")[2:4] for row in rows}
    blind = np.mean(
        [
            unweighted_scores(LABELS[few], epoch)[0]
            for run in (first, second)
            for epoch in run["predicted"][30:, few]
        ]
    )
    assert float(cells["mean"][0]) == pytest.approx(blind, abs=1e-4)
    gains = {way: float(cell[1].split()[0]) for way, cell in list(cells.items())[1:]}
    assert gains["any epoch, chosen on the test samples (`best`)"] > 0.2
    assert gains["chosen on the test samples"] > 0.2
    for way in ("chosen by another seed", "any epoch, chosen by another seed"):
        assert gains[way] > 0.2 if shared else abs(gains[way]) < 0.05
    assert "the last epoch" in gains and "chosen on the other half" in gains


def test_predictions_lost_by_rounding_are_restored():
    full = np.array([[[0.1, 2.00001, 2.0], [1.0, 0.0, 0.5]]], np.float32)
    run = {"logits": full.astype(np.float16), "predicted": full.argmax(-1)}
    run["logits"][0, 0, 2] = 2.0
    run["predicted"][0, 0] = 2
    restored = experiments.restore_logits(run)
    assert (restored.argmax(-1) == [[2, 0]]).all() and np.abs(restored - full).max() < 1e-3


def test_the_nested_choice(tmp_path, monkeypatch, capsys):
    """Two epochs at dim 8 on the tiny composite; a run that was stopped goes on."""
    make_datasets(tmp_path / "datasets")
    output = tmp_path / "docs"
    arguments = ["--datasets", tmp_path / "datasets", "--output", output, "--dim", 8]
    arguments = [str(word) for word in (*arguments, "--epochs", 2, "--precision", "float32")]
    nested.main(arguments)
    folder = output / "HTNet-dim64-nested-seed1"
    table = pd.read_csv(folder / "predictions.csv", dtype={"subject": str})
    assert len(table) == 12 and table["nested_epoch"].between(1, 2).all()
    assert table.groupby("subject")["nested_epoch"].nunique().eq(1).all()
    late = table[table["nested_epoch"] == 2]
    assert (late["nested"] == late["last"]).all()
    assert json.loads((folder / "settings.json").read_text())["dim"] == 8

    times = {path.name: path.stat().st_mtime_ns for path in (folder / "folds").iterdir()}
    (folder / "folds" / "s01.npz").unlink()
    capsys.readouterr()
    nested.main(arguments)
    assert capsys.readouterr().out.count(": epoch ") == 1
    again = {path.name: path.stat().st_mtime_ns for path in (folder / "folds").iterdir()}
    assert {name for name in times if again[name] != times[name]} == {"s01.npz"}
    assert table.equals(pd.read_csv(folder / "predictions.csv", dtype={"subject": str}))
    with pytest.raises(SystemExit) as stopped:
        nested.main([*arguments, "--epochs", "3"])
    assert stopped.value.code == 2 and "of other settings or data" in capsys.readouterr().err
    for damaged in (b"", b"no archive"):
        (folder / "folds" / "s01.npz").write_bytes(damaged)
        with pytest.raises(SystemExit) as stopped:
            nested.main(arguments)
        assert (
            stopped.value.code == 2 and "s01.npz is missing or damaged" in capsys.readouterr().err
        )

    monkeypatch.setattr(experiments, "RESULTS", output)
    experiments.check_names()
    with pytest.raises(SystemExit, match="seed1 is of another .*dim"):
        nested.tabulate()
    monkeypatch.setattr(nested, "STUDY", {"dim": 8, "epochs": 2})
    uf1 = unweighted_scores(table["label"], table["nested"])[0]
    assert f"| nested | 1 | {uf1:.4f} |" in nested.tabulate()
    last = unweighted_scores(table["label"], table["last"])[0]
    assert f"nested − last: {uf1 - last:+.4f} (95 % " in nested.tabulate()


def test_inner_subjects_are_neither_trained_on_nor_scored(real_datasets):
    composite = nested.load_composite(real_datasets)
    for fold in nested.loso.split_subjects(composite, (2, 1, 0))[::20]:
        trained, inner = nested.split_inner(composite, fold, 1)
        people = [set(composite.subjects[part]) for part in (fold.test, trained, inner)]
        assert not (people[0] & people[1] or people[0] & people[2] or people[1] & people[2])
        assert len(set.union(*people)) == 68 and 12 <= len(people[2]) <= 15
        assert set(composite.databases[inner]) == {"casme2", "samm", "smic"}
        order = [list(fold.train).index(i) for i in trained]
        assert order == sorted(order)


def test_the_inner_subjects_epoch_counts():
    labels = np.array([0, 1, 2, 0])
    predicted = np.array([[0, 1, 2, 1], [0, 1, 2, 0], [0, 1, 2, 0], [2, 1, 2, 0]])
    assert nested.choose_epoch(np.eye(3)[predicted], labels) == 2


def test_the_epoch_is_chosen_on_the_inner_subjects_logits_alone(real_datasets, monkeypatch):
    """The held-out subject's predictions are right at epoch 0, the inner ones' at epoch 1."""
    composite = nested.load_composite(real_datasets)
    fold = nested.loso.split_subjects(composite, (2, 1, 0))[5]

    def train_fold(model, inputs, labels, test_inputs, test_labels, **_):
        right, size = np.eye(3)[test_labels.numpy()], len(fold.test)
        logits = np.stack([right, right])
        logits[0, size:], logits[1, :size] = -right[size:], -right[:size]
        return nested.loso.FoldResult(torch.from_numpy(logits), torch.zeros(2), None, None)

    monkeypatch.setattr(nested.loso, "train_fold", train_fold)
    inputs, device = torch.zeros(442, 3, 28, 28), torch.device("cpu")
    settings = SimpleNamespace(seed=1, dim=8, epochs=2, precision="float32")
    arrays = nested.train(composite, inputs, fold, settings, device)
    assert arrays["epoch"] == 1 and arrays["logits"].shape == (2, len(fold.test), 3)
    assert (arrays["logits"][0].argmax(-1) == composite.labels[fold.test]).all()
