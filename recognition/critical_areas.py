"""Which facial areas made the networks decide as they did: contributions with a sign.

The contribution of an area is its Shapley value: how much its own pixels, in place of the training
samples' mean mosaic, raise the class's probability, averaged over all orders in which the four
areas can come in. The four add up to the probability minus that of the mean mosaic, exactly. The
finer map over the mosaic's 16 patches is of integrated gradients (Sundararajan et al. 2017), which
add up to the same up to the steps of the integral.
"""

import torch
from captum.attr import IntegratedGradients, ShapleyValues
from torch import nn

from facial_areas import AREAS

PATCHES = 4  # a side of the mosaic, as HTNet cuts it
STEPS = 256  # of the integral: the max pooling makes its path uneven
BATCH = 64  # mosaics at once


def mask_quadrants(side=28):
    """int [1, 1, side, side]: to which area, in the order of `AREAS`, each mosaic pixel belongs."""
    half = side // 2
    mask = torch.zeros(1, 1, side, side, dtype=torch.long)
    mask[..., half:, :half] = AREAS.index("right_eye")
    mask[..., :half, half:] = AREAS.index("left_lip")
    mask[..., half:, half:] = AREAS.index("right_lip")
    return mask


def measure_areas(model, inputs, classes, baseline):
    """Exact Shapley values of the four areas.

    model: [N, 3, 28, 28] -> probabilities [N, C]; inputs float32 [N, 3, 28, 28]; classes int [N],
    the class of each that is explained; baseline float32 [3, 28, 28]. Returns float64 [N, 4], in
    the order of `AREAS`.
    """
    mask = mask_quadrants(inputs.shape[-1]).to(inputs.device)
    permuted = ShapleyValues(InDouble(model))
    with torch.no_grad():
        values = permuted.attribute(
            inputs,
            baselines=baseline[None],
            target=torch.as_tensor(classes, device=inputs.device),
            feature_mask=mask,
            perturbations_per_eval=len(AREAS),
        )
    areas = [values[:, :1][:, mask[0] == i][:, 0] for i in range(len(AREAS))]
    return torch.stack(areas, dim=1).cpu()


def measure_patches(model, inputs, classes, baseline):
    """Integrated gradients summed over the mosaic's patches -> float32 [N, 4, 4].

    Arguments as for `measure_areas`. Rows and columns are the mosaic's: [[left eye, left lip],
    [right eye, right lip]].
    """
    values = IntegratedGradients(model).attribute(
        inputs,
        baselines=baseline[None],
        target=torch.as_tensor(classes, device=inputs.device),
        n_steps=STEPS,
        internal_batch_size=max(BATCH, len(inputs)),
    )
    size = inputs.shape[-1] // PATCHES
    summed = nn.functional.avg_pool2d(values.sum(1, keepdim=True).float(), size) * size**2
    return summed[:, 0].detach().cpu()


class InDouble(nn.Module):
    """A model whose probabilities come as float64: sums of differences then lose no digits."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, inputs):
        return self.model(inputs).double()
