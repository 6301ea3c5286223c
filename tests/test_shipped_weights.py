"""Weights that ship: one safetensors file for the networks of many folds."""

import hashlib
import json

import pandas as pd
import pytest
import torch
from conftest import ROOT, SMALL, rows

from htnet import HTNet
from recognition.ensemble import build_network
from support.files import BadInput
from support.shipped_weights import load_state, read_shipped, write_shipped

SIZES = dict(image_size=28, patch_size=7, num_classes=3, heads=3, num_hierarchies=3)
RECORD = {"settings": {"MODEL": "HTNet", "DIM": 16}, "data": "abc"}


def make_network(dim=16):
    return HTNet(**SIZES, dim=dim, block_repeats=(1, 1, 1))


@pytest.mark.parametrize("half", [False, True])
def test_states_come_back_without_queries_and_keys(tmp_path, half):
    network, other = make_network(), make_network()
    mean = torch.ones(3, 28, 28)
    path = tmp_path / "folds.safetensors"
    write_shipped(
        path, network, {"s01": network.state_dict(), "006": {}}, RECORD, half, baseline=mean
    )
    states, record, more = read_shipped(path)
    assert (
        record["data"] == "abc"
        and record["settings"]["DIM"] == 16
        and torch.equal(more["baseline"], mean)
    )
    assert not any("query_key" in name for name in states["s01"])
    load_state(other, states["s01"], path)
    inputs = torch.randn(4, 3, 28, 28)
    with torch.no_grad():
        difference = (network(inputs) - other(inputs)).abs().max()
    assert difference == 0 if not half else 0 < difference < 0.01


def test_other_networks_and_damaged_files_are_refused_by_name(tmp_path):
    path = tmp_path / "folds.safetensors"
    network = make_network()
    write_shipped(path, network, {"s01": network.state_dict()}, RECORD)
    state = read_shipped(path)[0]["s01"]
    with pytest.raises(BadInput, match="folds.safetensors holds the weights of another network"):
        load_state(make_network(dim=24), state, path)
    del state["head.bias"]
    with pytest.raises(BadInput, match="head.bias"):
        load_state(make_network(), state, path)
    two = HTNet(**SIZES | {"num_hierarchies": 2}, dim=16, block_repeats=(1, 1))
    write_shipped(path, two, {"s01": two.state_dict()}, RECORD)  # queries and keys are trained
    load_state(two, read_shipped(path)[0]["s01"], path)
    state = {name: value for name, value in two.state_dict().items() if "query_key" not in name}
    with pytest.raises(BadInput, match="query_key"):
        load_state(two, state, path)
    data = path.read_bytes()
    for content in (data[:-100], data[:4], b"", b"PK" + data):
        path.write_bytes(content)
        with pytest.raises(BadInput, match="folds.safetensors cannot be used"):
            read_shipped(path)
    write_shipped(path, two, {"s01": {"head.bias": torch.tensor([float("nan")])}}, RECORD)
    with pytest.raises(BadInput, match="not finite"):
        read_shipped(path)


def test_shipped_weights_are_evaluated_with_their_own_settings(tiny, command):
    arguments = ["--run", "own", "--keep", "last", "--normalize", "True", *SMALL]
    status, trained, _ = command("--train", "True", *arguments)
    assert status == 0
    run = tiny.parent / "weights" / "own"
    states = {path.stem: torch.load(path, weights_only=True) for path in run.glob("*.pth")}
    record = json.loads((run / "settings.json").read_text())
    shipped = tiny.parent / "weights" / "pretrained" / "HTNet"
    shipped.mkdir(parents=True)
    network = build_network(record)
    write_shipped(shipped / "folds.safetensors", network, states, record)
    status, output, _ = command("--train", "False")
    assert status == 0 and "DIM 8" in output and "NORMALIZE True" in output
    assert rows(output, "last epoch") == rows(trained, "last")
    assert (tiny.parent / "results" / "pretrained-HTNet" / "evaluation.csv").exists()
    status, _, error = command("--train", "False", "--dim", "16")
    assert status == 2 and "DIM is 16 here, 8 there" in error and error.count("\n") == 1


def test_a_folds_weights_only_classify_their_own_subject(tiny, command):
    command("--train", "True", "--run", "own", "--keep", "last", *SMALL)
    run = tiny.parent / "weights" / "own"
    states = {"s01": torch.load(run / "s01.pth", weights_only=True)}
    shipped = tiny.parent / "weights" / "pretrained" / "HTNet"
    shipped.mkdir(parents=True)
    record = json.loads((run / "settings.json").read_text())
    network = build_network(record)
    write_shipped(shipped / "folds.safetensors", network, states, record)
    status, _, error = command("--train", "False")
    assert status == 2 and "'006' in weights" in error and "(5 of 6" in error
    status, output, _ = command("--train", "False", "--subjects", "s01")
    assert status == 0 and "s01: predicted" in output


def test_the_files_that_ship_are_those_of_the_model_card():
    card = (ROOT / "weights" / "README.md").read_text(encoding="utf-8")
    files = sorted((ROOT / "weights" / "pretrained" / "HTNet").glob("*.safetensors"))
    assert [path.name for path in files] == ["clips.safetensors", "folds.safetensors"]
    for path in files:
        assert hashlib.sha256(path.read_bytes()).hexdigest() in card
        assert path.stat().st_size < 20e6


def test_what_ships_prints_the_committed_scores(real_datasets, command, capsys):
    """On the real composite without any training: the predictions of docs/results/."""
    options = ["--datasets", real_datasets, "--weights", ROOT / "weights", "--run", "none"]
    status, output, _ = command("--train", "False", *options)
    assert status == 0
    ours = pd.read_csv("results/pretrained-HTNet/evaluation.csv").set_index("name")
    committed = ROOT / "docs" / "results" / "HTNet-honest-seed1"
    table = pd.read_csv(committed / "predictions.csv").set_index("name")
    assert (ours["prediction"] == table["last"].loc[ours.index]).all()
    assert rows(output, "last epoch") == rows((committed / "report.md").read_text(), "last")
