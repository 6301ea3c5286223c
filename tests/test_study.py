"""The study's numbers: recomputed from the packed runs, they are those of the text."""
import json
import os
import re
import shlex
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, SMALL

import main_HTNet
from composite_dataset import load_composite
from docs.study import svm, tables
from docs.study.pack import pack
from docs.study.summarise import summarise
from evaluation import CHOICES, PUBLISHED, choose_epochs, unweighted_scores
from facial_areas import read_centres
from settings import read_settings

PACKED = sorted((ROOT / "docs" / "results").glob("*/epochs.npz"))


def test_pack_and_summarise(tiny, command):
    folders = []
    for seed in (1, 2):
        assert command("--train", "True", "--run", f"r{seed}", "--seed", seed, "--keep", "none", *SMALL)[0] == 0
        folders.append(tiny.parent / "packed" / f"r{seed}")
        pack(tiny.parent / "results" / f"r{seed}", folders[-1])
    check_packed(folders[0] / "epochs.npz", epochs=3, samples=12)
    table = summarise(folders).set_index("epoch choice")
    runs = [pd.read_csv(folder / "predictions.csv") for folder in folders]
    for choice in CHOICES:
        uf1 = [unweighted_scores(run["label"], run[choice])[0] for run in runs]
        expected = f"{(uf1[0] + uf1[1]) / 2:.3f} ± {abs(uf1[0] - uf1[1]) / 2 ** 0.5:.3f} / "
        assert table.loc[choice, "Full"].startswith(expected)


def check_packed(path, epochs=None, samples=442):
    """The choices made from a packed run are those of its predictions.csv, and so of the unrounded logits."""
    with np.load(path) as file:
        run = dict(file)
    table = pd.read_csv(path.parent / "predictions.csv", dtype={"subject": str}).set_index("name").loc[run["names"]]
    assert run["predicted"].shape == run["logits"].shape[:2] == (epochs or len(run["losses"]), samples)
    assert run["labels"].tolist() == table["label"].tolist()
    labels = run["labels"].astype(int)
    for choice in CHOICES:
        chosen = choose_epochs(np.eye(3)[run["predicted"]], labels, run["subjects"], choice)
        assert (run["predicted"][chosen, np.arange(samples)] == table[choice]).all()
        assert (chosen + 1 == table[f"{choice}_epoch"]).all()
    turned = run["logits"].argmax(-1) != run["predicted"]  # by rounding
    assert turned.mean() < 0.002 and np.isfinite(run["logits"]).all()


@pytest.mark.parametrize("path", PACKED, ids=lambda path: path.parent.name)
def test_packed_runs_are_their_reports(path):
    check_packed(path)


def test_every_table_of_the_text_is_recomputed():
    made = tables.all_tables()
    for document in tables.DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        assert "<!-- tables: " in text and tables.filled(text, made) == text
    text = tables.DOCUMENTS[0].read_text(encoding="utf-8")
    # and what the prose says stands in a table, or is published
    known = set(re.findall(r"\d\.\d+", "\n".join(made.values())))
    known |= {f"{score:.4f}" for sources in PUBLISHED.values() for groups in sources.values()
              for scores in groups.values() for score in scores}
    prose = re.sub(r"<!-- tables: (.+?) -->.*?<!-- end -->", "", text, flags=re.DOTALL)
    rounded = {f"{float(number):.3f}" for number in known}  # two digits would match anything
    unknown = set(re.findall(r"\b0\.\d{2,}", prose)) - known - rounded
    assert not unknown


def test_a_run_of_another_name_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    (tmp_path / "STSTNet-seed1").mkdir()
    tables.check_names()
    for name in ("HTNet-dim63-seed1", "STSTNet", "SVM-other"):
        (tmp_path / name).mkdir()
        with pytest.raises(SystemExit, match=name):
            tables.check_names()
        (tmp_path / name).rmdir()


