"""Clips made of the sample's portrait or of any face: what moves in them, when, and how they are
stored.
"""

import struct
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from facial_areas import detect_landmarks
from preparation.synthetic_sample import EXPRESSIONS, enlarge_portrait, make_bumps, warp
from recognition.frames import FrameStream

SIDE = 300  # pixels: of the square frames; the face has 168
# Where a motion begins, is strongest and has gone.
COUNT, ONSET, APEX, BACK = 40, 8, 18, 30
NOISE = 1.5  # grey levels, as in the sample


@dataclass(frozen=True)
class FrameList(FrameStream):
    """Frames in memory, for tests that need no file."""

    frames: list = ()

    def read(self, wanted=lambda number: True, last=None):
        for number, frame in enumerate(self.frames):
            if wanted(number) and (last is None or number <= last):
                yield number, frame


def hold(frames, fps=100):
    frames = list(frames)
    return FrameList(Path("clip"), fps, len(frames), frames)


@lru_cache(maxsize=1)
def portrait():
    """The astronaut, float32 [SIDE, SIDE, 3]."""
    return cv2.resize(enlarge_portrait(), (SIDE, SIDE), interpolation=cv2.INTER_AREA)


def make_grid(face):
    height, width = face.shape[:2]
    return np.meshgrid(np.arange(width, dtype=float), np.arange(height, dtype=float))


def move_expression(face, name, pixels):
    """The field of one of the sample's expressions: [H, W, 2]."""
    points = detect_landmarks(face.clip(0, 255).astype(np.uint8))
    parts = EXPRESSIONS[name]
    return make_bumps(parts, points, make_grid(face), pixels * np.ones((len(parts), 2)))


def move_head(face, shift=(0, 0), degrees=0, scale=1.0):
    """The field of a shift, a rotation in the image and a scale about the image's middle."""
    x, y = (axis - axis.mean() for axis in make_grid(face))
    cos, sin = scale * np.cos(np.radians(degrees)), scale * np.sin(np.radians(degrees))
    return np.dstack([cos * x - sin * y - x + shift[0], sin * x + cos * y - y + shift[1]])


def add_noise(image, rng, noise=NOISE):
    noisy = image + noise * rng.standard_normal(image.shape, dtype=np.float32)
    return np.rint(noisy).clip(0, 255).astype(np.uint8)


def rise_and_fall(number, onset=ONSET, apex=APEX, back=BACK):
    """The share of a motion that a frame shows."""
    return float(np.interp(number, (onset, apex, back), (0, 1, 0)))


def make_frames(field=None, count=COUNT, face=None, noise=NOISE, times=rise_and_fall, seed=0):
    """Yields uint8 frames in which a field comes and goes."""
    face, rng = portrait() if face is None else face, np.random.default_rng(seed)
    grid = make_grid(face)
    for number in range(count):
        share = times(number) if field is not None else 0
        yield add_noise(warp(face, share * field, grid) if share else face, rng, noise)


def write_frames(folder, frames):
    folder.mkdir(parents=True)
    for number, frame in enumerate(frames):
        assert cv2.imwrite(str(folder / f"img{number:04d}.png"), frame)
    return folder


def write_video(path, frames, fps=100, code="mp4v"):
    writer = None
    for frame in frames:
        if writer is None:
            size = frame.shape[1::-1]
            writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*code), fps, size)
            assert writer.isOpened()
        writer.write(frame)
    writer.release()
    return path


def turn_mp4(path, degrees):
    """Writes into an MP4 file that its frames are to be shown turned clockwise: the matrix in the
    track header (ISO 14496-12, 8.3.2), 16.16 fixed point.
    """
    data = bytearray(path.read_bytes())
    start = data.index(b"tkhd") + 4
    version = data[start]
    matrix = start + 4 + (32 if version == 1 else 20) + 16
    one = 1 << 16
    a, b = {90: (0, one), 180: (-one, 0), 270: (0, -one)}[degrees]
    data[matrix : matrix + 20] = struct.pack(">5i", a, b, 0, -b, a)
    path.write_bytes(data)


def vary_frame_rate(path, durations):
    """Writes into an MP4 file how long its frames last: (number of frames, ticks) in turn.

    The time-to-sample table (ISO 14496-12, 8.6.1.2) lies behind the frames, so it may grow.
    """
    data = bytearray(path.read_bytes())
    start = data.rindex(b"stts") - 4
    size = struct.unpack(">I", data[start : start + 4])[0]
    entries = b"".join(struct.pack(">2I", *entry) for entry in durations)
    table = struct.pack(">I4s2I", 16 + len(entries), b"stts", 0, len(durations)) + entries
    for name in (b"moov", b"trak", b"mdia", b"minf", b"stbl"):  # the boxes around it
        box = data.rindex(name) - 4
        grown = struct.unpack(">I", data[box : box + 4])[0] + len(table) - size
        data[box : box + 4] = struct.pack(">I", grown)
    data[start : start + size] = table
    path.write_bytes(data)
    return path
