"""How much more even is one method than another? Paired by seed, with intervals: differences.csv.

    python data/recipes/measure_differences.py --worlds utkface

Faces of plain and of guided sampling of one seed start from the same noise, so what chance did to
both cancels. Where faces lie in runs/faces, both networks are asked about them, pair by pair.
Methods whose faces are gone are compared by what shares.csv kept of them: by the first network,
and as if no face had anything to do with one of the other method, as holds of methods that start
from other noise. All seeds of --seeds are taken together.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from make_faces import FaceMaker, applicable
from measure_worlds import by_quotas
from recompute_intervals import counts_of
from sources import WORLDS
from tables import Table

from fairgen_utils.load import load_world
from fairgen_utils.measure import paired_difference

PAIRS = (
    *(("guided", "plain"), ("guided_pilot", "plain"), ("guided_goals", "plain")),
    *(("guided_pilot", "guided"), ("guided", "localized_pilot"), ("guided", "overshoot")),
    *(("guided_pilot", "localized_pilot"), ("guided_pilot", "overshoot"), ("overshoot", "plain")),
    *(("guided_goals", "goals"), ("guided", "guidance"), ("guided_pilot", "bottleneck")),
    *(("guided_goals_pilot", "plain"), ("guided_goals_pilot", "guided_goals")),
)


class Labels:
    """What judges say of a method's faces: labels of an attribute, and the cells of quotas."""

    def __init__(self, world, maker, judges, seeds, results):
        self.world, self.maker, self.judges, self.seeds = world, maker, judges, seeds
        self.shares = pd.read_csv(results / "shares.csv")
        self.said, self.cells = {}, {}

    def has_faces(self, method):
        """Whether all seeds' faces of the method lie there."""
        folder = self.maker.folder
        return all((folder / f"{method}_{seed}.npz").exists() for seed in self.seeds)

    def of(self, method, judge, attribute):
        """Labels and cells of all seeds; no labels where nobody can tell, no cells without any."""
        if self.has_faces(method):
            if (method, judge) not in self.said:
                faces = [self.maker.faces(method, seed) for seed in self.seeds]
                images = np.concatenate([found.images for found in faces])
                self.said[method, judge] = self.judges[judge].classify(images).labels
                cells = [by_quotas(method, found) for found in faces]
                self.cells[method] = None if cells[0] is None else np.concatenate(cells)
            labels = self.said[method, judge]
            return self.world.joint(labels, attribute), self.cells[method]
        if judge != "first":
            return None, None
        counts = [
            counts_of(self.shares, self.world, method, attribute, seed, self.maker.n)
            for seed in self.seeds
        ]
        if any(found is None for found in counts):
            return None, None
        labels = [np.repeat(np.arange(len(found)), found) for found in counts]
        # which face was which is forgotten: any order has nothing to do with the other method's
        return np.random.default_rng(0).permutation(np.concatenate(labels)), None


def difference_row(world, judge, attribute, a, b):
    """FD of the first less that of the second, of corrected shares, with its interval."""
    (labels_a, cells_a), (labels_b, cells_b) = a, b
    found = paired_difference(
        labels_a,
        labels_b,
        len(world.groups(attribute)),
        confusion=judge.confusion_counts(attribute),
        cells_a=cells_a,
        cells_b=cells_b,
    )
    return {"n": len(labels_a), **found._asdict()}


def main():
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--worlds", nargs="+", default=WORLDS)
    arguments.add_argument("--faces", type=Path, default=Path("runs/faces"))
    arguments.add_argument("--n", type=int, default=2000, help="faces of each method and seed")
    arguments.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    arguments.add_argument("--out", type=Path, default=Path("data/results"))
    options = arguments.parse_args()
    keys = ["world", "method", "other", "attribute", "judge"]
    table = Table(options.out / "differences.csv", keys)
    for name in options.worlds:
        world = load_world(name)
        judges = {"first": world, "second": world.second_judge()}
        generator = load_world(name, dtype=torch.bfloat16)
        maker = FaceMaker(generator, options.n, options.faces)
        labels = Labels(world, maker, judges, options.seeds, options.out)
        wanted = [world.text(world.target), *world.cell_attributes]
        for method, other in PAIRS:
            if not {method, other} <= set(applicable(world)):
                continue
            print(f"{name} {method} - {other}", flush=True)
            for judge, attribute in [(j, a) for j in judges for a in wanted]:
                both = [labels.of(m, judge, attribute) for m in (method, other)]
                if any(said is None for said, _ in both):
                    continue
                which = dict(zip(keys, (name, method, other, attribute, judge), strict=True))
                row = difference_row(world, judges[judge], attribute, *both)
                table.add([which | row])


if __name__ == "__main__":
    main()
