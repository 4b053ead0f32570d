"""Guidance by the mixture, one thing changed at a time; and the strength that a rule chooses.

Writes, in data/results/: guidance.csv (a row for each world, changed condition and setting) and
certainty.csv (how sure the mixture is at each step of plain sampling, and how often it is right).
With ``--choose``, strengths and first steps are tried first, and the pair that the rule below
names goes into the world's world.json. Every row is written as soon as it is measured; a killed
run picks up where it stopped. Delete rows to measure them again.

The rule never looks at fairness. Of all pairs whose faces the *second* network recognises as their
cell at least as often as real faces, with the brightness of every group within half a standard
deviation of real faces' and at least .97 of the sharpness of plain faces of the same groups, the
one that changes faces least. Where none fulfils all of it, recognition is let go first;
brightness last.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from guidance_ideas import with_idea
from sources import WORLDS
from tables import Table

from fairgen_utils._files import write_json
from fairgen_utils.generate import Sampler, recommended_sampler
from fairgen_utils.judge import (
    audit_fairness,
    audit_quality,
    group_brightness,
    recognition_rate,
    relative_sharpness,
)
from fairgen_utils.load import load_world
from fairgen_utils.localize import CellPosterior
from fairgen_utils.models.diffusion import decode, denoise
from fairgen_utils.models.low_frequency import mixture_for
from fairgen_utils.models.pipeline import latent_shape, timesteps_of
from fairgen_utils.rivals import even

BATCH = 64
SEED = 110_000  # of every sample here: none is judged elsewhere
STRENGTHS = (2.0, 2.5, 3.0, 4.0, 6.0, 8.0, 12.0)
# how noisy latents are at the first guided step: samplers differ in which of their steps that is
FIRST_TIMESTEPS = (928, 862, 795)
# where one is as recommended, or among the pairs of STRENGTHS and FIRST_TIMESTEPS, that row has it
SETTINGS = {
    "strength": (0.5, 1.0),
    "first_guided_step": (999, 662),  # as timesteps
    "covariance_type": ("full",),
    "assignment": ("random",),
    "n_components": (2, 4),
    "labels": (20, 50, 200, 1000),
    "wrong_labels": (0.1, 0.25, 0.5),
    "steps": (8, 20, 25, 30),
    "skipped_steps": (928, 862, 728),  # up to these timesteps
    "temper": (0.5, 0.25),
    "idea": ("its own faces", "two rounds", "left alone", "own strengths"),
}


class Tempered(CellPosterior):
    """A posterior less sure of itself: every log-probability is multiplied by a factor below 1."""

    factor = 1.0

    def _components(self, noisy, a):
        joint, scores = super()._components(noisy, a)
        return self.factor * joint, scores


def fitted_guide(world, covariance_type="tied", n_components=1, labels=None, wrong_labels=0.0):
    """The guide under one changed condition: fewer labels, wrong ones, other Gaussians."""
    latents, said = world.latents()
    rng = np.random.default_rng(SEED)
    kept = rng.permutation(len(latents))[:labels]
    cells = world.joint(said, world.target)[kept]
    k = len(world.groups(world.target))
    wrong = rng.random(len(cells)) < wrong_labels
    cells = np.where(wrong, (cells + rng.integers(1, k, len(cells))) % k, cells)
    guide = mixture_for(latents.shape[1:], n_components, covariance_type)
    return guide.fit(latents[kept], cells)


def steps_at(world, timesteps):
    """The sampler's steps that come nearest to some timesteps."""
    own = np.array(timesteps_of(world.pipeline, world.num_inference_steps))
    return [int(np.abs(own - timestep).argmin()) for timestep in timesteps]


def settings_of(world, what):
    """The settings of one condition: those given as timesteps as steps of the world's sampler."""
    settings = SETTINGS[what]
    return steps_at(world, settings) if what.endswith(("_step", "_steps")) else settings


