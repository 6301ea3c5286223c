"""HTNet for micro-expression recognition: trains or evaluates by leave-one-subject-out (LOSO).

    python main_HTNet.py --train True      a network per held-out subject, then UF1 and UAR
    python main_HTNet.py --train False     evaluates the weights
    python main_HTNet.py --train True --epochs 100 --subjects sub01,s03
    torchrun --nproc-per-node 2 -- main_HTNet.py --train True

Edit the constants below, or give any of them on the command line under its own name. A training
that was stopped goes on where it stopped.
"""

import os
import signal
import sys
import time
from functools import partial
from pathlib import Path

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    # Ctrl-C while the imports take their seconds: no traceback
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))
# OpenMP's threads wait for each other in a loop that keeps the processor busy. Beside other
# programs its usual length makes an epoch up to 80 times as slow as on an idle machine, this short
# one 3 to 7 times. An idle machine loses a tenth by it.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")

import numpy as np
import torch
from tqdm import tqdm

import composite_dataset
import loso
import report
from augmentation import augment, rise_and_fall
from htnet import HTNet
from inputs import list_layout, parse_areas
from run import adopt_settings, prepare
from ststnet import STSTNet
from support.devices import describe_machine, explain_failure, set_precision, warn_of_emulation
from support.exits import explain_errors
from support.files import BadInput
from support.ranks import count_ranks, go_first, is_first, join_ranks, rank, say, wait_for_all
from support.run_folder import RunFolder, release_locks
from support.settings import read_settings
from support.weights_files import find_weights
from teacher import teach

# fmt: off
# what to run
MODEL = "HTNet"            # "HTNet" or "STSTNet"
RECIPE = "paper"           # "paper", or "honest": see PRESETS
RUN = ""                   # names results/<run>/ and weights/<run>/; empty: by model and recipe
SUBJECTS = ""              # held-out subjects, e.g. "sub01,s03"; empty: each; "all": trains on all
FOLDS = 0                  # 0: leave one subject out; 10: so many groups of subjects
SEED = 1                   # each fold's seed is made of this and the subject's name
# where it computes
DEVICE = "auto"            # "auto" (CUDA where there is a GPU), "cpu", "cuda" or e.g. "cuda:1"
THREADS = 0                # CPU threads; 0: PyTorch's own choice
CUDA_GRAPHS = False        # True: a GPU launches an epoch as a whole; not yet tried on one
PRECISION = "tf32"         # of matrix products: "tf32" (on a CPU float32), "float32" or "bf16"
# folders
DATASETS = "datasets"      # index, flow images, faces
WEIGHTS = "weights"        # weights/<run>/<subject>.pth
RESULTS = "results"        # results/<run>/: report, predictions, plots, finished folds
# training (paper and released code)
LEARNING_RATE = 5e-5       # Adam's
BATCH_SIZE = 256           # samples per step
EPOCHS = 800               # passes over the training samples of a fold
CLASS_ORDER = (2, 1, 0)    # the training samples go by class in this order
AREAS = "all"              # "all", e.g. "left_lip,right_lip", "all,nose", "whole" or "all,whole"
SHUFFLE = False            # True: a new order of the training samples every epoch
NORMALIZE = False          # True: subtracts a flow map's median, divides by its deviation
SHUFFLE_LABELS = False     # True: a control that trains on permuted labels
# training (the honest recipe; neither in the paper nor in the released code)
AUGMENT = False            # True: mirrored, moved, amplified views, see augmentation.py
TEACHER = False            # True: a support vector machine labels mixtures, see teacher.py
CLASS_WEIGHTS = False      # True: every class counts the same in the loss
LABEL_SMOOTHING = 0.0      # the loss's
WEIGHT_DECAY = 0.0         # on matrices; above 0 AdamW trains
SCHEDULE = "constant"      # of the learning rate: "constant", or "cosine" after a warm-up
# weights
KEEP = "best"              # weights to keep: "best" epoch (as released), "last" or "none"
# HTNet
DIM = 256                  # width of the first level; doubles with every level
HEADS = 3                  # attention heads of the first level; double with every level
PATCH_SIZE = 7             # pixels a side
NUM_HIERARCHIES = 3        # levels
BLOCK_REPEATS = (2, 2, 10)  # transformer layers of each level, from fine to coarse
MLP_MULT = 4               # hidden width of an MLP, as a multiple of its level's
DROPOUT = 0.0              # in attention and MLP
# fmt: on

