"""How exact are flow and strain? Known smooth displacements on a real face (python -m
benchmarks.flow_accuracy).

The face of scikit-image's astronaut portrait (NASA, public domain), enlarged to 224x224, is the
apex frame A. The onset frame is A sampled at x + d(x), so d is exactly the flow from onset to apex,
on the onset's own pixels: no field has to be inverted, and its strain is known as a formula. Prints
a markdown table.
"""

import argparse
import time

import cv2
import numpy as np

from facial_areas import detect_landmarks
from optical_flow import optical_flow, optical_strain

# the border is left out of the errors: there the onset shows what the apex does not
SIZE, BORDER = (
    224,
    12,
)


def cut_portrait():
    """The astronaut's face, uint8 [224, 224, 3] BGR, from brow to chin."""
    import skimage.data  # here, for only the portrait needs it

    image = skimage.data.astronaut()[..., ::-1].copy()
    left_eye, right_eye, nose = detect_landmarks(image)[:3]
    side = 2 * (right_eye - left_eye)[0]
    x, y = nose - side / 2
    return cv2.warpAffine(
        image,
        np.float64([[side / SIZE, 0, x], [0, side / SIZE, y]]),
        (SIZE, SIZE),
        flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
    )


def make_fields(amplitude):
    """Yields (name, flow [H, W, 2], its strain [H, W]): smooth displacements.

    amplitude: about the largest displacement, in pixels.
    """
    y, x = np.mgrid[:SIZE, :SIZE].astype(float)
    yield "shift", np.full((SIZE, SIZE, 2), amplitude / np.sqrt(2)), np.zeros((SIZE, SIZE))
    # stretch along x: u = a (x - c) / c, so u_x = a / c and all else is 0
    centre = (SIZE - 1) / 2
    yield (
        "stretch",
        np.dstack([amplitude * (x - centre) / centre, 0 * x]),
        np.full((SIZE, SIZE), amplitude / centre),
    )
    # a bump at each brow and lip corner, moving up and outwards (left half) or down and outwards
    # (right half)
    sigma, flow, gradient = 22.0, np.zeros((SIZE, SIZE, 2)), np.zeros((SIZE, SIZE, 2, 2))
    for cx, cy, sign in ((56, 50, -1), (168, 50, 1), (68, 160, -1), (156, 160, 1)):
        along = sign * np.array((0.6, 0.8))
        bump = np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * sigma**2))
        # d/dx and d/dy of the bump
        slope = np.dstack([-(x - cx), -(y - cy)]) / sigma**2 * bump[..., None]
        flow += amplitude * bump[..., None] * along
        gradient += amplitude * along[:, None] * slope[..., None, :]
    (u_x, u_y), (v_x, v_y) = np.moveaxis(gradient, (2, 3), (0, 1))
    yield "expression", flow, np.sqrt(u_x**2 + v_y**2 + (u_y + v_x) ** 2 / 2)


def correlate(a, b):
    """Correlation of two maps after both are shrunk to 28x28, as text; – if one is flat."""
    small = [cv2.resize(map_, (28, 28), interpolation=cv2.INTER_AREA).ravel() for map_ in (a, b)]
    return f"{np.corrcoef(*small)[0, 1]:.2f}" if min(map(np.ptp, small)) > 1e-9 else "–"


def main(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--noise",
        type=float,
        default=0.0,
        help="standard deviation of the sensor noise, grey levels",
    )
    noise = parser.parse_args(argv).noise
    apex, rng = cut_portrait().astype(np.float32), np.random.default_rng(0)
    y, x = np.mgrid[:SIZE, :SIZE].astype(np.float32)
    inner = np.s_[BORDER:-BORDER, BORDER:-BORDER]
    names = {"tvl1": "TV-L1", "dis": "DIS", "farneback": "Farneback"}
    print(
        f"| field | px | {' | '.join(f'{name}: error' for name in names.values())} | strain | "
        f"{' | '.join(f'{name}: strain error, r' for name in names.values())} |"
    )
    print("| --- " * (3 + 2 * len(names)) + "|")
    seconds = {method: [] for method in names}
    for amplitude in (0.2, 0.5, 1.0, 2.0, 3.0):
        for name, flow, strain in make_fields(amplitude):
            u, v = np.moveaxis(flow.astype(np.float32), 2, 0)
            onset = cv2.remap(
                apex, x + u, y + v, cv2.INTER_LANCZOS4, borderMode=cv2.BORDER_REPLICATE
            )
            noisy = [frame + noise * rng.standard_normal(frame.shape) for frame in (onset, apex)]
            frames = [np.clip(np.rint(frame), 0, 255).astype(np.uint8) for frame in noisy]
            errors, strains = [], []
            for method in names:
                start = time.perf_counter()
                found = optical_flow(*frames, method=method)
                seconds[method].append(time.perf_counter() - start)
                distance = np.linalg.norm(found - flow, axis=-1)[inner]
                errors.append(f"{np.median(distance):.3f}, {np.percentile(distance, 95):.3f}")
                found = optical_strain(found)
                difference = np.median(np.abs(found - strain)[inner])
                strains.append(f"{difference:.4f}, {correlate(found, strain)}")
            print(
                f"| {name} | {amplitude} | {' | '.join(errors)} | {strain[inner].mean():.4f} | "
                f"{' | '.join(strains)} |"
            )
    print("\nSeconds per pair of 224x224 frames, median:", end=" ")
    print(", ".join(f"{names[method]} {np.median(seconds[method]):.3f}" for method in names))


if __name__ == "__main__":
    main()
