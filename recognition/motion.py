"""How far a face moves between two frames, split into the head's motion and the face's own.

The flow images are min-max scaled, so that a still face gives an image of full-range noise. What a
clip shows is therefore measured in pixels first. The flow here is DIS (Kroeger et al. 2016): a
hundred times as quick as TV-L1, and nearly blind to a change of the light, which TV-L1 takes for
motion.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from clips import FACE_SIZE
from composite_dataset import FLOW_SIZE
from facial_areas import HALF
from optical_flow import optical_flow

GRID = 8  # pixels between the points that the head's motion is fitted to
FIT_STEPS = 8  # of reweighting; the fit no longer changes by then
EYE_OPENING = (0.30, 0.16)  # half width and height, of the eyes' distance: a blink's place
FACE_OVAL = (0.46, 0.5)  # half width and height of the face within its square


@dataclass(frozen=True)
class Motion:
    """What moved between two frames of a face, in pixels of the 224x224 face."""

    face: float  # 95th percentile within the areas, without the head's motion
    head: float  # mean length of the head's motion: shift, rotation in the image and scale
    turn: float  # share of `face` that goes with a turn or nod of a round head
    matrix: np.ndarray  # float [2, 3], the head's motion as an affine map of (x, y)


def mask_oval(size=FACE_SIZE):
    """bool [size, size]: the oval of the face, without the background at the square's corners."""
    y, x = (np.mgrid[:size, :size] + 0.5) / size - 0.5
    return (x / FACE_OVAL[0]) ** 2 + (y / FACE_OVAL[1]) ** 2 < 1


def mask_areas(landmarks, centres, size=FACE_SIZE):
    """Where motion counts: within the four areas and the oval, outside the eyes' openings.

    landmarks: [5, 2] (x, y) on the face of 224x224; centres: int [4, 2] of `area_centres`. Returns
    bool [size, size].
    """
    areas = np.zeros((FLOW_SIZE, FLOW_SIZE), np.uint8)
    for row, col in centres:
        areas[row - HALF : row + HALF, col - HALF : col + HALF] = 1
    mask = cv2.resize(areas, (size, size), interpolation=cv2.INTER_NEAREST).astype(bool)
    mask &= mask_oval(size)
    scale = size / FACE_SIZE
    distance = scale * np.linalg.norm(landmarks[1] - landmarks[0])
    y, x = np.mgrid[:size, :size]
    for eye in landmarks[:2] * scale:
        wide, high = (share * distance for share in EYE_OPENING)
        mask &= ((x - eye[0]) / wide) ** 2 + ((y - eye[1]) / high) ** 2 > 1
    return mask


def fit_motion(points, flow, turns=False):
    """Least absolute fit of a head's motion to the flow at some points.

    points: float [P, 2] (x, y), from the face's middle, in half faces; flow: float [P, 2] in
    pixels. Returns float [4] (shift x, shift y, scale, rotation), or with turns [6], also turn and
    nod of a round head. Few parts of a face move in an expression: they hardly count in such a fit,
    where a least squares one would share their motion out over the face.
    """
    design = build_design(points, turns)
    target = np.concatenate([flow[:, 0], flow[:, 1]])
    weights = np.ones(len(points))
    for _ in range(FIT_STEPS):
        w = np.sqrt(np.concatenate([weights, weights]))
        normal = (design * w[:, None]).T @ (design * w[:, None])
        solution = np.linalg.solve(normal + 1e-9 * np.eye(len(normal)), design.T @ (w**2 * target))
        rest = (target - design @ solution).reshape(2, -1)
        weights = 1 / np.maximum(np.hypot(*rest), 0.02)  # hundredths of a pixel are rounding
    return solution


def build_design(points, turns):
    """The linear system of `fit_motion`: float [2 P, 4] or [2 P, 6]."""
    x, y = points.T
    one, zero = np.ones_like(x), np.zeros_like(x)
    columns = [(one, zero), (zero, one), (x, y), (-y, x)]
    if turns:
        depth = 1 - (x**2 + y**2) / 2
        columns += [(depth, zero), (zero, depth)]
    return np.stack([np.concatenate(column) for column in columns], axis=1)


