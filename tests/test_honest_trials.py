"""The trials of the honest recipe: what was compared is what the recipe does."""

import hashlib
import json

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import ROOT

import augmentation
import teacher
from composite_dataset import load_composite, normalize
from facial_areas import find_centres
from inputs import make_inputs, parse_areas
from study import honest_svm, honest_trials
from study.honest_settings import AVERAGES, BASE, SETTINGS


@pytest.fixture(scope="module")
def sample():
    folder = ROOT / "datasets" / "sample"
    composite = load_composite(folder)
    centres, _ = find_centres(composite, folder / "facial_areas.csv")
    return composite, centres


def test_the_list_is_what_it_was():
    assert len(SETTINGS) + len(AVERAGES) == 40
    frozen = json.dumps([BASE, SETTINGS, AVERAGES], sort_keys=True).encode()
    assert hashlib.sha256(frozen).hexdigest().startswith("6721d596f1860ce3")
    assert (BASE["jitter"], BASE["gain"]) == (augmentation.JITTER, augmentation.GAIN)
    assert BASE["mixtures"] == teacher.MIXTURES
    assert all(set(setting) <= set(BASE) for setting in SETTINGS.values())


def test_inputs_mirror_images_and_labels_are_the_recipes(sample):
    composite, centres = sample
    padded = honest_trials.pad(normalize(composite.flows), centres)
    names = parse_areas("all,whole")
    seen = make_inputs(composite.flows, centres, names, True, augmentation.PADDING)
    for setting, part in (("areas", slice(3)), ("whole", slice(3, 6)), ("both", slice(6))):
        inputs = honest_trials.assemble(*padded, BASE | {"inputs": setting})
        assert torch.equal(inputs, make_inputs(composite.flows, centres, names, True)[:, part])
    turned = [honest_trials.mirror(padded[0], 2), honest_trials.mirror(padded[1], 1)]
    inputs = honest_trials.assemble(*turned, BASE | {"inputs": "both"})
    mirrored = augmentation.mirror(seen, teacher.LAYOUT)
    assert torch.equal(inputs, augmentation.crop_tiles(mirrored, teacher.LAYOUT))
    train, labels = np.arange(60), torch.from_numpy(composite.labels)
    machine = honest_trials.Teacher(*(part[train] for part in padded), composite.labels[train])
    decided = machine.decide(*padded).softmax(1)
    assert torch.allclose(decided, teacher.Teacher(seen[train], labels[train], 3).label(seen))


def test_a_pair_of_groups_is_predicted_by_networks_that_saw_neither(sample, monkeypatch):
    composite, centres = sample
    areas, whole = honest_trials.pad(normalize(composite.flows), centres)
    group, trained = honest_trials.split_groups(composite.subjects), []
    assert all(len(set(group[composite.subjects == s])) == 1 for s in set(composite.subjects))
    train = honest_trials.train

    def spy(setting, areas, *arguments):
        trained.append(len(areas))
        return train(setting | {"epochs": 1}, areas, *arguments)

    monkeypatch.setattr(honest_trials, "train", spy)
    names = ["base", "mixup 0.4", "both, warped"]
    predicted = honest_trials.run_pair((0, 1), group, areas, whole, composite.labels, names, 1)
    held_out = int(np.isin(group, (0, 1)).sum())
    assert trained == [len(group) - held_out] * 3
    for name in names:
        assert predicted[name].shape == (held_out, 3)
        assert np.allclose(predicted[name].sum(1), 1, atol=1e-5)


def test_the_nested_machine_is_chosen_without_the_group_that_it_is_scored_on(
    sample, tmp_path, monkeypatch
):
    composite, _ = sample
    choose, predict, seen = honest_svm.choose_setting, honest_svm.predict, []

    def spy(features, labels, subjects):
        seen.append(set(subjects))
        return choose(features, labels, subjects)

    monkeypatch.setattr(honest_svm, "GRID", [("areas", "", 1), honest_svm.TEACHER])
    monkeypatch.setattr(honest_svm, "INNER", 2)
    monkeypatch.setattr(honest_svm, "OUTER", 3)
    monkeypatch.setattr(honest_svm, "choose_setting", spy)
    scored = []

    def note(features, labels, train, test, setting):
        if len(features[0]) == len(composite.labels) and seen:  # of the nested one
            scored.append((len(seen) - 1, set(composite.subjects[test])))
            assert not set(composite.subjects[train]) & scored[-1][1]
        return predict(features, labels, train, test, setting)

    monkeypatch.setattr(honest_svm, "predict", note)
    folder = ROOT / "datasets" / "sample"
    honest_svm.main(["--datasets", str(folder), "--output", str(tmp_path)])
    assert len(seen) == 3 and {name for _, who in scored for name in who} == set(composite.subjects)
    assert all(not who & seen[group] for group, who in scored)
    for name in ("SVM-both-mirrored-14", "SVM-nested"):
        table = pd.read_csv(tmp_path / name / "predictions.csv")
        assert table["name"].tolist() == composite.names.tolist()
        assert table["prediction"].isin([0, 1, 2]).all()