def sampler_of(world, what, setting):
    """The recommended sampler with one condition changed."""
    target = even(world, world.target)
    if what in ("strength", "first_guided_step", "assignment"):
        first = 0 if setting == "random" else world.first_guided_step
        changed = {"first_guided_step": first} | {what: setting}
        return Sampler(world, guide=fitted_guide(world), weights=target, **changed)
    if what == "steps":
        # as much of the way is left alone as with the recommended number of steps
        first = round(world.first_guided_step * setting / world.num_inference_steps)
        changed = {"num_inference_steps": setting, "first_guided_step": first}
        return Sampler(world, guide=fitted_guide(world), weights=target, **changed)
    if what == "skipped_steps":
        guide = fitted_guide(world)
        timestep = timesteps_of(world.pipeline, world.num_inference_steps)[setting]
        left = max(world.first_guided_step - setting, 0)
        changed = {"start": guide, "timestep": timestep, "first_guided_step": left}
        return Sampler(world, name="guided", guide=guide, weights=target, **changed)
    if what == "idea":
        return with_idea(recommended_sampler(world), setting, SEED + 1)
    if what == "temper":
        sampler = recommended_sampler(world)
        sampler.posterior = Tempered(sampler.guide, len(target), world.pipeline.device)
        sampler.posterior.factor, sampler.strength = setting, 0.75 * world.strength
        return sampler
    guide = fitted_guide(world, **{what: setting})
    found = np.isin(np.arange(len(target)), guide.cells_)  # of 50 faces, some cells have none
    return Sampler(world, guide=guide, weights=found / found.sum())


def row_of(world, judge, sampler, n, plain):
    """Everything measured of one sampler: what the rule looks at, and what it must not."""
    sample = sampler.draw(n, SEED)
    second = judge.classify(sample.images)
    real = pd.read_csv("data/results/brightness.csv").query(
        "world == @world.name and method == 'real'"
    )
    # the table is in the order of the alphabet
    real = real.set_index("group").loc[world.groups(world.cell_attributes[1])]
    found = group_brightness(world, sample.images, second, world.cell_attributes[1])
    away = np.array([mean for mean, _ in found.values()]) - real["brightness"].to_numpy()
    row = {"n": n, "seed": SEED, "strength": sampler.strength, "steps": sampler.steps}
    row |= {"first_guided_step": sampler.first_guided_step}
    cells = sample.components
    row["recognition"] = recognition_of(world, sample.predictions, cells)
    row["recognition_second"] = recognition_of(world, second, cells)
    row["brightness_away"] = float(np.abs(away / real["deviation"].to_numpy()).max())
    names = world.cell_attributes
    said = [{k: p.labels[k] for k in names} for p in (second, judge.classify(plain.images))]
    row["sharpness"] = relative_sharpness(sample.images, said[0], plain.images, said[1])
    difference = sample.images.astype(int) - plain.images.astype(int)
    row["change"] = float(np.abs(difference).mean())
    quotas = {"cells": cells if sampler.is_steered else None}
    row |= audit_fairness(world, sample.predictions, world.target, **quotas)
    row["fd_second"] = audit_fairness(judge, second, world.target, **quotas)["fd_corrected"]
    row["ffd"] = audit_quality(world, sample.predictions)["ffd"]
    return row | {"faces_per_second": sample.faces_per_second}


def recognition_of(world, predictions, cells):
    """Share of faces that a judge puts in the cell they were led to; NaN where none was given."""
    if cells is None:
        return float("nan")
    return recognition_rate(world, predictions, world.target, cells)


def choose(world, judge, table, n, plain):
    """Try pairs of strength and first step; the pair that the rule names."""
    guide, target = fitted_guide(world), even(world, world.target)
    for strength in STRENGTHS:
        for first in steps_at(world, FIRST_TIMESTEPS):
            setting = f"{strength:g} from step {first}"
            if not table.has(world=world.name, what="choice", setting=setting):
                sampler = Sampler(
                    world, guide=guide, weights=target, strength=strength, first_guided_step=first
                )
                row = {"world": world.name, "what": "choice", "setting": setting}
                table.add([row | row_of(world, judge, sampler, n, plain)])
    tried = table.rows.query("world == @world.name and what == 'choice'")
    real = float(np.mean(np.diag(judge.confusion(world.target))))
    clauses = [
        tried["recognition_second"] >= real,
        tried["sharpness"] >= 0.97,  # what is less is seen, what is more is noise of so few faces
        tried["brightness_away"] <= 0.5,
    ]
    for first_kept in range(len(clauses)):
        fits = np.logical_and.reduce(clauses[first_kept:])
        if fits.any():
            kept = tried[fits]
            # with clauses let go, the surest of what is left; else the smallest change
            best = "change" if first_kept == 0 else "recognition_second"
            chosen = kept.sort_values(best, ascending=first_kept == 0).iloc[0]
            return float(chosen["strength"]), int(chosen["first_guided_step"]), first_kept
    return world.strength, world.first_guided_step, len(clauses)


