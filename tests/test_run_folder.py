"""What a run leaves on disk: other settings, weights and folds that are missing, damaged or of
another network.
"""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from conftest import SMALL, rows, write_png

import facial_areas
from benchmarks.plain_htnet import draw_state, released_shapes
from composite_dataset import FACE_FOLDER
from ststnet import STSTNet
from support.files import BadInput
from support.run_folder import RunFolder

TINY_HTNET = dict(
    image_size=28,
    patch_size=7,
    num_classes=3,
    dim=8,
    heads=2,
    num_hierarchies=3,
    block_repeats=(1, 1, 1),
)


def test_other_settings_under_the_same_name_are_refused(tiny, command):
    command("--train", "True", *SMALL)
    before = sorted((path, path.stat().st_mtime_ns) for path in tiny.parent.rglob("*.[pn][tp][hz]"))
    for change, words in (
        (["--epochs", "4"], "EPOCHS is 4 here, 3 there"),
        (["--seed", "9"], "SEED is 9 here"),
    ):
        status, _, error = command("--train", "True", *SMALL, *change)
        assert (
            status == 2
            and words in error
            and "another RUN" in error
            and "--overwrite True" in error
        )
    os.remove(next((tiny / "STSNet_whole_norm_u_v_os").iterdir()))
    text = (tiny / "combined_3_class2_for_optical_flow.csv").read_text()
    gone = [
        line
        for line in text.splitlines()
        if not (
            tiny / "STSNet_whole_norm_u_v_os" / ("_".join(line.split(",")[1:3]) + " .png")
        ).exists()
        and not line.startswith("dataset")
    ]
    (tiny / "combined_3_class2_for_optical_flow.csv").write_text(
        text.replace(gone[0] + "\n", "").replace(gone[0] + "\r\n", "")
    )
    status, _, error = command("--train", "True", *SMALL)
    assert status == 2 and "the data" in error
    assert before == sorted(
        (path, path.stat().st_mtime_ns) for path in tiny.parent.rglob("*.[pn][tp][hz]")
    )
    (tiny.parent / "results" / "HTNet" / "evaluation.csv").write_text("of the old run")
    status, output, _ = command("--train", "True", "--overwrite", "True", *SMALL)
    assert status == 0 and "finished before" not in output
    assert not (tiny.parent / "results" / "HTNet" / "evaluation.csv").exists()
    # as after a stop: goes on
    status, output, _ = command("--train", "True", "--overwrite", "True", *SMALL)
    assert status == 0 and "6 of 6 folds were finished before" in output


def test_weights_of_another_network_missing_and_damaged_ones(tiny, command):
    command("--train", "True", *SMALL)
    status, _, error = command("--train", "False", *SMALL, "--heads", "4")
    assert status == 2 and "HEADS is 4 here, 2 there" in error and "give --heads 2," in error
    weights = tiny.parent / "weights" / "HTNet"
    whole = (weights / "006.pth").read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    for damaged in (whole[:1000], b"", b"no weights", bytes(flipped)):
        (weights / "006.pth").write_bytes(damaged)
        status, _, error = command("--train", "False", *SMALL)
        assert status == 2 and "006.pth" in error and error.count("\n") == 1
    (weights / "006.pth").unlink()
    status, _, error = command("--train", "False", *SMALL)
    assert status == 2 and "006.pth is missing" in error
    assert command("--train", "False", *SMALL, "--subjects", "sub01")[0] == 0
    (weights / "settings.json").write_text("{")
    status, _, error = command("--train", "False", *SMALL)
    assert status == 2 and "settings.json is damaged" in error


def test_a_damaged_fold_is_named(tiny, command):
    command("--train", "True", *SMALL)
    fold = tiny.parent / "results" / "HTNet" / "folds" / "s01.npz"
    fold.write_bytes(fold.read_bytes()[:200])
    status, _, error = command("--train", "True", *SMALL)
    assert status == 2 and "s01.npz is damaged" in error
    other = fold.with_name("006.npz")
    other.unlink()
    assert command("--train", "True", *SMALL)[0] == 2
    assert not other.exists()  # refused before anything is trained
    fold.unlink()
    assert command("--train", "True", *SMALL)[0] == 0


