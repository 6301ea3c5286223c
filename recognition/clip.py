"""A clip -> one row: what it shows, how sure, which areas say so; or why there is no answer.

First the motion is measured, then judged, and only what passes becomes a flow image: min-max
scaling makes a flow image of full range of anything, a still face's noise included.
"""

from dataclasses import dataclass, field

import numpy as np
import torch

from clips import FACE_SIZE, crop_face, face_box
from composite_dataset import CLASSES
from facial_areas import AREAS, area_centres, detect_faces
from optical_flow import flow_image, to_8bit
from recognition.critical_areas import measure_areas, measure_patches
from recognition.motion import (
    Motion,
    estimate_noise,
    mask_areas,
    match_light,
    measure_motion,
    stabilize,
)
from recognition.spotting import HALF_SECOND, spot
from support.files import BadInput

COLUMNS = (
    *("input", "status", "label"),
    *(f"p_{name}" for name in CLASSES),
    *("agreement", "fps", "frames", "onset", "onset_time", "apex", "apex_time", "frames_from"),
    *("faces", "face_left", "face_top", "face_side", "face_score", "landmark_spread"),
    *("motion", "noise_floor", "head_motion"),
    *(f"contribution_{area}" for area in AREAS),
    *("picture", "model", "checksum", "warning"),
)
# Measured on faces of the three databases and on the portrait, moved by known fields or not at all,
# with noise of 0.5 to 3 grey levels, stored without loss, as JPEG and as MPEG-4
# (python -m benchmarks.recognition --thresholds DATASETS):
# Pixels, at least. Without loss, still faces with noise up to 1.5 levels had at most 0.13, with 3
# levels 0.27; as JPEG and MPEG-4 up to 0.38 and 0.47. The next two cover what is above 0.25.
NOISE_FLOOR = 0.25
NOISE_TIMES = 1.7  # times what frames beside the onset show: still faces had at most 1.55 times it
NOISE_SHARE = 0.45  # pixels per grey level, where none are beside it: still faces had at most 0.41
HEAD_SHARE = 0.04  # of the head's motion stays behind when it is taken out: MPEG-4 had 0.035
MOVED_HEAD = 0.5  # pixels; from here on the head's motion is taken out
LARGE_HEAD = 15  # pixels; up to here at most 0.2 stay behind, at 25 two and more
TURNED = 0.4  # share of the motion: turns and nods had 0.53 and more, expressions at most 0.16
PARTLY_TURNED = 0.25
AWAY = 0.2  # nose from the eyes' middle, in eye distances: at most 0.10 on the composite's faces
SPREAD = 0.05  # 99 in a hundred of the composite's faces have less
LOW_FPS = 50
# Grey levels that the flow cannot explain: still and moved faces had at most 1.8, another face or a
# blank picture tens.
ANOTHER = 10
LIGHT = 0.05  # change of the brightness that is worth a word
# Frames before and after the onset that tell the noise: in a compressed video, frames next to each
# other share theirs.
NEIGHBOURS = (1, 2, 4, 8)
AROUND = 3  # frames before and after the apex whose labels are compared with its own


@dataclass
class Evidence:
    """What a row rests on, for the picture; `None` where the analysis ended before."""

    onset: np.ndarray  # uint8 [224, 224, 3]
    apex: np.ndarray | None = None  # uint8 [224, 224, 3], without the head's motion
    centres: np.ndarray | None = None  # int [4, 2]
    flow: np.ndarray | None = None  # uint8 [28, 28, 3]
    patches: np.ndarray | None = None  # float [4, 4]
    curve: tuple | None = None  # frame numbers, pixels


@dataclass
class Recognition:
    """The result of a clip."""

    row: dict  # by COLUMNS; None where there is no answer
    evidence: Evidence | None = None
    warnings: list = field(default_factory=list)
    title: str = ""  # the clip's short name

    def warn(self, sentence):
        self.warnings.append(sentence)
        self.row["warning"] = " ".join(self.warnings)

    def end(self, status, sentence):
        """Ends without a label."""
        self.row["status"] = status
        self.warn(sentence)
        return self


