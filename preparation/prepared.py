"""What a datasets folder holds of each database: the index's rows and their images."""

import pandas as pd

from composite_dataset import FACE_FOLDER, FLOW_FOLDER
from preparation.selection import is_megc_only, read_megc_labels
from support.files import BadInput, read_table, replace_file

# Of the index. "class" is the label's name, "flow" the method, "apex_source" see ClipImages,
# "frames" what the sheet or table asks for: if that changes, the images are made anew.
COLUMNS = "dataset sub filename_o label apex imagename sub_filename".split()
COLUMNS += "class flow apex_source frames".split()


def flow_path(output, sample):
    """Where a sample's flow image lies; the released names have the space, others need none."""
    plain = output / FLOW_FOLDER / f"{sample}.png"
    return plain if plain.is_file() else output / FLOW_FOLDER / f"{sample} .png"


def write_table(path, table, columns):
    table = table.sort_values(columns[:3])
    replace_file(path, lambda temporary: table.to_csv(temporary, columns=columns, index=False))


def read_own_table(path, columns):
    """A CSV file of ours -> DataFrame with these columns; empty where there is no file."""
    if not path.exists():
        return pd.DataFrame(columns=columns, dtype=str)
    table = read_table(path, columns[:3], "move it away or use another --output")
    return table.reindex(columns=[*columns, *table.columns.difference(columns)], fill_value="")


def name_samples(table):
    """The samples' names of the index's rows."""
    return table["sub"] + "_" + table["filename_o"]


def list_rows(table, index_path, output, database, options):
    """{sample: row} of the index whose flow images are there; BadInput for clips of other rules.

    A flow image without a face is a sample, too.
    """
    rows = dict(zip(name_samples(table), table.to_dict("records")))
    if is_megc_only(database, options.classes, options.all_clips):
        if extra := sorted(rows.keys() - read_megc_labels(database).keys()):
            raise BadInput(
                f"{index_path} lists {extra[0]}, which is not one of MEGC 2019's clips: use "
                "--all-clips or --classes, as before, or another --output."
            )
    return {sample: row for sample, row in rows.items() if flow_path(output, sample).is_file()}


def remove_rows(database, rows, samples, output):
    """Takes samples out of `rows` ({sample: row}), deletes their images and says so."""
    for sample in samples:
        if face := rows.pop(sample)["imagename"]:
            (output / FACE_FOLDER / face).unlink(missing_ok=True)
        flow_path(output, sample).unlink(missing_ok=True)
    if samples:
        print(
            f"{database}: {len(samples)} of the clips prepared before are not taken any more; "
            "their images are deleted."
        )


def is_complete(row, output):
    """Whether the index's row (or None) has its face; its flow image is there."""
    return row is not None and (output / FACE_FOLDER / row["imagename"]).is_file()


def is_current(row, clip, options):
    """Whether the index's row (or None) is of these frames, made in the way that is asked for."""
    if row is None or row["flow"] not in ("", options.method):
        return False
    known_rules = ("", "annotated", options.apex_rule)
    same_rule = row["apex_source"].partition(":")[0] in known_rules
    return same_rule and row["frames"] in ("", clip.describe_frames())
