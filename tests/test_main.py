"""The command, really run on tiny settings: train, evaluate, resume, refuse."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import ROOT, SAMPLES, SMALL, make_datasets, rows, tiny_flow, write_png

import loso
import main_HTNet
import report
from evaluation import unweighted_scores
from support import devices
from support.files import BadInput
from support.settings import parse_boolean, read_settings


@pytest.mark.parametrize("model", ["HTNet", "STSTNet"])
def test_train_then_evaluate(tiny, command, model):
    status, output, _ = command("--train", "True", "--model", model, "--keep", "best", *SMALL)
    assert status == 0
    results = tiny.parent / "results" / model
    expected = {
        "report.md",
        "predictions.csv",
        "settings.json",
        "confusion_matrices.png",
        "learning_curves.png",
        "folds",
    }
    assert {path.name for path in results.iterdir()} == expected | (
        {"facial_areas.png"} if model == "HTNet" else set()
    )
    for choice in ("last", "average", "best"):
        assert set(rows(output, choice)) == {"Full", "SMIC", "CASME II", "SAMM"}
        assert f"- `{choice}`: " in (results / "report.md").read_text()
    assert output.count("Subject ") == 6 and "6 subjects so far" in output
    assert "0.8603 | 0.8475" in output if model == "HTNet" else "0.7353 | 0.7605" in output
    table = pd.read_csv(results / "predictions.csv", dtype={"subject": str})
    assert (
        len(table) == 12
        and table["last_epoch"].eq(3).all()
        and table["best_epoch"].between(1, 3).all()
    )
    stored = json.loads((tiny.parent / "weights" / model / "settings.json").read_text())
    assert (
        stored == json.loads((results / "settings.json").read_text())
        and stored["settings"]["EPOCHS"] == 3
    )

    status, evaluated, _ = command("--train", "False", "--model", model, *SMALL)
    assert status == 0
    assert rows(evaluated, "best epoch") == rows(output, "best") and not rows(evaluated, "last")
    again = pd.read_csv(results / "evaluation.csv")
    assert dict(zip(again["name"], again["prediction"])) == dict(zip(table["name"], table["best"]))


def test_without_train_it_evaluates_and_says_so(tiny, command):
    status, output, error = command(*SMALL)
    assert (
        status == 2
        and "evaluating" in output
        and "holds no weights" in error
        and ".pth is missing" in error
    )


def test_the_trainings_time_in_the_report(tiny, command):
    command("--train", "True", "--run", "long", *SMALL)
    for path in (tiny.parent / "results" / "long" / "folds").iterdir():
        fold = dict(np.load(path))
        np.savez(path, **fold | {"seconds": 30_000.4})
    command("--train", "True", "--run", "long", *SMALL)
    assert (
        "training took 50:00:02 (h:mm:ss)"
        in (tiny.parent / "results" / "long" / "report.md").read_text()
    )


def test_keep_last_and_none(tiny, command):
    _, output, _ = command("--train", "yes", "--keep", "last", *SMALL)
    _, evaluated, _ = command("--train", "no", "--keep", "last", *SMALL)
    assert rows(evaluated, "last epoch") == rows(output, "last")
    status, _, _ = command("--train", "1", "--keep", "none", "--run", "none", *SMALL)
    assert status == 0 and not list((tiny.parent / "weights" / "none").glob("*.pth"))


def test_seeds_make_order_resuming_and_subsets_irrelevant(tiny, command):
    command("--train", "True", "--run", "all", *SMALL)
    command("--train", "True", "--run", "some", "--subjects", "sub02,s01", *SMALL)
    report = (tiny.parent / "results" / "some" / "report.md").read_text()
    assert "of 2 of the 6 subjects" in report
    _, output, _ = command("--train", "True", "--run", "some", *SMALL)
    assert "2 of 6 folds were finished before" in output
    command("--train", "True", "--run", "other", "--seed", "2", *SMALL)
    logits = {
        run: {
            path.name: np.load(path)["logits"]
            for path in (tiny.parent / "results" / run / "folds").iterdir()
        }
        for run in ("all", "some", "other")
    }
    assert len(logits["all"]) == 6
    for name, value in logits["all"].items():
        np.testing.assert_array_equal(logits["some"][name], value)
        assert np.abs(logits["other"][name] - value).max() > 1e-3


TORCHRUN = (
    sys.executable,
    "-m",
    "torch.distributed.run",
    "--standalone",
    "--nproc-per-node",
    "2",
    "--",
)


def launch(root, *arguments, launcher=(sys.executable,)):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [*launcher, ROOT / "main_HTNet.py", "--train", "True", "--threads", "1", *arguments],
        cwd=root,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_resumes_after_a_kill(tiny, command):
    long = [*SMALL, "--epochs", "60"]
    process = launch(tiny.parent, *long)
    folder = tiny.parent / "results" / "HTNet" / "folds"
    deadline = time.monotonic() + 120
    while (
        process.poll() is None
        and not list(folder.glob("[!.]*.npz"))
        and time.monotonic() < deadline
    ):
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    finished = {path.name: path.stat().st_mtime_ns for path in folder.glob("[!.]*.npz")}
    assert 1 <= len(finished) < 6
    status, output, _ = command("--train", "True", *long)
    assert status == 0 and f"{len(finished)} of 6 folds were finished before" in output
    assert all((folder / name).stat().st_mtime_ns == changed for name, changed in finished.items())
    command("--train", "True", "--run", "uninterrupted", *long)
    for path in folder.glob("*.npz"):
        np.testing.assert_array_equal(
            np.load(path)["logits"],
            np.load(tiny.parent / "results" / "uninterrupted" / "folds" / path.name)["logits"],
        )


def test_two_processes_give_what_one_gives(tiny, command):
    command("--train", "True", *SMALL)
    process = launch(tiny.parent, "--run", "two", *SMALL, launcher=TORCHRUN)
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 0, output
    assert output.count("| last | Full |") == 1
    counts = [int(count) for count in re.findall(r"last epoch; (\d) subjects so far", output)]
    assert len(counts) == 3 and counts == sorted(counts)  # the first rank's own; it sees all folds
    assert counts[0] >= 1 and counts[-1] <= 6
    for path in (tiny.parent / "results" / "HTNet" / "folds").glob("*.npz"):
        np.testing.assert_array_equal(
            np.load(path)["logits"],
            np.load(tiny.parent / "results" / "two" / "folds" / path.name)["logits"],
        )
    reports = [
        pd.read_csv(tiny.parent / "results" / run / "predictions.csv") for run in ("HTNet", "two")
    ]
    pd.testing.assert_frame_equal(*reports)


def test_two_processes_refuse_as_one(tiny, command):
    command("--train", "True", *SMALL)
    before = {path: path.stat().st_mtime_ns for path in tiny.parent.rglob("*") if path.is_file()}
    process = launch(tiny.parent, *SMALL, "--seed", "2", launcher=TORCHRUN)
    output, _ = process.communicate(timeout=120)
    assert process.returncode != 0 and output.count("SEED is 2 here, 1 there") == 1
    assert before == {
        path: path.stat().st_mtime_ns for path in tiny.parent.rglob("*") if path.is_file()
    }


def test_a_rank_that_dies_leaves_the_finished_folds(tiny, command):
    long = ["--run", "two", *SMALL, "--epochs", "80"]
    process = launch(tiny.parent, *long, launcher=TORCHRUN)
    folder = tiny.parent / "results" / "two" / "folds"
    deadline = time.monotonic() + 120
    while (
        process.poll() is None
        and not list(folder.glob("[!.]*.npz"))
        and time.monotonic() < deadline
    ):
        time.sleep(0.02)
    ranks = subprocess.run(
        ["pgrep", "-P", str(process.pid), "-f", "main_HTNet.py"], capture_output=True, text=True
    ).stdout.split()
    assert len(ranks) == 2
    os.kill(int(ranks[0]), signal.SIGKILL)
    process.communicate(timeout=120)
    finished = {path: path.stat().st_mtime_ns for path in folder.glob("[!.]*.npz")}
    assert process.returncode != 0 and 1 <= len(finished) < 6
    status, output, _ = command("--train", "True", *long)  # one process goes on for the two
    assert status == 0 and f"{len(finished)} of 6 folds were finished before" in output
    assert all(path.stat().st_mtime_ns == changed for path, changed in finished.items())


def test_sigterm_ends_as_ctrl_c_does(tiny, command):
    """SLURM sends it some time before it kills."""
    process = launch(tiny.parent, *SMALL, "--epochs", "3000")
    folder = tiny.parent / "results" / "HTNet" / "folds"
    deadline = time.monotonic() + 120
    while not folder.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 143 and "Stopped. What is finished is kept" in output
    assert "Traceback" not in output


def add_context(error, first):
    error.__context__ = first
    return error


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device is at hand")
@pytest.mark.parametrize(
    "arguments",
    [
        ["--cuda_graphs", "True"],
        ["--cuda_graphs", "True", "--dropout", "0.1", "--shuffle", "True", "--precision", "bf16"],
        ["--recipe", "honest"],
        ["--model", "STSTNet", "--cuda_graphs", "True", "--keep", "best"],
    ],
    ids=["graphs", "dropout", "honest", "STSTNet"],
)
def test_the_commands_on_a_gpu(tiny, command, arguments):
    """What it kept of each subject predicts, evaluated, what its training saw."""
    options = ["--epochs", "8", "--keep", "last", *SMALL[:6], *arguments]
    status, output, error = command("--train", "True", "--device", "cuda", *options)
    assert status == 0 and torch.cuda.get_device_name() in output, error
    choice = "best" if arguments[-1] == "best" else "last"
    status, evaluated, error = command("--train", "False", "--device", "cuda", *options)
    assert status == 0 and rows(evaluated, f"{choice} epoch") == rows(output, choice), error


def test_more_processes_than_gpus_are_told_so(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(devices.ranks, "rank_on_machine", lambda: 1)
    with pytest.raises(BadInput, match="more processes than the 1 GPUs.*--nproc-per-node 1"):
        devices.pick_device("auto")


@pytest.mark.parametrize(
    "capability, precision, device, noted",
    [
        ("AVX2", "bf16", "cpu", True),
        ("AVX512", "bf16", "cpu", False),
        ("AVX2", "tf32", "cpu", False),
        ("AVX2", "bf16", "cuda", False),
    ],
)
def test_bf16_is_said_to_be_slow_where_it_is_emulated(
    monkeypatch, capsys, capability, precision, device, noted
):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    devices.warn_of_emulation(precision, torch.device(device))
    assert ("has no AVX-512 and emulates bf16" in capsys.readouterr().out) == noted


@pytest.mark.parametrize(
    "error, words",
    [
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."),
            ["out of memory", "BATCH_SIZE"],
        ),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
            ["out of memory", "DEVICE"],
        ),
        (
            RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling"),
            ["out of memory", "DEVICE"],
        ),
        (torch.AcceleratorError("CUDA error: out of memory", 2), ["out of memory", "BATCH_SIZE"]),
        (  # memory ran out while an epoch was recorded
            add_context(
                RuntimeError("CUDA error: operation failed due to a previous error during capture"),
                torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
            ),
            ["out of memory", "BATCH_SIZE"],
        ),
        (
            torch.AcceleratorError("CUDA error: unspecified launch failure\nmore", 719),
            ["launch failure", "DEVICE"],
        ),
    ],
)
def test_a_device_that_fails_keeps_the_finished_folds(tiny, command, monkeypatch, error, words):
    calls, train_fold = [], loso.train_fold

    def failing(*arguments, **options):
        calls.append(1)
        if len(calls) == 3:
            raise error
        return train_fold(*arguments, **options)

    monkeypatch.setattr(loso, "train_fold", failing)
    status, _, message = command("--train", "True", *SMALL)
    message = message.splitlines()[-1]
    assert status == 2 and all(word in message for word in words) and "the same command" in message
    status, output, _ = command("--train", "True", *SMALL)
    assert status == 0 and "2 of 6 folds were finished before" in output


def test_other_errors_are_not_taken_for_a_failing_device(tiny, command, monkeypatch):
    monkeypatch.setattr(loso, "train_fold", lambda *_, **__: torch.zeros(2) @ torch.zeros(3))
    with pytest.raises(RuntimeError, match="size"):
        command("--train", "True", *SMALL)


def test_bf16(tiny, command, monkeypatch):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    arguments = [
        "--run",
        "half",
        "--precision",
        "bf16",
        "--keep",
        "last",
        "--device",
        "cpu",
        *SMALL,
    ]
    status, output, _ = command("--train", "True", *arguments)
    assert status == 0 and "PRECISION bf16" in output and "emulates bf16" in output
    status, evaluated, _ = command("--train", "False", *arguments)
    assert (
        status == 0
        and rows(evaluated, "last epoch") == rows(output, "last")
        and "Note" not in evaluated
    )
    status, evaluated, _ = command(
        "--train", "False", "--run", "half", "--precision", "tf32", *SMALL
    )
    assert status == 0 and "give --precision bf16" in evaluated


def test_shuffling_the_order_is_seeded_and_changes_training(tiny, command):
    logits = {}
    for run, options in (
        ("plain", []),
        ("shuffled", ["--shuffle", "True"]),
        ("again", ["--shuffle", "True"]),
    ):
        assert command("--train", "True", "--run", run, *options, *SMALL)[0] == 0
        logits[run] = np.load(tiny.parent / "results" / run / "folds" / "s01.npz")["logits"]
    np.testing.assert_array_equal(logits["shuffled"], logits["again"])
    assert np.abs(logits["shuffled"] - logits["plain"]).max() > 1e-4


def test_normalized_maps(tiny, command):
    arguments = ["--run", "normal", "--normalize", "True", *SMALL]
    status, output, _ = command("--train", "True", *arguments)
    assert status == 0 and "NORMALIZE True" in output
    assert rows(command("--train", "False", *arguments)[1], "best epoch") == rows(output, "best")
    adopted = command("--train", "False", "--run", "normal")[1]  # as settings.json says
    assert "DIM 8" in adopted and rows(adopted, "best epoch") == rows(output, "best")
    status, _, error = command("--train", "False", "--run", "normal", "--normalize", "False")
    assert (
        status == 2
        and "NORMALIZE is False here, True there" in error
        and "--normalize True" in error
    )


def test_published_scores_stand_beside_megcs_three_databases_alone(tiny, command, monkeypatch):
    assert "Published" in command("--train", "True", *SMALL)[1]
    monkeypatch.setattr(report, "MEGC_SAMPLES", 11)  # one fewer than there are here
    assert "Published" not in command("--train", "True", "--run", "more", *SMALL)[1]
    monkeypatch.undo()
    path = tiny / "combined_3_class2_for_optical_flow.csv"
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    table["dataset"] = "casme2"  # one database
    table.to_csv(path, index=False)
    status, output, _ = command("--train", "True", "--run", "one", *SMALL)
    assert status == 0 and "Published" not in output


@pytest.mark.parametrize("model", ["HTNet", "STSTNet"])
def test_shuffled_labels_are_for_training_only(tiny, command, monkeypatch, model):
    """With permuted training labels, the truth that is stored, printed and that chooses epochs is
    the composite's.
    """
    status, output, _ = command(
        "--train", "True", "--model", model, "--shuffle_labels", "True", "--keep", "best", *SMALL
    )
    assert status == 0 and "SHUFFLE_LABELS True" in output and report.CONTROL in output
    assert "Published" not in output
    assert (
        report.CONTROL in command("--train", "False", "--model", model, "--keep", "best", *SMALL)[1]
    )
    table = pd.read_csv(tiny.parent / "results" / model / "predictions.csv", dtype={"subject": str})
    assert [(name, label) for name, label in zip(table["name"], table["label"])] == sorted(
        (f"{subject}_{clip}", label) for subject, clip, label in SAMPLES
    )
    for path in (tiny.parent / "results" / model / "folds").glob("*.npz"):
        fold = np.load(path)
        correct = (fold["logits"].argmax(-1) == fold["labels"]).sum(1)
        assert fold["epoch"] == np.flatnonzero(correct == correct.max())[-1]
    folder, seen = tiny.parent / "results" / model / "folds", {}
    for fold in folder.glob("*.npz"):
        seen[fold.name] = np.load(fold)["logits"]
    command("--train", "True", "--model", model, "--run", "true", "--keep", "best", *SMALL)
    other = np.load(folder.parents[1] / "true" / "folds" / "s01.npz")["logits"]
    assert np.abs(seen["s01.npz"] - other).max() > 1e-4


@pytest.mark.parametrize("option", ["--results", "--weights"])
def test_folders_that_cannot_be_made_are_one_sentence(tiny, command, option):
    (tiny.parent / "file").write_text("")
    status, _, error = command("--train", "True", option, tiny.parent / "file", *SMALL)
    assert status == 2 and "file" in error and error.count("\n") == 1


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--epoch", "3"], ["--epoch", "--epochs", "--learning_rate"]),
        (["--epochs", "many"], ["many", "--epochs"]),
        (["--epochs", "1.5"], ["1.5"]),
        (["--epochs", "0"], ["EPOCHS"]),
        (["--train", "maybe"], ["maybe"]),
        (["--block_repeats", "2,x"], ["2,x"]),
        (["--block_repeats", "2,2"], ["repeats"]),
        (["--dim", "1"], ["dim"]),
        (["--learning_rate", "-1"], ["LEARNING_RATE"]),
        (["--class_order", "0,1"], ["CLASS_ORDER"]),
        (["--model", "ResNet"], ["MODEL", "STSTNet"]),
        (["--keep", "all"], ["KEEP"]),
        (["--precision", "fp8"], ["PRECISION", "bf16"]),
        (["--normalize", "2"], ["--normalize", "True"]),
        (["--run", "a/b"], ["RUN"]),
        (["--device", "gpu"], ["DEVICE"]),
        (["--device", "meta"], ["DEVICE"]),
        (["--subjects", ","], ["SUBJECTS"]),
        (["--run", "x" * 101], ["RUN"]),
        (["--subjects", "sub77"], ["sub77", "sub01"]),
        (["stray"], ["stray"]),
        (["--datasets", "nowhere"], ["nowhere", "DATASETS"]),
    ],
)
def test_wrong_settings_are_one_sentence(tiny, command, arguments, words):
    status, _, error = command("--train", "True", *arguments)
    assert status == 2 and error.count("\n") == 1 and all(word in error for word in words)
    assert not (tiny.parent / "results").exists() and not (tiny.parent / "weights").exists()


def test_every_constant_has_its_option(tiny, command, monkeypatch):
    monkeypatch.setattr(main_HTNet, "EPOCHS", 2)
    assert (
        command("--train", "True", *SMALL[:6], "--BATCH_SIZE=8", "--learning-rate", "1e-3")[0] == 0
    )
    stored = json.loads((tiny.parent / "results" / "HTNet" / "settings.json").read_text())[
        "settings"
    ]
    assert (stored["EPOCHS"], stored["BATCH_SIZE"], stored["LEARNING_RATE"]) == (2, 8, 1e-3)
    assert set(stored) | {
        "RECIPE",
        "RUN",
        "SUBJECTS",
        "DEVICE",
        "THREADS",
        "CUDA_GRAPHS",
        "DATASETS",
        "WEIGHTS",
        "RESULTS",
    } == set(main_HTNet.CONSTANTS)


def train_and_read(command, tiny, *arguments):
    """Trains one subject -> the settings in force, and what was printed."""
    status, output, error = command("--train", "True", "--subjects", "s01", *arguments)
    assert status == 0, error
    record = json.loads(next((tiny.parent / "results").glob("*/settings.json")).read_text())
    return record["settings"], output


def test_an_edited_constant_beats_a_preset(tiny, command, monkeypatch):
    monkeypatch.setattr(main_HTNet, "CLASS_ORDER", (1, 2, 0))
    settings, output = train_and_read(command, tiny, "--model", "STSTNet", "--epochs", "2")
    assert settings["CLASS_ORDER"] == [1, 2, 0] and settings["KEEP"] == "last"
    assert "Preset STSTNet: KEEP last." in output  # what the preset did replace, and that only


def test_the_command_line_beats_a_preset(tiny, command):
    settings, output = train_and_read(
        command, tiny, "--model", "STSTNet", "--epochs", "2", "--keep", "best"
    )
    assert settings["KEEP"] == "best" and settings["CLASS_ORDER"] == [0, 1, 2]
    assert "Preset STSTNet: CLASS_ORDER 0,1,2." in output


def test_of_two_presets_that_set_a_constant_the_later_is_named(tmp_path, capsys):
    (tmp_path / "sample").symlink_to(ROOT / "datasets" / "sample")
    constants = {name: getattr(main_HTNet, name) for name in main_HTNet.CONSTANTS}
    options = ["--train", "True", "--recipe", "honest", "--datasets", str(tmp_path)]
    settings = read_settings(options, constants, main_HTNet.PRESETS, main_HTNet.__file__)
    honest, sample = capsys.readouterr().out.splitlines()
    assert settings.DIM == 16 and "Preset honest: " in honest and "DIM 16" in honest
    assert sample.startswith("Preset sample: THREADS 1.")  # all else is the recipe's


def test_presets_know_the_constants_as_shipped():
    """Otherwise every constant would count as edited, and the preset would do nothing."""
    for preset in main_HTNet.PRESETS.values():
        for name, (shipped, value) in preset.items():
            assert getattr(main_HTNet, name) == shipped != value


@pytest.mark.parametrize("constant", ["", "sub01, s02", ["sub01", "s02"], ("sub01", "s02")])
def test_subjects_as_text_or_list(tiny, command, monkeypatch, constant):
    monkeypatch.setattr(main_HTNet, "SUBJECTS", constant)
    status, output, _ = command("--train", "True", *SMALL)
    assert status == 0 and output.count("Subject ") == (2 if constant else 6)
    status, output, _ = command(
        "--train", "True", "--run", "other", "--subjects", "006,sub02", *SMALL
    )
    assert (
        status == 0
        and "Subject 006" in output
        and "Subject sub02" in output
        and output.count("Subject ") == 2
    )


@pytest.mark.parametrize(
    "name, value",
    [
        ("SUBJECTS", 7),
        ("SUBJECTS", [1, 2]),
        ("RUN", 5),
        ("DEVICE", 0),
        ("EPOCHS", "800"),
        ("BLOCK_REPEATS", 2),
        ("DATASETS", None),
        ("SHUFFLE", "yes"),
        ("LEARNING_RATE", "fast"),
        ("CLASS_ORDER", "210"),
    ],
)
def test_a_constant_edited_to_the_wrong_kind_is_one_sentence(
    tiny, command, monkeypatch, name, value
):
    monkeypatch.setattr(main_HTNet, name, value)
    status, _, error = command("--train", "True")
    assert status == 2 and error.count("\n") == 1 and name in error


def test_readmes_first_command(tmp_path, command):
    """Without data: the sample under a banner, its own recipe and run name."""
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets" / "sample").symlink_to(ROOT / "datasets" / "sample")
    status, output, _ = command("--train", "True", "--epochs", "1")
    assert status == 0 and "this is the small synthetic sample" in output
    report_text = (tmp_path / "results" / "sample" / "report.md").read_text()
    assert "this is the small synthetic sample" in report_text and "Published" not in report_text
    assert "DIM 32" in report_text and "EPOCHS 1," in report_text and "BATCH_SIZE 32" in report_text
    status, evaluated, _ = command("--train", "False")
    assert status == 0 and rows(evaluated, "best epoch") == rows(output, "best")


def test_the_scores_so_far_end_as_the_reports(tiny, command):
    _, output, _ = command("--train", "True", *SMALL)
    results = tiny.parent / "results" / "HTNet"
    for choice in ("best", "last"):
        found = re.findall(
            rf"\({choice} epoch; (\d) subjects so far: UF1 ([\d.]+), UAR ([\d.]+)\)", output
        )
        assert [count for count, _, _ in found] == list("123456")
        assert found[-1][1:] == rows(output, choice)["Full"]
        folds = [np.load(path) for path in sorted((results / "folds").iterdir())[:2]]
        epochs = [fold["epoch"] if choice == "best" else -1 for fold in folds]
        predicted = [fold["logits"][epoch].argmax(-1) for fold, epoch in zip(folds, epochs)]
        truth = np.concatenate([fold["labels"] for fold in folds])
        uf1, uar = unweighted_scores(truth, np.concatenate(predicted))
        assert found[1][1:] == (f"{uf1:.4f}", f"{uar:.4f}")  # after the first two subjects


def test_dropout_is_seeded_and_changes_training(tiny, command):
    logits = {}
    for run, dropout in (("without", 0), ("with", 0.5), ("again", 0.5)):
        assert command("--train", "True", "--run", run, "--dropout", dropout, *SMALL)[0] == 0
        logits[run] = np.load(tiny.parent / "results" / run / "folds" / "s01.npz")["logits"]
    np.testing.assert_array_equal(logits["with"], logits["again"])
    assert np.abs(logits["with"] - logits["without"]).max() > 1e-4


def test_ststnet_takes_every_setting_of_training(tiny, command):
    settings, _ = train_and_read(
        command,
        tiny,
        "--model",
        "STSTNet",
        "--epochs",
        "2",
        "--precision",
        "bf16",
        "--shuffle",
        "True",
        "--normalize",
        "True",
    )
    assert settings["PRECISION"] == "bf16" and settings["SHUFFLE"] and "DIM" not in settings


def test_a_launchers_variables_without_torchrun_are_not_ranks(tiny, command, monkeypatch):
    """MPI and SLURM wrappers set them, too."""
    for name, value in {"RANK": 1, "WORLD_SIZE": 2, "LOCAL_RANK": 1}.items():
        monkeypatch.setenv(name, str(value))
    status, output, _ = command("--train", "True", *SMALL)
    assert status == 0 and output.count("Subject ") == 6 and rows(output, "last")
    status, output, _ = command("--train", "False", *SMALL)
    assert status == 0 and rows(output, "best epoch")


def test_casme3_alone_is_an_experiment_of_its_own(tmp_path, command):
    for number in range(6):
        subject, label = f"spNO.{number // 2 + 1}", number % 3
        write_png(
            tmp_path
            / "casme3"
            / "three_norm_u_v_os"
            / subject
            / "u_test"
            / str(label)
            / f"{subject}_{number}_100 .png",
            tiny_flow(number, label),
        )
    status, output, _ = command("--train", "True", "--datasets", tmp_path / "casme3", *SMALL)
    assert status == 0 and rows(output, "last").keys() == {"CASME III"}
    assert "Published" not in output
    assert ["casme3", "3", "6", "2", "2", "2"] in [line.split() for line in output.splitlines()]


def test_help_says_what_the_constants_mean(command):
    status, output, _ = command("--help")
    assert status == 0 and "samples per step (default: 256)" in " ".join(output.split())
    for name in main_HTNet.CONSTANTS:
        assert f"--{name.lower()}" in output


def test_only_unknown_names_are_answered_with_all_names(tiny, command):
    _, _, error = command("--epochs", "three")
    assert "'three' is not a whole number" in error and "--batch_size" not in error
    assert "--batch_size" in command("--epoch", "3")[2]


def test_spellings_of_true_and_false():
    assert all(parse_boolean(text) for text in ("True", "true", "1", "yes", "Y", "on", "t"))
    assert not any(parse_boolean(text) for text in ("False", "false", "0", "no", "N", "off", "f"))


def test_data_problems_are_one_sentence(tmp_path, command):
    root = make_datasets(tmp_path / "datasets")
    next((root / "STSNet_whole_norm_u_v_os").iterdir()).write_text("text")
    status, _, error = command("--train", "True", *SMALL)
    assert status == 2 and ".png" in error and error.count("\n") == 1


def test_heavy_imports_are_not_paid_for():
    code = (
        "import sys, main_HTNet; "
        "print([m for m in ('dlib', 'matplotlib', 'matplotlib.pyplot') if m in sys.modules])"
    )
    output = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert output.strip() == "[]"


@pytest.mark.parametrize("model", ["HTNet", "STSTNet"])
def test_five_classes_train_and_evaluate(tiny, command, model):
    path = tiny / "combined_3_class2_for_optical_flow.csv"
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    table["label"] = [str(i % 5) for i in range(12)]
    table["class"] = [["joy", "disgust", "fear", "surprise", "others"][i % 5] for i in range(12)]
    table["dataset"] = "lab"
    table.to_csv(path, index=False)
    status, output, _ = command("--train", "True", "--model", model, "--keep", "best", *SMALL)
    order = "4,3,2,1,0" if model == "HTNet" else "0,1,2,3,4"
    assert status == 0 and f"CLASS_ORDER {order}, since the data has 5 classes" in output
    assert "Published" not in output and rows(output, "last").keys() == {"lab"}
    fold = np.load(tiny.parent / "results" / model / "folds" / "s01.npz")
    assert fold["logits"].shape == (3, 2, 5)
    table = pd.read_csv(tiny.parent / "results" / model / "predictions.csv")
    uf1, uar = unweighted_scores(table["label"], table["last"], 5)
    assert rows(output, "last")["lab"] == (f"{uf1:.4f}", f"{uar:.4f}")
    status, evaluated, _ = command("--train", "False", "--model", model, "--keep", "best", *SMALL)
    assert status == 0 and rows(evaluated, "best epoch") == rows(output, "best")
    status, _, error = command("--train", "True", "--class_order", "1,0,2", "--run", "o", *SMALL)
    assert status == 2 and "CLASS_ORDER is 1,0,2" in error and "0,1,2,3,4" in error
