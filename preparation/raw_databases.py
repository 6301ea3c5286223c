"""Reads CASME II, SAMM, SMIC-HS and CASME III part A as their owners deliver them.

| database | annotation sheet | frames |
| --- | --- | --- |
| casme2 | CASME2-coding-*.xlsx | CASME2_RAW_selected/sub01/EP02_01f/img46.jpg |
| | or CASME2_label_Ver_2.xls | or Cropped/…/reg_img46.jpg |
| samm | *SAMM_Micro_FACS_Codes_v2.xlsx | 006/006_1_2/006_05562.jpg |
| smic | none: the folder names the emotion | HS/s1/micro/negative/s1_ne_01/image012345.jpg |
| | | or …/reg_image012345.bmp |
| casme3 | cas(me)3_part_A_ME_label_JpgIndex_v2.xlsx | spNO.1/b/color/175.jpg |
| | | or Part_A_ME_clip/frame/spNO.1_b_175/175.jpg |

Sheets and subjects' folders are found at any depth below the source folder, the sheet also beside
it.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from clips import IMAGES, list_frames
from composite_dataset import CLASSES
from preparation.sheets import pick_sheet, read_number, read_sheet
from support.files import BadInput

# Our name of a subject, and its folder's.
SUBJECTS = {
    "casme2": ("sub{:02d}", r"sub(\d+)"),
    "samm": ("{:03d}", r"(\d{3})"),
    "smic": ("s{:02d}", r"s(\d+)"),
    "casme3": ("spNO.{}", r"spno\.?(\d+)"),
}
CASME3_CLIP = r"spno\.?(\d+)_([a-z]+)_(\d+)"  # a folder per clip: subject, file name, onset
# Folders that hold something else of the same name: slower cameras (SMIC), depth maps and videos.
SKIPPED = {"smic": ("vis", "nir"), "casme3": ("depth", "video")}
EMOTIONS = {  # MEGC 2019's three classes
    **dict.fromkeys(("happiness", "happy"), 1),
    "surprise": 2,
    **dict.fromkeys(("disgust", "repression", "sadness", "sad", "contempt", "fear", "anger"), 0),
}
SMIC_EMOTIONS = {"negative": "ne", "positive": "po", "surprise": "sur"}


@dataclass(frozen=True)
class Clip:
    """One micro-expression. Frames are counted as in the files' names."""

    database: str
    subject: str  # as in the composite: sub01, 006, s01, spNO.1
    name: str  # as in the composite: EP02_01f, 006_1_2, s01_ne_01; CASME III: <clip>_<onset>
    folder: Path | None  # None where there is no such folder
    emotion: str  # in the sheet's words
    label: int | None  # 0 negative, 1 positive, 2 surprise; None outside the three classes
    onset: int | None = None  # None in SMIC, whose folders begin at the onset
    apex: int | None = None  # None where not annotated
    offset: int | None = None
    place: str = ""  # of the frames: the path below the source, or as the table has it

    @property
    def sample(self):
        return f"{self.subject}_{self.name}"

    def describe_frames(self):
        """The frames' place and the annotated ones, as text."""
        return " ".join(map(str, (self.place, self.onset, self.apex, self.offset)))

    def frames(self):
        """{frame number: path} of the images in the clip's folder."""
        return list_frames(self.folder)


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
    folders, sheets = _search(database, source)
    if database == "smic":
        return *_read_smic(source, folders), None
    sheet = pick_sheet(database, source, sheets)
    clips, left_out, seen = [], [], set()
    for row in read_sheet(sheet).to_dict("records"):
        number, file = re.search(r"\d+", row["Subject"]), row["Filename"]
        subject = SUBJECTS[database][0].format(int(number[0])) if number else row["Subject"]
        onset, apex, offset = (read_number(row[key]) for key in ("Onset", "Apex", "Offset"))
        name = f"{file}_{onset}" if database == "casme3" else file
        folder = _find_clip(folders, subject, file, name)
        label = EMOTIONS.get(row["Emotion"].lower())
        place = folder.relative_to(source).as_posix() if folder else ""
        clip = Clip(
            database, subject, name, folder, row["Emotion"], label, onset, apex, offset, place
        )
        if clip.sample in seen:
            left_out.append((subject, name, f"{sheet.name} lists it twice; its first row is used"))
        elif folder is None:
            reason = f"{sheet.name} lists it, but {subject}/{file} is missing under {source}"
            left_out.append((subject, name, reason))
        elif onset is None:
            left_out.append((subject, name, f"{sheet.name} gives no onset frame"))
        else:
            clips.append(clip)
        seen.add(clip.sample)
    return clips, left_out, sheet