def certainty_rows(world, n):
    """At every step of plain sampling: how sure is the mixture of its cell, how often right?"""
    posterior = recommended_sampler(world).posterior
    steps, said, probabilities, labels = world.num_inference_steps, [], [], []

    def listen(clean, noisy, alpha_cumprod):
        said.append(posterior.log_proba(noisy, max(alpha_cumprod, 1e-6)).exp().numpy())
        return clean

    timesteps = timesteps_of(world.pipeline, steps)
    rng = np.random.default_rng(SEED)
    for _ in range(n // BATCH):
        said.clear()
        noise = rng.standard_normal((BATCH, *latent_shape(world.pipeline)), dtype=np.float32)
        settings = {"batch_size": BATCH, "progress": False, "adjust": listen}
        latents = denoise(world.pipeline, noise, int(timesteps[0]), steps, **settings)
        images = decode(world.pipeline, latents, progress=False)
        probabilities.append(np.array(said))
        labels.append(world.joint(world.classify(images).labels, world.target))
    probabilities, labels = np.concatenate(probabilities, 1), np.concatenate(labels)
    rows = []
    for step, (timestep, found) in enumerate(zip(timesteps, probabilities, strict=True)):
        row = {"world": world.name, "step": step, "timestep": int(timestep)}
        row |= {"n": len(labels), "seed": SEED}
        row["sure"] = float(found.max(1).mean())
        row["right"] = float(np.mean(found.argmax(1) == labels))
        rows.append(row)
    return rows


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--worlds", nargs="+", default=WORLDS)
    arguments.add_argument("--only", nargs="*", default=[*SETTINGS], choices=[*SETTINGS])
    arguments.add_argument("--choose", action="store_true", help="write strength to world.json")
    arguments.add_argument("--n", type=int, default=512, help="faces of each condition")
    arguments.add_argument("--out", type=Path, default=Path("data/results"))
    arguments.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments.add_argument(
        "--dtype", choices=("float32", "bfloat16"), default="bfloat16", help="of the networks"
    )
    options = arguments.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    table = Table(options.out / "guidance.csv", ["world", "what", "setting"], text=["setting"])
    certainty = Table(options.out / "certainty.csv", ["world", "step"])
    for name in options.worlds:
        world = load_world(name, device=options.device, dtype=getattr(torch, options.dtype))
        judge = load_world(name, device=options.device).second_judge()
        plains = {}

        def plain(steps, world=world, plains=plains):
            """Plain faces of the same seed and number of steps, made once."""
            if steps not in plains:
                plains[steps] = Sampler(world, num_inference_steps=steps).draw(options.n, SEED)
            return plains[steps]

        usual = world.num_inference_steps
        if options.choose:
            found = choose(world, judge, table, options.n, plain(usual))
            world.strength, world.first_guided_step, let_go = found
            print(f"{name}: strength {found[0]:g} from step {found[1]}, {let_go} clauses let go")
            path = world.folder / "world.json"
            record = json.loads(path.read_text())
            record |= {"strength": found[0], "first_guided_step": found[1]}
            write_json(path, record)
        if not certainty.has(world=name):
            certainty.add(certainty_rows(world, options.n))
        for what in options.only:
            for setting in settings_of(world, what):
                row = {"world": name, "what": what, "setting": str(setting)}
                if not table.has(**row):
                    print(f"{name} {what} {setting}", flush=True)
                    sampler = sampler_of(world, what, setting)
                    measured = row_of(world, judge, sampler, options.n, plain(sampler.steps))
                    table.add([row | measured])


if __name__ == "__main__":
    main()
