"""What would the hub's face models cost here? Writes hub.csv, with nothing fetched.

Each stand-in has the classes and sizes of a published model, and random weights: its faces are
noise, its memory and time are the model's. Every one walks the road in a process of its own: a
world around it, a mixture of pseudo-labelled latents, plain faces and guided ones.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from diffusers import DDIMScheduler, DDPMPipeline, DDPMScheduler, LDMPipeline, UNet2DModel, VQModel

from fairgen_utils._files import write_whole
from fairgen_utils.generate import Sampler
from fairgen_utils.localize import localize_mixture
from fairgen_utils.models.diffusion import decode
from fairgen_utils.models.own_world import own_world
from fairgen_utils.models.pipeline import latent_shape

STEPS = 4  # of each timed face; a call costs the same in a longer schedule
POOL = 64  # latents that the mixture is fitted on


def pixels_unet(size):
    """Of google/ddpm-celebahq-256, and, at 64 pixels, of diffusers' own training example."""
    return UNet2DModel(
        sample_size=size,
        layers_per_block=2,
        block_out_channels=(128, 128, 256, 256, 512, 512),
        down_block_types=(*["DownBlock2D"] * 4, "AttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "AttnUpBlock2D", *["UpBlock2D"] * 4),
        attention_head_dim=None,
    )


def latents_pipeline():
    """Of CompVis/ldm-celebahq-256."""
    unet = UNet2DModel(
        sample_size=64,
        layers_per_block=2,
        block_out_channels=(224, 448, 672, 896),
        down_block_types=("DownBlock2D", *["AttnDownBlock2D"] * 3),
        up_block_types=(*["AttnUpBlock2D"] * 3, "UpBlock2D"),
        attention_head_dim=32,
    )
    autoencoder = VQModel(
        block_out_channels=(128, 256, 512),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        layers_per_block=2,
        latent_channels=3,
        num_vq_embeddings=8192,
        sample_size=256,
    )
    schedule = {"beta_start": 0.0015, "beta_end": 0.0195, "beta_schedule": "scaled_linear"}
    scheduler = DDIMScheduler(**schedule, clip_sample=False)
    return LDMPipeline(vqvae=autoencoder, unet=unet, scheduler=scheduler)


MODELS = {
    "a DDPM of 64 pixels": lambda: DDPMPipeline(pixels_unet(64), DDPMScheduler()),
    "google/ddpm-celebahq-256": lambda: DDPMPipeline(pixels_unet(256), DDPMScheduler()),
    "CompVis/ldm-celebahq-256": latents_pipeline,
}


def by_brightness(images):
    """Any classifier will do to walk the road: is a face brighter than grey?"""
    return {"tone": np.eye(2)[(images.mean((1, 2, 3)) > 127).astype(int)]}


def walk(name, threads):
    """One stand-in along the road: what it weighs, and how long its parts take."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    pipeline = MODELS[name]()
    shape = latent_shape(pipeline)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there are no labelled faces: there are no faces
        world = own_world(
            pipeline, by_brightness, {"tone": ("dark", "bright")}, num_inference_steps=STEPS
        )
    rng = np.random.default_rng(0)
    pool = rng.standard_normal((POOL, *shape), np.float32)
    world.set_pool(pool, {"tone": np.arange(POOL) % 2})
    mixture, fitting = timed(lambda: localize_mixture(world, "tone", covariance_type="tied"))
    plain = Sampler(world)
    guided = Sampler(world, guide=mixture, first_guided_step=1)
    plain.latents(1, 0, progress=False)  # the first call is slower
    latents, plain_seconds = timed(lambda: plain.latents(1, 0, progress=False)[0])
    _, guided_seconds = timed(lambda: guided.latents(1, 0, progress=False))
    faces, decoding = timed(lambda: decode(pipeline, latents))
    return {
        "model": name,
        "pipeline": type(pipeline).__name__,
        "pixels": faces.shape[1],
        "latent": " x ".join(map(str, shape)),
        "parameters_million": sum(p.numel() for p in pipeline.unet.parameters()) / 1e6,
        "mixture": type(mixture).__name__,
        "covariance_gigabytes": 4 * np.prod(shape, dtype=float) ** 2 / 1e9,
        "threads": threads,
        "seconds_to_fit": fitting,
        "seconds_a_call": plain_seconds / STEPS,
        "seconds_a_guided_call": guided_seconds / STEPS,
        "seconds_to_decode": decoding,
        "peak_gigabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
    }


def timed(function):
    started = time.perf_counter()
    return function(), time.perf_counter() - started


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "results/hub.csv")
    parser.add_argument("--one", choices=MODELS, help="print this model's row, and no file")
    options = parser.parse_args()
    if options.one:
        print(json.dumps(walk(options.one, options.threads)))
        return
    rows = []
    for name in MODELS:
        command = [sys.executable, __file__, "--one", name, "--threads", str(options.threads)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        rows.append(json.loads(done.stdout.splitlines()[-1]))
    table = pd.DataFrame(rows).round(3)
    write_whole(options.out, table.to_csv(index=False, lineterminator="\n"))


if __name__ == "__main__":
    main()
