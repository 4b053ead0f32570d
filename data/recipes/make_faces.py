"""Make the faces that the methods are judged by: every world, method and seed, once.

    python data/recipes/make_faces.py --worlds heads --dtype bfloat16

Faces go to runs/faces/WORLD/METHOD_SEED.npz, each file written whole or not at all, with the
fingerprint of what made it. What is there is not made again, so a killed run goes on where it was;
what another world or other settings made is refused by name. The measuring scripts read them
there, and make what is missing. Delete files to make them again.
"""

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from sources import WORLDS

from fairgen_utils._files import check_same, fingerprint, write_arrays
from fairgen_utils.load import load_world
from fairgen_utils.rivals import METHODS, even, left_out, prepare
from fairgen_utils.rivals.selection import rejection_sample

ALL = (*METHODS, "rejection")
MOST_BATCHES = 60  # of rejection sampling, before it is given up


def applicable(world):
    """The methods that are of use: several goals only where the target leaves something out."""
    return [name for name in ALL if "goals" not in name or left_out(world)]


@dataclass
class Faces:
    """Generated faces of one method and seed, and what they cost.

    Attributes
    ----------
    images : ndarray, shape (n, 64, 64, 3), uint8
    nfe : float
        Number of function evaluations: calls of the U-Net for each face kept.
    preparation : float
        Calls of the U-Net before the first face, once for all seeds.
    seconds : float
        Denoising and decoding, for all of them.
    timestep, components : int
    cells : ndarray of int
        The component each face started from, or the cell it was led to; empty where there is none.
    pool : ndarray of int
        Cells (of all the world's cell attributes) of the faces that a selection was made from;
        empty where none was made.
    """

    images: np.ndarray
    nfe: float
    preparation: float
    seconds: float
    timestep: int
    components: int
    cells: np.ndarray
    pool: np.ndarray


class FaceMaker:
    """Makes faces of one world, or finds them where they were made before.

    Methods are prepared once, so the seeds tell how much the judged faces vary, not how much
    another pilot would have changed the weights. All methods draw from the same seeds: faces of
    the same seed under plain and guided sampling are pairs.
    """

    def __init__(self, world, n, folder):
        self.world, self.n, self.folder = world, n, Path(folder) / world.name
        self.prepared = {}

    def faces(self, method, seed):
        """The `n` faces of a method and seed."""
        path = self.folder / f"{method}_{seed}.npz"
        world = self.world
        settings = {"method": method, "n": self.n, "seed": seed, "target": world.text(world.target)}
        settings |= {"strength": world.strength, "first_guided_step": world.first_guided_step}
        settings |= {"extrapolation": world.extrapolation, "timestep": world.timestep}
        settings["num_inference_steps"] = world.num_inference_steps
        made_by = fingerprint(world, settings)
        if path.exists():
            with np.load(path) as stored:
                kept = {key: stored[key] for key in stored.files}
            check_same(json.loads(str(kept.pop("fingerprint"))), made_by, f"faces: {path}")
            return Faces(**{k: v if v.ndim else v.item() for k, v in kept.items()})
        print(f"{world.name} {method} seed {seed}", flush=True)
        made = self._reject(seed) if method == "rejection" else self._draw(method, seed)
        self.folder.mkdir(parents=True, exist_ok=True)
        write_arrays(path, **vars(made), fingerprint=json.dumps(made_by))
        return made

    def method(self, name):
        """The method's sampler, prepared."""
        if name not in self.prepared:
            self.prepared[name] = prepare(self.world, name)
        return self.prepared[name]

    def _draw(self, name, seed):
        sampler = self.method(name)
        sample = sampler.draw(self.n, seed, classify=False)
        none = np.zeros(0, np.int64)
        return Faces(
            sample.images,
            sampler.nfe,
            sampler.preparation,
            sample.seconds,
            sampler.timestep,
            0 if sampler.weights is None else len(sampler.weights),
            none if sample.components is None else sample.components,
            none,
        )

    def _reject(self, seed):
        """Plain faces, as many as it takes to fill every group's quota by the classifier's word."""
        world, target = self.world, even(self.world, self.world.target)
        first = self.faces("plain", seed)
        plain, images, seconds = self.method("plain"), [first.images], first.seconds
        found = [world.classify(first.images).labels]
        for batch in range(MOST_BATCHES):
            labels = {name: np.concatenate([part[name] for part in found]) for name in found[0]}
            kept, used = rejection_sample(world.joint(labels, world.target), target, self.n, seed)
            if len(kept) == self.n:
                break
            started = time.perf_counter()
            more = plain.draw(self.n, 30_000 + 1000 * seed + batch, classify=False).images
            seconds += time.perf_counter() - started
            images.append(more)
            found.append(world.classify(more).labels)
        else:
            raise RuntimeError(f"no {self.n} faces to keep among {MOST_BATCHES * self.n}")
        cells = world.joint(labels, world.cell_attributes)
        share = used / len(cells)
        nfe = plain.nfe * used / self.n
        chosen, none = np.concatenate(images)[kept], np.zeros(0, np.int64)
        return Faces(chosen, nfe, 0.0, seconds * share, plain.timestep, 0, none, cells)


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--worlds", nargs="+", default=WORLDS)
    arguments.add_argument("--methods", nargs="*", default=ALL, choices=ALL)
    arguments.add_argument("--n", type=int, default=2000, help="faces of each method and seed")
    arguments.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    arguments.add_argument("--faces", type=Path, default=Path("runs/faces"))
    arguments.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments.add_argument(
        "--dtype", choices=("float32", "bfloat16"), default="bfloat16", help="of the networks"
    )
    options = arguments.parse_args()
    for name in options.worlds:
        world = load_world(name, device=options.device, dtype=getattr(torch, options.dtype))
        maker = FaceMaker(world, options.n, options.faces)
        for method in [m for m in options.methods if m in applicable(world)]:
            for seed in options.seeds:
                maker.faces(method, seed)


if __name__ == "__main__":
    main()
