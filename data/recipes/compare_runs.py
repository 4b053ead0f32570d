"""Compare short trainings that differ in one option each. Writes training_choices.csv.

    python data/recipes/compare_runs.py --world utkface late=runs/a logit-normal=runs/b

Each run is a folder of a training recipe, all from the same weights and of equally many samples;
the last line of its log tells how near to held-out faces it came.
"""

import argparse
from pathlib import Path

from tables import Table
from training import rows_of


def named_run(text):
    """NAME=FOLDER as a name and the rows of the folder's log."""
    name, _, folder = text.partition("=")
    rows = rows_of(Path(folder) / "log.jsonl") if folder else []
    if not rows or "frechet" not in rows[-1]:
        raise argparse.ArgumentTypeError(
            f"found {text!r}; wanted NAME=FOLDER, with a log.jsonl that ends on a Frechet distance"
        )
    return name, rows


def main():
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("runs", nargs="+", type=named_run, metavar="NAME=FOLDER")
    arguments.add_argument("--world", required=True)
    arguments.add_argument("--out", type=Path, default=Path("data/results/training_choices.csv"))
    options = arguments.parse_args()
    samples = {name: rows[-1]["samples"] for name, rows in options.runs}
    if len({*samples.values()}) > 1:
        arguments.error(f"runs: of unequal length, in samples: {samples}")
    table = Table(options.out, ["world", "choice"])
    keys = ("samples", "loss", "frechet", "seconds")
    rows = [{"choice": name, **{key: log[-1][key] for key in keys}} for name, log in options.runs]
    table.add([{"world": options.world, **row} for row in rows])


if __name__ == "__main__":
    main()
