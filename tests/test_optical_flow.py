"""Optical flow, strain, the flow image, the face crop and apex spotting."""

import cv2
import numpy as np
import pytest
from conftest import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from benchmarks.flow_accuracy import make_fields
from clips import (
    FACE_SIZE,
    FRAMING,
    MEAN_FRAMING,
    crop_face,
    face_box,
    read_frame,
    spot_apex,
)
from composite_dataset import load_composite
from facial_areas import MEAN_CENTRES, detect_landmarks
from optical_flow import METHODS, flow_image, optical_flow, optical_strain, to_8bit
from support.files import BadInput

GRID = np.meshgrid(np.arange(FACE_SIZE, dtype=np.float32), np.arange(FACE_SIZE, dtype=np.float32))


@pytest.fixture(scope="module")
def face():
    return read_frame(
        next((ROOT / "datasets" / "sample" / "combined_datasets_whole").glob("s01_*.jpg"))
    )


def move(image, flow):
    """The frame before `image` such that its flow to `image` is exactly `flow`."""
    x, y = (axis + flow[..., i].astype(np.float32) for i, axis in enumerate(GRID))
    return cv2.remap(image, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("u, v", [(2, 0), (-2, 0), (0, 2), (0, -2), (0.5, -0.3)])
def test_a_shift_gives_constant_flow_with_the_right_sign_and_next_to_no_strain(face, method, u, v):
    flow = optical_flow(move(face, np.full((FACE_SIZE, FACE_SIZE, 2), (u, v))), face, method)
    assert flow.dtype == np.float32 and flow.shape == (FACE_SIZE, FACE_SIZE, 2)
    np.testing.assert_allclose(np.median(flow, (0, 1)), (u, v), atol=0.12)
    assert np.median(optical_strain(flow)) < 0.025


@pytest.mark.parametrize("index", [1, 2], ids=["stretch", "expression"])
def test_smooth_motion_is_measured_to_a_tenth_of_a_pixel(face, index):
    name, truth, strain = list(make_fields(2.0))[index]
    flow = optical_flow(move(face, truth), face)
    assert np.median(np.linalg.norm(flow - truth, axis=-1)) < 0.1
    assert np.median(np.abs(optical_strain(flow) - strain)) < 0.02
    if name == "expression":
        shrunk = [
            cv2.resize(image, (28, 28), interpolation=cv2.INTER_AREA)
            for image in (optical_strain(flow), strain)
        ]
        assert np.corrcoef(shrunk[0].ravel(), shrunk[1].ravel())[0, 1] > 0.8


def test_the_benchmarks_strain_is_that_of_its_fields():
    for name, flow, strain in make_fields(1.5):
        np.testing.assert_allclose(
            optical_strain(flow)[1:-1, 1:-1], strain[1:-1, 1:-1], atol=2e-4, err_msg=name
        )


@given(hnp.arrays(float, (2, 3), elements=st.floats(-3, 3)))
def test_strain_of_an_affine_field_is_its_formula(matrix):
    y, x = np.mgrid[:9, :7].astype(float)
    flow = np.stack([x, y, np.ones_like(x)], -1) @ matrix.T
    (u_x, u_y, _), (v_x, v_y, _) = matrix
    np.testing.assert_allclose(
        optical_strain(flow), np.sqrt(u_x**2 + v_y**2 + (u_y + v_x) ** 2 / 2), atol=1e-9
    )


def test_rotation_has_no_strain_and_its_opposite_shear_has():
    y, x = np.mgrid[:9, :9].astype(float)
    assert np.abs(optical_strain(np.dstack([-y, x]))).max() < 1e-12
    assert optical_strain(np.dstack([y, x])).min() > 1


@pytest.mark.parametrize("method", METHODS)
def test_identical_frames_give_a_black_image(face, method):
    with np.errstate(all="raise"):
        image = flow_image(face, face.copy(), method)
    assert image.dtype == np.uint8 and image.shape == (28, 28, 3) and not image.any()


@settings(max_examples=10)
@given(
    st.integers(0, 2**32 - 1), st.integers(30, 70), st.integers(30, 70), st.sampled_from(METHODS)
)
def test_every_channel_of_a_flow_image_spans_0_to_255(seed, height, width, method):
    rng = np.random.default_rng(seed)
    noise = rng.integers(0, 256, (height, width, 2)).astype(np.uint8)
    onset, apex = cv2.GaussianBlur(noise, (0, 0), 2).transpose(2, 0, 1)
    image = flow_image(onset, apex, method)
    assert image.shape == (28, 28, 3) and image.dtype == np.uint8
    assert (image.min((0, 1)) == 0).all() and (image.max((0, 1)) == 255).all()


def test_channels_are_strain_v_u(face):
    x, y = GRID
    bump = np.exp(-((x - 60) ** 2 + (y - 60) ** 2) / (2 * 20**2))
    up = flow_image(move(face, np.dstack([0 * bump, -2 * bump])), face).astype(int)
    right = flow_image(move(face, np.dstack([2 * bump, 0 * bump])), face).astype(int)
    assert up[6:9, 6:9, 1].mean() < np.median(up[..., 1]) - 80  # v < 0 is up, so dark
    # u > 0 is to the right, so bright
    assert right[6:9, 6:9, 2].mean() > np.median(right[..., 2]) + 80
    for image in (up, right):  # the strain is on the bump's flanks, and so low far from it
        assert image[3:12, 3:12, 0].mean() > 3 * image[16:, 16:, 0].mean()


def test_the_border_does_not_outdo_the_face(face):
    """OpenCV's TV-L1 alone puts the strongest strain of nearly every pair of noisy frames on the
    outermost pixels.
    """
    flow, rng = list(make_fields(2.0))[2][1], np.random.default_rng(0)
    onset, apex = (
        np.clip(frame + rng.normal(0, 2, frame.shape), 0, 255).astype(np.uint8)
        for frame in (move(face, flow + (1.3, -0.7)), face)
    )
    strain = flow_image(onset, apex)[..., 0]
    assert strain[1:-1, 1:-1].max() == 255


def test_grey_colour_alpha_and_depth_give_the_same_flow(face):
    onset = move(face, list(make_fields(1.0))[2][1])
    grey = [cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY) for frame in (onset, face)]
    grey[0][0, 0] = 255  # so that all 16 bits are seen to be in use
    expected = optical_flow(*grey)
    as_colour = [cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR) for frame in grey]
    # 8 bits in a 16-bit file
    for frames in (
        as_colour,
        [frame[..., None] for frame in grey],
        [cv2.cvtColor(frame, cv2.COLOR_BGR2BGRA) for frame in as_colour],
        [frame.astype(np.uint16) * 257 for frame in grey],  # 16 bits in use
        # 12 bits, as machine-vision cameras store them
        [frame.astype(np.uint16) * 16 for frame in grey],
        [frame.astype(np.uint16) for frame in grey],
    ):
        np.testing.assert_allclose(optical_flow(*frames), expected, atol=1e-4)


