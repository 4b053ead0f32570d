"""How often the intervals of FD hold the FD they are asked for: data/results/coverage.csv.

For every setting, generators of a known FD are made up, their faces drawn and labelled, and the
interval of `fd_interval` computed as an audit would. With correction, every replicate has a
classifier of its own, right for three faces in four, and its confusion matrix is counted on few
held-out faces: 3,000 in all, and at least 100 of each group. Of many settings some cover too
seldom by chance: those below LEAST are simulated again, ten times as often, by other draws.
Settings are written as soon as they are simulated; a killed run picks up where it stopped. Delete
rows to simulate them again.
"""

import argparse
import itertools
import multiprocessing
import os
from pathlib import Path

import numpy as np
from tables import Table
from tqdm import tqdm

from fairgen_utils.measure import fd_interval

FD, GROUPS, FACES = (0, 0.02, 0.05, 0.1, 0.3), (2, 3, 6, 8, 18), (200, 1000, 2000, 6000)
LEAST = 0.935
RIGHT = 0.75  # of a made-up classifier's labels, plus what its errors hit by chance


def shares_at(fd, n_groups, rng):
    """Random shares at this distance from even ones: any way off, or, for far ones, one-sided."""
    even = np.full(n_groups, 1 / n_groups)
    while True:
        for way in (rng.standard_normal(n_groups), rng.dirichlet(np.full(n_groups, 0.5))):
            way = way - way.mean()
            shares = even + fd * way / np.linalg.norm(way)
            if (shares >= 0).all():
                return shares


def classifier(n_groups, rng):
    """P(predicted | true) of a made-up classifier, and its counts on held-out faces."""
    errors = rng.dirichlet(np.ones(n_groups), size=n_groups)
    rates = RIGHT * np.eye(n_groups) + (1 - RIGHT) * errors
    return rates, rng.multinomial(max(3000 // n_groups, 100), rates)


def replicate(fd, n_groups, n, corrected, rng):
    """One generator of that FD, measured once: lower and upper end of its interval."""
    shares, counts = shares_at(fd, n_groups, rng), None
    if corrected:
        rates, counts = classifier(n_groups, rng)
        shares = shares @ rates
    labels = np.repeat(np.arange(n_groups), rng.multinomial(n, shares))
    return fd_interval(labels, n_groups, confusion=counts, seed=rng)


def simulate(setting):
    """The row of one setting."""
    fd, n_groups, n, corrected, replicates, *again = setting
    rng = np.random.default_rng([round(fd * 100), n_groups, n, corrected, *again])
    ends = [replicate(fd, n_groups, n, corrected, rng) for _ in range(replicates)]
    low, high = np.array(ends).T
    held = (low <= fd + 1e-12) & (fd <= high + 1e-12)
    return {
        **{"n_groups": n_groups, "n": n, "fd": fd, "corrected": int(corrected)},
        **{"replicates": replicates, "coverage": held.mean(), "width": (high - low).mean()},
        **{"too_high": (low > fd + 1e-12).mean(), "too_low": (high < fd - 1e-12).mean()},
    }


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--replicates", type=int, default=2000)
    arguments.add_argument("--processes", type=int, default=2)
    arguments.add_argument("--out", type=Path, default=Path("data/results/coverage.csv"))
    options = arguments.parse_args()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    table = Table(options.out, ["n_groups", "n", "fd", "corrected"])
    settings = [
        (fd, k, n, corrected, options.replicates)
        for corrected, k, n, fd in itertools.product((False, True), GROUPS, FACES, FD)
        if not table.has(fd=fd, n_groups=k, n=n, corrected=int(corrected))
    ]
    most = 10 * options.replicates

    def doubtful():
        low = table.rows.query("coverage < @LEAST and replicates < @most")
        rows = low[["fd", "n_groups", "n", "corrected"]].itertuples(index=False)
        return [(float(fd), int(k), int(n), int(c), most, 1) for fd, k, n, c in rows]

    os.environ["OMP_NUM_THREADS"] = "1"  # matrices this small are slower on several threads
    context = multiprocessing.get_context("spawn")
    with context.Pool(options.processes) as pool:
        for todo in (lambda: settings, doubtful):
            found = todo()
            for row in tqdm(pool.imap(simulate, found), total=len(found), desc="settings"):
                table.add([row])


if __name__ == "__main__":
    main()
