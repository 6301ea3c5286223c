"""Times HTNet's training on a GPU at the paper's settings: `python -m benchmarks.gpu` (some
minutes).

One fold of 442 samples, seven of them held out, is trained for a few epochs in each way: as the
released code does (plain formulation, PyTorch's default Adam, batches sent from the host, results
fetched every epoch; without its disk writes), with this project's loop launched kernel by kernel,
and recorded as a CUDA graph at each precision. The floor of an epoch is its multiply-adds at the
measured rate of matrix products, plus 28 bytes of optimizer traffic a step for each trained
parameter at the measured copy bandwidth. Then: whether 8 GB are enough, what the precision does to
losses and predictions, and the kernels that take longest.
"""

import argparse
import platform
import statistics
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch.profiler import ProfilerActivity, profile

import composite_dataset
import loso
from benchmarks.__main__ import BATCH, EPOCHS, FOLDS, SAMPLES, count_multiply_adds, make_data
from benchmarks.plain_htnet import plain_forward, released_shapes
from htnet import PAPER, HTNet
from support import devices

HELD_OUT = 7
REPEATS = 20  # of a product or a copy that is timed, beside which the launch counts for nothing


def measure_seconds(work, device):
    def wait():
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    wait()
    start = time.perf_counter()
    work()
    wait()
    return time.perf_counter() - start


def measure_ceilings(device, size):
    """-> ({precision: multiply-adds per second}, bytes copied per second), medians."""

    def repeat(work):
        for _ in range(REPEATS if device.type == "cuda" else 1):
            work()

    def median(work):
        seconds = [measure_seconds(partial(repeat, work), device) for _ in range(12)]
        return statistics.median(seconds[2:]) / (REPEATS if device.type == "cuda" else 1)

    rates = {}
    for precision in devices.PRECISIONS:
        devices.set_precision(precision)
        a, b = torch.randn(
            2, size, size, device=device, dtype=torch.bfloat16 if precision == "bf16" else None
        )
        rates[precision] = size**3 / median(partial(torch.mm, a, b))
    source = torch.randn(16 * size**2, device=device)
    target = torch.empty_like(source)
    return rates, 2 * source.nbytes / median(partial(target.copy_, source))


def make_model(dim, device):
    torch.manual_seed(0)
    return HTNet(**PAPER | dict(dim=dim)).to(device)


def run_plain_loop(dim, device, epochs):
    """The released training of one fold."""
    config = PAPER | dict(dim=dim)
    state = {
        name: (0.02 * torch.randn(shape) + name.endswith(".g")).to(device).requires_grad_()
        for name, shape in released_shapes(**config).items()
    }
    optimizer = torch.optim.Adam(state.values(), lr=5e-5)
    inputs, labels = make_data(SAMPLES)
    for _ in range(epochs):
        for images, truth in zip(inputs[HELD_OUT:].split(BATCH), labels[HELD_OUT:].split(BATCH)):
            optimizer.zero_grad()
            loss = F.cross_entropy(
                plain_forward(state, images.to(device), **config), truth.to(device)
            )
            loss.backward()
            optimizer.step()
            loss.item()
        with torch.no_grad():
            plain_forward(state, inputs[:HELD_OUT].to(device), **config).argmax(1).cpu()


def run_our_loop(dim, device, precision, keep, record, epochs):
    inputs, labels = (values.to(device) for values in make_data(SAMPLES))
    loso.train_fold(
        make_model(dim, device),
        inputs[HELD_OUT:],
        labels[HELD_OUT:],
        inputs[:HELD_OUT],
        labels[:HELD_OUT],
        epochs=epochs,
        batch_size=BATCH,
        learning_rate=5e-5,
        keep=keep,
        precision=precision,
        cuda_graph=record and device.type == "cuda",
    )


