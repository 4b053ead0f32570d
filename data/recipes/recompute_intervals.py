"""Intervals and floors of results that are already measured, computed anew from their shares.

    python data/recipes/recompute_intervals.py --worlds heads utkface

shares.csv tells how many of how many faces fell into each group; intervals of FD and noise floors
follow from that and from the judge's errors on its held-out faces, without a single new face. So
fairness.csv, and of judges.csv the rows of the first judge, can follow a change of how intervals
are made. A row is changed only where its shares give the two FDs that it holds, to the last digit;
the others are counted by method. Those need their faces: of rejection no shares are kept, and the
intervals of guided faces follow from the cells that quotas led them to.
"""

import argparse
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
from sources import WORLDS
from tqdm import tqdm

from fairgen_utils._files import write_whole
from fairgen_utils.judge import audit_fairness
from fairgen_utils.load import Predictions, load_world

ENDS = ["fd_low", "fd_high", "fd_floor95", "fd_corrected_low", "fd_corrected_high"]
DIGITS = 5  # of the tables


def counts_of(shares, world, method, attribute, seed, n):
    """Faces in each group, or None where the tables don't tell."""
    if method.startswith("guided"):
        return None
    rows = shares.query(
        "world == @world.name and method == @method and attribute == @attribute and seed == @seed"
    ).set_index("group")
    if rows.empty or (rows["n"] != n).any():
        return None
    return np.rint(rows["share"].reindex(world.groups(attribute)).to_numpy() * n).astype(int)


def audit(world, attribute, counts, seed):
    """What an audit says of so many faces in each group."""
    labels, names = np.repeat(np.arange(len(counts)), counts), world.names(attribute)
    sizes = [len(world.attributes[name]) for name in names]
    each = dict(zip(names, np.unravel_index(labels, sizes), strict=True))
    return audit_fairness(world, Predictions(each, {}, None), attribute, seed=seed)


def renew(row, world, counts, seed):
    """The row with new ends, or None where its FD is not that of these counts."""
    if counts is None or counts.sum() != row["n"]:
        return None
    found = audit(world, row["attribute"], counts, seed)
    if any(abs(found[name] - row[name]) > 10**-DIGITS for name in ("fd", "fd_corrected")):
        return None
    return row | {name: round(found[name], DIGITS) for name in ENDS}


def renewed(table, worlds, counts_of_row):
    """The table with new ends, and of every method the number of rows that keep theirs."""
    rows, kept = [], Counter()
    for row in tqdm(table.to_dict("records"), desc="rows"):
        found = row
        if row["world"] in worlds and not np.isnan(row["fd"]):
            counts, seed = counts_of_row(row, worlds[row["world"]])
            found = renew(row, worlds[row["world"]], counts, seed)
            if found is None:
                kept[f"{row['method']} {row.get('judge', '')}".strip()] += 1
        rows.append(row if found is None else found)
    return pd.DataFrame(rows, columns=table.columns), kept


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--worlds", nargs="+", default=WORLDS)
    arguments.add_argument("--results", type=Path, default=Path("data/results"))
    options = arguments.parse_args()
    worlds = {name: load_world(name) for name in options.worlds}
    fairness, shares, judges = (
        pd.read_csv(options.results / f"{name}.csv") for name in ("fairness", "shares", "judges")
    )
    seeds = fairness.groupby(["world", "method"])["seed"].unique()

    def of_one(row, world):
        which = (row["method"], row["attribute"], row["seed"], row["n"])
        return counts_of(shares, world, *which), row["seed"]

    def of_all(row, world):
        """The first judge sees the faces of all seeds at once."""
        if row["judge"] != "first":
            return None, 0
        drawn = seeds[row["world"], row["method"]]
        which = (shares, world, row["method"], row["attribute"])
        parts = [counts_of(*which, seed, row["n"] / len(drawn)) for seed in drawn]
        return None if any(part is None for part in parts) else sum(parts), 0

    for name, table, counts in (("fairness", fairness, of_one), ("judges", judges, of_all)):
        table, kept = renewed(table, worlds, counts)
        write_whole(options.results / f"{name}.csv", table.to_csv(index=False))
        rest = ", ".join(f"{n} of {what}" for what, n in sorted(kept.items()))
        done = len(table) - kept.total()
        print(f"{name}.csv: {done} rows follow their shares; as before: {rest}")


if __name__ == "__main__":
    main()
