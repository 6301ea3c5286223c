"""Folds and the training of one."""

import threading
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import loso
from composite_dataset import load_composite
from htnet import HTNet
from loso import derive_seed, predict, split_subjects, train_fold
from ststnet import STSTNet
from support import cuda_graphs
from support.files import BadInput

OPTIONS = dict(epochs=4, batch_size=5, learning_rate=1e-3)


def small_model(dtype=torch.float32):
    torch.manual_seed(0)
    return HTNet(
        image_size=28,
        patch_size=7,
        num_classes=3,
        dim=8,
        heads=2,
        num_hierarchies=3,
        block_repeats=1,
    ).to(dtype)


def data(n, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return (
        torch.rand(n, 3, 28, 28, generator=generator, dtype=dtype) * 255,
        torch.randint(0, 3, (n,), generator=generator),
    )


def test_folds_leave_one_subject_out_and_go_by_class(tiny):
    composite = load_composite(tiny)
    folds = split_subjects(composite, (2, 1, 0))
    assert [fold.name for fold in folds] == sorted(set(composite.subjects))
    for fold in folds:
        train = fold.train
        assert set(composite.subjects[fold.test]) == {fold.name}
        assert fold.name not in composite.subjects[train]
        assert sorted([*train, *fold.test]) == list(range(12))
        labels = composite.labels[train]
        assert labels.tolist() == sorted(labels, reverse=True)
        for label in range(3):  # by name within a class
            assert composite.names[train][labels == label].tolist() == sorted(
                composite.names[train][labels == label]
            )
    ascending = split_subjects(composite, (0, 1, 2))[0]
    assert composite.labels[ascending.train].tolist() == sorted(composite.labels[folds[0].train])


def test_seeds_depend_on_run_and_subject():
    assert (
        len(
            {
                derive_seed(seed, subject)
                for seed in range(20)
                for subject in ("sub01", "s01", "006")
            }
        )
        == 60
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_training_is_the_plain_loop(dtype):
    (inputs, labels), (test_inputs, test_labels) = data(12, dtype=dtype), data(3, 1, dtype)
    result = train_fold(small_model(dtype), inputs, labels, test_inputs, test_labels, **OPTIONS)
    assert (
        result.logits.shape == (4, 3, 3)
        and result.losses.shape == (4,)
        and result.logits.dtype == dtype
    )
    model = small_model(dtype)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    states = []
    for epoch in range(4):
        total = 0
        for start in (0, 5, 10):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(inputs[start : start + 5]), labels[start : start + 5])
            loss.backward()
            optimizer.step()
            total += loss.item() * len(labels[start : start + 5])
        states.append({name: value.clone() for name, value in model.state_dict().items()})
        tolerance = (
            dict(atol=1e-4, rtol=1e-4) if dtype == torch.float32 else dict(atol=1e-9, rtol=1e-9)
        )
        torch.testing.assert_close(result.logits[epoch], model(test_inputs).detach(), **tolerance)
        assert result.losses[epoch].item() == pytest.approx(total / 12, rel=1e-4)
    correct = (result.logits.argmax(-1) == test_labels).sum(1)
    assert result.epoch == max(epoch for epoch in range(4) if correct[epoch] == correct.max())
    for name, value in states[result.epoch].items() if dtype == torch.float64 else ():
        # (in float32, Adam turns the rounding of a zero gradient, the last level's position
        # scalar's, into steps)
        torch.testing.assert_close(result.state[name], value, **tolerance)


@pytest.mark.parametrize("network", [small_model, STSTNet])
def test_keep(network):
    (inputs, labels), (test_inputs, test_labels) = data(12), data(3, 1)
    for keep in ("best", "last", "none"):
        torch.manual_seed(1)
        model = network()
        result = train_fold(model, inputs, labels, test_inputs, test_labels, keep=keep, **OPTIONS)
        if keep == "none":
            assert result.epoch is None and result.state is None
            continue
        if keep == "last":
            assert result.epoch == 3
            for name, value in model.state_dict().items():
                assert torch.equal(result.state[name], value)
        model.load_state_dict(result.state)
        with torch.no_grad():
            torch.testing.assert_close(model.eval()(test_inputs), result.logits[result.epoch])
    with pytest.raises(ValueError, match="best, last or none"):
        train_fold(small_model(), inputs, labels, test_inputs, test_labels, keep="first", **OPTIONS)


def emulate_graph(work, stream):
    """What `cuda_graphs.record` does, without a GPU: every call leaves its results in the tensors
    of the first.
    """
    outputs = []

    def replay():
        new = work() or ()
        outputs[:] = outputs or [torch.empty_like(value) for value in new]
        for old, value in zip(outputs, new):
            old.copy_(value)
        return outputs

    return replay


@pytest.mark.parametrize("keep", ["best", "last", "none"])
def test_recorded_epochs_change_nothing(monkeypatch, keep):
    (inputs, labels), (test_inputs, test_labels) = data(12), data(3, 1)
    options = OPTIONS | dict(epochs=loso.EAGER_EPOCHS + 22, keep=keep)
    plain_losses, recorded_losses = [], []
    plain = train_fold(
        small_model(),
        inputs,
        labels,
        test_inputs,
        test_labels,
        on_epoch=plain_losses.append,
        **options,
    )
    monkeypatch.setattr(cuda_graphs, "record", emulate_graph)
    result = train_fold(
        small_model(),
        inputs,
        labels,
        test_inputs,
        test_labels,
        cuda_graph=True,
        on_epoch=recorded_losses.append,
        **options,
    )
    assert torch.equal(result.logits, plain.logits) and torch.equal(result.losses, plain.losses)
    assert recorded_losses == plain_losses == plain.losses.tolist() and result.epoch == plain.epoch
    for name, value in (plain.state or {}).items():
        assert torch.equal(result.state[name], value)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device is at hand")
@pytest.mark.parametrize("precision, tolerance", [("float32", 1e-3), ("bf16", 0.1)])
@pytest.mark.parametrize("keep, shuffled", [("best", False), ("last", True)])
def test_cuda_graphs_give_what_a_cpu_and_single_kernels_give(
    monkeypatch, precision, tolerance, keep, shuffled
):
    (inputs, labels), (test_inputs, test_labels) = data(12), data(3, 1)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", False)

    def train(model, precision, record=False):
        shuffle = torch.Generator().manual_seed(3) if shuffled else None
        return train_fold(
            model,
            inputs,
            labels,
            test_inputs,
            test_labels,
            precision=precision,
            shuffle=shuffle,
            cuda_graph=record,
            **OPTIONS | dict(epochs=25, keep=keep),
        )

    on_cpu, by_kernel = train(small_model(), "float32"), train(small_model().cuda(), precision)
    on_gpu = train(small_model().cuda(), precision, cuda_graph=True)
    assert on_gpu.logits.device.type == "cpu" and all(
        value.device.type == "cpu" for value in on_gpu.state.values()
    )
    for other in (on_cpu, by_kernel):
        torch.testing.assert_close(
            on_gpu.losses[:10], other.losses[:10], atol=tolerance, rtol=tolerance
        )
        torch.testing.assert_close(
            on_gpu.logits[:10], other.logits[:10], atol=20 * tolerance, rtol=tolerance
        )
    model = small_model().cuda()  # the weights kept are those of the epoch kept
    model.load_state_dict(on_gpu.state)
    again = predict(model, test_inputs.cuda(), precision).cpu()
    torch.testing.assert_close(again, on_gpu.logits[on_gpu.epoch], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("what", ["augment", "schedule"])
def test_a_graph_is_refused_where_it_would_miss_changes(what):
    inputs, labels = data(12)
    options = OPTIONS | {what: lambda *_: 1.0}
    with pytest.raises(ValueError, match="cuda_graph must be False"):
        train_fold(small_model(), inputs, labels, inputs, labels, cuda_graph=True, **options)


def test_shuffling_draws_an_order_for_every_epoch():
    """Against the plain loop on the same orders."""
    (inputs, labels), (test_inputs, test_labels) = (
        data(12, dtype=torch.float64),
        data(3, 1, torch.float64),
    )
    result = train_fold(
        small_model(torch.float64),
        inputs,
        labels,
        test_inputs,
        test_labels,
        keep="none",
        shuffle=torch.Generator().manual_seed(5),
        **OPTIONS,
    )
    model, orders = small_model(torch.float64), torch.Generator().manual_seed(5)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for epoch in range(4):
        for batch in torch.randperm(12, generator=orders).split(5):
            optimizer.zero_grad()
            F.cross_entropy(model(inputs[batch]), labels[batch]).backward()
            optimizer.step()
        torch.testing.assert_close(
            result.logits[epoch], model(test_inputs).detach(), atol=1e-9, rtol=1e-9
        )


def test_bf16_is_near_float32_and_not_it():
    (inputs, labels), (test_inputs, test_labels) = data(12), data(3, 1)
    results = {
        precision: train_fold(
            small_model(), inputs, labels, test_inputs, test_labels, precision=precision, **OPTIONS
        )
        for precision in ("float32", "tf32", "bf16")
    }
    # on a CPU, TF32 is float32
    assert torch.equal(results["float32"].logits, results["tf32"].logits)
    assert not torch.equal(results["float32"].logits, results["bf16"].logits)
    torch.testing.assert_close(
        results["bf16"].losses, results["float32"].losses, atol=0.05, rtol=0.05
    )
    assert results["bf16"].logits.dtype == torch.float32
    assert all(value.dtype == torch.float32 for value in results["bf16"].state.values())


def test_a_training_that_diverges_is_a_sentence():
    inputs, labels = data(12)
    with pytest.raises(BadInput, match="LEARNING_RATE"):
        train_fold(small_model(), inputs * float("inf"), labels, inputs, labels, **OPTIONS)


def test_a_real_fold_learns(real_datasets):
    composite = load_composite(real_datasets)
    inputs = torch.from_numpy(composite.flows.transpose(0, 3, 1, 2).astype(np.float32))
    labels = torch.from_numpy(composite.labels)
    fold = split_subjects(composite, (2, 1, 0))[0]
    train, test = fold.train, fold.test
    torch.manual_seed(0)
    model = HTNet(
        image_size=28,
        patch_size=7,
        num_classes=3,
        dim=24,
        heads=3,
        num_hierarchies=3,
        block_repeats=(1, 1, 2),
    )
    losses = []
    train_fold(
        model,
        inputs[train],
        labels[train],
        inputs[test],
        labels[test],
        epochs=12,
        batch_size=64,
        learning_rate=5e-4,
        keep="none",
        on_epoch=losses.append,
    )
    assert len(losses) == 12 and losses[-1] < 0.7 * losses[0]


def test_weights_drawn_ahead_are_those_drawn_in_turn():
    """While a GPU trains, a thread draws the next network; a stand-in for the device will do."""
    places = []

    def draw(fold):
        places.append(threading.current_thread())
        torch.default_generator.manual_seed(fold)
        return torch.randn(3)

    for folds in ([], [5], [5, 6, 7]):
        in_turn = list(loso.draw_ahead(draw, folds, torch.device("cpu")))
        ahead = list(loso.draw_ahead(draw, folds, SimpleNamespace(type="cuda")))
        assert [fold for fold, _ in ahead] == [fold for fold, _ in in_turn] == folds
        assert all(torch.equal(a, b) for (_, a), (_, b) in zip(ahead, in_turn))
    assert places[-1] is not threading.main_thread() and places[0] is threading.main_thread()
