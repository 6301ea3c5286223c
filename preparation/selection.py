"""Which clips are taken, and in which class: MEGC 2019's choice, or emotions that one names."""

import argparse
from dataclasses import replace
from pathlib import Path

import pandas as pd

from composite_dataset import CLASSES
from support.files import BadInput

MEGC = Path(__file__).parents[1] / "datasets" / "megc2019.csv"
CASME3_COUNTS = {
    "published (the paper's table)": (508, 64, 201),
    "published (the released sheet)": (449, 54, 184),
}


def parse_classes(text):
    """Text such as happiness,negative=disgust+fear -> {emotion: (label, class)}."""
    classes = {}
    for label, part in enumerate(text.split(",")):
        name, _, emotions = part.partition("=")
        for emotion in (emotions or name).split("+"):
            emotion = emotion.strip().lower()
            if not emotion or emotion in classes or not name.strip():
                raise argparse.ArgumentTypeError(
                    f"'{text}' must be emotions with commas between them, each once, such as "
                    "happiness,negative=disgust+fear"
                )
            classes[emotion] = label, name.strip().lower()
    return classes


def is_megc_only(database, classes, all_clips):
    """Whether only MEGC 2019's clips of a database are taken."""
    return database not in ("casme3", "own") and classes is None and not all_clips


def read_megc_labels(database):
    """{sample: label} of MEGC 2019's clips of a database."""
    table = pd.read_csv(MEGC, dtype=str)
    table = table[table["database"] == database]
    samples = table["subject"] + "_" + table["clip"]
    return dict(zip(samples, map(CLASSES.index, table["class"])))


def select_clips(database, source, clips, left_out, classes, all_clips):
    """The clips to take, each with its label and, as `emotion`, its class -> (clips, left_out).

    clips, left_out: as from `read_clips`; source: where they come from; classes: as from
    `parse_classes`, or None for MEGC 2019's three.
    """
    if is_megc_only(database, classes, all_clips):
        return select_megc(database, source, clips, left_out)
    chosen = []
    for clip in clips:
        label, name = clip.label, clip.emotion
        if classes is not None:
            label, name = classes.get(clip.emotion.lower(), (None, ""))
        elif label is not None and database != "own":
            name = CLASSES[label]
        if label is None:
            reason = f"emotion '{clip.emotion}' is in none of the classes"
            left_out.append((clip.subject, clip.name, reason))
        else:
            chosen.append(replace(clip, label=label, emotion=name))
    if classes is not None:
        check_classes(source, clips, classes, {clip.emotion for clip in chosen})
    return chosen, left_out


def check_classes(source, clips, classes, taken):
    """Raises BadInput where a class that is asked for has no clip: a slip of the pen, mostly.

    taken: the names of the classes that have some.
    """
    empty = sorted({name for _, name in classes.values()} - taken)
    if empty:
        emotions = sorted({clip.emotion.lower() for clip in clips})
        raise BadInput(
            f"--classes: no clip of {source} is of the class {', '.join(empty)}; its emotions are "
            f"{', '.join(emotions)}."
        )


def select_megc(database, source, clips, left_out):
    """MEGC 2019's clips in MEGC's classes -> (clips, left_out)."""
    listed = read_megc_labels(database)
    differing = [clip.sample for clip in clips if clip.label != listed.get(clip.sample, clip.label)]
    chosen = []
    for clip in clips:
        if clip.sample in listed:
            label = listed[clip.sample]
            chosen.append(replace(clip, label=label, emotion=CLASSES[label]))
    left_out = [row for row in left_out if f"{row[0]}_{row[1]}" in listed]
    known = {clip.sample for clip in chosen} | {f"{row[0]}_{row[1]}" for row in left_out}
    reason = f"not found in {source}"
    left_out += [(*name.split("_", 1), reason) for name in listed if name not in known]
    if differing:
        print(
            f"{database}: MEGC 2019's class is taken where the sheet's emotion says another: "
            f"{', '.join(differing)}"
        )
    return chosen, left_out


def compare_counts(database, prepared, classes, megc_classes):
    """DataFrame: samples per class, and for MEGC 2019's classes the published ones below.

    prepared: the label of each sample; classes: {label: its name}, in their order. Counted by
    label, since an index may give no names.
    """
    counts = {"prepared": [prepared.count(label) for label in classes]}
    if megc_classes and database == "casme3":
        counts |= CASME3_COUNTS
    elif megc_classes:
        listed = list(read_megc_labels(database).values())
        counts["published (MEGC 2019)"] = [listed.count(label) for label in range(len(CLASSES))]
    table = pd.DataFrame(counts, index=list(classes.values())).T
    return table.assign(all=table.sum(axis=1))
