"""Reading the released layouts, and a sentence for everything that can be wrong with them."""

import shutil

import cv2
import numpy as np
import pandas as pd
import pytest
from conftest import SAMPLES, make_datasets, tiny_flow, write_png
from hypothesis import given
from hypothesis import strategies as st

from composite_dataset import (
    CLASSES,
    FACE_FOLDER,
    FLOW_FOLDER,
    FLOW_TREE,
    INDEX_NAME,
    holds_data,
    load_composite,
    normalize,
)
from loso import split_subjects
from support.files import BadInput, read_image

NAMES = sorted(f"{subject}_{clip}" for subject, clip, _ in SAMPLES)


@pytest.mark.parametrize(
    "layout, index, space",
    [
        ("flat", True, " "),
        ("flat", True, ""),
        ("combined", True, " "),
        ("tree", True, ""),
        ("tree", False, " "),
    ],
)
def test_every_layout_gives_the_same_composite(tmp_path, layout, index, space):
    composite = load_composite(
        make_datasets(tmp_path / "datasets with ümlaut", layout, index, space)
    )
    assert composite.names.tolist() == NAMES
    for i, name in enumerate(composite.names):
        number = next(
            k for k, (subject, clip, _) in enumerate(SAMPLES) if f"{subject}_{clip}" == name
        )
        subject, _, label = SAMPLES[number]
        assert (composite.subjects[i], composite.labels[i]) == (subject, label)
        assert composite.databases[i] == {"su": "casme2", "s0": "smic", "00": "samm"}[subject[:2]]
        np.testing.assert_array_equal(composite.flows[i], tiny_flow(number, label))
    assert composite.faces == [None] * 12
    assert composite.summarize().loc["total"].tolist() == [6, 12, 5, 3, 4]


def test_index_beside_the_script(tiny):
    (tiny / INDEX_NAME).rename(tiny.parent / INDEX_NAME)
    assert load_composite(tiny).names.tolist() == NAMES


def test_holds_data(tmp_path):
    (tmp_path / "sample").mkdir()
    assert not holds_data(tmp_path)
    (tmp_path / FLOW_FOLDER).mkdir()
    assert holds_data(tmp_path)


def edit_index(root, change):
    table = pd.read_csv(root / INDEX_NAME, dtype=str, keep_default_na=False)
    change(table).to_csv(root / INDEX_NAME, index=False)


def first_flow(root):
    return next(
        path
        for path in sorted((root / FLOW_FOLDER).iterdir())
        if path.name.startswith("006_006_1_2")
    )


@pytest.mark.parametrize(
    "damage, words",
    [
        (lambda root: (root / INDEX_NAME).unlink(), [INDEX_NAME, "missing"]),
        (lambda root: first_flow(root).unlink(), ["006_006_1_2", "no flow image"]),
        (lambda root: first_flow(root).write_text("text"), ["006_006_1_2", "not a readable image"]),
        (
            lambda root: first_flow(root).write_bytes(first_flow(root).read_bytes()[:300]),
            ["006_006_1_2", "truncated"],
        ),
        (lambda root: first_flow(root).write_bytes(b""), ["006_006_1_2", "not a readable image"]),
        (
            lambda root: write_png(first_flow(root), np.zeros((27, 28, 3), np.uint8)),
            ["006_006_1_2", "27x28"],
        ),
        (
            lambda root: write_png(first_flow(root), np.zeros((28, 28), np.uint8)),
            ["006_006_1_2", "28x28"],
        ),
        (
            lambda root: write_png(first_flow(root), np.zeros((28, 28, 3), np.uint16)),
            ["006_006_1_2", "uint16"],
        ),
        (
            lambda root: write_png(root / FLOW_FOLDER / "006_006_1_2.png", tiny_flow(0, 0)),
            ["006_006_1_2", "twice"],
        ),
        (
            lambda root: write_png(root / FLOW_FOLDER / "006_006_9_9 .png", tiny_flow(0, 0)),
            ["006_006_9_9", "no row"],
        ),
        (
            lambda root: edit_index(root, lambda t: pd.concat([t, t[:1]])),
            ["sub01_EP01_01", "listed twice"],
        ),
        (
            lambda root: edit_index(root, lambda t: t.replace({"label": {"2": "two"}})),
            ["sub01_EP01_03", "'two'"],
        ),
        (
            lambda root: edit_index(root, lambda t: t.replace({"label": {"2": "3"}})),
            ["the label 3", "none the label 2"],
        ),
        (
            lambda root: edit_index(root, lambda t: t.assign(**{"class": list("abcbcadefghi")})),
            ["a label must have one name"],
        ),
        (lambda root: edit_index(root, lambda t: t.drop(columns="sub")), [INDEX_NAME, "'sub'"]),
        (lambda root: edit_index(root, lambda t: t[:0]), [INDEX_NAME]),
        (lambda root: (root / INDEX_NAME).write_text(""), [INDEX_NAME, "CSV"]),
        (lambda root: shutil.rmtree(root / FLOW_FOLDER), ["no flow images"]),
    ],
)
def test_what_is_wrong_is_named(tiny, damage, words):
    damage(tiny)
    with pytest.raises(BadInput) as error:
        load_composite(tiny)
    assert all(word in str(error.value) for word in words) and "\n" not in str(error.value)


