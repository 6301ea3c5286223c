"""Raw databases, in small: each in its own folder names, file names and sheet."""

import re
import shutil

import cv2
import numpy as np
import openpyxl
import pandas as pd
import pytest
from conftest import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st

import prepare_datasets
from composite_dataset import (
    CLASSES,
    FACE_FOLDER,
    FLOW_FOLDER,
    FLOW_TREE,
    INDEX_NAME,
    load_composite,
)
from preparation.megc2019 import read_megc_labels
from preparation.raw_databases import _frame_number, read_clips
from support.files import BadInput

SAMPLE_FACES = sorted((ROOT / "datasets" / "sample" / FACE_FOLDER).glob("s01_*.jpg"))
BROWS, LIPS = ((160, 120), (260, 120)), ((170, 240), (250, 240))  # (x, y) in the frames below


def camera_frame(moves=(), depth=8, grey=False):
    """A portrait in a frame of 400x420 pixels; moves: (x, y, u, v) of smooth bumps relative to the
    neutral face.
    """
    portrait = cv2.imread(str(SAMPLE_FACES[0]))
    image = cv2.copyMakeBorder(portrait, 80, 96, 98, 98, cv2.BORDER_REPLICATE).astype(np.float32)
    grid = np.meshgrid(*(np.arange(side, dtype=np.float32) for side in (420, 400)))
    flow = np.zeros((2, 400, 420), np.float32)
    for x, y, u, v in moves:
        bump = np.exp(-((grid[0] - x) ** 2 + (grid[1] - y) ** 2) / (2 * 18**2))
        flow += np.stack([u * bump, v * bump])
    image = cv2.remap(image, grid[0] - flow[0], grid[1] - flow[1], cv2.INTER_CUBIC)
    image = np.clip(np.rint(image), 0, 255).astype(np.uint8)
    image = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY) if grey else image
    return image if depth == 8 else image.astype(np.uint16) * 2 ** (depth - 8)


def expression(emotion, strength=2.5):
    """moves for `camera_frame` whose flow image tells the emotion."""
    if emotion == "happiness":
        return [(x, y, strength * side, -strength) for (x, y), side in zip(LIPS, (-1, 1))]
    return [(x, y, 0, strength * (-1 if emotion == "surprise" else 1)) for x, y in BROWS]


