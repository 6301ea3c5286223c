"""Leave-one-subject-out: the folds and the training of one.

As released: Adam, cross-entropy, raw pixels, no shuffling, a fresh model per subject, the held-out subject scored after
every epoch. Unlike the released code, every epoch's logits are kept and choosing among them is left to `evaluation.py`.
"""
import zlib
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.model_selection import LeaveOneGroupOut

from composite_dataset import BadInput


@dataclass
class FoldResult:
    logits: torch.Tensor  # [E, n_test, C] of the held-out samples after each epoch
    losses: torch.Tensor  # [E] mean training loss of each epoch
    epoch: int | None  # the epoch (from 0) whose weights are kept
    state: dict | None  # its state dict, on the CPU


def training_order(labels, class_order):
    """All sample indices in the order in which training goes through them: by class as in `class_order`, then by name.

    Which class comes first decides what each epoch's last batch holds, and so matters (README, detail 6).
    """
    return np.argsort(np.argsort(class_order)[labels], kind="stable")


def folds(composite, class_order):
    """[(subject, train indices in training order, test indices)], a fold per subject."""
    order = training_order(composite.labels, class_order)
    split = LeaveOneGroupOut().split(composite.names, groups=composite.subjects)
    return [(str(composite.subjects[test[0]]), order[np.isin(order, train)], test) for train, test in split]


def fold_seed(seed, subject):
    """A fold's own seed, so that neither the order of folds nor resuming nor the number of processes matters."""
    return zlib.crc32(f"{seed} {subject}".encode())


def train_fold(model, train_inputs, train_labels, test_inputs, test_labels, *, epochs, batch_size, learning_rate,
               keep="best", on_epoch=None):
    """Trains `model` in place, in its own dtype and device, with the samples in the order given -> FoldResult.

    train_inputs [n, 3, 28, 28], train_labels int [n], test_inputs [m, 3, 28, 28], test_labels int [m].
    keep: the weights in the result, "best" (highest accuracy on the test samples, ties to the latest: released code),
    "last" or "none". on_epoch(loss) is called after every epoch. Raises BadInput when the loss is no longer finite.
    """
    if keep not in ("best", "last", "none"):
        raise ValueError(f"keep is '{keep}': it must be best, last or none.")
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    place = dict(device=parameters[0].device, dtype=parameters[0].dtype)
    train_inputs, test_inputs = train_inputs.to(**place), test_inputs.to(**place)
    train_labels, test_labels = train_labels.to(place["device"]), test_labels.to(place["device"])
    optimizer = torch.optim.Adam(parameters, lr=learning_rate, fused=True)
    logits, losses = [], []
    epoch_kept, most_correct, best = None, -1, None
    for epoch in range(epochs):
        model.train()
        total = 0.0
        for inputs, labels in zip(train_inputs.split(batch_size), train_labels.split(batch_size)):
            optimizer.zero_grad(set_to_none=True)
            loss = F.cross_entropy(model(inputs), labels)
            loss.backward()
            optimizer.step()
            total += loss.item() * len(labels)
        losses.append(total / len(train_labels))
        if not np.isfinite(losses[-1]):
            raise BadInput(f"the training loss became {losses[-1]} in epoch {epoch + 1}: lower LEARNING_RATE.")
        model.eval()
        with torch.no_grad():
            logits.append(model(test_inputs))
        correct = int((logits[-1].argmax(1) == test_labels).sum())
        if keep == "best" and correct >= most_correct:
            epoch_kept, most_correct = epoch, correct
            best = best or {name: torch.empty_like(value) for name, value in model.state_dict().items()}
            for name, value in model.state_dict().items():
                best[name].copy_(value)
        if on_epoch:
            on_epoch(losses[-1])
    if keep == "last":
        epoch_kept, best = epochs - 1, {name: value.clone() for name, value in model.state_dict().items()}
    state = best and {name: value.cpu() for name, value in best.items()}
    return FoldResult(torch.stack(logits).cpu(), torch.tensor(losses, dtype=place["dtype"]), epoch_kept, state)