@given(st.lists(hnp.arrays(np.uint16, (3, 4)), min_size=1, max_size=3))
def test_to_8bit_scales_all_frames_alike_and_uses_the_range(frames):
    scaled = to_8bit(*frames)
    assert all(frame.dtype == np.uint8 for frame in scaled)
    peak = max(frame.max() for frame in frames)
    assert max(frame.max() for frame in scaled) >= min(peak, 128)
    before, after = np.stack(frames).ravel(), np.stack(scaled).ravel().astype(int)
    assert (np.diff(after[np.argsort(before, kind="stable")]) >= 0).all()


@pytest.mark.parametrize(
    "onset, apex, says",
    [
        (np.zeros((32, 32)), np.zeros((32, 32)), "not float64"),
        (np.zeros((32, 32), np.uint8), np.zeros((32, 40), np.uint8), "differ in size"),
        (np.zeros((32, 32, 2), np.uint8), np.zeros((32, 32, 2), np.uint8), "grey or colour"),
        (np.zeros((0, 0), np.uint8), np.zeros((0, 0), np.uint8), "at least 8x8"),
        (np.zeros(32, np.uint8), np.zeros(32, np.uint8), "grey or colour"),
    ],
)
def test_frames_that_are_none_are_refused(onset, apex, says):
    for method in METHODS:
        for compute in (optical_flow, flow_image):
            with pytest.raises(BadInput, match=says):
                compute(onset, apex, method)


