"""Mean ± standard deviation over seeds of UF1 / UAR, from the predictions.csv of several runs, as a markdown table.

    python -m docs.study.summarise docs/results/STSTNet-seed*
"""
import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from evaluation import CHOICES, groups, markdown, unweighted_scores


def summarise(folders):
    """Folders of runs that differ in their seeds only -> DataFrame, a row per epoch choice and a column per group."""
    tables = [pd.read_csv(Path(folder) / "predictions.csv", dtype={"subject": str}) for folder in folders]
    rows = []
    for choice in CHOICES:
        row = {"epoch choice": choice}
        for group in groups(tables[0]["database"].to_numpy()):
            scores = []
            for table in tables:
                mask = groups(table["database"].to_numpy())[group]
                scores.append(unweighted_scores(table["label"][mask], table[choice][mask]))
            means, spreads = np.mean(scores, axis=0), np.std(scores, axis=0, ddof=1) if len(scores) > 1 else (None,) * 2
            row[group] = " / ".join(f"{mean:.4f}" if spread is None else f"{mean:.3f} ± {spread:.3f}"
                                    for mean, spread in zip(means, spreads))
        rows.append(row)
    return pd.DataFrame(rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folder of a finished run")
    folders, names = parser.parse_args().runs, set()
    for folder in folders:
        if not (folder / "predictions.csv").exists():
            parser.error(f"{folder} holds no predictions.csv: name the folder of a finished run.")
        table = pd.read_csv(folder / "predictions.csv")
        if not set(CHOICES) <= set(table):
            parser.error(f"{folder} has no epochs to choose from (a support vector machine's?): name networks' runs.")
        names.add(tuple(sorted(table["name"])))
    if len(names) > 1 or len(set(folders)) < len(folders):
        parser.error("These are not several runs on the same samples: name runs that differ in their seeds only.")
    print(f"{len(folders)} runs, UF1 / UAR, mean ± standard deviation\n\n{markdown(summarise(folders))}")


if __name__ == "__main__":
    main()
