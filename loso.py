"""Leave-one-subject-out: the folds and the training of one.

As released: Adam, cross-entropy, raw pixels, no shuffling, a fresh model per subject, the held-out subject scored after
every epoch. Unlike the released code, every epoch's logits are kept and choosing among them is left to `evaluation.py`.
"""
import zlib
from contextlib import contextmanager
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


def folds(composite, class_order, labels=None):
    """[(subject, train indices in training order, test indices)], a fold per subject.

    labels int [N]: those that training is to see, where they are not the composite's.
    """
    order = training_order(composite.labels if labels is None else labels, class_order)
    split = LeaveOneGroupOut().split(composite.names, groups=composite.subjects)
    return [(str(composite.subjects[test[0]]), order[np.isin(order, train)], test) for train, test in split]


def fold_seed(seed, subject):
    """A fold's own seed, so that neither the order of folds nor resuming nor the number of processes matters."""
    return zlib.crc32(f"{seed} {subject}".encode())


def train_fold(model, train_inputs, train_labels, test_inputs, test_labels, *, epochs, batch_size, learning_rate,
               keep="best", precision="float32", shuffle=None, on_epoch=None):
    """Trains `model` in place, in its own dtype and device, with the samples in the order given -> FoldResult.

    train_inputs [n, 3, 28, 28], train_labels int [n], test_inputs [m, 3, 28, 28], test_labels int [m].
    keep: the weights in the result, "best" (highest accuracy on the test samples, ties to the latest: released code),
    "last" or "none". precision: "bf16" runs the network under PyTorch's autocast; otherwise in its dtype. shuffle: a
    generator (of the CPU) that draws a new order for every epoch; by default there is none, as released.
    on_epoch(loss) is called once for every epoch, on a GPU some epochs later. Raises BadInput when the loss is no
    longer finite.
    """
    if keep not in ("best", "last", "none"):
        raise ValueError(f"keep is '{keep}': it must be best, last or none.")
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    device, dtype = parameters[0].device, parameters[0].dtype
    train_inputs, test_inputs = train_inputs.to(device, dtype), test_inputs.to(device, dtype)
    train_labels, test_labels = train_labels.to(device), test_labels.to(device)
    in_order = train_inputs, train_labels
    if shuffle:
        train_inputs, train_labels = train_inputs.clone(), train_labels.clone()
    batches = list(zip(train_inputs.split(batch_size), train_labels.split(batch_size)))
    optimizer = torch.optim.Adam(parameters, lr=learning_rate, fused=True)
    weights = model.state_dict()  # the tensors that training changes, not copies
    best = {name: torch.empty_like(value) for name, value in weights.items()} if keep == "best" else None

    def logits_of(inputs):
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            return model(inputs).to(dtype)

    def epoch():
        """One pass over the training samples -> its mean loss [], and the held-out logits [m, C] after it.

        Nothing in it waits for a GPU's results, so that a GPU can go through it without a pause.
        """
        model.train()
        total = torch.zeros((), device=device, dtype=dtype)
        for inputs, labels in batches:
            optimizer.zero_grad(set_to_none=True)
            loss = F.cross_entropy(logits_of(inputs), labels)
            loss.backward()
            optimizer.step()
            total += loss.detach() * len(labels)
        model.eval()
        with torch.no_grad():
            return total / len(train_labels), logits_of(test_inputs)

    def store():
        for name, value in weights.items():
            best[name].copy_(value)

    logits, losses, reported = [], [], 0
    epoch_kept, most_correct = None, -1
    with own_stream(device) as stream:
        for number in range(epochs):
            if number == EAGER_EPOCHS and device.type in RECORDED:
                optimizer.param_groups[0]["capturable"] = True  # before, it would warn that nothing is captured
                optimizer.zero_grad(set_to_none=True)  # their memory is of no use within the recording's own
                epoch, store = recorded(epoch, stream), recorded(store, stream) if keep == "best" else None
            if shuffle:  # within the batches' memory, where a recorded epoch looks for them
                order = torch.randperm(len(train_labels), generator=shuffle).to(device)
                train_inputs.copy_(in_order[0][order])
                train_labels.copy_(in_order[1][order])
            loss, held_out = epoch()
            losses.append(loss.clone())  # a recorded epoch writes over what it returned the last time
            logits.append(held_out.clone())
            if keep == "best" and (correct := int((held_out.argmax(1) == test_labels).sum())) >= most_correct:
                epoch_kept, most_correct = number, correct
                store()
            if device.type == "cpu" or keep == "best" or number % 20 == 19 or number == epochs - 1:
                for loss in torch.stack(losses[reported:]).tolist():
                    reported += 1
                    if not np.isfinite(loss):
                        raise BadInput(f"the training loss became {loss} in epoch {reported}: lower LEARNING_RATE.")
                    if on_epoch:
                        on_epoch(loss)
        if keep == "last":
            epoch_kept, best = epochs - 1, weights
        state = best and {name: value.to("cpu", copy=keep == "last") for name, value in best.items()}
        return FoldResult(torch.stack(logits).cpu(), torch.stack(losses).cpu(), epoch_kept, state)


# On a GPU an epoch is some thousand small kernels, whose launching takes longer than their work. So it is recorded
# once, as a CUDA graph, and then launched as a whole. The first epochs are not: they set up libraries and optimizer.
RECORDED, EAGER_EPOCHS, STREAMS = ("cuda",), 3, {}


@contextmanager
def own_stream(device):
    """On a GPU, a stream beside the default one, on which work can be recorded; None on a CPU."""
    if device.type != "cuda":
        yield None
        return
    # One for all folds, for memory that was freed on one stream is not used again on another.
    if device not in STREAMS:
        STREAMS[device] = torch.cuda.Stream(device)
    stream, callers = STREAMS[device], torch.cuda.current_stream(device)
    stream.wait_stream(callers)
    try:
        with torch.cuda.stream(stream):
            yield stream
    finally:
        callers.wait_stream(stream)


def recorded(work, stream):
    """`work` as a CUDA graph: a function that launches its kernels again, on the same memory, and returns the same
    tensors with new values in them."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):  # others prepare the next fold
        outputs = work()

    def replay():
        graph.replay()
        return outputs

    return replay
