"""The measuring commands, run at sizes at which their numbers mean nothing."""

import re
import subprocess
import sys

import pytest
import torch
from conftest import ROOT


def run(*arguments):
    finished = subprocess.run(
        [sys.executable, "-m", *arguments], cwd=ROOT, capture_output=True, text=True
    )
    return finished.returncode, finished.stdout, finished.stderr


def test_gpu_benchmark_on_a_cpu():
    status, output, error = run(
        "benchmarks.gpu", "--device", "cpu", "--dim", "4", "--epochs", "4", "--size", "64"
    )
    assert status == 0, error
    rows = re.findall(r"^\| ([^|]+) \| ([\d.]+) \| ([\d.]+) x \| \d+% \|", output, re.MULTILINE)
    assert [row[0] for row in rows] == [
        "plain loop, as released",
        "kernel by kernel, tf32",
        "graph, tf32",
        "graph, tf32, keeping the best epoch",
        "graph, float32",
        "graph, bf16",
    ]
    losses = dict(re.findall(r"^\| (float32|tf32|bf16) \| ([\d.]+) \|", output, re.MULTILINE))
    assert losses["float32"] == losses["tf32"] != losses["bf16"]
    assert "Self CPU time total" in output


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_gpu_benchmark_without_a_gpu_is_one_sentence():
    status, output, error = run("benchmarks.gpu")
    assert status == 1 and "--device cpu" in error and error.count("\n") == 1 and not output


def test_the_recognition_benchmark_times_three_ensembles():
    pytest.importorskip("skimage", reason="scikit-image has the portrait")
    status, output, error = run(
        "benchmarks.recognition", "--dim", "6", "--repeats", "1", "--frames", "20"
    )
    assert status == 0, error
    assert output.startswith("20 frames of 640x480")
    rows = re.findall(r"^\| (\d) networks, explain (\w+) \| ([\d.]+) s \| [\d.]+ s \|$",
                      output, re.MULTILINE)  # fmt: skip
    assert [row[:2] for row in rows] == [("1", "False"), ("5", "False"), ("5", "True")]
    assert all(float(row[2]) > 0 for row in rows)
