"""Trains or evaluates HTNet (or STSTNet) on the MEGC 2019 composite by leave-one-subject-out.

    python main_HTNet.py --train True                     train all folds, report UF1/UAR; goes on where it stopped
    python main_HTNet.py --train False                    evaluate the weights in weights/<run>/
    python main_HTNet.py --train True --epochs 100 --subjects sub01,s03
    torchrun --nproc-per-node 2 -- main_HTNet.py --train True

Edit the constants below, or give any of them on the command line under its own name.
"""
import hashlib
import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from pathlib import Path

# On a busy machine, OpenMP's threads wait for each other in a loop that takes the processor from those they wait for:
# an epoch can take 80 times as long. With a shorter loop it is 3 to 7 times, and an idle machine loses a tenth.
os.environ["GOMP_SPINCOUNT"] = os.environ.get("GOMP_SPINCOUNT", "10000")

import numpy as np
import torch
from einops import rearrange
from tqdm import tqdm

import composite_dataset
import devices
import evaluation
import facial_areas
import htnet
import loso
import run_folder
import ststnet_folds
from composite_dataset import BadInput, replace_with
from settings import read_settings, subject_names
from ststnet import STSTNet

# what to run
MODEL = "HTNet"            # "HTNet" or "STSTNet"
RUN = ""                   # name of the run: results/<run>/ and weights/<run>/; empty: the model's name
SUBJECTS = ""              # held-out subjects, e.g. "sub01,s03"; empty: all
SEED = 1                   # each fold's seed is made of this and the subject's name
DEVICE = "auto"            # "auto" (CUDA where there is a GPU), "cpu", "cuda" or e.g. "cuda:1"
THREADS = 0                # CPU threads; 0: PyTorch's own choice
PRECISION = "tf32"         # of matrix products: "tf32" (GPU: as released; CPU: float32), "float32" or "bf16"
# folders
DATASETS = "datasets"      # index, flow images, faces
WEIGHTS = "weights"        # weights/<run>/<subject>.pth
RESULTS = "results"        # results/<run>/: report, predictions, plots, finished folds
# training (paper and released code)
LEARNING_RATE = 5e-5       # Adam's
BATCH_SIZE = 256           # samples per step
EPOCHS = 800               # passes over the training samples of a fold
CLASS_ORDER = (2, 1, 0)    # classes in the order in which training goes through them; there is no shuffling
SHUFFLE = False            # True: a new order of the training samples every epoch (HTNet)
NORMALIZE = False          # True: each flow map minus its median, by its standard deviation, instead of 0 to 255
SHUFFLE_LABELS = False     # True: a control, what scores a training on permuted labels gets
KEEP = "best"              # weights to keep of each fold: "best" epoch (as released), "last" or "none"
# HTNet
DIM = 256                  # width of the first level; doubles with every level
HEADS = 3                  # attention heads of the first level; double with every level
PATCH_SIZE = 7             # pixels a side
NUM_HIERARCHIES = 3        # levels
BLOCK_REPEATS = (2, 2, 10)  # transformer layers of each level, from fine to coarse
MLP_MULT = 4               # hidden width of an MLP, as a multiple of its level's
DROPOUT = 0.0              # in attention and MLP

CONSTANTS = tuple(name for name in globals() if name.isupper())
MODEL_DEFAULTS = {  # a model's own recipe, where it is not the constants'
    "HTNet": {},
    # The PyTorch port's: Adam, 5e-5, batch 256, 800 epochs, too. Its class order is unknown; this one comes near it.
    "STSTNet": dict(KEEP="last", CLASS_ORDER=(0, 1, 2)),
}
SAMPLE = dict(  # for datasets/sample/; so small that a second thread would only cost
    LEARNING_RATE=5e-4, BATCH_SIZE=32, EPOCHS=20, DIM=32, BLOCK_REPEATS=(1, 1, 2), THREADS=1)
HTNET_ONLY = ("DIM", "HEADS", "PATCH_SIZE", "NUM_HIERARCHIES", "BLOCK_REPEATS", "MLP_MULT", "DROPOUT")
# What makes a run that run: folds and weights of other values are not mixed with it.
RECIPE = ("MODEL", "SEED", "LEARNING_RATE", "BATCH_SIZE", "EPOCHS", "CLASS_ORDER", "SHUFFLE", "NORMALIZE",
          "SHUFFLE_LABELS", "KEEP", "PRECISION", *HTNET_ONLY)


