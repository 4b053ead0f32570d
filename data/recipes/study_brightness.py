"""Are groups drawn darker or lighter than they are? Writes brightness.csv.

Means moved outward exaggerate what tells groups apart, and shares and classifier features say
nothing of it. So: the mean brightness of the middle of the face, for each group as classified,
beside that of held-out faces of the group. With ``--factors``, the same for other
factors than the world's own, with even components and no pilot.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from make_faces import FaceMaker, applicable
from scipy.stats import norm
from tables import Table

from fairgen_utils.datasets import read_faces
from fairgen_utils.generate import Sampler
from fairgen_utils.judge import brightness
from fairgen_utils.load import load_world
from fairgen_utils.localize import localize_mixture

METHODS = ("plain", "localized_pilot", "overshoot", "bottleneck")
METHODS += ("guided", "guided_pilot", "guided_goals", "guided_goals_pilot")
SWEEP_FACES, SEED = 1200, 40_000  # for each of --factors


def rows_of(world, method, images, labels, seed=None):
    """Mean (with 95 % interval) and standard deviation of brightness, group by group.

    Groups are those of the second cell attribute; real faces have no seed.
    """
    attribute, found = world.cell_attributes[1], brightness(images)
    rows = []
    for g, group in enumerate(world.groups(attribute)):
        own = found[labels[attribute] == g]
        row = {"world": world.name, "method": method, "attribute": attribute, "group": group}
        row |= {"seed": seed, "n": len(own), "brightness": own.mean(), "deviation": own.std()}
        low, high = norm.interval(0.95, own.mean(), own.std() / np.sqrt(len(own)))
        rows.append({**row, "brightness_low": low, "brightness_high": high})
    return rows


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--world", required=True)
    arguments.add_argument("--photographs", type=Path, required=True, help="data/heads or a zip")
    arguments.add_argument("--heldout", default="heldout", help="split to compare with")
    arguments.add_argument("--methods", nargs="*", default=METHODS, choices=METHODS)
    arguments.add_argument("--faces", type=Path, default=Path("runs/faces"))
    arguments.add_argument("--n", type=int, default=2000, help="faces in each file of --faces")
    arguments.add_argument("--factors", type=float, nargs="*", default=[], help="to move means by")
    arguments.add_argument("--out", type=Path, default=Path("data/results/brightness.csv"))
    options = arguments.parse_args()
    world = load_world(options.world)
    maker = FaceMaker(load_world(options.world, dtype=torch.bfloat16), options.n, options.faces)
    table = Table(options.out, ["world", "method", "group"], text=["seed"])  # real faces: none
    heldout = read_faces(options.photographs, options.heldout)
    table.add(rows_of(world, "real", np.asarray(heldout.images[:]), heldout.labels))
    for method in [m for m in options.methods if m in applicable(world)]:
        images = maker.faces(method, 0).images
        table.add(rows_of(world, method, images, world.classify(images).labels, seed=0))
    for factor in options.factors:
        moved = localize_mixture(maker.world, world.target).extrapolate_means(factor)
        k = len(moved.weights_)
        sampler = Sampler(maker.world, start=moved, weights=np.full(k, 1 / k))
        sample = sampler.draw(SWEEP_FACES, SEED)
        labels = sample.predictions.labels
        table.add(rows_of(world, f"overshoot {factor:g}", sample.images, labels, SEED))


if __name__ == "__main__":
    main()
