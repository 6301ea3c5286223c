"""Every training of the study, the most important first.

    python -m study.trainings            at the paper's settings: needs a CUDA GPU
    python -m study.trainings --narrow   narrow HTNets: two CPU cores, some fourteen hours
    python -m study.trainings --open     leaves out what docs/results/ holds already
    python -m study.trainings --print    only prints the commands

A run that was stopped goes on, a finished one is left alone.
"""

import argparse
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import torch

from composite_dataset import INDEX_NAME

ROOT = Path(__file__).parents[1]
DATASETS, RELEASED = Path("datasets"), Path("results") / "datasets-released"
NARROW = ["--dim", 64, "--epochs", 100, "--precision", "bf16", "--threads", 1]
# the paper's ablation without 256; ours without 64
PAPER_DIMS, NARROW_DIMS = (
    (56, 112, 196, 392, 512),
    (16, 32),
)
TWO = ["--num_hierarchies", 2, "--block_repeats", "2,10"]


def list_trainings(narrow):
    """[(run, its options)]; what else is the same for all is in `make_command`."""
    size, options, same_size = ("-dim64", NARROW, 129) if narrow else ("", [], 516)
    seeds, dims = (1, 2, 3), NARROW_DIMS if narrow else PAPER_DIMS

    def htnet(kind, *more, seed=1, size=size):
        return f"HTNet{size}{kind}-seed{seed}", [*options, *more, "--seed", seed]

    def ststnet(kind="", *more, seed=1):
        return f"STSTNet{kind}-seed{seed}", ["--model", "STSTNet", *more, "--seed", seed]

    runs = [
        *(htnet("", seed=seed) for seed in seeds),
        *(htnet("-released", "--datasets", RELEASED, seed=seed) for seed in seeds),
        *(ststnet(seed=seed) for seed in seeds),
        htnet("-order012", "--class_order", "0,1,2"),
        ststnet("-order210", "--class_order", "2,1,0"),
        htnet("-shuffle", "--shuffle", True),
        *(htnet("-two", *TWO, seed=seed) for seed in seeds),
        # of about the same size as three hierarchies
        htnet(f"-two-dim{same_size}", *TWO, "--dim", same_size),
        htnet("-control", "--shuffle_labels", True),
        ststnet("-control", "--shuffle_labels", True),
        htnet("-normalized", "--normalize", True),
        ststnet("-normalized", "--normalize", True),
        *(htnet("", "--dim", dim, seed=seed, size=f"-dim{dim}") for dim in dims for seed in seeds),
    ]
    if narrow:
        runs += [
            htnet("-float32", "--precision", "float32"),
            htnet("-epochs200", "--epochs", 200),
            htnet("-epochs200", "--epochs", 200, "--dim", 16, size="-dim16"),
            htnet("-epochs100", "--dim", 56, size="-dim56"),
        ]
    return runs


def make_command(run, options, narrow):
    """The training's command line as a list of str; narrow HTNets take two processes."""
    launch = (
        ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--"]
        if narrow and run[0] == "H"
        else []
    )
    once = dict(zip(options[::2], options[1::2]))  # of an option given twice the later counts
    return [
        "python",
        *launch,
        "main_HTNet.py",
        "--train",
        "True",
        "--keep",
        "none",
        "--run",
        run,
        *(str(word) for pair in once.items() for word in pair),
    ]


def link_released_centres():
    """Makes RELEASED: the databases as links, with the released area centres for dlib's."""
    (ROOT / RELEASED).mkdir(parents=True, exist_ok=True)
    for path in (ROOT / DATASETS).iterdir():
        link = ROOT / RELEASED / path.name
        if path.name != "facial_areas.csv" and not link.exists():
            link.symlink_to(path.resolve(), target_is_directory=path.is_dir())
    shutil.copyfile(
        ROOT / DATASETS / "released_area_centres.csv", ROOT / RELEASED / "facial_areas.csv"
    )


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--narrow", action="store_true")
    parser.add_argument("--open", action="store_true")
    parser.add_argument("--print", action="store_true")
    arguments = parser.parse_args()
    commands = [
        make_command(run, options, arguments.narrow)
        for run, options in list_trainings(arguments.narrow)
        if not (arguments.open and (ROOT / "docs" / "results" / run).exists())
    ]
    if arguments.print:
        if (ROOT / DATASETS / INDEX_NAME).exists():  # so that what is printed can be run
            link_released_centres()
        print("\n".join(map(shlex.join, commands)))
        return
    if not (arguments.narrow or torch.cuda.is_available()):
        parser.error(
            "there is no CUDA GPU, without which an HTNet takes days: give --narrow for narrow "
            "ones, or --print to see the commands."
        )
    if not (ROOT / DATASETS / INDEX_NAME).exists():
        parser.error(
            f"{DATASETS} holds no composite: put the databases there first (README, Data)."
        )
    link_released_centres()
    failed = []
    for line in commands:
        status = subprocess.run([sys.executable, *line[1:]], cwd=ROOT).returncode
        if status == 130:  # stopped from the keyboard
            sys.exit(status)
        if status:  # it has said why; the others go on
            failed.append(shlex.join(line))
    if failed:
        sys.exit("\n".join(["These failed:", *failed]))


if __name__ == "__main__":
    try:
        main()
        sys.stdout.flush()
    except BrokenPipeError:  # `--print | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        sys.exit(130)
