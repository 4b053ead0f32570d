"""Does a world's generator copy its training faces? Nearest neighbours, against held-out faces.

    python data/recipes/study_memorization.py --world utkface --photographs UTKFace.zip

A face that was copied lies nearer to a training face than one that nobody could have copied. For
every crowd of faces the distance to the nearest training face is measured among the classifier's
features and among pixels; memorization.csv gets their quantiles, and the share that comes nearer
than the nearest hundredth of the held-out ones.

Would this find a copy? Training faces sent through the autoencoder and moved by a pixel are copies
for sure, as near as a generator could make them. One half of those says how near copies lie:
`as_near` is the share of a crowd within the distance that holds 95 % of them. The other half is a
crowd of its own, the positive control.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from make_faces import FaceMaker
from PIL import Image
from sklearn.neighbors import NearestNeighbors
from tables import Table

from fairgen_utils.datasets import read_faces
from fairgen_utils.load import load_world
from fairgen_utils.measure import share_intervals
from fairgen_utils.models.diffusion import decode, encode

PIXELS = 32  # pictures are compared at this size: a copy shifted by a pixel is still a copy
NEAREST = 0.01
COPIES, FOUND = 1000, 0.95  # copies made, and the share of them that must count as found


def small(images):
    """Pictures as points: (n, 32 * 32 * 3), float32, in [0, 1]."""
    resized = [np.asarray(Image.fromarray(i).resize((PIXELS, PIXELS), Image.BOX)) for i in images]
    return np.stack(resized).reshape(len(images), -1).astype(np.float32) / 255


def nearest(points, training):
    """Distance of every point to its nearest training point, per dimension: root mean square."""
    search = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(training)
    return search.kneighbors(points)[0][:, 0] / training.shape[1] ** 0.5


def copies_of(world, training, n, seed):
    """Training faces through the autoencoder, moved by a pixel: what a copying generator makes."""
    chosen = np.random.default_rng(seed).choice(len(training), n, replace=False)
    made = decode(world.pipeline, encode(world.pipeline, training[np.sort(chosen)]), progress=False)
    return np.concatenate([made[:, :, :1], made[:, :, :-1]], 2)


def rare_cells(world):
    """Cells of the target with less than half an even share of the training faces, or the rarest.

    What a generator has seen few of it might copy, and guidance asks for it most often.
    """
    shares = world.training_shares(world.target)
    rare = np.flatnonzero(shares < 0.5 / len(shares))
    return rare if len(rare) else np.array([shares.argmin()])


def guided_crowds(world, maker, seeds):
    """Plain faces, guided ones, and those that were guided to rare cells."""
    found = [maker.faces("guided", seed) for seed in seeds]
    guided = np.concatenate([faces.images for faces in found])
    rare = np.isin(np.concatenate([faces.cells for faces in found]), rare_cells(world))
    crowds = {"generated": maker.faces("plain", seeds[0]).images, "guided": found[0].images}
    return crowds | {"guided, rare cells": guided[rare]}


def rows_of(distances, which):
    """A row for every crowd of one space: quantiles, and the shares that lie near."""
    limits = {"nearer": np.quantile(distances["held-out"], NEAREST)}
    copies = np.random.default_rng(0).permutation(distances["copies"])
    known, asked = np.array_split(copies, 2)
    limits["as_near"] = np.quantile(known, FOUND)
    for faces, found in (distances | {"copies": asked}).items():
        row = which | {"faces": faces, "n": len(found)}
        row |= {f"q{100 * q:02.0f}": np.quantile(found, q) for q in (0.01, 0.1, 0.5)}
        for name, limit in limits.items():
            near = (found < limit).astype(int)
            low, high = share_intervals(near, 2)[1]
            row |= {name: near.mean(), f"{name}_low": low, f"{name}_high": high}
        yield row


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--world", required=True)
    arguments.add_argument("--photographs", type=Path, required=True, help="data/heads or a zip")
    arguments.add_argument("--heldout", default="heldout", help="split that no training run saw")
    arguments.add_argument("--faces", type=Path, default=Path("runs/faces"))
    arguments.add_argument("--n", type=int, default=2000, help="faces in each file of --faces")
    arguments.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    arguments.add_argument("--out", type=Path, default=Path("data/results"))
    options = arguments.parse_args()
    table = Table(options.out / "memorization.csv", ["world", "space", "faces"])
    if all(table.has(world=options.world, space=space) for space in ("features", "pixels")):
        print(f"{options.world}: all is in {table.path}; delete its rows to measure anew")
        return
    world = load_world(options.world)
    training = np.asarray(read_faces(options.photographs, "train").images[:])
    maker = FaceMaker(load_world(options.world, dtype=torch.bfloat16), options.n, options.faces)
    crowds = {
        "held-out": np.asarray(read_faces(options.photographs, options.heldout).images[:]),
        "copies": copies_of(world, training, COPIES, seed=0),
        **guided_crowds(world, maker, options.seeds),
    }
    # the mirror image of a training face was trained on, too
    both = np.concatenate([training, training[:, :, ::-1]])
    spaces = {
        "features": lambda images: world.classify(images, progress=True).features,
        "pixels": small,
    }
    for space, points in spaces.items():
        reference = points(both)
        distances = {faces: nearest(points(i), reference) for faces, i in crowds.items()}
        which = {"world": world.name, "space": space, "training": len(training)}
        table.add(list(rows_of(distances, which)))


if __name__ == "__main__":
    main()
