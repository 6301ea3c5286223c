"""The honest recipe's teacher."""

import numpy as np
import pytest
import torch
from conftest import ROOT

import teacher
from augmentation import PADDING, mirror
from composite_dataset import load_composite
from facial_areas import find_centres
from inputs import make_inputs, parse_areas
from support.files import BadInput
from teacher import LAYOUT, Teacher, shrink, teach


@pytest.fixture(scope="module")
def sample():
    """What the teacher sees of the synthetic sample, and its labels."""
    folder = ROOT / "datasets" / "sample"
    composite = load_composite(folder)
    centres, _ = find_centres(composite, folder / "facial_areas.csv")
    seen = make_inputs(composite.flows, centres, parse_areas("all,whole"), True, PADDING)
    return seen, torch.from_numpy(composite.labels)


def test_features_are_maps_at_14x14_with_their_magnitude(sample):
    seen = torch.zeros(1, 6, 32, 32)
    seen[:, 1], seen[:, 2] = 3.0, -4.0  # v and u of the mosaic; the whole map does not move
    features = shrink(seen).reshape(2, 4, 14, 14)
    assert (features[0, 3] == 5).all() and (features[0, 2] == -4).all() and not features[1].any()
    assert shrink(sample[0]).shape == (108, 2 * 4 * 14 * 14)


def test_a_face_and_its_mirror_image_get_the_same_label(sample):
    seen, labels = sample
    machine = Teacher(seen[:80], labels[:80], 3)
    probabilities = machine.label(seen[80:])
    assert torch.allclose(probabilities, machine.label(mirror(seen[80:], LAYOUT)), atol=1e-5)
    assert torch.allclose(probabilities.sum(1), torch.ones(28))
    assert (probabilities.argmax(1) == labels[80:]).float().mean() > 0.8


def test_mixtures_are_weighted_means_of_two_training_samples(sample, monkeypatch):
    monkeypatch.setattr(teacher, "MIXTURES", 50)
    seen, labels = sample[0][:30], sample[1][:30]
    numbers = torch.eye(30)[:, :, None, None]  # a channel for each sample: shares can be read off
    inputs, probabilities = teach(seen, numbers, labels, 3, 7)
    shares = inputs[30:, :, 0, 0]
    assert torch.equal(inputs[:30], numbers) and len(inputs) == len(probabilities) == 80
    assert torch.allclose(shares.sum(1), torch.ones(50)) and (shares >= 0).all()
    assert ((shares > 0).sum(1) <= 2).all() and 0.2 < shares.max(1).values.mean() < 0.9
    mixed = torch.einsum("mn,nchw->mchw", shares, seen)
    expected = Teacher(seen, labels, 3).label(mixed)
    assert torch.allclose(probabilities[30:], expected, atol=1e-4)
    assert torch.equal(teach(seen, numbers, labels, 3, 7)[0], inputs)
    assert not torch.equal(teach(seen, numbers, labels, 3, 8)[0], inputs)


@pytest.mark.parametrize("there", [(0, 2), (1, 2), (0, 1)])
def test_a_class_that_the_training_samples_lack_is_never_taught(sample, there):
    seen, labels = sample
    some = np.isin(labels, there)
    probabilities = Teacher(seen[some], labels[some], 3).label(seen[some])
    absent = ({0, 1, 2} - set(there)).pop()
    assert not probabilities[:, absent].any()
    assert (probabilities.argmax(1) == labels[some]).float().mean() > 0.9


def test_a_single_class_is_refused(sample):
    seen, labels = sample
    with pytest.raises(BadInput, match="TEACHER"):
        Teacher(seen[labels == 1], labels[labels == 1], 3)
