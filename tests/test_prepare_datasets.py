"""Raw databases, in small: each in its own folder names, file names and sheet."""

import re
import shutil

import cv2
import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st
from raw_trees import CASME2_HEADER, MAKE, write, write_sheet

import prepare_datasets
from composite_dataset import (
    CLASSES,
    FACE_FOLDER,
    FLOW_FOLDER,
    FLOW_TREE,
    INDEX_NAME,
    holds_data,
    load_composite,
)
from preparation.raw_databases import read_clips
from preparation.selection import read_megc_labels
from preparation.sheets import read_number
from support.files import BadInput


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    """{database: its raw folder}, under a path with spaces and letters beyond ASCII."""
    root = tmp_path_factory.mktemp("raw") / "données à moi, 数据"
    return {database: make(root / f"the {database} files") for database, make in MAKE.items()}


@pytest.fixture(scope="module")
def prepared(raw, tmp_path_factory):
    """All four databases prepared by two runs into one folder -> (the folder, what was printed)."""
    output = tmp_path_factory.mktemp("out") / "jeux de données"
    with pytest.MonkeyPatch.context() as patch:
        lines = []
        patch.setattr("builtins.print", lambda *args, **_: lines.append(" ".join(map(str, args))))
        prepare_datasets.main(
            [
                "--database",
                "smic",
                "--source",
                str(raw["smic"]),
                "--output",
                str(output),
                "--workers",
                "2",
                "--database",
                "casme2",
                "--source",
                str(raw["casme2"]),
            ]
        )
        prepare_datasets.main(
            [
                "--database",
                "casme3",
                "--source",
                str(raw["casme3"]),
                "--output",
                str(output),
                "--workers",
                "2",
                "--database",
                "samm",
                "--source",
                str(raw["samm"]),
            ]
        )
    return output, "\n".join(lines)


EXPECTED = {  # sample: (database, label, apex)
    "006_006_1_2": ("samm", 0, "5588"),  # MEGC's class, not the sheet's
    "007_007_3_1": ("samm", 0, "5588"),
    "s01_s01_ne_01": ("smic", 0, "12348"),
    "s20_s20_sur_01": ("smic", 2, "12348"),
    "spNO.1_b_175": ("casme3", 1, "181"),
    "spNO.1_b_190": ("casme3", 0, "197"),
    "sub01_EP02_01f": ("casme2", 1, "59"),
    "sub01_EP19_05f": ("casme2", 0, "108"),
    "sub01_EP19_06f": ("casme2", 0, "13"),
}


def test_names_labels_and_apexes_are_the_composites(prepared):
    composite = load_composite(prepared[0])
    index = pd.read_csv(prepared[0] / INDEX_NAME, dtype=str, keep_default_na=False)
    assert list(index.columns)[:7] == [
        "dataset",
        "sub",
        "filename_o",
        "label",
        "apex",
        "imagename",
        "sub_filename",
    ]
    apexes = {f"{row['sub']}_{row['filename_o']}": row["apex"] for row in index.to_dict("records")}
    assert {
        name: (database, label, apexes[name])
        for name, database, label in zip(composite.names, composite.databases, composite.labels)
    } == EXPECTED


def test_files_are_the_released_layouts(prepared):
    for name in EXPECTED:
        flow = cv2.imdecode(
            np.fromfile(prepared[0] / FLOW_FOLDER / f"{name} .png", np.uint8), cv2.IMREAD_UNCHANGED
        )
        face = cv2.imdecode(
            np.fromfile(prepared[0] / FACE_FOLDER / f"{name}.jpg", np.uint8), cv2.IMREAD_UNCHANGED
        )
        assert (
            flow.shape == (28, 28, 3)
            and face.shape == (224, 224, 3)
            and flow.dtype == face.dtype == np.uint8
        )
        assert 60 < face.mean() < 200
    # nothing else, no temporary files
    assert len(list(prepared[0].rglob("*.*g"))) == 2 * len(EXPECTED)


