"""Trains several STSTNet folds together, each with the result of training it alone (`loso.train_fold`).

STSTNet is a few milliseconds of arithmetic an epoch; what costs is carrying its 30x30 maps through memory, once for
each operation. Three things make that cheap:

1. The folds share their images: one matrix product with the images' 3x3 patches makes all folds' and streams' maps.
2. Batch norm is increasing (or, where its scale is negative, decreasing) in each channel, so that max pooling commutes
   with it: of the big maps it takes only the sums of values and squares, and the rest happens on the 10x10 maps.
3. `ConvReLUPool` goes through the images in portions that stay in the processor's cache, in buffers made once.

Which samples belong to a fold's batch is a mask. The weights of every epoch are kept (7 KB), and the held-out samples
are scored with all of them after training.
"""
import threading
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from itertools import groupby

import torch
import torch.nn.functional as F
from einops import rearrange, repeat

from composite_dataset import BadInput
from loso import FoldResult
from ststnet import dropout_mask

STREAMS = (1, 2, 3)
PORTION = 64  # images of one fold whose maps (3.7 MB) stay in a processor's cache


def with_patches(images):
    """images [n, 3, 28, 28] -> (the same in channels-last order, their 3x3 patches [n, 900, 28] with the bias's 1)."""
    patches = rearrange(F.unfold(images, 3, padding=2), "n k p -> n p k")
    return (images.contiguous(memory_format=torch.channels_last),
            torch.cat([patches, torch.ones_like(patches[..., :1])], dim=-1))