def main(argv=None):
    """The command. Bad input is one sentence on standard error and exit status 2."""
    try:
        settings = read_settings(argv, {name: globals()[name] for name in CONSTANTS}, MODEL_DEFAULTS, SAMPLE,
                                 __file__)
        if settings.THREADS:
            torch.set_num_threads(settings.THREADS)
        devices.set_precision(settings.PRECISION)
        if torch.distributed.is_available() and torch.distributed.is_torchelastic_launched():  # by torchrun
            torch.distributed.init_process_group("gloo", timeout=timedelta(days=30))
        (train if settings.train else evaluate)(settings)
    except BadInput as error:
        print(f"main_HTNet.py: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print("\nStopped. Finished folds are kept; the same command goes on from them.", file=sys.stderr)
        raise SystemExit(130) from None
    except (RuntimeError, MemoryError) as error:
        if not (sentence := devices.machine_problem(error, settings)):
            raise
        print(f"main_HTNet.py: {sentence}", file=sys.stderr)
        raise SystemExit(2) from None
    finally:
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


def train(settings):
    """Trains the folds that are not finished yet, a rank its share of them, then reports on all."""
    rank, ranks = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    results, weights = Path(settings.RESULTS, settings.RUN), Path(settings.WEIGHTS, settings.RUN)
    problem = None
    if rank == 0:  # checks the data, detects facial areas and makes the folders this run's; then the others follow
        try:
            prepared = prepare_run(settings, results, weights)
        except BadInput as error:
            problem = error
    if ranks > 1:
        refused = [problem is not None]
        torch.distributed.broadcast_object_list(refused)
        if rank and refused[0]:
            raise SystemExit(2)
    if problem:
        raise problem
    composite, inputs, record, device = prepared if rank == 0 else (*prepare(settings, lambda *_: None),
                                                                    devices.pick_device(settings))
    truth, labels = torch.from_numpy(composite.labels), training_labels(composite, settings)
    kind = devices.machine(device, ranks)
    everyone = loso.folds(composite, settings.CLASS_ORDER, labels.numpy())
    folds = [fold for fold in everyone if fold[0] in settings.SUBJECTS]
    fold_path = {subject: results / "folds" / f"{subject}.npz" for subject, _, _ in everyone}

    def stored(subject, test):
        return run_folder.load_fold(fold_path[subject], composite.names[test], composite.labels[test], settings.EPOCHS)

    def done(subject):
        return fold_path[subject].exists() and (settings.KEEP == "none" or (weights / f"{subject}.pth").exists())

    finished = {subject: stored(subject, test) for subject, _, test in folds if done(subject)}
    if ranks > 1:
        torch.distributed.barrier()  # or a quick rank's first fold would count as finished before
    if finished and rank == 0:
        print(f"{len(finished)} of {len(folds)} folds were finished before and are not trained again.")

    own = folds[rank::ranks]
    waiting = [fold for fold in own if fold[0] not in finished]
    bar = tqdm(total=len(waiting) * settings.EPOCHS, unit="epoch", disable=bool(rank), smoothing=0.05,
               mininterval=0.5 if sys.stderr.isatty() else 30)

    def on_epoch(loss):
        bar.set_postfix(loss=f"{loss:.4f}", refresh=False)
        bar.update()

    options = dict(epochs=settings.EPOCHS, batch_size=settings.BATCH_SIZE, learning_rate=settings.LEARNING_RATE,
                   keep=settings.KEEP, on_epoch=on_epoch)

    def new_model(subject):
        model, generator = seeded_model(settings, subject, device)
        return model.to(device), generator

    if settings.MODEL == "STSTNet":  # small enough to train many folds at once
        trained = ststnet_folds.trained_folds(
            waiting, new_model, inputs, labels, loso.training_order(labels.numpy(), settings.CLASS_ORDER),
            truth=truth, together=1 if device.type == "cpu" else 34,
            workers=torch.get_num_threads() if device.type == "cpu" else 1, **options)
    else:
        trained = one_by_one(settings, waiting, inputs, labels, truth, device, options)
    bar.set_description(f"{len(own) - len(waiting)}/{len(own)} folds")
    for (subject, _, test), result, seconds in trained:
        if result.state is not None:
            replace_with(weights / f"{subject}.pth", partial(torch.save, result.state))
        run_folder.save_fold(fold_path[subject], result, composite.names[test], composite.labels[test], seconds,
                             kind)
        finished[subject] = stored(subject, test)
        if rank == 0:
            bar.set_description(f"{sum(fold[0] in finished for fold in own)}/{len(own)} folds")
            tqdm.write(fold_lines(subject, finished, "of this process so far" if ranks > 1 else "so far"))
        del result  # its weights, before the next fold's are made: half a gigabyte at the paper's settings
    bar.close()
    if ranks > 1:
        torch.distributed.barrier()
    if rank == 0:
        reported = [fold for fold in everyone if done(fold[0])]
        write_report(settings, composite, record, [test for _, _, test in reported],
                     [stored(subject, test) for subject, _, test in reported], results)


def prepare_run(settings, results, weights):
    """Everything that can be refused is refused here, before anything is touched -> `prepare`'s and the device."""
    with torch.device("meta"):  # shapes only: a network that does not divide is refused first
        parameters = sum(parameter.numel() for parameter in build_model(settings).parameters())
    device = devices.pick_device(settings)
    composite, inputs, record = prepare(settings)
    discard = run_folder.check_claim(settings, results, weights, record)
    if settings.KEEP != "none":
        there = 0 if weights in discard else sum((weights / f"{subject}.pth").exists() for subject in settings.SUBJECTS)
        run_folder.check_disk(weights, parameters, len(settings.SUBJECTS) - there, discard)
    run_folder.claim(results, weights, record, discard)
    if settings.MODEL == "HTNet":
        facial_areas.contact_sheet(composite, settings.centres, results / "facial_areas.png", per_database=2)
    return composite, inputs, record, device


def write_report(settings, composite, record, tests, finished, results):
    """The report on the finished folds (`run_folder.load_fold`'s dicts) and their test indices."""
    held_out = pick(composite, np.concatenate(tests))
    comparable = not (settings.on_sample or settings.SHUFFLE_LABELS) and len(tests) == len(set(composite.subjects))
    minutes, seconds = divmod(round(sum(float(fold["seconds"]) for fold in finished)), 60)
    description = "\n".join([
        *([SAMPLE_BANNER, ""] if settings.on_sample else []), *([CONTROL, ""] if settings.SHUFFLE_LABELS else []),
        f"- {len(held_out.names)} samples of {len(tests)} of the {len(set(composite.subjects))} subjects",
        "- settings: " + ", ".join(f"{name} {value}" for name, value in record["settings"].items()),
        f"- {' and '.join(sorted({str(fold['machine']) for fold in finished}))}",
        f"- training took {minutes // 60}:{minutes % 60:02}:{seconds:02} (h:mm:ss), summed over the folds"])
    text = evaluation.report(results, held_out, np.concatenate([fold["logits"] for fold in finished], axis=1),
                             np.stack([fold["losses"] for fold in finished]),
                             published=evaluation.PUBLISHED[settings.MODEL] if comparable else {},
                             heading=f"{settings.MODEL}, leave-one-subject-out, run '{settings.RUN}'",
                             description=description)
    print(f"\n{text}\nWritten to {results}{os.sep}")


def training_labels(composite, settings):
    """int [N]: the labels that training sees, the composite's own or (SHUFFLE_LABELS) a permutation of them."""
    if settings.SHUFFLE_LABELS:
        return torch.from_numpy(np.random.default_rng(settings.SEED).permutation(composite.labels))
    return torch.from_numpy(composite.labels)


def one_by_one(settings, folds, inputs, labels, truth, device, options):
    """Trains the folds one after the other; yields (fold, FoldResult, seconds)."""
    def made(fold):
        return seeded_model(settings, fold[0], device)

    with ThreadPoolExecutor(1) as ahead:  # while a GPU trains a fold, a CPU core draws the next one's initial weights
        following = None
        for i, fold in enumerate(folds):
            start = time.perf_counter()
            model, generator = following.result() if following else made(fold)
            if device.type == "cuda":
                following = ahead.submit(made, folds[i + 1]) if i + 1 < len(folds) else None
                torch.cuda.set_rng_state(generator.get_state(), device)  # dropout's
            subject, train_indices, test = fold
            shuffle = torch.Generator().manual_seed(loso.fold_seed(settings.SEED, f"{subject}'s order"))
            result = loso.train_fold(model.to(device), inputs[train_indices], labels[train_indices], inputs[test],
                                     truth[test], precision=settings.PRECISION,
                                     shuffle=shuffle if settings.SHUFFLE else None, **options)
            yield fold, result, time.perf_counter() - start
            del model, result  # here too, or they would live until the next ones are there


def seeded_model(settings, subject, device):
    """A fold's fresh model, on the CPU so that it is the same for every device, and a generator for its dropout."""
    seed = loso.fold_seed(settings.SEED, subject)
    torch.default_generator.manual_seed(seed)  # not a GPU's, which may be training another fold
    model, generator = build_model(settings), torch.Generator(device).manual_seed(seed)
    if device.type == "cpu":
        generator.set_state(torch.get_rng_state())
    return model, generator


def evaluate(settings):
    """One forward pass per subject with the weights in weights/<run>/; one row, named after their epoch choice."""
    if int(os.environ.get("RANK", "0")):
        return  # minutes of reading: not worth sharing
    results, weights = Path(settings.RESULTS, settings.RUN), Path(settings.WEIGHTS, settings.RUN)
    device = devices.pick_device(settings)
    composite, inputs, record = prepare(settings)
    if not any(weights.glob("[!.]*.pth")):
        raise BadInput(f"{weights} holds no weights, a .pth is missing for every subject: train with --train True (and "
                       "KEEP 'best' or 'last') first, or give the RUN that has them.")
    stored = run_folder.read_record(weights / "settings.json")
    if stored:
        stored["settings"].setdefault("NORMALIZE", False)  # weights older than this constant
    choice = f"{stored['settings'].get('KEEP', 'unknown')} epoch" if stored else "epoch unknown"
    if stored:
        network = {name: value for name, value in record["settings"].items()
                   if name in ("MODEL", "NORMALIZE", *HTNET_ONLY)}
        if different := run_folder.differences(network, stored["settings"]):
            asked = " ".join(f"--{name.lower()} {str(stored['settings'].get(name)).strip('[]').replace(' ', '')}"
                             for name, value in network.items() if stored["settings"].get(name) != value)
            raise BadInput(f"{weights} holds weights of other settings: {different}; give {asked}, or another RUN.")
        if stored["data"] != record["data"]:
            print(f"Note: the {weights} were trained on other data (other samples, flow images or facial areas).")
        trained = stored["settings"].get("PRECISION", settings.PRECISION)
        if "bf16" in (trained, settings.PRECISION) and trained != settings.PRECISION:
            print(f"Note: the {weights} were trained with PRECISION {trained}, this is {settings.PRECISION}: give "
                  f"--precision {trained} for the scores of the training's report.")
        if stored["settings"].get("SHUFFLE_LABELS"):
            print(CONTROL)
    else:
        print(f"Note: {weights} has no settings.json, so the epoch choice of these weights is unknown.")
    folds = [fold for fold in loso.folds(composite, settings.CLASS_ORDER) if fold[0] in settings.SUBJECTS]
    if missing := [subject for subject, _, _ in folds if not (weights / f"{subject}.pth").exists()]:
        raise BadInput(f"{weights / missing[0]}.pth is missing ({len(missing)} of {len(folds)} subjects lack weights): "
                       "train with --train True, or name those that have weights in SUBJECTS: "
                       f"{','.join(sorted(path.stem for path in weights.glob('[!.]*.pth'))[:5])}...")
    with torch.device("meta"):  # no time for initial weights that are overwritten
        model = build_model(settings).eval()
    model = model.to_empty(device=device)
    predicted = np.full(len(composite.names), -1)
    for subject, _, test in tqdm(folds, unit="fold", disable=None, leave=False):
        run_folder.load_weights(model, weights / f"{subject}.pth")
        with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=settings.PRECISION == "bf16"):
            predicted[test] = model(inputs[test].to(device)).argmax(1).cpu().numpy()
        tqdm.write(f"{subject}: predicted {' '.join(map(str, predicted[test]))}   "
                   f"truth {' '.join(map(str, composite.labels[test]))}")
    order = np.concatenate([test for _, _, test in folds])
    held_out = pick(composite, order)
    table = evaluation.score_table(held_out, {choice: predicted[order]})
    run_folder.make(results)
    lines = ["name,label,prediction", *(f"{composite.names[i]},{composite.labels[i]},{predicted[i]}" for i in order)]
    evaluation.write_text(results / "evaluation.csv", "\n".join(lines) + "\n")
    if meaning := evaluation.CHOICES.get(choice.split()[0]):
        print(f"\n{choice}: {meaning}.")
    print(f"\n{evaluation.markdown(table)}\n\nPredictions written to {results / 'evaluation.csv'}")


