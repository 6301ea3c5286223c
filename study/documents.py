"""Recomputes the tables, marked numbers and the figure of the documents, in a minute, without data.

    python -m study.documents

In the text, what stands between `<!-- tables: NAME -->` and `<!-- end -->` is replaced, and the
number after `<!-- uf1 RUNS/CHOICE -->` or `<!-- uf1 RUNS/CHOICE - RUNS/CHOICE -->` (Full, the mean
over seeds; see `choices.compute_uf1`). A number after `<!-- in NAME -->` must stand in that table
with its sign, one after `<!-- minus in NAME -->` with the opposite sign: `find_strays` lists those
that do not, and those without a mark.
"""

import argparse
import re

from study.choices import compute_uf1
from study.critical_tables import draw_figure
from study.experiments import ROOT
from study.figures import draw_curves, draw_finding
from study.tables import make_tables
from support.files import write_text

DOCUMENTS = [
    ROOT / name
    for name in (
        "docs/reproduction.md",
        "docs/tables.md",
        "docs/details.md",
        "docs/questions.md",
        "docs/honest.md",
        "docs/critical_areas.md",
        "weights/README.md",
        "README.md",
    )
]
NUMBER = r"(<!-- uf1 (\S+)/([\w-]+)(?: - (\S+)/([\w-]+))? -->\s?)([+-]?[\d.]*\d)"
QUOTED = r"<!-- (minus )?in (.+?) -->\s?([+-]?[\d.]*\d)"
TABLE = r"<!-- tables: (.+?) -->.*?<!-- end -->"


def fill(text, tables):
    """The text with every `<!-- tables: NAME -->` part and every marked number replaced."""
    for name in re.findall(r"<!-- tables: (.+?) -->", text):
        text = re.sub(
            rf"(<!-- tables: {name} -->\n).*?(<!-- end -->)",
            lambda match, name=name: f"{match[1]}\n{tables[name]}\n\n{match[2]}",
            text,
            flags=re.DOTALL,
        )

    def replace_number(match):
        mark, one, choice, other, others_choice, _ = match.groups()
        subtracted = compute_uf1(other, others_choice) if other else 0
        return f"{mark}{compute_uf1(one, choice) - subtracted:.3f}"

    return re.sub(NUMBER, replace_number, text)


def find_strays(text, tables):
    """The scores in a text's prose that no mark holds to a table, and those that their table lacks.

    A score is a number below 1 with three or four digits.
    """
    prose = re.sub(TABLE, "", text, flags=re.DOTALL)
    strays = [
        f"{number} is not in the table '{name}'"
        for minus, name, number in re.findall(QUOTED, prose)
        if not stands_in(tables[name], number, turned=bool(minus))
    ]
    unmarked = re.sub(QUOTED, "", re.sub(NUMBER, "", prose))
    return strays + [f"{n} has no mark" for n in re.findall(r"(?<![\d.])0?\.\d{3,4}\b", unmarked)]


def stands_in(table, number, turned):
    """Whether a number stands in a table with its sign, or, where it is turned, with the other."""
    sign = "-" if number.startswith("-") != turned else r"\+?"
    return re.search(rf"(?<![\d.-]){sign}{re.escape(number.lstrip('+-'))}(?!\d)", table)


if __name__ == "__main__":
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    tables = make_tables()
    for document in DOCUMENTS:
        text = fill(document.read_text(encoding="utf-8"), tables)
        write_text(document, text)
        for stray in find_strays(text, tables):
            print(f"{document.name}: {stray}")
    draw_finding()
    draw_figure()
    draw_curves()
