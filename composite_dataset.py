"""Reads `datasets/`: the MEGC 2019 composite in the layout that HTNet's authors released.

    combined_3_class2_for_optical_flow.csv      the index (here, or beside the script)
    three_norm_u_v_os/<subject>/{u_train,u_test}/<label>/<name> .png
                                                flow images, once per fold
    STSNet_whole_norm_u_v_os/<name> .png        or: the same flow images, once
    combined_datasets_whole/                    apex faces (.jpg), or flow images (.png)

A sample's name is '<subject>_<clip>'; the space before `.png` is optional. Without the index the
folder tree gives subjects and labels. Whatever is missing, unreadable or contradictory raises
`BadInput`.
"""

import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from support.files import BadInput, is_plain, read_image, read_table
from support.released_tree import list_images, read_tree

INDEX_NAME = "combined_3_class2_for_optical_flow.csv"
FLOW_TREE = "three_norm_u_v_os"
FLOW_FOLDER = "STSNet_whole_norm_u_v_os"
FACE_FOLDER = "combined_datasets_whole"
CLASSES = ("negative", "positive", "surprise")
# How each database names its subjects.
DATABASES = {
    "casme2": r"sub\d+",
    "smic": r"s\d+",
    "samm": r"\d{3}",
    "casme3": r"spNO\..+",
}
FLOW_SIZE = 28


@dataclass(frozen=True)
class Composite:
    """N samples, sorted by name, so that no result depends on where they were read from."""

    names: np.ndarray  # [N] '<subject>_<clip>'
    subjects: np.ndarray  # [N] str
    databases: np.ndarray  # [N] 'casme2' | 'smic' | 'samm' | 'casme3', or another name
    labels: np.ndarray  # [N] int; 0 negative, 1 positive, 2 surprise, or as `classes` has it
    flows: np.ndarray  # uint8 [N, 28, 28, 3], OpenCV's channel order: (strain, v, u)
    faces: list  # [N] Path of the apex face, or None
    classes: tuple = CLASSES  # the labels' names, in their order

    def select(self, indices):
        """The samples with these indices, in this order -> Composite."""
        arrays = ("names", "subjects", "databases", "labels", "flows")
        selected = {name: getattr(self, name)[indices] for name in arrays}
        return replace(self, **selected, faces=[self.faces[i] for i in indices])

    def summarize(self):
        """Subjects, samples and classes: a DataFrame with a row for each database and the total."""
        masks = {name: self.databases == name for name in sort_databases(self.databases)}
        masks["total"] = np.full(len(self.names), True)
        rows = {}
        for name, mask in masks.items():
            counts = np.bincount(self.labels[mask], minlength=len(self.classes))
            size = {"subjects": len(set(self.subjects[mask])), "samples": mask.sum()}
            rows[name] = size | dict(zip(self.classes, counts))
        return pd.DataFrame(rows).T


def sort_databases(databases):
    """The names of the databases that are there: the known ones first, in their order."""
    present = set(databases)
    return [*(name for name in DATABASES if name in present), *sorted(present - DATABASES.keys())]


def holds_data(root):
    """Whether `root` holds anything of a composite: an index or flow images, be it only half."""
    root = Path(root)
    return (
        find_index(root) is not None
        or (root / FLOW_TREE).exists()
        or (root / FLOW_FOLDER).exists()
        or any((root / FACE_FOLDER).glob("*.png"))
    )


def find_index(root):
    """The index in `root`, beside it (as in the released code) or beside this script, or None.

    The folder above is not asked where it is a composite of its own.
    """
    folders = [root, Path(__file__).parent]
    if not (root.parent / FLOW_TREE).exists() and not (root.parent / FLOW_FOLDER).exists():
        folders.insert(1, root.parent)
    there = [folder / INDEX_NAME for folder in folders if (folder / INDEX_NAME).is_file()]
    return there[0] if there else None


def load_composite(root):
    """Reads the data under the folder `root` -> Composite; raises BadInput."""
    root = Path(root)
    if not root.is_dir():
        raise BadInput(f"{root} is not a folder: set DATASETS to the folder that holds the data.")
    flows, labels, subjects, source = _find_flows(root)
    index_path = find_index(root)
    if index_path is None:
        if labels is None:
            raise BadInput(
                f"{INDEX_NAME} is missing in {root}: it holds the labels of the flow images in "
                f"{source}."
            )
        rows = {
            name: {"sub": subjects[name], "label": labels[name], "dataset": "", "imagename": ""}
            for name in flows
        }
    else:
        rows = _read_index(index_path)
        if missing := sorted(rows.keys() - flows.keys()):
            raise BadInput(
                f"{source} has no flow image '{missing[0]} .png' ({len(missing)} missing in all), "
                f"which {index_path} lists: add it or take its row out."
            )
        if extra := sorted(flows.keys() - rows.keys()):
            raise BadInput(
                f"{flows[extra[0]]} ({len(extra)} such in all) has no row in {index_path}: add the "
                "row or take the image away."
            )
        for name, row in rows.items() if labels else ():
            if (row["sub"], row["label"]) != (subjects[name], labels[name]):
                raise BadInput(
                    f"{index_path} gives {name} subject {row['sub']} and label {row['label']}, but "
                    f"the image lies at {flows[name]}: make the two agree."
                )
    names = sorted(rows)
    if not names:
        raise BadInput(
            f"{index_path or source} lists no samples: put the data there or empty {root} for the "
            "sample."
        )
    images = []
    for name in names:
        if not is_plain(name):
            raise BadInput(
                f"{flows[name]}: a sample's name must be UTF-8 without control characters; rename "
                "the file."
            )
        image = read_image(flows[name])
        if image.shape != (FLOW_SIZE, FLOW_SIZE, 3) or image.dtype != np.uint8:
            raise BadInput(
                f"{flows[name]} is {image.dtype} {'x'.join(map(str, image.shape))}, not an 8-bit "
                f"colour flow image of {FLOW_SIZE}x{FLOW_SIZE} pixels: make it anew with "
                "prepare_datasets.py."
            )
        images.append(image)
    databases = [_database(name, rows[name], index_path or source) for name in names]
    return Composite(
        names=np.array(names),
        subjects=np.array([rows[name]["sub"] for name in names]),
        databases=np.array(databases),
        labels=np.array([rows[name]["label"] for name in names]),
        flows=np.stack(images),
        faces=_find_faces(root, names, rows, index_path),
        classes=_name_classes(rows, databases, index_path or source),
    )


