"""The study of critical areas: curves, controls, and the page's tables."""

import numpy as np
import pandas as pd
import pytest
import torch

from facial_areas import AREAS
from recognition.critical_areas import measure_areas
from study import critical_areas, critical_tables
from study.critical_areas import UNITS, average_curves, follow_curves, order_by_centre


class Sums(torch.nn.Module):
    """Probabilities that only look at one quadrant's sum: the left lip's."""

    def forward(self, images):
        odds = images[:, :, :14, 14:].mean((1, 2, 3))
        return torch.stack([odds, 1 - odds, torch.zeros_like(odds)], 1)


def test_curves_start_and_end_at_the_image_and_the_baseline():
    image, baseline = torch.ones(3, 28, 28), torch.zeros(3, 28, 28)
    mask, count = UNITS["areas"]
    order = torch.tensor([AREAS.index(name) for name in ("left_lip", *AREAS[:2], AREAS[3])])
    deletion, insertion = follow_curves(Sums(), image, baseline, 0, mask, order)
    assert deletion.tolist() == [1, 0, 0, 0, 0] and insertion.tolist() == [0, 1, 1, 1, 1]
    last = order.flip(0)
    deletion, insertion = follow_curves(Sums(), image, baseline, 0, mask, last)
    assert deletion.tolist() == [1, 1, 1, 1, 0] and insertion.tolist() == [0, 0, 0, 0, 1]


def test_units_cut_the_mosaic():
    for mask, count in UNITS.values():
        assert mask.shape == (28, 28) and mask.unique().tolist() == list(range(count))
        assert len(set(mask.flatten().bincount().tolist())) == 1
    centre = order_by_centre(*UNITS["patches"])
    assert set(centre[:4].tolist()) == {5, 6, 9, 10} and set(centre[-4:].tolist()) == {0, 3, 12, 15}


def test_shuffled_weights_keep_their_numbers_and_lose_their_places():
    network = critical_areas.build_network(
        {
            "settings": {
                "AREAS": "all",
                "PATCH_SIZE": 7,
                "DIM": 16,
                "HEADS": 3,
                "NUM_HIERARCHIES": 3,
                "BLOCK_REPEATS": (1, 1, 1),
                "MLP_MULT": 4,
                "DROPOUT": 0.0,
            }
        }
    )
    before = {name: value.clone() for name, value in network.state_dict().items()}
    critical_areas.shuffle_weights(network, torch.Generator().manual_seed(1))
    after = network.state_dict()
    for name, value in before.items():
        assert torch.equal(value.flatten().sort()[0], after[name].flatten().sort()[0])
    assert not torch.equal(before["embed.weight"], after["embed.weight"])


def test_orders_follow_contributions(ensemble):
    images = torch.randn(2, 3, 28, 28)
    labels = torch.tensor([0, 2])
    orders = critical_areas.list_orders(
        ensemble, ensemble, images, labels, ensemble.baseline, torch.Generator().manual_seed(0)
    )
    values = measure_areas(ensemble, images, labels, ensemble.baseline)
    for row, (order,) in zip(values, orders["areas", "contributions"]):
        assert torch.all(row[order].diff() <= 0)
    assert len(orders["patches", "random"][0]) == critical_areas.RANDOM_ORDERS
    for lists in orders.values():
        for several in lists:
            for order in several:
                assert order.sort()[0].tolist() == list(range(len(order)))


def test_heights_are_means_over_a_subjects_samples():
    curves = [
        ("areas", "random", "s01", np.array([1.0, 0.5, 0.0]), np.array([0.0, 1.0, 1.0])),
        ("areas", "random", "s01", np.array([1.0, 1.0, 1.0]), np.array([0.0, 0.0, 0.0])),
    ]
    table = average_curves(curves).set_index("curve")
    assert table.loc["deletion", "mean"] == 0.75 and table.loc["insertion", "mean"] == 0.375
    assert table.loc["deletion", "size"] == 2


def test_intervals_are_over_subjects():
    table = pd.DataFrame({"subject": ["a"] * 50 + ["b"] * 50, "left_eye": [0.0] * 50 + [1.0] * 50})
    mean, low, high = critical_tables.estimate_means(table, ("left_eye",))["left_eye"]
    assert mean == 0.5 and low == 0 and high == 1  # two subjects, however many samples
    same = table.assign(left_eye=0.25)
    assert critical_tables.estimate_means(same, ("left_eye",))["left_eye"] == (0.25, 0.25, 0.25)


def test_the_stored_contributions_add_up():
    if not (critical_areas.FOLDER / "contributions.csv").exists():
        pytest.fail("docs/results/critical-areas/ lacks contributions.csv")
    table = critical_tables.read_contributions()
    assert len(table) == 442 and table["name"].is_unique and table["subject"].nunique() == 68
    for against in ("", "_samples"):
        areas = table[[area + against for area in AREAS]].sum(axis=1)
        assert np.allclose(table["start" + against] + areas, table["probability"], atol=1e-5)
    right = table["label"] == table["predicted"]
    assert (table["probability"][right] > 1 / 3).all()  # the highest of three
    assert (table["probability"][~right] < 1 / 2).all()  # another one is higher
