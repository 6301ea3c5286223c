"""Unusual deliveries, apex frames that cannot be used, classes, folders of data."""

import shutil
from pathlib import Path

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

import prepare_datasets
from composite_dataset import FLOW_FOLDER, INDEX_NAME, load_composite
from facial_areas import COLUMNS as AREA_COLUMNS
from facial_areas import append_centres, read_centres
from preparation.clip_images import prepare_clip
from preparation.prepared import COLUMNS
from preparation.raw_databases import Clip, find_camera, read_clips
from preparation.selection import parse_classes
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
    make_casme2(tmp_path / "casme2", tmp_path / "casme2" / "CASME2_label_Ver_2.xls")
    raw = tmp_path / "casme2" / "CASME2-RAW" / "sub01" / "EP02_01f"
    cropped = tmp_path / "casme2" / "Cropped" / "sub01" / "EP02_01f"
    shadow = tmp_path / "casme2" / "__MACOSX" / "CASME2-RAW" / "sub01" / "EP02_01f"
    write(cropped / "reg_img46.jpg", b"")
    write(shadow / "img46.jpg", b"")
    write(tmp_path / "casme2" / "._CASME2_label_Ver_2.xlsx", b"no sheet")
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


def test_a_folder_whose_name_is_not_utf8_is_left_out(tmp_path, capsys):
    """The list of what is left out could not be written."""
    write(tmp_path / "HS" / "s1" / "micro" / "negative" / "\udcff" / "image1.bmp", b"")
    with pytest.raises(SystemExit):
        run("--database", "smic", "--source", tmp_path, "--output", tmp_path / "out", "--all-clips")
    assert "no clip of smic could be prepared" in capsys.readouterr().err
    assert "s01,\\udcff,its name contradicts" in (tmp_path / "out" / "left_out.csv").read_text()
    with pytest.raises(BadInput, match="its name must be UTF-8"):
        prepare_clip(Clip("smic", "s01", "s01_ne_01", tmp_path / "\udcff", "negative", 0))


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


def test_flow_images_without_faces_stay(tmp_path, capsys, monkeypatch):
    """A layout that is supported; and a clip that cannot be read now may only lie elsewhere."""
    names = ["s01_ne_01", "s01_ne_02", "s03_ne_01"]
    rows = [("smic", name[:3], name, "0", "", "", "") for name in names]
    table = pd.DataFrame(rows, columns=COLUMNS[:7])
    table.to_csv(tmp_path / INDEX_NAME, index=False)
    for name, space in zip(names, (" ", "", " ")):
        flow = np.full((28, 28, 3), 99, np.uint8)
        write(tmp_path / FLOW_FOLDER / f"{name[:3]}_{name}{space}.png", flow)
    before = {path: path.read_bytes() for path in tmp_path.glob("*/*.png")}
    clips = [Clip("smic", name[:3], name, tmp_path / name, "negative", 0) for name in names[1:]]
    monkeypatch.setattr(prepare_datasets, "read_clips", lambda *_: (clips, [], None))
    failed = [(clip, BadInput("it cannot be read")) for clip in clips]
    monkeypatch.setattr(prepare_datasets, "prepare_clips", lambda *_: failed)
    prepare_datasets.prepare("smic", tmp_path, tmp_path, prepare_datasets.Options())
    printed = capsys.readouterr().out
    assert "2 clips, 2 of them to do" in printed and "deleted" not in printed
    assert " ".join(printed.split()).count("prepared 3 0 0 3") == 1
    assert set(load_composite(tmp_path).names) == {f"{name[:3]}_{name}" for name in names}
    assert {path: path.read_bytes() for path in tmp_path.glob("*/*.png")} == before


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
