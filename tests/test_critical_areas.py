"""Contributions: exact, adding up, and each of its own area."""

from itertools import combinations
from math import factorial

import numpy as np
import pytest
import torch

from facial_areas import AREAS, crop_areas
from htnet import HTNet
from recognition.critical_areas import mask_quadrants, measure_areas, measure_patches


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    net = HTNet(image_size=28, patch_size=7, num_classes=3, dim=8, heads=2, num_hierarchies=3,
                block_repeats=(1, 1, 1))  # fmt: skip
    return torch.nn.Sequential(net, torch.nn.Softmax(-1)).eval()


@pytest.fixture
def inputs():
    generator = torch.Generator().manual_seed(1)
    return torch.randn(3, 3, 28, 28, generator=generator), torch.randn(
        3, 28, 28, generator=generator
    )


def test_the_quadrants_are_where_crop_areas_puts_them():
    flow = np.zeros((28, 28, 1))
    centres = np.array([[7, 7], [7, 21], [21, 7], [21, 21]])  # without overlap
    for index, (row, col) in enumerate(centres):
        flow[row - 7 : row + 7, col - 7 : col + 7] = index
    np.testing.assert_array_equal(mask_quadrants()[0, 0], crop_areas(flow, centres)[..., 0])
    assert AREAS == ("left_eye", "right_eye", "left_lip", "right_lip")


def test_areas_are_shapley_values_by_their_definition(network, inputs):
    mosaics, baseline = inputs
    classes, mask = [0, 2, 1], mask_quadrants()[0, 0]
    found = measure_areas(network, mosaics, classes, baseline)
    for mosaic, label, values in zip(mosaics, classes, found):

        def worth(areas, mosaic=mosaic, label=label):
            kept = torch.isin(mask, torch.tensor(areas, dtype=torch.long))
            mixed = torch.where(kept, mosaic, baseline)
            with torch.no_grad():
                return network(mixed[None])[0, label].item()

        for area in range(4):
            others = [other for other in range(4) if other != area]
            expected = sum(
                factorial(size) * factorial(3 - size) / factorial(4)
                * (worth([*chosen, area]) - worth(list(chosen)))
                for size in range(4)
                for chosen in combinations(others, size)
            )  # fmt: skip
            assert values[area].item() == pytest.approx(expected, abs=1e-6)


def test_they_add_up_to_what_the_mean_mosaic_lacks(network, inputs):
    mosaics, baseline = inputs
    areas = measure_areas(network, mosaics, [0, 1, 2], baseline).sum(1)
    patches = measure_patches(network, mosaics, [0, 1, 2], baseline)
    with torch.no_grad():
        difference = (network(mosaics) - network(baseline[None]))[range(3), [0, 1, 2]]
    np.testing.assert_allclose(areas, difference, atol=1e-6)
    assert patches.shape == (3, 4, 4)
    np.testing.assert_allclose(patches.sum((1, 2)), difference, atol=5e-3)


def test_an_area_that_is_not_looked_at_has_none(inputs):
    mosaics, baseline = inputs

    def eyes_only(images):
        return images[..., :14].flatten(1).sum(1, keepdim=True).repeat(1, 3)

    areas = measure_areas(eyes_only, mosaics, [0, 0, 0], baseline)
    assert (areas[:, :2].abs() > 0.1).any() and areas[:, 2:].abs().max() < 1e-4
    patches = measure_patches(Callable(eyes_only), mosaics, [0, 0, 0], baseline)
    assert patches[:, :, 2:].abs().max() < 1e-4
    np.testing.assert_allclose(patches[:, :2, :2].sum((1, 2)), areas[:, 0], rtol=1e-3, atol=1e-3)


class Callable(torch.nn.Module):
    def __init__(self, function):
        super().__init__()
        self.forward = function


def test_the_baseline_itself_is_worth_nothing(network, inputs):
    _, baseline = inputs
    assert measure_areas(network, baseline[None], [1], baseline).abs().max() < 1e-7