def move(root, source, target):
    source, target = next((root / FLOW_TREE).glob(source)), root / FLOW_TREE / target
    target.parent.mkdir(parents=True, exist_ok=True)
    source.rename(target)


@pytest.mark.parametrize(
    "damage, words",
    [
        (
            lambda root: move(root, "s01/u_test/0/*", "s01/u_test/x/s01_s01_ne_01 .png"),
            ["x", "class folder"],
        ),
        (
            lambda root: move(root, "s01/u_test/0/*", "s02/u_test/0/s01_s01_ne_01 .png"),
            ["s02", "s01_s01_ne_01"],
        ),
        (
            lambda root: move(root, "s01/u_train/0/sub01*", "s01/u_train/1/sub01_EP01_01 .png"),
            ["u_train", "sub01_EP01_01"],
        ),
        (
            lambda root: next((root / FLOW_TREE).glob("s01/u_train/0/sub01*")).unlink(),
            ["u_train", "sub01_EP01_01"],
        ),
        (
            lambda root: write_png(
                next((root / FLOW_TREE).glob("s01/u_train/0/sub01*")), tiny_flow(50, 0)
            ),
            ["u_train", "not the copy"],
        ),
        (
            lambda root: write_png(
                root / FLOW_TREE / "s01/u_test/1/s01_s01_ne_01 .png", tiny_flow(0, 0)
            ),
            ["s01_s01_ne_01", "0"],
        ),
        (
            lambda root: edit_index(
                root, lambda t: t.assign(label=["1"] + t["label"].tolist()[1:])
            ),
            ["sub01_EP01_01", "label 1"],
        ),
    ],
)
def test_contradictions_of_the_tree_are_named(tmp_path, damage, words):
    root = make_datasets(tmp_path / "datasets", "tree")
    damage(root)
    with pytest.raises(BadInput) as error:
        load_composite(root)
    assert all(word in str(error.value) for word in words)


def test_a_face_that_the_index_names_must_be_there(tiny):
    (tiny / FACE_FOLDER).mkdir()
    cv2.imwrite(str(tiny / FACE_FOLDER / "other name.jpg"), np.zeros((224, 224, 3), np.uint8))
    edit_index(tiny, lambda t: t.assign(imagename=["other name.jpg"] + [""] * 11))
    composite = load_composite(tiny)
    assert [path.name for path in composite.faces if path] == ["other name.jpg"]
    edit_index(tiny, lambda t: t.assign(imagename=["other name.jpg", "gone.jpg"] + [""] * 10))
    with pytest.raises(BadInput, match="gone.jpg"):
        load_composite(tiny)


def test_faces_without_an_index(tmp_path):
    """SMIC's faces are called s1 where the flow images are called s01; unlisted .png files there
    are flow images.
    """
    root = make_datasets(tmp_path / "datasets", "tree", index=False)
    (root / FACE_FOLDER).mkdir()
    for name in ("s01_s1_ne_01.jpg", "006_006_1_2.jpg", "sub01_EP01_01 .png"):
        cv2.imwrite(str(root / FACE_FOLDER / name), np.zeros((224, 224, 3), np.uint8))
    faces = {
        name: face and face.name for name, face in zip(NAMES, load_composite(root).faces) if face
    }
    assert faces == {"s01_s01_ne_01": "s01_s1_ne_01.jpg", "006_006_1_2": "006_006_1_2.jpg"}


