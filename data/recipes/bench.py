"""How fast is each way to make faces? Side by side, in one run, on the machine at hand.

    python data/recipes/bench.py --worlds heads

Rounds go through all ways in turn, so that a slow moment of the machine hits them alike; the
fastest round counts. Also printed: the share of the machine's measured matrix-multiply peak that
the U-Net reaches, and how far our faces differ from those of plain diffusers for the same noise.
Nothing is written unless --out is given.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from diffusers import DiffusionPipeline
from sources import WORLDS
from tables import Table
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

from fairgen_utils.generate import Sampler, recommended_sampler
from fairgen_utils.load import load_world
from fairgen_utils.localize import localize_mixture
from fairgen_utils.models.diffusion import decode, denoise
from fairgen_utils.models.mixture import LatentMixture
from fairgen_utils.models.pipeline import latent_shape, quiet_diffusers, timesteps_of
from fairgen_utils.rivals import prepare
from fairgen_utils.rivals.starts import N_COMPONENTS

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
CLASSIFIED = "plain and classified, bfloat16"
SIZES = (256, 512, 1024, 2048)  # of the square matrices that the peak is sought with


def best_of(rounds, function):
    """Seconds of the fastest call."""
    seconds = []
    for _ in range(rounds):
        started = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def matmul_peak(dtype):
    """The most floating-point operations a second that a matrix product reaches here.

    As a product of matrices or as a convolution of one pixel, which is the same but may take
    another library's code: the faster counts.
    """
    rates = []
    for size in SIZES:
        a, b = torch.randn(2, size, size).to(dtype)
        rates.append(2 * size**3 / best_of(6, lambda a=a, b=b: a @ b))
        pixels = torch.randn(64, size, 8, 8).to(dtype).to(memory_format=torch.channels_last)
        kernel = torch.randn(size, size, 1, 1).to(dtype)
        seconds = best_of(6, lambda p=pixels, k=kernel: torch.nn.functional.conv2d(p, k))
        rates.append(2 * 64 * 64 * size**2 / seconds)
    return max(rates)


def unet_rates(worlds):
    """Calls of the U-Net a second, and their share of the peak, in each precision."""
    rows = []
    for name, world in worlds.items():
        unet = world.pipeline.unet
        batch = torch.randn(64, *latent_shape(world.pipeline)).to(DTYPES[name])
        with torch.inference_mode():
            with FlopCounterMode(display=False) as counter:
                unet(batch[:1], 500)
            calls = len(batch) / best_of(5, lambda unet=unet, batch=batch: unet(batch, 500))
        peak = matmul_peak(DTYPES[name])
        share = calls * counter.get_total_flops() / peak
        rows += [
            (f"matrix multiply, {name}, GFLOP/s", peak / 1e9),
            (f"U-Net calls/s, {name}", calls),
            (f"U-Net's share of that peak, {name}", share),
        ]
    return rows


def fit_seconds(world):
    """Seconds to fit a mixture without labels, and one Gaussian per cell."""
    latents, labels = world.latents()
    cells = world.joint(labels, world.target)
    found, localized = LatentMixture(N_COMPONENTS), LatentMixture()
    return [
        ("fit a mixture, seconds", best_of(1, lambda: found.fit(latents))),
        ("fit a Gaussian per cell, seconds", best_of(1, lambda: localized.fit(latents, cells))),
    ]


def ways(diffusers_pipeline, worlds, n):
    """What to time: a function that makes n faces, by name."""
    steps = worlds["float32"].num_inference_steps

    def plain_diffusers():
        for start in range(0, n, 64):
            size = min(64, n - start)
            diffusers_pipeline(batch_size=size, num_inference_steps=steps, output_type="np")

    found = {"plain diffusers, float32": plain_diffusers}
    for dtype, world in worlds.items():
        mixture = localize_mixture(world, world.target).extrapolate_means(world.extrapolation)
        samplers = {
            "plain": Sampler(world),
            "guided": recommended_sampler(world),
            "fair": Sampler(world, start=mixture),
        }
        if dtype == "bfloat16":
            samplers["classifier guidance"] = prepare(world, "guidance")
            samplers["selected on the fly"] = prepare(world, "on_the_fly")
            found[CLASSIFIED] = lambda s=samplers["plain"]: s.draw(n, 0, progress=False)
        for name, sampler in samplers.items():
            found[f"{name}, {dtype}"] = lambda s=sampler: s.draw(
                n, 0, progress=False, classify=False
            )
    return found


def differences(diffusers_pipeline, worlds, n=64):
    """How far our plain faces are from plain diffusers' for the same noise."""
    shape = (n, *latent_shape(diffusers_pipeline))
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    steps = worlds["float32"].num_inference_steps
    wanted = diffusers_pipeline(
        batch_size=n,
        generator=torch.Generator().manual_seed(0),
        num_inference_steps=steps,
        output_type="np",
    ).images
    rows = []
    labels = {}
    for dtype, world in worlds.items():
        first = timesteps_of(world.pipeline, steps)[0]
        images = decode(
            world.pipeline,
            denoise(world.pipeline, noise.numpy(), first, steps, progress=False),
            progress=False,
        )
        error = np.sqrt(np.mean((images / 255 - wanted) ** 2))
        rows.append((f"PSNR to plain diffusers, {dtype}, dB", -20 * np.log10(error)))
        predicted = worlds["float32"].classify(images).labels
        labels[dtype] = world.joint(predicted, world.target)
    same = np.mean(labels["float32"] == labels["bfloat16"])
    return [*rows, ("same cell in both precisions, share", same)]


