"""Raw databases -> `datasets/`: faces, flow images and the index, in the released layout.

    python prepare_datasets.py --database casme2 --source DIR --database smic --source DIR
    python prepare_datasets.py --database samm --source DIR      adds to what is there

Only MEGC 2019's 442 clips, in MEGC's classes, are taken (`datasets/megc2019.csv`); with
--all-clips, and always in CASME III, every clip whose emotion falls into one of the three classes.
Run it again to go on where it stopped. For an experiment with CASME III alone: --database casme3
--source DIR --output datasets/casme3.
"""

import argparse
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import cv2
import pandas as pd
from tqdm import tqdm

from clips import crop_face, face_box, read_frame, spot_apex
from composite_dataset import FACE_FOLDER, FLOW_FOLDER, FLOW_TREE, INDEX_NAME
from facial_areas import area_centres, detect_landmarks
from optical_flow import METHODS, flow_image, to_8bit
from preparation.megc2019 import compare_counts, read_megc_labels, select_clips
from preparation.raw_databases import SUBJECTS, read_clips
from support.exits import explain_errors
from support.files import BadInput, make_folder, read_table, replace_file, write_image

SPOT_SIZE = 112  # pixels: apex spotting looks at many frames, and half the size is enough
# of the index; "flow" is the method
COLUMNS = "dataset sub filename_o label apex imagename sub_filename flow".split()
LEFT_OUT = ["dataset", "sub", "filename_o", "reason"]
LISTED = 20  # clips left out that are printed; the rest is in the file


def prepare_clip(clip, method="tvl1"):
    """A clip of `read_clips` -> (apex frame's number, apex face, flow image), or BadInput.

    The face is uint8 [224, 224, 3], the flow image uint8 [28, 28, 3].
    """
    frames = clip.frames()
    if not frames:
        raise BadInput(f"{clip.folder} holds no frames.")
    onset = min(frames) if clip.onset is None else clip.onset
    for kind, number in ("onset", onset), ("apex", clip.apex):
        if number is not None and number not in frames:
            raise BadInput(f"{clip.folder} holds no {kind} frame {number}.")
    if clip.apex is not None and clip.apex <= onset:
        raise BadInput(f"the apex frame {clip.apex} is not after the onset frame {onset}.")
    onset_frame = read_frame(frames[onset])
    landmarks = detect_landmarks(to_8bit(onset_frame)[0])
    if landmarks is None:
        raise BadInput(f"dlib finds no face on the onset frame {frames[onset]}.")
    box = face_box(landmarks)
    apex = clip.apex
    if apex is None:
        last = (
            clip.offset if clip.offset is not None and clip.offset > onset else max(frames)
        )  # some offsets are wrong
        numbers = [number for number in sorted(frames) if onset <= number <= last]
        if len(numbers) < 2:
            raise BadInput(f"{clip.folder} holds no frame after the onset frame {onset}.")
        apex = numbers[
            spot_apex(
                lambda i: crop_face(read_frame(frames[numbers[i]]), box, SPOT_SIZE),
                len(numbers),
                area_centres(landmarks - box[:2], (box[2], box[2])),
            )
        ]
    apex_frame = read_frame(frames[apex])
    if apex_frame.shape != onset_frame.shape:
        raise BadInput(f"{frames[apex]} and the onset frame differ in size.")
    faces = to_8bit(crop_face(onset_frame, box), crop_face(apex_frame, box))
    flow = flow_image(*faces, method)
    if not flow.any():
        raise BadInput(f"{frames[apex]} shows no motion against the onset frame.")
    return apex, faces[1], flow


def flow_path(output, sample):
    return output / FLOW_FOLDER / f"{sample} .png"  # the released names have this space


def write_table(path, table, columns):
    table = table.sort_values(columns[:3])
    replace_file(path, lambda temporary: table.to_csv(temporary, columns=columns, index=False))


def read_own_table(path, columns):
    """A CSV file of ours -> DataFrame with these columns; empty where there is no file."""
    if not path.exists():
        return pd.DataFrame(columns=columns, dtype=str)
    table = read_table(path, columns[:3], "move it away or use another --output")
    return table.reindex(columns=[*columns, *table.columns.difference(columns)], fill_value="")