def test_a_truncated_jpeg_is_refused(tmp_path):
    path = tmp_path / "face.jpg"
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 255, (64, 64, 3)).astype(np.uint8))
    assert read_image(path).shape == (64, 64, 3)
    whole = path.read_bytes()
    path.write_bytes(whole + bytes(200))  # some cameras append data of their own
    assert read_image(path).shape == (64, 64, 3)
    path.write_bytes(whole[:-300])
    with pytest.raises(BadInput, match="truncated"):
        read_image(path)


def test_the_real_composite(real_datasets):
    composite = load_composite(real_datasets)
    table = composite.summarize()
    assert table.loc["casme2"].tolist() == [24, 145, 88, 32, 25]
    assert table.loc["smic"].tolist() == [16, 164, 70, 51, 43]
    assert table.loc["samm"].tolist() == [28, 133, 92, 26, 15]
    assert table.loc["total"].tolist() == [68, 442, 250, 109, 83]
    assert all(face is not None and face.exists() for face in composite.faces)
    assert (composite.flows.min((1, 2)) == 0).all() and (composite.flows.max((1, 2)) == 255).all()
    by_fold = {fold.name: (fold.train, fold.test) for fold in split_subjects(composite, (2, 1, 0))}
    for subject in by_fold:  # the folds are the tree's
        for part, indices in zip(("u_train", "u_test"), by_fold[subject]):
            tree = {
                (path.stem.strip(), int(path.parent.name))
                for path in (real_datasets / FLOW_TREE / subject / part).glob("*/*.png")
            }
            assert tree == set(zip(composite.names[indices], composite.labels[indices]))


def test_the_real_layouts_agree(real_datasets, tmp_path):
    whole = load_composite(real_datasets)
    for kept in (FLOW_TREE, FLOW_FOLDER):
        root = tmp_path / kept
        root.mkdir()
        (root / kept).symlink_to(real_datasets / kept)
        if kept == FLOW_FOLDER:
            shutil.copy(real_datasets / INDEX_NAME, root)
        part = load_composite(root)
        for field in ("names", "subjects", "databases", "labels", "flows"):
            np.testing.assert_array_equal(getattr(part, field), getattr(whole, field))


@given(st.integers(0, 2**32 - 1))
def test_normalized_maps_have_median_zero_and_deviation_one(seed):
    flows = np.random.default_rng(seed).integers(0, 256, (3, 28, 28, 3)).astype(np.uint8)
    flows[1, :, :, 2] = 7  # a map of one value
    maps = normalize(flows)
    assert maps.dtype == np.float32 and maps.shape == flows.shape and not maps[1, :, :, 2].any()
    np.testing.assert_allclose(np.median(maps, axis=(1, 2)), 0, atol=1e-6)
    deviations = maps.std(axis=(1, 2))
    deviations[1, 2] += 1
    np.testing.assert_allclose(deviations, 1, atol=1e-5)
    # all that is lost is each map's offset and scale
    np.testing.assert_allclose(
        np.corrcoef(maps[0, :, :, 0].ravel(), flows[0, :, :, 0].ravel())[0, 1], 1
    )


def test_databases_and_classes_of_ones_own(tiny):
    """Any database name, and as many classes as there are labels, named or not."""
    edit_index(tiny, lambda t: t.replace({"dataset": {"samm": "lab"}}))
    composite = load_composite(tiny)
    assert list(composite.summarize().index) == ["casme2", "smic", "lab", "total"]
    assert composite.classes == CLASSES
    edit_index(tiny, lambda t: t.assign(label=[str(i % 5) for i in range(12)]))
    composite = load_composite(tiny)
    assert composite.classes == tuple("01234")
    assert composite.summarize().loc["total"].tolist() == [6, 12, 3, 3, 2, 2, 2]
    names = ["joy", "disgust", "repression", "surprise", "others"]
    edit_index(tiny, lambda t: t.assign(**{"class": [names[i % 5] for i in range(12)]}))
    assert load_composite(tiny).classes == tuple(names)
    edit_index(tiny, lambda t: t.assign(label=list("01" * 6), dataset="lab", **{"class": ""}))
    assert load_composite(tiny).classes == ("0", "1")  # of unknown databases not MEGC 2019's
    two = ["happy", "sad"]
    edit_index(tiny, lambda t: t.assign(label=list("01" * 6), **{"class": two * 6}))
    composite = load_composite(tiny)
    assert composite.classes == ("happy", "sad")
    assert composite.select(np.array([3, 1])).classes == ("happy", "sad")
