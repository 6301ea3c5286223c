"""HTNet: hierarchical transformer network for micro-expression recognition.

Paper: Wang, Zhang, Luo, Sankaranarayana, "HTNet for micro-expression recognition" (2024). The network is NesT (Zhang et
al., "Nested hierarchical transformer", 2022) on a mosaic of four facial areas. The released code works on feature maps
with 1x1 convolutions; here the same function is written on tokens, (batch x blocks, tokens, dim), and
`load_released_weights` takes its checkpoints.

    model = HTNet(image_size=28, patch_size=7, num_classes=3, dim=256, heads=3, num_hierarchies=3,
                  block_repeats=(2, 2, 10))
    model(torch.zeros(2, 3, 28, 28)).shape     # [2, 3]

Errata. At the paper's settings there are 4x4 patches and three hierarchies cut them into 4x4, 2x2 and 1 blocks, so
that every block holds one token: attention is then its value projection, exactly, queries and keys get no gradient, and
the number of heads only rounds the inner width (heads x floor(dim / heads)). The attention over four tokens that the
paper's figure draws takes two hierarchies.
"""
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import nn

# The paper's settings: the highest score of its ablations.
PAPER = dict(
    image_size=28, patch_size=7, num_classes=3, dim=256, heads=3, num_hierarchies=3,
    block_repeats=(2, 2, 10),
)


