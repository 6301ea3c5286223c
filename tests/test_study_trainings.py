"""The study's trainings: their commands, and the settings of the packed ones."""

import json

import pandas as pd
import pytest
from conftest import ROOT, refusal

import main_HTNet
from composite_dataset import INDEX_NAME
from facial_areas import read_centres
from study import (
    experiments,
    trainings,
)
from support.settings import read_settings

PACKED = sorted((ROOT / "docs" / "results").glob("*/epochs.npz"))


GROUPS = ("full", "wide", "narrow", "honest")


@pytest.mark.parametrize("group", GROUPS)
def test_the_trainings_of_the_study_have_the_settings_of_the_packed_ones(group):
    constants = {name: getattr(main_HTNet, name) for name in main_HTNet.CONSTANTS}
    compared, runs = 0, []
    for name, options in trainings.list_trainings(group):
        arguments = trainings.make_command(name, options, group)
        chosen = read_settings(
            arguments[arguments.index("main_HTNet.py") + 1 :],
            constants,
            {name: main_HTNet.PRESETS[name] for name in ("STSTNet", "honest")},
            main_HTNet.__file__,
        )
        runs.append(name)
        experiment, _, seed = name.rpartition("-seed")
        assert chosen.train and (chosen.RUN, str(chosen.SEED)) == (name, seed)
        assert experiment in experiments.NAMES
        stored = experiments.RESULTS / name / "settings.json"
        if not stored.exists():  # or on its way
            stored = experiments.RESULTS / "unfinished" / name / "settings.json"
        if stored.exists():
            compared += 1
            for constant, value in json.loads(stored.read_text())["settings"].items():
                ours = getattr(chosen, constant)
                assert constant == "KEEP" or value == (
                    list(ours) if isinstance(ours, tuple) else ours
                ), constant
    assert len(set(runs)) == len(runs) and compared >= (1 if group == "wide" else 5)


def test_every_packed_run_is_one_of_the_study():
    assert {path.parent.name for path in PACKED} <= {
        name for group in GROUPS for name, _ in trainings.list_trainings(group)
    }


def test_trainings_are_made_one_after_the_other(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(trainings, "ROOT", tmp_path)
    (tmp_path / "datasets").mkdir()
    assert "datasets holds no composite" in refusal(
        trainings.main, ["--narrow"], monkeypatch, capsys
    )
    for name in (INDEX_NAME, "facial_areas.csv", "released_area_centres.csv"):
        (tmp_path / "datasets" / name).write_text(name)
    (tmp_path / "main_HTNet.py").write_text(
        "import sys; print(*sys.argv[1:], file=open('log.txt', 'a'))\n"
        "sys.exit('-shuffle-seed1' in ' '.join(sys.argv))"
    )
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert "no CUDA GPU" in refusal(trainings.main, [], monkeypatch, capsys)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("sys.argv", ["run"])
    for _ in range(2):
        with pytest.raises(SystemExit, match="(?s)These failed:.*HTNet-shuffle-seed1") as error:
            trainings.main()
        assert str(error.value).count("\n") == 1
    lines = (tmp_path / "log.txt").read_text().splitlines()
    assert len(lines) == 2 * len(trainings.list_trainings())
    assert lines[0].startswith("--train True --keep none --run HTNet-seed1")
    released = tmp_path / trainings.RELEASED
    assert (released / "facial_areas.csv").read_text() == "released_area_centres.csv"
    assert (released / INDEX_NAME).read_text() == INDEX_NAME
    done = trainings.list_trainings()[0][0]
    (tmp_path / "docs" / "results" / done).mkdir(parents=True)
    capsys.readouterr()
    monkeypatch.setattr("sys.argv", ["run", "--open", "--print"])
    trainings.main()
    printed = capsys.readouterr().out
    assert printed.count("\n") == len(trainings.list_trainings()) - 1 and f"{done} " not in printed


def test_released_area_centres_are_of_the_composite():
    centres = read_centres(ROOT / "datasets" / "released_area_centres.csv")
    clips = pd.read_csv(ROOT / "datasets" / "megc2019.csv", dtype=str)
    assert len(centres) == len(clips) == 442
    assert {name.partition("_")[0] for name in centres} == set(clips["subject"])