CONTROL = "CONTROL: these networks were trained on permuted labels; their scores say what chance gives."
SAMPLE_BANNER = ("!" * 100 + "\n!  No data in the datasets folder: this is the small synthetic sample. Its scores say "
                 "nothing about\n!  the method or the databases; README tells how to obtain them.\n" + "!" * 100)


def prepare(settings, log=print):
    """-> (composite, inputs float [N, 3, 28, 28], what is stored as settings.json); SUBJECTS becomes a set."""
    if settings.on_sample:
        log(SAMPLE_BANNER)
    composite = composite_dataset.load_composite(settings.DATASETS)
    log(f"{composite.table().to_string()}\n")
    images = composite_dataset.normalized(composite.flows) if settings.NORMALIZE else composite.flows
    if settings.MODEL == "HTNet":
        areas = Path(settings.DATASETS) / "facial_areas.csv"
        settings.centres = facial_areas.composite_centres(composite, areas, log)
        images = np.stack([facial_areas.crop_areas(*pair) for pair in zip(images, settings.centres)])
    asked = {subject.strip() for subject in subject_names(settings.SUBJECTS) if subject.strip()}
    if unknown := sorted(asked - set(composite.subjects)):
        raise BadInput(f"SUBJECTS names '{unknown[0]}', whom the data does not have: it has "
                       f"{', '.join(dict.fromkeys(composite.subjects))}.")
    if len(set(composite.subjects)) < 2:
        raise BadInput(f"{settings.DATASETS} holds a single subject: leave-one-subject-out needs at least two.")
    settings.SUBJECTS = asked or set(composite.subjects.tolist())
    data = hashlib.sha256(composite.flows.tobytes() + composite.labels.tobytes() + "\n".join(composite.names).encode())
    if settings.MODEL == "HTNet":
        data.update(settings.centres.astype(np.int64).tobytes())
    recipe = {name: getattr(settings, name) for name in RECIPE if settings.MODEL == "HTNet" or name not in HTNET_ONLY}
    record = {"settings": json.loads(json.dumps(recipe)), "data": data.hexdigest()[:16]}
    return composite, torch.from_numpy(rearrange(images, "n h w c -> n c h w").astype(np.float32)), record


