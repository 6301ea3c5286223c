"""What a run of `recognize.py` leaves: tables, lists, a page per clip, a line on the screen."""

import csv
import json
import os
import sys
from pathlib import Path

from recognition.clip import COLUMNS
from support.files import BadInput, make_folder, replace_file

DIGITS = 6  # of numbers in the files


class Writer:
    """Writes the results so far, anew with each clip, so that a stop loses none."""

    def __init__(self, args, clips, inputs):
        """args: of `recognize.py`; clips: a short name for each; inputs: the paths they are read
        from. Raises BadInput where an output would replace an input or lie among its frames.
        """
        self.rows, self.streamed = [], args.json == "-"
        self.tables, self.lists = [args.csv], []
        if args.json and not self.streamed:
            self.lists.append(Path(args.json))
        if args.output:
            self.tables.append(args.output / "recognition.csv")
            self.lists.append(args.output / "recognition.json")
        self.tables = [path for path in self.tables if path]
        pages = name_pages(args.output, clips) if args.output else [None] * len(clips)
        self.pages = [[path for path in (args.picture, page) if path] for page in pages]
        self.files = [*self.tables, *self.lists]
        spare_inputs({path for path in (*self.files, args.picture, *pages) if path}, inputs)

    def begin(self):
        """Makes the folders, and says which files of an earlier run will be replaced."""
        for path in {*self.files, *(page for pages in self.pages for page in pages)}:
            make_folder(path.absolute().parent)
        if self.streamed:  # `finish` closes it, also where a page cannot be written
            print("[", flush=True)
        for path in self.files:
            if path.is_file():
                print(f"Note: {path} is there already and is replaced.", file=sys.stderr)

    def add(self, result):
        """The next clip's result."""
        pages = self.pages[len(self.rows)]
        result.row["picture"] = str(pages[-1]) if pages else None
        row = {name: round_number(value) for name, value in result.row.items()}
        self.rows.append(row)
        for path in self.tables:
            replace_file(path, self.write_table)
        for path in self.lists:
            text = json.dumps(self.rows, indent=1, allow_nan=False)
            replace_file(path, lambda temporary, text=text: temporary.write_text(text, "utf-8"))
        for path in pages:
            from recognition.picture import draw_recognition

            draw_recognition(path, result)
        if self.streamed:
            print("," * (len(self.rows) > 1), json.dumps(row, indent=1), flush=True)
        else:
            print(describe(row), flush=True)

    def finish(self):
        if self.streamed:
            print("]", flush=True)

    def write_table(self, path):
        with open(path, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(self.rows)


def name_pages(folder, clips):
    """A page in the folder for each clip; those of one name get a number."""
    names = {}  # their order is kept
    for clip in clips:
        name, number = clip, 1
        while name in names:
            number += 1
            name = f"{clip}_{number}"
        names[name] = folder / f"{name}.png"
    return list(names.values())


def spare_inputs(outputs, inputs):
    """Raises BadInput where a file to write is an input, or lies in a folder of frames.

    There, a page whose name ends with a number would be a frame the next time.
    """
    folders = {Path(os.path.realpath(path)) for path in inputs if os.path.isdir(path)}
    files = {Path(os.path.realpath(path)) for path in inputs} - folders
    for path in sorted(outputs):
        place = Path(os.path.realpath(path))
        if place in files:
            raise BadInput(f"{path} is an input, and would be replaced: choose another output.")
        if inside := folders.intersection(place.parents):
            raise BadInput(
                f"{path} would lie among the frames in {inside.pop()}: choose another output."
            )


def round_number(value):
    return round(value, DIGITS) if isinstance(value, float) else value


def describe(row):
    """A clip's result in one line."""
    said = row["status"].replace("_", " ")
    if row["label"]:
        said = f"{row['label']} ({row['p_' + row['label']]:.2f}), onset {row['onset']}, apex "
        said += f"{row['apex']}, motion {row['motion']:.2f} px"
    return f"{row['input']}: {said}" + (f". {row['warning']}" if row["warning"] else "")