def test_flows_show_the_expressions(prepared):
    composite = load_composite(prepared[0])
    # (u, v, strain) against the median
    flows = {
        name: flow[..., ::-1].astype(float) - np.median(flow, (0, 1))[::-1]
        for name, flow in zip(composite.names, composite.flows)
    }
    for name in ("sub01_EP19_05f", "sub01_EP19_06f", "s01_s01_ne_01", "spNO.1_b_190"):
        assert flows[name][:10, :, 1].mean() > 10, name  # brows down
    for name in ("s20_s20_sur_01", "006_006_1_2", "007_007_3_1"):
        assert flows[name][:10, :, 1].mean() < -10, name  # brows up
    for name in ("sub01_EP02_01f", "spNO.1_b_175"):
        lips = flows[name][15:26]
        assert (
            lips[:, :13, 0].mean() < -5 and lips[:, 15:, 0].mean() > 5 and lips[..., 1].mean() < -10
        ), name


def test_what_is_left_out_is_listed_with_its_reason(prepared):
    output, printed = prepared
    table = pd.read_csv(output / "left_out.csv", dtype=str)
    reasons = {
        f"{row['sub']}_{row['filename_o']}": row["reason"] for row in table.to_dict("records")
    }
    for sample, reason in {
        "sub02_EP01_11f": r"img91\.jpg is truncated",
        "sub02_EP02_04f": r"img4\.png is not a readable image",
        "sub02_EP06_01f": "no face on the onset frame .*img1.jpg",
        "sub02_EP06_02f": "holds no frame after the onset frame 1",
        "sub02_EP09_01": "shows no motion",
        "sub02_EP03_02f": "xlsx lists it, but sub02/EP03_02f is missing",
        "006_006_1_3": "holds no frame after the onset frame 5562",
        "s20_s20_ne_01": "its name contradicts its folder",
        "spNO.1_b_181": "holds no frame after the onset frame 181",
        "spNO.1_b_197": "emotion 'others'",
        "006_006_1_4": "not found in",
        "sub03_EP01_2": "not found in",
    }.items():
        assert re.search(reason, reasons[sample]), (sample, reasons[sample])
    megc = pd.read_csv(ROOT / "datasets" / "megc2019.csv", dtype=str)
    listed = set(megc["subject"] + "_" + megc["clip"])
    assert listed <= reasons.keys() | EXPECTED.keys()  # every clip of MEGC 2019 is accounted for
    assert not reasons.keys() & EXPECTED.keys()
    assert "sub01_EP03_02" not in reasons  # 'others', and not MEGC's
    assert "not a readable image" in printed and "left_out.csv" in printed


def test_counts_stand_beside_the_published_ones(prepared):
    printed = re.sub(" +", " ", prepared[1])
    assert (
        "published (MEGC 2019) 88 32 25 145" in printed
        and "published (MEGC 2019) 92 26 15 133" in printed
    )
    assert (
        "prepared 1 0 1 2" in printed
        and "prepared 2 1 0 3" in printed
        and "prepared 1 1 0 2" in printed
    )
    assert (
        "(the paper's table) 508 64 201 773" in printed
        and "(the released sheet) 449 54 184 687" in printed
    )
    assert (
        "MEGC 2019's class is taken where the sheet's emotion says another: 006_006_1_2" in printed
    )