class Attention(nn.Module):
    """Multi-head attention among the tokens of each block, [B, T, dim] -> [B, T, dim]; no bias on query, key, value."""

    def __init__(self, dim, heads, tokens, dropout):
        super().__init__()
        self.heads, self.tokens = heads, tokens
        inner = heads * (dim // heads)  # released: rounds down where heads do not divide dim
        self.query_key = nn.Linear(dim, 2 * inner, bias=False)
        self.value = nn.Linear(dim, inner, bias=False)
        self.out = nn.Linear(inner, dim)
        self.dropout = nn.Dropout(dropout)
        # Without gradient they cost nothing in training, but stay in checkpoints as the released ones have them.
        self.query_key.requires_grad_(tokens > 1)

    def forward(self, x):
        value = self.value(x)
        if self.tokens > 1:  # a softmax over a single token is 1: the value itself is attention's result
            query, key, value = (rearrange(t, "b t (h d) -> b h t d", h=self.heads)
                                 for t in (*self.query_key(x).chunk(2, dim=-1), value))
            value = rearrange(F.scaled_dot_product_attention(query, key, value), "b h t d -> b t (h d)")
        return self.dropout(self.out(value))


class MLP(nn.Sequential):
    def __init__(self, dim, mult, dropout):
        super().__init__(nn.Linear(dim, dim * mult), nn.GELU(), nn.Dropout(dropout),
                         nn.Linear(dim * mult, dim), nn.Dropout(dropout))


class Level(nn.Module):
    """One hierarchy: a learned scalar per position in the block, then pre-norm attention and MLP with residuals."""

    def __init__(self, dim, heads, block_side, repeats, mlp_mult, dropout):
        super().__init__()
        self.block_side = block_side
        self.position = nn.Parameter(torch.randn(block_side ** 2))
        self.blocks = nn.ModuleList(nn.ModuleDict({
            "attention_norm": nn.LayerNorm(dim), "attention": Attention(dim, heads, block_side ** 2, dropout),
            "mlp_norm": nn.LayerNorm(dim), "mlp": MLP(dim, mlp_mult, dropout)}) for _ in range(repeats))

    def forward(self, x):  # [B, H, W, dim]
        size = dict(h=x.shape[1] // self.block_side, w=x.shape[2] // self.block_side)
        pattern = "b (h p) (w q) d", "(b h w) (p q) d"
        x = rearrange(x, " -> ".join(pattern), **size)
        x = x + self.position[:, None]
        for block in self.blocks:
            x = x + block["attention"](block["attention_norm"](x))
            x = x + block["mlp"](block["mlp_norm"](x))
        return rearrange(x, " -> ".join(pattern[::-1]), p=self.block_side, **size)


class Aggregation(nn.Module):
    """Joins 2x2 blocks into one: 3x3 convolution to twice the width, layer norm, 3x3 max pooling with stride 2."""

    def __init__(self, dim, dim_out):
        super().__init__()
        self.conv = nn.Conv2d(dim, dim_out, 3, padding=1)
        self.norm = nn.LayerNorm(dim_out)

    def forward(self, x):  # [B, H, W, dim] -> [B, H / 2, W / 2, 2 dim]
        x = self.norm(self._dense(x) if x.shape[1] == x.shape[2] == 2 else channels_last(self.conv, x))
        return channels_last(lambda maps: F.max_pool2d(maps, 3, stride=2, padding=1), x)

    def _dense(self, x):
        """The convolution of a 2x2 map as one linear layer: 20 of its 36 taps would only multiply padding."""
        # Position (i, j) of the map sees (k, l) through the tap (k - i + 1, l - j + 1).
        taps = self.conv.weight.flatten(2).unbind(-1)
        weight = torch.cat([torch.cat([taps[3 * (k - i + 1) + l - j + 1] for k in (0, 1) for l in (0, 1)], dim=1)
                            for i in (0, 1) for j in (0, 1)])  # [4 dim_out, 4 dim]
        return F.linear(x.flatten(1), weight, self.conv.bias.repeat(4)).view(len(x), 2, 2, -1)


def channels_last(layer, x):
    """Applies a layer made for maps [B, dim, H, W] to tokens on a map, [B, H, W, dim], without copying them."""
    return layer(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


class HTNet(nn.Module):
    """Images [B, channels, image_size, image_size] -> logits [B, num_classes] (paper, section III).

    dim and heads are the first level's and double with each of the `num_hierarchies` levels; block_repeats says how
    many transformer layers each level has, from fine to coarse. Settings that don't fit raise ValueError with what to
    change.
    """

    def __init__(self, *, image_size, patch_size, num_classes, dim, heads, num_hierarchies, block_repeats, mlp_mult=4,
                 channels=3, dropout=0.):
        super().__init__()
        repeats = (block_repeats,) * num_hierarchies if isinstance(block_repeats, int) else tuple(block_repeats)
        for name, value in dict(image_size=image_size, patch_size=patch_size, num_classes=num_classes, dim=dim,
                                heads=heads, num_hierarchies=num_hierarchies, mlp_mult=mlp_mult).items():
            if value < 1:
                raise ValueError(f"{name} is {value}: it must be at least 1.")
        if len(repeats) != num_hierarchies or min(repeats) < 0:
            raise ValueError(f"block_repeats {repeats} must have one number for each of the {num_hierarchies} "
                             "hierarchies: change block_repeats or num_hierarchies.")
        if image_size % patch_size:
            raise ValueError(f"image_size {image_size} is no multiple of patch_size {patch_size}: change patch_size.")
        side, blocks = image_size // patch_size, 2 ** (num_hierarchies - 1)
        if side % blocks:
            raise ValueError(f"{side}x{side} patches (image_size / patch_size) cannot be cut into {blocks}x{blocks} "
                             f"blocks for {num_hierarchies} hierarchies: change patch_size or num_hierarchies.")
        if dim < heads:
            raise ValueError(f"dim {dim} is less than heads {heads}: raise dim or lower heads.")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout is {dropout}: it must be at least 0 and less than 1.")
        self.patch_size = patch_size
        self.embed = nn.Linear(channels * patch_size ** 2, dim)
        self.levels, self.aggregations = nn.ModuleList(), nn.ModuleList()
        for level in range(num_hierarchies):
            width = dim * 2 ** level
            self.levels.append(Level(width, heads * 2 ** level, side // blocks, repeats[level], mlp_mult, dropout))
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


def is_released(state_dict):
    """Whether a state dict has the names of the authors' released HTNet code."""
    return "to_patch_embedding.1.weight" in state_dict


def load_released_weights(model, state_dict):
    """Loads a state dict with the released code's names and shapes into `model` (HTNet), in place.

    Raises ValueError naming the first parameter that is missing, left over or of another shape.
    """
    names = {"embed": "to_patch_embedding.1", "norm": "mlp_head.0", "head": "mlp_head.2"}
    for i, level in enumerate(model.levels):
        names[f"levels.{i}.position"] = f"layers.{i}.0.pos_emb"
        for j in range(len(level.blocks)):
            ours, theirs = f"levels.{i}.blocks.{j}", f"layers.{i}.0.layers.{j}"
            names |= {f"{ours}.attention_norm": f"{theirs}.0.norm", f"{ours}.attention.out": f"{theirs}.0.fn.to_out.0",
                      f"{ours}.mlp_norm": f"{theirs}.1.norm", f"{ours}.mlp.0": f"{theirs}.1.fn.net.0",
                      f"{ours}.mlp.3": f"{theirs}.1.fn.net.3"}
        names |= {f"aggregations.{i}.conv": f"layers.{i}.1.0", f"aggregations.{i}.norm": f"layers.{i}.1.1"}
    remaining, converted = dict(state_dict), {}

    def take(name):
        if name not in remaining:
            raise ValueError(f"the released weights lack '{name}': other settings (num_hierarchies, block_repeats)?")
        return remaining.pop(name)

    own = model.state_dict()
    for name in own:
        module, _, kind = name.rpartition(".")
        if module.endswith(("query_key", "value")):
            continue
        if module.endswith("norm"):  # the released layer norms call weight and bias g and b
            kind = {"weight": "g", "bias": "b"}[kind]
        converted[name] = take(names.get(name) or f"{names[module]}.{kind}")
    for i, level in enumerate(model.levels):
        for j in range(len(level.blocks)):
            ours = f"levels.{i}.blocks.{j}.attention"
            inner = len(own[f"{ours}.value.weight"])
            qkv = take(f"layers.{i}.0.layers.{j}.0.fn.to_qkv.weight")
            converted[f"{ours}.query_key.weight"], converted[f"{ours}.value.weight"] = qkv[:2 * inner], qkv[2 * inner:]
    if remaining:
        raise ValueError(f"the released weights have '{min(remaining)}', which this network lacks: other settings?")
    for name, value in converted.items():
        if value.numel() != own[name].numel() or value.shape[:1] != own[name].shape[:1] and value.shape[0] != 1:
            raise ValueError(f"the released weights for '{name}' have shape {tuple(value.shape)} for "
                             f"{tuple(own[name].shape)}: other settings (dim, patch_size)?")
    model.load_state_dict({name: value.reshape(own[name].shape) for name, value in converted.items()})
