"""Several HTNets of one recipe, averaged, from one safetensors file."""

import hashlib
import json
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from composite_dataset import normalize
from facial_areas import crop_areas
from htnet import HTNet
from support.files import BadInput

FOLDER = Path(__file__).parent / "weights" / "pretrained"
DEFAULT = "HTNet-clips"


class Ensemble(nn.Module):
    """Mosaics float32 [N, 3, 28, 28] of `make_inputs` -> mean class probabilities [N, C]."""

    def __init__(self, members, classes, name, checksum, baseline):
        super().__init__()
        self.members = nn.ModuleList(members)
        self.classes, self.name, self.checksum = tuple(classes), name, checksum
        self.register_buffer("baseline", torch.as_tensor(baseline, dtype=torch.float32))

    def make_inputs(self, flows, centres):
        """Flow images uint8 [N, 28, 28, 3], centres int [N, 4, 2] -> float32 [N, 3, 28, 28]."""
        mosaics = [crop_areas(flow, centre) for flow, centre in zip(normalize(flows), centres)]
        inputs = torch.from_numpy(np.stack(mosaics).transpose(0, 3, 1, 2).copy())
        return inputs.to(self.baseline.device)

    def member_probabilities(self, inputs):
        """float32 [M, N, C], each the mean over the mosaic and its mirror image."""
        both = torch.cat([inputs, mirror(inputs)])
        logits = torch.stack([member(both) for member in self.members])
        return logits.softmax(-1).unflatten(1, (2, -1)).mean(1)

    def forward(self, inputs):
        return self.member_probabilities(inputs).mean(0)


def mirror(inputs):
    """Mosaics [N, 3, 28, 28] of the same faces seen in a mirror."""
    half = inputs.shape[2] // 2
    flipped = torch.cat([inputs[:, :, half:], inputs[:, :, :half]], 2)
    flipped = torch.cat([flipped[..., :half].flip(3), flipped[..., half:].flip(3)], 3)
    return flipped * torch.tensor([1.0, 1.0, -1.0], device=inputs.device)[:, None, None]


def load_ensemble(name_or_path, device="cpu"):
    """A name in weights/pretrained/ or a path -> Ensemble; raises BadInput."""
    path = Path(name_or_path)
    if not path.is_file():
        path = FOLDER / f"{name_or_path}.safetensors"
    if not path.is_file():
        raise BadInput(
            f"there are no weights '{name_or_path}': give a .safetensors file, or the name of one "
            f"in {FOLDER}."
        )
    try:
        with safe_open(path, "pt", device="cpu") as file:
            settings = json.loads((file.metadata() or {})["settings"])
            tensors = {key: file.get_tensor(key).float() for key in file.keys()}
            baseline, states = tensors.pop("baseline"), {}
            for key, tensor in tensors.items():
                member, parameter = key.split("/", 1)
                states.setdefault(member, {})[parameter] = tensor
            members = []
            for member in sorted(states):
                members.append(HTNet(**settings["network"]))
                members[-1].load_state_dict(states[member])
            checksum = hashlib.sha256(path.read_bytes()).hexdigest()
            classes = settings["classes"]
    except (OSError, SafetensorError, KeyError, ValueError, TypeError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise BadInput(f"{path} does not hold an ensemble ({reason}): replace the file.") from None
    return Ensemble(members, classes, path.stem, checksum, baseline).to(device).eval()