def test_a_second_run_makes_only_what_is_missing(prepared, raw, tmp_path, capsys):
    output = shutil.copytree(prepared[0], tmp_path / "copy")
    before = {path: path.stat().st_mtime_ns for path in output.rglob("*.*g")}
    gone = output / FLOW_FOLDER / "sub01_EP02_01f .png"
    content = gone.read_bytes()
    gone.unlink()
    index = (output / INDEX_NAME).read_text()
    prepare_datasets.main(
        ["--database", "casme2", "--source", str(raw["casme2"]), "--output", str(output)]
    )
    # the clips that could not be used are tried again, as their frames may have been put right
    assert "8 clips, 6 of them to do" in capsys.readouterr().out
    after = {path: path.stat().st_mtime_ns for path in output.rglob("*.*g")}
    assert {path for path in after if after[path] != before.get(path)} == {
        gone,
        output / FACE_FOLDER / "sub01_EP02_01f.jpg",
    }
    assert gone.read_bytes() == content and (output / INDEX_NAME).read_text() == index


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        prepare_datasets.main([str(argument) for argument in arguments])
    error = capsys.readouterr().err
    assert stop.value.code == 2
    return error.strip().splitlines()[-1]


def test_wrong_folders_are_one_sentence(tmp_path, raw, capsys):
    assert "nowhere is not a folder: set --source" in run(
        capsys, "--database", "samm", "--source", tmp_path / "nowhere", "--output", tmp_path / "out"
    )
    assert "holds no subject folders of casme3, which are named like spNO.1" in run(
        capsys, "--database", "casme3", "--source", tmp_path, "--output", tmp_path / "out"
    )
    assert "one --source for each --database" in run(
        capsys, "--database", "samm", "--database", "smic", "--source", tmp_path
    )
    (tmp_path / "data" / FLOW_TREE).mkdir(parents=True)
    assert "use another --output" in run(
        capsys, "--database", "samm", "--source", raw["samm"], "--output", tmp_path / "data"
    )
    (tmp_path / "file").write_text("")
    assert "file" in run(
        capsys, "--database", "samm", "--source", raw["samm"], "--output", tmp_path / "file"
    )


def test_no_usable_clip_is_an_error(tmp_path, capsys):
    write(tmp_path / "raw/HS/s01/micro/negative/s01_ne_01/image1.bmp", b"no image")
    message = run(
        capsys, "--database", "smic", "--source", tmp_path / "raw", "--output", tmp_path / "out"
    )
    assert "no clip of smic could be prepared" in message and "left_out.csv" in message
    assert "image1.bmp is not a readable image" in (tmp_path / "out" / "left_out.csv").read_text()


def test_other_clips_than_megcs_are_not_dropped_silently(tmp_path, raw, capsys):
    columns = [*"dataset sub filename_o label apex imagename sub_filename flow".split()]
    pd.DataFrame(
        [("casme2", "sub01", "EP03_02", "0", "2", "a.jpg", "", "tvl1")], columns=columns
    ).to_csv(tmp_path / INDEX_NAME, index=False)
    assert "lists sub01_EP03_02, which is not one of MEGC 2019's clips" in run(
        capsys, "--database", "casme2", "--source", raw["casme2"], "--output", tmp_path
    )


def test_bad_sheets_are_one_sentence(tmp_path):
    write(tmp_path / "sub01/EP02_01f/img1.jpg", b"")
    with pytest.raises(
        BadInput, match=r"holds an annotation sheet of casme2 \(CASME2-coding-\*\.xlsx or"
    ):
        read_clips("casme2", tmp_path)
    sheet = tmp_path / "CASME2-coding-20190701.xlsx"
    sheet.write_text("a text file")
    with pytest.raises(BadInput, match="20190701.xlsx is not a readable Excel sheet"):
        read_clips("casme2", tmp_path)
    write_sheet(sheet, [["only"], ["words"]])
    with pytest.raises(
        BadInput, match="20190701.xlsx holds no header row with Subject, Filename, Onset"
    ):
        read_clips("casme2", tmp_path)
    for column, name in (
        ("Subject", "Subject"),
        ("ApexFrame", "Apex"),
        ("Estimated Emotion", "Emotion"),
    ):
        write_sheet(sheet, [["Table 1"], [cell for cell in CASME2_HEADER if cell != column]])
        with pytest.raises(
            BadInput,
            match=f"20190701.xlsx lacks the column '{name}': its header row has .*Filename",
        ):
            read_clips("casme2", tmp_path)


