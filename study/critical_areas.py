"""Which areas the shipped networks decide by, each on its own held-out subject; and whether the
contributions are faithful to the network.

    python -m study.critical_areas     some ten minutes on one core; needs the databases

Writes docs/results/critical-areas/: contributions.csv, with each held-out sample's Shapley values
of the true class, against the training samples' mean input and, as <area>_samples, the mean against
BASELINES of the training samples themselves ("start" and "start_samples" are the baselines'
probability of the class: with the four values they add up to the sample's "probability"); and
curves.csv, with deletion and insertion curves of the predicted class.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

import loso
from composite_dataset import load_composite
from facial_areas import AREAS, find_centres
from recognition.critical_areas import mask_quadrants, measure_areas, measure_patches
from recognition.ensemble import Ensemble, build_network
from study.experiments import RESULTS
from study.ship import TARGET
from support.files import make_folder, write_text
from support.shipped_weights import ENDING, load_state, read_shipped

FOLDER = RESULTS / "critical-areas"
RANDOM_ORDERS = 10
BASELINES = 20
PATCHES = 16


def mask_patches(side=28, patches=4):
    """int [side, side]: the number of the patch that each pixel of a mosaic belongs to."""
    index = torch.arange(side) // (side // patches)
    return index[:, None] * patches + index[None]


UNITS = {"areas": (mask_quadrants()[0, 0], len(AREAS)), "patches": (mask_patches(), PATCHES)}


def order_by_centre(mask, count):
    """The units by their distance from the mosaic's middle: an order that sees no image."""
    y, x = torch.meshgrid(torch.arange(28.0), torch.arange(28.0), indexing="ij")
    distance = torch.hypot(y - 13.5, x - 13.5)
    return torch.stack([distance[mask == unit].mean() for unit in range(count)]).argsort()


@torch.no_grad()
def follow_curves(model, image, baseline, label, mask, order):
    """Probability of `label` while units are replaced one by one -> (deletion, insertion) [K + 1].

    order: int [K], first the unit that is replaced first. Deletion puts the baseline in their
    place; insertion starts from the baseline and puts the image's in.
    """
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order))
    gone = place[mask][None] < torch.arange(len(order) + 1)[:, None, None]  # [K + 1, side, side]
    deleted = torch.where(gone[:, None], baseline, image)
    inserted = torch.where(gone[:, None], image, baseline)
    return model(torch.cat([deleted, inserted]))[:, label].chunk(2)


def shuffle_weights(network, generator):
    """A network whose parameters each have their numbers permuted: what it learnt is gone."""
    shuffled = {
        name: value.flatten()[torch.randperm(value.numel(), generator=generator)].view_as(value)
        for name, value in network.state_dict().items()
    }
    network.load_state_dict(shuffled)


def list_orders(model, broken, images, labels, baseline, generator):
    """{(unit, order's name): a list of orders for each image}."""
    orders = {}
    for unit, (mask, count) in UNITS.items():
        measure = measure_areas if unit == "areas" else measure_patches
        for name, measured in (("contributions", model), ("shuffled weights", broken)):
            values = measure(measured, images, labels, baseline).flatten(1)
            orders[unit, name] = [[row] for row in values.argsort(1, descending=True)]
        fixed = order_by_centre(mask, count)
        orders[unit, "centre first"] = [[fixed]] * len(images)
        orders[unit, "random"] = [
            [torch.randperm(count, generator=generator) for _ in range(RANDOM_ORDERS)]
            for _ in images
        ]
    return orders


def build_networks(record, state, path, generator):
    """The fold's network, and the same with shuffled weights -> [Ensemble, Ensemble]."""
    networks = [build_network(record), build_network(record)]
    for network in networks:
        load_state(network, state, path)
    shuffle_weights(networks[1], generator)
    return [Ensemble([one], record, "", "", torch.zeros(3, 28, 28)).eval() for one in networks]


def measure_contributions(model, composite, inputs, fold, generator):
    """A row per held-out sample of the fold, as contributions.csv has it -> DataFrame."""
    images, truth = inputs[fold.test], torch.from_numpy(composite.labels[fold.test])
    drawn = fold.train[torch.randperm(len(fold.train), generator=generator)[:BASELINES]]
    baselines = torch.stack([inputs[fold.train].mean(0), *inputs[drawn]])
    with torch.no_grad():
        probabilities, starts = model(images), model(baselines)[:, truth]
    values = torch.stack([measure_areas(model, images, truth, one) for one in baselines])
    columns = {
        "name": composite.names[fold.test],
        "subject": fold.name,
        "label": truth,
        "predicted": probabilities.argmax(1),
        "probability": probabilities.gather(1, truth[:, None])[:, 0],
        "start": starts[0],
        **dict(zip(AREAS, values[0].T)),
        "start_samples": starts[1:].mean(0),
        **{f"{area}_samples": column for area, column in zip(AREAS, values[1:].mean(0).T)},
    }
    return pd.DataFrame(columns).round(6)


def measure_curves(models, images, predicted, baseline, generator):
    """[(unit, order's name, deletion, insertion)] of every image and order; the mean of several."""
    curves = []
    orders = list_orders(*models, images, predicted, baseline, generator)
    for (unit, name), lists in orders.items():
        for image, label, several in zip(images, predicted, lists):
            mask = UNITS[unit][0]
            pairs = [
                torch.stack(follow_curves(models[0], image, baseline, label, mask, order))
                for order in several
            ]
            curves.append((unit, name, *torch.stack(pairs).mean(0).numpy()))
    return curves


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--datasets", type=Path, default="datasets")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    composite = load_composite(arguments.datasets)
    centres, _ = find_centres(composite, arguments.datasets / "facial_areas.csv")
    path = TARGET / f"folds{ENDING}"
    states, record, _ = read_shipped(path)
    generator, inputs = torch.Generator().manual_seed(0), None
    contributions, curves = [], []
    for fold in tqdm(loso.split_subjects(composite, (0, 1, 2)), unit="fold"):
        models = build_networks(record, states[fold.name], path, generator)
        if inputs is None:  # every fold's network sees the same
            inputs = models[0].make_inputs(composite.flows, centres)
        table = measure_contributions(models[0], composite, inputs, fold, generator)
        contributions.append(table)
        predicted = torch.from_numpy(table["predicted"].to_numpy())
        baseline = inputs[fold.train].mean(0)
        measured = measure_curves(models, inputs[fold.test], predicted, baseline, generator)
        curves += [(unit, name, fold.name, *pair) for unit, name, *pair in measured]
    make_folder(FOLDER)
    write_text(FOLDER / "contributions.csv", pd.concat(contributions).to_csv(index=False))
    write_text(FOLDER / "curves.csv", average_curves(curves).to_csv(index=False))


def average_curves(curves):
    """A row per unit, order, kind and subject: the curve's mean height, over its samples."""
    rows = []
    for unit, name, subject, *pair in curves:
        for kind, curve in zip(("deletion", "insertion"), pair):
            area = np.trapezoid(curve) / (len(curve) - 1)
            rows.append(
                {"unit": unit, "order": name, "curve": kind, "subject": subject, "height": area}
            )
    table = pd.DataFrame(rows).groupby(["unit", "order", "curve", "subject"])["height"]
    return table.agg(["mean", "size"]).round(6).reset_index()


if __name__ == "__main__":
    main()
