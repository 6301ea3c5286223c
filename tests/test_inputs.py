"""What the networks see."""

import numpy as np
import pytest
import torch

from facial_areas import AREAS, crop_areas
from inputs import list_layout, make_inputs, parse_areas
from support.files import BadInput

CENTRES = np.array([[[8, 7], [9, 20], [20, 8], [21, 18]]] * 2)


@pytest.fixture
def flows():
    return np.random.default_rng(1).integers(0, 256, (2, 28, 28, 3)).astype(np.uint8)


def test_all_is_the_papers_mosaic_as_it_is(flows):
    inputs = make_inputs(flows, CENTRES, parse_areas("all"))
    for image, flow in zip(inputs, flows):
        mosaic = crop_areas(flow, CENTRES[0])
        assert np.array_equal(image.permute(1, 2, 0).numpy(), mosaic)


@pytest.mark.parametrize("normalized", [False, True])
def test_areas_that_are_left_out_show_no_motion(flows, normalized):
    full = make_inputs(flows, CENTRES, parse_areas("all"), normalized)
    some = make_inputs(flows, CENTRES, parse_areas("right_eye, left_lip"), normalized)
    assert torch.equal(some[:, :, 14:, :14], full[:, :, 14:, :14])  # the right eye's tile
    assert torch.equal(some[:, :, :14, 14:], full[:, :, :14, 14:])  # the left lip's
    still = np.zeros((2, 3)) if normalized else np.median(flows, axis=(1, 2))
    for rows, cols in ((slice(14), slice(14)), (slice(14, 28), slice(14, 28))):
        rest = some[:, :, rows, cols]
        expected = torch.tensor(still, dtype=torch.float32)[..., None, None]
        assert torch.allclose(rest, expected.expand_as(rest), atol=1e-6)


def test_whole_maps_and_the_nose_come_as_further_channels(flows):
    both = make_inputs(flows, CENTRES, parse_areas("all,whole"))
    assert torch.equal(both[:, :3], make_inputs(flows, CENTRES, parse_areas("all")))
    assert np.array_equal(both[:, 3:].permute(0, 2, 3, 1).numpy(), flows)
    nose = make_inputs(flows, CENTRES, parse_areas("all,nose"))[:, 3:]
    tile = flows[:, 14 - 7 : 14 + 7, 13 - 7 : 13 + 7]  # the centres' mean, (14.5, 13.25), rounded
    for rows, cols in (
        (a, b) for a in (slice(14), slice(14, 28)) for b in (slice(14), slice(14, 28))
    ):
        assert np.array_equal(nose[:, :, rows, cols].permute(0, 2, 3, 1).numpy(), tile)


def test_layouts():
    names = {"all": (2,), "left_eye": (2,), "whole": (1,), "all,whole": (2, 1), "all,nose": (2, 2)}
    assert {areas: list_layout(parse_areas(areas)) for areas in names} == names
    assert parse_areas("all") == AREAS


@pytest.mark.parametrize("areas", ["", "mouth", "all,left_eye", "left_eye,left_eye", "nose", ","])
def test_other_areas_are_refused_with_the_choices(areas):
    with pytest.raises(BadInput, match=f"AREAS is '{areas}'.*left_eye"):
        parse_areas(areas)
