"""Random and odd input for every reader: it succeeds or says BadInput; no traceback, no hang."""

import contextlib
import io
import json
import os
import resource
import signal
import traceback
import warnings
import zipfile
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import openpyxl
import torch
from hypothesis import HealthCheck, Phase, given, seed
from hypothesis import settings as hypothesis_settings

import main_HTNet
from composite_dataset import INDEX_NAME, load_composite
from facial_areas import COLUMNS, find_centres, read_centres
from preparation.own_clips import read_own_clips
from preparation.raw_databases import read_clips
from support.files import BadInput
from support.run_folder import RunFolder, load_weights, read_record
from support.settings import read_settings
from tests.conftest import SAMPLES, make_datasets

SECONDS = 20  # a case that takes longer is a hang
MEMORY = 10**9  # bytes
ODD = ["", " ", "0", "-1", "1.5", "1e999", "nan", "inf", "9" * 30, "٣", "²", "\x00", "\n", "\r"]
ODD += ['"', "'", ",", ";", "../x", "/", "a/b", "\\", ".", "..", "None", "True", "=1+1", "#", "%s"]
ODD += ["x" * 300, "é", "\ud800", "\ufeff", "😀", "-" * 50, "(", "[" * 200, "1,1,1", "0,1,2", "-"]
CELLS = st.one_of(st.sampled_from(ODD), st.text(max_size=8), st.integers().map(str))
EDITS = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 4), st.binary(max_size=6)), max_size=5)


class Hang(BaseException):
    """The case took too long."""


def edit(data, edits):
    """bytes with some cut out, put in, repeated or changed."""
    for where, kind, piece in edits:
        at = int(where * len(data))
        if kind == 0:
            data = data[:at] + piece + data[at:]
        elif kind == 1:
            data = data[:at] + piece + data[at + len(piece) :]
        elif kind == 2:
            data = data[:at] + data[at + 1 + len(piece) ** 2 :]
        elif kind == 3:
            data = data[:at] + data[at : at + 40] + data[at:]
        elif at < len(data):
            data = data[:at] + bytes([data[at] ^ (1 << len(piece))]) + data[at + 1 :]
    return data


def edit_table(rows, cells, edits):
    """A table (lists of texts) with some cells replaced -> bytes of a CSV file, then edited."""
    rows = [list(row) for row in rows]
    for line, column, cell in cells:
        row = rows[line % len(rows)]
        row[column % len(row)] = cell
    text = "\n".join(",".join(row) for row in rows)
    return edit(text.encode("utf-8", "surrogatepass"), edits)


CHANGES = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12), CELLS), max_size=4)
TABLES = st.tuples(CHANGES, st.one_of(st.just([]), EDITS))


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

    return words, check


def fuzz_index(folder):
    """The index of the samples."""
    root = make_datasets(folder / "datasets")
    rows = [line.split(",") for line in (root / INDEX_NAME).read_text().splitlines()]

    def check(table):
        (root / INDEX_NAME).write_bytes(edit_table(rows, *table))
        load_composite(root).summarize()

    return TABLES, check


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

    return TABLES, check


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

    return TABLES, check


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

    return TABLES, check


ARRAYS = st.sampled_from(
    [
        np.array([]),
        np.array(3),
        np.array("x"),
        np.array(["a", "b"]),
        np.array([[1.0, np.nan]]),
        np.full((3, 2, 3), np.inf),
        np.zeros((3, 2, 5), "f4"),
        np.zeros((3, 2, 3), complex),
        np.zeros((3, 2, 3), "f8"),
        np.zeros((3, 2, 3), "U1"),
        np.zeros((0, 2, 3)),
        np.array(-5),
        np.array(10**18),
        np.array(np.datetime64("NaT")),
        np.array(b"{}"),
        np.array("{}"),
        np.array('{"settings": 3, "data": 1}'),
        np.array("[" * 5000),
    ]
)
KEYS = ("names", "labels", "logits", "losses", "epoch", "seconds", "machine", "record")


