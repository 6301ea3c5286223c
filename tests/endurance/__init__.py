"""Kills, power losses, hostile files and random input: what a run must come through.

    python -m tests.endurance            all trials in full; docs/reliability.md has the counts run
    python -m tests.endurance --trial power --trial folds --cases 1000

tests/test_endurance.py runs each of them in short.
"""
