"""python -m tests.endurance: all trials, and their table in docs/reliability.md.

python -m tests.endurance --write
python -m tests.endurance --trial power --trial folds --cases 1000
"""

import argparse
import re
import sys
from pathlib import Path

from support.files import write_text
from tests.endurance.trials import HEADER, TRIALS, make_rows, run_trial

DOCUMENT = Path(__file__).parents[2] / "docs" / "reliability.md"


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--trial", action="append", choices=TRIALS, help="one or more; by default all")
    add("--cases", type=int, help="of each trial, where not its own number")
    add("--write", action="store_true", help="renews their rows in docs/reliability.md")
    args = parser.parse_args()
    outcomes = []
    for name in args.trial or TRIALS:
        outcome = run_trial(name, args.cases or TRIALS[name].cases)
        outcomes.append(outcome)
        print(f"{outcome.describe()}", flush=True)
        if args.write:
            write_rows(make_rows(outcomes))
    print("\n".join(["", *HEADER, *make_rows(outcomes).values()]))
    sys.exit(1 if any(outcome.faults for outcome in outcomes) else 0)


def write_rows(rows):
    """Puts rows ({trial: row}) into docs/reliability.md, beside those of the other trials."""
    text = DOCUMENT.read_text(encoding="utf-8")
    there = {line.split(" | ")[0].strip("| "): line for line in text.splitlines() if "|" in line}
    there |= {TRIALS[name].what: row for name, row in rows.items()}
    kept = [there[trial.what] for trial in TRIALS.values() if trial.what in there]
    table = "\n".join([*HEADER, *kept])
    marked = r"(<!-- trials -->\n).*(<!-- end -->)"
    text = re.sub(marked, lambda mark: f"{mark[1]}\n{table}\n\n{mark[2]}", text, flags=re.DOTALL)
    write_text(DOCUMENT, text)


if __name__ == "__main__":
    main()
