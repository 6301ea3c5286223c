"""Data of one's own: the table of clips, what is made of it, and what becomes of a changed one."""

import cv2
import numpy as np
import pandas as pd
import pytest
from raw_trees import camera_frame, expression, write
from test_deliveries import run

import main_HTNet
from composite_dataset import INDEX_NAME, holds_data, load_composite
from facial_areas import COLUMNS as AREA_COLUMNS
from preparation import clip_images
from preparation.own_clips import read_own_clips
from support.files import BadInput


def make_own(root):
    """Two subjects' clips: a folder of frames, a video, a pair of images -> the table's path."""
    moved = {"joy": expression("happiness"), "surprise": expression("surprise")}
    rows = []
    for subject in ("anna", "ben"):
        for label, moves in moved.items():
            name = f"{subject}_{label}"
            frames = [camera_frame(), camera_frame(moves)]
            write(root / "frames" / name / "f10.png", frames[0])
            write(root / "frames" / name / "f12.png", frames[1])
            rows.append((f"frames/{name}", subject, label, "10", "12"))
            write(root / f"{name}_onset.png", frames[0])
            write(root / f"{name}_apex.png", frames[1])
            rows.append((f"{name}_pair", subject, label, f"{name}_onset.png", f"{name}_apex.png"))
            writer = cv2.VideoWriter(
                str(root / f"{name}_film.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 100, (420, 400)
            )
            for strength in (0, 1, 2.5, 1):
                writer.write(
                    camera_frame([(x, y, strength * u, strength * v) for x, y, u, v in moves])
                )
            writer.release()
            rows.append((f"{name}_film.avi", subject, label, "", ""))
    table = pd.DataFrame(rows, columns=["clip", "subject", "label", "onset", "apex"])
    table.to_csv(root / "clips.csv", index=False)
    return root / "clips.csv"


def test_data_of_ones_own_from_an_empty_folder(tmp_path, capsys, monkeypatch):
    """Prepared, trained and evaluated; folders, videos and pairs of images."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    run("--database", "own", "--source", make_own(tmp_path / "mine"), "--output", "datasets/own")
    composite = load_composite(tmp_path / "datasets" / "own")
    assert composite.classes == ("joy", "surprise") and set(composite.databases) == {"own"}
    assert len(composite.names) == 12 and set(composite.subjects) == {"anna", "ben"}
    table = pd.read_csv("datasets/own/" + INDEX_NAME, dtype=str).set_index("filename_o")
    assert (table["apex"][[name.endswith("film") for name in table.index]] == "2").all()
    brows = composite.flows[composite.labels == 1][:, 3:9, 4:24, 1].astype(float)
    medians = np.median(composite.flows[composite.labels == 1][..., 1], axis=(1, 2))
    assert (brows.mean((1, 2)) < medians - 10).all()  # lifted, in each of the three kinds
    small = "--dim 8 --heads 2 --block_repeats 1,1,1 --epochs 2 --batch_size 8".split()
    for train in ("True", "False"):
        main_HTNet.main(["--train", train, "--datasets", "datasets/own", *small])
    printed = capsys.readouterr().out
    assert "| best epoch | own | 2 | 12 |" in printed and "Published" not in printed


@pytest.mark.parametrize(
    "change, words",
    [
        ({"clip": "nowhere"}, ["line 2", "nowhere does not exist: give a folder of frames"]),
        ({"subject": ""}, ["line 2", "clip and subject must be given"]),
        ({"subject": "../x"}, ["line 2", "without slashes"]),
        (
            {"onset": "gone.png"},
            ["line 2", "onset 'gone.png' is neither a frame number nor a file"],
        ),
        ({"label": ""}, ["rows without a label"]),
        ({"clip": "x" * 300}, ["line 2", "File name too long"]),
        ({"onset": "x" * 5000}, ["line 2", "File name too long"]),
        ({"onset": "9" * 5000}, ["line 2", "File name too long"]),
        ({"onset": "31.5"}, ["line 2", "onset '31.5' is neither a frame number nor a file"]),
        ({"subject": "a\nb"}, ["line 2", "without control characters"]),
        ({"fps": "fast"}, ["line 2", "fps 'fast' must be frames per second, from 1 to 100000"]),
        ({"fps": "nan"}, ["line 2", "fps 'nan' must be frames per second"]),
    ],
)
def test_a_wrong_table_of_clips_is_one_sentence(tmp_path, capsys, change, words):
    write(tmp_path / "a" / "1.png", camera_frame())
    row = {"clip": "a", "subject": "anna", "label": "0", "onset": "", "apex": ""} | change
    pd.DataFrame([row]).to_csv(tmp_path / "clips.csv", index=False)
    with pytest.raises(SystemExit) as stop:
        run("--database", "own", "--source", tmp_path / "clips.csv", "--output", tmp_path / "out")
    error = capsys.readouterr().err
    assert stop.value.code == 2 and all(word in error for word in ["clips.csv", *words])
    assert error.count("\n") == 1


def write_own(root, *rows):
    """A table of clips -> its path."""
    table = pd.DataFrame(rows, columns=["clip", "subject", "label", "onset", "apex"])
    table.to_csv(root / "clips.csv", index=False)
    return root / "clips.csv"


def test_frame_numbers_as_pandas_writes_them(tmp_path):
    """With a point, as soon as one cell of the column is empty."""
    write(tmp_path / "a" / "1.png", b"")
    rows = [("a", "anna", "x", 12.0, 31.0), ("./a/../a/.", "ben", "y", 5.0, None)]
    first, second = read_own_clips(write_own(tmp_path, *rows))[0]
    assert (first.onset, first.apex, second.onset, second.apex) == (12, 31, 5, None)


def test_other_folders_are_other_frames(tmp_path):
    """Of two files of one name, and of a clip of one name."""
    for folder in ("old", "new"):
        for name in ("onset.png", "apex.png"):
            write(tmp_path / folder / name, b"")
    said = []
    for folder in ("old", "new"):
        row = ("c", "anna", "x", f"{folder}/onset.png", f"{folder}/apex.png")
        ((clip,), _, _) = read_own_clips(write_own(tmp_path, row))
        said.append(clip.describe_frames())
    assert said[0] != said[1] and "new/onset.png new/apex.png" in said[1]


def test_the_frame_rate_of_a_folder_of_frames_is_the_tables(tmp_path, monkeypatch):
    """The search goes by it, and another rate makes the images anew."""
    for number in (1, 2):
        write(tmp_path / "a" / f"{number}.png", camera_frame())
    searched, said = [], []

    def spot(stream, **where):
        searched.append(stream.fps)
        return None, None

    monkeypatch.setattr(clip_images, "spot", spot)
    for rate in (200.0, None):
        path = write_own(tmp_path, ("a", "anna", "x", None, None))
        pd.read_csv(path).assign(fps=rate).to_csv(path, index=False)
        ((clip,), _, _) = read_own_clips(path)
        said.append(clip.describe_frames())
        with pytest.raises(BadInput, match="no face"):
            clip_images.prepare_clip(clip)
    assert searched == [200, None] and said[0] != said[1]


def test_subjects_that_differ_only_by_case_are_refused(tmp_path):
    """One person would be trained on and tested."""
    write(tmp_path / "a" / "1.png", b"")
    write(tmp_path / "b" / "1.png", b"")
    rows = [("a", "anna", "x", "", ""), ("b", "Anna", "y", "", "")]
    with pytest.raises(BadInput, match="line 3: the subjects anna and Anna differ only in"):
        read_own_clips(write_own(tmp_path, *rows))


def prepare_own(root, rows):
    """Prepares a table with these rows -> the composite, and the names of the files of images."""
    columns = ["clip", "subject", "label", "onset", "apex"]
    pd.DataFrame(rows, columns=columns).to_csv(root / "clips.csv", index=False)
    run("--database", "own", "--source", root / "clips.csv", "--output", root / "out")
    return load_composite(root / "out"), len(list((root / "out").rglob("*.*g")))


def test_a_corrected_table_is_followed(tmp_path):
    """Other frames are made anew, rows taken out go, labels are the new table's."""
    for i, strength in enumerate((0, 2.5)):
        write(tmp_path / f"{i}.png", camera_frame(expression("surprise", strength)))
    write(tmp_path / "2.png", camera_frame(expression("happiness")))
    first, files = prepare_own(
        tmp_path,
        [("s1/001", "a", "Joy", "0.png", "1.png"), ("s2/001", "b", "sad", "0.png", "2.png")],
    )
    assert first.names.tolist() == ["a_s1_001", "b_s2_001"] and files == 4
    assert first.classes == ("joy", "sad")
    second, _ = prepare_own(
        tmp_path,
        [("s1/001", "a", "joy", "0.png", "2.png"), ("s2/001", "b", "awe", "0.png", "2.png")],
    )
    assert second.classes == ("awe", "joy") and second.labels.tolist() == [1, 0]
    assert (second.flows[0] == first.flows[1]).all() and (second.flows[0] != first.flows[0]).any()
    third, files = prepare_own(tmp_path, [("s1/001", "a", "joy", "0.png", "2.png")])
    assert third.names.tolist() == ["a_s1_001"] and files == 2


def test_area_centres_of_other_faces_are_not_kept(tmp_path):
    """Images made anew, or taken out, lose the centres that were found on the old ones."""
    for i, strength in enumerate((0, 2.5, 1.5)):
        write(tmp_path / f"{i}.png", camera_frame(expression("surprise", strength)))
    areas = tmp_path / "out" / "facial_areas.csv"
    header = ",".join(["name", *AREA_COLUMNS, "source", "note"])
    rows = {
        f"a_{name}": f'a_{name},8,7,8,21,20,8,20,19,{source},"x, y"'
        for name, source in (
            ("changed", "dlib"),
            ("faceless", "mean"),
            ("same", "dlib"),
            ("gone", "dlib"),
            ("by-hand", "me"),
            ("first", "dlib"),  # not prepared before: the user gave it
            ("elsewhere", "dlib"),  # of another database
        )
    }
    write(areas, "\n".join([header, *rows.values(), ""]).encode())
    before = areas.read_bytes()

    def prepare(**apexes):
        prepare_own(tmp_path, [(c, "a", "joy", "0.png", f"{i}.png") for c, i in apexes.items()])

    clips = {"changed": 1, "faceless": 1, "same": 1, "gone": 1, "by-hand": 1}
    prepare(**clips)
    assert areas.read_bytes() == before
    prepare(changed=2, faceless=2, same=1, first=1, **{"by-hand": 2})
    kept = [rows[f"a_{name}"] for name in ("same", "by-hand", "first", "elsewhere")]
    assert areas.read_text().splitlines() == [header, *kept]
    text = "name," + ",".join(AREA_COLUMNS) + "\n" + rows["a_same"].partition(",dlib")[0] + "\n"
    areas.write_text(text)  # without a source: the user's own
    prepare(same=2)
    assert areas.read_text() == text


def test_a_clip_that_cannot_be_made_anew_leaves_no_old_images(tmp_path):
    """Its images of the frames asked for before would be trained on in silence."""
    for i, strength in enumerate((0, 2.5)):
        write(tmp_path / f"{i}.png", camera_frame(expression("surprise", strength)))
    write(tmp_path / "faceless.png", np.full((480, 640, 3), 127, np.uint8))
    good = ("good", "a", "joy", "0.png", "1.png")
    prepare_own(tmp_path, [good, ("mended", "b", "joy", "0.png", "1.png")])
    prepare_own(tmp_path, [good, ("mended", "b", "joy", "faceless.png", "1.png")])
    assert load_composite(tmp_path / "out").names.tolist() == ["a_good"]
    assert "b,mended,dlib finds no face" in (tmp_path / "out" / "left_out.csv").read_text()


def test_clips_at_absolute_paths_and_in_folders_above(tmp_path):
    """Neither the root nor `..` belongs into a sample's name, which names files."""
    tables, videos = tmp_path / "tables", tmp_path / "videos"
    tables.mkdir()
    for strength, image in ((0, "1.png"), (2.5, "2.png")):
        for folder in (videos / "a.b", videos / "c", tables):
            write(folder / image, camera_frame(expression("surprise", strength)))
    clips = {"anna": (videos / "a.b", "../videos/c"), "ben": ("../videos/a.b/../c", ".")}
    rows = [(path, who, "joy", "1", "2") for who, paths in clips.items() for path in paths]
    composite, files = prepare_own(tables, rows)
    name = "_".join((videos / "a.b").parts[1:])
    assert set(composite.names) == {f"anna_{name}", "anna_videos_c", "ben_videos_c", "ben_tables"}
    assert files == 8  # all of them where they belong


def test_names_that_files_cannot_have_are_refused(tmp_path, capsys):
    deep = "/".join(["tables", *50 * ["deep"], "c"])
    for folder in ("c", "tables/c", deep):
        write(tmp_path / folder / "1.png", camera_frame())
    for clips, words in (
        (("c", "../c"), "line 3: a_c is listed twice; keep one row, or rename a clip"),
        ((f"../{deep}",), "deep_c is too long a name for files; give the clip a shorter path"),
    ):
        with pytest.raises(SystemExit) as stop:
            prepare_own(tmp_path / "tables", [(clip, "a", "joy", "", "") for clip in clips])
        error = capsys.readouterr().err
        assert stop.value.code == 2 and words in error and error.count("\n") == 1


@pytest.mark.parametrize("labels", ["12", "02", ["-1", "0"]])
def test_labels_that_do_not_count_from_0_are_refused(tmp_path, capsys, labels):
    write(tmp_path / "1.png", camera_frame())
    rows = [(str(i), "a", label, "1.png", "1.png") for i, label in enumerate(labels)]
    with pytest.raises(SystemExit):
        prepare_own(tmp_path, rows)
    assert "count them from 0 without a gap" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_failed_preparation_leaves_no_data(tmp_path, capsys):
    """Otherwise the sample would no longer be the fallback."""
    write(tmp_path / "1.png", np.full((400, 420, 3), 127, np.uint8))
    with pytest.raises(SystemExit):
        prepare_own(tmp_path, [("x", "a", "joy", "1.png", "1.png")])
    assert "no clip of own could be prepared" in capsys.readouterr().err
    assert not holds_data(tmp_path / "out")


def test_tables_that_cannot_be_read(tmp_path, capsys):
    table = tmp_path / "clips.csv"
    for content, words in ((None, "cannot be read (No such file"), ("é".encode("utf-16"), "UTF-8")):
        if content:
            table.write_bytes(content)
        with pytest.raises(SystemExit):
            run("--database", "own", "--source", table, "--output", tmp_path / "out")
        assert words in capsys.readouterr().err
