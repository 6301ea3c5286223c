"""Times HTNet and STSTNet on this machine's CPU (some minutes on two cores).

    python -m benchmarks
    python -m benchmarks --growth True    instead: time and memory against dim, samples, threads

The floor of a training step is its multiply-adds at the machine's float32 matrix-multiply rate plus
28 bytes of optimizer traffic for each trained parameter at its copy bandwidth. Both are measured in
the same run, between the steps, since a shared machine's speed changes from minute to minute. Times
are medians.
"""

import argparse
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F

import loso
from benchmarks.plain_htnet import plain_forward, released_shapes
from benchmarks.plain_ststnet import PlainSTSTNet
from htnet import PAPER, HTNet
from ststnet import STSTNet
from support.settings import parse_boolean

FOLDS, EPOCHS, SAMPLES, BATCH = 68, 800, 442, 256


def measure_seconds(work):
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def count_multiply_adds(dim, heads=3, repeats=(2, 2, 10)):
    """Of one sample's forward pass: all taps of the convolutions, no queries and keys."""
    total, positions = 16 * 147 * dim, 16
    for level, count in enumerate(repeats):
        width, inner = dim * 2**level, heads * 2**level * (dim // heads)
        total += positions * count * (2 * width * inner + 8 * width**2)
        if level < 2:
            total += positions * 9 * width * 2 * width
        positions //= 4
    return total + 3 * width


def make_data(n):
    generator = torch.Generator().manual_seed(0)
    return (
        torch.randint(0, 256, (n, 3, 28, 28), generator=generator).float(),
        torch.randint(0, 3, (n,), generator=generator),
    )


def make_rate_meters():
    """Two functions: multiply-adds per second, and bytes copied per second, measured now."""
    a, b, product = torch.randn(2048, 2048), torch.randn(2048, 2048), torch.empty(2048, 2048)
    source, target = torch.randn(2**26), torch.empty(2**26)
    torch.mm(a, b, out=product), target.copy_(source)
    return (
        lambda: 2048**3 / measure_seconds(lambda: torch.mm(a, b, out=product)),
        lambda: 2 * source.nbytes / measure_seconds(lambda: target.copy_(source)),
    )


def make_htnet_step(dim=256, batch=BATCH):
    """-> (step(bf16=False) that makes one training step, number of trained parameters, model)."""
    torch.manual_seed(0)
    model = HTNet(**PAPER | dict(dim=dim))
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=5e-5, fused=True)
    inputs, labels = make_data(batch)

    def step(bf16=False):
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            logits = model(inputs).float()
        F.cross_entropy(logits, labels).backward()
        optimizer.step()

    return step, sum(parameter.numel() for parameter in trained), model


def make_plain_step():
    generator = torch.Generator().manual_seed(0)
    state = {
        name: (
            0.02 * torch.randn(shape, generator=generator) + name.endswith(".g")
        ).requires_grad_()
        for name, shape in released_shapes(**PAPER).items()
    }
    optimizer = torch.optim.Adam(state.values(), lr=5e-5)
    inputs, labels = make_data(BATCH)

    def step():
        optimizer.zero_grad()
        F.cross_entropy(plain_forward(state, inputs, **PAPER), labels).backward()
        optimizer.step()

    return step


def print_htnet_table(rounds):
    rate, bandwidth = make_rate_meters()
    our_step, trained, model = make_htnet_step()
    plain = make_plain_step()
    our_step(), our_step(bf16=True), plain()
    times = {"ours": [], "bf16": [], "plain": [], "floor": []}
    for _ in range(rounds):
        floors = []
        for name, step in (
            ("ours", our_step),
            ("ours", our_step),
            ("bf16", partial(our_step, bf16=True)),
            ("plain", plain),
        ):
            before = rate(), bandwidth()
            times[name].append(measure_seconds(step))
            after = rate(), bandwidth()
            floors.append(
                3 * count_multiply_adds(256) * BATCH / max(before[0], after[0])
                + 28 * trained / max(before[1], after[1])
            )
        times["floor"].append(min(floors))
    step, bf16, slow, floor = (
        statistics.median(times[name]) for name in ("ours", "bf16", "plain", "floor")
    )
    steps = FOLDS * EPOCHS * (SAMPLES * (1 - 1 / FOLDS)) / BATCH  # in whole batches' worth of work
    print(
        f"| HTNet (dim 256), a step of {BATCH} | {step:.2f} s | {slow:.2f} s | {slow / step:.1f} "
        f"x | {floor:.2f} s ({step / floor:.2f} x the floor) | {steps * step / 86400:.1f} days |",
        flush=True,
    )
    print(
        f"| the same, PRECISION bf16 | {bf16:.2f} s | {slow:.2f} s | {slow / bf16:.1f} x | - | "
        f"{steps * bf16 / 86400:.1f} days |",
        flush=True,
    )
    kept = {name: torch.empty_like(value) for name, value in model.state_dict().items()}
    copies = [
        measure_seconds(
            lambda: [kept[name].copy_(value) for name, value in model.state_dict().items()]
        )
        for _ in range(4)
    ][1:]
    copy = statistics.median(copies)
    share = copy / (copy + step * SAMPLES / BATCH)
    print(
        f"| keeping the best epoch's weights | {copy:.2f} s | - | - | {share:.1%} of an epoch "
        "| - |",
        flush=True,
    )


