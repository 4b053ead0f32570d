"""Where should a sampler's few steps lie? Writes sampler.csv.

    python data/recipes/study_sampler.py --world heads --photographs data/heads

The shipped solver, with its steps even in time or even in the log of signal over noise, and more or
fewer of them. For each: the Frechet distance to held-out faces by both networks, and the spread of
faces along the direction in which training faces' latents differ most, light and colour, as a
share of the variance of training faces. Below 1, faces come out more alike than those.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from diffusers import DPMSolverMultistepScheduler
from scipy.stats import f
from sklearn.decomposition import PCA
from tables import Table

from fairgen_utils.datasets import read_faces
from fairgen_utils.generate import Sampler
from fairgen_utils.judge import audit_quality
from fairgen_utils.load import load_world
from fairgen_utils.models.diffusion import decode, encode

SPACINGS = {"time": False, "log signal over noise": True}
STEPS = (8, 15, 30)
SEED = 120_000


def principal_axis(world, faces):
    """The direction in which latents of faces differ most, and how far along it each one lies."""
    latents = encode(world.pipeline, faces).reshape(len(faces), -1)
    axis = PCA(1, svd_solver="randomized", random_state=0).fit(latents).components_[0]
    return axis, latents @ axis


def variance_ratio(found, real):
    """Variance of `found` over that of `real`, with its 95 % interval were both Gaussian."""
    ratio = found.var(ddof=1) / real.var(ddof=1)
    high, low = ratio / f.ppf((0.025, 0.975), len(found) - 1, len(real) - 1)
    return {"variance": ratio, "variance_low": low, "variance_high": high}


def row_of(world, judge, spacing, steps, n, axis, real):
    """What comes of one spacing of the steps."""
    usual = world.pipeline.scheduler
    world.pipeline.scheduler = DPMSolverMultistepScheduler.from_config(
        usual.config, use_lu_lambdas=SPACINGS[spacing]
    )
    try:
        latents, _ = Sampler(world, num_inference_steps=steps).latents(n, SEED)
    finally:
        world.pipeline.scheduler = usual
    images = decode(world.pipeline, latents)
    row = {"world": world.name, "spacing": spacing, "steps": steps, "n": n, "seed": SEED}
    row |= variance_ratio(latents.reshape(n, -1) @ axis, real)
    row |= {"ffd": audit_quality(world, world.classify(images))["ffd"]}
    return row | {"ffd_second": audit_quality(judge, judge.classify(images))["ffd"]}


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--world", required=True)
    arguments.add_argument("--photographs", type=Path, required=True, help="data/heads or a zip")
    arguments.add_argument("--n", type=int, default=1000, help="faces of each sampler")
    arguments.add_argument("--out", type=Path, default=Path("data/results/sampler.csv"))
    options = arguments.parse_args()
    world = load_world(options.world, dtype=torch.bfloat16)
    judge = load_world(options.world).second_judge()
    table = Table(options.out, ["world", "spacing", "steps"])
    axis = None
    for spacing in SPACINGS:
        for steps in STEPS:
            if table.has(world=world.name, spacing=spacing, steps=steps):
                continue
            if axis is None:
                training = read_faces(options.photographs, "train")
                some = np.random.default_rng(SEED).permutation(len(training))[: options.n]
                axis, real = principal_axis(world, np.asarray(training.images[np.sort(some)]))
            print(f"{world.name} {steps} steps even in {spacing}", flush=True)
            table.add([row_of(world, judge, spacing, steps, options.n, axis, real)])


if __name__ == "__main__":
    main()