def _name_classes(rows, databases, source):
    """The labels' names: the index's column `class`, where it is not empty, or else the numbers.

    The known databases' labels 0, 1 and 2 are MEGC 2019's, also where one of them is absent.
    """
    samples = {row["label"]: name for name, row in rows.items()}
    count = 1 + max(samples)
    absent = [label for label in range(count) if label not in samples]
    known = bool(set(databases) & DATABASES.keys())
    if absent and not (known and count <= len(CLASSES)):
        raise BadInput(
            f"{source} gives {samples[count - 1]} the label {count - 1}, but none the label "
            f"{absent[0]}: labels must count from 0 up."
        )
    names = {}
    for name, row in rows.items():
        given = row.get("class", "").strip()
        names[row["label"]] = names.get(row["label"]) or given
        if given not in ("", names[row["label"]]):
            raise BadInput(
                f"{source} calls label {row['label']} '{names[row['label']]}' and, of {name}, "
                f"'{given}': a label must have one name."
            )
    in_order = all(name in ("", CLASSES[label]) for label, name in names.items() if label < 3)
    if known and count <= len(CLASSES) and in_order:
        return CLASSES
    classes = tuple(names.get(label) or str(label) for label in range(count))
    if len(set(classes)) < count:
        raise BadInput(f"{source} gives two labels the same name: {', '.join(classes)}.")
    return classes


def _find_flows(root):
    """-> (path by name, label by name or None, subject by name or None, their folder)."""
    if (root / FLOW_TREE).is_dir():
        return read_tree(root / FLOW_TREE)
    for folder in (root / FLOW_FOLDER, root / FACE_FOLDER):
        if flows := list_images(folder):
            return flows, None, None, folder
    raise BadInput(
        f"{root} holds no flow images: put them in {FLOW_TREE}, {FLOW_FOLDER} or (as .png) "
        f"{FACE_FOLDER}."
    )


def _read_index(path):
    """The index -> {name: row}. All is read as text, since SAMM's subjects are called '006'."""
    table = read_table(
        path, ("sub", "filename_o", "label"), "put the released index there, or take it away"
    )
    rows = {}
    for line, row in enumerate(table.to_dict("records"), start=2):
        name = f"{row['sub'].strip()}_{row['filename_o'].strip()}"
        if not re.fullmatch(r"\d{1,3}", row["label"].strip(), re.ASCII):
            raise BadInput(
                f"{path}, line {line}: label '{row['label']}' of {name} is no whole number from 0."
            )
        if name in rows:
            raise BadInput(f"{path}, line {line}: {name} is listed twice; keep one row.")
        rows[name] = {
            "dataset": "",
            "imagename": "",
            **row,
            "sub": row["sub"].strip(),
            "label": int(row["label"]),
        }
    return rows


def _database(name, row, source):
    """The index's `dataset` column; where it says nothing, by the subject's kind of name."""
    if given := row["dataset"].strip().lower():
        return given
    for database, pattern in DATABASES.items():
        if re.fullmatch(pattern, row["sub"]):
            return database
    raise BadInput(
        f"{source}: the database of subject '{row['sub']}' is unknown, since CASME II's are named "
        "sub01, SMIC's s01, SAMM's 006 and CASME III's spNO.1; name it in the index's column "
        "'dataset'."
    )


def _find_faces(root, names, rows, index_path):
    """The apex face of each sample, or None; an image that the index names must be there."""
    images = {
        path.name: path
        for path in sorted((root / FACE_FOLDER).glob("*"))
        if path.suffix.lower() in (".jpg", ".jpeg", ".bmp", ".png")
    }
    # A .png that no index names is taken for a flow image: the released code keeps them in this
    # folder, too.
    by_name = {
        _without_zeros(path.stem): path for path in images.values() if path.suffix.lower() != ".png"
    }
    faces = []
    for name in names:
        listed = rows[name]["imagename"].strip()
        face = images.get(listed) or by_name.get(_without_zeros(name))
        if face is None and listed and images:
            raise BadInput(
                f"{root / FACE_FOLDER / listed} is missing, which {index_path} lists as the face "
                f"of {name}: add the image or clear its cell 'imagename'."
            )
        faces.append(face)
    return faces


def _without_zeros(stem):
    """SMIC's subjects are s1 in the names of faces and s01 in those of flow images."""
    return re.sub(r"(?<![A-Za-z0-9])s0*(\d)", r"s\1", stem.strip())


def normalize(flows):
    """Flow images [N, 28, 28, 3] -> float32: each map minus its median, by its standard deviation.

    A flow map's zero lies wherever min-max scaling to 0..255 put it; most of a face does not move,
    so the map's median is about zero motion. A map of one value becomes zeros. Not part of the
    paper's recipe.
    """
    flows = flows.astype(np.float32)
    flows -= np.median(flows, axis=(1, 2), keepdims=True)
    return flows / np.maximum(flows.std(axis=(1, 2), keepdims=True), 1e-6)