def test_weights_that_are_elsewhere_are_missed(tiny, command):
    command("--train", "True", "--subjects", "s01,s02", *SMALL)
    arguments = ["--train", "True", "--subjects", "s01,s02", *SMALL]
    assert "are trained again, since" not in command(*arguments)[1]
    status, output, _ = command(*arguments, "--weights", tiny.parent / "elsewhere")
    assert status == 0 and "2 finished folds are trained again, since" in output


def test_released_weights_are_accepted_as_epoch_unknown(tiny, command):
    weights = tiny.parent / "weights" / "HTNet"
    weights.mkdir(parents=True)
    state = {
        name: value.float() for name, value in draw_state(released_shapes(**TINY_HTNET)).items()
    }
    for subject in ("sub01", "sub02", "s01", "s02", "006", "007"):
        torch.save(state, weights / f"{subject}.pth")
    status, output, _ = command("--train", "False", *SMALL)
    assert (
        status == 0
        and "epoch choice of these weights is unknown" in output
        and rows(output, "epoch unknown")
    )
    status, _, error = command("--train", "True", *SMALL)
    assert status == 2 and "without settings.json" in error  # training does not write over them


def test_code_in_a_weights_file_is_not_run(tiny, command):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tiny.parent / "run"),)

    weights = tiny.parent / "weights" / "STSTNet"
    weights.mkdir(parents=True)
    for subject in ("sub01", "sub02", "s01", "s02", "006", "007"):
        torch.save(STSTNet().state_dict(), weights / f"{subject}.pth")
    assert command("--train", "False", "--model", "STSTNet")[0] == 0
    torch.save(Evil(), weights / "s01.pth")
    status, _, error = command("--train", "False", "--model", "STSTNet")
    assert status == 2 and "s01.pth cannot be used, it holds code, not weights" in error
    assert "weights_only" not in error and not (tiny.parent / "run").exists()


def test_a_full_disk_is_noticed_before_the_start(tiny, command, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda folder: type("usage", (), {"free": 1000}))
    status, _, error = command("--train", "True", *SMALL)
    assert status == 2 and "WEIGHTS" in error and "KEEP" in error
    assert command("--train", "True", "--keep", "none", *SMALL)[0] == 0
    status, _, error = command("--train", "False", "--keep", "none", *SMALL)
    assert status == 2 and "holds no weights" in error and "KEEP" in error


def test_folds_whose_weights_are_gone_are_trained_again(tiny, command):
    command("--train", "True", *SMALL)
    weights = tiny.parent / "weights" / "HTNet"
    before = torch.load(weights / "s01.pth", weights_only=True)
    (weights / "s01.pth").unlink()
    status, output, _ = command("--train", "True", *SMALL)
    assert status == 0 and "5 of 6 folds were finished before" in output
    after = torch.load(weights / "s01.pth", weights_only=True)
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_training_leaves_the_weights_that_ship(tiny, command):
    shipped = tiny.parent / "weights" / "pretrained" / "STSTNet"
    shipped.mkdir(parents=True)
    for subject in ("sub01", "sub02", "s01", "s02", "006", "007"):
        torch.save(STSTNet().state_dict(), shipped / f"{subject}.pth")
    record = {"settings": {"MODEL": "STSTNet", "KEEP": "last", "EPOCHS": 800}, "data": "other"}
    (shipped / "settings.json").write_text(json.dumps(record))
    before = {path: path.read_bytes() for path in shipped.iterdir()}

    status, output, _ = command("--train", "False", "--model", "STSTNet")
    assert status == 0 and rows(output, "last epoch") and "other data" in output
    where = shipped.relative_to(tiny.parent)
    assert f"Evaluating the weights that ship, {where}: 'STSTNet' has none." in output
    assert f"Weights: {where}. Predictions: " in output.splitlines()[-1]  # beside the scores, too
    assert (tiny.parent / "results" / "pretrained-STSTNet" / "evaluation.csv").exists()
    assert not (tiny.parent / "results" / "STSTNet").exists()  # no result of this run
    few = ["--model", "STSTNet", "--subjects", "s01"]
    for epochs, overwrite in ((2, "False"), (3, "True")):  # the second throws the first away
        status, _, _ = command(
            "--train", "True", "--epochs", epochs, "--overwrite", overwrite, *few
        )
        assert status == 0 and before == {path: path.read_bytes() for path in shipped.iterdir()}
    status, output, _ = command("--train", "False", *few)
    assert status == 0 and "Evaluating the weights in weights/STSTNet." in output
    none = ["--run", "none", "--model", "STSTNet", "--subjects", "s01", "--epochs", "2"]
    assert command("--train", "True", "--keep", "none", *none)[0] == 0
    status, _, error = command("--train", "False", *none[:4])  # not somebody else's
    assert status == 2 and "although the run was trained (KEEP 'none'?)" in error
    status, _, error = command("--train", "False", "--recipe", "honest", *few)
    assert status == 2 and "NORMALIZE is True here, False there" in error
    status, _, error = command("--train", "True", "--run", "pretrained", *SMALL)
    assert status == 2 and "RUN" in error


