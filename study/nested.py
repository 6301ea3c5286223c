"""A truly nested choice of the epoch: by inner subjects, whom neither training nor score sees.

    torchrun --nproc-per-node 2 -m study.nested --seed 1

For each held-out subject, a fifth of each database's other subjects is left out of training, too.
The epoch of these inner subjects' highest pooled UF1 counts for the held-out subject. The default
is HTNet at dim 64, 100 epochs, bf16, as a packed run in docs/results/; a run that was stopped goes
on. Its network has a fifth fewer training samples, so that it stands beside its own `last`.
"""

import argparse
import functools
import json
from pathlib import Path

import numpy as np
import pandas as pd
import torch

import loso
from composite_dataset import load_composite
from evaluation import count_confusions, find_latest_best, score_confusions, unweighted_scores
from facial_areas import find_centres
from htnet import PAPER, HTNet
from inputs import make_inputs, parse_areas
from report import format_markdown
from run import hash_data
from study import experiments
from study.comparisons import count_by_subject
from study.paired import compare, exchange
from support.devices import pick_device, set_precision
from support.files import BadInput, make_folder, replace_file, write_text
from support.ranks import count_ranks, is_first, join_ranks, rank, say, wait_for_all
from support.records import UNREADABLE

NAME, SHARE = "HTNet-dim64-nested", 5  # one in five is an inner subject
STUDY = {"dim": 64, "epochs": 100, "precision": "bf16"}  # of the runs that are packed


def split_inner(composite, fold, seed):
    """A fold's training indices -> (those trained on, those of the inner subjects), both in order.

    Drawn for each database, so that all three have a say.
    """
    random = np.random.default_rng(loso.derive_seed(seed, f"{fold.name}'s inner subjects"))
    inner = []
    for database in np.unique(composite.databases):
        people = np.unique(
            composite.subjects[fold.train][composite.databases[fold.train] == database]
        )
        inner += list(random.permutation(people)[: max(1, round(len(people) / SHARE))])
    chosen = np.isin(composite.subjects[fold.train], inner)
    return fold.train[~chosen], fold.train[chosen]


def choose_epoch(logits, labels):
    """Inner subjects' logits [E, n, 3], labels [n] -> the epoch of their highest UF1."""
    return int(find_latest_best(score_confusions(count_confusions(labels, logits.argmax(-1)))[0]))


def train(composite, inputs, fold, arguments, device):
    """Trains one fold -> arrays: held-out logits of every epoch, the epoch that counts."""
    trained, inner = split_inner(composite, fold, arguments.seed)
    torch.manual_seed(loso.derive_seed(arguments.seed, fold.name))
    model = HTNet(**PAPER | {"dim": arguments.dim}).to(device)
    scored, labels = np.concatenate([fold.test, inner]), torch.from_numpy(composite.labels)
    result = loso.train_fold(
        model,
        inputs[trained],
        labels[trained],
        inputs[scored],
        labels[scored],
        epochs=arguments.epochs,
        batch_size=256,
        learning_rate=5e-5,
        keep="none",
        precision=arguments.precision,
    )
    logits = result.logits.float().numpy()
    epoch = choose_epoch(logits[:, len(fold.test) :], composite.labels[inner])
    return {"logits": logits[:, : len(fold.test)], "epoch": epoch}


