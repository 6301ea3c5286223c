"""What a clip shows, and when there is no answer."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from made_clips import (
    APEX,
    ONSET,
    SIDE,
    add_noise,
    hold,
    make_frames,
    make_grid,
    move_expression,
    move_head,
    portrait,
    write_video,
)

from composite_dataset import load_composite
from facial_areas import Face, detect_landmarks
from preparation.synthetic_sample import make_bumps, warp
from recognition import clip as recognition
from recognition.clip import COLUMNS, Evidence, Recognition, recognize
from recognition.frames import open_clip
from recognition.motion import Motion
from support.files import BadInput, read_image

pytest.importorskip("skimage", reason="scikit-image has the portrait")


def expect_no_label(row):
    empty = ("label", "p_negative", "agreement", "contribution_left_eye")
    assert all(row[name] is None for name in empty) and row["warning"]


@pytest.mark.parametrize(
    "name, label", [("positive", "positive"), ("surprise", "surprise"), ("negative", "negative")]
)
def test_lip_corners_and_brows_are_recognized(ensemble, name, label):
    stream = hold(make_frames(move_expression(portrait(), name, 2.5)))
    result = recognize(stream, ensemble, explain=True)
    row = result.row
    assert (row["status"], row["label"], row["frames_from"]) == ("ok", label, "spotted")
    assert tuple(row) == COLUMNS and row["warning"] == ""
    assert row["motion"] > 2 * row["noise_floor"] and row["head_motion"] < 0.5
    chances = [row[f"p_{name}"] for name in ensemble.classes]
    assert sum(chances) == pytest.approx(1) and max(chances) == row[f"p_{label}"]
    assert 0.5 < row["agreement"] <= 1
    assert row["apex_time"] == pytest.approx(row["apex"] / 100)
    inputs = ensemble.make_inputs(result.evidence.flow[None], result.evidence.centres[None])
    gained = ensemble(inputs)[0] - ensemble(ensemble.baseline[None])[0]
    contributions = [row[key] for key in COLUMNS if key.startswith("contribution_")]
    gained = gained[ensemble.classes.index(label)].item()
    assert sum(contributions) == pytest.approx(gained, abs=1e-5)
    assert result.evidence.patches.sum() == pytest.approx(gained, abs=0.02)


def test_a_still_face_has_no_label(ensemble):
    row = recognize(hold(make_frames(None)), ensemble).row
    assert row["status"] == "no_motion" and row["motion"] <= row["noise_floor"]
    expect_no_label(row)


def test_a_still_face_has_no_label_in_a_compressed_video(ensemble, tmp_path):
    video = write_video(tmp_path / "still.mp4", make_frames(None, 60))
    row = recognize(open_clip(video), ensemble).row
    assert row["status"] == "no_motion"
    expect_no_label(row)


def test_identical_frames_have_no_label(ensemble):
    frame = next(make_frames(None))
    for given in ({}, {"onset": 0, "apex": 3}):
        row = recognize(hold([frame] * 5), ensemble, **given).row
        assert (row["status"], row["motion"]) == ("no_motion", 0)
        expect_no_label(row)


@pytest.mark.parametrize("shift, degrees, scale", [((5, 3), 0, 1), ((0, 0), 3, 1.02)])
def test_a_head_that_moves_as_a_whole_has_no_label(ensemble, shift, degrees, scale):
    field = move_head(portrait(), shift, degrees, scale)
    row = recognize(hold(make_frames(field)), ensemble).row
    assert row["status"] == "head_moved" and row["head_motion"] > 1
    expect_no_label(row)


def test_a_head_that_moves_far_is_refused(ensemble):
    field = move_head(portrait(), (20, 5)) + move_expression(portrait(), "positive", 2)
    row = recognize(hold(make_frames(field)), ensemble, onset=ONSET, apex=APEX).row
    assert row["status"] == "head_moved" and row["head_motion"] > 15
    assert "more than 15" in row["warning"]


def test_a_moderate_motion_of_the_head_is_taken_out(ensemble):
    smile, shift = move_expression(portrait(), "positive", 2.5), move_head(portrait(), (4, 2))
    still, moved = (
        recognize(hold(make_frames(field)), ensemble, onset=ONSET, apex=APEX)
        for field in (smile, smile + shift)
    )
    assert moved.row["status"] == "ok" and moved.row["label"] == "positive"
    assert moved.row["motion"] == pytest.approx(still.row["motion"], rel=0.25)
    assert "head moves by" in moved.row["warning"] and moved.row["head_motion"] > 4
    difference = np.abs(moved.evidence.apex.astype(int) - still.evidence.apex)[40:-40, 40:-40]
    assert difference.mean() < 4


def test_a_face_aside_and_guessed_landmarks_are_said():
    """The nose a quarter of the eyes' distance aside; landmarks that differ between squares."""
    ahead = np.array([[100.0, 100], [200, 100], [150, 150], [115, 210], [185, 210]])
    aside = ahead + np.array([0, 0, 1, 0, 0])[:, None] * (25, 0)
    said = []
    for points, spread in ((ahead, 0.01), (aside, 0.01), (ahead, 0.07)):
        result = Recognition(dict.fromkeys(COLUMNS))
        recognition.describe_face(result, [Face(points, 1.0, 150.0, spread)])
        said.append(result.row["warning"])
    assert said[0] is None and "the nose lies 0.25 of the eyes' distance aside" in said[1]
    assert "landmarks are uncertain, by 0.07 of the eyes' distance" in said[2]