def write(path, image):
    """Writes an image (or, raw, the bytes of whatever is to lie there) under any path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = image if isinstance(image, bytes) else cv2.imencode(path.suffix, image)[1].tobytes()
    path.write_bytes(data)
    return data


def write_sheet(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    workbook = openpyxl.Workbook()
    for row in rows:
        workbook.active.append(row)
    workbook.save(path)


CASME2_HEADER = [
    "Subject",
    "Filename",
    None,
    "OnsetFrame",
    "ApexFrame",
    "OffsetFrame",
    None,
    "Action Units",
    "Estimated Emotion",
    None,
]


def make_casme2(root):
    def row(subject, clip, onset, apex, offset, emotion):
        return [subject, clip, None, onset, apex, offset, None, "4", emotion, None]

    frames = root / "CASME2_RAW_selected"
    neutral = camera_frame()
    for clip, onset, apex, emotion in (
        ("EP02_01f", 46, 59, "happiness"),
        ("EP19_05f", 99, 108, "disgust"),
    ):
        write(frames / "sub01" / clip / f"img{onset}.jpg", neutral)
        write(frames / "sub01" / clip / f"img{apex}.jpg", camera_frame(expression(emotion)))
    for number, strength in (
        (5, 0),
        (9, 1.5),
        (13, 3),
        (17, 1),
    ):  # no apex in the sheet; 20, below, is past the offset
        write(
            frames / "sub01/EP19_06f" / f"img{number}.jpg",
            camera_frame(expression("disgust", strength)),
        )
    write(frames / "sub01/EP19_06f/img20.jpg", camera_frame(expression("disgust", 6)))
    write(root / "Cropped/sub01/EP02_01f/reg_img46.jpg", b"the raw frames come first")
    jpeg = write(frames / "sub02/EP01_11f/img46.jpg", neutral)
    write(frames / "sub02/EP01_11f/img91.jpg", jpeg[: len(jpeg) // 2])
    write(frames / "sub02/EP02_04f/img4.png", b"a text file")
    write(frames / "sub02/EP02_04f/img9.png", neutral)
    write(frames / "sub02/EP06_01f/img1.jpg", np.full((400, 420, 3), 127, np.uint8))
    write(frames / "sub02/EP06_01f/img2.jpg", neutral)
    write(frames / "sub02/EP06_02f/img1.jpg", neutral)
    for number in (1, 2):
        write(frames / "sub02/EP09_01" / f"img{number}.jpg", neutral)
    write_sheet(
        root / "CASME2-coding-20190701.xlsx",
        [
            CASME2_HEADER,
            row(1, "EP02_01f", 46, 59, 86, "happiness"),
            row("01", "EP19_05f ", "99", 108.0, 1, "disgust"),
            row(1, "EP19_06f", 5, "/", 17, "Disgust"),
            row(1, "EP03_02", 1, 2, 3, "others"),
            row(2, "EP01_11f", 46, 91, 100, "repression"),
            row(2, "EP02_04f", 4, 9, 12, "sadness"),
            row(2, "EP06_01f", 1, 2, 3, "disgust"),
            row(2, "EP06_02f", 1, 30, 40, "disgust"),
            row(2, "EP09_01", 1, 2, 3, "disgust"),
            row(2, "EP03_02f", 1, 2, 3, "disgust"),
            [None] * 10,
            ["note: frames at 200 fps"],
        ],
    )
    return root


def make_samm(root):
    for number, moves in ((5562, ()), (5588, expression("surprise"))):
        write(root / "006/006_1_2" / f"006_{number:05d}.jpg", camera_frame(moves, grey=True))
        write(
            root / "007/007_3_1" / f"007_{number:05d}.png", camera_frame(moves, depth=12, grey=True)
        )
    write(root / "006/006_1_3/006_05562.jpg", camera_frame(grey=True))
    write_sheet(
        root / "SAMM_Micro_FACS_Codes_v2.xlsx",
        [
            ["SAMM: coded micro-movements"],
            *[[None]] * 11,
            ["notes"],
            [
                "Subject",
                "Filename",
                "Inducement Code",
                "Onset Frame",
                "Apex Frame",
                "Offset Frame",
                "Duration",
                "Micro",
                "Action Units",
                "Estimated Emotion",
                "Objective Classes",
                "Notes",
            ],
            ["006", "006_1_2", 1, 5562, 5588, 5632, 71, "Micro", "1+2", "Surprise", 2, None],
            [6, "006_1_3", 1, 5562, 5562, 5632, 71, "Micro", "4", "Anger", 3, None],
            ["007", "007_3_1", 1, 5562, -1, 5632, 71, "Micro", "4", "Anger", 3, None],
        ],
    )
    return root


def make_smic(root):
    for number, strength in ((12345, 0), (12348, 2.5), (12350, 1)):
        for folder, subject in (("HS", "s1"), ("VIS", "s1")):
            moves = expression("disgust", strength) if folder == "HS" else ()
            write(
                root / folder / subject / "micro/negative/s1_ne_01" / f"image{number}.bmp",
                camera_frame(moves),
            )
        write(
            root / "HS/s20/micro/surprise/s20_sur_1" / f"reg_image{number}.bmp",
            camera_frame(expression("surprise", strength)),
        )
    write(root / "HS/s20/micro/positive/s20_ne_01/image1.bmp", camera_frame())
    write(root / "HS/s20/non_micro/s20_nonmicro_01/image1.bmp", camera_frame())
    return root


def make_casme3(root):
    for number, emotion in ((175, None), (181, "happiness"), (190, None), (197, "disgust")):
        write(
            root / "part_A/spNO.1/b/color" / f"{number}.jpg",
            camera_frame(expression(emotion) if emotion else ()),
        )
    write_sheet(
        root / "cas(me)3_part_A_ME_label_JpgIndex_v2.xlsx",
        [
            ["Subject", "Filename", "Onset", "Apex", "Offset", "AU", "Objective class", "emotion"],
            ["spNO.1", "b", 175, 181, 186, "12", 1, "happy"],
            ["spNO.1", "b", 190, 197, 199, "4", 5, "fear"],
            ["spNO.1", "b", 181, 181, 186, "4", 5, "disgust"],
            ["spNO.1", "b", 197, 199, 200, "0", 7, "others"],
        ],
    )
    return root


MAKE = {"casme2": make_casme2, "samm": make_samm, "smic": make_smic, "casme3": make_casme3}


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
    assert len(list(prepared[0].rglob("*.*g"))) == 2 * len(
        EXPECTED
    )  # nothing else, no temporary files


def test_flows_show_the_expressions(prepared):
    composite = load_composite(prepared[0])
    flows = {
        name: flow[..., ::-1].astype(float) - np.median(flow, (0, 1))[::-1]
        for name, flow in zip(composite.names, composite.flows)
    }  # (u, v, strain) against the median
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
        "sub02_EP06_02f": "holds no apex frame 30",
        "sub02_EP09_01": "shows no motion",
        "sub02_EP03_02f": "xlsx lists it, but sub02/EP03_02f is missing",
        "006_006_1_3": "apex frame 5562 is not after the onset",
        "s20_s20_ne_01": "its name contradicts its folder",
        "spNO.1_b_181": "apex frame 181 is not after the onset",
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
    assert stop.value.code == 2 and "Traceback" not in error
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
    columns = ["dataset", "sub", "filename_o", "label", "apex", "imagename", "sub_filename", "flow"]
    pd.DataFrame(
        [("casme2", "sub01", "EP03_02", "0", "2", "a.jpg", "", "tvl1")], columns=columns
    ).to_csv(tmp_path / INDEX_NAME, index=False)
    assert "lists sub01_EP03_02, which is not one of MEGC 2019's clips" in run(
        capsys, "--database", "casme2", "--source", raw["casme2"], "--output", tmp_path
    )


def test_bad_sheets_are_one_sentence(tmp_path):
    write(tmp_path / "sub01/EP02_01f/img1.jpg", b"")
    with pytest.raises(
        BadInput, match=r"holds no annotation sheet of casme2 \(CASME2-coding-\*\.xlsx\)"
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


@settings(deadline=None)
@given(st.integers(0, 10**6))
def test_frame_numbers_are_read_however_the_sheet_stores_them(number):
    assert [_frame_number(cell) for cell in (str(number), f"{number}.0", f" {number}")] == [
        number
    ] * 3


@settings(deadline=None)
@given(
    st.one_of(
        st.sampled_from(["", "/", "-", "n/a", "nan", "inf", "-1"]),
        st.integers(max_value=-1).map(str),
    )
)
def test_other_cells_are_no_frame_number(cell):
    assert _frame_number(cell) is None


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
