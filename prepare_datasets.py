"""Raw databases -> `datasets/`: faces, flow images and the index, in the released layout.

    python prepare_datasets.py --database casme2 --source DIR --database smic --source DIR
    python prepare_datasets.py --database samm --source DIR      adds to what is there
    python prepare_datasets.py --database own --source clips.csv --output datasets/own

Only MEGC 2019's 442 clips, in MEGC's classes, are taken (`datasets/megc2019.csv`); with
--all-clips, and always in CASME III, every clip whose emotion falls into one of the three classes.
Other classes: --classes, names of the sheet's emotions with commas between them; a class of several
emotions is written name=emotion+emotion. Run it again to go on where it stopped. CASME III, other
classes and data of your own are experiments of their own: give them an --output of their own.
"""

import argparse
import multiprocessing
import os
import signal
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from pathlib import Path

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    # Ctrl-C while the imports take their seconds: no traceback
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))

import cv2
import pandas as pd
from tqdm import tqdm

from composite_dataset import CLASSES, FACE_FOLDER, FLOW_FOLDER, FLOW_TREE, INDEX_NAME
from facial_areas import drop_centres
from optical_flow import METHODS
from preparation.clip_images import APEX_RULES, prepare_clip
from preparation.own_clips import read_own_clips
from preparation.prepared import (
    COLUMNS,
    flow_path,
    is_complete,
    is_current,
    list_rows,
    name_samples,
    read_own_table,
    remove_rows,
    write_table,
)
from preparation.raw_databases import SUBJECTS, read_clips
from preparation.selection import compare_counts, parse_classes, select_clips
from support.exits import explain_errors, make_one_line
from support.files import BadInput, check_name, make_folder, write_image

LEFT_OUT = ["dataset", "sub", "filename_o", "reason"]
LISTED = 20  # clips left out that are printed; the rest is in the file


@dataclass(frozen=True)
class Options:
    """How clips become images, and which are taken."""

    classes: dict | None = None  # {emotion: (label, class)}; None: MEGC 2019's three
    all_clips: bool = False  # not only MEGC 2019's
    method: str = "tvl1"  # the optical flow's
    apex_rule: str = "strain"  # see `prepare_clip`
    workers: int = 1  # processes


def prepare(database, source, output, options):
    """Prepares one database into `output`, beside what is there of others; raises BadInput."""
    index_path, left_out_path = output / INDEX_NAME, output / "left_out.csv"
    if (output / FLOW_TREE).exists():
        raise BadInput(
            f"{output / FLOW_TREE} holds flow images made elsewhere, which would be read instead "
            "of those made here: use another --output."
        )
    index = read_own_table(index_path, COLUMNS)
    old_left_out = read_own_table(left_out_path, LEFT_OUT)
    others = index[index["dataset"] != database]
    listed = index[index["dataset"] == database]
    rows = list_rows(listed, index_path, output, database, options)
    reader = read_own_clips if database == "own" else partial(read_clips, database)
    clips, left_out, sheet = reader(source)
    read = rows.keys() if database == "own" else {clip.sample for clip in clips}
    clips, left_out = select_clips(
        database, source, clips, left_out, options.classes, options.all_clips
    )
    current = {clip.sample for clip in clips if is_current(rows.get(clip.sample), clip, options)}
    todo = [
        clip
        for clip in clips
        if clip.sample not in current or not is_complete(rows[clip.sample], output)
    ]
    print(
        f"{database}: {sheet or f'{source}, without a sheet'}; {len(clips)} clips, {len(todo)} of "
        "them to do"
    )
    # Clips of classes that are left out go; of own data also rows taken out of the table. In a raw
    # database, a clip that is missing now may only lie elsewhere, and stays.
    gone = (rows.keys() & read) - {clip.sample for clip in clips}
    if gone and not clips:
        raise BadInput(
            f"none of the clips in {source} is of the classes asked for, and {output} would be "
            "emptied: correct --classes, or use another --output."
        )
    make_folder(output)
    unchanged = rows.keys() - gone - {clip.sample for clip in todo}
    # before new faces are there, so that a run that is stopped leaves no old centres beside them
    drop_centres(output / "facial_areas.csv", set(name_samples(listed)) - unchanged)
    remove_rows(database, rows, gone, output)
    for clip, images in prepare_clips(todo, database, options):
        if isinstance(images, BadInput):
            old = (rows.keys() & {clip.sample}) - current  # images of other frames
            remove_rows(database, rows, old, output)
            left_out.insert(0, (clip.subject, clip.name, str(images).rstrip(".")))
            continue
        for folder in (output / FACE_FOLDER, output / FLOW_FOLDER):
            make_folder(folder)
        face_name = f"{clip.sample}.jpg"
        write_image(output / FACE_FOLDER / face_name, images.face, [cv2.IMWRITE_JPEG_QUALITY, 95])
        write_image(flow_path(output, clip.sample), images.flow)
        rows[clip.sample] = {
            "dataset": database,
            "sub": clip.subject,
            "filename_o": clip.name,
            "label": str(clip.label),
            "apex": str(images.apex),
            "imagename": face_name,
            "sub_filename": "",
            "class": clip.emotion,
            "flow": options.method,
            "apex_source": images.apex_source,
            "frames": clip.describe_frames(),
        }
        write_table(index_path, pd.concat([others, pd.DataFrame(rows.values())]), COLUMNS)
    for clip in clips:
        if clip.sample in rows:  # other classes than the last time
            rows[clip.sample] |= {"label": str(clip.label), "class": clip.emotion}
    if rows or index_path.exists():
        write_table(index_path, pd.concat([others, pd.DataFrame(rows.values())]), COLUMNS)
    left_out = [
        (database, *map(make_one_line, row))  # names that are not UTF-8, among them
        for row in left_out
        if f"{row[0]}_{row[1]}" not in rows
    ]
    kept = old_left_out[old_left_out["dataset"] != database]
    new = pd.DataFrame(left_out, columns=LEFT_OUT)
    write_table(left_out_path, pd.concat([kept, new]), LEFT_OUT)
    report(database, rows, clips, left_out, left_out_path, options)


