"""HTNet: hierarchical transformer network for micro-expression recognition.

Paper: Wang, Zhang, Luo, Sankaranarayana, "HTNet for micro-expression recognition" (2024). The
network is NesT (Zhang et al., "Nested hierarchical transformer", 2022) on a mosaic of four facial
areas. The released code works on feature maps with 1x1 convolutions; here the same function is
written on tokens, (batch x blocks, tokens, dim), and `load_released_weights` takes its checkpoints.

    model = HTNet(image_size=28, patch_size=7, num_classes=3, dim=256, heads=3, num_hierarchies=3,
                  block_repeats=(2, 2, 10))
    model(torch.zeros(2, 3, 28, 28)).shape     # [2, 3]

Errata. At the paper's settings there are 4x4 patches and three hierarchies cut them into 4x4, 2x2
and 1 blocks, so that every block holds one token: attention is then its value projection, exactly,
queries and keys get no gradient, and the number of heads only rounds the inner width (heads x
floor(dim / heads)). The attention over four tokens that the paper's figure draws takes two
hierarchies.
"""

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import nn

from support.released_weights import load_released_weights

__all__ = ["PAPER", "HTNet", "load_released_weights"]

# The paper's settings: the highest score of its ablations.
PAPER = dict(
    image_size=28,
    patch_size=7,
    num_classes=3,
    dim=256,
    heads=3,
    num_hierarchies=3,
    block_repeats=(2, 2, 10),
)


class Attention(nn.Module):
    """Multi-head attention among the tokens of each block, [B, T, dim] -> [B, T, dim].

    No bias on query, key, value.
    """

    def __init__(self, dim, heads, tokens, dropout):
        super().__init__()
        self.heads, self.tokens = heads, tokens
        inner = heads * (dim // heads)  # released: rounds down where heads do not divide dim
        self.query_key = nn.Linear(dim, 2 * inner, bias=False)
        self.value = nn.Linear(dim, inner, bias=False)
        self.out = nn.Linear(inner, dim)
        self.dropout = nn.Dropout(dropout)
        # Without gradient they cost nothing in training, but stay in checkpoints as the released
        # ones have them.
        self.query_key.requires_grad_(tokens > 1)

    def forward(self, x):
        value = self.value(x)
        if self.tokens > 1:  # a softmax over a single token is 1: the value is attention's result
            query, key = self.query_key(x).chunk(2, dim=-1)
            query, key, value = (
                rearrange(t, "b t (h d) -> b h t d", h=self.heads) for t in (query, key, value)
            )
            mixed = F.scaled_dot_product_attention(query, key, value)  # [B, heads, T, dim / heads]
            value = rearrange(mixed, "b h t d -> b t (h d)")
        return self.dropout(self.out(value))


class MLP(nn.Sequential):
    """[B, T, dim] -> [B, T, dim], with a hidden layer of mult * dim."""

    def __init__(self, dim, mult, dropout):
        super().__init__(
            nn.Linear(dim, dim * mult),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(dim * mult, dim),
            nn.Dropout(dropout),
        )


class TransformerLayer(nn.Module):
    """Attention, then MLP, each after a layer norm and with a residual: [B, T, dim] -> the same."""

    def __init__(self, dim, heads, tokens, mlp_mult, dropout):
        super().__init__()
        self.attention_norm = nn.LayerNorm(dim)
        self.attention = Attention(dim, heads, tokens, dropout)
        self.mlp_norm = nn.LayerNorm(dim)
        self.mlp = MLP(dim, mlp_mult, dropout)

    def forward(self, x):
        x = x + self.attention(self.attention_norm(x))
        return x + self.mlp(self.mlp_norm(x))


class Level(nn.Module):
    """One hierarchy: a learned scalar per position in the block, then transformer layers."""

    def __init__(self, dim, heads, block_side, repeats, mlp_mult, dropout):
        super().__init__()
        self.block_side = block_side
        tokens = block_side**2
        self.position = nn.Parameter(torch.randn(tokens))
        # named as in checkpoints; elsewhere a block is a square of tokens
        self.blocks = nn.ModuleList(
            TransformerLayer(dim, heads, tokens, mlp_mult, dropout) for _ in range(repeats)
        )

    def forward(self, x):  # [B, H, W, dim]
        p = self.block_side
        h, w = x.shape[1] // p, x.shape[2] // p
        x = rearrange(x, "b (h p) (w q) d -> (b h w) (p q) d", p=p, q=p)  # [B h w, p^2, dim]
        x = x + self.position[:, None]  # the same for all of dim
        for layer in self.blocks:
            x = layer(x)
        return rearrange(x, "(b h w) (p q) d -> b (h p) (w q) d", h=h, w=w, p=p)  # [B, H, W, dim]


class Aggregation(nn.Module):
    """Joins 2x2 blocks into one.

    3x3 convolution to twice the width, layer norm, 3x3 max pooling with stride 2.
    """

    def __init__(self, dim, dim_out):
        super().__init__()
        self.conv = nn.Conv2d(dim, dim_out, 3, padding=1)
        self.norm = nn.LayerNorm(dim_out)
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)

    def forward(self, x):  # [B, H, W, dim]
        if x.shape[1] == x.shape[2] == 2:
            x = self.convolve_2x2(x)
        else:
            x = apply_to_maps(self.conv, x)
        x = self.norm(x)  # [B, H, W, 2 dim]
        return apply_to_maps(self.pool, x)  # [B, H / 2, W / 2, 2 dim]

    def convolve_2x2(self, x):
        """The convolution of a 2x2 map as one linear layer.

        20 of the 36 products of taps and pixels would only multiply padding. A training step of the
        paper's network takes a fifth less time so (on a CPU, float32 and bf16).
        """
        # Position (i, j) of the map sees (k, m) through the tap (k - i + 1, m - j + 1).
        taps = self.conv.weight.flatten(2).unbind(-1)
        positions = [(i, j) for i in (0, 1) for j in (0, 1)]
        rows = [
            torch.cat([taps[3 * (k - i + 1) + m - j + 1] for k, m in positions], dim=1)
            for i, j in positions
        ]
        weight = torch.cat(rows)  # [4 dim_out, 4 dim]
        bias = self.conv.bias
        return F.linear(x.flatten(1), weight, bias.repeat(4)).view(len(x), 2, 2, len(bias))


