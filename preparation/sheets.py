"""The databases' annotation sheets: found, and read whatever the header's place and spelling."""

import re

import pandas as pd

from support.files import BadInput, is_plain

# How users know the sheet, and what the letters and digits of its name contain.
SHEETS = {
    "casme2": ("CASME2-coding-*.xlsx or CASME2_label_Ver_2.xls", ("casme2coding", "casme2label")),
    "samm": ("SAMM_Micro_FACS_Codes_v2.xlsx", ("microfacs",)),
    "casme3": ("cas(me)3_part_A_ME_label_JpgIndex_v2.xlsx", ("casme3partame",)),
}
COLUMNS = {  # the letters of what sheets call them
    "Subject": ("subject",),
    "Filename": ("filename",),
    "Onset": ("onset", "onsetframe"),
    "Apex": ("apex", "apexframe"),
    "Offset": ("offset", "offsetframe"),
    "Emotion": ("emotion", "estimatedemotion"),
}


def pick_sheet(database, source, files):
    """The newest annotation sheet, by name, among the files or else beside the source folder."""
    known_as, contained = SHEETS[database]
    for candidates in (files, source.resolve().parent.iterdir()):
        sheets = [
            path
            for path in candidates
            if path.suffix.lower() in (".xlsx", ".xls")
            and not path.name.startswith(("~", "."))
            and is_plain(path.name)
            and any(words in re.sub(r"[\W_]", "", path.stem.lower()) for words in contained)
        ]
        if sheets:
            return max(sheets, key=lambda path: (path.suffix.lower() == ".xlsx", path.name))
    raise BadInput(
        f"neither {source} nor a folder in it above the subjects' holds an annotation sheet of "
        f"{database} ({known_as}), nor is it beside {source}: put it there."
    )


def read_sheet(path):
    """The annotation sheet as a DataFrame of text with the columns of COLUMNS.

    Rows without subject or clip are dropped.
    """
    try:
        workbook = pd.read_excel(
            path, sheet_name=None, header=None, dtype=str, keep_default_na=False, engine="calamine"
        )
    except Exception as error:  # whatever the readers of .xlsx and .xls make of a damaged file
        raise BadInput(
            f"{path} is not a readable Excel sheet ({error}): download it anew."
        ) from None
    aliases = {alias: column for column, names in COLUMNS.items() for alias in names}

    def known_columns(row):
        return [aliases.get(re.sub("[^a-z]", "", cell.lower())) for cell in row]

    # Sheets begin with up to a dozen lines of text: the header is the row that holds most of the
    # known names.
    rows = [
        (table, i, known_columns(table.iloc[i]))
        for table in workbook.values()
        for i in range(min(40, len(table)))
    ]
    table, header, columns = max(
        rows, key=lambda row: len(set(row[2]) - {None}), default=(None, 0, [])
    )
    if len(set(columns) - {None}) < 2:
        raise BadInput(
            f"{path} holds no header row with {', '.join(COLUMNS)}: put the database's own sheet "
            "there."
        )
    if missing := [column for column in COLUMNS if column not in columns]:
        names = [cell.strip() for cell in table.iloc[header] if cell.strip()]
        raise BadInput(
            f"{path} lacks the column '{missing[0]}': its header row has {', '.join(names)}."
        )
    data = table.iloc[header + 1 :, [columns.index(column) for column in COLUMNS]].set_axis(
        list(COLUMNS), axis=1
    )
    data = data.apply(lambda column: column.str.strip())
    return data[(data["Subject"] != "") & (data["Filename"] != "")]


def read_number(cell):
    """A cell of the sheet -> int, or None.

    CASME II writes '/' and SAMM -1 where a frame was not annotated.
    """
    try:
        number = int(float(cell))
    except (ValueError, OverflowError):
        return None
    return number if number >= 0 else None