def prepare_clips(clips, database, options):
    """Yields (clip, its ClipImages, or BadInput where it cannot be used), in any order."""
    # Processes start afresh ("spawn"), since OpenCV's threads do not survive a fork.
    with ProcessPoolExecutor(
        max(1, min(options.workers, len(clips))),
        multiprocessing.get_context("spawn"),
        initializer=cv2.setNumThreads,
        initargs=(1,),
    ) as pool:
        try:
            futures = {
                pool.submit(prepare_clip, clip, options.method, options.apex_rule): clip
                for clip in clips
            }
            bar = tqdm(as_completed(futures), desc=database, total=len(clips), unit="clip")
            for future in bar:
                error = future.exception()
                if error is not None and not isinstance(error, BadInput):
                    raise error
                yield futures[future], error or future.result()
        except BrokenProcessPool:
            raise BadInput(
                "a worker was killed, probably for lack of memory: run again with fewer --workers; "
                "what was finished before is kept."
            ) from None
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def report(database, rows, clips, left_out, left_out_path, options):
    """Prints counts per class, clips whose apex was found here, clips left out and why."""
    megc_classes = options.classes is None and database != "own"
    prepared = [row["label"] for row in rows.values()]
    names = {row["label"]: row["class"] or row["label"] for row in rows.values()}
    if megc_classes:
        names = {str(label): name for label, name in enumerate(CLASSES)}
    classes = {label: names[label] for label in sorted(names, key=lambda text: (len(text), text))}
    print(compare_counts(database, prepared, classes, megc_classes).to_string())
    found = {sample: row["apex_source"] for sample, row in rows.items()}
    found = {sample: text for sample, text in found.items() if text not in ("", "annotated")}
    unusable = [
        f"  {sample}: {text}" for sample, text in sorted(found.items()) if "the annotated" in text
    ]
    if found:
        print(f"{database}: the apex frame of {len(found)} clips was found by --apex's rule.")
    if unusable:
        print(f"Of these, {len(unusable)} have an annotated one that cannot be used:")
    print("".join(f"{line}\n" for line in unusable[:LISTED]), end="")
    if left_out:
        print(f"{database}: {len(left_out)} clips left out, all of them in {left_out_path}:")
    for _, subject, clip, reason in left_out[:LISTED]:
        print(f"  {subject}_{clip}: {reason}")
    if not rows:
        raise BadInput(
            f"no clip of {database} could be prepared: {left_out_path} gives the reasons."
        )


def main(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    known = [*SUBJECTS, "own"]
    add("--database", action="append", required=True, choices=known, help="what --source holds")
    add(
        "--source",
        action="append",
        required=True,
        type=Path,
        help="the folder it was unpacked into; of own data the table of clips",
    )
    add("--output", type=Path, default=Path("datasets"), help="where images and index go")
    add("--all-clips", action="store_true", help="take more than MEGC 2019's 442 clips")
    add("--classes", type=parse_classes, help="e.g. happiness,disgust,repression,surprise,others")
    add("--flow", choices=METHODS, default="tvl1", help="the optical flow's method")
    add(
        "--apex",
        choices=APEX_RULES,
        default="strain",
        help="where no usable one is annotated; of own data, strain is recognize.py's search",
    )
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    add("--workers", type=int, default=cores or 1, help="processes; by default one per core")
    args = parser.parse_args(argv)
    if len(args.database) != len(args.source):
        parser.error("give one --source for each --database.")
    shared = os.path.realpath(args.output) == os.path.realpath(parser.get_default("output"))
    if shared and (args.classes or {"own", "casme3"}.intersection(args.database)):
        parser.error(
            "CASME III and data or classes of your own need an --output of their own: "
            "datasets/own, say."
        )
    options = Options(args.classes, args.all_clips, args.flow, args.apex, args.workers)
    with explain_errors("prepare_datasets.py", expected=(OSError,)):
        for folder in (*args.source, args.output):
            check_name(folder)
        for database, source in zip(args.database, args.source):
            prepare(database, source, args.output, options)


if __name__ == "__main__":
    main()
