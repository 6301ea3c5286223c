"""Landmarks, centres, mosaics, and the file of centres."""

import cv2
import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st

from composite_dataset import load_composite
from facial_areas import (
    MEAN_CENTRES,
    append_centres,
    area_centres,
    crop_areas,
    detect_landmarks,
    find_centres,
    read_centres,
)
from pictures import draw_areas
from support.files import BadInput

RELEASED = ROOT.parent / "shared" / "data" / "released_area_centres.csv"


def test_centres_are_row_col_truncated_and_clamped():
    landmarks = [(80, 100), (160, 90), (120, 130), (87, 180), (223, 0)]
    assert area_centres(landmarks, (224, 224)).tolist() == [[12, 10], [11, 20], [21, 10], [7, 21]]
    assert area_centres(landmarks, (448, 224)).tolist() == [[7, 10], [7, 20], [11, 10], [7, 21]]


@given(
    st.lists(st.tuples(st.floats(-1e4, 1e4), st.floats(-1e4, 1e4)), min_size=5, max_size=5),
    st.tuples(st.integers(1, 4000), st.integers(1, 4000)),
    st.integers(0, 2**31),
)
def test_any_landmarks_give_a_mosaic_of_four_crops(landmarks, size, seed):
    centres = area_centres(landmarks, size)
    assert centres.shape == (4, 2) and centres.min() >= 7 and centres.max() <= 21
    flow = np.random.default_rng(seed).integers(0, 256, (28, 28, 3)).astype(np.uint8)
    mosaic = crop_areas(flow, centres)
    assert mosaic.shape == flow.shape and mosaic.dtype == flow.dtype
    # left eye, right eye, left lip, right lip: (row, col) in the mosaic
    places = [
        (0, 0),
        (14, 0),
        (0, 14),
        (14, 14),
    ]
    for (row, col), (top, left) in zip(centres, places):
        np.testing.assert_array_equal(
            mosaic[top : top + 14, left : left + 14], flow[row - 7 : row + 7, col - 7 : col + 7]
        )


@pytest.mark.parametrize("centres", [np.full((4, 2), 6), np.full((4, 2), 22), np.full((3, 2), 10)])
def test_centres_that_do_not_fit_are_refused(centres):
    with pytest.raises(BadInput, match="7 to 21"):
        crop_areas(np.zeros((28, 28, 3)), centres)


def test_landmarks_must_be_finite():
    with pytest.raises(BadInput, match="finite"):
        area_centres(np.full((5, 2), np.nan), (224, 224))


def test_no_face():
    assert detect_landmarks(np.full((224, 224, 3), 127, np.uint8)) is None


def test_without_faces_the_mean_centres_serve_under_a_banner(tiny):
    lines = []
    centres, found = find_centres(load_composite(tiny), tiny / "facial_areas.csv", lines.append)
    assert (centres == MEAN_CENTRES).all() and "No faces" in lines[0]
    append_centres(tiny / "facial_areas.csv", found, lines.append)
    assert not (tiny / "facial_areas.csv").exists() and len(lines) == 1


def test_faces_that_are_not_found_are_named_and_not_looked_for_again(tiny):
    composite = load_composite(tiny)
    face = tiny / "blank.jpg"
    cv2.imwrite(str(face), np.full((224, 224, 3), 127, np.uint8))
    composite.faces[0] = composite.faces[1] = face
    lines = []
    centres, found = find_centres(composite, tiny / "facial_areas.csv", lines.append)
    assert not (tiny / "facial_areas.csv").exists()
    append_centres(tiny / "facial_areas.csv", found, lines.append)
    assert (centres == MEAN_CENTRES).all()
    assert any("No face found by dlib" in line and composite.names[0] in line for line in lines)
    assert any("No face image" in line and composite.names[2] in line for line in lines)
    table = pd.read_csv(tiny / "facial_areas.csv")
    assert table["name"].tolist() == composite.names[:2].tolist() and set(table["source"]) == {
        "mean"
    }
    append_centres(tiny / "facial_areas.csv", found)  # a second time: no name twice
    assert pd.read_csv(tiny / "facial_areas.csv").equals(table)
    face.unlink()  # would now be an error if it were read again
    again, found = find_centres(composite, tiny / "facial_areas.csv", lines.append)
    assert (again == centres).all() and found.empty


