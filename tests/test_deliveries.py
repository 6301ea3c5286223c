"""Unusual deliveries, apex frames that cannot be used, data of one's own."""

import shutil
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import xlwt
from raw_trees import (
    CASME2_HEADER,
    camera_frame,
    expression,
    make_casme3,
    make_samm,
    make_smic,
    write,
    write_sheet,
)

import main_HTNet
import prepare_datasets
from composite_dataset import FLOW_FOLDER, INDEX_NAME, holds_data, load_composite
from facial_areas import COLUMNS as AREA_COLUMNS
from facial_areas import Face, append_centres, read_centres
from preparation import clip_images
from preparation.clip_images import prepare_clip
from preparation.own_clips import OwnClip, read_own_clips
from preparation.prepared import COLUMNS
from preparation.raw_databases import Clip, find_camera, read_clips
from preparation.selection import parse_classes
from recognition.spotting import Spotted
from support.files import BadInput

CASME3_HEADER = "Subject Filename Onset Apex Offset AU Objective emotion".split()


def read_found(database, source):
    """{sample: (folder's name, onset, apex, offset)} of the clips that are found."""
    clips, left_out, _ = read_clips(database, source)
    assert not left_out
    return {clip.sample: (clip.folder.name, clip.onset, clip.apex, clip.offset) for clip in clips}


def test_casme3_as_clips(tmp_path):
    """A folder per clip, beside depth maps of the same names; the sheet three folders deep."""
    clips = tmp_path / "Part_A_ME_clip"
    for name in ("spNO.10_a_116", "spNo.7_C_20"):
        write(clips / "frame" / name / "116.jpg", b"")
        write(clips / "depth" / name / "116.png", b"")
    rows = [
        ["spNO.10", "a", 116, 120, 125, "4", 5, "fear"],
        ["spNO.7", "c", 20, 25, 30, "", 1, "happy"],
    ]
    write_sheet(
        tmp_path / "annotation" / "part A" / "v2" / "cas(me)3_part_A_ME_label_JpgIndex_v2.xlsx",
        [CASME3_HEADER, *rows],
    )
    assert read_found("casme3", tmp_path) == {
        "spNO.10_a_116": ("spNO.10_a_116", 116, 120, 125),
        "spNO.7_c_20": ("spNo.7_C_20", 20, 25, 30),
    }
    assert all("depth" not in str(clip.folder) for clip in read_clips("casme3", tmp_path)[0])


def test_casme3_spelt_otherwise(tmp_path):
    """Subjects as spNo.1, clip letters in the other case."""
    root = make_casme3(tmp_path)
    (root / "part_A" / "spNO.1").rename(root / "part_A" / "spNo.1")
    (root / "part_A" / "spNo.1" / "b").rename(root / "part_A" / "spNo.1" / "B")
    assert set(read_found("casme3", root)) == {
        f"spNO.1_b_{onset}" for onset in (175, 181, 190, 197)
    }


def test_samm_with_a_dated_sheet(tmp_path):
    root = make_samm(tmp_path)
    (root / "SAMM_Micro_FACS_Codes_v2.xlsx").rename(root / "SAMM_20181215_Micro_FACS_Codes_v2.xlsx")
    assert len(read_found("samm", root)) == 3


def make_casme2(root, sheet):
    write(root / "CASME2-RAW" / "sub01" / "EP02_01f" / "img46.jpg", b"")
    row = [1, "EP02_01f", None, 46, 59, 86, None, "12", "happiness", None]
    if sheet.suffix == ".xlsx":
        write_sheet(sheet, [CASME2_HEADER, row])
        return
    workbook = xlwt.Workbook()
    page = workbook.add_sheet("Sheet1")
    for i, cells in enumerate([CASME2_HEADER, row]):
        for j, cell in enumerate(cells):
            page.write(i, j, cell)
    workbook.save(sheet)


@pytest.mark.parametrize("name", ["CASME2_label_Ver_2.xls", "CASME2-coding-20140508.xlsx"])
@pytest.mark.parametrize("source", [".", "CASME2-RAW"])
def test_casme2s_sheets_in_or_beside_the_source(tmp_path, name, source):
    make_casme2(tmp_path, tmp_path / name)
    assert read_found("casme2", tmp_path / source) == {"sub01_EP02_01f": ("EP02_01f", 46, 59, 86)}


