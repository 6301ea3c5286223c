"""python -m tests.endurance: all trials, and the table of docs/reliability.md.

python -m tests.endurance --write
python -m tests.endurance --trial power --trial folds --cases 1000
"""

import argparse
import re
import sys
from pathlib import Path

from support.files import write_text
from tests.endurance.trials import TRIALS, make_table, run_trial

DOCUMENT = Path(__file__).parents[2] / "docs" / "reliability.md"


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--trial", action="append", choices=TRIALS, help="one or more; by default all")
    add("--cases", type=int, help="of each trial, where not its own number")
    add("--write", action="store_true", help="renews the table in docs/reliability.md")
    args = parser.parse_args()
    if args.write and (args.trial or args.cases):
        parser.error("--write renews the whole table: give neither --trial nor --cases.")
    outcomes = []
    for name in args.trial or TRIALS:
        outcome = run_trial(name, args.cases or TRIALS[name].cases)
        outcomes.append(outcome)
        print(f"{outcome.describe()}", flush=True)
        if args.write:
            write_table(make_table(outcomes))
    print(f"\n{make_table(outcomes)}")
    sys.exit(1 if any(outcome.faults for outcome in outcomes) else 0)


def write_table(table):
    """Puts the table between the marks of docs/reliability.md."""
    text = re.sub(
        r"(<!-- trials -->\n).*(<!-- end -->)",
        lambda mark: f"{mark[1]}\n{table}\n\n{mark[2]}",
        DOCUMENT.read_text(encoding="utf-8"),
        flags=re.DOTALL,
    )
    write_text(DOCUMENT, text)


if __name__ == "__main__":
    main()