def place_points(size):
    """(rows, cols, points) of the grid that motion is fitted to, on a face of this size."""
    step = max(1, GRID * size // FACE_SIZE)
    rows, cols = np.nonzero(mask_oval(size)[step // 2 :: step, step // 2 :: step])
    rows, cols = step // 2 + step * rows, step // 2 + step * cols
    return rows, cols, (np.stack([cols, rows], 1) + 0.5) / size * 2 - 1


def measure_motion(onset, frame, mask):
    """Onset and another frame's face [224, 224, 3], mask of `mask_areas` -> Motion."""
    flow = optical_flow(onset, frame, "dis")
    size = flow.shape[0]
    rows, cols, points = place_points(size)
    y, x = (2 * axis for axis in np.nonzero(mask[::2, ::2]))  # a quarter of them is enough
    inside = (np.stack([x, y], 1) + 0.5) / size * 2 - 1
    lengths, rest = [], []
    for turns in (False, True):
        solution = fit_motion(points, flow[rows, cols], turns)
        head = (build_design(inside, turns) @ solution).reshape(2, -1).T
        lengths.append(np.hypot(*head.T).mean())
        rest.append(np.percentile(np.hypot(*(flow[y, x] - head).T), 95))
        if not turns:
            matrix = build_matrix(solution, size)
    turn = 1 - rest[1] / rest[0] if rest[0] else 0.0
    return Motion(float(rest[0]), float(lengths[0]), float(max(turn, 0.0)), matrix)


def build_matrix(solution, size):
    """(shift x, shift y, scale, rotation) of `fit_motion` -> affine map [2, 3] of pixels."""
    shift_x, shift_y, scale, turn = solution[:4] * (1, 1, 2 / size, 2 / size)
    linear, middle = np.array([[1 + scale, -turn], [turn, 1 + scale]]), (size - 1) / 2
    return np.column_stack([linear, (shift_x, shift_y) + (np.eye(2) - linear) @ [middle, middle]])


def stabilize(face, matrix):
    """Takes the head's motion (`Motion.matrix`) out of a later frame's face [H, W, 3]."""
    return cv2.warpAffine(
        face,
        matrix,
        face.shape[1::-1],
        flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )


def match_light(onset, frame):
    """Two faces, uint8 -> (the frame as bright as the onset, its gain before).

    TV-L1 rests on a point keeping its brightness: a change by a fiftieth already looks like a
    pixel of motion on the portrait.
    """
    oval = mask_oval(onset.shape[0])
    gain = float(frame[oval].mean() / max(onset[oval].mean(), 1))
    if abs(gain - 1) < 0.002 or gain < 0.1:
        return frame, gain
    return np.clip(np.rint(frame / gain), 0, 255).astype(np.uint8), gain


def estimate_noise(onset, frame, mask):
    """The frames' noise in grey levels (standard deviation of one's brightness), from what the
    flow leaves.

    onset, frame: uint8 [224, 224, 3]; mask: bool [224, 224].
    """
    onset, frame = (cv2.cvtColor(face, cv2.COLOR_BGR2GRAY) for face in (onset, frame))
    flow = optical_flow(onset, frame, "dis")
    y, x = np.mgrid[: flow.shape[0], : flow.shape[1]].astype(np.float32)
    x, y = x + flow[..., 0], y + flow[..., 1]
    frame = frame.astype(np.float32)
    there = cv2.remap(frame, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    rest = (there - onset)[mask]
    # the mean absolute deviation of a normal distribution is sqrt(2 / pi) of the standard one;
    # another sqrt(2), since it is a difference of two frames
    return float(np.abs(rest - np.median(rest)).mean() * np.sqrt(np.pi) / 2)