def test_settings_that_came_later_take_their_default(tiny, command):
    """A run begun before PRECISION and SHUFFLE were constants goes on, and its weights are
    evaluated.
    """
    command("--train", "True", *SMALL)
    for folder in ("results", "weights"):
        path = tiny.parent / folder / "HTNet" / "settings.json"
        record = json.loads(path.read_text())
        for name in ("PRECISION", "SHUFFLE", "NORMALIZE", "SHUFFLE_LABELS"):
            del record["settings"][name]
        path.write_text(json.dumps(record))
    status, output, _ = command("--train", "False", *SMALL)
    assert status == 0 and "Note" not in output
    status, _, error = command("--train", "False", "--normalize", "True", *SMALL)
    assert status == 2 and "NORMALIZE is True here, False there" in error
    status, output, _ = command("--train", "True", *SMALL)
    assert status == 0 and "6 of 6 folds were finished before" in output


def test_a_requested_fold_that_is_missing_is_an_error(tiny, command, monkeypatch):
    """As on a network disk whose listing lags behind."""
    save_fold = RunFolder.save_fold

    def save_and_lose(self, subject, *arguments):
        save_fold(self, subject, *arguments)
        if subject == "sub02":  # the last one
            self.fold_path("007").unlink()

    monkeypatch.setattr(RunFolder, "save_fold", save_and_lose)
    status, _, error = command("--train", "True", *SMALL)
    assert status == 2 and "007.npz is missing" in error and "start the same command again" in error
    assert not (tiny.parent / "results" / "HTNet" / "report.md").exists()
    monkeypatch.undo()
    monkeypatch.chdir(tiny.parent)
    status, output, _ = command("--train", "True", *SMALL)
    assert status == 0 and "5 of 6 folds were finished before" in output


def test_what_is_refused_leaves_everything_as_it_was(tiny, command, monkeypatch):
    """Looking for facial areas takes seconds to minutes, and its file stays: it comes after the
    checks.
    """
    calls = []
    monkeypatch.setattr("facial_areas.detect_landmarks", lambda face: calls.append(face))
    write_png(tiny / FACE_FOLDER / "sub01_EP01_01.jpg", np.full((224, 224, 3), 127, np.uint8))
    areas = tiny / "facial_areas.csv"
    assert command("--train", "True", *SMALL)[0] == 0 and len(calls) == 1 and areas.exists()
    areas.unlink()
    monkeypatch.setattr("shutil.disk_usage", lambda folder: type("usage", (), {"free": 1000}))
    for arguments, words in (
        (["--subjects", "sub77"], "sub77"),
        (["--epochs", "4"], "EPOCHS is 4 here"),
        (["--run", "new"], "kB free"),
    ):
        status, _, error = command("--train", "True", *SMALL, *arguments)
        assert status == 2 and words in error
    for arguments, words in (
        (["--run", "new"], "holds no weights"),
        (["--heads", "4"], "HEADS is 4 here"),
    ):
        status, _, error = command("--train", "False", *SMALL, *arguments)
        assert status == 2 and words in error
    (tiny.parent / "weights" / "HTNet" / "s01.pth").unlink()
    status, _, error = command("--train", "False", *SMALL)
    assert status == 2 and "s01.pth is missing" in error
    assert len(calls) == 1 and not areas.exists() and not (tiny.parent / "results" / "new").exists()


