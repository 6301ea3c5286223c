"""Onset and apex in clips of any length, in a fixed memory."""

import tracemalloc
from pathlib import Path

import cv2
import numpy as np
import pytest
from made_clips import (
    APEX,
    BACK,
    ONSET,
    SIDE,
    hold,
    make_frames,
    make_grid,
    move_expression,
    move_head,
    portrait,
    rise_and_fall,
    write_video,
)

from facial_areas import detect_faces
from preparation.synthetic_sample import warp
from recognition import spotting
from recognition.frames import FrameStream, open_clip
from recognition.spotting import FaceTracker, spot

pytest.importorskip("skimage", reason="scikit-image has the portrait")


@pytest.mark.parametrize("name", ["positive", "surprise", "negative"])
def test_onset_and_apex_are_found(name):
    found, count = spot(hold(make_frames(move_expression(portrait(), name, 2))))
    assert abs(found.onset - ONSET) <= 3 and abs(found.apex - APEX) <= 2 and count == 40
    curve = dict(zip(found.numbers, found.curve))
    assert curve[found.onset] == 0 and curve[found.apex] > 0.8 * max(found.curve)
    assert max(curve[number] for number in range(BACK + 2, 40)) < 0.5 * curve[found.apex]


def test_a_clip_that_ends_at_its_apex_is_spotted():
    field = move_expression(portrait(), "positive", 2)
    found, _ = spot(hold(make_frames(field, count=APEX + 1)))
    assert abs(found.onset - ONSET) <= 3 and APEX - found.apex <= 2


def test_only_the_frames_asked_for_are_searched():
    frames = list(make_frames(move_expression(portrait(), "surprise", 2), 24))
    weak = list(make_frames(move_expression(portrait(), "surprise", 1), 24))
    found, count = spot(hold([*frames, *weak]), first=26, last=45)
    assert count == 20 and abs(found.apex - 24 - APEX) <= 2 and found.onset >= 26


def test_ten_frames_are_enough():
    times = lambda number: rise_and_fall(number, 1, 5, 9)  # noqa: E731
    stream = hold(make_frames(move_expression(portrait(), "surprise", 2), 10, times=times), fps=30)
    found, count = spot(stream)
    assert (count, found.apex) == (10, 5) and found.onset <= 2


def test_a_head_that_drifts_does_not_hide_the_face():
    smile, drift = move_expression(portrait(), "positive", 2), move_head(portrait(), (6, 3))
    grid = make_grid(portrait())

    def frames():
        for number in range(40):
            field = rise_and_fall(number) * smile + number / 40 * drift
            yield warp(portrait(), field, grid).clip(0, 255).astype(np.uint8)

    found, _ = spot(hold(frames()))
    assert abs(found.apex - APEX) <= 2


def test_a_blink_alone_moves_less_than_a_brow():
    blink = np.zeros((*portrait().shape[:2], 2))
    x, y = make_grid(portrait())
    for eye in ((110, 116), (194, 120)):
        width = np.exp(-(((x - eye[0]) / 12) ** 2) - ((y - eye[1]) / 4) ** 2)
        blink[..., 1] += 4 * width
    lifted = move_expression(portrait(), "surprise", 2)
    grid = make_grid(portrait())

    def frames():  # a blink, and later the brows
        for number in range(120):
            field = rise_and_fall(number) * blink + rise_and_fall(number - 70) * lifted
            yield warp(portrait(), field, grid).clip(0, 255).astype(np.uint8)

    found, _ = spot(hold(frames()))
    assert abs(found.apex - 70 - APEX) <= 2


def test_a_key_frame_without_a_face_leaves_the_places_as_they_are(monkeypatch):
    """Where a new key frame shows no face, the old one goes on and its motion counts once."""
    frames = list(make_frames(move_expression(portrait(), "positive", 2), ONSET + 8))
    steady = FaceTracker(key_frames=100)
    expected = [steady.follow(frame) for frame in frames]
    looks = []

    def find_once(*arguments):
        looks.append(arguments)
        return detect_faces(*arguments) if len(looks) == 1 else []

    monkeypatch.setattr(spotting, "detect_faces", find_once)
    tracker = FaceTracker(key_frames=5)
    np.testing.assert_allclose([tracker.follow(frame) for frame in frames], expected, atol=1e-5)
    assert len(looks) == 4


