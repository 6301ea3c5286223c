"""A clip's onset, apex and face; workers that do not come back."""

from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np
import pytest
from raw_trees import camera_frame, expression, write

import prepare_datasets
from facial_areas import Face
from preparation import clip_images
from preparation.clip_images import prepare_clip
from preparation.own_clips import OwnClip
from recognition.spotting import Spotted
from support.files import BadInput


@pytest.fixture
def long_clip(tmp_path, monkeypatch):
    """-> (make(database, onset) -> a clip of nine frames, the list of the searches)."""
    searched = []
    for number in range(9):
        write(tmp_path / f"{number}.png", camera_frame(expression("surprise", number % 8)))

    def find(stream, first, last):
        searched.append((stream.path, first, last))
        return Spotted(4, 7, np.array([]), np.array([])), 9

    monkeypatch.setattr(clip_images, "spot", find)
    return lambda database, onset=None: OwnClip(
        database, "a", "b", tmp_path, "x", 0, onset
    ), searched


def test_onset_and_apex_of_own_clips_are_searched_as_in_recognition(long_clip):
    """The strongest strain against the first frame is wrong where a clip has several movements."""
    make, searched = long_clip
    found = prepare_clip(make("own"))
    assert (found.apex, found.apex_source) == (7, "strain: not annotated")
    assert [frames for _, *frames in searched] == [[0, 8]]
    prepare_clip(make("own", 2))
    assert [frames for _, *frames in searched] == [[0, 8], [2, 8]]
    assert prepare_clip(make("own"), apex_rule="midpoint").apex == 4
    prepare_clip(make("smic"))
    assert len(searched) == 2


def test_of_several_people_in_own_clips_the_largest_counts(monkeypatch):
    own, smic = (OwnClip(name, "a", "b", Path("c"), "x", 0) for name in ("own", "smic"))
    monkeypatch.setattr(clip_images, "detect_landmarks", lambda frame: "most certain")
    faces = [Face(size, 0.5, 99, 0.01) for size in ("largest", "other")]
    monkeypatch.setattr(clip_images, "detect_faces", lambda frame: faces)
    assert clip_images.find_landmarks(own, None) == "largest"
    assert clip_images.find_landmarks(smic, None) == "most certain"


def test_a_killed_worker_is_one_sentence(monkeypatch):
    class Killed(prepare_datasets.ProcessPoolExecutor):
        def submit(self, *_):
            future = Future()
            future.set_exception(BrokenProcessPool("A process was terminated abruptly"))
            return future

    monkeypatch.setattr(prepare_datasets, "ProcessPoolExecutor", Killed)
    with pytest.raises(BadInput, match="a worker was killed.*fewer --workers"):
        list(prepare_datasets.prepare_clips(["clip"], "own", prepare_datasets.Options()))
