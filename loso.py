"""Leave-one-subject-out (LOSO): the folds, their seeds, and the training of one.

As released: Adam, cross-entropy, raw pixels, no shuffling, a fresh network per subject, the
held-out subject scored after every epoch. Unlike the released code, every epoch's held-out logits
are kept; which epoch counts is asked after training (`evaluation.choose_epochs`). What the honest
recipe adds (views, class weights, a schedule) is off by default.
"""

import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.model_selection import GroupKFold, LeaveOneGroupOut

from support import cuda_graphs
from support.files import BadInput

# A recording repeats what was done, so the first epochs, which also set up libraries and optimizer,
# are not recorded.
EAGER_EPOCHS = 3


@dataclass(frozen=True, eq=False)
class Fold:
    """One subject held out; with FOLDS, a group of subjects; or nobody."""

    name: str  # the subject, "group01", or "all" that are trained on
    train: np.ndarray  # int [n], indices of everybody else's samples, in training order
    test: np.ndarray  # int [m], indices of the samples held out


@dataclass(frozen=True)
class FoldResult:
    """What the training of one fold leaves."""

    logits: torch.Tensor  # [E, m, C] of the held-out samples after each epoch
    losses: torch.Tensor  # [E] mean training loss of each epoch
    epoch: int | None  # the epoch (from 0) whose weights are kept
    state: dict | None  # its state dict, on the CPU


def order_by_class(labels, class_order):
    """int [N] -> int [N]: all indices, by class as `class_order` says, by name within a class.

    Labels 0, 2, 1, 2 and the order (2, 1, 0) give 1, 3, 2, 0. There is no shuffling, so this order
    decides what each epoch's last batch holds (docs/details.md, 6).
    """
    return np.argsort(np.argsort(class_order)[labels], kind="stable")


def split_subjects(composite, class_order, labels=None, groups=0):
    """A list with a Fold for each subject, by name; or so many groups, of about as many subjects.

    labels int [N]: those that training is to see, where they are not the composite's. The groups
    are the same for every seed.
    """
    order = order_by_class(composite.labels if labels is None else labels, class_order)
    method = GroupKFold(groups, shuffle=True, random_state=0) if groups else LeaveOneGroupOut()
    split = list(method.split(composite.names, groups=composite.subjects))
    names = [f"group{number:02}" for number in range(1, 1 + len(split))]
    if not groups:
        names = [str(composite.subjects[test[0]]) for _, test in split]
    return [
        Fold(name, order[np.isin(order, train)], test) for name, (train, test) in zip(names, split)
    ]


def train_on_all(composite, class_order, labels):
    """The Fold that holds nobody out: its network is for other people's clips."""
    return Fold("all", order_by_class(labels, class_order), np.array([], int))


def derive_seed(seed, name):
    """A fold's own seed, whatever the order of folds, resuming and the number of processes."""
    return zlib.crc32(f"{seed} {name}".encode())


def draw_ahead(draw, folds, device):
    """Yields (fold, draw(fold)), the fold's fresh network.

    Drawing the paper's 140 million weights takes a CPU core 1.5 seconds. While a GPU trains a fold,
    a thread draws the next one's; a CPU has no core to spare for that.
    """
    if device.type == "cpu":
        yield from ((fold, draw(fold)) for fold in folds)
        return
    with ThreadPoolExecutor(1) as thread:
        drawn = thread.submit(draw, folds[0]) if folds else None
        for fold, following in zip(folds, [*folds[1:], None]):
            model = drawn.result()
            drawn = thread.submit(draw, following) if following else None
            yield fold, model


def compute_logits(model, inputs, precision):
    """Logits [B, C] in the inputs' dtype. "bf16": matrix products by PyTorch's autocast."""
    with torch.autocast(inputs.device.type, torch.bfloat16, enabled=precision == "bf16"):
        return model(inputs).to(inputs.dtype)


@torch.no_grad()
def predict(model, inputs, precision="float32"):
    """Held-out logits [m, C] of inputs [m, 3, 28, 28], in training and evaluation alike.

    Of inputs [m, V, 3, 28, 28], V views of each sample: the mean over the views.
    """
    if inputs.ndim == 4:
        return compute_logits(model.eval(), inputs, precision)
    logits = compute_logits(model.eval(), inputs.flatten(0, 1), precision)
    return logits.view(*inputs.shape[:2], logits.shape[-1]).mean(1)


