"""Reads CASME II, SAMM, SMIC-HS and CASME III part A as their owners deliver them.

| database | annotation sheet | frames |
| --- | --- | --- |
| casme2 | CASME2-coding-*.xlsx | CASME2_RAW_selected/sub01/EP02_01f/img46.jpg |
| | | or Cropped/…/reg_img46.jpg |
| samm | SAMM_Micro_FACS_Codes_v2.xlsx | 006/006_1_2/006_05562.jpg |
| smic | none: the folder names the emotion | HS/s1/micro/negative/s1_ne_01/image012345.jpg |
| | | or …/reg_image012345.bmp |
| casme3 | cas(me)3_part_A_ME_label_JpgIndex_v2.xlsx | spNO.1/b/color/175.jpg |

The sheet lies in the source folder or in a folder directly below it, the subjects' folders at any
depth.
"""

import os
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from composite_dataset import CLASSES
from support.files import BadInput

SUBJECTS = {
    "casme2": ("sub{:02d}", r"sub(\d+)"),
    "samm": ("{:03d}", r"(\d{3})"),  # our name of a subject, its folder
    "smic": ("s{:02d}", r"s(\d+)"),
    "casme3": ("spNO.{}", r"spno\.(\d+)"),
}
SHEETS = {
    "casme2": (
        "CASME2-coding-*.xlsx",
        "casme2coding",
    ),  # how users know it; its letters and digits begin with
    "samm": ("SAMM_Micro_FACS_Codes_v2.xlsx", "sammmicrofacs"),
    "casme3": ("cas(me)3_part_A_ME_label_JpgIndex_v2.xlsx", "casme3partame"),
}
COLUMNS = {
    "Subject": ("subject",),
    "Filename": ("filename",),
    "Onset": ("onset", "onsetframe"),  # letters only
    "Apex": ("apex", "apexframe"),
    "Offset": ("offset", "offsetframe"),
    "Emotion": ("emotion", "estimatedemotion"),
}
EMOTIONS = {
    **dict.fromkeys(("happiness", "happy"), 1),
    "surprise": 2,  # MEGC 2019's three classes
    **dict.fromkeys(("disgust", "repression", "sadness", "sad", "contempt", "fear", "anger"), 0),
}
SMIC_EMOTIONS = {"negative": "ne", "positive": "po", "surprise": "sur"}


