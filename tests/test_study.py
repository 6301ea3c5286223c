"""The study's numbers: recomputed from the packed runs, they are those of the text."""

import hashlib
import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, SMALL, refusal

import main_HTNet
from composite_dataset import INDEX_NAME
from evaluation import CHOICES, choose_predictions, unweighted_scores
from study import (
    documents,
    draw_pipeline,
    experiments,
    figures,
    summarize,
    tables,
    trainings,
)
from study.choices import compute_uf1
from study.pack import main as pack_main
from study.pack import pack, write_again
from support.files import BadInput

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
    labels, logits = run["labels"].astype(int), experiments.restore_logits(run)
    assert (logits.argmax(-1) == run["predicted"]).all()
    for choice in CHOICES:
        predicted, chosen = choose_predictions(logits, labels, run["subjects"], choice)
        if choice == "average":  # of rounded logits
            assert (predicted != table[choice]).sum() <= 1
        else:
            assert (predicted == table[choice]).all()
            assert (chosen + 1 == table[f"{choice}_epoch"]).all()
    turned = run["logits"].argmax(-1) != run["predicted"]  # by rounding
    assert turned.mean() < 0.002 and np.isfinite(run["logits"]).all()


@pytest.mark.parametrize("path", PACKED, ids=lambda path: path.parent.name)
def test_packed_runs_are_their_reports(path):
    clips = pd.read_csv(ROOT / "datasets" / "megc2019.csv", dtype=str)["subject"]
    options = dict(trainings.list_trainings("wide")).get(path.parent.name, [])
    some = dict(zip(options[::2], options[1::2])).get("--subjects", "")
    check_packed(path, samples=clips.isin(some.split(",")).sum() if some else 442)
    with np.load(path) as file:
        assert not some or set(file["subjects"]) == set(some.split(","))


def test_every_table_and_number_of_the_text_is_recomputed():
    """One test for all pages: the tables take long to make."""
    made = tables.make_tables()
    for document in documents.DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        assert documents.fill(text, made) == text, document.name
        assert not documents.find_strays(text, made), document.name


def test_a_number_must_stand_in_the_table_that_its_mark_names():
    stood = {"one": "| 0.8603 / -0.0310 / +0.0310–0.0420 |", "other": "| -0.7777 / +0.1254 |"}
    right = (
        "<!-- in one -->0.8603, <!-- in one -->\n-0.0310, 0.05 of 12.345, <!-- in one -->0.0420, "
        "<!-- minus in other -->0.7777, <!-- minus in other -->-0.1254, <!-- in other -->0.1254"
    )
    assert not documents.find_strays(right, stood)
    for wrong, words in (
        ("<!-- in other -->0.8603", "0.8603 is not in the table 'other'"),
        ("<!-- in one -->0.860", "0.860 is not in"),
        ("<!-- in other -->0.7777", "0.7777 is not in"),
        ("<!-- in other -->-0.1254", "-0.1254 is not in"),
        ("<!-- minus in other -->0.1254", "0.1254 is not in"),
        ("scores 0.8603", "0.8603 has no mark"),
        ("the plot has .815", ".815 has no mark"),
    ):
        (stray,) = documents.find_strays(wrong, stood)
        assert words in stray


def test_readme_is_short_and_its_commands_stand_where_they_are_looked_for():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert text.count("\n") <= 200
    for heading, command in (
        ("## Install and run", "python main_HTNet.py --train True"),
        ("## Tests", "python -m pytest"),
    ):
        block = text.partition(f"\n{heading}\n")[2].partition("```bash\n")[2].partition("```")[0]
        assert "pip install -r requirements.txt" in block and command in block
    pages = sorted((ROOT / "docs").glob("*.md"))
    assert not [page.name for page in pages if f"](docs/{page.name})" not in text]
    for path in (ROOT / "README.md", *pages):
        for link in re.findall(r"\]\((?!http)([^)#]+)", path.read_text(encoding="utf-8")):
            assert (path.parent / link).exists(), (path.name, link)


