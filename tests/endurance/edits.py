"""What random input is made of: odd cells, and bytes changed, cut out or put in."""

import io
import zipfile

import hypothesis.strategies as st

ODD = ["", " ", "0", "-1", "1.5", "1e999", "nan", "inf", "9" * 30, "٣", "²", "\x00", "\n", "\r"]
ODD += ['"', "'", ",", ";", "../x", "/", "a/b", "\\", ".", "..", "None", "True", "=1+1", "#", "%s"]
ODD += ["x" * 300, "é", "\ud800", "\ufeff", "😀", "-" * 50, "(", "[" * 200, "1,1,1", "0,1,2", "-"]
CELLS = st.one_of(st.sampled_from(ODD), st.text(max_size=8), st.integers().map(str))
EDITS = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 4), st.binary(max_size=6)), max_size=5)
CHANGES = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12), CELLS), max_size=4)
TABLES = st.tuples(CHANGES, st.one_of(st.just([]), EDITS))
UNEDITED = [], []  # of TABLES


def edit(data, edits):
    """bytes with some cut out, put in, repeated or changed."""
    for where, kind, piece in edits:
        at = int(where * len(data))
        if kind == 0:
            data = data[:at] + piece + data[at:]
        elif kind == 1:
            data = data[:at] + piece + data[at + len(piece) :]
        elif kind == 2:
            data = data[:at] + data[at + 1 + len(piece) ** 2 :]
        elif kind == 3:
            data = data[:at] + data[at : at + 40] + data[at:]
        elif at < len(data):
            data = data[:at] + bytes([data[at] ^ (1 << len(piece))]) + data[at + 1 :]
    return data


def edit_table(rows, cells, edits):
    """A table (lists of texts) with some cells replaced -> bytes of a CSV file, then edited."""
    rows = [list(row) for row in rows]
    for line, column, cell in cells:
        row = rows[line % len(rows)]
        row[column % len(row)] = cell
    text = "\n".join(",".join(row) for row in rows)
    return edit(text.encode("utf-8", "surrogatepass"), edits)


def edit_pickle(data, edits):
    """Weights whose archive is whole, its checksums right, and whose pickle is damaged."""
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(stream, "w") as new:
        for name in old.namelist():
            part = old.read(name)
            new.writestr(name, edit(part, edits) if name.endswith("data.pkl") else part)
    return stream.getvalue()
