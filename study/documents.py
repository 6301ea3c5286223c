"""Recomputes the tables, marked numbers and the figure of the documents, in seconds, without data.

    python -m study.documents

In the text, what stands between `<!-- tables: NAME -->` and `<!-- end -->` is replaced, and the
number after `<!-- uf1 RUNS/CHOICE -->` or `<!-- uf1 RUNS/CHOICE - RUNS/CHOICE -->` (Full, the mean
over seeds).
"""

import argparse
import re

from study.choices import compute_uf1
from study.experiments import ROOT
from study.figures import draw_curves, draw_finding
from study.tables import make_tables
from support.files import write_text

DOCUMENTS = (ROOT / "docs" / "reproduction.md", ROOT / "README.md")
NUMBER = r"(<!-- uf1 (\S+)/(\w+)(?: - (\S+)/(\w+))? -->\n?)(-?[\d.]*\d)"


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


if __name__ == "__main__":
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    tables = make_tables()
    for document in DOCUMENTS:
        write_text(document, fill(document.read_text(encoding="utf-8"), tables))
    draw_curves()
    print(
        "\n\n".join(
            tables[name]
            for name in re.findall("<!-- tables: (.+?) -->", DOCUMENTS[0].read_text("utf-8"))
        )
    )