def test_every_constant_stands_on_the_settings_page():
    text = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    assert not [name for name in main_HTNet.CONSTANTS if f"`{name}`" not in text]


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


def test_the_findings_picture(tmp_path, monkeypatch):
    monkeypatch.setattr(figures, "FINDING", tmp_path / "finding.png")
    axis = figures.draw_finding().axes[0]
    texts = [text.get_text() for text in axis.texts]
    assert {"HTNet, paper 0.8603", "STSTNet, paper 0.7353", "last epoch"} <= set(texts)
    rows = [label.get_text().replace("\n", " ") for label in axis.get_yticklabels()]
    for row, name in (("HTNet, dim 64", "HTNet-dim64"), ("STSTNet", "STSTNet")):
        y = axis.get_yticks()[rows.index(row)]
        drawn = {
            round(float(x), 4)
            for mark in axis.collections
            for x, at in mark.get_offsets()
            if abs(at - y) < 0.3
        }
        last = compute_uf1(name, "last")
        (number,) = [
            text
            for text in axis.texts
            if text.get_text() == f"{last:.3f}" and abs(text.get_position()[1] - y) < 0.5
        ]
        assert number.get_position()[0] == pytest.approx(last)
        counted = ("last", "average", "across", "best")
        assert drawn == {round(float(compute_uf1(name, choice)), 4) for choice in counted}
    assert (tmp_path / "finding.png").stat().st_size > 20_000


def test_the_curves_picture(tmp_path, monkeypatch):
    monkeypatch.setattr(figures, "FIGURE", tmp_path / "curves.png")
    lines = {
        axis.get_title(): [text.get_text() for text in axis.get_legend().get_texts()]
        for axis in figures.draw_curves().axes
        if axis.get_title()
    }
    assert (tmp_path / "curves.png").stat().st_size > 20_000
    assert all(
        "HTNet, dim 64, order 210 (3)" in lines[panel]
        for panel in ("HTNet, dim 64: recipe", "HTNet by width")
    )
    assert [panel for panel in lines if "HTNet, dim 16, order 210 (3)" in lines[panel]] == [
        "HTNet by width"
    ]
    monkeypatch.setattr(experiments, "RESULTS", tmp_path)
    for seed, epochs in ((1, 2), (2, 3)):
        (tmp_path / f"STSTNet-seed{seed}").mkdir()
        np.savez(
            tmp_path / f"STSTNet-seed{seed}" / "epochs.npz",
            names=list("abcd"),
            predicted=np.zeros((epochs, 4), np.uint8),
            labels=[0, 1, 2, 0],
            subjects=list("1122"),
            losses=np.ones(epochs),
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


def test_writing_a_packed_run_again_changes_nothing(tmp_path):
    name = "HTNet-dim16-seed1"
    shutil.copytree(experiments.RESULTS / name, tmp_path / name)
    (tmp_path / name / "predictions.csv").write_text("an older format")
    pack_main(["--again", str(tmp_path / name)])
    for file in ("predictions.csv", "report.md"):
        assert (tmp_path / name / file).read_text() == (
            experiments.RESULTS / name / file
        ).read_text()
    with pytest.raises(BadInput, match="holds no epochs.npz"):
        write_again(tmp_path)


def test_the_released_data_are_those_of_the_text(real_datasets):
    text = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
    for files in (
        [real_datasets / INDEX_NAME],
        sorted((real_datasets / "STSNet_whole_norm_u_v_os").glob("*.png")),
        sorted((real_datasets / "combined_datasets_whole").glob("*.jpg")),
    ):
        sums = hashlib.sha256(b"".join(path.read_bytes() for path in files))
        assert sums.hexdigest() in text
    hashes = {
        json.loads(path.read_text())["data"]
        for path in experiments.RESULTS.glob("HT*/settings.json")
    }
    assert len([data for data in hashes if data in text]) >= 2
