"""Times `recognize.py` on clips of 100 frames, and measures what its thresholds rest on.

    python -m benchmarks.recognition                        needs scikit-image
    python -m benchmarks.recognition --thresholds DATASETS  minutes; DATASETS holds the composite

Times are of this process's processor time and of the clock, medians after one clip to warm up, with
weights as large as asked for but untrained: they do not change how long it takes.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import torch

from clips import FACE_SIZE, crop_face, face_box
from composite_dataset import load_composite
from facial_areas import area_centres, detect_landmarks
from htnet import HTNet
from preparation.synthetic_sample import (
    EXPRESSIONS,
    enlarge_portrait,
    make_bumps,
    warp,
)
from recognition.clip import recognize, remove_head
from recognition.ensemble import Ensemble
from recognition.frames import open_clip
from recognition.motion import estimate_noise, mask_areas
from support.files import read_image

SIZE, COUNT, FPS = (480, 640), 100, 100
NOISES, CODES = (0.5, 1.5, 3), {"FFV1": "avi", "MJPG": "avi", "mp4v": "mp4"}
EACH = 3  # faces of each database


def make_ensemble(members, dim):
    torch.manual_seed(0)
    network = dict(image_size=28, patch_size=7, num_classes=3, dim=dim, heads=3, num_hierarchies=3)
    networks = [HTNet(**network, block_repeats=(2, 2, 2)) for _ in range(members)]
    record = {"settings": {"AREAS": "all", "NORMALIZE": True, "AUGMENT": True}}
    return Ensemble(networks, record, "untrained", "", np.zeros((3, 28, 28))).eval()


def move(face, field, noise, count, rng):
    """Frames in which the field rises to the middle and falls, uint8."""
    grid = np.meshgrid(*(np.arange(side, dtype=float) for side in face.shape[1::-1]))
    for number in range(count):
        share = np.interp(number, (0.1 * count, 0.3 * count, 0.5 * count), (0, 1, 0))
        moved = warp(face, share * field, grid) if share else face
        noisy = moved + noise * rng.standard_normal(face.shape, dtype=np.float32)
        yield np.rint(noisy).clip(0, 255).astype(np.uint8)


def write(path, frames, code):
    frames = list(frames)
    fourcc = cv2.VideoWriter_fourcc(*code)
    video = cv2.VideoWriter(str(path), fourcc, FPS, frames[0].shape[1::-1])
    for frame in frames:
        video.write(frame)
    video.release()
    return path


def smile(face, pixels=2.0):
    points = detect_landmarks(face.clip(0, 255).astype(np.uint8))
    grid = np.meshgrid(*(np.arange(side, dtype=float) for side in face.shape[1::-1]))
    return make_bumps(EXPRESSIONS["positive"], points, grid, pixels * np.ones((2, 2)))


def time_clips(folder, ensemble, explain, repeats, count):
    face = enlarge_portrait()
    rows, cols = SIZE[0] - face.shape[0], SIZE[1] - face.shape[1]
    border = rows // 2, rows - rows // 2, cols // 2, cols - cols // 2
    face = cv2.copyMakeBorder(face, *border, cv2.BORDER_REPLICATE)
    frames = move(face, smile(face), 1.5, count, np.random.default_rng(0))
    path = write(folder / "clip.mp4", frames, "mp4v")
    times = []
    for _ in range(1 + repeats):
        clock, processor = time.perf_counter(), time.process_time()
        row = recognize(open_clip(path), ensemble, explain=explain).row
        times.append((time.process_time() - processor, time.perf_counter() - clock))
        assert row["status"] == "ok", row
    processor, clock = (statistics.median(column) for column in list(zip(*times[1:])))
    size = f"{len(ensemble.members)} networks"
    print(f"| {size}, explain {explain} | {processor:.2f} s | {clock:.2f} s |", flush=True)


def measure_thresholds(folder, datasets):
    """What still faces and shifted ones show, by database, noise and storage."""
    composite = load_composite(datasets)
    print(
        "| face | stored as | noise | shift | most motion | beside the onset | frames' noise |\n"
        "| --- | --- | --- | --- | --- | --- | --- |"
    )
    for database in dict.fromkeys(composite.databases):
        members = np.flatnonzero(composite.databases == database)
        for code, ending in CODES.items():
            for noise in NOISES:
                for shift in (0, 6, 12) if noise == 1.5 else (0,):
                    found = [
                        measure_clip(folder / f"a.{ending}", code, composite.faces[i], noise, shift)
                        for i in members[:: len(members) // EACH][:EACH]
                    ]
                    moved, beside, levels = (max(column) for column in zip(*found))
                    print(
                        f"| {database} | {code} | {noise} | {shift} | {moved:.2f} | {beside:.2f} "
                        f"| {levels:.2f} |",
                        flush=True,
                    )


def measure_clip(path, code, face, noise, shift):
    """-> the most motion against frame 8, far away and beside it, and the frames' noise."""
    face = read_image(face, cv2.IMREAD_COLOR).astype(np.float32)
    face = cv2.copyMakeBorder(face, 80, 80, 100, 100, cv2.BORDER_REPLICATE)
    field = np.zeros((*face.shape[:2], 2)) + np.array([0.8, 0.6]) * shift
    write(path, move(face, field, noise, 80, np.random.default_rng(0)), code)
    frames = dict(open_clip(path).read())
    box = face_box(detect_landmarks(frames[8]))
    landmarks = (detect_landmarks(frames[8]) - box[:2]) * (FACE_SIZE / box[2])
    mask = mask_areas(landmarks, area_centres(landmarks, (FACE_SIZE, FACE_SIZE)))
    crops = {number: crop_face(frame, box) for number, frame in frames.items()}
    far = [24] if shift else range(20, 80, 12)
    found = [remove_head(crops[8], crops[number], mask) for number in far]
    beside = [remove_head(crops[8], crops[number], mask)[0].face for number in (0, 4, 6, 7)]
    levels = [estimate_noise(crops[8], aligned, mask) for _, aligned, _ in found]
    return max(motion.face for motion, _, _ in found), max(beside), max(levels)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--thresholds", type=Path, metavar="DATASETS")
    parser.add_argument("--dim", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=5, help="times that a clip is timed")
    parser.add_argument("--frames", type=int, default=COUNT, help="of the clip that is timed")
    parser.add_argument("--threads", type=int, default=0, help="OpenCV's; 0: its own number")
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # as in recognize.py
    if arguments.threads:
        cv2.setNumThreads(arguments.threads)
    with tempfile.TemporaryDirectory() as folder:
        if arguments.thresholds:
            return measure_thresholds(Path(folder), arguments.thresholds)
        count = arguments.frames
        print(f"{count} frames of {SIZE[1]}x{SIZE[0]}; OpenCV threads: {cv2.getNumThreads()}\n")
        print("| | processor | clock |\n| --- | --- | --- |")
        for members, explain in ((1, False), (5, False), (5, True)):
            ensemble = make_ensemble(members, arguments.dim)
            time_clips(Path(folder), ensemble, explain, arguments.repeats, count)


if __name__ == "__main__":
    main()