@pytest.mark.parametrize(
    "turn, status, words",
    [
        (0.2, None, ""),
        (0.3, None, "The head turns a little: 30% of the motion goes with it."),
        (0.5, "head_moved", "The head turns: 50% of the motion goes with it."),
    ],
)
def test_a_head_that_turns_is_said_and_then_refused(monkeypatch, turn, status, words):
    face = np.zeros((8, 8, 3), np.uint8)
    motion = Motion(2.0, 0.1, turn, None)
    monkeypatch.setattr(recognition, "remove_head", lambda onset, frame, mask: (motion, frame, 1))
    monkeypatch.setattr(recognition, "estimate_noise", lambda *_: 1.0)
    row = dict.fromkeys(COLUMNS) | {"onset": 0, "apex": 1, "warning": ""}
    result = Recognition(row, Evidence(face))
    recognition.align(result, {0: face, 1: face}, None)
    assert (row["status"], row["warning"]) == (status, words)


def test_a_video_that_ends_too_early_is_said(ensemble):
    stream = replace(hold(np.full((5, 90, 90, 3), 99, np.uint8)), count=100)
    assert "Only 5 of 100 frames could be read." in recognize(stream, ensemble).row["warning"]


def test_two_faces_are_said_and_the_larger_is_taken(ensemble):
    small = cv2.resize(portrait(), (220, 220), interpolation=cv2.INTER_AREA)
    pad = cv2.copyMakeBorder(small, 0, SIDE - 220, 0, 0, cv2.BORDER_REPLICATE)
    both = np.concatenate([pad, portrait()], axis=1)
    field = np.zeros((*both.shape[:2], 2))
    field[:, 220:] = move_expression(portrait(), "positive", 2.5)
    row = recognize(hold(make_frames(field, face=both)), ensemble).row
    assert (row["status"], row["label"], row["faces"]) == ("ok", "positive", 2)
    assert row["face_left"] > 220 and "2 faces" in row["warning"]


def test_no_face_and_no_second_frame_are_said(ensemble):
    row = recognize(hold(np.full((5, 90, 90, 3), 99, np.uint8)), ensemble).row
    assert (row["status"], row["frames"]) == ("no_face", 5)
    expect_no_label(row)
    row = recognize(hold(make_frames(None, 1)), ensemble).row
    assert row["status"] == "too_short"
    blank = [np.full((90, 90, 3), 99, np.uint8)] * 3
    assert recognize(hold(blank), ensemble, onset=0, apex=2).row["status"] == "no_face"


def test_times_are_judged(ensemble):
    frames = list(make_frames(move_expression(portrait(), "surprise", 2.5)))
    row = recognize(hold(frames, 30), ensemble, onset=0, apex=APEX).row
    assert row["status"] == "ok" and row["frames_from"] == "given"
    assert "30 frames per second are below 50" in row["warning"]
    assert "0.60 s from onset to apex" in row["warning"]
    row = recognize(hold(frames, None), ensemble, onset=ONSET, apex=APEX).row
    assert row["onset_time"] is None and "frame rate is unknown" in row["warning"]


