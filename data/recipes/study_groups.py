"""For whom did faces get better, for whom worse? Each group's change of distance, with intervals.

For every method and group, its faces and plain sampling's are held against real faces of that same
group, in the world's features. As many of each cell of the target are taken of both, so that
evenness within the group can't help. group_changes.csv gets both Frechet distances and their
difference; its 95 % interval is of bootstrap samples within cells ("basic": their excess over what
was measured is taken off, since a resampled crowd always lies further away). The faces are those
that make_faces.py made.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from make_faces import FaceMaker
from sources import WORLDS
from tables import Table
from tqdm import tqdm

from fairgen_utils.judge import frechet_distance
from fairgen_utils.load import load_world
from fairgen_utils.models.world import Predictions

METHODS = ("overshoot", "guided", "guided_pilot")
DRAWS = 200  # bootstrap samples


def matched(world, plain, changed, attribute, group):
    """Features of a group's faces, plain and changed: a list over cells, as many of each cell."""
    pairs = []
    for cell in range(len(world.groups(world.target))):
        of_cell = [
            f.features[
                (f.labels[attribute] == group) & (world.joint(f.labels, world.target) == cell)
            ]
            for f in (plain, changed)
        ]
        n = min(map(len, of_cell))
        pairs.append([features[:n] for features in of_cell])
    return [[pair[which] for pair in pairs if len(pair[0])] for which in (0, 1)]


def change_rows(world, plain, changed, draws, rng):
    """A row for each group: how far plain and changed faces of it lie from real ones."""
    for attribute in world.cell_attributes:
        references = world.group_moments(attribute)
        for g, group in enumerate(world.groups(attribute)):

            def distance(cells, reference=references[g]):
                return frechet_distance(np.concatenate(cells), *reference)

            own = matched(world, plain, changed, attribute, g)
            before, after = map(distance, own)
            drawn = [
                [distance([x[rng.integers(len(x), size=len(x))] for x in cells]) for cells in own]
                for _ in range(draws)
            ]
            shifted = 2 * (after - before) - np.diff(drawn, axis=1)[:, 0]
            low, high = np.quantile(shifted, (0.025, 0.975))
            row = {"attribute": attribute, "group": group, "n": sum(map(len, own[0]))}
            row |= {"ffd_plain": before, "ffd": after, "change": after - before}
            yield row | {"change_low": low, "change_high": high}


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--worlds", nargs="+", default=WORLDS)
    arguments.add_argument("--methods", nargs="+", default=METHODS)
    arguments.add_argument("--n", type=int, default=2000, help="faces of each method and seed")
    arguments.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    arguments.add_argument("--draws", type=int, default=DRAWS)
    arguments.add_argument("--faces", type=Path, default=Path("runs/faces"))
    arguments.add_argument("--out", type=Path, default=Path("data/results"))
    options = arguments.parse_args()
    table = Table(options.out / "group_changes.csv", ["world", "method", "attribute", "group"])
    for name in options.worlds:
        known = {"world": name}
        missing = [m for m in options.methods if not table.has(**known, method=m)]
        if not missing:
            continue
        world = load_world(name)  # judges in float32, generates as the tables' faces were
        generator = load_world(name, dtype=torch.bfloat16)
        maker = FaceMaker(generator, options.n, options.faces)

        def read(method, world=world, maker=maker):
            faces = [maker.faces(method, seed).images for seed in options.seeds]
            return Predictions.joined([world.classify(images) for images in faces])

        plain, rng = read("plain"), np.random.default_rng(0)
        for method in tqdm(missing, desc=name):
            rows = change_rows(world, plain, read(method), options.draws, rng)
            table.add([{**known, "method": method, **row} for row in rows])


if __name__ == "__main__":
    main()
