"""A clip of a raw database -> the apex face and the flow image that the datasets folder holds."""

from dataclasses import dataclass

import numpy as np

from clips import crop_face, face_box, read_frame, spot_apex
from facial_areas import area_centres, detect_faces, detect_landmarks
from optical_flow import flow_image, to_8bit
from recognition.frames import open_clip
from recognition.spotting import spot
from support.files import BadInput, check_name

SPOT_SIZE = 112  # pixels: apex spotting looks at many frames, and half the size is enough
APEX_RULES = ("strain", "midpoint")


@dataclass(frozen=True)
class ClipImages:
    """What a clip becomes."""

    apex: int  # the apex frame's number
    apex_source: str  # "annotated", or the rule and why no annotated one is used
    face: np.ndarray  # uint8 [224, 224, 3], the apex frame's
    flow: np.ndarray  # uint8 [28, 28, 3], see `optical_flow.flow_image`


def prepare_clip(clip, method="tvl1", apex_rule="strain"):
    """A clip of `read_clips` -> ClipImages; raises BadInput where it cannot be used.

    method: the optical flow's; apex_rule: how an apex is found that is not annotated, or in a way
    that cannot be used: "strain", the frame of strongest strain within the facial areas, or in data
    of one's own, whose clips can be long, the search of `recognize.py`; or "midpoint" between onset
    and offset.
    """
    check_name(clip.folder)
    frames = clip.frames()
    if not frames:
        raise BadInput(f"{clip.folder} holds no frames.")
    onset = min(frames) if clip.onset is None else clip.onset
    if onset not in frames:
        raise BadInput(f"{clip.folder} holds no onset frame {onset}.")
    apex, searched = clip.apex, clip.database == "own" and apex_rule == "strain"
    problem = find_apex_problem(clip, onset, frames)
    if problem and searched:  # before the onset frame is read: it may be another one
        onset, apex = search_movement(clip, list_numbers(clip, onset, frames))
    onset_frame = read_frame(frames[onset])
    landmarks = find_landmarks(clip, to_8bit(onset_frame)[0])
    if landmarks is None:
        raise BadInput(f"dlib finds no face on the onset frame {frames[onset]}.")
    box = face_box(landmarks, clip.database)
    if problem and not searched:
        numbers = list_numbers(clip, onset, frames)
        if apex_rule == "midpoint":
            apex = numbers[len(numbers) // 2]
        else:
            areas = area_centres(landmarks - box[:2], (box[2], box[2]))

            def read_face(i):
                return crop_face(read_frame(frames[numbers[i]]), box, SPOT_SIZE)

            apex = numbers[spot_apex(read_face, len(numbers), areas)]
    apex_frame = read_frame(frames[apex])
    if apex_frame.shape != onset_frame.shape:
        raise BadInput(f"{frames[apex]} and the onset frame differ in size.")
    faces = to_8bit(crop_face(onset_frame, box), crop_face(apex_frame, box))
    flow = flow_image(*faces, method)
    if not flow.any():
        raise BadInput(f"{frames[apex]} shows no motion against the onset frame.")
    source = f"{apex_rule}: {problem}" if problem else "annotated"
    return ClipImages(apex, source, faces[1], flow)


def list_numbers(clip, onset, frames):
    """The numbers of the frames, from the onset on, among which an apex is looked for."""
    # some offsets are wrong
    last = clip.offset if clip.offset and clip.offset > onset else max(frames)
    numbers = [number for number in sorted(frames) if onset <= number <= last]
    if len(numbers) < 2:
        raise BadInput(f"{clip.folder} holds no frame after the onset frame {onset}.")
    return numbers


def find_landmarks(clip, frame):
    """The five landmarks of the clip's face, or None where there is none.

    Frames of one's own may show several people: the largest counts, as in `recognize.py`.
    """
    if clip.database != "own":
        return detect_landmarks(frame)
    faces = detect_faces(frame)
    return faces[0].landmarks if faces else None


def search_movement(clip, numbers):
    """Onset and apex of the largest movement among the frames `numbers`; an onset that is given
    stays. Raises BadInput where no face moves.
    """
    found, _ = spot(open_clip(clip.folder, clip.fps), first=numbers[0], last=numbers[-1])
    if found is None:
        raise BadInput(f"dlib finds no face in {clip.folder}.")
    onset = found.onset if clip.onset is None else clip.onset
    if found.apex <= onset:
        raise BadInput(f"{clip.folder}: no face moves after frame {onset}.")
    return onset, found.apex


def find_apex_problem(clip, onset, frames):
    """Why the annotated apex frame cannot be used; empty where it can."""
    apex, offset = clip.apex, clip.offset
    if apex is None:
        return "not annotated"
    if apex <= onset:
        return f"the annotated {apex} is not after the onset frame {onset}"
    if offset is not None and onset < offset < apex:
        return f"the annotated {apex} is after the offset frame {offset}"
    if apex not in frames:
        return f"the annotated {apex} is not among the frames"
    return ""
