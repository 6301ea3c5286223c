"""Where in a clip of any length a face moves and comes back: onset and apex, in a fixed memory.

Each frame's face is compared with one key frame: the flow between the two, without the head's
motion, averaged in cells, is a place in a space of motions. The distance between two frames' places
is how far the face moved between them, so that every pair of frames within a second can be compared
without a flow of its own. A micro-expression goes away from somewhere and comes back within half a
second each: at its apex, the way there plus the way on is much longer than the way past it.
"""

from collections import deque
from dataclasses import dataclass

import cv2
import numpy as np

from clips import FACE_SIZE, crop_face, face_box
from facial_areas import DETECTIONS, detect_faces
from optical_flow import optical_flow, to_8bit
from recognition.motion import EYE_OPENING, build_design, fit_motion, mask_oval

HALF_SECOND = 0.5  # seconds: a micro-expression rises in less (Yan et al. 2013: in 0.26 at most)
UNKNOWN_FPS = 100  # taken where the frame rate is not known: SMIC's
STEPS = 50  # frames looked at in half a second, at most
SPOT_SIZE, CELL = 112, 8  # pixels: the face looked at, and the cells of its flow
KEY_SECONDS = 4  # a key frame is used no longer
KEY_SHIFT = 10  # pixels of 224: when the head has moved so far, a new key frame is taken
# Where nobody is there: looks for a face in the first half second, so that a short clip with a dark
# first frame or a cut is not lost; later one look each half second.
LOOKS = 10
THOROUGH = 5  # one look in so many tries all of the detector's settings, and so do the first two
# Where the picture is another one, or nobody is there any more: cells that move by more pixels on
# average (strong smiles of the sample have 1), or less correlation with the key frame (moved heads
# have 0.8).
TORN, ALIKE = 6, 0.5
# A motion that has not come back when the clip ends counts less than one that has, and more than
# half, which is what a steady motion's middle scores.
UNFINISHED = 0.6
BEGUN = 0.1  # of the way to the apex: up to there, the motion has not begun


@dataclass(frozen=True)
class Spotted:
    """Onset and apex, and what moved around them."""

    onset: int
    apex: int
    numbers: np.ndarray  # [K] frames around onset and apex
    curve: np.ndarray  # [K] pixels of 224: 95th percentile of the cells' motion since the onset


