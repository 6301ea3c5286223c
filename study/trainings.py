"""Every training of the study, the most important first.

    python -m study.trainings            at the paper's settings: needs a CUDA GPU
    python -m study.trainings --wide     the paper's width: two CPU cores with AVX-512, days
    python -m study.trainings --narrow   narrow HTNets: the same, some twenty-two hours
    python -m study.trainings --honest   the honest recipe: two CPU cores, some two hours
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
WIDE = ["--precision", "bf16", "--threads", 1]
NARROW = ["--dim", 64, "--epochs", 100, *WIDE]
FLOAT32 = ["--precision", "float32"]  # quicker where a processor has no AVX-512
# the paper's ablation without 256; ours without 64
PAPER_DIMS, NARROW_DIMS = (56, 112, 196, 392, 512), (16, 32)
TWO = ["--num_hierarchies", 2, "--block_repeats", "2,10"]
FOUR = ("left_eye", "right_eye", "left_lip", "right_lip")
AREAS = {  # name: what it is, the constant AREAS
    "eyes": ("the eyes alone", ",".join(FOUR[:2])),
    "lips": ("the lips alone", ",".join(FOUR[2:])),
    **{
        f"no-{left_out.replace('_', '-')}": (
            f"without the {left_out.replace('_', ' ')}",
            ",".join(area for area in FOUR if area != left_out),
        )
        for left_out in FOUR
    },
    "nose": ("the nose as a fifth area", "all,nose"),
    "whole": ("the whole map for the areas", "whole"),
    "and-whole": ("the four areas and the whole map", "all,whole"),
}
REPEATS = ("2-2-2", "2-2-8", "2-2-20")
HEADS = (1, 6)
# of all sizes, 207 samples; and four of the smallest
SIXTEEN = (
    "s03,s20,s04,s08,sub17,sub12,sub26,sub19,011,006,014,026",
    "s05,s19,sub13,012",
)
# those of eleven samples or more, without 006 and sub26: 166 samples
LARGEST = "s03,sub17,s20,011,s04,s08,sub12,sub19"
TWO_LARGEST = ",".join(LARGEST.split(",")[:2])  # 70 samples


def list_trainings(group="full"):
    """[(run, its options)] of "full", "wide", "narrow" or "honest"; what else is the same for all
    is in `make_command`.
    """
    lists = {"full": list_full, "wide": list_wide, "narrow": list_narrow, "honest": list_honest}
    return lists[group]()


def name_htnet(kind, *options, seed=1):
    return f"HTNet{kind}-seed{seed}", [*options, "--seed", seed]


def list_both(size, options, same_size):
    """What is trained at either size: [(run, its options)]."""

    def htnet(kind, *more, seed=1):
        return name_htnet(f"{size}{kind}", *options, *more, seed=seed)

    def ststnet(kind="", *more, seed=1):
        return f"STSTNet{kind}-seed{seed}", ["--model", "STSTNet", *more, "--seed", seed]

    seeds = (1, 2, 3)
    return [
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
    ]


def list_full():
    dims = [(dim, seed) for dim in PAPER_DIMS for seed in (1, 2, 3)]
    return [
        *list_both("", [], 516),
        *(name_htnet(f"-dim{dim}", "--dim", dim, seed=seed) for dim, seed in dims),
    ]


def list_wide():
    released = ("--datasets", RELEASED)
    return [
        name_htnet("-epochs200", "--epochs", 200, *WIDE),
        name_htnet("-epochs800", "--epochs", 800, *WIDE, "--subjects", ",".join(SIXTEEN)),
        name_htnet("-dim56-epochs800", "--epochs", 800, *WIDE, "--dim", 56),
        name_htnet("-epochs200", "--epochs", 200, *WIDE, seed=2),
        name_htnet("-epochs200-released", "--epochs", 200, *WIDE, *released),
        name_htnet(
            "-epochs200-float32", "--epochs", 200, *WIDE, *FLOAT32, "--subjects", LARGEST, seed=2
        ),
        name_htnet(
            "-epochs800-float32",
            *("--epochs", 800, *WIDE, *FLOAT32, "--subjects", TWO_LARGEST),
            seed=2,
        ),
    ]


def list_narrow():
    def htnet(kind, *options, seed=1):
        return name_htnet(kind, *NARROW, *options, seed=seed)

    dims = [(dim, seed) for dim in NARROW_DIMS for seed in (1, 2, 3)]
    return [
        *list_both("-dim64", NARROW, 129),
        *(htnet(f"-dim{dim}", "--dim", dim, seed=seed) for dim, seed in dims),
        htnet("-dim64-float32", *FLOAT32),
        htnet("-dim64-epochs200", "--epochs", 200),
        htnet("-dim16-epochs200", "--epochs", 200, "--dim", 16),
        htnet("-dim56-epochs100", "--dim", 56),
        *(
            htnet(f"-dim64-areas-{name}", "--areas", areas, seed=seed)
            for seed in (1, 2, 3)
            for name, (_, areas) in AREAS.items()
        ),
        *(
            htnet(
                f"-dim64-float32-repeats{repeats}",
                *FLOAT32,
                "--block_repeats",
                repeats.replace("-", ","),
            )
            for repeats in REPEATS
        ),
        *(htnet(f"-dim64-float32-heads{heads}", *FLOAT32, "--heads", heads) for heads in HEADS),
    ]


def list_honest():
    honest, ststnet = ["--recipe", "honest", "--threads", 1], ["--model", "STSTNet"]
    views = ["--teacher", False, "--class_weights", True, "--label_smoothing", 0.1, "--epochs", 30]
    return [
        *((f"HTNet-honest-seed{seed}", [*honest, "--seed", seed]) for seed in range(1, 6)),
        *((f"STSTNet-honest-seed{n}", [*ststnet, *honest, "--seed", n]) for n in (1, 2, 3)),
        *((f"STSTNet-views-seed{n}", [*ststnet, *honest, *views, "--seed", n]) for n in (1, 2, 3)),
    ]


def make_command(run, options, group):
    """The training's command line as a list of str; HTNets on CPU cores take two processes."""
    launch = (
        ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--"]
        if group != "full" and run[0] == "H"
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
    groups = parser.add_mutually_exclusive_group()
    for group in ("narrow", "wide", "honest"):
        groups.add_argument(f"--{group}", action="store_const", const=group, dest="group")
    parser.add_argument("--open", action="store_true")
    parser.add_argument("--print", action="store_true")
    parser.set_defaults(group="full")
    arguments = parser.parse_args()
    commands = [
        make_command(run, options, arguments.group)
        for run, options in list_trainings(arguments.group)
        if not (arguments.open and (ROOT / "docs" / "results" / run).exists())
    ]
    if arguments.print:
        if (ROOT / DATASETS / INDEX_NAME).exists():  # so that what is printed can be run
            link_released_centres()
        print("\n".join(map(shlex.join, commands)))
        return
    if arguments.group == "full" and not torch.cuda.is_available():
        parser.error(
            "there is no CUDA GPU, without which 800 epochs of an HTNet take days: give --narrow "
            "or --wide for what CPU cores can do, or --print to see the commands."
        )
    if not (ROOT / DATASETS / INDEX_NAME).exists():
        parser.error(
            f"{DATASETS} holds no composite: put the databases there first (docs/data.md)."
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
