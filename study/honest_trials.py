"""How the honest recipe was chosen: the settings of `honest_settings`, compared by inner groups of
subjects that leave out the scored ones.

    python -m study.honest_trials "base" "taught, areas" ...   adds to docs/results/honest-trials/

The subjects are cut into GROUPS groups, and for every pair of groups each setting is trained
without the pair and predicts both. A group's own choice is made from the predictions of the other
groups by the networks that saw neither (`study.honest`). A run takes minutes to an hour on two
cores; needs the databases in datasets/.
"""

import argparse
from itertools import combinations
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from tqdm import tqdm

from augmentation import PADDING, rise_and_fall
from composite_dataset import load_composite, normalize
from facial_areas import crop_areas, find_centres
from htnet import HTNet
from loso import balance_classes, make_optimizer
from study.honest_settings import BASE, SETTINGS

RESULTS = Path(__file__).parents[1] / "docs" / "results" / "honest-trials"
GROUPS = 6


def split_groups(subjects):
    """The group of each sample, int [N]."""
    group = np.zeros(len(subjects), int)
    split = GroupKFold(GROUPS, shuffle=True, random_state=0).split(subjects, groups=subjects)
    for number, (_, members) in enumerate(split):
        group[members] = number
    return group


def cut(maps, tiles):
    """[B, C, t h, t w] -> [B, t, t, h, w, C]."""
    b, c, side, _ = maps.shape
    return maps.view(b, c, tiles, side // tiles, tiles, side // tiles).permute(0, 2, 4, 3, 5, 1)


def join(windows):
    b, s, a, h, w, c = windows.shape
    return windows.permute(0, 5, 1, 3, 2, 4).reshape(b, c, s * h, a * w)


def mirror(maps, tiles):
    mirrored = join(cut(maps, tiles).flip(1, 4))
    return mirrored * torch.tensor([1.0, 1.0, -1.0])[:, None, None]


def crop(maps, tiles, generator=None, jitter=0):
    """Each tile's window, up to `jitter` pixels off the middle; all tiles have PADDING."""
    windows = cut(maps, tiles)
    sides, size = windows.shape[:3], windows.shape[3] - 2 * PADDING
    corner = torch.full((*sides, 2), PADDING)
    if jitter:
        corner += torch.randint(-jitter, jitter + 1, corner.shape, generator=generator)
    pixels = corner[..., None] + torch.arange(size)
    b, s, a = torch.meshgrid(*map(torch.arange, sides), indexing="ij")
    b, s, a = (index[..., None, None] for index in (b, s, a))
    return join(windows[b, s, a, pixels[..., 0, :, None], pixels[..., 1, None, :]])


def assemble(areas, whole, setting, generator=None, jitter=0):
    """Padded mosaics and maps -> what the network of a setting sees."""
    parts = []
    if setting["inputs"] in ("areas", "both"):
        parts.append(crop(areas, 2, generator, jitter))
    if setting["inputs"] in ("whole", "both"):
        parts.append(crop(whole, 1, generator, jitter))
    if setting["magnitude"]:
        parts = [add_magnitude(part) for part in parts]
    inputs = torch.cat(parts, 1)
    if setting["left_out"]:
        inputs[..., slice(14) if setting["left_out"] == "eyes" else slice(14, 28)] = 0
    return inputs


def add_magnitude(maps):
    return torch.cat([maps, torch.hypot(maps[:, 1:2], maps[:, 2:3])], 1)


def draw_views(areas, whole, setting, generator):
    """A batch as a training step sees it."""
    if setting["flip"]:
        turned = torch.rand(len(areas), 1, 1, 1, generator=generator) < 0.5
        areas = torch.where(turned, mirror(areas, 2), areas)
        whole = torch.where(turned, mirror(whole, 1), whole)
    if setting["warp"]:
        theta = setting["warp"] * torch.randn(len(whole), 2, 3, generator=generator)
        theta *= torch.tensor([1.0, 1.0, 0.3])
        theta += torch.eye(2, 3)
        grid = F.affine_grid(theta, whole.shape, align_corners=False)
        whole = F.grid_sample(whole, grid, align_corners=False, padding_mode="border")
    if setting["gain"]:
        gain = torch.exp(setting["gain"] * torch.randn(len(areas), 3, 1, 1, generator=generator))
        areas, whole = areas * gain, whole * gain
    return assemble(areas, whole, setting, generator, setting["jitter"])


class Teacher:
    """A class-balanced support vector machine on maps and mosaics at 14x14 with their magnitude,
    trained on the samples and their mirror images; decisions are summed over both.
    """

    def __init__(self, areas, whole, labels):
        both = np.concatenate([self.shrink(areas, whole), self.shrink_mirrored(areas, whole)])
        self.machine = make_pipeline(StandardScaler(), SVC(class_weight="balanced"))
        self.machine.fit(both, np.concatenate([labels, labels]))

    def shrink(self, areas, whole):
        maps = (add_magnitude(crop(whole, 1)), add_magnitude(crop(areas, 2)))
        return torch.cat([F.avg_pool2d(part, 2).flatten(1) for part in maps], 1).numpy()

    def shrink_mirrored(self, areas, whole):
        return self.shrink(mirror(areas, 2), mirror(whole, 1))

    def decide(self, areas, whole):
        """Decision values float32 [N, C]."""
        features = self.shrink(areas, whole), self.shrink_mirrored(areas, whole)
        first, second = map(self.machine.decision_function, features)
        return torch.from_numpy(first + second).float()


def mix(areas, whole, count, seed):
    """The maps, and `count` weighted means of two of them each."""
    random = np.random.default_rng(seed)
    i, j = (random.integers(len(areas), size=count) for _ in range(2))
    share = torch.from_numpy(random.uniform(size=(count, 1, 1, 1)).astype(np.float32))
    return [
        torch.cat([maps, share * maps[i] + (1 - share) * maps[j]]) if count else maps
        for maps in (areas, whole)
    ]


def compute_loss(model, inputs, labels, decisions, setting, weight, generator, seed):
    """A step's loss; labels int [B] (-100: none), decisions [B, C] of the teacher or None."""
    smoothing = setting["label_smoothing"]
    if setting["mixup"]:
        share = float(np.random.default_rng(seed).beta(setting["mixup"], setting["mixup"]))
        order = torch.randperm(len(labels), generator=generator)
        logits = model(share * inputs + (1 - share) * inputs[order])
        losses = [
            F.cross_entropy(logits, target, weight, label_smoothing=smoothing)
            for target in (labels, labels[order])
        ]
        return share * losses[0] + (1 - share) * losses[1]
    logits = model(inputs)
    if setting["teacher"] == "mse":
        return F.mse_loss(logits, decisions)
    if not setting["teacher"]:
        return F.cross_entropy(logits, labels, weight, label_smoothing=smoothing)
    loss = F.cross_entropy(logits, decisions.softmax(1))
    if setting["hard"] and (labels >= 0).any():
        true = F.cross_entropy(logits, labels, weight, label_smoothing=smoothing)
        loss = loss + setting["hard"] * true
    return loss


def train(setting, areas, whole, labels, teach, seed):
    """Trains a network of a setting on padded mosaics and maps -> the network."""
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    names = ("dim", "num_hierarchies", "block_repeats", "dropout")
    parts, channels = 1 + (setting["inputs"] == "both"), 3 + setting["magnitude"]
    model = HTNet(
        image_size=28,
        patch_size=7,
        num_classes=3,
        heads=3,
        channels=parts * channels,
        **{name: setting[name] for name in names},
    )
    weight = balance_classes(labels, 3) if setting["class_weights"] else None
    decisions = None
    if setting["teacher"]:
        areas, whole, decisions = teach(setting["mixtures"])
        labels = torch.cat([labels, torch.full((len(areas) - len(labels),), -100)])
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = make_optimizer(parameters, setting["learning_rate"], setting["weight_decay"])
    steps = -(-len(areas) // 128) * setting["epochs"]
    rates = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rise_and_fall(step, steps))
    total, count = {}, 0
    for epoch in range(setting["epochs"]):
        for batch in torch.randperm(len(areas), generator=generator).split(128):
            inputs = draw_views(areas[batch], whole[batch], setting, generator)
            taught = None if decisions is None else decisions[batch]
            own = seed * 100003 + int(batch[0]) + epoch  # mixup's
            arguments = labels[batch], taught, setting, weight, generator, own
            optimizer.zero_grad()
            compute_loss(model, inputs, *arguments).backward()
            optimizer.step()
            rates.step()
        if setting["averaged"] and epoch >= setting["epochs"] * (1 - setting["averaged"]) - 1e-9:
            state = model.state_dict().items()
            total = {name: value + total.get(name, 0) for name, value in state}
            count += 1
    if count:
        model.load_state_dict({name: value / count for name, value in total.items()})
    return model.eval()


@torch.no_grad()
def predict(model, areas, whole, setting):
    """Probabilities float32 [N, C], the mean over samples and their mirror images."""
    views = (areas, whole), (mirror(areas, 2), mirror(whole, 1))
    first, second = (model(assemble(*view, setting)).softmax(1) for view in views)
    return ((first + second) / 2).numpy()


def pad(maps, centres):
    """Normalized maps [N, 28, 28, 3] -> mosaics whose tiles are padded, and maps that are."""
    areas = np.stack([crop_areas(*pair, margin=PADDING) for pair in zip(maps, centres)])
    edges = ((0, 0), (PADDING, PADDING), (PADDING, PADDING), (0, 0))
    arrays = areas, np.pad(maps, edges, mode="edge")
    return [torch.from_numpy(array.transpose(0, 3, 1, 2).astype(np.float32)) for array in arrays]


def run_pair(pair, group, areas, whole, labels, names, seed):
    """Trains each setting of `names` without a pair of groups -> {name: probabilities [n, C]} of
    the pair's samples, the teacher's decisions among them.
    """
    held_out = np.isin(group, pair)
    train_data = areas[~held_out], whole[~held_out], torch.from_numpy(labels[~held_out])
    test_data = areas[held_out], whole[held_out]
    seed, teachers, predicted = seed * 1000 + pair[0] * 32 + pair[1], {}, {}

    def teach(count):
        if count not in teachers:
            machine = Teacher(train_data[0], train_data[1], labels[~held_out])
            mixed = mix(*train_data[:2], count, seed)
            teachers[count] = *mixed, machine.decide(*mixed)
            predicted["teacher"] = machine.decide(*test_data).numpy()
        return teachers[count]

    for name in names:
        setting = BASE | SETTINGS[name]
        model = train(setting, *train_data, teach, seed)
        predicted[name] = predict(model, *test_data, setting)
    return predicted


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("settings", nargs="+", help=f"of {', '.join(SETTINGS)}")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--datasets", type=Path, default="datasets")
    arguments = parser.parse_args()
    names = arguments.settings
    if unknown := set(names) - SETTINGS.keys():
        parser.error(f"'{unknown.pop()}' is no setting.")
    torch.set_num_threads(1)
    composite = load_composite(arguments.datasets)
    centres, _ = find_centres(composite, arguments.datasets / "facial_areas.csv")
    areas, whole = pad(normalize(composite.flows), centres)
    group, stored = split_groups(composite.subjects), {}
    for pair in tqdm(list(combinations(range(GROUPS), 2)), unit="pair"):
        predicted = run_pair(pair, group, areas, whole, composite.labels, names, arguments.seed)
        held_out = np.flatnonzero(np.isin(group, pair))
        for name, probabilities in predicted.items():
            shape = (GROUPS, len(group), probabilities.shape[1])
            table = stored.setdefault(name, np.full(shape, np.nan, np.float16))
            for left_out, other in (pair, pair[::-1]):
                mine = group[held_out] == other
                table[left_out, held_out[mine]] = probabilities[mine]
    RESULTS.mkdir(parents=True, exist_ok=True)
    for name, table in stored.items():
        np.savez_compressed(RESULTS / f"{name}-seed{arguments.seed}.npz", probabilities=table)


if __name__ == "__main__":
    main()
