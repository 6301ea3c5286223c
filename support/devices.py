"""Where a run computes: device, precision, and what to say when a device fails."""

import os
import re

import torch

from support import ranks
from support.files import BadInput, format_size

PRECISIONS = ("tf32", "float32", "bf16")


def set_precision(precision):
    """TF32 (10 bits of mantissa) for float32 matrix products and convolutions on a GPU, or full
    float32.

    PyTorch's own default, and so the released code's, is TF32 for convolutions only. The released
    code computes by 1x1 convolutions what is a matrix product here. "bf16" is left to autocast,
    around the network.
    """
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"


def warn_of_emulation(precision, device):
    """Says on the first rank that bf16 is slow here: without AVX-512 PyTorch emulates it."""
    if (
        precision == "bf16"
        and device.type == "cpu"
        and torch.backends.cpu.get_cpu_capability() in ("AVX2", "NO AVX")
    ):
        ranks.say(
            "Note: this CPU has no AVX-512 and emulates bf16, more than ten times slower than "
            "float32: --precision float32 is the quick one here."
        )


def pick_device(name):
    """DEVICE ("auto", "cpu", "cuda", "cuda:1") -> torch.device that works here; raises BadInput."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and ranks.rank_on_machine() >= (there := torch.cuda.device_count()) > 0:
        raise BadInput(
            f"more processes than the {there} GPUs of this machine: start torchrun with "
            f"--nproc-per-node {there}, or set DEVICE to 'cpu'."
        )
    try:
        device = torch.device(name)
        if device.type not in ("cpu", "cuda"):
            raise RuntimeError("only cpu and cuda are supported")
        if device.type == "cuda":
            if device.index is None:
                device = torch.device("cuda", ranks.rank_on_machine())
            torch.cuda.set_device(device)
        torch.zeros(1, device=device).add_(1).item()  # does it compute?
    except (RuntimeError, AssertionError, OverflowError) as error:
        raise BadInput(
            f"DEVICE '{name}' cannot be used here ({str(error).splitlines()[0]}): set it to 'cpu' "
            "or 'auto'."
        ) from None
    return device


def refuse_large_network(parameters, trains, device):
    """Raises BadInput where a network of so many parameters exceeds the device's whole memory."""
    copies = 4 if trains else 1  # weights, gradients, Adam's two moments; in float32
    if device.type == "cuda":
        memory = torch.cuda.get_device_properties(device).total_memory
    elif hasattr(os, "sysconf"):
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    else:
        return
    if (needed := 4 * copies * parameters) > memory:
        raise BadInput(
            f"the network of these settings has {parameters:,} parameters and needs "
            f"{format_size(needed)}, but this DEVICE has {format_size(memory)}: lower DIM, "
            "MLP_MULT or BLOCK_REPEATS."
        )


def describe_machine(device):
    """The kind of machine, for the report."""
    kind = (
        torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else f"{os.cpu_count()} CPU cores"
    )
    threads = "" if device.type == "cuda" else f", threads: {torch.get_num_threads()}"
    return f"{kind}; processes: {ranks.count_ranks()}{threads}; torch {torch.__version__}"


def explain_failure(error):
    """A sentence for memory that ran out or a device that failed; empty for other errors."""
    kept = "Finished folds are kept and the same command goes on from them"
    if is_out_of_memory(error):
        return (
            f"out of memory on this DEVICE. {kept}: free it of other programs or set another "
            "DEVICE; or give another RUN a smaller DIM or BATCH_SIZE."
        )
    if "captur" in str(error):  # a mistake in this program's recording of an epoch
        return ""
    if isinstance(error, torch.AcceleratorError) or re.match(
        "CU(DA|DNN|BLAS)|cu(DNN|BLAS)", str(error)
    ):
        reason = str(error).splitlines()[0]
        return f"this DEVICE failed ({reason}). {kept}, also on another DEVICE such as 'cpu'."
    return ""


def is_out_of_memory(error):
    """Whether memory ran out, also where that broke off the recording of an epoch."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)) or re.search(
        "out of memory|allocate memory|ALLOC_FAILED", str(error)
    ):
        return True
    first = error.__context__ if "captur" in str(error) else None
    return first is not None and is_out_of_memory(first)
