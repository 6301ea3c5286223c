"""Recognizes the micro-expression in clips, and shows which facial areas say so.

    python recognize.py clip.mp4
    python recognize.py clip.mp4 --picture clip.png --explain
    python recognize.py folder_of_clips --output results/clips
    python recognize.py frames/ --onset 12 --apex 31 --fps 200
    python recognize.py --onset a.png --apex b.png --json -

A clip is a video (frames count from 0) or a folder of frames (they count as in their names); any
other folder stands for the clips in it. Without --onset and --apex, they are searched for. Columns,
statuses and limits: docs/recognition.md.
"""

import argparse
import os
import re
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    # Ctrl-C while the imports take their seconds: no traceback
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))

import torch
from tqdm import tqdm

from recognition.clip import CLASSES, COLUMNS, Recognition, recognize
from recognition.ensemble import DEFAULT, load_ensemble
from recognition.frames import POSSIBLE_FPS, find_clips, open_clip, open_pair
from recognition.results import Writer
from support.devices import explain_failure, pick_device
from support.exits import explain_errors, make_one_line
from support.files import BadInput, check_name

PICTURES = (".png", ".pdf", ".svg", ".jpg")
FRAME_NUMBER = re.compile(r"\d{1,9}", re.ASCII)


def parse_arguments(argv):
    parser = argparse.ArgumentParser(
        prog="recognize.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )

    def refuse(message):
        raise BadInput(f"{message.rstrip('.')}; --help lists the options.")

    parser.error = refuse
    add = parser.add_argument
    add("inputs", nargs="*", metavar="INPUT", help="a video, a folder of frames, one of clips")
    add("--onset", metavar="N|FILE", help="the onset's frame number, or an image file")
    add("--apex", metavar="N|FILE", help="the apex's")
    add("--fps", type=float, help="frames per second, where the file says none or a wrong rate")
    add("--output", type=Path, metavar="DIR", help="recognition.csv, .json and a picture per clip")
    add("--csv", type=Path, metavar="FILE", help="a table, one row per clip")
    add("--json", metavar="FILE|-", help="a list, one object per clip; -: on standard output")
    add("--picture", type=Path, metavar="FILE", help="one page about the clip: png, pdf, svg, jpg")
    add(
        "--weights",
        default=DEFAULT,
        metavar="NAME|PATH",
        help="a folder of weights/pretrained/, or a .safetensors file",
    )
    add("--device", default="auto", help="cpu, cuda or auto")
    add("--explain", action="store_true", help="also which parts of the areas, on the picture")
    args = parser.parse_args(argv)
    low, high = POSSIBLE_FPS
    if args.fps is not None and not low <= args.fps <= high:
        raise BadInput(
            f"--fps is {args.fps:g}: it must be frames per second, from {low} to {high}."
        )
    if args.picture and args.picture.suffix.lower() not in PICTURES:
        raise BadInput(f"--picture {args.picture} must end with {', '.join(PICTURES)}.")
    for path in filter(None, (args.output, args.csv, args.json, args.picture)):
        check_name(path)
    if args.explain and not (args.picture or args.output):
        print("Note: --explain shows on the picture: give --picture or --output.", file=sys.stderr)
    return args


@dataclass(frozen=True)
class Job:
    """A clip to recognize."""

    open: Callable  # () -> FrameStream; raises BadInput
    name: str  # as it was given
    page: str  # the name of its page, without the ending
    inputs: tuple  # the paths that are read


def list_jobs(args):
    """-> (a Job for each clip, {onset, apex} as numbers)."""
    given = [args.onset, args.apex]
    are_numbers = all(text and FRAME_NUMBER.fullmatch(text) for text in given)
    if any(given) and not all(given):
        raise BadInput("--onset and --apex must be given together.")
    if not args.inputs:
        if not any(given):
            raise BadInput("give an INPUT: a video, a folder of frames, or --onset and --apex.")
        if are_numbers and not any(map(os.path.exists, given)):
            raise BadInput(
                f"--onset {args.onset} and --apex {args.apex} are frame numbers: they need an "
                "INPUT, a video or a folder of frames."
            )
        if args.fps is not None:
            raise BadInput("--fps is for an INPUT: two images have no frame rate. Leave it out.")
        images = tuple(map(Path, given))
        page = "_and_".join(path.stem for path in images)
        return [Job(lambda: open_pair(*images), " ".join(given), page, images)], {
            "onset": 0,
            "apex": 1,
        }
    paths = find_clips(args.inputs, log=lambda note: print(f"Note: {note}", file=sys.stderr))
    numbers = {}
    if any(given):
        if len(paths) > 1 or not are_numbers:
            raise BadInput(
                "--onset and --apex beside an INPUT must be frame numbers, of a single clip."
            )
        numbers = {"onset": int(args.onset), "apex": int(args.apex)}
        if numbers["onset"] >= numbers["apex"]:
            raise BadInput(f"--apex {args.apex} must come after --onset {args.onset}.")
    if args.picture and len(paths) > 1:
        raise BadInput("--picture is for a single clip: use --output for several.")
    jobs = [
        Job(
            lambda path=path: open_clip(path, args.fps),
            str(path),
            Path(os.path.abspath(path)).stem,  # "." has none
            (path,),
        )
        for path in paths
    ]
    return jobs, numbers


def recognize_clips(args, jobs, numbers, ensemble):
    """Yields a Recognition for each clip; those that cannot be read have the status unreadable.

    jobs, numbers: as `list_jobs` gives them.
    """
    for job in tqdm(jobs, "clips", disable=None if jobs[1:] else True):
        title = make_one_line(Path(job.name).name)
        try:
            stream = job.open()
            title = stream.title
            with tqdm(desc=title, total=stream.count, unit="frame", disable=None,
                      leave=False) as bar:  # fmt: skip
                yield recognize(
                    stream,
                    ensemble,
                    explain=args.explain,
                    progress=lambda number, bar=bar: bar.update(number - bar.n),
                    **numbers,
                )
        except BadInput as error:
            result = Recognition(dict.fromkeys(COLUMNS), title=title)
            # a name that is not UTF-8 cannot be written as it is
            result.row |= {"input": make_one_line(job.name), "model": ensemble.name}
            result.row["checksum"] = ensemble.checksum
            yield result.end("unreadable", make_one_line(error))


def main(argv=None):
    stopped = "Stopped. The clips that are finished are in the files."
    with explain_errors("recognize.py", (OSError,), explain_failure, stopped):
        args = parse_arguments(argv)
        torch.set_num_threads(1)  # more cost more than they bring for networks of this size
        # what is wrong with the options shows before the weights are loaded
        jobs, numbers = list_jobs(args)
        inputs = [path for job in jobs for path in job.inputs]
        writer = Writer(args, [make_one_line(job.page) for job in jobs], inputs)
        ensemble = load_ensemble(args.weights, pick_device(args.device))
        if set(ensemble.classes) != set(CLASSES):
            raise BadInput(
                f"--weights {args.weights} knows the classes {', '.join(ensemble.classes)}: give "
                f"weights of {', '.join(CLASSES)}."
            )
        writer.begin()
        unreadable = 0
        try:
            for result in recognize_clips(args, jobs, numbers, ensemble):
                writer.add(result)
                if result.row["status"] == "unreadable":
                    unreadable += 1
                    print(f"recognize.py: {result.row['warning']}", file=sys.stderr)
        finally:
            writer.finish()
        if unreadable:
            raise SystemExit(2)


if __name__ == "__main__":
    main()
