"""The synthetic sample: whole, small, learnable, and what its script makes."""

from itertools import islice

import cv2
import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import recall_score
from sklearn.model_selection import LeaveOneGroupOut, cross_val_predict
from sklearn.pipeline import make_pipeline

from clips import face_box, read_frame
from composite_dataset import load_composite
from facial_areas import area_centres, crop_areas, detect_landmarks, read_centres
from preparation import synthetic_sample

SAMPLE = ROOT / "datasets" / "sample"


@pytest.fixture(scope="module")
def sample():
    return load_composite(SAMPLE)


def test_it_is_small_and_balanced_with_subjects_of_each_database(sample):
    files = [
        path for path in SAMPLE.rglob("*") if path.is_file() and "__pycache__" not in path.parts
    ]
    assert sum(path.stat().st_size for path in files) <= 2e6
    table = sample.summarize()
    assert (table.loc[["casme2", "smic", "samm"], "subjects"] >= 3).all() and table.loc[
        "total", "subjects"
    ] >= 9
    assert table.loc["total", ["negative", "positive", "surprise"]].nunique() == 1
    for database, names in synthetic_sample.SUBJECTS.items():
        assert set(sample.subjects[sample.databases == database]) == set(names)


def test_every_channel_spans_0_to_255(sample):
    assert (sample.flows.min((1, 2)) == 0).all() and (sample.flows.max((1, 2)) == 255).all()
    assert len(np.unique(sample.flows.reshape(len(sample.flows), -1), axis=0)) == len(sample.flows)


def signs(composite):
    """Mean motion, in grey levels against each map's median."""
    maps = composite.flows[..., ::-1].astype(float)
    maps -= np.median(maps, (1, 2), keepdims=True)
    negative, positive, surprise = (maps[composite.labels == label].mean(0) for label in range(3))
    return {
        "negative lowers the brows": negative[3:9, 4:24, 1].mean(),
        "surprise raises the brows": -surprise[3:9, 4:24, 1].mean(),
        "positive pulls the left lip corner left": -positive[17:23, 5:11, 0].mean(),
        "positive pulls the right lip corner right": positive[17:23, 17:23, 0].mean(),
        "positive pulls the left lip corner up": -positive[17:23, 5:11, 1].mean(),
        "positive pulls the right lip corner up": -positive[17:23, 17:23, 1].mean(),
    }


def test_motion_per_emotion_has_the_signs_of_real_data(sample):
    assert all(value > 3 for value in signs(sample).values()), signs(sample)


def test_real_data_has_these_signs(real_datasets):
    found = signs(load_composite(real_datasets))
    assert all(value > 3 for value in found.values()), found


def test_the_areas_are_those_of_its_faces(sample):
    centres = read_centres(SAMPLE / "facial_areas.csv")
    assert list(centres) == sorted(sample.names) and len(centres) == len(sample.names)
    assert set(pd.read_csv(SAMPLE / "facial_areas.csv")["source"]) == {"dlib"}
    for i in range(0, len(sample.names), 40):
        face = read_frame(sample.faces[i])
        landmarks = detect_landmarks(face)
        assert np.abs(area_centres(landmarks, face.shape) - centres[sample.names[i]]).max() <= 1
        # as tight as the released faces
        np.testing.assert_allclose(face_box(landmarks), (0, 0, 224), atol=12)


def test_it_is_learnable_and_not_trivial(sample):
    centres = read_centres(SAMPLE / "facial_areas.csv")
    mosaics = np.stack(
        [crop_areas(flow, centres[name]) for name, flow in zip(sample.names, sample.flows)]
    )
    model = make_pipeline(PCA(40, random_state=0), LogisticRegression(max_iter=2000))
    predicted = cross_val_predict(
        model,
        mosaics.reshape(len(mosaics), -1) / 255,
        sample.labels,
        groups=sample.subjects,
        cv=LeaveOneGroupOut(),
    )
    assert 0.8 < recall_score(sample.labels, predicted, average="macro") < 0.99


def test_the_script_makes_it(sample):
    """The first clips of one subject anew. Slack, since the last bits may differ between
    processors.
    """
    pytest.importorskip(
        "skimage", reason="only the script that makes the sample needs scikit-image"
    )
    made = islice(
        synthetic_sample.make_samples(synthetic_sample.enlarge_portrait(), subjects=("s04",)), 3
    )
    for database, subject, name, label, face, flow in made:
        i = list(sample.names).index(f"{subject}_{name}")
        assert (sample.databases[i], sample.subjects[i], sample.labels[i]) == (
            database,
            subject,
            label,
        )
        assert np.median(np.abs(face.astype(int) - cv2.imread(str(sample.faces[i])))) <= 4  # JPEG
        assert np.median(np.abs(flow.astype(int) - sample.flows[i])) <= 2