@pytest.mark.parametrize(
    "text, words",
    [
        ("name\nx", "left_eye_row"),
        ("", "CSV"),
        (
            "name,left_eye_row,left_eye_col,right_eye_row,right_eye_col,left_lip_row,left_lip_col,right_lip_row,right_lip_col\n"
            "a,7,7,7,7,7,7,7,22",
            "7 to 21",
        ),
        (
            "name,left_eye_row,left_eye_col,right_eye_row,right_eye_col,left_lip_row,left_lip_col,right_lip_row,right_lip_col\n"
            "a,7,7,7,7,7,7,7,7.5",
            "whole numbers",
        ),
        (
            "name,left_eye_row,left_eye_col,right_eye_row,right_eye_col,left_lip_row,left_lip_col,right_lip_row,right_lip_col\n"
            "a,7,7,7,7,7,7,7,\n",
            "whole numbers",
        ),
        (
            "name,left_eye_row,left_eye_col,right_eye_row,right_eye_col,left_lip_row,left_lip_col,right_lip_row,right_lip_col\n"
            "a,7,7,7,7,7,7,7,7\nb,7,7,7,7,7,7,7,inf",
            "of b must be whole numbers",
        ),
        (
            "name,left_eye_row,left_eye_col,right_eye_row,right_eye_col,left_lip_row,left_lip_col,right_lip_row,right_lip_col\n"
            "a,7,7,7,7,7,7,7,7\na,7,7,7,7,7,7,7,7",
            "twice",
        ),
    ],
)
def test_a_wrong_file_of_centres_is_named(tmp_path, text, words):
    (tmp_path / "facial_areas.csv").write_text(text)
    with pytest.raises(BadInput, match=words) as error:
        read_centres(tmp_path / "facial_areas.csv")
    assert "facial_areas.csv" in str(error.value)


def test_all_442_real_faces_are_found(real_datasets, tmp_path):
    composite, lines = load_composite(real_datasets), []
    centres, found = find_centres(composite, tmp_path / "facial_areas.csv", lines.append)
    append_centres(tmp_path / "facial_areas.csv", found, lines.append)
    table = pd.read_csv(tmp_path / "facial_areas.csv", dtype={"name": str})
    assert len(table) == 442 and (table["source"] == "dlib").all(), lines
    means = centres.mean(0)
    assert np.abs(means - MEAN_CENTRES).max() < 1
    left_eye, right_eye, left_lip, right_lip = np.moveaxis(centres, 1, 0)
    assert (left_eye[:, 1] < right_eye[:, 1]).all() and (left_lip[:, 1] < right_lip[:, 1]).all()
    assert (left_eye[:, 0] < left_lip[:, 0]).all() and (right_eye[:, 0] < right_lip[:, 0]).all()
    # The released centres, with their axes swapped, lie 2 to 3 pixels from dlib's on average.
    released = np.stack([read_centres(RELEASED)[name] for name in composite.names])
    assert 1.5 < np.linalg.norm(centres - released, axis=-1).mean() < 3.5
    draw_areas(tmp_path / "sheet.png", composite, centres)
    assert cv2.imread(str(tmp_path / "sheet.png")).shape == (3 * (448 + 36), 3 * 448, 3)
    # Cached: the faces are not opened again.
    missing = type(composite)(**vars(composite) | {"faces": [tmp_path / "gone.jpg"] * 442})
    np.testing.assert_array_equal(find_centres(missing, tmp_path / "facial_areas.csv")[0], centres)


def test_released_centres_are_used_as_they_are(real_datasets, tmp_path):
    composite = load_composite(real_datasets)
    path = tmp_path / "facial_areas.csv"
    path.write_bytes(RELEASED.read_bytes())
    centres, _ = find_centres(composite, path)
    assert centres[composite.names.tolist().index("sub01_EP02_01f")].tolist() == [
        [9, 11],
        [10, 21],
        [21, 10],
        [20, 21],
    ]
    assert path.read_bytes() == RELEASED.read_bytes()