@dataclass(frozen=True)
class Clip:
    """One micro-expression. Frames are counted as in the files' names."""

    database: str
    subject: str  # as in the composite: sub01, 006, s01, spNO.1
    # as in the composite: EP02_01f, 006_1_2, s01_ne_01; CASME III: <clip>_<onset>, for folders hold
    # several
    name: str
    folder: Path | None  # None where there is no such folder
    emotion: str  # in the sheet's words
    label: (
        int | None
    )  # 0 negative, 1 positive, 2 surprise, or None for emotions outside the three classes
    onset: int | None = None  # None in SMIC, whose folders begin at the onset
    apex: int | None = None  # None where not annotated
    offset: int | None = None

    @property
    def sample(self):
        return f"{self.subject}_{self.name}"

    def frames(self):
        """{frame number: path} of the images in the clip's folder."""
        files = sorted(
            path
            for path in self.folder.iterdir()
            if not path.name.startswith(".")
            and path.suffix.lower() in (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff")
        )
        return {int(found[0]): path for path in files if (found := re.findall(r"\d+$", path.stem))}


def read_clips(database, source):
    """All clips of a database under the folder `source` -> (clips, left_out, sheet).

    clips: list of Clip; left_out: list of (subject, clip, reason); sheet: Path, or None for SMIC.
    Raises BadInput.
    """
    source = Path(source)
    if not source.is_dir():
        raise BadInput(
            f"{source} is not a folder: set --source to the folder that holds the unpacked "
            f"{database}."
        )
    folders = _subject_folders(database, source)
    if database == "smic":
        return *_read_smic(folders), None
    sheet = _find_sheet(database, source)
    clips, left_out, seen = [], [], set()
    for row in _read_sheet(sheet).to_dict("records"):
        number, name = re.search(r"\d+", row["Subject"]), row["Filename"]
        subject = SUBJECTS[database][0].format(int(number[0])) if number else row["Subject"]
        onset, apex, offset = (_frame_number(row[key]) for key in ("Onset", "Apex", "Offset"))
        folder = next(
            (path / name for path in folders.get(subject, ()) if (path / name).is_dir()), None
        )
        if database == "casme3":
            name, folder = (
                f"{name}_{onset}",
                folder and (folder / "color" if (folder / "color").is_dir() else folder),
            )
        label = EMOTIONS.get(row["Emotion"].lower())
        clip = Clip(database, subject, name, folder, row["Emotion"], label, onset, apex, offset)
        if clip.sample in seen:
            left_out.append((subject, name, f"{sheet.name} lists it twice; its first row is used"))
        elif folder is None:
            left_out.append(
                (
                    subject,
                    name,
                    f"{sheet.name} lists it, but {subject}/{row['Filename']} is missing",
                )
            )
        elif onset is None:
            left_out.append((subject, name, f"{sheet.name} gives no onset frame"))
        else:
            clips.append(clip)
        seen.add(clip.sample)
    return clips, left_out, sheet


def _subject_folders(database, source):
    """{subject: its folders}, raw before cropped.

    Subjects' own folders are not searched: they hold the many frames.
    """
    form, pattern = SUBJECTS[database]
    found = {}
    for parent, children, _ in os.walk(source):
        for child in list(children):
            if match := re.fullmatch(pattern, child, re.IGNORECASE):
                found.setdefault(form.format(int(match[1])), []).append(Path(parent, child))
                children.remove(child)
            elif database == "smic" and child in (
                "VIS",
                "NIR",
            ):  # the same people before slower cameras
                children.remove(child)
    if not found:
        raise BadInput(
            f"{source} holds no subject folders of {database}, which are named like "
            f"{form.format(1)}: set --source to the folder into which the database was unpacked."
        )
    return {
        subject: sorted(
            paths, key=lambda path: ("crop" in str(path.relative_to(source)).lower(), path)
        )
        for subject, paths in found.items()
    }


def _read_smic(folders):
    clips, left_out = {}, []
    for subject, paths in sorted(folders.items()):
        for folder in (
            folder for path in paths for folder in sorted(path.glob("micro/*/*")) if folder.is_dir()
        ):
            match = re.fullmatch(r"s(\d+)_(ne|po|sur)_(\d+)", folder.name)
            emotion = folder.parent.name.lower()
            if (
                not match
                or match[2] != SMIC_EMOTIONS.get(emotion)
                or f"s{int(match[1]):02d}" != subject
            ):
                left_out.append(
                    (subject, folder.name, f"its name contradicts its folder {folder.parent}")
                )
                continue
            name = (
                f"{subject}_{match[2]}_{int(match[3]):02d}"  # raw folders say s1, the composite s01
            )
            clips.setdefault(
                name, Clip("smic", subject, name, folder, emotion, CLASSES.index(emotion))
            )
    return list(clips.values()), left_out


def _find_sheet(database, source):
    known_as, begins = SHEETS[database]
    sheets = sorted(
        path
        for depth in ("*", "*/*")
        for path in source.glob(f"{depth}.xlsx")
        if re.sub(r"[\W_]", "", path.name.lower()).startswith(begins)
        and not path.name.startswith("~")
    )
    if not sheets:
        raise BadInput(
            f"{source} holds no annotation sheet of {database} ({known_as}): put it there."
        )
    return sheets[-1]  # the newest version, by name


def _read_sheet(path):
    """The annotation sheet as a DataFrame of text with the columns of COLUMNS.

    Rows without subject or clip are dropped.
    """
    try:
        workbook = pd.read_excel(
            path, sheet_name=None, header=None, dtype=str, keep_default_na=False, engine="openpyxl"
        )
    except (ValueError, OSError, KeyError, zipfile.BadZipFile) as error:
        raise BadInput(
            f"{path} is not a readable Excel sheet ({error}): download it anew."
        ) from None
    aliases = {alias: column for column, names in COLUMNS.items() for alias in names}

    def known_columns(row):
        return [aliases.get(re.sub("[^a-z]", "", cell.lower())) for cell in row]

    # Sheets begin with up to a dozen lines of text: the header is the row that holds most of the
    # known names.
    rows = [
        (table, i, known_columns(table.iloc[i]))
        for table in workbook.values()
        for i in range(min(40, len(table)))
    ]
    table, header, columns = max(
        rows, key=lambda row: len(set(row[2]) - {None}), default=(None, 0, [])
    )
    if len(set(columns) - {None}) < 2:
        raise BadInput(
            f"{path} holds no header row with {', '.join(COLUMNS)}: put the database's own sheet "
            "there."
        )
    if missing := [column for column in COLUMNS if column not in columns]:
        names = [cell.strip() for cell in table.iloc[header] if cell.strip()]
        raise BadInput(
            f"{path} lacks the column '{missing[0]}': its header row has {', '.join(names)}."
        )
    data = table.iloc[header + 1 :, [columns.index(column) for column in COLUMNS]].set_axis(
        list(COLUMNS), axis=1
    )
    data = data.apply(lambda column: column.str.strip())
    return data[(data["Subject"] != "") & (data["Filename"] != "")]


def _frame_number(cell):
    """A cell of the sheet -> int, or None.

    CASME II writes '/' and SAMM -1 where a frame was not annotated.
    """
    try:
        number = int(float(cell))
    except (ValueError, OverflowError):
        return None
    return number if number >= 0 else None
