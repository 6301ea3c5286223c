"""From the settings to a run that can start: data, inputs, folds and folders, all checked."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

import loso
import report
from augmentation import PADDING, mirror
from composite_dataset import Composite, load_composite
from facial_areas import append_centres, find_centres
from inputs import list_layout, make_inputs, parse_areas
from pictures import draw_areas
from support.devices import pick_device, refuse_large_network
from support.files import BadInput
from support.ranks import is_first, say
from support.records import list_differences, list_recorded
from support.run_folder import RunFolder
from support.settings import NETWORK, check_settings, check_texts, format_value
from support.weights_files import Weights


@dataclass(frozen=True)
class Run:
    """All that training and evaluation need of a run."""

    settings: tuple  # named: the constants, `train`, `overwrite`, `on_sample`
    composite: Composite
    inputs: torch.Tensor  # float32 [N, C, 28, 28], or with AUGMENT [N, 2, C, 28, 28]: `predict`
    train_inputs: torch.Tensor  # the same, or with AUGMENT [N, C, S, S], larger by the padding
    teacher_inputs: torch.Tensor | None  # with TEACHER: mosaics and whole maps, padded
    layout: tuple  # of the channels: `inputs.list_layout`
    labels: torch.Tensor  # int [N], as training sees them
    folds: list  # a loso.Fold for each subject, or group of them
    held_out: list  # those of SUBJECTS
    record: dict  # stored as settings.json: the settings that make this run, and a hash of the data
    folder: RunFolder
    device: torch.device
    weights: Weights | None = None  # in evaluation

    @property
    def weights_keep(self):
        """KEEP of the weights that are evaluated, or "unknown"."""
        record = self.weights.record if self.weights else None
        return record["settings"].get("KEEP", "unknown") if record else "unknown"

    def load_fold(self, fold):
        """A finished fold from disk, a dict of arrays; raises BadInput."""
        names, labels = self.composite.names[fold.test], self.composite.labels[fold.test]
        classes = len(self.composite.classes)
        return self.folder.load_fold(fold.name, names, labels, self.settings.EPOCHS, classes)


def prepare(settings, build_model, weights=None):
    """Reads the data and makes the networks' inputs -> Run. For training, makes the run's folders.

    weights: in evaluation, the Weights.
    What can be refused before the facial areas are looked for (seconds to minutes) is refused then;
    nothing is written before all is checked.
    """
    if settings.on_sample:
        say(report.SAMPLE_BANNER)
    starts_run = settings.train and is_first()
    device, folder = pick_device(settings.DEVICE), RunFolder(settings)
    composite = load_composite(settings.DATASETS)
    with torch.device("meta"):  # shapes only: settings that do not fit are refused first
        model = build_model(settings, len(composite.classes))
    parameters = sum(parameter.numel() for parameter in model.parameters())
    refuse_large_network(parameters, settings.train, device)
    say(f"{composite.summarize().to_string()}\n")
    check_subjects(settings, composite)
    settings = fit_class_order(settings, len(composite.classes))
    labels = composite.labels
    if settings.SHUFFLE_LABELS:
        labels = np.random.default_rng(settings.SEED).permutation(labels)
    folds = loso.split_subjects(composite, settings.CLASS_ORDER, labels, settings.FOLDS)
    held_out = [fold for fold in folds if not settings.SUBJECTS or fold.name in settings.SUBJECTS]
    if settings.SUBJECTS == ("all",):
        held_out = [loso.train_on_all(composite, settings.CLASS_ORDER, labels)]
    held_out_names = [fold.name for fold in held_out]
    if weights:
        check_weights(weights, settings, held_out_names)
    record = {"settings": list_recorded(settings)}
    if starts_run:
        say(f"Settings: {report.format_settings(record)}\n")
        if not settings.overwrite:
            folder.refuse_other_runs(record)
        folder.refuse_full_disk(parameters, held_out_names, record)
        folder.take_locks()
    centres = None
    names = parse_areas(settings.AREAS) if settings.MODEL == "HTNet" else ("whole",)
    if names != ("whole",) or settings.TEACHER:  # the teacher sees the areas
        centres, found, areas = find_areas(settings, composite, folder, record)
    record["data"] = hash_data(composite, centres)
    folder.record = record
    if weights and weights.record and weights.record["data"] != record["data"]:
        if settings.FOLDS:  # the groups are cut from the data: others would have been trained on
            raise BadInput(
                f"{weights.path} holds networks for groups of other data: evaluate them on the "
                "data they were trained on, or train anew with --train True."
            )
        say(
            f"Note: the weights in {weights.path} were trained on other data (other samples, flow "
            "images or facial areas)."
        )
    if starts_run:
        folder.claim(record, settings.overwrite)
    if centres is not None and is_first():
        keep_centres(found, areas, folder.areas_path() if settings.train else None)
    if centres is not None and starts_run:
        draw_areas(folder.results / "facial_areas.png", composite, centres, per_database=2)
    inputs = train_inputs = make_inputs(composite.flows, centres, names, settings.NORMALIZE)
    layout, teacher_inputs = list_layout(names), None
    if settings.AUGMENT:
        inputs = torch.stack([inputs, mirror(inputs, layout)], dim=1)
    if settings.AUGMENT and settings.train:
        train_inputs = make_inputs(composite.flows, centres, names, settings.NORMALIZE, PADDING)
    if settings.TEACHER and settings.train:
        both = parse_areas("all,whole")
        teacher_inputs = make_inputs(composite.flows, centres, both, True, PADDING)
    return Run(
        settings=settings,
        composite=composite,
        inputs=inputs,
        train_inputs=train_inputs,
        teacher_inputs=teacher_inputs,
        layout=layout,
        labels=torch.from_numpy(labels),
        folds=folds,
        held_out=held_out,
        record=record,
        folder=folder,
        device=device,
        weights=weights,
    )


def find_areas(settings, composite, folder, record):
    """The centres of the data's file or the run's own -> (centres, those found, the file's path).

    With --overwrite True the areas of a run that is thrown away are found anew.
    """

    def is_replaced(record):
        return settings.overwrite and folder.find_other_runs(record)

    areas, own = Path(settings.DATASETS, "facial_areas.csv"), folder.areas_path()
    if own.exists() and not areas.exists() and not is_replaced(record):
        centres, found = find_centres(composite, own, say)
        if not is_replaced(record | {"data": hash_data(composite, centres)}):
            return centres, found, own
    return *find_centres(composite, areas, say), areas


def keep_centres(found, areas, own_areas):
    """Appends the centres found to the file `areas` or, if it cannot be written, to `own_areas`."""
    try:
        append_centres(areas, found, say)
    except BadInput as error:
        say(f"Note: {error}")
        if own_areas:
            append_centres(own_areas, found, say)


def fit_class_order(settings, num_classes):
    """The settings with a CLASS_ORDER for so many classes; raises BadInput.

    The constant as it ships is of MEGC 2019's three classes; with others it means: the last first,
    or (STSTNet's) the first first.
    """
    order, classes = tuple(settings.CLASS_ORDER), tuple(range(num_classes))
    if sorted(order) == list(classes):
        return settings
    if order not in ((2, 1, 0), (0, 1, 2)):
        raise BadInput(
            f"CLASS_ORDER is {format_value(order)}, but the data has the classes "
            f"{format_value(classes)}: name each of them once."
        )
    fitted = classes if order[0] == 0 else classes[::-1]
    say(f"CLASS_ORDER {format_value(fitted)}, since the data has {num_classes} classes.")
    return settings._replace(CLASS_ORDER=fitted)


def hash_data(composite, centres):
    """Text that tells these samples, flow images and facial areas from others."""
    parts = [composite.flows.tobytes(), composite.labels.tobytes()]
    parts.append("\n".join(composite.names).encode())
    if centres is not None:
        parts.append(centres.astype(np.int64).tobytes())
    return hashlib.sha256(b"".join(parts)).hexdigest()[:16]


def check_subjects(settings, composite):
    """Raises BadInput for SUBJECTS that the data do not have, and for a single subject."""
    there = list(dict.fromkeys(composite.subjects))
    if "all" in there:
        raise BadInput(
            f"{settings.DATASETS} has a subject named 'all', which SUBJECTS and the weights' names "
            "mean otherwise: give the subject another name."
        )
    if settings.SUBJECTS and settings.FOLDS:
        raise BadInput(
            "SUBJECTS names subjects, but FOLDS cuts them into groups: leave one of the two out."
        )
    if settings.FOLDS > len(there):
        raise BadInput(f"FOLDS is {settings.FOLDS}, but the data has {len(there)} subjects only.")
    if settings.SUBJECTS == ("all",):
        if not settings.train:
            raise BadInput("SUBJECTS 'all' holds nobody out: there is nothing to evaluate.")
        return
    if unknown := [subject for subject in settings.SUBJECTS if subject not in there]:
        raise BadInput(f"SUBJECTS names '{unknown[0]}', but the data only has {', '.join(there)}.")
    if len(there) < 2:
        raise BadInput(
            f"{settings.DATASETS} holds a single subject: leave-one-subject-out needs at least two."
        )


def adopt_settings(settings, weights):
    """The settings that the weights were trained with; what the command line gives stays."""
    stored = weights.record["settings"] if weights.record else {}
    recorded = {*list_recorded(settings), *(NETWORK if stored.get("MODEL") == "HTNet" else ())}
    adopted = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in stored.items()
        if name in recorded and name not in settings.given
    }
    replaced = [name for name, value in adopted.items() if getattr(settings, name) != value]
    if replaced:
        listed = ", ".join(f"{name} {format_value(adopted[name])}" for name in replaced)
        say(f"As the weights were trained: {listed}.")
    settings = settings._replace(**adopted)
    try:
        check_texts(settings._asdict())
        check_settings(settings)
    except BadInput as error:
        raise BadInput(f"{weights.path} stores settings that make no sense. {error}") from None
    return settings


def check_weights(weights, settings, names):
    """Holds weights against the settings, and prints what there is to know.

    Raises BadInput where they are of another network, or lack one of the folds.
    """
    folder, ours = weights.path, list_recorded(settings)
    if not weights.record:
        say(
            f"Note: {folder} has no settings.json, so the epoch choice of these weights is unknown."
        )
    else:
        theirs = weights.record["settings"]
        essential = ("MODEL", "FOLDS", "NORMALIZE", "AUGMENT", *NETWORK)
        must_agree = {name: ours[name] for name in essential if name in ours}
        if different := list_differences(must_agree, theirs):
            asked = " ".join(
                f"--{name.lower()} {format_value(theirs[name])}"
                for name, value in must_agree.items()
                if name in theirs and theirs[name] != value
            )
            raise BadInput(
                f"{folder} holds weights of other settings: {'; '.join(different)}; leave them "
                f"(or the RECIPE that sets them) out or give {asked}, or give another RUN."
            )
        precisions = theirs["PRECISION"], ours["PRECISION"]
        if "bf16" in precisions and len(set(precisions)) > 1:
            say(
                f"Note: the weights in {folder} were trained with PRECISION {precisions[0]}, this "
                f"is {precisions[1]}: give --precision {precisions[0]} for the scores of their "
                "report."
            )
        if theirs["SHUFFLE_LABELS"]:
            say(report.CONTROL)
    kept = weights.list_held_out()
    if missing := [name for name in names if name not in kept]:
        raise BadInput(
            f"{weights.locate(missing[0])} is missing ({len(missing)} of {len(names)} folds lack "
            "weights): train with --train True; or give the RUN that was trained on these "
            f"subjects; or name those that have weights in SUBJECTS, {','.join(kept[:5])}..."
        )