def test_weights_saved_on_a_gpu_load_on_a_cpu(tiny, command, monkeypatch):
    command("--train", "True", "--model", "STSTNet", *SMALL)
    weights = tiny.parent / "weights" / "STSTNet"
    monkeypatch.setattr(torch.serialization, "location_tag", lambda storage: "cuda:0")
    for path in weights.glob("*.pth"):
        torch.save(torch.load(path, weights_only=True), path)
    if not torch.cuda.is_available():
        with pytest.raises(RuntimeError, match="CUDA"):
            torch.load(weights / "s01.pth", weights_only=True)
    assert command("--train", "False", "--model", "STSTNet", *SMALL)[0] == 0


def test_a_subset_does_not_replace_the_report_of_all(tiny, command):
    command("--train", "True", *SMALL)
    command("--train", "True", "--subjects", "s01", *SMALL)
    assert "of 6 of the 6 subjects" in (tiny.parent / "results" / "HTNet" / "report.md").read_text()


def test_weights_whose_record_lacks_the_epoch_choice(tiny, command):
    command("--train", "True", *SMALL)
    path = tiny.parent / "weights" / "HTNet" / "settings.json"
    record = json.loads(path.read_text())
    del record["settings"]["KEEP"]
    path.write_text(json.dumps(record))
    status, output, _ = command("--train", "False", *SMALL)
    assert status == 0 and rows(output, "epoch unknown")


def test_runs_of_other_settings_do_not_mix(tiny, command, monkeypatch):
    """Another run starts in the folder before the first one's first fold is finished."""
    save_fold = RunFolder.save_fold

    def start_another(self, subject, *arguments):
        monkeypatch.setattr(RunFolder, "save_fold", save_fold)
        path = self.results / "settings.json"
        path.write_text(path.read_text().replace('"SEED": 1', '"SEED": 2'))
        save_fold(self, subject, *arguments)

    monkeypatch.setattr(RunFolder, "save_fold", start_another)
    status, _, error = command("--train", "True", *SMALL)
    assert status == 2 and "was taken over by a run of other settings" in error
    assert not list((tiny.parent / "results" / "HTNet" / "folds").iterdir())


def test_a_fold_of_another_run_is_refused(tiny, command):
    for run, seed in (("one", 1), ("two", 2)):
        command("--train", "True", "--run", run, "--seed", seed, "--keep", "none", *SMALL)
    results = tiny.parent / "results"
    (results / "one" / "folds" / "s01.npz").replace(results / "two" / "folds" / "s01.npz")
    status, _, error = command(
        "--train", "True", "--run", "two", "--seed", "2", "--keep", "none", *SMALL
    )
    assert status == 2 and "s01.npz is of another run: SEED is 2 here, 1 there" in error


def test_a_run_that_is_being_trained_is_refused(tiny, command):
    results = tiny.parent / "results"
    results.mkdir()
    code = (
        "import sys, time; from filelock import FileLock; lock = FileLock(sys.argv[1]); "
        "lock.acquire(); print('held', flush=True); time.sleep(60)"
    )
    arguments = [sys.executable, "-c", code, str(results / ".HTNet.lock")]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    status, _, error = command("--train", "True", *SMALL)
    assert status == 2 and "HTNet is being trained by another process now" in error
    assert not (results / "HTNet").exists()
    process.kill()  # leaves nothing behind
    process.wait()
    assert command("--train", "True", *SMALL)[0] == 0


@pytest.mark.parametrize(
    "change, words",
    [
        ({"logits": np.full((3, 2, 3), np.nan, np.float32)}, "logits are not finite"),
        ({"logits": np.zeros((3, 2, 5), np.float32)}, "its logits are float32 (3, 2, 5)"),
        ({"logits": np.full((3, 2, 3), "x")}, "its logits are <U1"),
        ({"losses": np.zeros(3, complex)}, "its losses are complex128"),
        ({"losses": np.array([1, 2, np.inf])}, "losses are not finite"),
        ({"seconds": np.array("x")}, "its seconds are <U1"),
        ({"labels": np.array([1, 1])}, "other samples"),
        ({"record": np.array("{")}, "is damaged"),
        ({"record": np.array("[]")}, "is damaged"),
        ({"machine": None}, "machine"),
    ],
)
def test_what_a_fold_holds_is_checked(tiny, command, change, words):
    command("--train", "True", "--subjects", "s01", "--keep", "none", *SMALL)
    path = tiny.parent / "results" / "HTNet" / "folds" / "s01.npz"
    fold = dict(np.load(path)) | change
    np.savez(path, **{name: value for name, value in fold.items() if value is not None})
    status, _, error = command("--train", "True", "--subjects", "s01", "--keep", "none", *SMALL)
    assert status == 2 and error.count("\n") == 1 and "s01.npz is damaged" in error
    assert words in error


