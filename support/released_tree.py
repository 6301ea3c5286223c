"""The released folds: three_norm_u_v_os/<subject>/{u_train,u_test}/<label>/<name> .png.

A subject's u_test holds its own samples; its u_train must be exactly everybody else's.
"""

import os
import re

from support.files import BadInput


def list_images(folder):
    """{name: path} of the .png files in a folder."""
    images = {}
    for file in sorted(os.listdir(folder)) if folder.is_dir() else ():
        stem, ending = os.path.splitext(file)
        if ending.lower() == ".png" and not file.startswith("."):
            if (name := stem.strip()) in images:
                raise BadInput(
                    f"{folder / file} is there twice, with and without the space before .png: "
                    "remove one."
                )
            images[name] = os.path.join(folder, file)
    return images


def read_classes(folder):
    """{name: (label, path)} of the images in the class folders 0, 1, 2, …"""
    found = {}
    for sub in sorted(folder.iterdir()) if folder.is_dir() else ():
        if sub.name.startswith(".") or not sub.is_dir():
            continue
        if not re.fullmatch(r"\d{1,3}", sub.name, re.ASCII):
            raise BadInput(
                f"{sub} is not a class folder: 0 (negative), 1 (positive) and 2 (surprise) are, or "
                "other whole numbers."
            )
        for name, path in list_images(sub).items():
            if name in found:
                raise BadInput(
                    f"{path} lies in class folder {found[name][0]} as well: keep one of the two."
                )
            found[name] = (int(sub.name), path)
    return found


def read_tree(tree):
    """-> (path by name, label by name, subject by name, tree); raises BadInput.

    The images read are u_test's; of the copies in u_train (29,614 in the released tree) names,
    labels and sizes are compared.
    """
    folders = sorted(
        path for path in tree.iterdir() if path.is_dir() and not path.name.startswith(".")
    )
    flows, labels, subjects = {}, {}, {}
    for folder in folders:
        for name, (label, path) in read_classes(folder / "u_test").items():
            if not name.startswith(f"{folder.name}_"):
                raise BadInput(
                    f"{path} is not a sample of subject {folder.name}: its name would begin "
                    f"'{folder.name}_'; move it to its own subject's u_test."
                )
            flows[name], labels[name], subjects[name] = path, label, folder.name
    sizes = {name: os.path.getsize(path) for name, path in flows.items()}
    for folder in folders:
        if not (folder / "u_train").is_dir():
            continue
        copies = read_classes(folder / "u_train")
        train = {name: label for name, (label, _) in copies.items()}
        expected = {name: label for name, label in labels.items() if subjects[name] != folder.name}
        if wrong := sorted(
            name for name in train.keys() | expected if train.get(name) != expected.get(name)
        ):
            raise BadInput(
                f"{folder / 'u_train'} contradicts the u_test folders about '{wrong[0]} .png' "
                f"({len(wrong)} such in all): label {train.get(wrong[0], 'missing')} here, "
                f"{expected.get(wrong[0], 'not another subject’s sample')} by u_test."
            )
        for name, (_, path) in copies.items():
            if os.path.getsize(path) != sizes[name]:
                raise BadInput(
                    f"{path} is not the copy of {flows[name]} that it should be: copy that one "
                    "over it."
                )
    return flows, labels, subjects, tree
