"""The network against the released one: logits, parameter names and counts, attention over one and
several tokens.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.plain_htnet import draw_state, plain_forward, released_shapes
from htnet import PAPER, Aggregation, Attention, HTNet, load_released_weights

SMALL = PAPER | dict(dim=12, block_repeats=(1, 2, 1))


def test_parameter_names_are_the_released_ones():
    lines = (
        (Path(__file__).parent / "reference" / "released_state_dict.tsv").read_text().splitlines()
    )
    listed = {name: eval(shape) for name, shape in (line.split("\t") for line in lines)}
    assert released_shapes(**PAPER) == listed


@pytest.mark.parametrize("case", ["paper", "two_levels"])
def test_released_logits(reference, case):
    config = reference["released_logits"][case]["config"]
    model = HTNet(**config).double().eval()
    assert (
        sum(parameter.numel() for parameter in model.parameters())
        == reference["released_logits"][case]["parameters"]
    )
    load_released_weights(model, draw_state(released_shapes(**config)))
    images = torch.from_numpy(np.random.default_rng(7).uniform(0, 255, (4, 3, 28, 28)))
    with torch.no_grad():
        logits = model(images)
    torch.testing.assert_close(
        logits,
        torch.tensor(reference["released_logits"][case]["logits"], dtype=torch.float64),
        atol=1e-5,
        rtol=0,
    )


@pytest.mark.parametrize(
    "change",
    [
        dict(),
        dict(num_hierarchies=2, block_repeats=(2, 1)),
        dict(num_hierarchies=1, block_repeats=(2,)),
        dict(patch_size=2, num_hierarchies=2, block_repeats=(1, 1), heads=5),
        dict(image_size=56, num_hierarchies=3),
        dict(image_size=32, patch_size=4, num_hierarchies=3, heads=4),
        dict(image_size=24, patch_size=2, num_hierarchies=3),
        dict(patch_size=14, num_hierarchies=2, block_repeats=(1, 1)),
    ],
)
def test_equals_the_plain_formulation(change):
    config = SMALL | change
    state = draw_state(released_shapes(**config))
    model = HTNet(**config).double()
    load_released_weights(model, state)
    images = torch.from_numpy(
        np.random.default_rng(1).uniform(0, 255, (3, 3, config["image_size"], config["image_size"]))
    )
    torch.testing.assert_close(
        model(images), plain_forward(state, images, **config), atol=1e-10, rtol=1e-10
    )


def test_ten_training_steps_equal_the_plain_formulation():
    state = {
        name: value.requires_grad_() for name, value in draw_state(released_shapes(**SMALL)).items()
    }
    model = HTNet(**SMALL).double()
    load_released_weights(model, {name: value.detach().clone() for name, value in state.items()})
    images = torch.from_numpy(np.random.default_rng(2).uniform(0, 255, (6, 3, 28, 28)))
    labels = torch.tensor([0, 1, 2, 0, 1, 2])
    losses = []
    for parameters, forward in (
        (list(state.values()), lambda: plain_forward(state, images, **SMALL)),
        (list(model.parameters()), lambda: model(images)),
    ):
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
    assert all(
        parameter.grad is not None and parameter.grad.abs().max() > 0
        for parameter in two.parameters()
    )


def test_heads_that_divide_dim_are_one_network_at_one_token_per_block():
    """The paper's heads ablation (dim 256): 1, 2 and 4 are the same network, 3 and 5 another, 6 a
    third.
    """
    images = torch.rand(2, 3, 28, 28)

    def logits(heads):
        torch.manual_seed(0)
        return HTNet(**SMALL | dict(dim=16, heads=heads))(images)

    same = logits(1)
    assert torch.equal(logits(2), same) and torch.equal(logits(4), same)
    assert torch.equal(logits(3), logits(5)) and not torch.equal(logits(3), same)
    assert not any(torch.equal(logits(6), logits(heads)) for heads in (1, 3))
    # so they do at dim 256, where the same ones are equally wide
    with torch.device("meta"):
        wide = [Attention(256, heads, 1, 0.0).value.out_features for heads in range(1, 7)]
    assert wide == [256, 256, 255, 256, 255, 252]


def test_two_by_two_aggregation_is_the_convolution():
    layer, x = Aggregation(5, 10).double(), torch.rand(3, 2, 2, 5, dtype=torch.float64)
    maps = layer.conv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    torch.testing.assert_close(layer.convolve_2x2(x), maps)


@settings(max_examples=25)
@given(
    st.integers(1, 3),
    st.integers(1, 3),
    st.integers(1, 4),
    st.integers(1, 4),
    st.integers(4, 9),
    st.integers(1, 4),
)
def test_any_settings_that_divide_work(levels, block_side, patch, channels, dim, heads):
    size = patch * block_side * 2 ** (levels - 1)
    model = HTNet(
        image_size=size,
        patch_size=patch,
        num_classes=4,
        dim=dim,
        heads=heads,
        num_hierarchies=levels,
        block_repeats=1,
        channels=channels,
    )
    logits = model(torch.rand(2, channels, size, size))
    assert logits.shape == (2, 4) and logits.isfinite().all()


@pytest.mark.parametrize(
    "change, words",
    [
        (dict(patch_size=5), "patch_size"),
        (dict(num_hierarchies=4, block_repeats=1), "num_hierarchies"),
        (dict(block_repeats=(1, 1)), "block_repeats"),
        (dict(dim=2), "heads"),
        (dict(dim=0), "dim"),
        (dict(dropout=1.0), "dropout"),
        (dict(heads=0), "heads"),
    ],
)
def test_settings_that_do_not_fit_are_refused(change, words):
    with pytest.raises(ValueError, match=words):
        HTNet(**SMALL | change)


@pytest.mark.parametrize(
    "damage, words",
    [
        (lambda state: state.pop("mlp_head.2.bias"), "lack 'mlp_head.2.bias'"),
        (lambda state: state.update(extra=torch.zeros(1)), "extra"),
        (lambda state: state.update({"mlp_head.2.weight": torch.zeros(3, 7)}), "shape"),
    ],
)
def test_released_weights_that_do_not_fit_are_refused(damage, words):
    state = draw_state(released_shapes(**SMALL))
    damage(state)
    with pytest.raises(ValueError, match=words):
        load_released_weights(HTNet(**SMALL), state)
