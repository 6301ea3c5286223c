"""Several HTNets of one recipe, averaged, from one safetensors file: what recognizes clips."""

import hashlib
from pathlib import Path

import torch
from torch import nn

import inputs
from augmentation import mirror
from composite_dataset import CLASSES, FLOW_SIZE
from facial_areas import AREAS
from htnet import HTNet
from support.files import BadInput
from support.shipped_weights import ENDING, load_state, read_shipped

FOLDER = Path(__file__).parents[1] / "weights" / "pretrained"
DEFAULT = "HTNet"


class Ensemble(nn.Module):
    """Inputs of `make_inputs` float32 [N, 3, 28, 28] -> mean class probabilities [N, C]."""

    def __init__(self, members, record, name, checksum, baseline):
        """members: networks; record: their run's; baseline [3, 28, 28]: the training samples' mean
        input; name and checksum are for the user. ValueError where the record makes no sense.
        """
        super().__init__()
        self.members = nn.ModuleList(members)
        self.classes = tuple(record.get("classes", CLASSES))
        self.name, self.checksum = name, checksum
        self.areas = inputs.parse_areas(record["settings"]["AREAS"])
        self.normalized = record["settings"]["NORMALIZE"]
        self.mirrored = record["settings"]["AUGMENT"]  # then the mirror image was seen in training
        if self.mirrored and not self.normalized:  # only of centred maps is -u the mirrored flow
            raise ValueError("AUGMENT needs NORMALIZE")
        self.register_buffer("baseline", torch.as_tensor(baseline, dtype=torch.float32))

    def make_inputs(self, flows, centres):
        """Flow images uint8 [N, 28, 28, 3], centres int [N, 4, 2] -> float32 [N, 3, 28, 28]."""
        made = inputs.make_inputs(flows, centres, self.areas, self.normalized)
        return made.to(self.baseline.device)

    def member_probabilities(self, seen):
        """float32 [M, N, C]: each network's; of augmented ones, the mean over their logits of input
        and mirror image.
        """
        views = [seen]
        if self.mirrored:
            views.append(mirror(seen, inputs.list_layout(self.areas)))
        logits = torch.stack([member(torch.cat(views)) for member in self.members])
        return logits.unflatten(1, (len(views), -1)).mean(1).softmax(-1)

    def forward(self, seen):
        return self.member_probabilities(seen).mean(0)


def build_network(record):
    """The HTNet of a run's record, with fresh weights."""
    settings = record["settings"]
    return HTNet(
        image_size=FLOW_SIZE,
        patch_size=settings["PATCH_SIZE"],
        num_classes=len(record.get("classes", CLASSES)),
        dim=settings["DIM"],
        heads=settings["HEADS"],
        num_hierarchies=settings["NUM_HIERARCHIES"],
        block_repeats=settings["BLOCK_REPEATS"],
        mlp_mult=settings["MLP_MULT"],
        channels=3 * len(inputs.list_layout(inputs.parse_areas(settings["AREAS"]))),
        dropout=settings["DROPOUT"],
    )


def load_ensemble(name_or_path, device="cpu"):
    """A folder in weights/pretrained/ or the path of a file -> Ensemble; raises BadInput."""
    path, name = Path(name_or_path), Path(name_or_path).stem
    if not path.is_file():
        path, name = FOLDER / name_or_path / f"clips{ENDING}", name_or_path
    if not path.is_file():
        raise BadInput(
            f"there are no weights '{name_or_path}': give a {ENDING} file, or a folder of {FOLDER} "
            f"with a clips{ENDING}."
        )
    states, record, more = read_shipped(path)
    try:
        members = [build_network(record) for _ in states]
        for member, state in zip(members, states.values()):
            load_state(member, state, path)
        checksum = hashlib.sha256(path.read_bytes()).hexdigest()
        ensemble = Ensemble(members, record, name, checksum, more["baseline"])
        if ensemble.areas != AREAS:
            raise ValueError("its networks see other areas than the four")
        if ensemble.baseline.shape != (3, FLOW_SIZE, FLOW_SIZE):
            raise ValueError("its baseline is no input of theirs")
    except (OSError, KeyError, ValueError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise BadInput(f"{path} does not hold an ensemble ({reason}): replace the file.") from None
    return ensemble.to(device).eval()