CONSTANTS = tuple(name for name in globals() if name.isupper())
PRESETS = {  # (the constant as shipped, what the preset makes of it); an edited constant stays
    # The PyTorch port's recipe. Its class order is unknown: 0, 1, 2 is chosen by its scores.
    "STSTNet": {"KEEP": ("best", "last"), "CLASS_ORDER": ((2, 1, 0), (0, 1, 2))},
    # RECIPE "honest": docs/honest.md says how it was chosen.
    "honest": {
        "NORMALIZE": (False, True),
        "SHUFFLE": (False, True),
        "AUGMENT": (False, True),
        "TEACHER": (False, True),
        "WEIGHT_DECAY": (0.0, 0.05),
        "SCHEDULE": ("constant", "cosine"),
        "LEARNING_RATE": (5e-5, 1e-3),
        "BATCH_SIZE": (256, 128),
        "EPOCHS": (800, 12),
        "KEEP": ("best", "last"),
        "DIM": (256, 16),
        "BLOCK_REPEATS": ((2, 2, 10), (2, 2, 2)),
    },
    # SUBJECTS "all": nobody is held out who could choose an epoch.
    "all": {"KEEP": ("best", "last")},
    # For datasets/sample/: so small that a second thread would only cost.
    "sample": {
        "LEARNING_RATE": (5e-5, 5e-4),
        "BATCH_SIZE": (256, 32),
        "EPOCHS": (800, 20),
        "DIM": (256, 32),
        "BLOCK_REPEATS": ((2, 2, 10), (1, 1, 2)),
        "THREADS": (0, 1),
    },
}


def main(argv=None):
    """The command. Bad input is one sentence on standard error and exit status 2."""
    explained = explain_errors("main_HTNet.py", expected=(OSError,), explain=explain_failure)
    with explained, join_ranks(), release_locks():
        constants = {name: globals()[name] for name in CONSTANTS}
        settings = read_settings(argv, constants, PRESETS, __file__)
        if settings.THREADS:
            torch.set_num_threads(settings.THREADS)
        set_precision(settings.PRECISION)
        (train if settings.train else evaluate)(settings)


def train(settings):
    """Trains a network for each held-out subject, a rank its share of them, then reports on all."""
    run = go_first(partial(prepare, settings, build_model))
    say(f"Training on {describe_machine(run.device)}.")
    warn_of_emulation(settings.PRECISION, run.device)
    finished = {fold.name for fold in run.held_out if run.folder.is_finished(fold)}
    for fold in run.held_out:
        if fold.name in finished:
            run.load_fold(fold)  # a damaged one is refused now, not after hours of training
    run.folder.tell_nameless()
    if lost := sum(run.folder.lacks_weights(fold) for fold in run.held_out):
        say(
            f"Note: {lost} finished folds are trained again, since their weights are not in "
            f"{run.folder.weights}."
        )
    wait_for_all()  # what a quick rank trains now was not finished before
    if finished:
        say(
            f"{len(finished)} of {len(run.held_out)} folds were finished before and are not "
            "trained again."
        )
    mine = run.held_out[rank() :: count_ranks()]
    waiting = [fold for fold in mine if fold.name not in finished]
    progress = tqdm(
        total=len(waiting) * settings.EPOCHS,
        unit="epoch",
        disable=not is_first(),
        smoothing=0.05,
        mininterval=0.5 if sys.stderr.isatty() else 30,
    )
    with progress:
        for fold, model in loso.draw_ahead(partial(draw_model, run), waiting, run.device):
            progress.set_description(f"subject {fold.name}")
            try:
                train_and_save(run, fold, model, progress)
            except BadInput as error:
                raise BadInput(f"subject {fold.name}: {error}") from None
            if is_first():
                tqdm.write(report.describe_fold(run, fold))
    wait_for_all()
    if is_first():
        report.report_run(run)


