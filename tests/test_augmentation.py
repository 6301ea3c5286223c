"""The honest recipe's views and schedule."""

import cv2
import numpy as np
import pytest
import torch
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st

from augmentation import JITTER, PADDING, SIZE, augment, crop_tiles, mirror, rise_and_fall
from composite_dataset import load_composite, normalize
from inputs import make_inputs, parse_areas
from optical_flow import flow_image

LAYOUTS = {"all": (2,), "whole": (1,), "all,whole": (2, 1), "all,nose": (2, 2)}


@pytest.fixture(scope="module")
def frames():
    """A portrait as onset, and as apex with its lower left quarter moved left and up."""
    sample = load_composite(ROOT / "datasets" / "sample")
    onset = cv2.imread(str(sample.faces[0]), cv2.IMREAD_GRAYSCALE)
    x, y = np.meshgrid(np.arange(224, dtype=np.float32), np.arange(224, dtype=np.float32))
    bump = np.exp(-((x - 75) ** 2 + (y - 160) ** 2) / (2 * 20**2)).astype(np.float32)
    return onset, cv2.remap(onset, x + 2 * bump, y + 1.5 * bump, cv2.INTER_CUBIC)


def test_a_mirrored_faces_flow_is_the_mirrored_flow_with_u_negated(frames):
    flows = [flow_image(*frames), flow_image(*(frame[:, ::-1].copy() for frame in frames))]
    plain, mirrored = (make_inputs(flow[None], None, ("whole",), True) for flow in flows)
    assert (plain[0, 2, 20, 9] < 0) and (mirrored[0, 2, 20, 18] > 0)  # u: left, then right
    difference = (mirror(plain, (1,)) - mirrored).abs().mean((0, 2, 3))
    assert (difference < 0.12).all()  # TV-L1 is not exactly symmetric
    unsigned = mirror(plain, (1,))[:, 2].neg()
    assert (unsigned - mirrored[:, 2]).abs().mean() > 0.5


centres = st.tuples(*[st.integers(7, 21)] * 8).map(lambda values: np.reshape(values, (1, 4, 2)))


@given(st.sampled_from(list(LAYOUTS)), centres, st.integers(0, 2**16))
def test_a_mosaics_mirror_image_is_the_mosaic_of_the_mirrored_map(areas, centres, seed):
    flow = np.random.default_rng(seed).integers(0, 256, (1, 28, 28, 3)).astype(np.uint8)
    names, layout = parse_areas(areas), LAYOUTS[areas]
    inputs = make_inputs(flow, centres, names)
    swapped = centres[:, [1, 0, 3, 2]]
    swapped[..., 1] = 28 - swapped[..., 1]
    expected = make_inputs(flow[:, :, ::-1], swapped, names)
    expected[:, 2::3] *= -1
    if areas == "all,nose" and centres[..., 1].sum() % 4 == 2:
        return  # the nose's column is halfway between two pixels: rounding goes one way in both
    assert torch.equal(mirror(inputs, layout), expected)
    assert torch.equal(mirror(mirror(inputs, layout), layout), inputs)


@given(st.sampled_from(list(LAYOUTS)), centres, st.integers(0, 2**16))
def test_the_middle_of_padded_inputs_is_the_input(areas, centres, seed):
    flow = np.random.default_rng(seed).integers(0, 256, (1, 28, 28, 3)).astype(np.uint8)
    names = parse_areas(areas)
    padded = make_inputs(flow, centres, names, padding=PADDING)
    assert padded.shape[-1] == SIZE + 2 * PADDING
    assert torch.equal(crop_tiles(padded, LAYOUTS[areas]), make_inputs(flow, centres, names))


def test_each_tile_moves_by_at_most_a_pixel_on_its_own():
    flow = np.zeros((1, 28, 28, 3), np.uint8)
    flow[0, ..., 0] = np.arange(28) * 4  # a pixel's column
    flow[0, ..., 1] = np.arange(28)[:, None] * 4  # its row
    centres = np.array([[[10, 10], [10, 18], [18, 10], [18, 18]]])
    padded = make_inputs(flow, centres, parse_areas("all"), padding=PADDING).repeat(400, 1, 1, 1)
    middle = crop_tiles(padded[:1], (2,))
    moved = (crop_tiles(padded, (2,), torch.Generator().manual_seed(1)) - middle) / 4
    tiles = [(0, 0), (0, 14), (14, 0), (14, 14)]
    shifts = [moved[:, :2, row, col] for row, col in tiles]
    assert {tuple(shift) for shift in shifts[0].long().tolist()} == {
        (x, y) for x in range(-JITTER, JITTER + 1) for y in range(-JITTER, JITTER + 1)
    }
    for (row, col), shift in zip(tiles, shifts):
        tile = moved[:, :2, row : row + 14, col : col + 14]
        assert torch.equal(tile, shift[..., None, None].expand_as(tile))
    assert not torch.equal(shifts[0], shifts[3])


def test_views_are_seeded_mirrored_half_the_time_and_amplified_by_channel():
    flow = np.random.default_rng(0).integers(0, 256, (1, 28, 28, 3)).astype(np.uint8)
    padded = make_inputs(np.full_like(flow, 0), None, ("whole",), True, PADDING)
    padded[:, :, :, :] = torch.tensor([1.0, 1.0, 1.0])[:, None, None]  # no tile's window matters
    inputs = padded.repeat(2000, 1, 1, 1)
    views = augment(inputs, (1,), torch.Generator().manual_seed(3))
    assert torch.equal(views, augment(inputs, (1,), torch.Generator().manual_seed(3)))
    gain, sign = views[:, :, 0, 0].abs(), views[:, :, 0, 0].sign()
    assert (views.abs() == gain[..., None, None]).all()  # one gain for all of a channel
    assert (sign[:, :2] == 1).all() and 0.45 < (sign[:, 2] < 0).float().mean() < 0.55
    assert gain.log().std(0).sub(0.2).abs().max() < 0.02
    assert np.abs(np.corrcoef(gain.log().T) - np.eye(3)).max() < 0.1


def test_the_learning_rate_rises_for_a_twentieth_and_falls_to_nothing():
    rates = [rise_and_fall(step, 1000) for step in range(1000)]
    assert np.argmax(rates) in (49, 50) and max(rates) == 1
    assert np.all(np.diff(rates[:50]) > 0) and np.all(np.diff(rates[50:]) < 0)
    assert rates[0] == 0.02 and rates[-1] < 1e-5 and abs(rates[525] - 0.5) < 0.01
    assert rise_and_fall(0, 1) == 1  # no training is too short


def test_still_pixels_are_zero():
    flow = np.full((1, 28, 28, 3), 100, np.uint8)
    flow[0, :4] = 200
    assert (normalize(flow)[0, 4:] == 0).all()
