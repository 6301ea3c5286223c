"""The command: clips in, rows and pictures out, bad input in one sentence."""

import csv
import json

import cv2
import numpy as np
import pytest
from made_clips import make_frames, move_expression, portrait, write_frames, write_video

import recognize
from recognition.clip import COLUMNS, Recognition
from recognition.ensemble import load_ensemble
from recognition.picture import draw_recognition
from support.files import BadInput

pytest.importorskip("skimage", reason="scikit-image has the portrait")


@pytest.fixture
def run(tmp_path, capsys, monkeypatch, ensemble_file):
    """run(*arguments) in tmp_path -> (exit status, standard output, standard error)."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments, weights=ensemble_file):
        status = 0
        try:
            recognize.main([*map(str, arguments), "--weights", str(weights), "--device", "cpu"])
        except SystemExit as stop:
            status = stop.code
        return status, *capsys.readouterr()

    return call


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """A folder: a smile as a video, a still face as frames, and a file that is no video."""
    folder = tmp_path_factory.mktemp("clips")
    write_video(folder / "a.mp4", make_frames(move_expression(portrait(), "positive", 2.5)))
    write_frames(folder / "b", make_frames(None, 12))
    (folder / "c.mp4").write_text("no video")
    return folder


def test_a_row_and_a_picture_for_each_clip(run, clips, tmp_path):
    status, output, errors = run(clips, "--output", "out", "--csv", "all.csv", "--explain")
    assert status == 2 and "c.mp4 is not a readable video" in errors and "Traceback" not in errors
    assert "a.mp4: positive" in output and "b: no motion" in output
    rows = json.loads((tmp_path / "out" / "recognition.json").read_text())
    assert [row["status"] for row in rows] == ["ok", "no_motion", "unreadable"]
    assert all(tuple(row) == COLUMNS for row in rows)
    assert [row["label"] for row in rows] == ["positive", None, None]
    assert len(rows[0]["checksum"]) == 64 and rows[0]["model"] == "small"
    with open(tmp_path / "all.csv", newline="") as file:
        table = list(csv.DictReader(file))
    assert [row["status"] for row in table] == [row["status"] for row in rows]
    assert float(table[0]["motion"]) == rows[0]["motion"] and table[1]["label"] == ""
    assert table[0]["onset"].isdecimal()
    for name in "abc":
        picture = cv2.imread(str(tmp_path / "out" / f"{name}.png"))
        assert picture.shape[1] > 1500 and picture.std() > 10
    assert not [path for path in tmp_path.rglob("*") if ".tmp." in path.name]


def test_two_images_and_json_on_standard_output(run, clips, tmp_path):
    video, frames = cv2.VideoCapture(str(clips / "a.mp4")), []
    while (got := video.read())[0]:
        frames.append(got[1])
    for name, number in (("onset", 4), ("apex", 18)):
        assert cv2.imwrite(str(tmp_path / f"{name}.png"), frames[number])
    status, output, _ = run("--onset", "onset.png", "--apex", "apex.png", "--json", "-")
    (row,) = json.loads(output)
    assert (status, row["status"], row["label"]) == (0, "ok", "positive")
    assert row["fps"] is None and row["frames_from"] == "given"
    status, output, _ = run(clips / "a.mp4", "--onset", 4, "--apex", 18, "--json", "one.json",
                            "--picture", "deep/one.png")  # fmt: skip
    (row,) = json.loads((tmp_path / "one.json").read_text())
    assert (status, row["onset"], row["apex"], row["label"]) == (0, 4, 18, "positive")
    assert (tmp_path / "deep" / "one.png").exists()


def test_what_is_finished_is_kept_when_it_is_stopped(run, clips, tmp_path, monkeypatch):
    def stop(stream, *_, **__):
        if stream.path.name == "b":
            raise KeyboardInterrupt
        return Recognition(dict.fromkeys(COLUMNS) | {"input": "a", "status": "no_face"})

    monkeypatch.setattr(recognize, "recognize", stop)
    status, output, errors = run(clips, "--csv", "all.csv", "--json", "-")
    assert status == 130 and "Stopped" in errors and "same command" not in errors
    assert [row["input"] for row in json.loads(output)] == ["a"]
    assert (tmp_path / "all.csv").read_text().count("\n") == 2
    (tmp_path / "page.png").mkdir()  # a page that cannot be written
    status, output, _ = run(clips / "a", "--picture", "page.png", "--json", "-")
    assert status == 2 and json.loads(output) == []


@pytest.fixture
def no_look(monkeypatch):
    """Clips are opened, but nothing is recognized."""

    def answer(stream, *_, **__):
        row = dict.fromkeys(COLUMNS) | {"input": str(stream), "status": "no_face", "model": "small"}
        return Recognition(row, title=stream.title)

    monkeypatch.setattr(recognize, "recognize", answer)


@pytest.fixture
def images(tmp_path):
    """Two frames that are not numbered, and the same in a folder of frames."""
    for name in ("onset", "apex"):
        assert cv2.imwrite(str(tmp_path / f"{name}.png"), np.zeros((8, 8, 3), np.uint8))
    write_frames(tmp_path / "001", [np.zeros((8, 8, 3), np.uint8)] * 2)
    return tmp_path


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--onset", "onset.png", "--apex", "apex.png", "--picture", "apex.png"], "apex.png is an"),
        (["001", "--csv", "001/all.csv"], "001/all.csv would lie among the frames in"),
        (["001", "--json", "001/new/all.json"], "would lie among the frames in"),
        (["001", "--output", "001"], "would lie among the frames in"),
        (["001", "--output", "\udcff"], "its name must be UTF-8"),
    ],
)
def test_no_output_replaces_an_input(run, images, no_look, arguments, words):
    before = {path: path.read_bytes() for path in images.rglob("*.*")}
    status, _, errors = run(*arguments)
    assert status == 2 and words in errors and errors.count("\n") == 1
    assert {path: path.read_bytes() for path in images.rglob("*.*")} == before


def test_the_page_of_two_images_is_named_after_both(run, images, no_look):
    pixels = (images / "apex.png").read_bytes()
    status, _, _ = run("--onset", "onset.png", "--apex", "apex.png", "--output", ".")
    assert status == 0 and (images / "apex.png").read_bytes() == pixels
    assert (images / "onset_and_apex.png").exists()


def test_pages_are_told_apart_and_a_replaced_table_is_said(run, tmp_path, no_look):
    for name in ("s1/001", "s2/001"):
        write_frames(tmp_path / "clips" / name, [np.zeros((8, 8, 3), np.uint8)] * 2)
    status, _, errors = run("clips", "--output", "out")
    assert status == 0 and "is replaced" not in errors
    with open(tmp_path / "out" / "recognition.csv", newline="") as file:
        pages = {row["input"]: row["picture"] for row in csv.DictReader(file)}
    assert pages == {"clips/s1/001": "out/001.png", "clips/s2/001": "out/001_2.png"}
    _, _, errors = run("clips/s1/001", "--csv", "out/recognition.csv")
    assert "Note: out/recognition.csv is there already and is replaced." in errors
    assert (tmp_path / "out" / "recognition.csv").read_text().count("\n") == 2


def test_a_name_that_is_not_utf8_ends_no_batch(run, tmp_path, no_look):
    for name in ("a", "b"):
        write_frames(tmp_path / "clips" / name, [np.zeros((8, 8, 3), np.uint8)] * 2)
    (tmp_path / "clips" / "b").rename(tmp_path / "clips" / "\udcff")
    status, output, errors = run("clips", "--csv", "all.csv")
    assert status == 2 and "its name must be UTF-8" in errors and "clips/a: no face" in output
    assert "clips/\\udcff,unreadable" in (tmp_path / "all.csv").read_text()


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        ([], "give an INPUT"),
        (["--onset", "12", "--apex", "31"], "are frame numbers: they need an INPUT"),
        (["a.mp4", "--onset", "3", "--apex", "9" * 5000], "must be frame numbers"),
        (["a.mp4", "--onset", "3"], "must be given together"),
        (["a.mp4", "--onset", "9", "--apex", "3"], "--apex 3 must come after --onset 9"),
        (["a.mp4", "--onset", "a.png", "--apex", "b.png"], "must be frame numbers"),
        (["a.mp4", "b.mp4", "--picture", "a.png"], "is for a single clip"),
        (["a.mp4", "--picture", "a.txt"], "must end with .png"),
        (["a.mp4", "--fps", "0"], "--fps is 0"),
        (["--onset", "a.png", "--apex", "b.png", "--fps", "200"], "two images have no frame rate"),
        (["a.mp4", "--colour", "red"], "unrecognized arguments: --colour red"),
    ],
)
def test_options_that_make_no_sense_are_refused(run, arguments, sentence):
    status, output, errors = run(*arguments)
    assert status == 2 and sentence in errors and errors.count("\n") == 1 and output == ""


def test_weights_that_are_none_are_refused(run, tmp_path):
    (tmp_path / "bad.safetensors").write_bytes(b"no weights")
    for weights, sentence in (
        (tmp_path / "bad.safetensors", "cannot be used"),
        ("x", "no weights"),
    ):
        status, _, errors = run("a.mp4", weights=weights)
        assert status == 2 and sentence in errors and "Traceback" not in errors


def test_an_ensemble_of_other_classes_is_refused(run, ensemble_file, monkeypatch):
    other = load_ensemble(ensemble_file)
    other.classes = ("happy", "sad", "calm")
    monkeypatch.setattr(recognize, "load_ensemble", lambda *_: other)
    status, _, errors = run("a.mp4")
    assert status == 2 and "knows the classes happy, sad, calm" in errors


def test_a_picture_that_cannot_be_written_is_bad_input(tmp_path):
    (tmp_path / "one.png").mkdir()
    result = Recognition(dict.fromkeys(COLUMNS) | {"input": "a", "status": "no_face"})
    with pytest.raises(BadInput, match="one.png could not be written"):
        draw_recognition(tmp_path / "one.png", result)