def test_other_smics_are_refused(tmp_path):
    extended = tmp_path / "HS_long" / "SMIC-HS-E"
    write(extended / "HS" / "s01" / "s01_ne_01" / "reg_image1.bmp", b"")
    write(extended / "SMIC-HS-E_annotation.xlsx", b"")
    with pytest.raises(BadInput, match="SMIC-E, whose clips go on .* is not read"):
        read_clips("smic", extended)
    raw = make_smic(tmp_path / "SMIC_all_raw")
    with pytest.raises(
        BadInput, match="holds SMIC's VIS recordings.*set --source to the folder HS"
    ):
        read_clips("smic", raw / "VIS")
    shutil.rmtree(raw / "HS")
    with pytest.raises(BadInput, match="holds no subject folders of smic"):
        read_clips("smic", raw)


@pytest.mark.parametrize("path", ["nir/SMIC/HS", "nir/SMIC", "vis/HS"])
def test_a_user_called_nir_is_no_camera(path):
    assert find_camera(Path("/home") / path) is None
    assert find_camera(Path("/home/nir/SMIC/VIS/raw")) == "VIS"


def test_what_hides_a_clip_is_passed_over(tmp_path):
    """An emptied raw folder, and the shadows that Apple's archives have of every file."""
    make_casme2(tmp_path / "casme2", tmp_path / "casme2" / "CASME2-coding-20140508.xlsx")
    raw = tmp_path / "casme2" / "CASME2-RAW" / "sub01" / "EP02_01f"
    cropped = tmp_path / "casme2" / "Cropped" / "sub01" / "EP02_01f"
    shadow = tmp_path / "casme2" / "__MACOSX" / "CASME2-RAW" / "sub01" / "EP02_01f"
    write(cropped / "reg_img46.jpg", b"")
    write(shadow / "img46.jpg", b"")
    write(tmp_path / "casme2" / "._CASME2-coding-20240508.xlsx", b"no sheet")
    for place in ("CASME2-RAW/sub01/EP02_01f", "Cropped/sub01/EP02_01f"):
        ((clip,), left_out, _) = read_clips("casme2", tmp_path / "casme2")
        assert not left_out and clip.folder == tmp_path / "casme2" / place
        assert clip.describe_frames() == f"{place} 46 59 86"  # which makes its images anew
        (raw / "img46.jpg").unlink(missing_ok=True)
    smic = tmp_path / "smic"
    (smic / "HS" / "s01" / "micro" / "negative" / "s1_ne_01").mkdir(parents=True)
    (smic / "HS" / "s01" / "micro" / "negative" / ".s1_ne_01").mkdir()
    write(smic / "HS_cropped" / "s1" / "micro" / "negative" / "s1_ne_01" / "reg_image1.bmp", b"")
    ((clip,), left_out, _) = read_clips("smic", smic)
    assert not left_out and "HS_cropped" in clip.place


STRENGTHS = {1: 0, 3: 1, 5: 2, 7: 3, 9: 0, 11: 4}  # frame: strength; 11 lies beyond the offset, 9
SPOTTED = {  # clip: (the sheet's apex, why it is not used)
    "EP02_01f": (6, "is not among the frames"),
    "EP03_02f": (11, "is after the offset frame 9"),
    "EP04_02f": (1, "is not after the onset frame 1"),
    "EP06_01f": ("/", "not annotated"),
}


@pytest.fixture
def unusable(tmp_path):
    """CASME II with apex frames that cannot be used."""
    rows = []
    for clip, (apex, _) in SPOTTED.items():
        for number, strength in STRENGTHS.items():
            frame = camera_frame(expression("surprise", strength))
            write(tmp_path / "raw" / "sub01" / clip / f"img{number}.jpg", frame)
        rows.append([1, clip, None, 1, apex, 9, None, "1", "surprise", None])
    write_sheet(tmp_path / "raw" / "CASME2-coding-20190701.xlsx", [CASME2_HEADER, *rows])
    return tmp_path


def run(*arguments):
    prepare_datasets.main([str(argument) for argument in arguments])