def recognize(stream, ensemble, *, onset=None, apex=None, explain=False, progress=lambda n: None):
    """A FrameStream and an Ensemble -> Recognition.

    onset, apex: frame numbers, both or neither; else they are spotted. explain: also the finer map
    over the mosaic's patches. progress(number) is called with each frame that is searched. Raises
    BadInput where the clip cannot be read.
    """
    result = Recognition(dict.fromkeys(COLUMNS), title=stream.title)
    row = result.row
    row |= {"input": str(stream), "fps": stream.fps, "frames": stream.count, "warning": ""}
    row |= {"model": ensemble.name, "checksum": ensemble.checksum}
    curve = None
    if onset is None:
        spotted, count = spot(stream, progress)
        if stream.count and count < 0.95 * stream.count - 1:
            result.warn(f"Only {count} of {stream.count} frames could be read.")
        row["frames"] = count
        if not count:
            raise BadInput(f"{stream} holds no frame that can be read: replace the file.")
        if spotted is None:
            return result.end("no_face", "dlib finds no face.")
        onset, apex, curve = spotted.onset, spotted.apex, (spotted.numbers, spotted.curve)
        if onset == apex:
            return result.end("too_short", f"A single frame shows a face ({count} in all).")
    row["frames_from"] = "given" if curve is None else "spotted"
    row |= {"onset": onset, "apex": apex}
    check_times(result, stream)
    frames = read_around(stream, onset, apex)
    faces = detect_faces(frames[onset])
    if not faces:
        return result.end("no_face", f"dlib finds no face on the onset frame {onset}.")
    describe_face(result, faces)
    box = face_box(faces[0].landmarks)
    landmarks = (faces[0].landmarks - box[:2]) * (FACE_SIZE / box[2])
    centres = area_centres(landmarks, (FACE_SIZE, FACE_SIZE))
    crops = {number: crop_face(frame, box) for number, frame in frames.items()}
    result.evidence = Evidence(crops[onset], centres=centres, curve=curve)
    aligned = align(result, crops, mask_areas(landmarks, centres))
    if row["status"]:
        return result
    answer(result, ensemble, crops[onset], aligned, centres, explain)
    return result


def check_times(result, stream):
    """Times of onset and apex; warnings about the frame rate."""
    row, fps = result.row, stream.fps
    if not fps:
        return None if stream.is_pair else result.warn("The frame rate is unknown.")
    row["onset_time"], row["apex_time"] = row["onset"] / fps, row["apex"] / fps
    if fps < LOW_FPS:
        result.warn(f"{fps:g} frames per second are below {LOW_FPS}: short motions are missed.")
    if (seconds := row["apex_time"] - row["onset_time"]) > HALF_SECOND:
        result.warn(f"{seconds:.2f} s from onset to apex are more than {HALF_SECOND} s.")


def read_around(stream, onset, apex):
    """{number: frame} of onset and apex and the frames beside them, uint8; raises BadInput."""
    numbers = {onset, *range(apex - AROUND, apex + AROUND + 1), *list_neighbours(onset, apex)}
    frames = dict(stream.read(numbers.__contains__, max(numbers)))
    for name, number in (("onset", onset), ("apex", apex)):
        if number not in frames:
            raise BadInput(f"{stream} has no frame {number}, the {name}: give another.")
    return dict(zip(frames, to_8bit(*frames.values())))  # one scale, before anything is measured


def list_neighbours(onset, apex):
    """Frames that tell the noise: those after the onset only while little of the rise has passed,
    a quarter of the way.
    """
    beside = [onset - n for n in NEIGHBOURS] + [onset + n for n in NEIGHBOURS]
    return [number for number in beside if number <= onset + (apex - onset) / 4]


def describe_face(result, faces):
    """The face's columns of the row, and what is to be said about it."""
    face, box = faces[0], face_box(faces[0].landmarks)
    result.row |= {"faces": len(faces), "face_score": face.score, "landmark_spread": face.spread}
    result.row |= dict(zip(("face_left", "face_top", "face_side"), box))
    if len(faces) > 1:
        result.warn(f"{len(faces)} faces: the largest was taken.")
    if face.spread > SPREAD:
        result.warn(f"The landmarks are uncertain, by {face.spread:.2f} of the eyes' distance.")
    eyes, axis = face.landmarks[:2], face.landmarks[1] - face.landmarks[0]
    aside = (face.landmarks[2] - eyes.mean(0)) @ axis / (axis @ axis)
    if abs(aside) > AWAY:
        result.warn(
            f"The head is turned: the nose lies {abs(aside):.2f} of the eyes' distance aside."
        )


