"""Count what goes with what in a world's own labels. Writes labels.csv.

    python data/recipes/count_labels.py --world celeba --photographs CelebA64.zip

A row for every group of every attribute, within every cell of the world's target: in the training
faces, where a generator and a classifier learn what goes with what, and in the held-out ones, where
a small cell makes a measured gap uncertain. Labels only: no face is drawn and no network asked.
"""

import argparse
from pathlib import Path

import numpy as np
from sources import heldout_of
from tables import Table

from fairgen_utils.datasets import read_faces
from fairgen_utils.load import load_world


def label_rows(world, faces, split):
    """How many faces of each cell of the target have each label of every other attribute."""
    cells, names = world.joint(faces.labels, world.target), world.groups(world.target)
    for attribute, groups in world.attributes.items():
        if attribute in world.target:
            continue
        counts = np.zeros((len(names), len(groups)), int)
        np.add.at(counts, (cells, faces.labels[attribute]), 1)
        for cell, of_cell in zip(names, counts, strict=True):
            for group, n in zip(groups, of_cell, strict=True):
                yield {
                    "world": world.name,
                    "split": split,
                    "cell": cell,
                    "attribute": attribute,
                    "group": group,
                    "n": n,
                    "of": of_cell.sum(),
                }


def main():
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--world", required=True)
    arguments.add_argument("--photographs", type=Path, required=True, help="data/heads or a zip")
    arguments.add_argument("--out", type=Path, default=Path("data/results"))
    options = arguments.parse_args()
    world = load_world(options.world)
    table = Table(options.out / "labels.csv", ["world", "split", "cell", "attribute", "group"])
    for split in ("train", heldout_of(options.world)):
        rows = list(label_rows(world, read_faces(options.photographs, split), split))
        table.add(rows)
        print(f"{options.world} {split}: {len(rows)} rows")


if __name__ == "__main__":
    main()
