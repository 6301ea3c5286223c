"""Makes the synthetic composite, datasets/sample/: python -m preparation.synthetic_sample
(minutes).

Needs scikit-image.

One public-domain portrait (NASA's of Eileen Collins, scikit-image's "astronaut") becomes twelve
"subjects" of nine clips each. A subject is a smooth change of the face's proportions with its own
tint, light and skin texture, and its own vigour and restlessness; a clip moves the landmarks'
surroundings by smooth bumps of 0.5 to 3 pixels (on the 224x224 face) and adds head motion, blinks,
a twitch somewhere and sensor noise. Everything else is the project's own way from frames to flow
images. The same comes out each time; the flow's last bits may differ between processors.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from clips import FACE_SIZE, crop_face, face_box
from composite_dataset import CLASSES, FACE_FOLDER, FLOW_FOLDER, INDEX_NAME, load_composite
from facial_areas import append_centres, detect_landmarks, find_centres
from optical_flow import flow_image
from support.files import write_image, write_text

SUBJECTS = {
    "casme2": ("sub01", "sub02", "sub03", "sub04"),
    "smic": ("s01", "s02", "s03", "s04"),
    "samm": ("006", "007", "009", "010"),
}
CLIPS = 3  # per subject and class
FRAME = 400  # pixels: the face, 224 pixels wide, and some room around it
JPEG_QUALITY = 80

# The expressions: at which landmark, how far from it and how wide (in eye distances), and which way
# (x, y), for the image's left half; the right half mirrors it. Signs as in real data: v > 0 is
# down, u > 0 to the right.
EXPRESSIONS = {
    "negative": [
        ("eye", (0.08, -0.24), (0.22, 0.10), (0.35, 1.0)),  # brow lowering
        ("lip", (0.00, 0.05), (0.12, 0.12), (0.15, 0.8)),  # lip-corner depression
    ],
    "positive": [
        ("lip", (-0.02, 0.00), (0.14, 0.12), (-0.8, -0.7)),  # lip-corner pull
        ("lip", (-0.10, -0.35), (0.16, 0.13), (-0.5, -0.8)),  # cheek raise
    ],
    "surprise": [
        ("eye", (0.00, -0.24), (0.25, 0.11), (-0.1, -1.0)),  # brow raise
        ("lip", (0.20, 0.22), (0.20, 0.13), (0.05, 0.9)),  # jaw drop
    ],
}
BLINK = [("eye", (0.00, -0.02), (0.16, 0.05), (0.0, 1.0))]


def make_bumps(parts, points, grid, weights):
    """Displacement [H, W, 2] of an expression's parts.

    weights [parts, 2]: pixels for the left and the right half.
    """
    flow, distance = np.zeros((*grid[0].shape, 2)), np.linalg.norm(points[1] - points[0])
    for (landmark, offset, width, direction), sides in zip(parts, weights):
        for side, mirror, weight in ((0, 1, sides[0]), (1, -1, sides[1])):
            x, y = points[{"eye": 0, "lip": 3}[landmark] + side] + distance * np.array(offset) * (
                mirror,
                1,
            )
            x, y = (grid[0] - x) / (distance * width[0]), (grid[1] - y) / (distance * width[1])
            flow += (
                weight * np.exp(-(x**2 + y**2) / 2)[..., None] * np.array(direction) * (mirror, 1)
            )
    return flow


def draw_smooth_noise(rng, scale, shape=(FRAME, FRAME)):
    """Gaussian noise [H, W], blurred to structures of `scale` pixels, standard deviation 1."""
    noise = cv2.GaussianBlur(rng.standard_normal(shape), (0, 0), scale)
    return (noise - noise.mean()) / noise.std()


def warp(image, flow, grid):
    """Moves the image's content by the small displacement `flow`."""
    x, y = ((axis - flow[..., i]).astype(np.float32) for i, axis in enumerate(grid))
    return cv2.remap(image, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)


def make_subject(rng, portrait, grid):
    """The portrait [400, 400, 3] -> a neutral face, float32 of the same shape."""
    face = portrait[:, ::-1] if rng.random() < 0.5 else portrait
    x, y = ((axis - FRAME / 2) / FACE_SIZE for axis in grid)
    # eye distance, jaw width and face length, pixels
    eyes, jaw, nose = rng.uniform((-8, -8, -6), (8, 8, 6))
    proportions = np.dstack(
        [
            2
            * x
            * (eyes * np.exp(-(((y + 0.2) / 0.2) ** 2)) + jaw * np.exp(-(((y - 0.3) / 0.25) ** 2))),
            2 * y * nose * np.exp(-(x**2)),
        ]
    )
    proportions += 3 * np.dstack([draw_smooth_noise(rng, 40), draw_smooth_noise(rng, 40)])
    face = warp(np.ascontiguousarray(face), proportions, grid)
    light = rng.uniform(0.7, 1.1) + rng.uniform(-0.25, 0.25) * x + rng.uniform(-0.2, 0.2) * y
    texture = rng.uniform(2, 5) * (draw_smooth_noise(rng, 0.7) + draw_smooth_noise(rng, 2))
    return (
        (face * light[..., None] * rng.uniform(0.85, 1.15, 3) + texture[..., None])
        .clip(0, 255)
        .astype(np.float32)
    )