def print_time_table(dim, device, epochs, size):
    rates, bandwidth = measure_ceilings(device, size)
    print(
        f"{', '.join(f'{name} {rate / 1e12:.3g}' for name, rate in rates.items())} T "
        f"multiply-adds a second; "
        f"{bandwidth / 1e9:.0f} GB/s\n"
    )
    model = make_model(dim, device)
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    drawing = measure_seconds(partial(make_model, dim, device), device)
    del model
    work = count_multiply_adds(dim) * (3 * (SAMPLES - HELD_OUT) + HELD_OUT)
    steps = -(-(SAMPLES - HELD_OUT) // BATCH)
    # and the evaluation reads the weights once: 4 bytes
    floors = {
        name: work / rate + (28 * steps + 4) * trained / bandwidth for name, rate in rates.items()
    }
    devices.set_precision("tf32")
    plain = partial(run_plain_loop, dim, device)
    variants = [("plain loop, as released", "tf32", plain)]
    variants += [
        (name, precision, partial(run_our_loop, dim, device, precision, keep, record))
        for name, precision, keep, record in (
            ("kernel by kernel, tf32", "tf32", "none", False),
            ("graph, tf32", "tf32", "none", True),
            ("graph, tf32, keeping the best epoch", "tf32", "best", True),
            ("graph, float32", "float32", "none", True),
            ("graph, bf16", "bf16", "none", True),
        )
    ]
    print_heading(
        "",
        "ms per epoch",
        "ratio",
        "share of the floor",
        "start of a fold, s",
        "peak memory, GB",
        "complete run, min",
    )
    plain_time = None
    for name, precision, loop in variants:
        devices.set_precision(precision)
        loop(epochs=loso.EAGER_EPOCHS + 1)  # libraries set up, kernels chosen
        if device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(device)
        short, long = (
            measure_seconds(partial(loop, epochs=count), device) for count in (epochs, 3 * epochs)
        )
        epoch = (long - short) / (2 * epochs)
        plain_time = plain_time or epoch
        start = max(0.0, short - epochs * epoch)
        memory = (
            f"{torch.cuda.max_memory_reserved(device) / 1e9:.2f}" if device.type == "cuda" else "-"
        )
        print(
            f"| {name} | {epoch * 1e3:.2f} | {plain_time / epoch:.1f} x | "
            f"{floors[precision] / epoch:.0%} | {start:.2f} | {memory} | "
            f"{FOLDS * (start + EPOCHS * epoch) / 60:.1f} |",
            flush=True,
        )
    print(
        f"\nThe start of a fold holds drawing its weights ({drawing:.2f} s), which main_HTNet.py "
        f"does ahead on a "
        f"GPU. A complete run is {FOLDS} folds of {EPOCHS} epochs without disk writes.\n"
    )


def print_heading(*columns):
    print(f"| {' | '.join(columns)} |\n| {' | '.join(['---'] * len(columns))} |")


def try_memory(dim, device, gigabytes):
    """Whether a fold trains, keeping its best epoch, within so much memory for tensors."""
    total = torch.cuda.get_device_properties(device).total_memory
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(min(1.0, gigabytes * 1e9 / total), device)
    try:
        run_our_loop(dim, device, "tf32", "best", True, epochs=loso.EAGER_EPOCHS + 2)
        print(f"With {gigabytes} GB at most for tensors, a fold trains.\n")
    except RuntimeError as error:
        if not devices.is_out_of_memory(error):
            raise
        print(f"With {gigabytes} GB at most for tensors, memory runs out.\n")
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, device)


def print_precision_table(dim, device, epochs, root):
    """What the precision does to a real fold: losses and held-out logits against float32."""
    composite = composite_dataset.load_composite(root)
    images = torch.from_numpy(composite.flows.transpose(0, 3, 1, 2).astype(np.float32))
    labels = torch.from_numpy(composite.labels)
    fold = max(loso.split_subjects(composite, (2, 1, 0)), key=lambda fold: len(fold.test))
    train, test = fold.train, fold.test
    results = {}
    # twice: what atomics' order alone does on a GPU
    for name in ("float32", "float32 again", "tf32", "bf16"):
        precision = name.removesuffix(" again")
        devices.set_precision(precision)
        results[name] = loso.train_fold(
            make_model(dim, device),
            images[train],
            labels[train],
            images[test],
            labels[test],
            epochs=epochs,
            batch_size=BATCH,
            learning_rate=5e-5,
            keep="none",
            precision=precision,
        )
    print(f"Subject {fold.name} of {root}, whole flow images, {epochs} epochs:\n")
    print_heading(
        "precision",
        "loss of the first epoch",
        "of the last epoch",
        "largest first-epoch difference of a logit",
        "equal predictions, all epochs",
    )
    exact = results["float32"]
    for precision, result in results.items():
        difference = (result.logits[0] - exact.logits[0]).abs().max()
        equal = (result.logits.argmax(-1) == exact.logits.argmax(-1)).double().mean()
        print(
            f"| {precision} | {result.losses[0]:.5f} | {result.losses[-1]:.5f} | {difference:.2g} "
            f"| {equal:.1%} |"
        )


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--device", default="cuda", help="'cpu' runs the same on a CPU, to try it at a small --dim"
    )
    parser.add_argument("--dim", type=int, default=PAPER["dim"])
    parser.add_argument(
        "--epochs", type=int, default=30, help="of the shorter of the two timed trainings"
    )
    parser.add_argument(
        "--size", type=int, default=4096, help="side of the matrices that measure the ceilings"
    )
    parser.add_argument(
        "--datasets", type=Path, default="datasets", help="its sample/ where it holds no data"
    )
    arguments = parser.parse_args()
    if arguments.epochs <= loso.EAGER_EPOCHS:
        raise SystemExit(
            f"benchmarks.gpu: --epochs must be above {loso.EAGER_EPOCHS}: later ones are recorded."
        )
    device = (
        torch.device("cuda", 0) if arguments.device == "cuda" else torch.device(arguments.device)
    )
    if device.type == "cuda" and not torch.cuda.is_available():
        raise SystemExit(
            "benchmarks.gpu: PyTorch sees no CUDA GPU here; --device cpu tries the command without "
            "one."
        )
    if device.type == "cuda":
        torch.cuda.set_device(device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    print(f"{name}, torch {torch.__version__}, dim {arguments.dim}")
    print_time_table(arguments.dim, device, arguments.epochs, arguments.size)
    if device.type == "cuda":
        try_memory(arguments.dim, device, 8)
    root = arguments.datasets
    print_precision_table(
        arguments.dim,
        device,
        arguments.epochs,
        root if composite_dataset.holds_data(root) else root / "sample",
    )
    devices.set_precision("tf32")
    with profile(
        activities=[ProfilerActivity.CPU, *[ProfilerActivity.CUDA] * (device.type == "cuda")]
    ) as profiled:
        run_our_loop(arguments.dim, device, "tf32", "none", False, epochs=4)
    order = "self_device_time_total" if device.type == "cuda" else "self_cpu_time_total"
    print("\nThe operations that take longest, four epochs kernel by kernel:\n")
    print(profiled.key_averages().table(sort_by=order, row_limit=12, max_name_column_width=60))


if __name__ == "__main__":
    main()
