"""HTNet as its authors wrote it: feature maps, 1x1 convolutions, all of query, key and value, norms
in single steps.

What `htnet.py` is tested against and timed against. It stands here once and is not used for
anything else.
"""

import zlib

import numpy as np
import torch
import torch.nn.functional as F


def released_shapes(
    *, image_size, patch_size, num_classes, dim, heads, num_hierarchies, block_repeats
):
    """Names and shapes of a checkpoint of the released code, from its settings."""
    shapes = {
        "to_patch_embedding.1.weight": (dim, 3 * patch_size**2, 1, 1),
        "to_patch_embedding.1.bias": (dim,),
    }
    tokens = (image_size // patch_size // 2 ** (num_hierarchies - 1)) ** 2
    for i in range(num_hierarchies):
        d, inner = dim * 2**i, heads * 2**i * (dim // heads)
        shapes[f"layers.{i}.0.pos_emb"] = (tokens,)
        for j in range(block_repeats[i]):
            layer = f"layers.{i}.0.layers.{j}"
            for part in (0, 1):
                shapes |= {f"{layer}.{part}.norm.{kind}": (1, d, 1, 1) for kind in "gb"}
            shapes |= {
                f"{layer}.0.fn.to_qkv.weight": (3 * inner, d, 1, 1),
                f"{layer}.0.fn.to_out.0.weight": (d, inner, 1, 1),
                f"{layer}.0.fn.to_out.0.bias": (d,),
                f"{layer}.1.fn.net.0.weight": (4 * d, d, 1, 1),
                f"{layer}.1.fn.net.0.bias": (4 * d,),
                f"{layer}.1.fn.net.3.weight": (d, 4 * d, 1, 1),
                f"{layer}.1.fn.net.3.bias": (d,),
            }
        if i < num_hierarchies - 1:
            shapes |= {
                f"layers.{i}.1.0.weight": (2 * d, d, 3, 3),
                f"layers.{i}.1.0.bias": (2 * d,),
                f"layers.{i}.1.1.g": (1, 2 * d, 1, 1),
                f"layers.{i}.1.1.b": (1, 2 * d, 1, 1),
            }
    return shapes | {
        "mlp_head.0.g": (1, d, 1, 1),
        "mlp_head.0.b": (1, d, 1, 1),
        "mlp_head.2.weight": (num_classes, d),
        "mlp_head.2.bias": (num_classes,),
    }


def draw_state(shapes):
    """Weights drawn as those behind tests/reference/released_logits.json were, by name."""
    return {
        name: torch.from_numpy(
            0.05 * np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape)
            + name.endswith(".g")
        )
        for name, shape in shapes.items()
    }


def plain_forward(state, images, *, patch_size, heads, num_hierarchies, block_repeats, **_):
    """The released formulation, plainly: feature maps, 1x1 convolutions, query, key and value."""

    def norm(x, name):
        variance, mean = torch.var_mean(x, dim=1, unbiased=False, keepdim=True)
        return (x - mean) / (variance + 1e-5).sqrt() * state[f"{name}.g"] + state[f"{name}.b"]

    batch, channels, size, _ = images.shape
    side = size // patch_size
    x = images.reshape(batch, channels, side, patch_size, side, patch_size).permute(
        0, 3, 5, 1, 2, 4
    )
    x = F.conv2d(
        x.reshape(batch, -1, side, side),
        state["to_patch_embedding.1.weight"],
        state["to_patch_embedding.1.bias"],
    )
    for i in range(num_hierarchies):
        blocks = 2 ** (num_hierarchies - 1 - i)
        b, d, h, w = x.shape
        x = x.reshape(b, d, blocks, h // blocks, blocks, w // blocks).permute(0, 2, 4, 1, 3, 5)
        x = x.reshape(b * blocks**2, d, h // blocks, w // blocks)
        x = x + state[f"layers.{i}.0.pos_emb"].reshape(h // blocks, w // blocks)
        many = heads * 2**i
        for j in range(block_repeats[i]):
            layer = f"layers.{i}.0.layers.{j}"
            qkv = F.conv2d(norm(x, f"{layer}.0.norm"), state[f"{layer}.0.fn.to_qkv.weight"])
            q, k, v = (
                part.reshape(len(x), many, -1, x.shape[2] * x.shape[3])
                for part in qkv.chunk(3, dim=1)
            )
            attention = (torch.einsum("nhdi,nhdj->nhij", q, k) * q.shape[2] ** -0.5).softmax(-1)
            out = torch.einsum("nhij,nhdj->nhdi", attention, v).reshape(len(x), -1, *x.shape[2:])
            x = x + F.conv2d(
                out, state[f"{layer}.0.fn.to_out.0.weight"], state[f"{layer}.0.fn.to_out.0.bias"]
            )
            hidden = F.gelu(
                F.conv2d(
                    norm(x, f"{layer}.1.norm"),
                    state[f"{layer}.1.fn.net.0.weight"],
                    state[f"{layer}.1.fn.net.0.bias"],
                )
            )
            x = x + F.conv2d(
                hidden, state[f"{layer}.1.fn.net.3.weight"], state[f"{layer}.1.fn.net.3.bias"]
            )
        x = (
            x.reshape(b, blocks, blocks, d, h // blocks, w // blocks)
            .permute(0, 3, 1, 4, 2, 5)
            .reshape(b, d, h, w)
        )
        if i < num_hierarchies - 1:
            x = F.conv2d(
                x, state[f"layers.{i}.1.0.weight"], state[f"layers.{i}.1.0.bias"], padding=1
            )
            x = F.max_pool2d(norm(x, f"layers.{i}.1.1"), 3, stride=2, padding=1)
    return F.linear(
        norm(x, "mlp_head.0").mean((2, 3)), state["mlp_head.2.weight"], state["mlp_head.2.bias"]
    )