def prepare(database, source, output, all_clips=False, method="tvl1", workers=1):
    """Prepares one database into `output`, beside what is there of others; raises BadInput."""
    index_path, left_out_path = output / INDEX_NAME, output / "left_out.csv"
    if (output / FLOW_TREE).exists():
        raise BadInput(
            f"{output / FLOW_TREE} holds flow images made elsewhere, which would be read instead "
            "of those made here: use another --output."
        )
    for folder in (output / FACE_FOLDER, output / FLOW_FOLDER):
        make_folder(folder)
    index, old_left_out = (
        read_own_table(index_path, COLUMNS),
        read_own_table(left_out_path, LEFT_OUT),
    )
    others = index[index["dataset"] != database]
    rows = {
        f"{row['sub']}_{row['filename_o']}": row
        for row in index[index["dataset"] == database].to_dict("records")
    }
    if (
        not all_clips
        and database != "casme3"
        and (extra := sorted(rows.keys() - read_megc_labels(database).keys()))
    ):
        raise BadInput(
            f"{index_path} lists {extra[0]}, which is not one of MEGC 2019's clips: use "
            "--all-clips, as before, or another --output."
        )
    rows = {
        sample: row
        for sample, row in rows.items()
        if flow_path(output, sample).is_file()
        and (output / FACE_FOLDER / row["imagename"]).is_file()
    }
    clips, left_out, sheet = read_clips(database, source)
    clips, left_out = select_clips(database, source, clips, left_out, all_clips)
    todo = [
        clip for clip in clips if rows.get(clip.sample, {"flow": None})["flow"] not in ("", method)
    ]
    unusable = []
    print(
        f"{database}: {source}, {sheet or 'without a sheet'}; {len(clips)} clips, {len(todo)} of "
        "them to do"
    )
    # Processes start afresh ("spawn"), since OpenCV's threads do not survive a fork.
    with ProcessPoolExecutor(
        max(1, min(workers, len(todo))),
        multiprocessing.get_context("spawn"),
        initializer=cv2.setNumThreads,
        initargs=(1,),
    ) as pool:
        futures = {pool.submit(prepare_clip, clip, method): clip for clip in todo}
        try:
            for future in tqdm(
                as_completed(futures), desc=database, total=len(todo), unit="clip", disable=None
            ):
                clip = futures[future]
                try:
                    apex, face, flow = future.result()
                except BadInput as error:
                    unusable.append((clip.subject, clip.name, str(error).rstrip(".")))
                    continue
                face_name = f"{clip.sample}.jpg"
                write_image(output / FACE_FOLDER / face_name, face, [cv2.IMWRITE_JPEG_QUALITY, 95])
                write_image(flow_path(output, clip.sample), flow)
                values = (
                    database,
                    clip.subject,
                    clip.name,
                    str(clip.label),
                    str(apex),
                    face_name,
                    "",
                    method,
                )
                rows[clip.sample] = dict(zip(COLUMNS, values))
                write_table(index_path, pd.concat([others, pd.DataFrame(rows.values())]), COLUMNS)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    for clip in clips:
        if clip.sample in rows:  # with and without --all-clips, the classes may differ
            rows[clip.sample]["label"] = str(clip.label)
    if rows or index_path.exists():
        write_table(index_path, pd.concat([others, pd.DataFrame(rows.values())]), COLUMNS)
    left_out = [(database, *row) for row in unusable + left_out if f"{row[0]}_{row[1]}" not in rows]
    write_table(
        left_out_path,
        pd.concat(
            [
                old_left_out[old_left_out["dataset"] != database],
                pd.DataFrame(left_out, columns=LEFT_OUT),
            ]
        ),
        LEFT_OUT,
    )
    report(database, rows.values(), left_out, left_out_path)


def report(database, rows, left_out, left_out_path):
    """Prints the counts per class beside the published ones, then what was left out and why."""
    print(compare_counts(database, [int(row["label"]) for row in rows]).to_string())
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
    parser.add_argument(
        "--database", action="append", required=True, choices=SUBJECTS, help="what --source holds"
    )
    parser.add_argument(
        "--source",
        action="append",
        required=True,
        type=Path,
        help="the folder it was unpacked into",
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("datasets"),
        help="where faces, flow images and index go",
    )
    parser.add_argument(
        "--all-clips", action="store_true", help="take more than MEGC 2019's 442 clips"
    )
    parser.add_argument(
        "--flow", choices=METHODS, default="tvl1", help="farneback: as released for CASME III"
    )
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    parser.add_argument(
        "--workers", type=int, default=cores, help="processes; by default one per core"
    )
    args = parser.parse_args(argv)
    if len(args.database) != len(args.source):
        parser.error("give one --source for each --database.")
    with explain_errors("prepare_datasets.py"):
        for database, source in zip(args.database, args.source):
            prepare(database, source, args.output, args.all_clips, args.flow, args.workers)


if __name__ == "__main__":
    main()