@pytest.mark.parametrize("rule, apex", [("strain", "7"), ("midpoint", "5")])
def test_an_apex_that_cannot_be_used_is_found(unusable, capsys, rule, apex):
    arguments = [
        "--database",
        "casme2",
        "--source",
        unusable / "raw",
        "--all-clips",
        "--workers",
        1,
    ]
    run(*arguments, "--output", unusable / "out", "--apex", rule)
    table = pd.read_csv(unusable / "out" / INDEX_NAME, dtype=str).set_index("filename_o")
    assert table["apex"].to_dict() == dict.fromkeys(SPOTTED, apex)
    for clip, (_, reason) in SPOTTED.items():
        assert table.loc[clip, "apex_source"].startswith(f"{rule}: ")
        assert reason in table.loc[clip, "apex_source"]
    printed = capsys.readouterr().out
    assert "the apex frame of 4 clips was found" in printed
    assert "Of these, 3 have an annotated one that cannot be used" in printed
    run(*arguments, "--output", unusable / "out", "--apex", rule)
    assert "4 clips, 0 of them to do" in capsys.readouterr().out
    other = {"strain": "midpoint", "midpoint": "strain"}[rule]
    run(*arguments, "--output", unusable / "out", "--apex", other)
    assert "4 clips, 4 of them to do" in capsys.readouterr().out


def test_classes_of_ones_choice(tmp_path, capsys):
    root = make_casme3(tmp_path / "raw")
    arguments = [
        "--database",
        "casme3",
        "--source",
        root,
        "--output",
        tmp_path / "out",
        "--workers",
        1,
    ]
    run(*arguments, "--classes", "fear,positive=happy+surprise,others")
    composite = load_composite(tmp_path / "out")
    assert composite.classes == ("fear", "positive")
    assert composite.names[composite.labels == 0].tolist() == ["spNO.1_b_190"]
    assert composite.names[composite.labels == 1].tolist() == ["spNO.1_b_175"]
    assert "published" not in capsys.readouterr().out
    with pytest.raises(SystemExit):
        run(*arguments, "--classes", "fear,fear")
    assert "each once" in capsys.readouterr().err


def test_clips_of_classes_left_out_go(tmp_path, capsys):
    """The folder holds what the last command asks for, as it does with labels."""
    root, output = make_casme3(tmp_path / "raw"), tmp_path / "out"
    arguments = ["--database", "casme3", "--source", root, "--output", output, "--workers", 1]
    run(*arguments, "--classes", "happy,fear")
    assert load_composite(output).classes == ("happy", "fear")
    found = pd.DataFrame([[name, *4 * (8, 7), "dlib"] for name in load_composite(output).names])
    found = found.set_axis(["name", *AREA_COLUMNS, "source"], axis=1)
    append_centres(output / "facial_areas.csv", found)
    before = {path: path.read_bytes() for path in output.rglob("*.*")}
    capsys.readouterr()
    for classes in ("hapy,faer", "happy,faer"):  # a slip of the pen deletes nothing
        with pytest.raises(SystemExit) as stop:
            run(*arguments, "--classes", classes)
        error = capsys.readouterr().err
        assert stop.value.code == 2 and error.count("\n") == 1
        assert "is of the class faer" in error or "is of the class faer, hapy" in error
        assert "its emotions are disgust, fear, happy, others" in error
    assert {path: path.read_bytes() for path in output.rglob("*.*")} == before
    run(*arguments, "--classes", "fear")
    composite = load_composite(output)
    assert composite.names.tolist() == ["spNO.1_b_190"] and composite.classes == ("fear",)
    assert "casme3: 1 of the clips prepared before" in capsys.readouterr().out
    assert len(list(output.rglob("*.*g"))) == 2
    assert list(read_centres(output / "facial_areas.csv")) == ["spNO.1_b_190"]
    assert "spNO.1,b_175,emotion 'happy'" in (output / "left_out.csv").read_text()


def test_classes_are_parsed():
    assert parse_classes("happy,negative=sad + Fear") == {
        "happy": (0, "happy"),
        "sad": (1, "negative"),
        "fear": (1, "negative"),
    }


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


def test_subjects_that_differ_only_by_case_are_refused(tmp_path):
    """One person would be trained on and tested."""
    write(tmp_path / "a" / "1.png", b"")
    write(tmp_path / "b" / "1.png", b"")
    rows = [("a", "anna", "x", "", ""), ("b", "Anna", "y", "", "")]
    with pytest.raises(BadInput, match="line 3: the subjects anna and Anna differ only in"):
        read_own_clips(write_own(tmp_path, *rows))


@pytest.fixture
def long_clip(tmp_path, monkeypatch):
    """long_clip(database, onset) -> a clip of nine frames whose face, the smaller of two, moves at
    frame 7, and what was searched.
    """
    searched = []
    for number in range(9):
        write(tmp_path / f"{number}.png", camera_frame(expression("surprise", number % 8)))

    def find(stream, first, last):
        searched.append((stream.path, first, last))
        return Spotted(4, 7, np.array([]), np.array([])), 9

    monkeypatch.setattr(clip_images, "spot", find)
    return lambda database, onset=None: OwnClip(
        database, "a", "b", tmp_path, "x", 0, onset
    ), searched