def test_frames_too_small_for_dis_are_refused():
    frames = np.random.default_rng(0).integers(0, 255, (2, 16, 16), dtype=np.uint8)
    assert optical_flow(*frames, "dis").shape == (16, 16, 2)
    with pytest.raises(BadInput, match="'dis' needs frames of at least"):
        optical_flow(*frames[:, 1:], "dis")


def test_unknown_method_is_refused():
    with pytest.raises(BadInput, match="'lucas' is none of tvl1, dis, farneback"):
        optical_flow(np.zeros((32, 32), np.uint8), np.zeros((32, 32), np.uint8), "lucas")


def test_plain_opencv_is_named(monkeypatch):
    monkeypatch.delattr(cv2, "optflow")
    with pytest.raises(BadInput, match="opencv-contrib-python-headless"):
        optical_flow(np.zeros((32, 32), np.uint8), np.zeros((32, 32), np.uint8))


# the face crop


@given(
    st.floats(20, 300),
    st.floats(-50, 500),
    st.floats(-50, 500),
    st.sampled_from([*FRAMING, "casme3", "own", None]),
)
def test_face_box_puts_the_landmarks_where_the_released_faces_have_them(span, x, y, database):
    centre, share = FRAMING.get(database, MEAN_FRAMING)
    # spans 0.5 + 0.4
    unit = np.array([[-0.25, -0.2], [0.25, -0.2], [0, 0], [-0.2, 0.2], [0.2, 0.2]])
    left, top, side = face_box(unit * span + (x, y), database)
    assert abs(side - 0.9 * span / share) <= 0.5
    np.testing.assert_allclose((np.array((x, y)) - (left, top)) / side, centre, atol=1.01 / side)


@given(
    st.integers(-60, 60), st.integers(-60, 60), st.integers(1, 120), st.sampled_from([28, 112, 224])
)
def test_crop_face_works_beyond_the_frame_and_keeps_the_depth(left, top, side, size):
    frame = np.full((50, 40, 3), 4095, np.uint16)
    crop = crop_face(frame, (left, top, side), size)
    assert crop.shape == (size, size, 3) and crop.dtype == np.uint16 and (crop == 4095).all()


def test_crop_face_takes_the_box():
    frame = np.random.default_rng(0).integers(0, 256, (300, 300, 3), dtype=np.uint8)
    np.testing.assert_array_equal(crop_face(frame, (30, 40, 224)), frame[40:264, 30:254])


@pytest.mark.parametrize("database", FRAMING)
def test_real_faces_are_framed_as_they_are(real_datasets, database):
    """By database: SAMM's faces are framed more loosely, which a mean over all would hide."""
    composite = load_composite(real_datasets)
    of_database = np.flatnonzero(composite.databases == database)[::6]
    landmarks = [detect_landmarks(read_frame(composite.faces[i])) for i in of_database]
    boxes = np.array([face_box(points, database) for points in landmarks])
    np.testing.assert_allclose(boxes.mean(0), (0, 0, 224), atol=4)
    others = np.array([face_box(points, "samm") for points in landmarks]).mean(0)
    assert database == "samm" or np.abs(others - (0, 0, 224)).max() > 12


# apex spotting


@pytest.mark.parametrize("count, peak", [(2, 1), (12, 11), (35, 14)])
def test_spot_apex_finds_the_strongest_frame_from_few(face, count, peak):
    x, y = GRID
    brows = np.exp(-(((x - 112) / 60) ** 2) - ((y - 60) / 15) ** 2)
    seen = set()

    def frame(i):
        seen.add(i)
        strength = 3 * max(0, 1 - abs(i - peak) / (0.6 * count)) if i else 0
        return cv2.resize(move(face, np.dstack([0 * brows, strength * brows])), (112, 112))

    apex = spot_apex(frame, count, MEAN_CENTRES)
    assert apex != 0 and abs(apex - peak) <= count // 12
    assert max(seen) < count and len(seen) <= 1 + min(count, 17)