@pytest.mark.parametrize("option", [[], ["--narrow"]], ids=["full size", "narrow"])
def test_the_script_of_all_runs_gives_the_settings_of_the_packed_ones(option):
    printed = subprocess.run(["bash", "docs/study/run.sh", *option], cwd=ROOT, env=os.environ | {"ECHO": "echo"},
                             capture_output=True, text=True, check=True).stdout
    constants = {name: getattr(main_HTNet, name) for name in main_HTNet.CONSTANTS}
    compared, runs = 0, []
    for line in printed.splitlines():
        arguments = shlex.split(line)
        arguments = arguments[arguments.index("main_HTNet.py") + 1:]
        settings = read_settings(arguments, constants, main_HTNet.MODEL_DEFAULTS, {}, main_HTNet.__file__)
        runs.append(settings.RUN)
        assert settings.train and settings.RUN.rpartition("-seed") == (
            settings.RUN[:-6], "-seed", str(settings.SEED)) and settings.RUN[:-6] in tables.EXPERIMENTS
        stored = tables.RESULTS / settings.RUN / "settings.json"
        if stored.exists():
            compared += 1
            for name, value in json.loads(stored.read_text())["settings"].items():
                ours = getattr(settings, name)
                assert name == "KEEP" or value == (list(ours) if isinstance(ours, tuple) else ours), (stored, name)
    assert len(set(runs)) == len(runs) and compared >= 5
    if option:  # every packed run is made by the script
        assert {path.parent.name for path in PACKED} <= set(runs)


def test_released_area_centres_are_of_the_composite():
    centres = read_centres(ROOT / "datasets" / "released_area_centres.csv")
    clips = pd.read_csv(ROOT / "datasets" / "megc2019.csv", dtype=str)
    assert len(centres) == len(clips) == 442
    assert {name.partition("_")[0] for name in centres} == set(clips["subject"])


def test_paired_test_finds_what_is_there(monkeypatch):
    random = np.random.default_rng(0)
    subjects, labels = np.repeat(np.arange(40).astype(str), 6), random.integers(0, 3, 240)

    def table(share):  # right for this share of the samples
        wrong = random.random(240) > share
        return pd.DataFrame({"subject": subjects, "label": labels, "prediction": (labels + wrong) % 3})

    made = {"good": [table(0.9)], "also good": [table(0.9)], "bad": [table(0.6), table(0.6)]}
    monkeypatch.setattr(tables, "predictions", lambda name, choice: made[name])
    monkeypatch.setattr(tables, "NAMES", {name: name for name in made})
    text = tables.pair_table([("good", "bad"), ("also good", "good"), ("good", "good")])
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()[2:5]]
    differences = [float(row[1].split()[0]) for row in rows]
    p, corrected = zip(*(map(float, row[2].split(" / ")) for row in rows))
    assert differences[0] > 0.2 and p[0] < 0.001 and corrected[0] == pytest.approx(3 * p[0], abs=2e-4)
    assert abs(differences[1]) < 0.06 and p[1] > 0.05 and corrected[1] == pytest.approx(min(1, 2 * p[1]), abs=2e-4)
    assert differences[2] == 0 and p[2] == corrected[2] == 1


def test_compared_is_symmetric():
    random = np.random.default_rng(1)
    a, b = random.integers(0, 4, (2, 3, 20, 3, 3))
    (difference, (low, high), p), (opposite, (other_low, other_high), same_p) = (
        tables.compared(a, b), tables.compared(b, a))
    assert opposite == pytest.approx(-difference) and same_p == p
    assert (other_low, other_high) == pytest.approx((-high, -low))
    assert tables.compared(a[:1], b)[0] == pytest.approx(np.mean([tables.compared(a[:1], b[i:i + 1])[0]
                                                                  for i in range(3)]))


def test_support_vector_machine(real_datasets):
    composite = load_composite(real_datasets)
    inputs = svm.features(composite, "normalized", 7, None)
    assert inputs.shape == (442, 147)
    predicted = svm.held_out_predictions(composite, inputs)
    assert np.round(unweighted_scores(composite.labels, predicted), 2).tolist() == [0.76, 0.77]
    stored = pd.read_csv(Path(tables.RESULTS) / "SVM-whole-normalized-7" / "predictions.csv").set_index("name")
    assert (stored.loc[composite.names, "prediction"] == predicted).mean() > 0.99
