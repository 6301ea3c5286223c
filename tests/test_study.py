"""The study's numbers: recomputed from the packed runs, they are those of the text."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, SMALL
from hypothesis import given, settings
from hypothesis import strategies as st

import main_HTNet
from composite_dataset import INDEX_NAME, load_composite
from evaluation import CHOICES, choose_epochs, unweighted_scores
from facial_areas import read_centres
from report import PUBLISHED
from study import (
    comparisons,
    documents,
    draw_pipeline,
    experiments,
    figures,
    summarize,
    svm,
    tables,
    trainings,
)
from study.pack import main as pack_main
from study.pack import pack
from study.paired import compare, correct_holm
from support.files import BadInput
from support.settings import read_settings

PACKED = sorted((ROOT / "docs" / "results").glob("*/epochs.npz"))


def test_pack_and_summarize(tiny, command):
    folders = []
    for seed in (1, 2):
        assert (
            command(
                "--train", "True", "--run", f"r{seed}", "--seed", seed, "--keep", "none", *SMALL
            )[0]
            == 0
        )
        folders.append(tiny.parent / "packed" / f"r{seed}")
        pack(tiny.parent / "results" / f"r{seed}", folders[-1])
    check_packed(folders[0] / "epochs.npz", epochs=3, samples=12)
    table = summarize.summarize(folders).set_index("epoch choice")
    runs = [pd.read_csv(folder / "predictions.csv") for folder in folders]
    for choice in CHOICES:
        uf1 = [unweighted_scores(run["label"], run[choice])[0] for run in runs]
        expected = f"{(uf1[0] + uf1[1]) / 2:.3f} ± {abs(uf1[0] - uf1[1]) / 2**0.5:.3f} / "
        assert table.loc[choice, "Full"].startswith(expected)


def check_packed(path, epochs=None, samples=442):
    """The choices made from a packed run are those of its predictions.csv, and so of the unrounded
    logits.
    """
    with np.load(path) as file:
        run = dict(file)
    table = (
        pd.read_csv(path.parent / "predictions.csv", dtype={"subject": str})
        .set_index("name")
        .loc[run["names"]]
    )
    assert (
        run["predicted"].shape == run["logits"].shape[:2] == (epochs or len(run["losses"]), samples)
    )
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


def test_every_table_and_number_of_the_text_is_recomputed():
    made = tables.make_tables()
    exact = {
        f"{score:.4f}"
        for sources in PUBLISHED.values()
        for groups in sources.values()
        for scores in groups.values()
        for score in scores
    }
    exact |= set(re.findall(r"\b0\.\d{4}\b", "\n".join(made.values())))
    for document in documents.DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        assert "<!-- tables: " in text and documents.fill(text, made) == text
        # What else the prose says is marked, and so recomputed above, or has four digits that stand
        # in a table.
        text = text.partition("## What the released code really does")[0]
        prose = re.sub(r"<!-- tables: (.+?) -->.*?<!-- end -->", "", text, flags=re.DOTALL)
        prose = re.sub(documents.NUMBER, "", prose)
        reports = "\n".join(
            path.read_text(encoding="utf-8")
            for path in experiments.RESULTS.glob("STSTNet-seed1/report.md")
        )
        unknown = (
            set(re.findall(r"\b0\.\d{2,}", prose))
            - exact
            - set(re.findall(r"\b0\.\d{4}\b", reports))
        )
        assert not unknown, document


def test_dims_beside_the_papers_ablation():
    header, _, *lines = (
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in tables.tabulate_dims().splitlines()
    )
    rows = [dict(zip(header, line)) for line in lines]
    assert {row["dim"]: row["paper"] for row in rows if row["paper"] != "–"} == {
        "56": "0.815",
        "112": "0.832",
        "196": "0.848",
        "256": "0.860",
        "392": "0.853",
        "512": "0.843",
    }
    assert {row["parameters"] for row in rows if row["dim"] == "256"} == {"139,582,982"}
    narrow = next(row for row in rows if row["dim"] == "64" and row["epochs (seeds)"] == "100 (3)")
    packed = [
        pd.read_csv(experiments.RESULTS / f"HTNet-dim64-seed{seed}" / "predictions.csv")
        for seed in (1, 2, 3)
    ]
    for choice in CHOICES:
        uf1 = [unweighted_scores(table["label"], table[choice])[0] for table in packed]
        assert narrow[f"`{choice}`"] == f"{np.mean(uf1):.3f} ± {np.std(uf1, ddof=1):.3f}"


def test_figure(tmp_path, monkeypatch):
    monkeypatch.setattr(figures, "FIGURE", tmp_path / "curves.png")
    lines = {
        axis.get_title(): [text.get_text() for text in axis.get_legend().get_texts()]
        for axis in figures.draw_curves().axes
    }
    assert (tmp_path / "curves.png").stat().st_size > 20_000
    assert all(
        "HTNet, dim 64, order 210 (3)" in lines[panel]
        for panel in ("HTNet, narrow", "HTNet by dim")
    )
    assert [panel for panel in lines if "HTNet, dim 16, order 210 (3)" in lines[panel]] == [
        "HTNet by dim"
    ]
    monkeypatch.setattr(experiments, "RESULTS", tmp_path)
    for seed, epochs in ((1, 2), (2, 3)):
        (tmp_path / f"STSTNet-seed{seed}").mkdir()
        np.savez(
            tmp_path / f"STSTNet-seed{seed}" / "epochs.npz",
            predicted=np.zeros((epochs, 4), np.uint8),
            labels=[0, 1, 2, 0],
            subjects=list("1122"),
        )
    with pytest.raises(SystemExit, match="STSTNet have different numbers of epochs"):
        figures.draw_curves()


def test_a_marked_number_is_the_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(experiments, "RESULTS", tmp_path)
    for name, predicted in (
        ("STSTNet-seed1", [0, 1, 2, 0]),
        ("STSTNet-seed2", [0, 1, 2, 2]),
        ("SVM-whole-pixels-7", [0, 0, 0, 0]),
    ):
        (tmp_path / name).mkdir()
        table = pd.DataFrame(
            {
                "name": list("abcd"),
                "subject": list("1122"),
                "label": [0, 1, 2, 0],
                "last": predicted,
                "prediction": predicted,
            }
        )
        table.to_csv(tmp_path / name / "predictions.csv", index=False)
    two = unweighted_scores([0, 1, 2, 0], [0, 1, 2, 2])[0]
    text = (
        "is <!-- uf1 STSTNet/last -->0.1, more by\n"
        "<!-- uf1 STSTNet/last - STSTNet-seed2/last -->\n0.2."
    )
    assert documents.fill(text, {}) == (
        f"is <!-- uf1 STSTNet/last -->{(1 + two) / 2:.3f}, more by\n"
        f"<!-- uf1 STSTNet/last - STSTNet-seed2/last -->\n{(1 - two) / 2:.3f}."
    )
    with pytest.raises(SystemExit, match="STSTNet-seed3, of which docs/results/ holds no run"):
        documents.fill("<!-- uf1 STSTNet-seed3/last -->0.1", {})


def test_a_run_of_another_name_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(experiments, "RESULTS", tmp_path)
    (tmp_path / "STSTNet-seed1").mkdir()
    experiments.check_names()
    for name in ("HTNet-dim63-seed1", "STSTNet", "SVM-other"):
        (tmp_path / name).mkdir()
        with pytest.raises(SystemExit, match=name):
            experiments.check_names()
        (tmp_path / name).rmdir()


@pytest.mark.parametrize("narrow", [False, True], ids=["full size", "narrow"])
def test_the_trainings_of_the_study_have_the_settings_of_the_packed_ones(narrow):
    constants = {name: getattr(main_HTNet, name) for name in main_HTNet.CONSTANTS}
    compared, runs = 0, []
    for name, options in trainings.list_trainings(narrow):
        arguments = trainings.make_command(name, options, narrow)
        chosen = read_settings(
            arguments[arguments.index("main_HTNet.py") + 1 :],
            constants,
            {"STSTNet": main_HTNet.PRESETS["STSTNet"]},
            main_HTNet.__file__,
        )
        runs.append(name)
        experiment, _, seed = name.rpartition("-seed")
        assert chosen.train and (chosen.RUN, str(chosen.SEED)) == (name, seed)
        assert experiment in experiments.EXPERIMENTS
        stored = experiments.RESULTS / name / "settings.json"
        if stored.exists():
            compared += 1
            for constant, value in json.loads(stored.read_text())["settings"].items():
                ours = getattr(chosen, constant)
                assert constant == "KEEP" or value == (
                    list(ours) if isinstance(ours, tuple) else ours
                ), constant
    assert len(set(runs)) == len(runs) and compared >= 5


def test_every_packed_run_is_one_of_the_study():
    assert {path.parent.name for path in PACKED} <= {
        name for narrow in (False, True) for name, _ in trainings.list_trainings(narrow)
    }


def refusal(main, arguments, monkeypatch, capsys):
    """What a script of the study says to wrong arguments; its exit status is 2."""
    monkeypatch.setattr("sys.argv", ["script", *map(str, arguments)])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    return capsys.readouterr().err


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
    assert len(lines) == 2 * len(trainings.list_trainings(False))
    assert lines[0].startswith("--train True --keep none --run HTNet-seed1")
    released = tmp_path / trainings.RELEASED
    assert (released / "facial_areas.csv").read_text() == "released_area_centres.csv"
    assert (released / INDEX_NAME).read_text() == INDEX_NAME
    done = trainings.list_trainings(False)[0][0]
    (tmp_path / "docs" / "results" / done).mkdir(parents=True)
    capsys.readouterr()
    monkeypatch.setattr("sys.argv", ["run", "--open", "--print"])
    trainings.main()
    printed = capsys.readouterr().out
    assert (
        printed.count("\n") == len(trainings.list_trainings(False)) - 1
        and f"{done} " not in printed
    )


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
        return pd.DataFrame(
            {"subject": subjects, "label": labels, "prediction": (labels + wrong) % 3}
        )

    made = {"good": [table(0.9)], "also good": [table(0.9)], "bad": [table(0.6), table(0.6)]}
    monkeypatch.setattr(comparisons, "read_predictions", lambda name, choice: made[name])
    monkeypatch.setattr(comparisons, "describe", str)
    text = tables.tabulate_pairs([("good", "bad"), ("also good", "good"), ("good", "good")])
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()[2:5]]
    differences, p, corrected = ([float(row[column]) for row in rows] for column in (1, 3, 4))
    assert (
        differences[0] > 0.2 and p[0] < 0.001 and corrected[0] == pytest.approx(3 * p[0], abs=2e-4)
    )
    assert (
        abs(differences[1]) < 0.06
        and p[1] > 0.05
        and corrected[1] == pytest.approx(min(1, 2 * p[1]), abs=2e-4)
    )
    assert differences[2] == 0 and p[2] == corrected[2] == 1


def test_holm():
    assert correct_holm([0.04, 0.01, 0.011]) == pytest.approx([0.04, 0.03, 0.03])
    assert correct_holm([0.5, 0.02, 0.6]) == pytest.approx([1, 0.06, 1])


def pooled_uf1(counts):
    """By scikit-learn, from confusion counts [C, C]."""
    truth, predicted = (
        np.repeat(classes.ravel(), counts.ravel()) for classes in np.indices((3, 3))
    )
    return unweighted_scores(truth, predicted)[0]


@given(st.integers(0, 10_000), st.integers(1, 3), st.integers(1, 3))
@settings(max_examples=8, deadline=None)
def test_compared_is_of_the_means_over_seeds(seed, seeds_of_a, seeds_of_b):
    random = np.random.default_rng(seed)
    a, b = (random.integers(0, 4, (seeds, 12, 3, 3)) for seeds in (seeds_of_a, seeds_of_b))
    difference, (low, high), p = compare(a, b)
    assert difference == pytest.approx(
        np.mean([pooled_uf1(one.sum(0)) for one in a])
        - np.mean([pooled_uf1(one.sum(0)) for one in b])
    )
    opposite, (other_low, other_high), same_p = compare(b, a)
    assert opposite == pytest.approx(-difference) and same_p == p
    assert (other_low, other_high) == pytest.approx((-high, -low), abs=0.03)  # seeds are drawn anew
    # Repeating a method's seeds says nothing new.
    again, _, p_again = compare(np.concatenate([a, a]), b)
    assert again == pytest.approx(difference) and p_again == p


def test_compared_where_nothing_differs():
    """p of two methods that err alike is uniform; seeds that differ widen the interval."""
    random = np.random.default_rng(2)
    p = [compare(*random.integers(0, 3, (2, 1, 15, 3, 3)))[2] for _ in range(60)]
    assert 0.3 < np.mean(p) < 0.7 and 0 < np.mean(np.array(p) < 0.25) < 0.5
    good, bad = np.full((15, 3, 3), 1) + 5 * np.eye(3, dtype=int), np.full((15, 3, 3), 1)
    low, high = compare(np.stack([good, bad]), good[None])[1]
    assert low == pytest.approx(
        pooled_uf1(bad.sum(0)) - pooled_uf1(good.sum(0))
    ) and high == pytest.approx(0)


def test_full_size_networks_are_a_family_of_their_own(tmp_path, monkeypatch):
    def row_of_the_narrow():
        return tables.tabulate_pairs(
            [("STSTNet", "STSTNet-order210"), ("HTNet", "STSTNet")]
        ).splitlines()[2]

    monkeypatch.setattr(experiments, "RESULTS", tmp_path)
    random, label = np.random.default_rng(0), np.tile([0, 1, 2], 20)
    for name, right in (
        ("STSTNet-seed1", 0.8),
        ("STSTNet-order210-seed1", 0.6),
        ("HTNet-seed1", 0.7),
    ):
        before = row_of_the_narrow() if name[0] == "H" else None
        predicted = (label + (random.random(60) > right)) % 3
        table = pd.DataFrame(
            {"name": range(60), "subject": np.repeat(range(12), 5), "label": label}
        )
        (tmp_path / name).mkdir()
        table.assign(**dict.fromkeys(CHOICES, predicted)).to_csv(
            tmp_path / name / "predictions.csv", index=False
        )
    assert row_of_the_narrow() == before
    assert "HTNet, order 210 (1)" in tables.tabulate_pairs(
        [("STSTNet", "STSTNet-order210"), ("HTNet", "STSTNet")]
    )


def test_support_vector_machine_without_data(tmp_path, monkeypatch, capsys):
    assert f"{tmp_path} holds no {INDEX_NAME}" in refusal(
        svm.main, ["--datasets", tmp_path], monkeypatch, capsys
    )


@pytest.mark.parametrize(
    "runs, words",
    [
        (["STSTNet-seed1", "nowhere"], "nowhere holds no predictions.csv"),
        (["SVM-areas-pixels-14"], "SVM-areas-pixels-14 has no epochs to choose from"),
        (["STSTNet-seed1", "STSTNet-seed1"], "not several runs on the same samples"),
    ],
)
def test_summarize_refuses(runs, words, monkeypatch, capsys):
    assert words in refusal(
        summarize.main, [experiments.RESULTS / name for name in runs], monkeypatch, capsys
    )


def test_pack_refuses(tmp_path):
    for folder, words in (
        (tmp_path, "holds no report.md"),
        (experiments.RESULTS / "STSTNet-seed1", "holds no folds"),
    ):
        with pytest.raises(BadInput, match=words):
            pack(folder, tmp_path / "target")
    assert not (tmp_path / "target").exists()


def test_support_vector_machine(real_datasets):
    composite = load_composite(real_datasets)
    inputs = svm.make_features(composite, "normalized", 7, None)
    assert inputs.shape == (442, 147)
    predicted = svm.predict_held_out(composite, inputs)
    assert np.round(unweighted_scores(composite.labels, predicted), 2).tolist() == [0.76, 0.77]
    stored = pd.read_csv(
        Path(experiments.RESULTS) / "SVM-whole-normalized-7" / "predictions.csv"
    ).set_index("name")
    assert (stored.loc[composite.names, "prediction"] == predicted).mean() > 0.99


def test_pack_writes_where_the_tables_look(tiny, command, tmp_path, monkeypatch):
    command("--train", "True", "--run", "STSTNet-seed9", "--keep", "none", *SMALL)
    monkeypatch.setattr(experiments, "RESULTS", tmp_path / "docs" / "results")
    pack_main([str(tiny.parent / "results" / "STSTNet-seed9")])
    assert (tmp_path / "docs" / "results" / "STSTNet-seed9" / "epochs.npz").exists()


def test_the_pipelines_picture(tmp_path, monkeypatch):
    (tmp_path / "docs").mkdir()
    (tmp_path / "datasets").symlink_to(ROOT / "datasets")
    monkeypatch.setattr(draw_pipeline, "ROOT", tmp_path)
    draw_pipeline.main([])
    assert (tmp_path / "docs" / "pipeline.png").stat().st_size > 20_000