def train_fold(
    model,
    train_inputs,
    train_labels,
    test_inputs,
    test_labels,
    *,
    epochs,
    batch_size,
    learning_rate,
    keep="best",
    precision="float32",
    shuffle=None,
    augment=None,
    class_weights=None,
    label_smoothing=0.0,
    weight_decay=0.0,
    schedule=None,
    cuda_graph=False,
    on_epoch=None,
):
    """Trains `model` in place, in its own dtype and device, with the samples in the order given ->
    FoldResult.

    train_inputs [n, 3, 28, 28], train_labels int [n] or (a teacher's) float [n, C], test_inputs
    [m, 3, 28, 28] or views of them (see `predict`), test_labels int [m]. keep: the weights in the
    result, "best" (highest accuracy on the test samples, ties to the latest: released code), "last"
    or "none". precision: "bf16" is used here; the other two are set for all of torch, by
    `support.devices.set_precision`. on_epoch(loss) is called once for every epoch, on a
    GPU some epochs later. Raises BadInput when the loss is no longer finite.

    As released, the rest is off. shuffle: a CPU generator that draws a new order for every epoch.
    augment(inputs): the views that a step sees. class_weights: float [C], the loss's, such as
    `balance_classes` gives. weight_decay: AdamW's, on matrices. schedule(step, steps): the share of
    the learning rate. cuda_graph: on a GPU, an epoch becomes one CUDA graph; without augment and
    schedule, whose changes a graph would not see.
    """
    if keep not in ("best", "last", "none"):
        raise ValueError(f"keep is '{keep}': it must be best, last or none.")
    if cuda_graph and (augment or schedule):
        raise ValueError("cuda_graph must be False with augment or schedule.")
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    device, dtype = parameters[0].device, parameters[0].dtype
    train_inputs, test_inputs = train_inputs.to(device, dtype), test_inputs.to(device, dtype)
    train_labels, test_labels = train_labels.to(device), test_labels.to(device)
    in_order = train_inputs, train_labels
    if shuffle:
        train_inputs, train_labels = train_inputs.clone(), train_labels.clone()
    batches = list(zip(train_inputs.split(batch_size), train_labels.split(batch_size)))
    optimizer = make_optimizer(parameters, learning_rate, weight_decay)
    rates = None
    if schedule:
        steps = epochs * len(batches)
        rates = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: schedule(step, steps))
    weight = None if class_weights is None else class_weights.to(device, dtype)
    current = model.state_dict()  # the tensors that training changes, not copies
    kept = None
    if keep == "best":
        kept = {name: torch.empty_like(value) for name, value in current.items()}

    def train_epoch():
        """One pass over the training samples -> its mean loss [], and the held-out logits [m, C]
        after it.

        Nothing in it waits for a GPU's results, so that a GPU goes through it without a pause.
        """
        model.train()
        total = torch.zeros((), device=device, dtype=dtype)
        for inputs, labels in batches:
            optimizer.zero_grad(set_to_none=True)
            seen = augment(inputs) if augment else inputs
            loss = F.cross_entropy(
                compute_logits(model, seen, precision),
                labels,
                weight,
                label_smoothing=label_smoothing,
            )
            loss.backward()
            optimizer.step()
            if rates:
                rates.step()
            total += loss.detach() * len(labels)
        return total / len(train_labels), predict(model, test_inputs, precision)

    def store_weights():
        for name, value in current.items():
            kept[name].copy_(value)

    def permute_samples():
        """A new order within the batches' own memory, where a recorded epoch looks for them."""
        order = torch.randperm(len(train_labels), generator=shuffle).to(device)
        train_inputs.copy_(in_order[0][order])
        train_labels.copy_(in_order[1][order])

    logits, losses, reported = [], [], 0
    epoch_kept, most_correct = None, -1
    with cuda_graphs.use_own_stream(device) as stream:
        for epoch in range(epochs):
            if cuda_graph and epoch == EAGER_EPOCHS:
                # "capturable" only now: before, it would warn that nothing is captured. The
                # gradients go, since the recording keeps its own.
                for group in optimizer.param_groups:
                    group["capturable"] = True
                optimizer.zero_grad(set_to_none=True)
                train_epoch = cuda_graphs.record(train_epoch, stream)
                if keep == "best":
                    store_weights = cuda_graphs.record(store_weights, stream)
            if shuffle:
                permute_samples()
            loss, held_out = train_epoch()
            # copies, since a recorded epoch writes over what it returned the last time
            losses.append(loss.clone())
            logits.append(held_out.clone())
            if keep == "best":
                correct = int((held_out.argmax(1) == test_labels).sum())
                if correct >= most_correct:
                    epoch_kept, most_correct = epoch, correct
                    store_weights()
            if device.type == "cpu" or keep == "best" or epoch % 20 == 19 or epoch == epochs - 1:
                report_losses(losses, reported, on_epoch)
                reported = len(losses)
        if keep == "last":
            epoch_kept, kept = epochs - 1, current
        state = None
        if kept:
            copied = keep == "last"  # else they are the model's own, where the device is the CPU
            state = {name: value.to("cpu", copy=copied) for name, value in kept.items()}
        return FoldResult(torch.stack(logits).cpu(), torch.stack(losses).cpu(), epoch_kept, state)


def make_optimizer(parameters, learning_rate, weight_decay):
    """Adam, as released; with a weight decay AdamW, whose decay spares biases, norms, positions."""
    if not weight_decay:
        return torch.optim.Adam(parameters, lr=learning_rate, fused=True)
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=learning_rate, fused=True)


def balance_classes(labels, num_classes):
    """int [n] -> float [C], the classes' weights: n / (classes that are there x the class's n)."""
    counts = labels.bincount(minlength=num_classes)
    return len(labels) / ((counts > 0).sum() * counts.clamp(min=1).float())


def report_losses(losses, reported, on_epoch):
    """Calls on_epoch with the losses not yet `reported`; BadInput where one is not finite."""
    for epoch, loss in enumerate(torch.stack(losses[reported:]).tolist(), start=reported + 1):
        if not np.isfinite(loss):
            raise BadInput(
                f"the training loss became {loss} in epoch {epoch}: lower LEARNING_RATE."
            )
        if on_epoch:
            on_epoch(loss)