def test_rows_that_cannot_be_used(tmp_path):
    (tmp_path / "sub01/EP02_01f").mkdir(parents=True)
    row = [1, "EP02_01f", None, 46, 59, 86, None, "12", "happiness"]
    write_sheet(
        tmp_path / "CASME2-coding-20190701.xlsx",
        [CASME2_HEADER, row, row, [1, "EP02_01", None, "?", 59, 86, None, "12", "happiness"]],
    )
    (tmp_path / "sub01/EP02_01").mkdir()
    clips, left_out, _ = read_clips("casme2", tmp_path)
    assert [(clip.sample, clip.onset, clip.apex, clip.offset, clip.label) for clip in clips] == [
        ("sub01_EP02_01f", 46, 59, 86, 1)
    ]
    assert [(clip, reason[-26:]) for _, clip, reason in left_out] == [
        ("EP02_01f", "twice; its first row is used"[-26:]),
        ("EP02_01", ".xlsx gives no onset frame"),
    ]


@given(st.integers(0, 10**6))
def testread_numbers_are_read_however_the_sheet_stores_them(number):
    assert [read_number(cell) for cell in (str(number), f"{number}.0", f" {number}")] == [
        number
    ] * 3


@given(
    st.one_of(
        st.sampled_from(["", "/", "-", "n/a", "nan", "inf", "-1"]),
        st.integers(max_value=-1).map(str),
    )
)
def test_other_cells_are_noread_number(cell):
    assert read_number(cell) is None


def test_megc_2019_has_the_published_counts():
    table = pd.read_csv(ROOT / "datasets" / "megc2019.csv", dtype=str)
    counts = table.groupby("database")["class"].value_counts().unstack()[list(CLASSES)]
    assert counts.loc[["casme2", "smic", "samm"]].to_numpy().tolist() == [
        [88, 32, 25],
        [70, 51, 43],
        [92, 26, 15],
    ]
    assert table.groupby("database")["subject"].nunique().to_dict() == {
        "casme2": 24,
        "samm": 28,
        "smic": 16,
    }
    assert not table.duplicated(["subject", "clip"]).any()


def test_megc_2019_is_the_released_index(real_datasets):
    composite = load_composite(real_datasets)
    labels = {}
    for database in ("casme2", "smic", "samm"):
        labels |= read_megc_labels(database)
    assert labels == dict(zip(composite.names, composite.labels))


def test_farneback_is_kept_apart(tmp_path, raw, capsys):
    arguments = [
        "--database",
        "casme3",
        "--source",
        str(raw["casme3"]),
        "--output",
        str(tmp_path),
        "--workers",
        "1",
    ]
    prepare_datasets.main([*arguments, "--flow", "farneback"])
    flow = (tmp_path / FLOW_FOLDER / "spNO.1_b_175 .png").read_bytes()
    assert (
        len(load_composite(tmp_path).names) == 2
        and (load_composite(tmp_path).databases == "casme3").all()
    )
    capsys.readouterr()
    prepare_datasets.main([*arguments, "--flow", "farneback"])  # nothing is made again
    assert " 1 of them to do" in capsys.readouterr().out  # the clip that cannot be used
    prepare_datasets.main(arguments)
    assert " 3 of them to do" in capsys.readouterr().out  # all, by the other method
    assert (tmp_path / FLOW_FOLDER / "spNO.1_b_175 .png").read_bytes() != flow
    assert set(pd.read_csv(tmp_path / INDEX_NAME)["flow"]) == {"tvl1"}


def test_what_is_refused_leaves_nothing_behind(tmp_path, capsys):
    """Empty folders would be taken for data, and the sample would no longer be the fallback."""
    run(capsys, "--database", "casme2", "--source", tmp_path, "--output", tmp_path / "out")
    assert not (tmp_path / "out").exists() and not holds_data(tmp_path / "out")
