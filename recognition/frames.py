"""What can be recognized, as a stream of frames: a video, a folder of frames, two images."""

import re
from dataclasses import dataclass
from pathlib import Path

import cv2

from clips import IMAGES, VIDEOS, Video, list_frames, open_video, read_frame
from support.files import BadInput, check_name

PLAUSIBLE_FPS = (1, 2000)  # some files give their time base, 90000, as the frame rate
POSSIBLE_FPS = (1, 100_000)  # of a rate that a person gives


@dataclass(frozen=True)
class FrameStream:
    """A clip; subclasses say where its frames come from."""

    path: Path
    fps: float | None  # frames per second, where known
    count: int | None  # frames, as the file says; None: not said
    is_pair = False  # onset and apex alone: no time passes between them

    def __str__(self):
        return str(self.path)

    @property
    def title(self):
        """A short name."""
        return self.path.name

    def read(self, wanted=lambda number: True, last=None):
        """Yields (number, frame [H, W, 3]) of the frames that are wanted, in order, to `last`."""
        raise NotImplementedError


@dataclass(frozen=True)
class VideoStream(FrameStream):
    """A video file; frames count from 0."""

    def read(self, wanted=lambda number: True, last=None):
        video = Video(self.path)
        while (last is None or video.number < last) and video.step():
            if not wanted(video.number):
                continue
            frame = video.retrieve()
            if frame is None:
                return
            yield video.number, frame


@dataclass(frozen=True)
class FolderStream(FrameStream):
    """Image files {number: path}; frames count as in the files' names."""

    files: dict

    def read(self, wanted=lambda number: True, last=None):
        shape = None
        for number, path in self.files.items():
            if (last is not None and number > last) or not wanted(number):
                continue
            frame = read_frame(path)
            if frame.shape != (shape or frame.shape):
                raise BadInput(f"{path} differs in size from the frames before: make all alike.")
            shape = frame.shape
            yield number, frame


@dataclass(frozen=True)
class PairStream(FolderStream):
    """Two image files, frames 0 and 1."""

    is_pair = True

    @property
    def title(self):
        return " and ".join(path.name for path in self.files.values())


def open_clip(path, fps=None):
    """A video or a folder of frames -> FrameStream; raises BadInput.

    fps: the frame rate, where the file does not say, or says a wrong one.
    """
    path = Path(path)
    check_name(path)
    try:
        if path.is_dir():
            files = list_frames(path)
            if not files:
                raise BadInput(f"{path} holds no frames: images whose names end with a number.")
            return FolderStream(path, fps, len(files), files)
        if not path.is_file():
            raise BadInput(f"{path} does not exist: give a video or a folder of frames.")
    except OSError as error:
        raise BadInput(f"{path} cannot be read ({error.strerror}).") from None
    if path.suffix.lower() in IMAGES:
        raise BadInput(f"{path} is one image: give two, --onset {path.name} --apex OTHER.")
    video = open_video(path)
    said, count = video.get(cv2.CAP_PROP_FPS), int(video.get(cv2.CAP_PROP_FRAME_COUNT))
    video.release()
    if not PLAUSIBLE_FPS[0] <= said <= PLAUSIBLE_FPS[1]:
        said = None
    return VideoStream(path, fps or said, count if count > 0 else None)


def open_pair(onset, apex):
    """Two image files -> PairStream."""
    files = {0: Path(onset), 1: Path(apex)}
    for path in files.values():
        check_name(path)
    return PairStream(Path(f"{onset} {apex}"), None, 2, files)


def find_clips(paths, log=print):
    """Paths as given -> list of paths of single clips, those within a folder of clips one by one.

    A folder that holds numbered images, no video and no clip below is a clip; any other stands for
    the videos and folders in it. log: told what is left out. Raises BadInput where a path holds
    neither.
    """
    clips = []
    for path in map(Path, paths):
        inner = list_clips(path, log)
        if not inner:
            raise BadInput(
                f"{path} holds neither frames, their names ending with a number, nor "
                f"videos ({', '.join(VIDEOS)})."
            )
        clips += inner
    return clips


def list_clips(path, log):
    """The clips at a path, in natural order; itself where it cannot be read: `open_clip` says so.

    Empty where a folder holds none.
    """
    try:
        if not path.is_dir():
            return [path]
        inner = [child for child in path.iterdir() if not child.name.startswith(".")]
        images = [child for child in inner if child.suffix.lower() in IMAGES]
        clips, notes = [], []
        for child in sorted(inner, key=sort_naturally):
            if child.is_dir():
                found = list_clips(child, notes.append)
                if not found:
                    notes.append(f"{child} holds no clips.")
                clips += found
            elif child.suffix.lower() in VIDEOS:
                clips.append(child)
        if images and not clips and list_frames(path):
            return [path]
        if images and clips:  # the pages of an earlier run, say
            log(f"the {len(images)} images in {path}, beside clips, are not a clip.")
        for note in notes:
            log(note)
        return clips
    except (OSError, BadInput):
        return [path]


def sort_naturally(path):
    """A key that puts clip2 before clip10."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", path.name)]