def print_ststnet_table(epochs):
    """An epoch of one fold, beside the port's three separate streams."""
    inputs, labels = make_data(SAMPLES)
    options = dict(epochs=epochs, batch_size=BATCH, learning_rate=5e-5, keep="last")

    def train(network):
        loso.train_fold(network(), inputs[7:], labels[7:], inputs[:7], labels[:7], **options)

    times = []
    for _ in range(5):
        slow, fast = (
            measure_seconds(partial(train, network)) / epochs for network in (PlainSTSTNet, STSTNet)
        )
        times.append((slow / fast, fast, slow))
    ratio, fast, slow = sorted(times)[2]
    print(
        f"| STSTNet, an epoch of one fold | {fast * 1e3:.0f} ms | {slow * 1e3:.0f} ms | "
        f"{ratio:.1f} x | - | {FOLDS * EPOCHS * fast / 60:.0f} minutes |",
        flush=True,
    )


def print_growth():
    """Time and peak memory of a process that trains HTNet, against one thing at a time."""
    print(
        "\n| dim | samples | threads | seconds per epoch | peak memory, GB |\n| --- | --- | --- | "
        "--- | --- |"
    )
    points = {
        "dim": [(dim, 442, 2) for dim in (56, 112, 196, 256, 392, 512)],
        "samples": [(112, samples, 2) for samples in (442, 943, 2210, 4420)],
        "threads": [(112, 442, threads) for threads in range(1, (os.cpu_count() or 1) + 1)],
    }
    for name, settings in points.items():
        measured = []
        for setting in settings:
            code = f"from benchmarks.__main__ import print_one_epoch; print_one_epoch{setting}"
            output = subprocess.run(
                [sys.executable, "-c", code], capture_output=True, text=True, check=True
            ).stdout
            measured.append([float(word) for word in output.split()])
            print(
                f"| {' | '.join(map(str, setting))} | {measured[-1][0]:.2f} | "
                f"{measured[-1][1]:.2f} |",
                flush=True,
            )
        varied = [setting[{"dim": 0, "samples": 1, "threads": 2}[name]] for setting in settings]
        if len(varied) > 2:
            exponent = np.polyfit(np.log(varied), np.log([time for time, _ in measured]), 1)[0]
            print(f"\ntime grows as {name} to the power {exponent:.2f}\n")


def print_one_epoch(dim, samples, threads):
    """Prints the shorter time of a fold's second and third epoch, and this process's peak memory in
    GB.
    """
    torch.set_num_threads(threads)
    model, times = HTNet(**PAPER | dict(dim=dim)), []
    inputs, labels = make_data(samples + 7)
    loso.train_fold(
        model,
        inputs[7:],
        labels[7:],
        inputs[:7],
        labels[:7],
        epochs=3,
        batch_size=BATCH,
        learning_rate=5e-5,
        on_epoch=lambda loss: times.append(time.perf_counter()),
    )
    print(
        min(times[1] - times[0], times[2] - times[1]),
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9,
    )


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--growth", type=parse_boolean, default=False)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    # alone, for on Linux a process inherits the peak memory of the one that started it
    if arguments.growth:
        return print_growth()
    rate, bandwidth = make_rate_meters()
    print(
        f"{os.cpu_count()} CPU cores ({platform.machine()}), {torch.get_num_threads()} threads, "
        f"torch "
        f"{torch.__version__}; {rate() / 1e9:.0f} G multiply-adds a second, "
        f"{bandwidth() / 1e9:.0f} GB/s\n"
    )
    print(
        "| | this project | plain | ratio | floor | complete run |\n| --- | --- | --- | --- | --- "
        "| --- |"
    )
    print_htnet_table(arguments.rounds)
    print_ststnet_table(10)


if __name__ == "__main__":
    main()
