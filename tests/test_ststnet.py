"""STSTNet: the port's names and shapes, and its function, in evaluation and in training."""

import pytest
import torch
import torch.nn.functional as F

from benchmarks.plain_ststnet import PlainSTSTNet
from loso import train_fold
from ststnet import STSTNet


def test_parameters_and_logits_are_the_ports():
    torch.manual_seed(0)
    ours, port = STSTNet(), PlainSTSTNet()
    assert sum(parameter.numel() for parameter in ours.parameters()) == 1683
    ours.load_state_dict(port.state_dict(), strict=True)
    images = torch.rand(4, 3, 28, 28) * 255
    for model in (ours, port):
        model.bn2.running_mean.fill_(3)
        model.eval()
    torch.testing.assert_close(ours(images), port(images))


def test_training_steps_are_the_ports():
    """Weights, batch norm's running averages and counters after some steps, dropout aside."""
    torch.manual_seed(0)
    port = PlainSTSTNet(dropout=0.0).double()
    ours = STSTNet().double()
    ours.load_state_dict(port.state_dict())
    images = torch.rand(20, 3, 28, 28, dtype=torch.float64) * 255
    images[:, 0, 5:15] = 7  # flat regions: channels that do not vary there
    labels = torch.arange(20) % 3
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(F, "dropout", lambda x, *_: x)
        for network in (ours, port):
            optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
            for _ in range(5):
                optimizer.zero_grad()
                F.cross_entropy(network(images), labels).backward()
                optimizer.step()
    assert ours.state_dict().keys() == port.state_dict().keys()
    for name, value in port.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value, atol=1e-9, rtol=1e-9)
    assert int(ours.bn2.num_batches_tracked) == 5


def test_dropout_drops_half_in_training_only():
    torch.manual_seed(0)
    network, images = STSTNet(), torch.rand(8, 3, 28, 28)
    network.train()
    assert not torch.equal(network(images), network(images))
    network.eval()
    assert torch.equal(network(images), network(images))


def test_a_channel_without_variation_stays_finite():
    """The variance of a flat channel is 0; computed in one pass it could come out negative."""
    network, images = STSTNet(), torch.full((4, 3, 28, 28), 255.0)
    with torch.no_grad():
        network.conv1.weight.zero_()
        network.conv1.bias.fill_(3000.0)
    labels = torch.tensor([0, 1, 2, 0])
    result = train_fold(
        network,
        images,
        labels,
        images,
        labels,
        epochs=3,
        batch_size=4,
        learning_rate=1e-3,
        keep="last",
    )
    assert result.logits.isfinite().all()
