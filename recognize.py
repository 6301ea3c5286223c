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
import csv
import json
import sys
from pathlib import Path

import torch
from tqdm import tqdm

from recognition.clip import CLASSES, COLUMNS, Recognition, recognize
from recognition.ensemble import DEFAULT, load_ensemble
from recognition.frames import find_clips, open_clip, open_pair
from support.devices import explain_failure, pick_device
from support.exits import explain_errors
from support.files import BadInput, make_folder, replace_file

PICTURES = (".png", ".pdf", ".svg", ".jpg")
DIGITS = 6  # of numbers in the files


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
    add("--fps", type=float, help="frames per second, where the file does not say")
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
    if args.fps is not None and not 1 <= args.fps <= 100_000:
        raise BadInput(f"--fps is {args.fps:g}: it must be frames per second, from 1 up.")
    if args.picture and args.picture.suffix.lower() not in PICTURES:
        raise BadInput(f"--picture {args.picture} must end with {', '.join(PICTURES)}.")
    if args.explain and not (args.picture or args.output):
        print("Note: --explain shows on the picture: give --picture or --output.", file=sys.stderr)
    return args


def list_jobs(args):
    """-> (functions that open a clip each, the clips' names, {onset, apex} as numbers)."""
    given = [args.onset, args.apex]
    if any(given) and not all(given):
        raise BadInput("--onset and --apex must be given together.")
    if not args.inputs:
        if not any(given):
            raise BadInput("give an INPUT: a video, a folder of frames, or --onset and --apex.")
        if args.fps is not None:
            raise BadInput("--fps is for an INPUT: two images have no frame rate. Leave it out.")
        return [lambda: open_pair(*given)], [" ".join(given)], {"onset": 0, "apex": 1}
    paths = find_clips(args.inputs, log=lambda note: print(f"Note: {note}", file=sys.stderr))
    numbers = {}
    if any(given):
        if len(paths) > 1 or not all(text.isdecimal() for text in given):
            raise BadInput(
                "--onset and --apex beside an INPUT must be frame numbers, of a single clip."
            )
        numbers = {"onset": int(args.onset), "apex": int(args.apex)}
        if numbers["onset"] >= numbers["apex"]:
            raise BadInput(f"--apex {args.apex} must come after --onset {args.onset}.")
    if args.picture and len(paths) > 1:
        raise BadInput("--picture is for a single clip: use --output for several.")
    return [lambda path=path: open_clip(path, args.fps) for path in paths], paths, numbers


def recognize_clips(args, jobs, ensemble):
    """Yields a Recognition for each clip; those that cannot be read have the status unreadable.

    jobs: as `list_jobs` gives them.
    """
    openers, names, numbers = jobs
    clips = tqdm(zip(openers, names), "clips", len(names), disable=None if names[1:] else True)
    for open_one, name in clips:
        title = Path(name).name
        try:
            stream = open_one()
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
            result.row |= {"input": str(name), "model": ensemble.name}
            result.row["checksum"] = ensemble.checksum
            yield result.end("unreadable", str(error))


class Writer:
    """Writes the results so far, anew with each clip, so that a stop loses none."""

    def __init__(self, args):
        self.rows, self.pictures = [], set()
        self.output, self.picture = args.output, args.picture
        self.tables, self.lists, self.streamed = [args.csv], [], args.json == "-"
        if args.json and not self.streamed:
            self.lists.append(Path(args.json))
        if args.output:
            self.tables.append(args.output / "recognition.csv")
            self.lists.append(args.output / "recognition.json")
        self.tables = [path for path in self.tables if path]
        for path in [*self.tables, *self.lists, args.picture]:
            if path:
                make_folder(path.absolute().parent)

    def add(self, result):
        row = {name: round_number(value) for name, value in result.row.items()}
        self.rows.append(row)
        for path in self.tables:
            replace_file(path, self.write_table)
        for path in self.lists:
            text = json.dumps(self.rows, indent=1, allow_nan=False)
            replace_file(path, lambda temporary, text=text: temporary.write_text(text, "utf-8"))
        if self.picture or self.output:
            from recognition.picture import draw_recognition

            for path in (self.picture, self.output and self.name_picture(row["input"])):
                if path:
                    draw_recognition(path, result)
        if self.streamed:
            print("[" if len(self.rows) == 1 else ",", json.dumps(row, indent=1), flush=True)
        else:
            print(describe(row), flush=True)

    def finish(self):
        if self.streamed:
            print("]" if self.rows else "[]", flush=True)

    def write_table(self, path):
        with open(path, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(self.rows)

    def name_picture(self, clip):
        """A name of its own in the output folder: clips of one name get a number."""
        stem = name = Path(clip).stem
        number = 1
        while name in self.pictures:
            number += 1
            name = f"{stem}_{number}"
        self.pictures.add(name)
        return self.output / f"{name}.png"


def round_number(value):
    return round(value, DIGITS) if isinstance(value, float) else value


def describe(row):
    """A clip's result in one line."""
    said = row["status"].replace("_", " ")
    if row["label"]:
        said = f"{row['label']} ({row['p_' + row['label']]:.2f}), onset {row['onset']}, apex "
        said += f"{row['apex']}, motion {row['motion']:.2f} px"
    return f"{row['input']}: {said}" + (f". {row['warning']}" if row["warning"] else "")


def main(argv=None):
    stopped = "Stopped. The clips that are finished are in the files."
    with explain_errors("recognize.py", (OSError,), explain_failure, stopped):
        args = parse_arguments(argv)
        torch.set_num_threads(1)  # more cost more than they bring for networks of this size
        jobs = list_jobs(args)  # what is wrong with the options shows before the weights are loaded
        ensemble = load_ensemble(args.weights, pick_device(args.device))
        if set(ensemble.classes) != set(CLASSES):
            raise BadInput(
                f"--weights {args.weights} knows the classes {', '.join(ensemble.classes)}: give "
                f"weights of {', '.join(CLASSES)}."
            )
        writer, unreadable = Writer(args), 0
        try:
            for result in recognize_clips(args, jobs, ensemble):
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
