"""How far scores move when faces are framed otherwise than the released ones.

    python -m study.framing      needs the released composite in datasets/

The raw frames are not at hand. But what `clips.face_box` would cut can be told from the landmarks
of a released face, and the released flow image can be cut in the same way. STSTNet's weights that
ship then predict each held-out subject on such images.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

import loso
from clips import FACE_SIZE, face_box
from composite_dataset import FLOW_SIZE, load_composite
from evaluation import score_groups
from facial_areas import detect_landmarks
from report import format_markdown
from ststnet import STSTNet
from study.experiments import ROOT
from study.summarize import format_seeds
from support.files import BadInput, read_image
from support.weights_files import load_weights

WEIGHTS = ROOT / "weights" / "pretrained" / "STSTNet"


def cut_flow(flow, box):
    """Flow image uint8 [28, 28, 3] -> its part in a box (left, top, side) of the face."""
    left, top, side = (value * FLOW_SIZE / FACE_SIZE for value in box)
    scale = side / FLOW_SIZE
    # the centre of pixel i lies at i + 0.5
    matrix = np.array([[scale, 0, left + scale / 2 - 0.5], [0, scale, top + scale / 2 - 0.5]])
    cut = cv2.warpAffine(
        flow.astype(np.float32),
        matrix,
        (FLOW_SIZE, FLOW_SIZE),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    low, high = cut.min((0, 1)), cut.max((0, 1))
    return np.rint((cut - low) / np.maximum(high - low, 1e-6) * 255).astype(np.uint8)


def predict_all(composite, flows):
    """Predictions int [N] of the weights that ship, each for its own held-out subject."""
    inputs = torch.from_numpy(flows.transpose(0, 3, 1, 2).astype(np.float32))
    model, predicted = STSTNet(), np.full(len(flows), -1)
    for fold in loso.split_subjects(composite, (0, 1, 2)):
        load_weights(model, WEIGHTS / f"{fold.name}.pth")
        predicted[fold.test] = loso.predict(model, inputs[fold.test]).argmax(1).numpy()
    return predicted


def main(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--datasets", type=Path, default="datasets")
    try:
        composite = load_composite(parser.parse_args(argv).datasets)
    except BadInput as error:
        parser.error(error)
    landmarks = [
        detect_landmarks(read_image(face, cv2.IMREAD_COLOR))
        for face in tqdm(composite.faces, desc="landmarks")
    ]
    rows = []
    for name, frame in {
        "as released": None,
        "one framing for all": lambda points, database: face_box(points),
        "a framing per database": face_box,
    }.items():
        flows = composite.flows
        if frame:
            boxes = map(frame, landmarks, composite.databases)
            flows = np.stack([cut_flow(flow, box) for flow, box in zip(flows, boxes)])
        scores = score_groups(composite.databases, composite.labels, predict_all(composite, flows))
        rows.append({"flow images": name} | {k: format_seeds([v]) for k, v in scores.items()})
    print(format_markdown(pd.DataFrame(rows)))


if __name__ == "__main__":
    main()