def make_clip(rng, face, points, emotion, vigour, restlessness, grid):
    """A neutral face and its landmarks -> onset and apex frame, uint8 [400, 400, 3]."""
    parts = EXPRESSIONS[emotion]
    # rarely both sides alike
    weights = (
        vigour
        * rng.uniform(0.6, 2.4)
        * rng.dirichlet((1.5, 1.5))[:, None]  # rarely both parts alike
        * rng.uniform(0.5, 1.3, (len(parts), 2))
    )
    weights *= np.clip(weights.max(), 0.5, 3.0) / weights.max()
    flow = make_bumps(parts, points, grid, weights)
    if rng.random() < 0.3:
        flow += make_bumps(BLINK, points, grid, rng.uniform(-1.5, 1.5) * np.ones((1, 2)))
    twitch = (
        rng.choice(["eye", "lip"]),
        rng.uniform(-0.4, 0.4, 2),
        rng.uniform(0.06, 0.15, 2),
        rng.normal(0, 1, 2),
    )
    # says nothing about the emotion
    flow += make_bumps([twitch], points, grid, vigour * rng.uniform(0, 1.5, (1, 2)))
    x, y = ((axis - FRAME / 2) / FACE_SIZE for axis in grid)
    shift, (turn, stretch_x, stretch_y) = (
        rng.normal(0, restlessness, 2),
        rng.normal(0, restlessness, 3),
    )
    flow += shift + np.dstack([stretch_x * x - turn * y, turn * x + stretch_y * y])
    flow += (
        0.25 * restlessness * np.dstack([draw_smooth_noise(rng, 25), draw_smooth_noise(rng, 25)])
    )
    apex = warp(face * rng.uniform(0.995, 1.005), flow, grid)  # lamps flicker
    noisy = [frame + rng.normal(0, 1.5, frame.shape) for frame in (face, apex)]
    return [np.clip(np.rint(frame), 0, 255).astype(np.uint8) for frame in noisy]


def make_samples(portrait, subjects=None):
    """Yields (database, subject, clip name, label, apex face, flow image).

    The face is [224, 224, 3], the flow image [28, 28, 3].
    """
    grid = np.meshgrid(np.arange(FRAME, dtype=float), np.arange(FRAME, dtype=float))
    numbered = [(database, subject) for database, names in SUBJECTS.items() for subject in names]
    for seed, (database, subject) in enumerate(numbered):
        if subjects is not None and subject not in subjects:
            continue
        rng = np.random.default_rng(seed)
        face = make_subject(rng, portrait, grid)
        points = detect_landmarks(face.astype(np.uint8))
        vigour, restlessness = rng.uniform(0.7, 1.3), rng.uniform(0.1, 0.7)
        for label, emotion in enumerate(CLASSES):
            for i in range(1, CLIPS + 1):
                onset, apex = make_clip(rng, face, points, emotion, vigour, restlessness, grid)
                box = face_box(detect_landmarks(onset))
                onset, apex = crop_face(onset, box), crop_face(apex, box)
                name = {
                    "casme2": f"EP{label + 1:02d}_{i:02d}",
                    "samm": f"{subject}_{label + 1}_{i}",
                    "smic": f"{subject}_{('ne', 'po', 'sur')[label]}_{i:02d}",
                }[database]
                yield database, subject, name, label, apex, flow_image(onset, apex)


def enlarge_portrait():
    """The astronaut, float32 [400, 400, 3] BGR, cut so that the face has FACE_SIZE."""
    import skimage.data  # here, for only the portrait needs it

    image = skimage.data.astronaut()[..., ::-1].astype(np.float32)
    left, top, side = face_box(detect_landmarks(image.astype(np.uint8)))
    scale, room = side / FACE_SIZE, (FRAME - FACE_SIZE) / 2
    return cv2.warpAffine(
        image,
        np.array([[scale, 0, left - room * scale], [0, scale, top - room * scale]]),
        (FRAME, FRAME),
        flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )


def draw_contact_sheet(root, composite):
    """README's picture: for a subject per database and each class, face, u, v and strain."""
    rows = []
    for subject in (names[0] for names in SUBJECTS.values()):
        panels = []
        for label in range(len(CLASSES)):
            i = np.flatnonzero((composite.subjects == subject) & (composite.labels == label))[0]
            panels.append(
                cv2.resize(
                    cv2.imread(str(composite.faces[i])), (112, 112), interpolation=cv2.INTER_AREA
                )
            )
            for channel in (2, 1, 0):
                grey = np.repeat(composite.flows[i][..., channel, None], 3, axis=2)
                panels.append(cv2.resize(grey, (112, 112), interpolation=cv2.INTER_NEAREST))
        rows.append(np.hstack(panels))
    write_image(root / "contact_sheet.jpg", np.vstack(rows), [cv2.IMWRITE_JPEG_QUALITY, 80])


def main(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path(__file__).parents[1] / "datasets" / "sample",
        help="the folder that is written",
    )
    root = parser.parse_args(argv).output
    for folder in (FACE_FOLDER, FLOW_FOLDER):
        (root / folder).mkdir(parents=True, exist_ok=True)
    rows = []
    for database, subject, name, label, face, flow in make_samples(enlarge_portrait()):
        sample = f"{subject}_{name}"
        write_image(
            root / FACE_FOLDER / f"{sample}.jpg", face, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
        )
        write_image(root / FLOW_FOLDER / f"{sample} .png", flow)
        rows.append((database, subject, name, label, "", f"{sample}.jpg", ""))
    columns = ["dataset", "sub", "filename_o", "label", "apex", "imagename", "sub_filename"]
    write_text(root / INDEX_NAME, pd.DataFrame(rows, columns=columns).to_csv(index=False))
    composite, areas = load_composite(root), root / "facial_areas.csv"
    areas.unlink(missing_ok=True)  # else its centres would be kept
    append_centres(areas, find_centres(composite, areas)[1])
    draw_contact_sheet(root, composite)


if __name__ == "__main__":
    main()
