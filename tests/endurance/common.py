"""What the trials share: a tiny training in a process of its own, and what it leaves."""

import ctypes
import importlib
import multiprocessing
import os
import socket
from pathlib import Path

import cv2
import torch

import main_HTNet
from tests.conftest import SMALL, make_datasets

CLONE_NEWUTS = 0x04000000
FORK = multiprocessing.get_context("fork")  # no seconds of imports for each case
TRAIN = ("--train", "True", "--run", "trial", "--subjects", "sub01,s01", "--threads", "1", *SMALL)
EVALUATE = ("--train", "False", *TRAIN[2:])


def use_one_thread():
    """Before the first fork, which a thread pool does not survive; imports what draws reports."""
    importlib.import_module("matplotlib.backends.backend_agg")
    importlib.import_module("matplotlib.figure")
    torch.set_num_threads(1)
    cv2.setNumThreads(1)


def make_place(folder, name="place"):
    """A folder with the tiny composite, in which a command can run -> Path."""
    place = Path(folder, name)
    make_datasets(place / "datasets")
    return place


def start(place, arguments, host=None):
    """Starts main_HTNet.py in a folder -> its process; the output goes to place/log.txt.

    host: the name of the computer that the process believes to be on.
    """
    process = FORK.Process(target=run_command, args=(place, arguments, host))
    process.start()
    return process


def run_command(place, arguments, host=None):
    """In a forked process: the command, with `place` as its working folder."""
    if host:
        if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWUTS):
            raise OSError(ctypes.get_errno(), "a host name of its own needs root")
        socket.sethostname(host)
    os.chdir(place)
    log = os.open("log.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    main_HTNet.main(list(arguments))


def finish(place, arguments, host=None):
    """Runs the command to its end -> exit status."""
    process = start(place, arguments, host)
    process.join()
    return process.exitcode


def last_line(place):
    lines = Path(place, "log.txt").read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "no output"


def read_tree(folder):
    """{relative path: bytes} of the files in a folder, without hidden ones."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(Path(folder).rglob("[!.]*"))
        if path.is_file()
    }


def check_end(place, expected, folder="results/trial", only=("predictions.csv",)):
    """The same command once more -> None, or what is wrong with its end.

    expected: {file: bytes} that it must leave; only: of these, the ones that are compared.
    """
    status = finish(place, TRAIN)
    if status:
        return f"the same command ends in {status}: {last_line(place)}"
    left = read_tree(place / folder)
    different = [name for name in only if left.get(name) != expected[name]]
    return f"another {', '.join(different)}" if different else None
