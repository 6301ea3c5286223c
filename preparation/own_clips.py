"""Data of one's own: a table of clips.

    clip,subject,label,onset,apex
    videos/a.mp4,anna,happy,12,31
    frames/b,anna,sad,5,
    c,ben,sad,c_onset.png,c_apex.png

A clip is a folder of frames, a video (frames counted from 0), or only a name where onset and apex
are image files. Paths count from the table's folder unless they are absolute; a clip is named by
its path, without the root and `..`. Labels are whole numbers from 0, or names. An empty apex is
found, and with it an empty onset; beside an apex, an empty onset is the clip's first frame. A
column `offset` may bound the clip, a column `fps` give its frame rate.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from clips import VIDEOS, list_video_frames
from preparation.raw_databases import Clip
from recognition.frames import POSSIBLE_FPS
from support.files import BadInput, is_plain, read_table

COLUMNS = ("clip", "subject", "label", "onset", "apex")
FRAME_NUMBER = re.compile(r"(\d{1,9})(\.0*)?")  # in a column with an empty cell pandas writes 31.0
LABEL_NUMBER = re.compile(r"-?\d{1,9}", re.ASCII)
LONGEST_NAME = 200  # bytes: file systems take 255, and the files' names have more to them


@dataclass(frozen=True)
class OwnClip(Clip):
    """A clip of the table; `folder` may be a video, `files` its onset and apex image."""

    files: tuple = ()
    fps: float | None = None  # frames per second, where the table says so

    def frames(self):
        """{frame number: what `clips.read_frame` takes}."""
        if self.files:
            return dict(enumerate(self.files))
        if self.folder.is_file():
            return list_video_frames(self.folder)
        return super().frames()


def read_own_clips(path):
    """A table of clips -> (clips, left_out, path), as `read_clips`; raises BadInput."""
    path = Path(path)
    table = read_table(path, COLUMNS, "give it the columns " + ", ".join(COLUMNS))
    rows = [{name: cell.strip() for name, cell in row.items()} for row in table.to_dict("records")]
    names = sorted({row["label"].lower() for row in rows})
    if not rows or "" in names:
        raise BadInput(f"{path} has no rows, or rows without a label: give each clip its label.")
    labels = {name: i for i, name in enumerate(names)}
    if all(LABEL_NUMBER.fullmatch(name) for name in names):
        labels = {name: int(name) for name in names}
        if sorted(labels.values()) != list(range(len(labels))):
            raise BadInput(
                f"{path} has the labels {', '.join(names)}: count them from 0 without a gap, or "
                "use names."
            )
    clips, seen, spelt = [], set(), {}
    for line, row in enumerate(rows, start=2):
        try:
            clip = read_row(path, line, row, labels)
        except OSError as error:  # a name too long for the file system
            raise BadInput(f"{path}, line {line}: {error.strerror}; shorten it.") from None
        if clip.sample in seen:
            raise BadInput(
                f"{path}, line {line}: {clip.sample} is listed twice; keep one row, or rename a "
                "clip."
            )
        first = spelt.setdefault(clip.subject.lower(), clip.subject)
        if first != clip.subject:
            raise BadInput(
                f"{path}, line {line}: the subjects {first} and {clip.subject} differ only in "
                "upper and lower case: write them alike, or rename one."
            )
        seen.add(clip.sample)
        clips.append(clip)
    return clips, [], path


def read_row(path, line, row, labels):
    """One row of the table -> OwnClip; raises BadInput naming the line."""

    def refuse(problem):
        raise BadInput(f"{path}, line {line}: {problem}.")

    if not row["clip"] or not row["subject"]:
        refuse("clip and subject must be given")
    if any(letter in row["subject"] for letter in "/\\"):
        refuse(f"the subject '{row['subject']}' must be a name without slashes")
    if not is_plain(row["clip"] + row["subject"]):
        refuse("clip and subject must be without control characters")
    place, numbers, files = path.parent / row["clip"], {}, []
    said = [row["clip"]]  # the clip's and the files' paths, as the table has them
    for column in ("onset", "apex", "offset"):
        cell = row.get(column, "")
        number = FRAME_NUMBER.fullmatch(cell)
        if cell and not number:
            file = path.parent / cell
            if column == "offset" or not file.is_file():
                refuse(f"{column} '{cell}' is neither a frame number nor a file")
            files.append(file)
            said.append(cell)
        numbers[column] = int(number[1]) if number else None
    if files and len(files) != 2:
        refuse("onset and apex must both be files, or both frame numbers")
    if files:
        numbers = {"onset": 0, "apex": 1, "offset": None}
    elif not place.exists():
        refuse(f"{place} does not exist: give a folder of frames or a video")
    elif not place.is_dir() and place.suffix.lower() not in VIDEOS:
        refuse(f"{place} is neither a folder of frames nor a video ({', '.join(VIDEOS)})")
    fps = read_fps(row.get("fps", ""), refuse)
    if fps:
        said.append(f"{fps:g} fps")
    clip = OwnClip(
        database="own",
        subject=row["subject"],
        name=name_clip(row["clip"], place),
        folder=place,
        emotion=row["label"].lower(),
        label=labels[row["label"].lower()],
        place=" ".join(said),
        files=tuple(files),
        fps=fps,
        **numbers,
    )
    if len(os.fsencode(clip.sample)) > LONGEST_NAME:
        refuse(f"{clip.sample} is too long a name for files; give the clip a shorter path")
    return clip


def read_fps(cell, refuse):
    """The cell of the column `fps` -> frames per second, or None where it is empty."""
    try:
        fps = float(cell) if cell else None
    except ValueError:
        fps = 0
    low, high = POSSIBLE_FPS
    if fps is not None and not low <= fps <= high:
        refuse(f"fps '{cell}' must be frames per second, from {low} to {high}")
    return fps


def name_clip(cell, place):
    """The clip's name from its path as the table has it, so that s1/001 and s2/001 are two clips.

    place: where it is. The root would put the images elsewhere, and `..` says nothing of a clip.
    """
    path = Path(os.path.normpath(cell))
    if place.is_file():
        path = path.with_suffix("")
    parts = [part for part in path.parts if part not in (path.anchor, "..")]
    return "_".join(parts) or place.resolve().name  # the table's folder, or one above it
