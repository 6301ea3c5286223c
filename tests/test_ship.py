"""How the files of weights/pretrained/HTNet/ are made."""

import numpy as np
import pytest
import torch
from conftest import SMALL, rows

from recognition.ensemble import load_ensemble
from study import ship
from support.shipped_weights import read_shipped

HONEST = ["--normalize", "True", "--augment", "True"]


@pytest.fixture
def target(tmp_path, monkeypatch):
    folder = tmp_path / "weights" / "pretrained" / "HTNet"
    monkeypatch.setattr(ship, "TARGET", folder)
    return folder


def test_folds_are_shipped_and_score_as_they_did(tiny, command, target):
    arguments = ["--run", "own", "--keep", "last", *HONEST, *SMALL]
    _, trained, _ = command("--train", "True", *arguments)
    ship.main(["folds", "weights/own"])
    status, output, _ = command("--train", "False", "--run", "none")
    assert status == 0 and "folds.safetensors" in output
    assert rows(output, "last epoch") == rows(trained, "last")
    states, record, _ = read_shipped(target / "folds.safetensors")
    assert len(states) == 6 and record["classes"] == ["negative", "positive", "surprise"]
    assert (target / "folds.safetensors").stat().st_size < sum(
        path.stat().st_size for path in (tiny.parent / "weights" / "own").glob("*.pth")
    )


def test_half_precision_that_changes_a_prediction_is_refused(
    tiny, command, target, monkeypatch, capsys
):
    command("--train", "True", "--run", "own", "--keep", "last", *HONEST, *SMALL)
    ship.main(["folds", "weights/own"])
    before = (target / "folds.safetensors").read_bytes()
    monkeypatch.setattr(
        ship, "halve", lambda state: {name: -value for name, value in state.items()}
    )
    with pytest.raises(SystemExit):
        ship.main(["folds", "weights/own"])
    assert "half precision changes" in capsys.readouterr().err
    assert (target / "folds.safetensors").read_bytes() == before


def test_networks_trained_on_all_become_an_ensemble(tiny, command, target):
    for seed in ("1", "2"):
        arguments = ["--subjects", "all", "--seed", seed, *HONEST, *SMALL]
        assert command("--train", "True", "--run", f"all{seed}", *arguments)[0] == 0
    ship.main(["clips", "weights/all1", "weights/all2"])
    ensemble = load_ensemble(target / "clips.safetensors")
    assert len(ensemble.members) == 2 and ensemble.classes[0] == "negative"
    flows = np.random.default_rng(0).integers(0, 256, (3, 28, 28, 3)).astype(np.uint8)
    inputs = ensemble.make_inputs(flows, np.array([[[8, 7], [8, 21], [20, 8], [20, 19]]] * 3))
    assert torch.allclose(ensemble(inputs).sum(1), torch.ones(3))
    assert ensemble.baseline.abs().max() > 0


@pytest.mark.parametrize(
    "runs, sentence",
    [
        (["folds", "weights/own"], "of the last epoch"),
        (["folds", "weights/last", "weights/last"], "of one run"),
        (["clips", "weights/last"], "all.pth alone"),
        (["clips", "weights/last", "weights/other"], "differ in more than their seeds"),
        (["folds", "weights/absent"], "holds no weights"),
    ],
)
def test_runs_that_are_not_fit_are_refused(tiny, command, target, capsys, runs, sentence):
    command("--train", "True", "--run", "own", *SMALL)
    command("--train", "True", "--run", "last", "--keep", "last", *SMALL)
    command("--train", "True", "--run", "other", "--keep", "last", *SMALL, "--shuffle", "True")
    with pytest.raises(SystemExit):
        ship.main(runs)
    assert sentence in capsys.readouterr().err and not any(target.glob("*"))