def apply_to_maps(layer, x):
    """Applies a layer for maps [B, dim, H, W] to tokens on a map [B, H, W, dim], without a copy."""
    return layer(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


class HTNet(nn.Module):
    """Images [B, channels, image_size, image_size] -> logits [B, num_classes] (paper, section III).

    dim and heads are the first level's and double with each of the `num_hierarchies` levels;
    block_repeats says how many transformer layers each level has, from fine to coarse. Settings
    that don't fit raise ValueError with what to change.
    """

    def __init__(
        self,
        *,
        image_size,
        patch_size,
        num_classes,
        dim,
        heads,
        num_hierarchies,
        block_repeats,
        mlp_mult=4,
        channels=3,
        dropout=0.0,
    ):
        super().__init__()
        if isinstance(block_repeats, int):
            block_repeats = (block_repeats,) * num_hierarchies
        check_sizes(
            block_repeats,
            dropout,
            image_size=image_size,
            patch_size=patch_size,
            num_classes=num_classes,
            dim=dim,
            heads=heads,
            num_hierarchies=num_hierarchies,
            mlp_mult=mlp_mult,
            channels=channels,
        )
        side = image_size // patch_size  # patches a side
        blocks = 2 ** (num_hierarchies - 1)  # blocks a side, on the first level
        self.patch_size = patch_size
        self.embed = nn.Linear(channels * patch_size**2, dim)
        self.levels, self.aggregations = nn.ModuleList(), nn.ModuleList()
        for level in range(num_hierarchies):
            width = dim * 2**level
            self.levels.append(
                Level(
                    width, heads * 2**level, side // blocks, block_repeats[level], mlp_mult, dropout
                )
            )
            if level < num_hierarchies - 1:
                self.aggregations.append(Aggregation(width, 2 * width))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, num_classes)

    def forward(self, images):
        p = self.patch_size
        x = self.embed(rearrange(images, "b c (h p) (w q) -> b h w (p q c)", p=p, q=p))
        for i, level in enumerate(self.levels):
            x = level(x)  # [B, side / 2^i, side / 2^i, dim * 2^i]
            if i < len(self.aggregations):
                x = self.aggregations[i](x)
        with torch.autocast(x.device.type, enabled=False):  # bf16 logits would often be equal
            return self.head(self.norm(x).mean((1, 2)).to(self.head.weight.dtype))


def check_sizes(block_repeats, dropout, **sizes):
    """Raises ValueError naming the setting of HTNet that does not fit, and what to change."""
    for name, value in sizes.items():
        if value < 1:
            raise ValueError(f"{name} is {value}: it must be at least 1.")
    dim, heads, num_hierarchies = sizes["dim"], sizes["heads"], sizes["num_hierarchies"]
    image_size, patch_size = sizes["image_size"], sizes["patch_size"]
    if len(block_repeats) != num_hierarchies or min(block_repeats) < 0:
        raise ValueError(
            f"block_repeats {tuple(block_repeats)} must have one number for each of the "
            f"{num_hierarchies} hierarchies: change block_repeats or num_hierarchies."
        )
    if image_size % patch_size:
        raise ValueError(
            f"image_size {image_size} is no multiple of patch_size {patch_size}: change patch_size."
        )
    side, blocks = image_size // patch_size, 2 ** (num_hierarchies - 1)
    if side % blocks:
        raise ValueError(
            f"{side}x{side} patches (image_size / patch_size) cannot be cut into {blocks}x{blocks} "
            f"blocks for {num_hierarchies} hierarchies: change patch_size or num_hierarchies."
        )
    if dim < heads:
        raise ValueError(f"dim {dim} is less than heads {heads}: raise dim or lower heads.")
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout is {dropout}: it must be at least 0 and less than 1.")
