"""Frames of a clip -> onset and apex face, cut out alike; spotting of an unknown apex."""

import os
import re
from dataclasses import dataclass

import cv2
import numpy as np

from composite_dataset import FLOW_SIZE
from facial_areas import crop_areas
from optical_flow import optical_flow, optical_strain
from support.files import BadInput, read_image

FACE_SIZE = 224
# Where the faces of the released composite lie: the middle (x, y) of eyes and lip corners, and the
# distance between the eyes plus that from eyes to lips. Shares of the image's side, by dlib's
# landmarks, means over a database's faces; SAMM's are framed more loosely.
FRAMING = {
    "casme2": ((0.494, 0.501), 0.986),
    "smic": ((0.491, 0.492), 0.968),
    "samm": ((0.511, 0.576), 0.837),
}
MEAN_FRAMING = (0.498, 0.520), 0.934  # over all 442 faces, for other databases
IMAGES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff")
VIDEOS = (".mp4", ".avi", ".mov", ".mkv", ".wmv", ".webm", ".mpg", ".mpeg", ".m4v", ".3gp", ".mts")
SPOT_FRAMES = 10  # frames of a clip that the first pass of the apex spotting looks at
# For FFmpeg, read when a video is opened: no words of its own beside ours, and no file that sends
# it elsewhere, such as a list of streams.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
os.environ.setdefault("OPENCV_FFMPEG_CAPTURE_OPTIONS", "protocol_whitelist;file")


class Video:
    """A video file, read from its beginning a frame at a time; frames count from 0.

    Seeking lands on other frames where the frame rate varies, and some headers give a wrong number
    of frames. OpenCV turns the frames as the file's rotation metadata says.
    """

    def __init__(self, path):
        """Raises BadInput where the file holds no pictures."""
        self.path = path
        self.rewind()

    def rewind(self):
        """Goes before the first frame."""
        self.capture, self.number, self.ended = open_video(self.path), -1, False

    def step(self):
        """Goes to the next frame -> whether there is one."""
        self.ended = not self.capture.grab()
        self.number += not self.ended
        return not self.ended

    def retrieve(self):
        """The frame that the last step went to, uint8 [H, W, 3], or None where it is damaged."""
        found, frame = self.capture.retrieve()
        return frame if found else None

    def read(self, number):
        """A frame, or None where there is no such; quick where the numbers asked for rise."""
        if self.ended or number < self.number:
            self.rewind()
        while self.number < number:
            if not self.step():
                return None
        return self.retrieve()


@dataclass(frozen=True)
class VideoFrame:
    """A frame of a video, counted from 0."""

    video: Video
    number: int

    def __str__(self):
        return f"{self.video.path}, frame {self.number}"


def read_frame(source):
    """An image file or a VideoFrame -> uint8 or uint16 [H, W, 3], OpenCV's channel order.

    Raises BadInput.
    """
    if not isinstance(source, VideoFrame):
        return read_image(source, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
    frame = source.video.read(source.number)
    if frame is None:
        raise BadInput(f"{source} cannot be read: replace the video or give another frame.")
    return frame


def open_video(path):
    """-> cv2.VideoCapture; raises BadInput where the file holds no pictures."""
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)  # it would warn as well
    video = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    cv2.utils.logging.setLogLevel(level)
    if not video.isOpened() or video.get(cv2.CAP_PROP_FRAME_WIDTH) < 1:
        video.release()
        raise BadInput(f"{path} is not a readable video with pictures: replace the file.")
    return video


def list_video_frames(path):
    """{frame number: VideoFrame} of a video, counted by reading it; raises BadInput."""
    video = Video(path)
    while video.step():
        pass
    return {number: VideoFrame(video, number) for number in range(video.number + 1)}


def list_frames(folder):
    """{frame number: path} of the images in a folder, in their numbers' order.

    The number is the one that the file's name ends with, as in img1.png and "img (1).png". Raises
    BadInput where two have the same: they are of several clips.
    """
    files = sorted(
        path
        for path in folder.iterdir()
        if not path.name.startswith(".") and path.suffix.lower() in IMAGES
    )
    numbered = {}
    for path in files:
        if found := re.search(r"(\d+)\)?$", path.stem):
            first = numbered.setdefault(int(found[1]), path)
            if first != path:
                raise BadInput(
                    f"{folder}: {first.name} and {path.name} end with the same number: give each "
                    "clip a folder of its own."
                )
    return dict(sorted(numbered.items()))


def face_box(landmarks, database=None):
    """Landmarks [5, 2] (x, y) of a face -> its square (left, top, side) in pixels.

    The square frames the face as the database's released faces are framed.
    """
    centre, span = FRAMING.get(database, MEAN_FRAMING)
    eyes, lips = landmarks[:2].mean(0), landmarks[3:].mean(0)
    side = (np.linalg.norm(landmarks[1] - landmarks[0]) + np.linalg.norm(lips - eyes)) / span
    left, top = (eyes + lips) / 2 - side * np.array(centre)
    return round(left), round(top), max(round(side), 1)


def crop_face(frame, box, size=FACE_SIZE):
    """Frame [H, W, 3] -> [size, size, 3]; beyond the frame its edge is repeated."""
    left, top, side = box
    height, width = frame.shape[:2]
    border = max(0, -left, -top, left + side - width, top + side - height)
    frame = cv2.copyMakeBorder(frame, border, border, border, border, cv2.BORDER_REPLICATE)
    square = frame[top + border : top + border + side, left + border : left + border + side]
    return cv2.resize(
        square, (size, size), interpolation=cv2.INTER_AREA if side > size else cv2.INTER_CUBIC
    )


def spot_apex(face, count, centres):
    """The frame of strongest mean strain against the onset within the four areas, for clips without
    annotated apex.

    face(i): face crop i of `count` (at least 2), 0 the onset; read only when asked for. A first
    pass sees some ten frames, a second one those between the strongest's neighbours: a
    micro-expression rises and falls once. centres: int [4, 2] from `area_centres`. Returns the apex
    frame's number, 1 to count - 1.
    """
    onset, strengths = face(0), {}

    def strength(i):
        if i not in strengths:
            strain = optical_strain(optical_flow(onset, face(i)))
            strain = cv2.resize(strain, (FLOW_SIZE, FLOW_SIZE), interpolation=cv2.INTER_AREA)
            strengths[i] = crop_areas(strain[..., None], centres).mean()
        return strengths[i]

    step = max(1, (count - 1) // SPOT_FRAMES)
    best = max(range(step, count, step), key=strength)
    return max(range(max(1, best - step + 1), min(count, best + step)), key=strength)
