"""MEGC 2019's choice of clips, and the published numbers of samples per class."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from composite_dataset import CLASSES

MEGC = Path(__file__).parents[1] / "datasets" / "megc2019.csv"
CASME3_COUNTS = {
    "published (the paper's table)": (508, 64, 201),
    "published (the released sheet)": (449, 54, 184),
}


def read_megc_labels(database):
    """{sample: label} of MEGC 2019's clips of a database."""
    table = pd.read_csv(MEGC, dtype=str)
    table = table[table["database"] == database]
    samples = table["subject"] + "_" + table["clip"]
    return dict(zip(samples, map(CLASSES.index, table["class"])))


def select_clips(database, source, clips, left_out, all_clips):
    """The clips with a class, those of MEGC 2019 in MEGC's -> (clips, left_out).

    clips, left_out: as from `read_clips`; source: the folder that they come from.
    """
    if all_clips or database == "casme3":
        chosen = [clip for clip in clips if clip.label is not None]
        others = [
            (
                clip.subject,
                clip.name,
                f"emotion '{clip.emotion}' is in none of the three classes",
            )
            for clip in clips
            if clip.label is None
        ]
        return chosen, left_out + others
    listed = read_megc_labels(database)
    chosen = [replace(clip, label=listed[clip.sample]) for clip in clips if clip.sample in listed]
    left_out = [row for row in left_out if f"{row[0]}_{row[1]}" in listed]
    known = {clip.sample for clip in chosen} | {f"{row[0]}_{row[1]}" for row in left_out}
    reason = f"not found in {source}"
    left_out += [(*name.split("_", 1), reason) for name in listed if name not in known]
    differing = [clip.sample for clip in clips if clip.label != listed.get(clip.sample, clip.label)]
    if differing:
        print(
            f"{database}: MEGC 2019's class is taken where the sheet's emotion says another: "
            f"{', '.join(differing)}"
        )
    return chosen, left_out


def compare_counts(database, labels):
    """DataFrame: samples per class of `labels`, and the published ones."""
    counts = {"prepared": np.bincount(labels, minlength=len(CLASSES))}
    if database == "casme3":
        counts |= CASME3_COUNTS
    else:
        listed = list(read_megc_labels(database).values())
        counts["published (MEGC 2019)"] = np.bincount(listed, minlength=len(CLASSES))
    table = pd.DataFrame(counts, index=CLASSES).T
    return table.assign(all=table.sum(axis=1))
