"""Does a world's generator copy its training faces? Nearest neighbours, against held-out faces.

A face that was copied lies nearer to a training face than one that nobody could have copied. For
generated and for held-out faces alike, the distance to the nearest training face is measured among
the classifier's features and among pixels; memorization.csv gets their quantiles, and how many
generated faces come nearer than the nearest hundredth of the held-out ones.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.neighbors import NearestNeighbors
from tables import Table

from fairgen_utils.datasets import read_faces
from fairgen_utils.generate import Sampler
from fairgen_utils.load import load_world
from fairgen_utils.measure import share_intervals

PIXELS = 32  # pictures are compared at this size: a copy shifted by a pixel is still a copy
NEAREST = 0.01


def small(images):
    """Pictures as points: (n, 32 * 32 * 3), float32, in [0, 1]."""
    resized = [np.asarray(Image.fromarray(i).resize((PIXELS, PIXELS), Image.BOX)) for i in images]
    return np.stack(resized).reshape(len(images), -1).astype(np.float32) / 255


def nearest(points, training):
    """Distance of every point to its nearest training point, per dimension: root mean square."""
    search = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(training)
    return search.kneighbors(points)[0][:, 0] / training.shape[1] ** 0.5


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--world", required=True)
    arguments.add_argument("--faces", type=Path, required=True, help="the faces it was trained on")
    arguments.add_argument("--heldout", default="heldout", help="split that no training run saw")
    arguments.add_argument("--n", type=int, default=2000, help="generated faces")
    arguments.add_argument("--seed", type=int, default=90_000)
    arguments.add_argument("--out", type=Path, default=Path("data/results"))
    options = arguments.parse_args()
    world = load_world(options.world)
    training = read_faces(options.faces, "train").images
    crowds = {
        "held-out": read_faces(options.faces, options.heldout).images,
        "generated": Sampler(world).draw(options.n, options.seed).images,
    }
    # the mirror image of a training face was trained on, too
    both = np.concatenate([training, training[:, :, ::-1]])
    spaces = {
        "features": lambda images: world.classify(images, progress=True).features,
        "pixels": small,
    }
    table = Table(options.out / "memorization.csv", ["world", "space", "faces"])
    for space, points in spaces.items():
        reference = points(both)
        distances = {faces: nearest(points(i), reference) for faces, i in crowds.items()}
        limit = np.quantile(distances["held-out"], NEAREST)
        for faces, found in distances.items():
            near = (found < limit).astype(int)
            low, high = share_intervals(near, 2)[1]
            row = {"world": world.name, "space": space, "faces": faces, "n": len(found)}
            row |= {"seed": options.seed, "training": len(training)}
            row |= {f"q{100 * q:02.0f}": np.quantile(found, q) for q in (0.01, 0.1, 0.5)}
            table.add([row | {"nearer": near.mean(), "nearer_low": low, "nearer_high": high}])


if __name__ == "__main__":
    main()