def align(result, crops, mask):
    """Measures and judges the motion, and takes the head's out.

    crops: {number: face}. Sets the row's status where there is nothing to recognize. Returns
    {number: face}, of the apex and the frames beside it, aligned with the onset.
    """
    row = result.row
    onset, apex = row["onset"], row["apex"]
    motion, aligned, gain = remove_head(crops[onset], crops[apex], mask)
    unexplained = estimate_noise(crops[onset], aligned, mask)
    floor = measure_floor(crops, onset, apex, unexplained, mask)
    if motion.head > MOVED_HEAD:
        floor += HEAD_SHARE * motion.head
    row |= {"motion": motion.face, "head_motion": motion.head, "noise_floor": floor}
    result.evidence.apex = aligned
    if abs(gain - 1) > LIGHT:
        result.warn(f"The light changes by {abs(gain - 1):.0%}; that was taken out.")
    if unexplained > ANOTHER:
        result.end(
            "other_face",
            f"Onset and apex do not show the same face: {unexplained:.0f} grey levels differ.",
        )
    elif motion.head > LARGE_HEAD:
        result.end(
            "head_moved",
            f"The head moves by {motion.head:.1f} pixels, more than {LARGE_HEAD}.",
        )
    elif motion.face > floor and motion.turn > TURNED:
        result.end("head_moved", f"The head turns: {motion.turn:.0%} of the motion goes with it.")
    elif motion.face <= floor and motion.head > MOVED_HEAD:
        result.end(
            "head_moved",
            f"Only the head moves, by {motion.head:.1f} pixels; the face by {motion.face:.2f}, no "
            f"more than the noise floor {floor:.2f}.",
        )
    elif motion.face <= floor:
        result.end(
            "no_motion",
            f"The face moves by {motion.face:.2f} pixels, no more than the noise floor "
            f"{floor:.2f}.",
        )
    elif motion.turn > PARTLY_TURNED:
        result.warn(f"The head turns a little: {motion.turn:.0%} of the motion goes with it.")
    if not row["status"] and motion.head > max(MOVED_HEAD, motion.face):
        result.warn(f"The head moves by {motion.head:.1f} pixels; that was taken out.")
    beside = [n for n in range(apex - AROUND, apex + AROUND + 1) if n in crops and n > onset]
    if row["status"]:
        return {}
    return {apex: aligned} | {
        n: remove_head(crops[onset], crops[n], mask)[1] for n in beside if n != apex
    }


def remove_head(onset, frame, mask):
    """Two faces -> (Motion of the second, the second aligned with the first, change of the light).

    Both uint8. `Motion.head` is what was there before.
    """
    frame, gain = match_light(onset, frame)
    motion = measure_motion(onset, frame, mask)
    if not MOVED_HEAD < motion.head < 2 * LARGE_HEAD:
        return motion, frame, gain
    aligned = stabilize(frame, motion.matrix)
    rest = measure_motion(onset, aligned, mask)
    return Motion(rest.face, motion.head, rest.turn, motion.matrix), aligned, gain


def measure_floor(crops, onset, apex, noise, mask):
    """The motion, in pixels, that noise alone may show between onset and apex.

    From the most that frames beside the onset show; where there are none, from the frames' noise in
    grey levels.
    """
    moved = [
        remove_head(crops[onset], crops[n], mask)[0].face
        for n in list_neighbours(onset, apex)
        if n in crops
    ]
    if moved:
        return max(NOISE_FLOOR, NOISE_TIMES * max(moved))
    return max(NOISE_FLOOR, NOISE_SHARE * noise)


def answer(result, ensemble, face, aligned, centres, explain):
    """Flow images -> label, probabilities, agreement and contributions, into the row.

    The apex's flow is TV-L1, as in training; for the frames beside it DIS is near enough, at a
    fiftieth of the time.
    """
    row, apex = result.row, result.row["apex"]
    flows = [flow_image(face, aligned[apex])]
    flows += [flow_image(face, frame, "dis") for n, frame in aligned.items() if n != apex]
    inputs = ensemble.make_inputs(np.stack(flows), np.stack([centres] * len(flows)))
    with torch.no_grad():
        members = ensemble.member_probabilities(inputs).cpu().numpy()
    probabilities = members.mean(0)
    label = int(probabilities[0].argmax())
    areas = measure_areas(ensemble, inputs[:1], [label], ensemble.baseline)[0]
    if explain:
        patches = measure_patches(ensemble, inputs[:1], [label], ensemble.baseline)[0]
        result.evidence.patches = patches.numpy()
    result.evidence.flow = flows[0]
    row |= {f"p_{name}": float(p) for name, p in zip(ensemble.classes, probabilities[0])}
    row |= {f"contribution_{area}": float(value) for area, value in zip(AREAS, areas)}
    row |= {"status": "ok", "label": ensemble.classes[label]}
    row["agreement"] = float((members.argmax(-1) == label).mean())