def read_fold(path, record):
    """A finished fold's arrays; raises BadInput where it is missing, damaged, or of other settings
    or data.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            fold = {name: file[name] for name in ("logits", "epoch", "record")}
        theirs = json.loads(str(fold["record"]))
    except UNREADABLE as error:
        raise BadInput(
            f"{path} is missing or damaged ({error}): delete it and start the same command again."
        ) from error
    if theirs != record:
        raise BadInput(f"{path} is of other settings or data: give another --output.")
    return fold


def write_predictions(path, composite, folds, stored):
    """predictions.csv: `last`, and `nested` with its epoch (from 1) -> DataFrame."""
    rows = []
    for fold, arrays in zip(folds, stored):
        predicted, epoch = arrays["logits"].argmax(-1), int(arrays["epoch"])
        for i, index in enumerate(fold.test):
            rows.append(
                {
                    "name": composite.names[index],
                    "database": composite.databases[index],
                    "subject": composite.subjects[index],
                    "label": composite.labels[index],
                    "last": predicted[-1, i],
                    "nested": predicted[epoch, i],
                    "nested_epoch": epoch + 1,
                }
            )
    table = pd.DataFrame(rows)
    write_text(path, table.to_csv(index=False))
    return table


def tabulate():
    """UF1 of Full of the packed nested runs, the mean over seeds; nested − last, paired."""
    rows, counts = [], {}
    for folder in experiments.find_runs(NAME):
        stored = json.loads((folder / "settings.json").read_text(encoding="utf-8"))
        if other := {key for key, value in STUDY.items() if stored[key] != value}:
            raise SystemExit(f"{folder} is of another {', '.join(other)}: it is not {NAME}.")
    for choice in ("last", "nested"):
        if tables := experiments.read_predictions(NAME, choice).values():
            uf1 = [unweighted_scores(t["label"], t["prediction"])[0] for t in tables]
            rows.append({"epoch choice": choice, "seeds": len(uf1), "UF1": float(np.mean(uf1))})
            counts[choice] = np.stack([*count_by_subject(NAME, choice)[0].values()])
    if not rows:
        return "Not run yet."
    result = compare(counts["nested"], counts["last"])
    (low, high), p = result["interval"], exchange(counts["nested"], counts["last"])
    return (
        f"{format_markdown(pd.DataFrame(rows))}\n\nnested − last: {result['difference']:+.4f} "
        f"(95 % {low:+.3f} to {high:+.3f}, p {p:.4f})."
    )


def main(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--datasets", type=Path, default=Path("datasets"))
    parser.add_argument("--output", type=Path, default=Path("results"))
    add = parser.add_argument
    add("--precision", choices=("bf16", "float32"), default=STUDY["precision"])
    for name in ("dim", "epochs"):
        add(f"--{name}", type=int, default=STUDY[name])
    for name in ("seed", "threads"):
        add(f"--{name}", type=int, default=1)
    arguments = parser.parse_args(argv)
    torch.set_num_threads(arguments.threads)
    try:
        with join_ranks():
            run(arguments)
    except BadInput as error:
        parser.error(error)


def run(arguments):
    """Trains what is not finished, then writes predictions.csv and prints the scores."""
    composite, device = load_composite(arguments.datasets), pick_device("auto")
    set_precision(arguments.precision)
    centres, _ = find_centres(composite, arguments.datasets / "facial_areas.csv", say)
    inputs = make_inputs(composite.flows, centres, parse_areas("all"))
    folder = arguments.output / f"{NAME}-seed{arguments.seed}"
    folds = loso.split_subjects(composite, (2, 1, 0))
    paths = {fold.name: folder / "folds" / f"{fold.name}.npz" for fold in folds}
    record = {name: getattr(arguments, name) for name in ("seed", "dim", "epochs", "precision")}
    record["data"] = hash_data(composite, centres)
    make_folder(folder / "folds")
    for fold in folds[rank() :: count_ranks()]:
        path = paths[fold.name]
        if path.exists():
            read_fold(path, record)
            continue
        arrays = train(composite, inputs, fold, arguments, device)
        arrays["record"] = json.dumps(record)
        replace_file(path, functools.partial(np.savez, **arrays))
        print(f"{fold.name}: epoch {arrays['epoch'] + 1}", flush=True)
    wait_for_all()
    if is_first():
        stored = [read_fold(path, record) for path in paths.values()]
        table = write_predictions(folder / "predictions.csv", composite, folds, stored)
        write_text(folder / "settings.json", json.dumps(record, indent=1) + "\n")
        for choice in ("last", "nested"):
            uf1, uar = unweighted_scores(table["label"], table[choice])
            print(f"{choice}: UF1 {uf1:.4f}, UAR {uar:.4f}")


if __name__ == "__main__":
    main()