def kept_rate(world, rate, results):
    """Faces a second that rejection keeps, from the calls it needed when it was measured."""
    table = pd.read_csv(results / "fairness.csv").query("world == @world")
    nfe = table.groupby("method")["nfe"].mean()
    return rate * nfe["plain"] / nfe["rejection"] if "rejection" in nfe else np.nan


def main():
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--worlds", nargs="+", default=WORLDS)
    arguments.add_argument("--n", type=int, default=192, help="faces of each round")
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--results", type=Path, default=Path("data/results"))
    arguments.add_argument("--out", type=Path, help="for example data/results/speed.csv")
    options = arguments.parse_args()
    for name in options.worlds:
        worlds = {dtype: load_world(name, dtype=kind) for dtype, kind in DTYPES.items()}
        with quiet_diffusers():
            pipeline = DiffusionPipeline.from_pretrained(worlds["float32"].folder / "generator")
        pipeline.set_progress_bar_config(disable=True)
        rows = fit_seconds(worlds["float32"]) + unet_rates(worlds)
        rows += differences(pipeline, worlds)
        seconds = {}
        todo = ways(pipeline, worlds, options.n)
        for _ in range(options.rounds):
            for way, make in tqdm(todo.items(), desc=f"{name}, a round", leave=False):
                seconds[way] = min(best_of(1, make), seconds.get(way, np.inf))
        rates = {way: options.n / value for way, value in seconds.items()}
        rates["rejection, bfloat16, kept"] = kept_rate(name, rates.pop(CLASSIFIED), options.results)
        rows += [(f"{way}, faces/s", rate) for way, rate in rates.items()]
        diffusers_rate = rates["plain diffusers, float32"]
        rows += [
            ("plain over plain diffusers", rates["plain, bfloat16"] / diffusers_rate),
            ("seconds of fair over plain diffusers'", diffusers_rate / rates["fair, float32"]),
        ]
        for dtype in worlds:
            ratio = rates[f"plain, {dtype}"] / rates[f"guided, {dtype}"]
            rows.append((f"seconds of guided over plain, {dtype}", ratio))
        for way in ("fair", "guided"):
            ratio = rates[f"{way}, bfloat16"] / rates["rejection, bfloat16, kept"]
            rows.append((f"{way} over rejection", ratio))
        print(f"{name}, {torch.get_num_threads()} threads, N = {options.n} a round")
        print(pd.DataFrame(rows, columns=["", "value"]).round(2).to_string(index=False))
        if options.out:
            table = Table(options.out, ["world", "what"])
            table.add([{"world": name, "what": what, "value": value} for what, value in rows])


if __name__ == "__main__":
    main()