class FaceTracker:
    """Frames of one face -> places in the space of its motions: float32 [cells, 2], pixels."""

    def __init__(self, key_frames):
        self.key_frames, self.age = key_frames, 0  # frames that a key frame is used for
        self.key = self.box = self.weights = None
        self.known, self.looks = None, 0  # the setting that found the face; looks without one
        self.oval = mask_oval(SPOT_SIZE // CELL)
        self.points = (np.argwhere(self.oval)[:, ::-1] + 0.5) * CELL / SPOT_SIZE * 2 - 1
        self.base = np.zeros((len(self.points), 2), np.float32)

    def find_face(self, frame):
        """Takes a frame as the key frame; False where it shows no face."""
        self.age, faces = 0, []
        for setting in self.choose_settings():
            faces = detect_faces(to_8bit(frame)[0], (setting,))
            if faces:
                self.known = setting
                break
        self.looks += 1
        if not faces:
            return False
        landmarks = faces[0].landmarks
        self.box = face_box(landmarks)
        self.key = crop_face(frame, self.box, SPOT_SIZE)
        eyes = (landmarks[:2] - self.box[:2]) / self.box[2] * 2 - 1
        distance = np.linalg.norm(eyes[1] - eyes[0])
        away = [(self.points - eye) / distance / EYE_OPENING for eye in eyes]
        self.weights = np.all([np.hypot(*a.T) > 1 for a in away], axis=0)[:, None]
        return True

    def choose_settings(self):
        """Which of the detector's settings to try: all of them take a second without a face."""
        if self.known:
            return dict.fromkeys((self.known, DETECTIONS[0]))
        thorough = self.looks < 2 or self.looks % THOROUGH == 0
        return DETECTIONS if thorough else DETECTIONS[:1]

    def follow(self, frame):
        """A frame's place, or None where there is no face, or not the key frame's any more."""
        if self.key is None:
            return self.base if self.find_face(frame) else None
        face = crop_face(frame, self.box, SPOT_SIZE)
        flow = optical_flow(self.key, face, "dis")
        flow = flow * (FACE_SIZE / SPOT_SIZE)
        side = SPOT_SIZE // CELL
        cells = cv2.resize(flow, (side, side), interpolation=cv2.INTER_AREA)[self.oval]
        head = fit_motion(self.points, cells, turns=True)
        moved = (build_design(self.points, True) @ head).reshape(2, -1).T
        rest = self.weights * (cells - moved).astype(np.float32)
        if np.sqrt((rest**2).sum(1).mean()) > TORN or correlate(self.key, face) < ALIKE:
            self.key = None
            return None
        place = self.base + rest
        self.age += 1
        far = np.hypot(*head[:2]) > KEY_SHIFT and self.age > self.key_frames // 8
        if (far or self.age >= self.key_frames) and self.find_face(frame):
            self.base = place
        return place


def correlate(one, other):
    """Of two faces' pixels, -1 to 1; 0 where one is of a single colour."""
    one, other = (face.astype(np.float32) - face.mean() for face in (one, other))
    return float((one * other).sum() / max(np.sqrt((one**2).sum() * (other**2).sum()), 1e-6))


def spot(stream, progress=lambda number: None, first=0, last=None):
    """Searches a FrameStream -> (Spotted or None where there is no face, number of frames read).

    A clip of a single frame with a face has it for onset and apex. first, last: numbers of the
    frames between which is searched.
    """
    fps = stream.fps or UNKNOWN_FPS
    step = max(1, round(fps * HALF_SECOND / STEPS))
    reach = max(2, round(fps * HALF_SECOND / step))  # frames looked at, in half a second
    tracker, search = FaceTracker(round(KEY_SECONDS / HALF_SECOND * reach)), Search(reach)
    count, missing = 0, 0

    def wanted(number):
        nonlocal count
        if number < first or (last is not None and number > last):
            return False
        count += 1
        return (count - 1) % step == 0

    for number, frame in stream.read(wanted, last):
        progress(number)
        if tracker.key is None:
            missing += 1
            if (missing - 1) % (reach if missing > reach else max(1, reach // LOOKS)):
                continue
        place = tracker.follow(frame)
        if place is None:
            search.interrupt()
        else:
            missing = 0
            search.add(number, place)
    return search.finish(), count


class Search:
    """Finds the excursion of greatest length among places that come one by one."""

    def __init__(self, reach):
        self.reach = reach
        self.numbers = deque(maxlen=3 * reach + 1)
        self.places = deque(maxlen=3 * reach + 1)
        self.rows = deque(maxlen=3 * reach + 1)  # distances of each place to those before it
        self.best, self.score, self.waiting = None, -1.0, 0

    def add(self, number, place):
        rest = np.array(self.places).reshape(-1, *place.shape) - place
        self.rows.append(np.sqrt((rest**2).sum(2).mean(1)))
        self.numbers.append(number)
        self.places.append(place)
        self.waiting += 1
        if self.waiting > self.reach:  # the frame half a second ago has now all its neighbours
            self.weigh(len(self.numbers) - 1 - self.reach)
            self.waiting -= 1

    def distances(self):
        """float [K, K] between the places that are kept."""
        matrix = np.zeros((len(self.rows),) * 2)
        for i, row in enumerate(self.rows):
            matrix[i, :i] = matrix[:i, i] = row[len(row) - i :]
        return matrix

    def weigh(self, apex):
        """Scores the kept frame `apex` as an apex, and keeps it where it is the best so far."""
        matrix = self.distances()
        before = matrix[apex, max(0, apex - self.reach) : apex]
        after = matrix[apex, apex + 1 : apex + 1 + self.reach]
        if not len(before):
            return
        score = 0.0
        if len(after):
            past = matrix[max(0, apex - self.reach) : apex, apex + 1 : apex + 1 + self.reach]
            score = ((before[:, None] + after[None] - past) / 2).max()
        if len(after) < self.reach:
            score = max(score, UNFINISHED * before.max())
        if score > self.score:
            self.score, first = score, max(0, apex - self.reach)
            start = first + int(before.argmax())
            still = matrix[start, start:apex] <= BEGUN * matrix[start, apex]
            onset = start + int(np.flatnonzero(still).max())
            self.best = Spotted(self.numbers[onset], self.numbers[apex], *self.draw_curve(onset))

    def draw_curve(self, onset):
        """-> the kept frames' numbers and their motion since the onset."""
        moved = np.array(self.places) - self.places[onset]
        lengths = np.hypot(moved[..., 0], moved[..., 1])
        return np.array(self.numbers), np.percentile(lengths, 95, axis=1)

    def interrupt(self):
        """The face is gone: what comes is not compared with what was."""
        for apex in range(len(self.numbers) - self.waiting, len(self.numbers)):
            self.weigh(apex)
        if self.best is None and self.numbers:
            number = self.numbers[0]
            self.best = Spotted(number, number, np.array(self.numbers)[:1], np.zeros(1))
        for kept in (self.numbers, self.places, self.rows):
            kept.clear()
        self.waiting = 0

    def finish(self):
        """-> Spotted, or None where no place was added."""
        self.interrupt()
        return self.best
