"""Flow images of real faces made, moved and measured again: how much of the motion comes back.

    python -m benchmarks.flow_round_trip      needs the released composite in datasets/

A released flow image is turned into motion: its u and v, centred, with a standard deviation of so
many pixels. The released face, moved so, is the apex frame. Printed is how the flow image that is
measured between the two correlates with the one that the motion came from. No image is written.
"""

import argparse
import time
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from composite_dataset import load_composite
from optical_flow import METHODS, flow_image, optical_strain
from support.files import BadInput, read_image

SIZE, EVERY = 224, 8


def make_motion(flow, pixels):
    """Flow image uint8 [28, 28, 3] (strain, v, u) -> displacement float32 [224, 224, 2] (u, v)."""
    maps = flow[..., :0:-1].astype(np.float32)
    maps -= np.median(maps, axis=(0, 1))
    maps *= pixels / np.maximum(maps.std((0, 1)), 1e-6)
    return cv2.resize(maps, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)


def move(face, motion):
    """The face [224, 224, 3] with its content displaced by the motion."""
    x, y = np.meshgrid(*[np.arange(SIZE, dtype=np.float32)] * 2)
    # of each pixel of the apex frame, where it was; exact to first order, for small motion
    return cv2.remap(
        face, x - motion[..., 0], y - motion[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT
    )


def correlate(a, b):
    """Correlation of two maps [28, 28]."""
    return np.corrcoef(a.ravel(), b.ravel())[0, 1]


def main(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--datasets", type=Path, default="datasets")
    try:
        composite = load_composite(parser.parse_args(argv).datasets)
    except BadInput as error:
        parser.error(error)
    chosen = range(0, len(composite.names), EVERY)
    print(
        f"{len(chosen)} samples, medians\n\n| method | motion, px | u | v | strain | ms per pair |"
    )
    print("| --- " * 6 + "|")
    for pixels in (0.5, 1.0, 2.0):
        found = {method: [] for method in METHODS}
        for i in tqdm(chosen, desc=f"{pixels} px", leave=False):
            face = cv2.resize(read_image(composite.faces[i], cv2.IMREAD_COLOR), (SIZE, SIZE))
            motion = make_motion(composite.flows[i], pixels)
            apex = move(face, motion)
            strain = cv2.resize(optical_strain(motion), (28, 28), interpolation=cv2.INTER_AREA)
            truth = (composite.flows[i][..., 2], composite.flows[i][..., 1], strain)
            for method in METHODS:
                start = time.perf_counter()
                image = flow_image(face, apex, method)
                seconds = time.perf_counter() - start
                found[method].append(
                    [*(correlate(image[..., 2 - k], truth[k]) for k in range(3)), 1e3 * seconds]
                )
        for method, values in found.items():
            u, v, strain, milliseconds = np.median(values, axis=0)
            print(
                f"| {method} | {pixels} | {u:.2f} | {v:.2f} | {strain:.2f} | {milliseconds:.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
