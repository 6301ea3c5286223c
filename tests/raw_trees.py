"""Raw databases in small, each in its owner's folder names, file names and sheet."""

import cv2
import numpy as np
import openpyxl
from conftest import ROOT

from composite_dataset import FACE_FOLDER

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
    # no apex in the sheet; 20, below, is past the offset
    for number, strength in (
        (5, 0),
        (9, 1.5),
        (13, 3),
        (17, 1),
    ):
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
