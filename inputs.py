"""What the networks see: mosaics of the facial areas, whole flow maps, or both.

AREAS says which: "all" (the paper's four areas), some of them ("left_lip,right_lip"), "all,nose",
"whole" (the flow map as it is, STSTNet's input) or "all,whole". The channels come in threes,
(strain, v, u), laid out as `augmentation` describes.
"""

import numpy as np
import torch

from composite_dataset import FLOW_SIZE, normalize
from facial_areas import AREAS, HALF, crop_areas
from support.files import BadInput


def parse_areas(text):
    """AREAS -> the names in it, a tuple; raises BadInput."""
    names = [name.strip() for name in text.split(",")]
    names = tuple(area for name in names for area in (AREAS if name == "all" else (name,)))
    known = (*AREAS, "nose", "whole")
    if len(set(names)) < len(names) or not set(names) <= set(known):
        raise BadInput(
            f"AREAS is '{text}': it must be 'all', 'whole', 'all,whole', 'all,nose', or some of "
            f"{', '.join(AREAS)} with commas between them, each once."
        )
    if "nose" in names and not set(AREAS) <= set(names):
        raise BadInput(
            f"AREAS is '{text}': the nose comes beside all four (left_eye, ...), 'all,nose'."
        )
    return names


def list_layout(names):
    """The tiles a side of each three channels: (2,) a mosaic, (1,) the whole map, (2, 1) both."""
    mosaic, nose, whole = bool(set(names) & set(AREAS)), "nose" in names, "whole" in names
    return (2,) * mosaic + (2,) * nose + (1,) * whole


def make_inputs(flows, centres, names, normalized=False, padding=0):
    """Flow images and area centres -> float32 [N, 3 len(layout), S, S] with S = 28 + 2 padding.

    flows uint8 [N, 28, 28, 3]; centres int [N, 4, 2], or None where only the whole map is seen;
    names: from `parse_areas`. normalized: see `composite_dataset.normalize`. An area that is left
    out shows no motion: the map's median. The nose's area lies in the middle of the other four; all
    four tiles of a mosaic of its own show it.
    """
    maps = normalize(flows) if normalized else flows.astype(np.float32)
    parts = []
    if set(names) & set(AREAS):
        mosaics = crop_all(maps, centres, padding)
        half = mosaics.shape[1] // 2
        still = np.median(maps, axis=(1, 2))[:, None, None]
        for area, (row, col) in zip(AREAS, ((0, 0), (half, 0), (0, half), (half, half))):
            if area not in names:
                mosaics[:, row : row + half, col : col + half] = still
        parts.append(mosaics)
    if "nose" in names:
        nose = np.rint(centres.mean(1, keepdims=True)).clip(HALF, FLOW_SIZE - HALF).astype(int)
        parts.append(crop_all(maps, nose.repeat(4, axis=1), padding))
    if "whole" in names:
        parts.append(np.pad(maps, ((0, 0), *((padding, padding),) * 2, (0, 0)), mode="edge"))
    inputs = np.concatenate(parts, axis=-1).transpose(0, 3, 1, 2)
    return torch.from_numpy(np.ascontiguousarray(inputs, np.float32))


def crop_all(maps, centres, padding):
    """Maps [N, 28, 28, 3], centres [N, 4, 2] -> mosaics [N, S, S, 3]; a tile has half the padding
    of the whole on each of its sides.
    """
    return np.stack([crop_areas(*pair, margin=padding // 2) for pair in zip(maps, centres)])
