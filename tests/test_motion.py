"""Motion in pixels, split into the head's and the face's own."""

import numpy as np
import pytest
from made_clips import SIDE, add_noise, make_grid, move_expression, move_head, portrait

from clips import FACE_SIZE, crop_face, face_box
from facial_areas import area_centres, detect_landmarks
from preparation.synthetic_sample import warp
from recognition.motion import (
    EYE_OPENING,
    estimate_noise,
    mask_areas,
    match_light,
    measure_motion,
    stabilize,
)


@pytest.fixture(scope="module")
def face():
    """Landmarks and box of the portrait, the mask and a function frames -> faces."""
    pytest.importorskip("skimage", reason="scikit-image has the portrait")
    landmarks = detect_landmarks(portrait().clip(0, 255).astype(np.uint8))
    box = face_box(landmarks)
    landmarks = (landmarks - box[:2]) * FACE_SIZE / box[2]
    return landmarks, box, mask_areas(landmarks, area_centres(landmarks, (FACE_SIZE, FACE_SIZE)))


def move(face, field, gain=1.0, noise=1.0):
    """The portrait's face before and after a field."""
    rng = np.random.default_rng(0)
    frames = portrait(), warp(portrait(), field, make_grid(portrait())) * gain
    return [crop_face(add_noise(frame, rng, noise), face[1]) for frame in frames]


def test_a_shift_a_rotation_and_a_scale_are_the_heads(face):
    scale = FACE_SIZE / face[1][2]
    onset, later = move(face, move_head(portrait(), (4, -3)))
    motion = measure_motion(onset, later, face[2])
    assert motion.head == pytest.approx(5 * scale, rel=0.03) and motion.face < 0.25
    np.testing.assert_allclose(motion.matrix[:, 2], np.array([4, -3]) * scale, atol=0.3)
    onset, later = move(face, move_head(portrait(), degrees=3, scale=1.02))
    motion = measure_motion(onset, later, face[2])
    assert np.degrees(np.arctan2(motion.matrix[1, 0], motion.matrix[0, 0])) == pytest.approx(
        3, abs=0.2
    )
    assert np.linalg.norm(motion.matrix[:, 0]) == pytest.approx(1.02, abs=0.003)
    rest = measure_motion(onset, stabilize(later, motion.matrix), face[2])
    assert rest.head < 0.1 and rest.face < 0.25


@pytest.mark.parametrize("name", ["positive", "surprise", "negative"])
def test_an_expression_is_the_faces(face, name):
    weak, strong = (
        measure_motion(*move(face, move_expression(portrait(), name, pixels)), face[2])
        for pixels in (0.7, 1.4)
    )
    assert 0.3 < weak.face < strong.face < 2 and strong.head < 0.4 and strong.turn < 0.2
    assert strong.face == pytest.approx(2 * weak.face, rel=0.25)


def test_a_turn_of_the_head_is_told_from_an_expression(face):
    x, y = (2.6 * axis / SIDE - 1.3 for axis in make_grid(portrait()))
    depth = 40 * np.sqrt(np.clip(1 - x**2 - y**2, 0.05, 1))
    motion = measure_motion(*move(face, np.dstack([0.1 * depth, 0 * depth])), face[2])
    assert motion.face > 0.4 and motion.turn > 0.4


def test_a_still_face_shows_little(face):
    motion = measure_motion(*move(face, 0 * move_head(portrait())), face[2])
    assert motion.face < 0.2 and motion.head < 0.05


def test_the_openings_of_the_eyes_do_not_count(face):
    landmarks, _, mask = face
    distance = np.linalg.norm(landmarks[1] - landmarks[0])
    for eye in landmarks[:2]:
        assert not mask[round(eye[1]), round(eye[0])]
        brow = round(eye[1] - 1.3 * EYE_OPENING[1] * distance)
        assert mask[brow, round(eye[0])]
    assert not mask[0, 0] and not mask[-1, -1]  # beside the face
    assert 0.3 < mask.mean() < 0.8


def test_a_change_of_the_light_is_taken_out(face):
    onset, later = move(face, 0 * move_head(portrait()), gain=0.8)
    matched, gain = match_light(onset, later)
    assert gain == pytest.approx(0.8, abs=0.02)
    assert matched.mean() == pytest.approx(onset.mean(), rel=0.01) and matched.dtype == np.uint8


def test_the_noise_of_two_frames_is_estimated(face):
    found = [
        estimate_noise(*move(face, move_head(portrait(), (2, 0)), noise=noise), face[2])
        for noise in (1, 2, 4)
    ]
    assert found[0] < found[1] < found[2] and 1.5 < found[2] / found[1] < 2.2
