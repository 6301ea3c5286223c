"""Mean ± standard deviation over seeds of UF1 / UAR, from the predictions.csv of several runs, as a markdown table.

    python -m docs.study.summarise results/STSTNet-seed*
"""
import sys
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


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit("Give the folders of two runs or more, each with a predictions.csv.")
    for folder in sys.argv[1:]:
        if not (Path(folder) / "predictions.csv").exists():
            sys.exit(f"{folder} holds no predictions.csv: name the folder of a finished run.")
    print(f"{len(sys.argv) - 1} seeds, UF1 / UAR, mean ± standard deviation\n\n{markdown(summarise(sys.argv[1:]))}")
