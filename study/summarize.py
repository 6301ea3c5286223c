"""Mean ± standard deviation over seeds of UF1 / UAR, from the predictions.csv of several runs, as a
markdown table.

python -m study.summarize docs/results/STSTNet-seed*
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from evaluation import CHOICES, score_groups
from report import format_markdown


def summarize(folders):
    """Folders of runs that differ in their seeds only -> DataFrame: choices x groups."""
    tables = [
        pd.read_csv(Path(folder) / "predictions.csv", dtype={"subject": str}) for folder in folders
    ]
    rows = []
    for choice in CHOICES:
        seeds = [score_groups(table["database"], table["label"], table[choice]) for table in tables]
        row = {"epoch choice": choice}
        for group in seeds[0]:
            row[group] = format_seeds([scores[group] for scores in seeds])
        rows.append(row)
    return pd.DataFrame(rows)


def format_seeds(scores):
    """[(UF1, UAR), ...] of several seeds -> "mean ± deviation / ..."; of one: four digits."""
    if len(scores) == 1:
        return " / ".join(f"{score:.4f}" for score in scores[0])
    pairs = zip(np.mean(scores, axis=0), np.std(scores, axis=0, ddof=1))
    return " / ".join(f"{mean:.3f} ± {spread:.3f}" for mean, spread in pairs)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "runs", nargs="+", type=Path, metavar="RUN", help="folder of a finished run"
    )
    folders, names = parser.parse_args().runs, set()
    for folder in folders:
        if not (folder / "predictions.csv").exists():
            parser.error(f"{folder} holds no predictions.csv: name the folder of a finished run.")
        table = pd.read_csv(folder / "predictions.csv")
        if not set(CHOICES) <= set(table):
            parser.error(
                f"{folder} has no epochs to choose from (a support vector machine's?): name "
                "networks' runs."
            )
        names.add(tuple(sorted(table["name"])))
    if len(names) > 1 or len(set(folders)) < len(folders):
        parser.error(
            "These are not several runs on the same samples: name runs that differ in their seeds "
            "only."
        )
    print(
        f"{len(folders)} runs, UF1 / UAR, mean ± standard "
        f"deviation\n\n{format_markdown(summarize(folders))}"
    )


if __name__ == "__main__":
    main()
