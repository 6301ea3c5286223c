"""The honest recipe's teacher: a support vector machine labels mixtures of the training samples.

442 samples are few for a network. A machine with an RBF kernel learns more from them, but cannot be
shipped: its support vectors are people's flow maps. So it is trained on a fold's training samples,
labels weighted means of two of them each, and the network learns from those. The held-out subject
is seen by neither. docs/honest.md says what this is worth; the paper has none of it.
"""

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from augmentation import U, crop_tiles, mirror
from support.files import BadInput

MIXTURES = 4000
LAYOUT = (2, 1)  # what the machine sees: the mosaic and the whole map
V = U - 1


def shrink(inputs):
    """Padded, normalized inputs [N, 6, S, S] -> features [N, D]: strain, v, u and their magnitude
    of mosaic and whole map, at 14x14.
    """
    maps = crop_tiles(inputs, LAYOUT)
    parts = [
        torch.cat([part, torch.hypot(part[:, V : V + 1], part[:, U : U + 1])], dim=1)
        for part in maps.split(3, dim=1)
    ]
    return torch.cat([F.avg_pool2d(part, 2).flatten(1) for part in parts], dim=1).numpy()


class Teacher:
    """A class-balanced support vector machine, trained on samples and their mirror images."""

    def __init__(self, inputs, labels, num_classes):
        """inputs as for `shrink`, labels int [N]; raises BadInput where all have one class."""
        if len(set(labels.tolist())) < 2:
            raise BadInput(
                "TEACHER needs training samples of two classes or more: set it to False."
            )
        both = torch.cat([inputs, mirror(inputs, LAYOUT)])
        self.num_classes = num_classes
        self.machine = make_pipeline(StandardScaler(), SVC(class_weight="balanced"))
        self.machine.fit(shrink(both), np.concatenate([labels, labels]))

    def label(self, inputs):
        """Probabilities float32 [N, C]: softmax of the decisions, summed over the mirror images."""
        decisions = 0
        for view in (inputs, mirror(inputs, LAYOUT)):
            one = self.machine.decision_function(shrink(view))
            decisions = decisions + (np.stack([-one, one], 1) if one.ndim == 1 else one)
        probabilities = torch.zeros(len(inputs), self.num_classes)
        seen = torch.from_numpy(self.machine.classes_)
        probabilities[:, seen] = torch.from_numpy(decisions).softmax(1).float()
        return probabilities


def teach(seen, inputs, labels, num_classes, seed):
    """The training samples and MIXTURES of them, with the teacher's labels.

    seen [n, 6, S, S]: what the teacher sees; inputs [n, C, S, S]: what the network does; labels int
    [n] -> (inputs [n + MIXTURES, C, S, S], probabilities float32 [n + MIXTURES, num_classes]).
    """
    random = np.random.default_rng(seed)
    first, second = random.integers(len(labels), size=(2, MIXTURES))
    share = torch.from_numpy(random.uniform(size=(MIXTURES, 1, 1, 1)).astype(np.float32))
    seen, inputs = (
        torch.cat([maps, share * maps[first] + (1 - share) * maps[second]])
        for maps in (seen, inputs)
    )
    return inputs, Teacher(seen[: len(labels)], labels, num_classes).label(seen)
