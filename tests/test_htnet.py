"""The network against the released one: logits, parameter names and counts, attention over one and several tokens."""
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from htnet import Aggregation, HTNet, load_released_weights

PAPER = dict(image_size=28, patch_size=7, num_classes=3, dim=256, heads=3, num_hierarchies=3, block_repeats=(2, 2, 10))
SMALL = PAPER | dict(dim=12, block_repeats=(1, 2, 1))


def released_shapes(*, image_size, patch_size, num_classes, dim, heads, num_hierarchies, block_repeats):
    """Names and shapes of a checkpoint of the released code, from its settings."""
    shapes = {"to_patch_embedding.1.weight": (dim, 3 * patch_size ** 2, 1, 1), "to_patch_embedding.1.bias": (dim,)}
    tokens = (image_size // patch_size // 2 ** (num_hierarchies - 1)) ** 2
    for i in range(num_hierarchies):
        d, inner = dim * 2 ** i, heads * 2 ** i * (dim // heads)
        shapes[f"layers.{i}.0.pos_emb"] = (tokens,)
        for j in range(block_repeats[i]):
            layer = f"layers.{i}.0.layers.{j}"
            for part in (0, 1):
                shapes |= {f"{layer}.{part}.norm.{kind}": (1, d, 1, 1) for kind in "gb"}
            shapes |= {f"{layer}.0.fn.to_qkv.weight": (3 * inner, d, 1, 1),
                       f"{layer}.0.fn.to_out.0.weight": (d, inner, 1, 1), f"{layer}.0.fn.to_out.0.bias": (d,),
                       f"{layer}.1.fn.net.0.weight": (4 * d, d, 1, 1), f"{layer}.1.fn.net.0.bias": (4 * d,),
                       f"{layer}.1.fn.net.3.weight": (d, 4 * d, 1, 1), f"{layer}.1.fn.net.3.bias": (d,)}
        if i < num_hierarchies - 1:
            shapes |= {f"layers.{i}.1.0.weight": (2 * d, d, 3, 3), f"layers.{i}.1.0.bias": (2 * d,),
                       f"layers.{i}.1.1.g": (1, 2 * d, 1, 1), f"layers.{i}.1.1.b": (1, 2 * d, 1, 1)}
    return shapes | {"mlp_head.0.g": (1, d, 1, 1), "mlp_head.0.b": (1, d, 1, 1), "mlp_head.2.weight": (num_classes, d),
                     "mlp_head.2.bias": (num_classes,)}


def draw_state(shapes):
    return {name: torch.from_numpy(0.05 * np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape)
                                   + name.endswith(".g")) for name, shape in shapes.items()}


def plain_forward(state, images, *, patch_size, heads, num_hierarchies, block_repeats, **_):
    """The released formulation, written plainly: feature maps, 1x1 convolutions, all of query, key and value."""
    def norm(x, name):
        variance, mean = torch.var_mean(x, dim=1, unbiased=False, keepdim=True)
        return (x - mean) / (variance + 1e-5).sqrt() * state[f"{name}.g"] + state[f"{name}.b"]

    batch, channels, size, _ = images.shape
    side = size // patch_size
    x = images.reshape(batch, channels, side, patch_size, side, patch_size).permute(0, 3, 5, 1, 2, 4)
    x = F.conv2d(x.reshape(batch, -1, side, side), state["to_patch_embedding.1.weight"],
                 state["to_patch_embedding.1.bias"])
    for i in range(num_hierarchies):
        blocks = 2 ** (num_hierarchies - 1 - i)
        b, d, h, w = x.shape
        x = x.reshape(b, d, blocks, h // blocks, blocks, w // blocks).permute(0, 2, 4, 1, 3, 5)
        x = x.reshape(b * blocks ** 2, d, h // blocks, w // blocks)
        x = x + state[f"layers.{i}.0.pos_emb"].reshape(h // blocks, w // blocks)
        many = heads * 2 ** i
        for j in range(block_repeats[i]):
            layer = f"layers.{i}.0.layers.{j}"
            qkv = F.conv2d(norm(x, f"{layer}.0.norm"), state[f"{layer}.0.fn.to_qkv.weight"])
            q, k, v = (part.reshape(len(x), many, -1, x.shape[2] * x.shape[3]) for part in qkv.chunk(3, dim=1))
            attention = (torch.einsum("nhdi,nhdj->nhij", q, k) * q.shape[2] ** -0.5).softmax(-1)
            out = torch.einsum("nhij,nhdj->nhdi", attention, v).reshape(len(x), -1, *x.shape[2:])
            x = x + F.conv2d(out, state[f"{layer}.0.fn.to_out.0.weight"], state[f"{layer}.0.fn.to_out.0.bias"])
            hidden = F.gelu(F.conv2d(norm(x, f"{layer}.1.norm"), state[f"{layer}.1.fn.net.0.weight"],
                                     state[f"{layer}.1.fn.net.0.bias"]))
            x = x + F.conv2d(hidden, state[f"{layer}.1.fn.net.3.weight"], state[f"{layer}.1.fn.net.3.bias"])
        x = x.reshape(b, blocks, blocks, d, h // blocks, w // blocks).permute(0, 3, 1, 4, 2, 5).reshape(b, d, h, w)
        if i < num_hierarchies - 1:
            x = F.conv2d(x, state[f"layers.{i}.1.0.weight"], state[f"layers.{i}.1.0.bias"], padding=1)
            x = F.max_pool2d(norm(x, f"layers.{i}.1.1"), 3, stride=2, padding=1)
    return F.linear(norm(x, "mlp_head.0").mean((2, 3)), state["mlp_head.2.weight"], state["mlp_head.2.bias"])


def test_parameter_names_are_the_released_ones():
    lines = (Path(__file__).parent / "reference" / "released_state_dict.tsv").read_text().splitlines()
    listed = {name: eval(shape) for name, shape in (line.split("\t") for line in lines)}
    assert released_shapes(**PAPER) == listed


@pytest.mark.parametrize("case", ["paper", "two_levels"])
def test_released_logits(reference, case):
    config = reference["released_logits"][case]["config"]
    model = HTNet(**config).double().eval()
    assert sum(parameter.numel() for parameter in model.parameters()) == \
        reference["released_logits"][case]["parameters"]
    load_released_weights(model, draw_state(released_shapes(**config)))
    images = torch.from_numpy(np.random.default_rng(7).uniform(0, 255, (4, 3, 28, 28)))
    with torch.no_grad():
        logits = model(images)
    torch.testing.assert_close(logits, torch.tensor(reference["released_logits"][case]["logits"], dtype=torch.float64),
                               atol=1e-5, rtol=0)


@pytest.mark.parametrize("change", [
    dict(), dict(num_hierarchies=2, block_repeats=(2, 1)), dict(num_hierarchies=1, block_repeats=(2,)),
    dict(patch_size=2, num_hierarchies=2, block_repeats=(1, 1), heads=5),
    dict(image_size=56, num_hierarchies=3), dict(image_size=32, patch_size=4, num_hierarchies=3, heads=4),
    dict(image_size=24, patch_size=2, num_hierarchies=3), dict(patch_size=14, num_hierarchies=2, block_repeats=(1, 1))])
def test_equals_the_plain_formulation(change):
    config = SMALL | change
    state = draw_state(released_shapes(**config))
    model = HTNet(**config).double()
    load_released_weights(model, state)
    images = torch.from_numpy(np.random.default_rng(1).uniform(0, 255, (3, 3, config["image_size"],
                                                                        config["image_size"])))
    torch.testing.assert_close(model(images), plain_forward(state, images, **config), atol=1e-10, rtol=1e-10)


def test_ten_training_steps_equal_the_plain_formulation():
    state = {name: value.requires_grad_() for name, value in draw_state(released_shapes(**SMALL)).items()}
    model = HTNet(**SMALL).double()
    load_released_weights(model, {name: value.detach().clone() for name, value in state.items()})
    images = torch.from_numpy(np.random.default_rng(2).uniform(0, 255, (6, 3, 28, 28)))
    labels = torch.tensor([0, 1, 2, 0, 1, 2])
    losses = []
    for parameters, forward in ((list(state.values()), lambda: plain_forward(state, images, **SMALL)),
                                (list(model.parameters()), lambda: model(images))):
        optimizer = torch.optim.Adam(parameters, lr=1e-3)
        losses.append([])
        for _ in range(10):
            optimizer.zero_grad()
            loss = F.cross_entropy(forward(), labels)
            loss.backward()
            optimizer.step()
            losses[-1].append(loss.item())
    assert losses[0][-1] < losses[0][0] / 2
    np.testing.assert_allclose(losses[1], losses[0], atol=1e-8, rtol=0)


def test_queries_and_keys_cost_nothing_at_one_token_per_block():
    model = HTNet(**SMALL)
    F.cross_entropy(model(torch.rand(2, 3, 28, 28)), torch.tensor([0, 1])).backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    assert all((gradient is None) == ("query_key" in name) for name, gradient in gradients.items())
    two = HTNet(**SMALL | dict(num_hierarchies=2, block_repeats=(1, 1)))
    F.cross_entropy(two(torch.rand(2, 3, 28, 28)), torch.tensor([0, 1])).backward()
    assert all(parameter.grad is not None and parameter.grad.abs().max() > 0 for parameter in two.parameters())


def test_heads_that_divide_dim_are_one_network_at_one_token_per_block():
    """The paper's heads ablation (dim 256): 1, 2 and 4 are the same network, 3 and 5 another, 6 a third."""
    images = torch.rand(2, 3, 28, 28)

    def logits(heads):
        torch.manual_seed(0)
        return HTNet(**SMALL | dict(dim=32, heads=heads))(images)  # 32 as 256: 1, 2, 4 divide it, 3, 5, 6 do not

    same = logits(1)
    assert torch.equal(logits(2), same) and torch.equal(logits(4), same)
    assert torch.equal(logits(3), logits(5)) and not torch.equal(logits(3), same)  # inner width 30 for both
    widths = [heads * (256 // heads) for heads in range(1, 7)]
    assert widths == [256, 256, 255, 256, 255, 252]


def test_two_by_two_aggregation_is_the_convolution():
    layer, x = Aggregation(5, 10).double(), torch.rand(3, 2, 2, 5, dtype=torch.float64)
    maps = layer.conv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    torch.testing.assert_close(layer._dense(x), maps)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 4), st.integers(1, 4), st.integers(4, 9), st.integers(1, 4))
def test_any_settings_that_divide_work(levels, block_side, patch, channels, dim, heads):
    size = patch * block_side * 2 ** (levels - 1)
    model = HTNet(image_size=size, patch_size=patch, num_classes=4, dim=dim, heads=heads, num_hierarchies=levels,
                  block_repeats=1, channels=channels)
    logits = model(torch.rand(2, channels, size, size))
    assert logits.shape == (2, 4) and logits.isfinite().all()


@pytest.mark.parametrize("change, words", [
    (dict(patch_size=5), "patch_size"), (dict(num_hierarchies=4, block_repeats=1), "num_hierarchies"),
    (dict(block_repeats=(1, 1)), "block_repeats"), (dict(dim=2), "heads"), (dict(dim=0), "dim"),
    (dict(dropout=1.0), "dropout"), (dict(heads=0), "heads")])
def test_settings_that_do_not_fit_are_refused(change, words):
    with pytest.raises(ValueError, match=words):
        HTNet(**SMALL | change)


@pytest.mark.parametrize("damage, words", [
    (lambda state: state.pop("mlp_head.2.bias"), "lack 'mlp_head.2.bias'"),
    (lambda state: state.update(extra=torch.zeros(1)), "extra"),
    (lambda state: state.update({"mlp_head.2.weight": torch.zeros(3, 7)}), "shape")])
def test_released_weights_that_do_not_fit_are_refused(damage, words):
    state = draw_state(released_shapes(**SMALL))
    damage(state)
    with pytest.raises(ValueError, match=words):
        load_released_weights(HTNet(**SMALL), state)
