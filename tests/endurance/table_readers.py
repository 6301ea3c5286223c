"""The readers of what a user writes, each with what it is given: command line, tables, sheets.

Each function gets a folder and returns (what hypothesis draws, check(case), the unedited case).
"""

import io
from pathlib import Path

import hypothesis.strategies as st
import openpyxl
import torch

import main_HTNet
from composite_dataset import INDEX_NAME, load_composite
from facial_areas import COLUMNS, find_centres, read_centres
from preparation.own_clips import read_own_clips
from preparation.raw_databases import read_clips
from support.run_folder import RunFolder
from support.settings import read_settings
from tests.conftest import make_datasets
from tests.endurance.edits import CELLS, TABLES, UNEDITED, edit, edit_table


def fuzz_settings(folder):
    """Command lines, read and turned into a network (without its weights)."""
    constants = {name: getattr(main_HTNet, name) for name in main_HTNet.CONSTANTS}
    constants["DATASETS"] = str(make_datasets(folder / "datasets"))
    options = st.sampled_from([f"--{name.lower()}" for name in constants] + ["--train", "--x"])
    words = st.lists(st.tuples(options, CELLS, st.booleans()), max_size=4)

    def check(words):
        argv = []
        for option, value, joined in words:
            argv += [f"{option}={value}"] if joined else [option, value]
        settings = read_settings(
            argv, constants, main_HTNet.PRESETS, str(Path(main_HTNet.__file__))
        )
        RunFolder(settings)
        with torch.device("meta"):
            main_HTNet.build_model(settings, 3)

    return words, check, []


def fuzz_index(folder):
    """The index of the samples."""
    root = make_datasets(folder / "datasets")
    rows = [line.split(",") for line in (root / INDEX_NAME).read_text().splitlines()]

    def check(table):
        (root / INDEX_NAME).write_bytes(edit_table(rows, *table))
        load_composite(root).summarize()

    return TABLES, check, UNEDITED


def fuzz_centres(folder):
    """facial_areas.csv."""
    composite, path = load_composite(make_datasets(folder / "datasets")), folder / "areas.csv"
    rows = [["name", *COLUMNS, "source"]]
    rows += [
        [name, *["8", "7", "8", "21", "20", "8", "20", "19"], "dlib"] for name in composite.names
    ]

    def check(table):
        path.write_bytes(edit_table(rows, *table))
        read_centres(path)
        find_centres(composite, path, log=lambda text: None)

    return TABLES, check, UNEDITED


def fuzz_clips(folder):
    """The table of one's own clips."""
    (folder / "b").mkdir()
    for name in ("b/1.png", "b/2.png", "a.mp4", "c_onset.png", "c_apex.png"):
        (folder / name).write_bytes(b"")
    path = folder / "clips.csv"
    rows = [["clip", "subject", "label", "onset", "apex", "offset"]]
    rows += [["a.mp4", "anna", "0", "12", "31", ""], ["b", "anna", "1", "5", "", "9"]]
    rows += [["c", "ben", "0", "c_onset.png", "c_apex.png", ""]]

    def check(table):
        path.write_bytes(edit_table(rows, *table))
        for clip in read_own_clips(path)[0]:
            clip.describe_frames()
            if clip.folder.is_dir() or clip.files:
                clip.frames()

    return TABLES, check, UNEDITED


def fuzz_sheets(folder):
    """CASME II's annotation sheet: odd cells, and damaged files."""
    root = folder / "casme2"
    (root / "sub01/EP02_01f").mkdir(parents=True)
    (root / "sub01/EP02_01f/img46.jpg").write_bytes(b"")
    sheet = root / "CASME2-coding-20190701.xlsx"
    header = ["Subject", "Filename", "OnsetFrame", "ApexFrame", "OffsetFrame", "Estimated Emotion"]
    rows = [header, ["1", "EP02_01f", "46", "59", "86", "happiness"]]
    rows += [["01", "EP19_05f", "99", "/", "100.0", "disgust"]]

    def check(table):
        cells, edits = table
        workbook = openpyxl.Workbook(write_only=True)
        page, changed = workbook.create_sheet(), [list(row) for row in rows]
        for line, column, cell in cells:
            row = changed[line % len(rows)]
            row[column % len(header)] = cell
        for row in changed:
            page.append(["".join(c for c in cell if c.isprintable()) for cell in row])
        stream = io.BytesIO()
        workbook.save(stream)
        sheet.write_bytes(edit(stream.getvalue(), edits))
        for clip in read_clips("casme2", root)[0]:
            clip.describe_frames()
            clip.frames()

    return TABLES, check, UNEDITED