def train_and_save(run, fold, model, progress):
    """Trains a fresh network on everybody but the fold's subject; saves logits and weights."""
    settings, start = run.settings, time.perf_counter()

    def on_epoch(loss):
        progress.set_postfix(loss=f"{loss:.4f}", refresh=False)
        progress.update()

    if run.device.type == "cuda":
        torch.cuda.manual_seed(loso.derive_seed(settings.SEED, fold.name))  # dropout's
    order, views, mixtures = (
        loso.derive_seed(settings.SEED, f"{fold.name}'s {what}")
        for what in ("order", "views", "mixtures")
    )
    shuffle, view = (torch.Generator().manual_seed(seed) for seed in (order, views))
    inputs, labels = run.train_inputs[fold.train], run.labels[fold.train]
    classes, class_weights = len(run.composite.classes), None
    if settings.TEACHER:
        inputs, labels = teach(run.teacher_inputs[fold.train], inputs, labels, classes, mixtures)
    if settings.CLASS_WEIGHTS:
        class_weights = loso.balance_classes(labels, classes)
    names, truth = run.composite.names[fold.test], run.composite.labels[fold.test]
    result = loso.train_fold(
        model.to(run.device),
        inputs,
        labels,
        run.inputs[fold.test],
        torch.from_numpy(truth),
        epochs=settings.EPOCHS,
        batch_size=settings.BATCH_SIZE,
        learning_rate=settings.LEARNING_RATE,
        keep=settings.KEEP,
        precision=settings.PRECISION,
        shuffle=shuffle if settings.SHUFFLE else None,
        augment=partial(augment, layout=run.layout, generator=view) if settings.AUGMENT else None,
        class_weights=class_weights,
        label_smoothing=settings.LABEL_SMOOTHING,
        weight_decay=settings.WEIGHT_DECAY,
        schedule=rise_and_fall if settings.SCHEDULE == "cosine" else None,
        cuda_graph=settings.CUDA_GRAPHS and run.device.type == "cuda",
        on_epoch=on_epoch,
    )
    seconds = time.perf_counter() - start
    run.folder.save_fold(fold.name, result, names, truth, seconds, describe_machine(run.device))


def evaluate(settings):
    """One forward pass per subject with the kept weights; a row named after their epoch."""
    if not is_first():
        return  # minutes of reading: not worth sharing
    shipped = Path(settings.WEIGHTS, "pretrained", settings.MODEL)
    weights = find_weights(RunFolder(settings), shipped)
    whose = f"Evaluating the weights in {weights.path}"
    if shipped in (weights.path, weights.path.parent):  # their scores are no result of this run
        whose = f"Evaluating the weights that ship, {weights.path}: '{settings.RUN}' has none"
        settings = settings._replace(RUN=f"pretrained-{settings.MODEL}")
    print(f"{whose}.")
    settings = adopt_settings(settings, weights)
    set_precision(settings.PRECISION)
    run = prepare(settings, build_model, weights)
    with torch.device("meta"):  # no time for initial weights that are overwritten
        model = build_model(settings, len(run.composite.classes))
    model = model.to_empty(device=run.device)
    predicted = np.full(len(run.composite.names), -1)
    for fold in tqdm(run.held_out, unit="fold", disable=None, leave=False):
        weights.load(model, fold.name)
        logits = loso.predict(model, run.inputs[fold.test].to(run.device), settings.PRECISION)
        if not logits.isfinite().all():
            where = weights.locate(fold.name)
            raise BadInput(f"{where} gives logits that are not finite: train it anew.")
        predicted[fold.test] = logits.argmax(1).cpu().numpy()
        tqdm.write(
            f"{fold.name}: predicted {report.join_numbers(predicted[fold.test])}   truth "
            f"{report.join_numbers(run.composite.labels[fold.test])}"
        )
    report.report_evaluation(run, predicted)


def draw_model(run, fold):
    """A fold's fresh network, on the CPU, so that its weights are the same for every device."""
    # not torch.manual_seed, which would also seed a GPU that may be training another fold
    torch.default_generator.manual_seed(loso.derive_seed(run.settings.SEED, fold.name))
    return build_model(run.settings, len(run.composite.classes))


def build_model(settings, num_classes):
    """The network of the constants; raises BadInput where they do not fit together."""
    if settings.MODEL == "STSTNet":
        return STSTNet(num_classes=num_classes)
    try:
        return HTNet(
            image_size=composite_dataset.FLOW_SIZE,
            patch_size=settings.PATCH_SIZE,
            num_classes=num_classes,
            dim=settings.DIM,
            heads=settings.HEADS,
            num_hierarchies=settings.NUM_HIERARCHIES,
            block_repeats=settings.BLOCK_REPEATS,
            mlp_mult=settings.MLP_MULT,
            dropout=settings.DROPOUT,
            channels=3 * len(list_layout(parse_areas(settings.AREAS))),
        )
    except ValueError as error:
        raise BadInput(str(error)) from None


if __name__ == "__main__":
    main()
