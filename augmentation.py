"""What the honest recipe adds to the paper's: other views of the samples, and a learning rate that
rises and falls. The paper and the released code have none of it.

Inputs are flow maps, centred and scaled (`composite_dataset.normalize`), so that 0 is no motion.
Their channels come in threes, (strain, v, u): a mosaic of 2 x 2 tiles, [[left eye, left lip],
[right eye, right lip]], or one tile, the whole map. `layout` names the tiles a side of each three:
(2,) the mosaic, (1,) the whole map, (2, 1) both. For training each side is 2 * PADDING longer, so
that a tile can move.
"""

import math

import torch
from einops import rearrange

SIZE = 28  # pixels a side of an input
PADDING = 2  # pixels by which an input for training is larger on each side
JITTER = 1  # pixels by which a tile moves at most
GAIN = 0.2  # standard deviation of the logarithm of a channel's gain
WARM_UP = 0.05  # share of the steps
U = 2  # among the three channels: the horizontal flow


def mirror(inputs, layout):
    """The flow of the mirrored face: left and right change places, and u its sign.

    inputs [B, 3 len(layout), H, W] -> the same shape. A mosaic's rows of tiles are the face's left
    and right, so they are swapped, too.
    """
    mirrored = []
    for maps, tiles in zip(inputs.split(3, dim=1), layout):
        cut = rearrange(maps, "b c (s h) (a w) -> b c s h a w", s=tiles, a=tiles).flip(2, 5)
        maps = rearrange(cut, "b c s h a w -> b c (s h) (a w)")
        mirrored.append(torch.cat([maps[:, :U], -maps[:, U:]], dim=1))
    return torch.cat(mirrored, dim=1)


def crop_tiles(inputs, layout, generator=None):
    """Takes a window out of every tile: the middle or, with a generator, up to JITTER pixels off.

    inputs [B, C, SIZE + 2 PADDING, SIZE + 2 PADDING] -> [B, C, SIZE, SIZE].
    """
    cropped = []
    for maps, tiles in zip(inputs.split(3, dim=1), layout):
        cut = rearrange(maps, "b c (s h) (a w) -> b s a h w c", s=tiles, a=tiles)
        sides = cut.shape[:3]  # B, tiles down, tiles across
        corner = torch.full((*sides, 2), PADDING // tiles)
        if generator:
            corner += torch.randint(-JITTER, JITTER + 1, corner.shape, generator=generator)
        pixels = corner[..., None] + torch.arange(SIZE // tiles)  # [B, s, a, 2, size]
        rows, cols = pixels[..., 0, :, None], pixels[..., 1, None, :]
        b, s, a = torch.meshgrid(*map(torch.arange, sides), indexing="ij")
        b, s, a = (index[..., None, None] for index in (b, s, a))
        cropped.append(rearrange(cut[b, s, a, rows, cols], "b s a h w c -> b c (s h) (a w)"))
    return torch.cat(cropped, dim=1)


def augment(inputs, layout, generator):
    """A new view of each sample: mirrored or not, each tile moved, each map amplified.

    inputs as for `crop_tiles`; generator: a CPU generator. -> [B, C, SIZE, SIZE].
    """

    def draw(random, *shape):
        return random(*shape, generator=generator).to(inputs.device, inputs.dtype)

    turned = draw(torch.rand, len(inputs), 1, 1, 1) < 0.5
    views = torch.where(turned, mirror(inputs, layout), inputs)
    gain = torch.exp(GAIN * draw(torch.randn, len(inputs), 3, 1, 1)).repeat(1, len(layout), 1, 1)
    return crop_tiles(views, layout, generator) * gain


def rise_and_fall(step, steps):
    """The share of the learning rate at `step` of `steps`: a linear warm-up, then a cosine to 0."""
    warm_up = max(1, round(WARM_UP * steps))
    if step < warm_up:
        return (step + 1) / warm_up
    return 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(1, steps - warm_up)))
