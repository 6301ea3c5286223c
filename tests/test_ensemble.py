"""The ensemble does with its inputs what its weights' own recipe did."""

import pytest
import torch

import main_HTNet
from recognition.ensemble import Ensemble, build_network, load_ensemble
from support.files import BadInput
from support.shipped_weights import write_shipped


def make_record(**settings):
    """The record of a small network's run."""
    plain = {name: getattr(main_HTNet, name) for name in main_HTNet.CONSTANTS}
    small = {"DIM": 8, "HEADS": 2, "BLOCK_REPEATS": [1, 1, 1]}
    return {"settings": plain | small | settings, "data": ""}


def make_ensemble(record):
    torch.manual_seed(0)
    networks = [build_network(record) for _ in range(2)]
    return Ensemble(networks, record, "small", "", torch.zeros(3, 28, 28)).eval()


@torch.no_grad()
def test_the_mirror_image_belongs_to_augmented_weights_alone():
    """Inputs of 0 to 255 have their zero motion in the middle: there, -u is no mirrored face."""
    inputs = torch.rand(4, 3, 28, 28)
    for augmented in (False, True):
        ensemble = make_ensemble(make_record(NORMALIZE=augmented, AUGMENT=augmented))
        alone = torch.stack([member(inputs).softmax(-1) for member in ensemble.members])
        same = torch.allclose(ensemble.member_probabilities(inputs), alone, atol=1e-6)
        assert same != augmented


def save(path, record):
    networks = [build_network(record) for _ in range(2)]
    states = {f"seed{n}": network.state_dict() for n, network in enumerate(networks)}
    write_shipped(path, networks[0], states, record, baseline=torch.zeros(3, 28, 28))
    return path


@pytest.mark.parametrize(
    "settings, reason",
    [
        ({"AREAS": "whole"}, "other areas than the four"),
        ({"AREAS": "left_lip,right_lip"}, "other areas than the four"),
        ({"AUGMENT": True}, "AUGMENT needs NORMALIZE"),
    ],
)
def test_weights_of_another_recipe_are_refused(tmp_path, settings, reason):
    path = save(tmp_path / "other.safetensors", make_record(**settings))
    with pytest.raises(BadInput, match=f"other.safetensors .*{reason}"):
        load_ensemble(path)


def test_weights_of_the_four_areas_are_taken(tmp_path):
    record = make_record(NORMALIZE=True, AUGMENT=True)
    assert len(load_ensemble(save(tmp_path / "four.safetensors", record)).members) == 2