def fuzz_folds(folder):
    """Files of finished folds: arrays of other kinds, and damaged files."""
    values = {name: getattr(main_HTNet, name) for name in main_HTNet.CONSTANTS}
    values |= {"RESULTS": folder, "RUN": "trial"}
    run = RunFolder(type("Settings", (), values))
    run.record = {"settings": {"MODEL": "HTNet"}, "data": "x"}
    names, labels = np.array([f"{s[0]}_{s[1]}" for s in SAMPLES[:2]]), np.array([0, 1])
    good = dict(names=names, labels=labels, logits=np.zeros((3, 2, 3), "f4"), epoch=1, seconds=1.0)
    good |= dict(losses=np.zeros(3, "f4"), machine="m", record=json.dumps(run.record))
    path = run.fold_path("sub01")
    path.parent.mkdir(parents=True)

    def check(case):
        changes, edits = case
        stream = io.BytesIO()
        np.savez(stream, **(good | changes))
        path.write_bytes(edit(stream.getvalue(), edits))
        run.load_fold("sub01", names, labels, 3, 3)

    return st.tuples(st.dictionaries(st.sampled_from(KEYS), ARRAYS, max_size=2), EDITS), check


TENSORS = st.sampled_from(
    [
        None,
        3,
        "x",
        [1],
        {},
        torch.tensor(float("nan")),
        torch.zeros(0),
        torch.zeros(3),
        torch.zeros(3, dtype=torch.complex64),
        torch.zeros(3, dtype=torch.int64),
        torch.zeros(3, dtype=torch.bool),
        torch.zeros(3, device="meta"),
        torch.zeros(3).to_sparse(),
        torch.zeros(1).expand(3),
        torch.full((3,), float("inf")),
        torch.zeros(3, dtype=torch.bfloat16),
    ]
)


def fuzz_weights(folder):
    """Weights: other tensors, other names, and damaged files."""
    model, path = main_HTNet.STSTNet(), folder / "sub01.pth"
    good = model.state_dict()
    names = st.one_of(st.sampled_from([*good, "mlp_head.0.g", "x"]), st.integers())

    def check(case):
        changes, edits, in_archive = case
        stream = io.BytesIO()
        torch.save(good | changes, stream)
        data = stream.getvalue()
        data = edit_pickle(data, edits) if in_archive else edit(data, edits)
        path.write_bytes(data)
        load_weights(main_HTNet.STSTNet(), path)

    return st.tuples(st.dictionaries(names, TENSORS, max_size=2), EDITS, st.booleans()), check


def edit_pickle(data, edits):
    """Weights whose archive is whole, its checksums right, and whose pickle is damaged."""
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(stream, "w") as new:
        for name in old.namelist():
            part = old.read(name)
            new.writestr(name, edit(part, edits) if name.endswith("data.pkl") else part)
    return stream.getvalue()


def fuzz_records(folder):
    """settings.json."""
    path = folder / "settings.json"
    good = json.dumps({"settings": {"MODEL": "HTNet", "EPOCHS": 3}, "data": "x"}, indent=1)

    def check(edits):
        path.write_bytes(edit(good.encode(), edits))
        read_record(path)

    return EDITS, check


FUZZ = {
    "settings": fuzz_settings,
    "index": fuzz_index,
    "centres": fuzz_centres,
    "clips": fuzz_clips,
    "sheets": fuzz_sheets,
    "folds": fuzz_folds,
    "weights": fuzz_weights,
    "records": fuzz_records,
}


def run_case(check, case):
    """None where the reader succeeds or says BadInput, else what happened and where."""

    def stop(*_):
        raise Hang

    signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            check(case)
    except BadInput:
        pass
    except SystemExit as stop:
        if stop.code not in (0, 2):
            return f"exit status {stop.code}"
    except (Exception, Hang) as error:
        place = traceback.extract_tb(error.__traceback__)
        ours = [f for f in place if "site-packages" not in f.filename and "/lib/" not in f.filename]
        where = f"{os.path.basename(ours[-1].filename)}:{ours[-1].lineno}"
        return f"{type(error).__name__} at {where}: {str(error)[:100]!r}"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return "more than 1 GB" if after > MEMORY > before else None


def try_fuzz(name, folder, count):
    """`count` cases of one reader; each yields None or what happened, with the case."""
    strategy, check = FUZZ[name](folder)
    results = []

    @seed(1)
    @hypothesis_settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def run(case):
        fault = run_case(check, case)
        results.append(fault and f"{fault} for {case!r:.200}")

    run()
    return results