def _search(database, source):
    """-> ({subject: its folders}, raw before cropped; sheets at any depth above the subjects).

    Subjects' own folders are not searched: they hold the many frames. A subject of CASME III can
    also be a list of folders with a clip each.
    """
    form, pattern = SUBJECTS[database]
    skipped = SKIPPED.get(database, ())
    camera = find_camera(source)
    if database == "smic" and camera:
        raise BadInput(
            f"{source} holds SMIC's {camera} recordings, of a slower camera: set --source to the "
            "folder HS, of which the composite is made."
        )
    folders, sheets = {}, []
    for parent, children, files in os.walk(source):
        sheets += [Path(parent, file) for file in files]
        children[:] = [child for child in children if not is_shadow(child)]
        for child in list(children):
            clip = re.fullmatch(CASME3_CLIP, child, re.IGNORECASE) if database == "casme3" else None
            if match := clip or re.fullmatch(pattern, child, re.IGNORECASE):
                folders.setdefault(form.format(int(match[1])), []).append(Path(parent, child))
                children.remove(child)
            elif child.lower() in skipped:
                children.remove(child)
    if not folders:
        raise BadInput(
            f"{source} holds no subject folders of {database}, which are named like "
            f"{form.format(1)}: set --source to the folder into which the database was unpacked."
        )

    def raw_first(path):
        return "crop" in str(path.relative_to(source)).lower(), path

    return {subject: sorted(paths, key=raw_first) for subject, paths in folders.items()}, sheets


def find_camera(source):
    """VIS or NIR where the source folder holds SMIC's recordings by another camera, or None.

    Of its path only what lies below the folder named SMIC counts, or else its own name: a user may
    be called nir.
    """
    parts = source.resolve().parts
    named = [i for i, part in enumerate(parts) if "smic" in part.lower()]
    parts = parts[named[-1] + 1 :] if named else parts[-1:]
    return next((part for part in parts if part.upper() in ("VIS", "NIR")), None)


def _find_clip(folders, subject, file, name):
    """The folder with a clip's frames, or None; upper and lower case are the same.

    file: what the sheet calls the clip; name: what the composite calls it. Of several the first
    that holds images, so that an emptied raw folder does not hide the cropped one.
    """
    found = []
    for path in folders.get(subject, ()):
        clip = re.fullmatch(CASME3_CLIP, path.name, re.IGNORECASE)
        if clip and f"{clip[2]}_{clip[3]}".lower() == name.lower():
            found.append(path)
        if clip or not path.is_dir():
            continue
        for child in sorted(path.iterdir()):
            if child.name.lower() == file.lower() and child.is_dir():
                found.append(child / "color" if (child / "color").is_dir() else child)
    return next(filter(holds_images, found), found[0] if found else None)


def holds_images(folder):
    """Whether a folder holds an image."""
    return any(
        child.suffix.lower() in IMAGES and not is_shadow(child.name) for child in folder.iterdir()
    )


def is_shadow(name):
    """Whether a file or folder is hidden, or Apple's, whose archives repeat each file's name."""
    return name.startswith(".") or name == "__MACOSX"


def _read_smic(source, folders):
    """SMIC-HS's clips and those that are left out: the folders name the emotions."""
    clips, left_out = {}, []
    for subject, paths in sorted(folders.items()):
        for folder in [clip for path in paths for clip in sorted(path.glob("micro/*/*"))]:
            if is_shadow(folder.name) or not folder.is_dir():
                continue
            match = re.fullmatch(r"s(\d+)_(ne|po|sur)_(\d+)", folder.name)
            emotion = folder.parent.name.lower()
            agrees = match and f"s{int(match[1]):02d}" == subject
            if not agrees or match[2] != SMIC_EMOTIONS.get(emotion):
                reason = f"its name contradicts its folder {folder.parent}"
                left_out.append((subject, folder.name, reason))
                continue
            name = f"{subject}_{match[2]}_{int(match[3]):02d}"  # raw folders say s1, not s01
            label, place = CLASSES.index(emotion), folder.relative_to(source).as_posix()
            if name not in clips or not holds_images(clips[name].folder):
                clips[name] = Clip("smic", subject, name, folder, emotion, label, place=place)
    if not clips and not left_out:
        raise BadInput(
            f"{source} has no clips at HS/s1/micro/negative/s1_ne_01, as SMIC-HS is delivered: set "
            "--source to its folder HS; SMIC-E, whose clips go on before and after the expression, "
            "is not read."
        )
    return list(clips.values()), left_out