def pick(composite, order):
    fields = {name: value[order] for name, value in vars(composite).items() if name != "faces"}
    return composite_dataset.Composite(**fields, faces=[composite.faces[i] for i in order])


def build_model(settings):
    if settings.MODEL == "STSTNet":
        return STSTNet(num_classes=len(composite_dataset.CLASSES))
    try:
        return htnet.HTNet(image_size=composite_dataset.FLOW_SIZE, patch_size=settings.PATCH_SIZE, dim=settings.DIM,
                           num_classes=len(composite_dataset.CLASSES), heads=settings.HEADS,
                           num_hierarchies=settings.NUM_HIERARCHIES, block_repeats=settings.BLOCK_REPEATS,
                           mlp_mult=settings.MLP_MULT, dropout=settings.DROPOUT)
    except ValueError as error:
        raise BadInput(str(error)) from None


def fold_lines(subject, finished, so_far):
    """A finished fold as the released script prints it: predictions, truth, and the scores so far."""
    def rows(fold, choice):
        labels, subjects = fold["labels"], np.full(len(fold["labels"]), "one")
        return evaluation.chosen_predictions(fold["logits"], labels, subjects, choice)[0]

    fold, lines = finished[subject], [f"\nSubject {subject}"]
    truth = np.concatenate([other["labels"] for other in finished.values()])
    for choice in ("best", "last"):
        uf1, uar = evaluation.unweighted_scores(
            truth, np.concatenate([rows(other, choice) for other in finished.values()]))
        lines.append(f"  predicted  {' '.join(map(str, rows(fold, choice)))}   ({choice} epoch; "
                     f"{len(finished)} subjects {so_far}: UF1 {uf1:.4f}, UAR {uar:.4f})")
    lines.append(f"  truth      {' '.join(map(str, fold['labels']))}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
