"""Weights say whose they are: of which run, and which subject was held out."""

import errno
import json
import shutil

import numpy as np
import pytest
import torch
from conftest import SMALL, rows

from htnet import HTNet

SETTINGS = dict(patch_size=7, dim=8, heads=2, num_hierarchies=3, block_repeats=(1, 1, 1))


def test_a_users_own_script_loads_them_as_a_plain_state_dict(tiny, command):
    command("--train", "True", "--subjects", "s01", *SMALL)
    state = torch.load(tiny.parent / "weights" / "HTNet" / "s01.pth", weights_only=True)
    assert state.subject == "s01" and json.loads(state.record)["settings"]["DIM"] == 8
    model = HTNet(image_size=28, num_classes=3, **SETTINGS)
    model.load_state_dict(state)
    assert state.keys() == model.state_dict().keys()


def test_another_subjects_weights_are_refused(tiny, command):
    command("--train", "True", *SMALL)
    weights = tiny.parent / "weights" / "HTNet"
    shutil.copy(weights / "006.pth", weights / "s01.pth")
    status, _, error = command("--train", "False", *SMALL)
    assert status == 2 and error.count("\n") == 1
    assert "s01.pth holds the weights of subject 006" in error


@pytest.mark.parametrize("with_settings", [True, False])
def test_weights_of_another_run_are_refused(tiny, command, with_settings):
    for seed in (1, 2):
        command("--train", "True", "--run", f"seed{seed}", "--seed", seed, *SMALL)
    weights = tiny.parent / "weights"
    shutil.copy(weights / "seed1" / "s01.pth", weights / "seed2" / "s01.pth")
    if not with_settings:
        (weights / "seed2" / "settings.json").unlink()
    status, _, error = command("--train", "False", "--run", "seed2", *SMALL)
    assert status == 2 and error.count("\n") == 1
    assert "s01.pth is of another run" in error and "SEED is 2 here, 1 there" in error


def test_weights_that_do_not_say_whose_they_are_load(tiny, command):
    _, output, _ = command("--train", "True", *SMALL)
    for path in (tiny.parent / "weights" / "HTNet").glob("*.pth"):
        torch.save(dict(torch.load(path, weights_only=True)), path)
    status, evaluated, _ = command("--train", "False", *SMALL)
    assert status == 0 and rows(evaluated, "best epoch") == rows(output, "best")


def test_weights_whose_logits_overflow_are_refused(tiny, command):
    command("--train", "True", *SMALL)
    path = tiny.parent / "weights" / "HTNet" / "s01.pth"
    state = torch.load(path, weights_only=True)
    state["head.weight"].fill_(3e38)
    torch.save(state, path)
    status, _, error = command("--train", "False", *SMALL)
    assert status == 2 and "s01.pth gives logits that are not finite" in error


def test_damaged_weights_are_one_sentence(tiny, command):
    """A short form of a longer trial: bits flipped, parts cut away, put in or doubled."""
    command("--train", "True", "--subjects", "s01", *SMALL)
    path = tiny.parent / "weights" / "HTNet" / "s01.pth"
    whole, random = path.read_bytes(), np.random.default_rng(0)
    expected = command("--train", "False", "--subjects", "s01", *SMALL)[:2]
    refused = 0
    for _ in range(40):
        path.write_bytes(damage(whole, random))
        status, output, error = command("--train", "False", "--subjects", "s01", *SMALL)
        if status:
            refused += 1
            assert status == 2 and "s01.pth" in error and error.count("\n") == 1
        else:  # the padding between the archive's files
            assert (status, output) == expected
    assert refused > 30


def damage(data, random):
    """bytes -> other bytes, in one of five ways."""
    start, end = sorted(random.integers(0, len(data), 2))
    end = min(end, start + 200)
    noise = random.bytes(end - start + 1)
    way = random.integers(5)
    if way == 0:
        flipped = bytearray(data)
        flipped[start] ^= 1 << int(random.integers(8))
        return bytes(flipped)
    return [
        data[:start],
        data[:start] + noise + data[end + 1 :],
        data[:start] + noise + data[start:],
        data[:start] + data[end + 1 :],
    ][way - 1]


def test_odd_settings_files_are_one_sentence(tiny, command):
    command("--train", "True", "--subjects", "s01", *SMALL)
    paths = [tiny.parent / folder / "HTNet" / "settings.json" for folder in ("results", "weights")]
    stored = json.loads(paths[0].read_text())
    for name in ("settings", "PRECISION", "MODEL", "DIM", "data"):
        for value in (None, {}, [[]], "1\n\x1b", 10**30, "x" * 10**6):
            record = {"settings": dict(stored["settings"]), "data": stored["data"]}
            (record if name in record else record["settings"])[name] = value
            for path in paths:
                path.write_text(json.dumps(record))
            for train in ("True", "False"):
                status, _, error = command("--train", train, "--subjects", "s01", *SMALL)
                assert status == 2 or train == "False"
                assert error.count("\n") == status // 2 and len(error) < 3000
                assert "\x1b" not in error


def test_stored_settings_that_make_no_sense_are_one_sentence(tiny, command):
    command("--train", "True", "--subjects", "s01", *SMALL)
    path = tiny.parent / "weights" / "HTNet" / "settings.json"
    stored = json.loads(path.read_text())
    for name, value in {
        "DIM": "big",
        "HEADS": 2.5,
        "BLOCK_REPEATS": [1, 1, "a"],
        "AREAS": 5,
        "CLASS_ORDER": 5,
        "FOLDS": -1,
        "DROPOUT": "0",
        "PRECISION": "fp8",
    }.items():
        path.write_text(json.dumps(stored | {"settings": stored["settings"] | {name: value}}))
        status, _, error = command("--train", "False", "--subjects", "s01")
        assert status == 2 and error.count("\n") == 1 and f"{name} is " in error, (name, error)
    elsewhere = tiny.parent / "elsewhere"  # a place is nobody's setting
    path.write_text(
        json.dumps(stored | {"settings": stored["settings"] | {"RESULTS": str(elsewhere)}})
    )
    command("--train", "False", "--subjects", "s01")
    assert not elsewhere.exists()


def test_without_a_settings_file_the_weights_own_settings_count(tiny, command):
    _, output, _ = command("--train", "True", "--normalize", "True", *SMALL)
    (tiny.parent / "weights" / "HTNet" / "settings.json").unlink()
    status, evaluated, _ = command("--train", "False")
    assert status == 0 and "NORMALIZE True" in evaluated
    assert rows(evaluated, "best epoch") == rows(output, "best")


def test_a_full_disk_is_called_so(tiny, command, monkeypatch):
    """torch.save reports it as an "unexpected pos"."""
    save = torch.save

    def save_on_full_disk(state, _):
        with open("/dev/full", "wb") as file:
            save(state, file)

    monkeypatch.setattr(torch, "save", save_on_full_disk)
    status, _, error = command("--train", "True", *SMALL)
    error = error.splitlines()[-1]
    assert status == 2 and "006.pth could not be written (No space left on device)" in error
    assert "make room" in error and "unexpected pos" not in error


@pytest.mark.parametrize(
    "number, words", [(errno.EROFS, "make the folder writable"), (errno.ENOSPC, "make room")]
)
def test_the_advice_fits_the_reason(tiny, command, monkeypatch, number, words):
    def fail(*_, **__):
        raise OSError(number, "reason")

    monkeypatch.setattr("pathlib.Path.write_text", fail)
    status, _, error = command("--train", "True", *SMALL)
    assert status == 2 and "settings.json could not be written (reason): " + words in error