def test_a_face_that_only_another_setting_finds_is_not_lost(monkeypatch):
    """A tight crop, after a dark frame and again after a cut."""
    tried = []

    def find(frame, settings):
        tried.append(settings[0])
        found = frame.max() > 0 and settings[0] == spotting.DETECTIONS[3]
        return detect_faces(frame) if found else []

    monkeypatch.setattr(spotting, "detect_faces", find)
    face, dark = next(make_frames(None)), np.zeros((SIDE, SIDE, 3), np.uint8)
    tracker = FaceTracker(key_frames=100)
    assert [tracker.find_face(frame) for frame in (dark, face, dark, face)] == [0, 1, 0, 1]
    assert tried[-1] == spotting.DETECTIONS[3]  # first, since it found the face before
    empty = FaceTracker(key_frames=100)
    looks = [len(empty.choose_settings()) for _ in range(7) if not empty.find_face(dark)]
    assert looks == [5, 1, 1, 1, 5, 1, 1]


def test_without_a_face_there_is_nothing():
    assert spot(hold(np.full((20, 120, 160, 3), 128, np.uint8))) == (None, 20)


def test_somebody_who_comes_late_is_found():
    frames = [np.full((*portrait().shape,), 90, np.uint8)] * 70
    frames += make_frames(move_expression(portrait(), "surprise", 2), 80,
                          times=lambda number: rise_and_fall(number - 35))  # fmt: skip
    found, count = spot(hold(frames))
    assert count == 150 and abs(found.apex - 70 - 35 - APEX) <= 2


def test_a_short_clip_whose_face_comes_after_a_dark_frame_is_searched():
    dark = [np.zeros((*portrait().shape,), np.uint8)] * 2
    lifted = list(make_frames(move_expression(portrait(), "surprise", 2)))
    found, count = spot(hold(dark + lifted))
    assert count == 42 and abs(found.apex - 2 - APEX) <= 2
    found, _ = spot(hold(lifted[:3] + dark + lifted))  # and so after a cut
    assert abs(found.apex - 5 - APEX) <= 2 and 5 <= found.onset <= 5 + ONSET + 3


def test_cuts_and_empty_pictures_are_no_motion():
    lifted = list(make_frames(move_expression(portrait(), "surprise", 2)))
    other = [frame // 2 for frame in make_frames(None, 20, face=portrait()[:, ::-1].copy())]
    empty = [np.zeros_like(other[0])] * 20
    found, _ = spot(hold(other + empty + lifted + empty))
    assert abs(found.apex - 40 - APEX) <= 2 and found.onset >= 40


def make_long_video(path, count):
    """The face is still but for one smile, a third of the way on."""
    side = 150
    small = cv2.resize(portrait(), (side, side), interpolation=cv2.INTER_AREA)
    smile = move_expression(small, "positive", 1.5)
    start = count // 3
    moved = list(make_frames(smile, 400, small, times=lambda n: rise_and_fall(n, 0, 180, 400)))
    still = list(make_frames(None, 7, small))
    frames = (
        moved[number - start] if start <= number < start + 400 else still[number % 7]
        for number in range(count)
    )
    return write_video(path, frames, code="MJPG")


def test_ten_thousand_frames_take_no_more_memory_than_fifteen_hundred(tmp_path):
    peaks = []
    for count in (1500, 10_000):
        stream = open_clip(make_long_video(tmp_path / f"{count}.avi", count), fps=2000)
        tracemalloc.start()
        found, read = spot(stream)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert read == count
        assert abs(found.apex - count // 3 - 180) <= 60 and found.onset >= count // 3 - 60
        assert len(found.numbers) < 200
    assert peaks[1] < peaks[0] + 1e6  # bytes; the frames, shrunk, would be 300 million


def test_a_stream_is_read_once_and_not_kept():
    """Frames are made as they are asked for: none is asked for twice."""
    given = []

    class Once(FrameStream):
        def read(self, wanted=lambda number: True, last=None):
            for number, frame in enumerate(make_frames(None, 20)):
                if wanted(number):
                    given.append(number)
                    yield number, frame

    spot(Once(Path("once"), 100, 20))
    assert given == list(range(20))