class Images:
    """The shared images with their patches, and a group's own room for the maps of its C channels."""

    def __init__(self, images, patches, channels):
        self.images, self.patches = images, patches
        self.portion = len(images) if images.is_cuda else max(1, PORTION * 16 // channels)
        self.maps = images.new_empty(len(images), 30, 30, channels)
        self.room = images.new_empty(self.portion, 30, 30, channels)  # for squares, and for gradients later

    def portions(self, first, last):
        return [slice(start, min(start + self.portion, last)) for start in range(first, last, self.portion)]


class ConvReLUPool(torch.autograd.Function):
    """images (Images; those from `first` to `last`, n in all), weight [C, 3, 3, 3], bias [C], sign [C] or None
    -> the 3x3 max pool (min pool where sign is -1) of r = relu(convolution) [n, 10, 10, C], and the sums of r and of
    r^2 over each map, [n, C] both. Channels come last throughout: PyTorch pools seven times faster so.
    One call at a time: the maps stay in the buffer of `images` until the backward pass."""

    @staticmethod
    def forward(ctx, images, first, last, weight, bias, sign):
        kernels = torch.cat([weight.flatten(1), bias[:, None]], dim=1).T
        places, outputs = [], []
        for part in images.portions(first, last):
            r = images.maps[part]
            torch.mm(images.patches[part].flatten(0, 1), kernels, out=r.flatten(0, 2)).clamp_(min=0)
            r = r.permute(0, 3, 1, 2)
            signed = r if sign is None else r * sign[:, None, None]
            top, place = F.max_pool2d(signed, 3, stride=3, padding=1, return_indices=True)
            top = top if sign is None else top * sign[:, None, None]
            square = torch.mul(images.maps[part], images.maps[part], out=images.room[:len(top)])
            outputs.append((top.permute(0, 2, 3, 1), r.sum((2, 3)), square.sum((1, 2))))
            places.append(place.permute(0, 2, 3, 1).flatten(1, 2))
        ctx.images, ctx.span = images, (first, last)
        ctx.save_for_backward(*places)
        return tuple(torch.cat(parts) for parts in zip(*outputs))

    @staticmethod
    def backward(ctx, pooled_grad, sums_grad, squares_grad):
        images, (first, last) = ctx.images, ctx.span
        weight_grad = bias_grad = 0
        for part, place in zip(images.portions(first, last), ctx.saved_tensors):
            own = slice(part.start - first, part.stop - first)
            r, grad = images.maps[part].flatten(1, 2), images.room[:len(place)].flatten(1, 2)
            torch.addcmul(sums_grad[own, None], r, squares_grad[own, None], value=2, out=grad)
            # Pooling windows do not overlap: each map value is the maximum of one window at most.
            grad.scatter_add_(1, place, pooled_grad[own].flatten(1, 2))
            torch.ops.aten.threshold_backward.grad_input(grad, r, 0, grad_input=grad)  # ReLU's
            grad_maps = grad.unflatten(1, (30, 30)).permute(0, 3, 1, 2)
            weight_grad = weight_grad + torch.nn.grad.conv2d_weight(images.images[part], (grad.shape[-1], 3, 3, 3),
                                                                    grad_maps, padding=2)
            bias_grad = bias_grad + grad.sum((0, 1))
        return None, None, None, weight_grad, bias_grad, None


def forward(weights, images, first, last, members, masks):
    """Logits in training mode of F networks on shared images, and the batches' mean and variance (for evaluation mode).

    weights: the networks' parameters, stacked [F, ...]; images: Images, of which n from `first` to `last`;
    members [n, F], 1 where an image belongs to a network's batch, else 0; masks [n, 10, 10, F, 16], dropout's.
    -> logits [n, F, 3], (mean, variance) [F, 16].
    """
    networks = len(weights["conv.weight"])
    scale, shift = weights["bn.weight"], weights["bn.bias"]
    sign = torch.sign(scale).flatten() if bool((scale < 0).any()) else None
    pooled, sums, squares = ConvReLUPool.apply(images, first, last, weights["conv.weight"].flatten(0, 1),
                                               weights["conv.bias"].flatten(), sign)
    count = 900 * members.sum(0)[:, None]  # map positions over which batch norm averages
    mean, square = (torch.einsum("nfc,nf->fc", total.unflatten(1, (networks, 16)), members) / count
                    for total in (sums, squares))
    variance = square - mean.square()
    factor = scale * (variance + 1e-5).rsqrt()
    x = torch.addcmul((shift - mean * factor).flatten(), pooled, factor.flatten()).unflatten(3, (networks, 16)) * masks
    # Average pooling and the linear layer are one matrix product, with a quarter of the layer's weight at each pixel.
    fc = weights["fc.weight"].unflatten(2, (16, 5, 5)) / 4
    fc = repeat(fc, "f k c h w -> f (h a w b c) k", a=2, b=2)
    x = torch.bmm(rearrange(x, "n h w f c -> f n (h w c)"), fc)
    logits = rearrange(x, "f n k -> n f k") + weights["fc.bias"]
    return logits, (mean.detach(), (variance * count / (count - 1)).detach())  # the running variance is unbiased


def train_together(models, generators, shared, labels, order, test_folds, *, epochs, batch_size, learning_rate,
                   keep="last", truth=None, on_epoch=None):
    """Trains F STSTNets, each on its own fold -> [FoldResult], as `loso.train_fold` would one by one.

    models: freshly made; generators: one per model, for its dropout. shared: `with_patches` of all samples' images in
    training order; labels [N] of all samples; order [N]: their indices in training order, from which each fold leaves
    out its test_folds[f]; all folds must have the same number of batches. truth [N]: the labels by which "best" is
    chosen, where they are not those of training. on_epoch(training loss) is called per model and epoch.
    """
    place = dict(device=models[0].fc.weight.device, dtype=models[0].fc.weight.dtype)
    order = torch.as_tensor(order)
    images = Images(*shared, 16 * len(models))
    targets = labels[order].to(place["device"])
    # where the samples of each fold's batches lie in the order: per batch, per fold [b]
    batches = list(zip(*(torch.nonzero(~torch.isin(order, torch.as_tensor(test))).flatten().to(place["device"])
                         .split(batch_size) for test in test_folds), strict=True))
    counts = torch.tensor([float(len(order) - len(test)) for test in test_folds], **place)
    weights, running = stack(models)
    optimizer = torch.optim.Adam(weights.values(), lr=learning_rate, fused=True)
    history, losses = [], []
    for epoch in range(epochs):
        total = torch.zeros(len(models), **place)
        for batch in batches:
            first, last = min(int(own[0]) for own in batch), max(int(own[-1]) for own in batch) + 1
            members = torch.zeros(last - first, len(models), **place)
            masks = torch.zeros(last - first, 10, 10, len(models), 16, **place)
            for f, own in enumerate(batch):
                members[own - first, f] = 1
                masks[own - first, :, :, f] = dropout_mask((len(own), 10, 10, 16), masks, generators[f])
            logits, statistics = forward(weights, images, first, last, members, masks)
            errors = members * F.cross_entropy(logits.flatten(0, 1), targets[first:last].repeat_interleave(len(models)),
                                               reduction="none").view_as(members)
            optimizer.zero_grad(set_to_none=True)
            (errors.sum(0) / members.sum(0)).sum().backward()  # they share no weight: each gets its own gradient
            optimizer.step()
            total += errors.detach().sum(0)
            for value, new in zip(running.values(), statistics):
                value.lerp_(new, 0.1)
        losses.append(total / counts)
        history.append({name: value.detach().clone() for name, value in (weights | running).items()})
        if not losses[-1].isfinite().all():
            raise BadInput(f"the training loss became infinite in epoch {epoch + 1}: lower LEARNING_RATE.")
        for loss in losses[-1].tolist() if on_epoch else ():
            on_epoch(loss)
    losses = torch.stack(losses).cpu()
    results = []
    for f, test in enumerate(test_folds):
        logits = score({name: torch.stack([epoch[name][f] for epoch in history]) for name in history[0]},
                       images.images[torch.argsort(order)[test].to(place["device"])]).cpu()
        correct = (logits.argmax(-1) == (labels if truth is None else truth)[test]).sum(1)
        kept = {"none": None, "last": epochs - 1, "best": epochs - 1 - int(correct.flip(0).argmax())}[keep]
        state = None if kept is None else unstack({name: value[f].cpu() for name, value in history[kept].items()},
                                                  (kept + 1) * len(batches))
        results.append(FoldResult(logits, losses[:, f], kept, state))
    return results


def stack(models):
    """-> (parameters, running mean and variance) of the networks, stacked [F, ...], the three streams as one of 16."""
    def streams(kind, name):
        return torch.stack([torch.cat([getattr(getattr(model, f"{kind}{i}"), name) for i in STREAMS])
                            for model in models]).detach()

    weights = {f"{kind}.{name}": streams(kind, name) for kind in ("conv", "bn") for name in ("weight", "bias")}
    weights |= {f"fc.{name}": torch.stack([getattr(model.fc, name) for model in models]).detach()
                for name in ("weight", "bias")}
    running = {f"bn.{name}": streams("bn", name) for name in ("running_mean", "running_var")}
    return {name: value.requires_grad_() for name, value in weights.items()}, running


def unstack(weights, batches):
    """One network's stacked weights -> STSTNet's state dict."""
    state = {name: value.clone() for name, value in weights.items() if name.startswith("fc")}
    for name in weights.keys() - state.keys():
        kind, _, what = name.partition(".")
        for i, part in zip(STREAMS, weights[name].split((3, 5, 8))):
            state[f"{kind}{i}.{what}"] = part.clone()
    for i in STREAMS:
        state[f"bn{i}.num_batches_tracked"] = torch.tensor(batches)
    return state


@torch.no_grad()
def score(weights, images):
    """Logits [E, m, 3] in evaluation mode of one network at E epochs, its weights stacked [E, ...], on m images.

    To these it is E networks that share their images, so that one convolution serves many epochs.
    """
    logits = []
    for start in range(0, len(weights["fc.bias"]), 50):
        part = {name: value[start:start + 50] for name, value in weights.items()}
        factor = part["bn.weight"] * (part["bn.running_var"] + 1e-5).rsqrt()
        offset = part["bn.bias"] - part["bn.running_mean"] * factor
        maps = F.relu_(F.conv2d(images, part["conv.weight"].flatten(0, 1), part["conv.bias"].flatten(), padding=2))
        maps = maps.mul_(factor.flatten()[:, None, None]).add_(offset.flatten()[:, None, None])
        x = F.avg_pool2d(F.max_pool2d(maps, 3, stride=3, padding=1), 2)
        x = rearrange(x, "m (e c) h w -> e m (c h w)", c=16)
        logits.append(x @ part["fc.weight"].mT + part["fc.bias"][:, None])
    return torch.cat(logits)


def trained_folds(folds, new_model, inputs, labels, order, *, together, workers, on_epoch=None, **options):
    """Trains all folds, `together` at a time in each of `workers` threads; yields (fold, FoldResult, seconds).

    folds: [(subject, train indices, test indices)]; new_model(subject) -> (model, generator), seeded; options: those of
    `train_together`. On a CPU one fold per core fills the machine; a GPU takes many folds at once in one thread.
    """
    def batch_count(fold):
        return -(-len(fold[1]) // options["batch_size"])

    def watched_epoch(loss):
        if stopped.is_set():
            raise InterruptedError
        if on_epoch:
            on_epoch(loss)

    def job(group):
        if workers > 1:
            torch.set_num_threads(1)
        start = time.perf_counter()
        results = train_together(*zip(*(made[subject] for subject, _, _ in group)), shared, labels, order,
                                 [test for _, _, test in group], on_epoch=watched_epoch, **options)
        seconds = (time.perf_counter() - start) / len(group)
        return [(fold, result, seconds) for fold, result in zip(group, results)]

    if not folds:
        return
    made = {subject: new_model(subject) for subject, _, _ in folds}  # here, for seeding is global to the process
    weight = made[folds[0][0]][0].fc.weight
    shared = with_patches(inputs[torch.as_tensor(order)].to(device=weight.device, dtype=weight.dtype))
    groups = []
    for _, alike in groupby(sorted(folds, key=batch_count), key=batch_count):
        alike = list(alike)
        groups += [alike[start:start + together] for start in range(0, len(alike), together)]
    stopped, pool = threading.Event(), ThreadPoolExecutor(workers)
    try:
        jobs = [pool.submit(job, group) for group in groups]
        for finished in as_completed(jobs):
            yield from finished.result()
    finally:  # on Ctrl-C or an error, the folds under way stop after their epoch
        stopped.set()
        pool.shutdown(cancel_futures=True)
