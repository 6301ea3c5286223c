"""STSTNet: the port's names and shapes, and folds trained together against the plain loop."""
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import loso
import ststnet_folds
from composite_dataset import BadInput
from ststnet import STSTNet, dropout_mask


class Port(nn.Module):
    """The port's order of operations, stream by stream."""

    def __init__(self):
        super().__init__()
        for i, kernels in ((1, 3), (2, 5), (3, 8)):
            setattr(self, f"conv{i}", nn.Conv2d(3, kernels, kernel_size=3, padding=2))
            setattr(self, f"bn{i}", nn.BatchNorm2d(kernels))
        self.pool, self.average = nn.MaxPool2d(3, 3, padding=1), nn.AvgPool2d(2)
        self.fc = nn.Linear(400, 3)

    def forward(self, x):
        streams = [self.pool(bn(F.relu(conv(x)))) for conv, bn in
                   ((self.conv1, self.bn1), (self.conv2, self.bn2), (self.conv3, self.bn3))]
        return self.fc(self.average(torch.cat(streams, 1)).flatten(1))


def test_parameters_and_logits_are_the_ports():
    torch.manual_seed(0)
    ours, port = STSTNet(), Port()
    assert sum(parameter.numel() for parameter in ours.parameters()) == 1683
    ours.load_state_dict(port.state_dict(), strict=True)
    images = torch.rand(4, 3, 28, 28) * 255
    for model in (ours, port):
        model.bn2.running_mean.fill_(3)
        model.eval()
    assert torch.equal(ours(images), port(images))


def test_dropout_masks():
    mask = dropout_mask((50, 10, 10, 16), torch.empty(0), torch.Generator().manual_seed(1))
    assert set(mask.unique().tolist()) == {0, 2} and abs(mask.mean() - 1) < 0.01
    assert torch.equal(mask, dropout_mask((50, 10, 10, 16), torch.empty(0), torch.Generator().manual_seed(1)))
    assert dropout_mask((3, 3), torch.empty(0, dtype=torch.float64)).dtype == torch.float64


def made(subject, dtype, flip):
    torch.manual_seed(loso.fold_seed(1, subject))
    model, generator = STSTNet(), torch.Generator()
    with torch.no_grad():
        if flip:  # negative batch norm scales: max pooling of the normalised is min pooling of what it normalises
            model.bn1.weight[1] = model.bn3.weight[4] = -0.7
    generator.set_state(torch.get_rng_state())
    return model.to(dtype), generator


@pytest.fixture
def folded():
    random = np.random.default_rng(0)
    subjects = np.repeat(["a", "b", "c", "d"], (3, 6, 5, 9))
    inputs = torch.from_numpy(random.integers(0, 256, (23, 3, 28, 28)).astype(float))
    inputs[:, :, 10:20] = inputs[:, :, 10:11, 10:11]  # plateaus: pooling windows with equal maxima
    labels = torch.from_numpy(random.integers(0, 3, 23))
    order = loso.training_order(labels.numpy(), (2, 1, 0))
    folds = [(subject, order[subjects[order] != subject], np.flatnonzero(subjects == subject)) for subject in "abcd"]
    return folds, inputs, labels, order


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("together, workers", [(1, 1), (1, 2), (4, 1)])
@pytest.mark.parametrize("keep", ["best", "last"])
def test_folds_trained_together_are_folds_trained_alone(folded, flip, together, workers, keep, monkeypatch):
    monkeypatch.setattr(ststnet_folds, "PORTION", 4)
    folds, inputs, labels, order = folded
    options = dict(epochs=5, batch_size=8, learning_rate=1e-3, keep=keep)  # a: 3 batches, d: 2
    losses = []
    trained = ststnet_folds.trained_folds(folds, lambda subject: made(subject, torch.float64, flip), inputs, labels,
                                          order, together=together, workers=workers, on_epoch=losses.append, **options)
    results = {subject: result for (subject, _, _), result, _ in trained}
    assert len(losses) == 20 and sorted(results) == list("abcd")
    for subject, train, test in folds:
        model, _ = made(subject, torch.float64, flip)
        alone = loso.train_fold(model, inputs[train], labels[train], inputs[test], labels[test], **options)
        torch.testing.assert_close(results[subject].logits, alone.logits, atol=1e-8, rtol=1e-8)
        torch.testing.assert_close(results[subject].losses, alone.losses)
        assert results[subject].epoch == alone.epoch
        assert results[subject].state.keys() == alone.state.keys()
        for name, value in alone.state.items():
            torch.testing.assert_close(results[subject].state[name], value, atol=1e-7, rtol=1e-7)
        STSTNet().load_state_dict(results[subject].state, strict=True)


def test_a_training_that_diverges_is_a_sentence(folded):
    folds, inputs, labels, order = folded
    with pytest.raises(BadInput, match="LEARNING_RATE"):
        list(ststnet_folds.trained_folds(folds, lambda subject: made(subject, torch.float64, False),
                                         inputs * float("inf"), labels, order, together=1, workers=2, epochs=2,
                                         batch_size=8, learning_rate=1e-3))
