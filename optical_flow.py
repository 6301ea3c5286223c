"""Onset and apex frame -> optical flow, optical strain, and the 28x28 image (u, v, strain) that the
networks see.

The flow is TV-L1 (Zach, Pock and Bischof 2007), as in STSTNet (Liong et al. 2019), whose flow
images HTNet takes over; here by OpenCV's implementation. u > 0 is motion to the image's right, v >
0 is motion downwards.
"""

import cv2
import numpy as np

from composite_dataset import FLOW_SIZE
from support.files import BadInput

METHODS = ("tvl1", "dis", "farneback")
DIS_SIZE = 16  # pixels: OpenCV's DIS crashes on smaller frames
EDGE = 2  # pixels; docs/optical_flow.md says what it changes


def to_8bit(*frames):
    """Frames of 8 or 16 bits -> list of uint8 frames of the same shapes, all scaled by one power of
    two.

    Cameras store 10, 12 or 14 bits in 16: the fewest bits that hold the brightest pixel of all the
    frames count as full scale. One scale for all, since the flow rests on a point keeping its
    brightness from onset to apex.
    """
    for frame in frames:
        if frame.dtype not in (np.uint8, np.uint16):
            raise BadInput(
                f"frames must be 8- or 16-bit images, not {frame.dtype}: convert them to uint8."
            )
    bits = max(8, *(int(frame.max(initial=0)).bit_length() for frame in frames))
    return [(frame >> (bits - 8)).astype(np.uint8) for frame in frames]


def _grey(frame):
    """[H, W], [H, W, 1], [H, W, 3] (BGR) or [H, W, 4] (BGRA) -> [H, W], the brightness."""
    channels = 1 if frame.ndim == 2 else frame.shape[2] if frame.ndim == 3 else 0
    if channels not in (1, 3, 4) or min(frame.shape[:2]) < 8:
        raise BadInput(
            "a frame must be a grey or colour image of at least 8x8 pixels, not an array of "
            f"{frame.shape}."
        )
    if channels == 1:
        return frame.reshape(frame.shape[:2])
    return cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY if channels == 3 else cv2.COLOR_BGRA2GRAY)


def _grey_pair(onset, apex):
    """Two frames -> their brightness, uint8 [H, W] each; raises BadInput."""
    onset, apex = (_grey(frame) for frame in to_8bit(onset, apex))
    if onset.shape != apex.shape:
        raise BadInput(
            f"onset and apex frame differ in size, {onset.shape} and {apex.shape}: crop both alike."
        )
    return onset, apex


def optical_flow(onset, apex, method="tvl1"):
    """How far each pixel of the onset frame has moved in the apex frame.

    onset, apex: uint8 or uint16 [H, W] (grey) or [H, W, 3] (colour, OpenCV's channel order), of one
    size. Returns float32 [H, W, 2]: (u, v) in pixels, u to the image's right, v downwards. method:
    "tvl1", OpenCV's dual TV-L1 with its own defaults; "farneback", with the parameters of the code
    released for CASME III; or "dis" (Kroeger et al. 2016), fifty times as quick as TV-L1. Raises
    BadInput.
    """
    if method not in METHODS:
        raise BadInput(f"the flow method '{method}' is none of {', '.join(METHODS)}.")
    onset, apex = _grey_pair(onset, apex)
    if method == "dis":
        if min(onset.shape) < DIS_SIZE:
            raise BadInput(f"'dis' needs frames of at least {DIS_SIZE}x{DIS_SIZE} pixels.")
        return cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(onset, apex, None)
    if method == "farneback":
        return cv2.calcOpticalFlowFarneback(
            onset,
            apex,
            None,
            pyr_scale=0.5,
            levels=3,
            winsize=15,
            iterations=3,
            poly_n=5,
            poly_sigma=1.2,
            flags=0,
        )
    if not hasattr(cv2, "optflow"):
        raise BadInput(
            "TV-L1 is missing in this OpenCV: pip uninstall opencv-python opencv-python-headless, "
            "then pip install --force-reinstall opencv-contrib-python-headless."
        )
    # What leaves the frame has no match, and along the border OpenCV's flow is off by up to pixels:
    # its strain would outdo the face's, and min-max scaling would leave the face black. So the
    # frames are continued, and the outermost pixels take the flow of the nearest one further in.
    onset, apex = (
        cv2.copyMakeBorder(frame, *[EDGE] * 4, cv2.BORDER_REPLICATE) for frame in (onset, apex)
    )
    flow = cv2.optflow.DualTVL1OpticalFlow_create().calc(onset, apex, None)[
        2 * EDGE : -2 * EDGE, 2 * EDGE : -2 * EDGE
    ]
    return np.pad(flow, ((EDGE, EDGE), (EDGE, EDGE), (0, 0)), mode="edge")


def optical_strain(flow):
    """Magnitude of the infinitesimal strain tensor, sqrt(u_x^2 + v_y^2 + (u_y + v_x)^2 / 2)
    (STSTNet).

    flow [H, W, 2] -> [H, W], without unit (pixels per pixel). A face that moves as a whole has
    none.
    """
    u_y, u_x = np.gradient(flow[..., 0])
    v_y, v_x = np.gradient(flow[..., 1])
    return np.sqrt(u_x**2 + v_y**2 + (u_y + v_x) ** 2 / 2)


def flow_image(onset, apex, method="tvl1"):
    """The network's input: onset and apex frame [H, W(, 3)] -> uint8 [28, 28, 3].

    The channels are (strain, v, u), which is how OpenCV reads the released files (red u, green v,
    blue strain). Each is resized to 28x28 and then min-max scaled to 0..255 on its own, so zero
    motion has no fixed grey level; a channel without any variation, as from two identical frames,
    is 0 everywhere. With "farneback", as in the code released for CASME III: the frames are shrunk
    to 28x28 before the flow is computed, and the flow's magnitude takes the strain's place.
    """
    _grey_pair(onset, apex)  # refused here, since "farneback" shrinks them to one size
    if np.array_equal(onset, apex):  # Farneback invents motion at the border even here
        return np.zeros((FLOW_SIZE, FLOW_SIZE, 3), np.uint8)
    size = (FLOW_SIZE, FLOW_SIZE)
    if method == "farneback":
        onset, apex = (
            cv2.resize(frame, size, interpolation=cv2.INTER_AREA) for frame in (onset, apex)
        )
    flow = optical_flow(onset, apex, method)
    third = np.hypot(flow[..., 0], flow[..., 1]) if method == "farneback" else optical_strain(flow)
    maps = cv2.resize(
        np.dstack([third, flow[..., 1], flow[..., 0]]), size, interpolation=cv2.INTER_AREA
    )
    low, high = maps.min((0, 1)), maps.max((0, 1))
    # below a ten-thousandth of a pixel is rounding
    spread = np.where(high - low > 1e-4, high - low, np.inf)
    return np.rint((maps - low) / spread * 255).astype(np.uint8)