def test_onset_and_apex_of_own_clips_are_searched_as_in_recognition(long_clip):
    """The strongest strain against the first frame is wrong where a clip has several movements."""
    make, searched = long_clip
    found = prepare_clip(make("own"))
    assert (found.apex, found.apex_source) == (7, "strain: not annotated")
    assert [frames for _, *frames in searched] == [[0, 8]]
    prepare_clip(make("own", 2))
    assert [frames for _, *frames in searched] == [[0, 8], [2, 8]]
    assert prepare_clip(make("own"), apex_rule="midpoint").apex == 4
    prepare_clip(make("smic"))
    assert len(searched) == 2


def test_of_several_people_in_own_clips_the_largest_counts(monkeypatch):
    own, smic = (OwnClip(name, "a", "b", Path("c"), "x", 0) for name in ("own", "smic"))
    monkeypatch.setattr(clip_images, "detect_landmarks", lambda frame: "most certain")
    faces = [Face(size, 0.5, 99, 0.01) for size in ("largest", "other")]
    monkeypatch.setattr(clip_images, "detect_faces", lambda frame: faces)
    assert clip_images.find_landmarks(own, None) == "largest"
    assert clip_images.find_landmarks(smic, None) == "most certain"


def test_a_killed_worker_is_one_sentence(monkeypatch):
    class Killed(prepare_datasets.ProcessPoolExecutor):
        def submit(self, *_):
            future = Future()
            future.set_exception(BrokenProcessPool("A process was terminated abruptly"))
            return future

    monkeypatch.setattr(prepare_datasets, "ProcessPoolExecutor", Killed)
    with pytest.raises(BadInput, match="a worker was killed.*fewer --workers"):
        list(prepare_datasets.prepare_clips(["clip"], "own", prepare_datasets.Options()))


def test_flow_images_without_faces_stay(tmp_path, capsys, monkeypatch):
    """A layout that is supported; and a clip that cannot be read now may only lie elsewhere."""
    names = ["s01_ne_01", "s01_ne_02", "s03_ne_01"]
    rows = [("smic", name[:3], name, "0", "", "", "") for name in names]
    table = pd.DataFrame(rows, columns=COLUMNS[:7])
    table.to_csv(tmp_path / INDEX_NAME, index=False)
    for name, space in zip(names, ("", " ", " ")):
        flow = np.full((28, 28, 3), 99, np.uint8)
        write(tmp_path / FLOW_FOLDER / f"{name[:3]}_{name}{space}.png", flow)
    before = {path: path.read_bytes() for path in tmp_path.glob("*/*.png")}
    clips = [Clip("smic", "s01", name, tmp_path / name, "negative", 0) for name in names[:2]]
    monkeypatch.setattr(prepare_datasets, "read_clips", lambda *_: (clips, [], None))
    failed = [(clip, BadInput("it cannot be read")) for clip in clips]
    monkeypatch.setattr(prepare_datasets, "prepare_clips", lambda *_: failed)
    prepare_datasets.prepare("smic", tmp_path, tmp_path, prepare_datasets.Options())
    printed = capsys.readouterr().out
    assert "2 clips, 2 of them to do" in printed and "deleted" not in printed
    assert " ".join(printed.split()).count("prepared 3 0 0 3") == 1
    assert set(load_composite(tmp_path).names) == {f"{name[:3]}_{name}" for name in names}
    assert {path: path.read_bytes() for path in tmp_path.glob("*/*.png")} == before


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


def test_own_data_needs_a_folder_of_its_own(tmp_path, capsys):
    for arguments in (
        ["--database", "own"],
        ["--database", "own", "--output", Path("datasets").resolve()],
        ["--database", "casme3"],
        ["--database", "casme2", "--classes", "fear,others"],
    ):
        with pytest.raises(SystemExit) as stop:
            run(*arguments, "--source", tmp_path)
        assert stop.value.code == 2 and "an --output of their own" in capsys.readouterr().err


def test_tables_that_cannot_be_read(tmp_path, capsys):
    table = tmp_path / "clips.csv"
    for content, words in ((None, "cannot be read (No such file"), ("é".encode("utf-16"), "UTF-8")):
        if content:
            table.write_bytes(content)
        with pytest.raises(SystemExit):
            run("--database", "own", "--source", table, "--output", tmp_path / "out")
        assert words in capsys.readouterr().err