def test_folds_of_earlier_versions_are_taken_with_a_note(tiny, command):
    few = ["--subjects", "s01,s02", "--keep", "none", *SMALL]
    assert "do not say whose" not in command("--train", "True", *few)[1]
    for subject in ("s01", "s02"):
        path = tiny.parent / "results" / "HTNet" / "folds" / f"{subject}.npz"
        fold = dict(np.load(path))
        del fold["record"]
        np.savez(path, **fold)
    status, output, _ = command("--train", "True", *few)
    assert status == 0 and "2 of 2 folds were finished before" in output
    assert output.count("do not say whose they are") == 1
    assert "Note: 2 of the folds in results/HTNet do not say whose" in output
    # those that this command did not ask for enter the report, too
    status, output, _ = command("--train", "True", *["--subjects", "s01", *few[2:]])
    assert status == 0 and output.count("do not say whose they are") == 2
    assert "Note: 1 of the" in output and "Note: 2 of the" in output


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(tiny, command, value):
    command("--train", "True", *SMALL)
    path = tiny.parent / "weights" / "HTNet" / "s01.pth"
    state = torch.load(path, weights_only=True)
    state["head.bias"][1] = value
    torch.save(state, path)
    status, _, error = command("--train", "False", *SMALL)
    assert status == 2 and "s01.pth" in error and "'head.bias' is not finite" in error


@pytest.fixture
def read_only_datasets(tiny, monkeypatch):
    """A face is there, nothing can be written beside it; a list of the faces looked at."""
    calls, replace_file = [], facial_areas.replace_file

    def refuse_datasets(path, write):
        if path.parent.resolve() == tiny.resolve():
            raise BadInput(f"{path} could not be written (Read-only file system)")
        replace_file(path, write)

    monkeypatch.setattr(facial_areas, "replace_file", refuse_datasets)
    monkeypatch.setattr(facial_areas, "detect_landmarks", lambda face: calls.append(face))
    write_png(tiny / FACE_FOLDER / "sub01_EP01_01.jpg", np.full((224, 224, 3), 127, np.uint8))
    return calls


def test_a_read_only_datasets_folder(tiny, command, read_only_datasets):
    """The facial areas are kept with the run, and not looked for again."""
    calls = read_only_datasets
    status, output, _ = command("--train", "True", *SMALL)
    assert status == 0 and "Read-only file system" in output and len(calls) == 1
    assert (tiny.parent / "results" / "HTNet" / "facial_areas.csv").exists()
    assert not (tiny / "facial_areas.csv").exists()
    status, output, _ = command("--train", "True", *SMALL)
    assert status == 0 and "6 of 6 folds were finished before" in output and len(calls) == 1
    assert command("--train", "False", *SMALL)[0] == 0 and len(calls) == 1


def test_facial_areas_of_a_run_that_is_thrown_away_go_with_it(tiny, command, read_only_datasets):
    """With read-only data they lie beside the report; new faces must not take the old ones."""
    calls = read_only_datasets
    areas = tiny.parent / "results" / "HTNet" / "facial_areas.csv"
    assert command("--train", "True", *SMALL)[0] == 0
    found = areas.read_text()
    stale = found.splitlines()[0] + "\nsub01_EP01_01,9,9,9,9,9,9,9,9,dlib\n"
    areas.write_text(stale)
    assert command("--train", "True", "--seed", "2", "--overwrite", "True", *SMALL)[0] == 0
    assert areas.read_text() == found and len(calls) == 2
    # the same settings, but another flow image
    areas.write_text(stale)
    flow = next((tiny / "STSNet_whole_norm_u_v_os").glob("sub01_*"))
    write_png(flow, np.full((28, 28, 3), 9, np.uint8))
    assert command("--train", "True", "--seed", "2", "--overwrite", "True", *SMALL)[0] == 0
    assert areas.read_text() == found and len(calls) == 3
