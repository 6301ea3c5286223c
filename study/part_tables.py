"""Tables of runs of some subjects only: compared on these, never beside complete runs."""

import numpy as np
import pandas as pd

from evaluation import CHOICES, unweighted_scores
from report import format_markdown
from study.choice_tables import describe_gains, list_late_ways
from study.choices import choose_best, count_across, count_chosen, score_counts
from study.experiments import find_runs, read_predictions, read_run


def read_part(part, whole):
    """The runs of part and of whole, and which of whole's samples part has [N]."""
    few, all_of_them = read_run(find_runs(part)[0]), read_run(find_runs(whole)[0])
    place = np.isin(all_of_them["names"], few["names"])
    if not np.array_equal(all_of_them["names"][place], few["names"]):
        raise SystemExit(f"{part} and {whole} are not of the same samples.")
    return few, all_of_them, place


def tabulate_second_seed(part="HTNet-epochs200-float32", whole="HTNet-epochs200"):
    """Some subjects trained with a second seed: does the choice on one carry over to the other?"""
    if not find_runs(part) or not find_runs(whole):
        return "Not run yet."
    second, first, place = read_part(part, whole)
    here = {key: first[key][place] for key in ("labels", "subjects")}
    runs = [here | {"predicted": first["predicted"][:, place]}, second]
    ways = list_late_ways(runs) | {
        "any epoch, chosen by another seed": count_across(runs),
        "any epoch, chosen on the test samples (`best`)": np.stack(
            [count_chosen(run, choose_best(run)) for run in runs]
        ),
    }
    late, gains = describe_gains(runs, ways)
    rows = [{"late epoch": "mean", "UF1": late}] + [
        {
            "late epoch": way,
            "UF1": score_counts(counts),
            "above the mean (95 %)": gains[way],
        }
        for way, counts in ways.items()
    ]
    return format_markdown(pd.DataFrame(rows).fillna("–"))


def tabulate_longer(part="HTNet-epochs800", whole="HTNet-epochs200"):
    """Some subjects trained longer: their UF1, and that of all with them swapped into the shorter
    run; how many of their last predictions differ.
    """
    if not find_runs(part) or not find_runs(whole):
        return "Not run yet."
    longer, shorter, place = read_part(part, whole)
    these, those = (f"{len(set(run['subjects']))} subjects" for run in (longer, shorter))
    long, short = (f"{len(run['predicted'])} epochs" for run in (longer, shorter))
    rows, labels = [], shorter["labels"]
    for choice in CHOICES:
        after, before = (
            next(iter(read_predictions(name, choice).values()))["prediction"].to_numpy()
            for name in (part, whole)
        )
        swapped = before.copy()
        swapped[place] = after
        uf1 = {
            f"these {these}, {short}": (labels[place], before[place]),
            f"these {these}, {long}": (labels[place], after),
            f"all {those}, {short}": (labels, before),
            f"all {those}, these swapped in": (labels, swapped),
        }
        uf1 = {column: unweighted_scores(*pair)[0] for column, pair in uf1.items()}
        first, second = list(uf1.values())[:2]
        rows.append(
            {"epoch choice": choice} | uf1 | {f"these {these}, change": f"{second - first:+.4f}"}
        )
    predicted, last = longer["predicted"], shorter["predicted"][-1, place]
    changes = np.flatnonzero((predicted[1:] != predicted[:-1]).any(1)) + 2
    return (
        f"{format_markdown(pd.DataFrame(rows))}\n\n"
        f"Last predictions that differ between {short} and {long}: "
        f"{np.count_nonzero(predicted[-1] != last)} of {len(last)}. "
        f"The last epoch at which a prediction changes: {changes.max(initial=1)}."
    )