def test_another_face_or_none_at_the_apex_has_no_label(ensemble):
    first = next(make_frames(None))
    other = np.ascontiguousarray(first[:, ::-1] // 2)
    for last in (other, np.zeros_like(first)):
        row = recognize(hold([first, first, last, last]), ensemble, onset=1, apex=2).row
        assert row["status"] == "other_face"
        expect_no_label(row)


def test_a_frame_that_is_not_there_is_bad_input(ensemble):
    with pytest.raises(BadInput, match="no frame 50, the apex"):
        recognize(hold(make_frames(None, 5)), ensemble, onset=0, apex=50)


def test_sixteen_bits_and_lamps_change_nothing(ensemble):
    frames = list(make_frames(move_expression(portrait(), "positive", 2.5)))
    plain = recognize(hold(frames), ensemble, onset=ONSET, apex=APEX).row
    for times in (16, 256):  # 12 bits and 16
        deep = [frame.astype(np.uint16) * times for frame in frames]
        row = recognize(hold(deep), ensemble, onset=ONSET, apex=APEX).row
        assert row == plain
        pair = [recognize(hold([film[ONSET], film[APEX]]), ensemble, onset=0, apex=1).row
                for film in (frames, deep)]  # fmt: skip
        assert pair[0]["status"] == "ok" and pair[0]["noise_floor"] == pair[1]["noise_floor"]
    darker = [np.rint(frame * (0.85 if n > 12 else 1)).astype(np.uint8)
              for n, frame in enumerate(frames)]  # fmt: skip
    row = recognize(hold(darker), ensemble, onset=ONSET, apex=APEX).row
    assert row["label"] == "positive" and "light changes by 15%" in row["warning"]


# Of real faces, moved in ways that no threshold was set by.


@pytest.fixture(scope="module")
def real_faces(real_datasets):
    """A face of each database, with room around, and its landmarks."""
    composite, faces = load_composite(real_datasets), []
    for database in ("casme2", "smic", "samm"):
        i = np.flatnonzero(composite.databases == database)[95]
        face = read_image(composite.faces[i], cv2.IMREAD_COLOR).astype(np.float32)
        face = cv2.copyMakeBorder(face, 30, 30, 40, 40, cv2.BORDER_REPLICATE)
        faces.append((face, detect_landmarks(face.astype(np.uint8))))
    return faces


@pytest.fixture
def judge(ensemble, monkeypatch):
    """judge(face, field, change) -> statuses of two images alone, and of the same as a clip that
    rises for eight frames. Whether there is an answer, not which.
    """
    monkeypatch.setattr(recognition, "answer", lambda result, *_: result.row.update(status="ok"))

    def run(face, field, change=lambda image: image):
        rng, grid = np.random.default_rng(3), make_grid(face)
        shares = np.interp(np.arange(16), (4, 12), (0, 1))
        frames = [
            add_noise(change(warp(face, s * field, grid)) if s else face, rng, 1.2) for s in shares
        ]
        pair = recognize(hold([frames[0], frames[-1]], None), ensemble, onset=0, apex=1)
        clip = recognize(hold(frames), ensemble, onset=4, apex=12)
        return pair.row["status"], clip.row["status"]

    return run


def test_held_out_motions_of_real_faces_are_seen(judge, real_faces):
    parts = {
        "nose wrinkled": [("eye", (0.25, 0.35), (0.2, 0.2), (0.3, -1.0))],
        "chin raised": [("lip", (0.25, 0.35), (0.25, 0.15), (0.0, -1.0))],
        "lips pressed": [("lip", (0.25, 0.10), (0.25, 0.08), (0.0, -1.0))],
        "cheeks puffed": [("lip", (-0.15, -0.15), (0.2, 0.2), (-1.0, 0.0))],
    }
    seen = [
        (name, *judge(face, make_bumps(part, points, make_grid(face), np.array([[2.5, 2.0]]))))
        for face, points in real_faces
        for name, part in parts.items()
    ]
    assert all(statuses == ["ok", "ok"] for _, *statuses in seen), seen


def test_held_out_motions_that_are_no_expression_are_not_answered(judge, real_faces):
    found = []
    for face, _ in real_faces:
        x, y = (axis / axis.max() - 0.5 for axis in make_grid(face))
        depth = np.sqrt(1 - 2 * x**2 - 2 * y**2)
        fields = {
            "aside": np.dstack([0 * x + 3, 3 + 0 * y]),
            "nearer": np.dstack([12 * x, 12 * y]),
            "nodding": np.dstack([0 * x, 6 * depth]),
            "turning and tilting": np.dstack([5 * depth - 4 * y, 2 * depth + 4 * x]),
        }
        found += [(name, *judge(face, field)) for name, field in fields.items()]
        still = 1e-6 * fields["aside"]
        found.append(("darker", *judge(face, still, lambda image: 0.9 * image)))
        blur = lambda image: cv2.GaussianBlur(image, (0, 0), 0.7)  # noqa: E731
        found.append(("blurred", *judge(face, still, blur)))
    answered = [name for name, *statuses in found if "ok" in statuses]
    assert not answered, found
