"""Measure what the method depends on, one thing at a time, on every shipped world.

Writes, in data/results/: timesteps.csv (where to start), overshoot.csv (how far outward to move
the means), components.csv (how many components, found or localized) and ablations.csv: how many
pseudo-labelled faces the mixture is fitted on (``labels``), how many labels are wrong (``noise``),
the form of the covariances (``covariance``), and the number of principal components in which
groups may differ (``rank``). Every row is written as soon as it is measured; a killed run picks up
where it stopped. Delete rows to measure them again.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from sklearn.decomposition import PCA
from sources import WORLDS
from tables import Table

from fairgen_utils.generate import Sampler
from fairgen_utils.judge import (
    audit_fairness,
    audit_quality,
    recognition_rate,
    within_group_variance,
)
from fairgen_utils.load import load_world
from fairgen_utils.localize import (
    component_table,
    fit_weights,
    localize_mixture,
    solve_weights,
)
from fairgen_utils.models.mixture import LatentMixture
from fairgen_utils.models.pipeline import start_timestep
from fairgen_utils.rivals import even

TIMESTEPS = (200, 330, 460, 600, 730, 860)
OVERSHOOTS = (0.0, 0.4, 0.8, 1.2, 1.6, 2.0, 2.4, 2.8)
# components in all where they are found, in each cell where they are localized
COMPONENTS = {"found": (8, 16, 32, 64), "localized": (1, 2, 4)}
PILOT_FACES = 1800
SETTINGS = {
    "labels": (50, 200, 1000, 5000),
    "noise": (0.0, 0.1, 0.25, 0.5),
    "covariance": ("tied", "diagonal", "spherical"),
    "rank": (8, 32, 128),
}


def measure_timesteps(world, table, n):
    """The localization window: one Gaussian per cell, all alike, started at several timesteps."""
    mixture = None
    for wanted in TIMESTEPS:
        timestep, _ = start_timestep(world.pipeline, wanted, world.num_inference_steps)
        if table.has(world=world.name, timestep=timestep):
            continue
        mixture = mixture or localize_mixture(world, world.target)
        k = len(mixture.weights_)
        sampler = Sampler(world, start=mixture, weights=np.full(k, 1 / k), timestep=timestep)
        sample = sampler.draw(n, 40_000)
        row = {"world": world.name, "timestep": timestep, "n": n, "seed": 40_000}
        names = world.target
        sizes = [len(world.attributes[name]) for name in names]
        origins = np.unravel_index(mixture.cells_[sample.components], sizes)
        for name, origin in zip(names, origins, strict=True):
            row[f"kept_{name}"] = np.mean(sample.predictions.labels[name] == origin)
        row["fd_joint"] = audit_fairness(world, sample.predictions, world.target)["fd"]
        row |= audit_quality(world, sample.predictions)
        row["faces_per_second"] = sample.faces_per_second
        table.add([row])


def measure_overshoot(world, table, n):
    """How far outward: are faces recognised as their group as often as real ones, and how good?

    Fairness has no say in the recommended factor. Beyond the first one at which faces are
    recognised more often than real ones, none is tried.
    """
    mixture = localize_mixture(world, world.target)
    for factor in OVERSHOOTS:
        if not table.has(world=world.name, overshoot=factor):
            table.add([overshoot_row(world, mixture.extrapolate_means(factor), factor, n)])
        row = table.rows.query("world == @world.name and overshoot == @factor").iloc[0]
        if row["own_group"] > row["own_group_real"]:
            break


def overshoot_row(world, moved, factor, n):
    """What comes of one factor."""
    k = len(moved.weights_)
    sampler = Sampler(world, start=moved, weights=np.full(k, 1 / k))
    even_sample = sampler.draw(n, 80_000)
    target = even(world, world.target)
    weights, _, _ = fit_weights(sampler, world.target, target, n // k, seed=80_001)
    sample = sampler.with_weights(weights).draw(n, 80_002)
    row = {"world": world.name, "overshoot": factor, "n": n, "seed": 80_000}
    cells = moved.cells_[even_sample.components]
    row["own_group"] = recognition_rate(world, even_sample.predictions, world.target, cells)
    row["own_group_real"] = float(np.mean(np.diag(world.confusion(world.target))))
    row |= audit_fairness(world, sample.predictions, world.target)
    row |= audit_quality(world, sample.predictions)
    return row | {"within_group_variance": within_group_variance(world, sample.predictions)}


def measure_components(world, table, n, seeds):
    """How many components: weights from a pilot of the same size for each number and kind."""
    groups = len(world.groups(world.target))
    target = np.full(groups, 1 / groups)
    latents, labels = world.latents()
    cells = world.joint(labels, world.target)
    for kind, numbers in COMPONENTS.items():
        for number in numbers:
            which = {"world": world.name, "kind": kind, "components": number}
            missing = [seed for seed in seeds if not table.has(**which, seed=seed)]
            if not missing:
                continue
            print(f"{world.name} {number} {kind} components")
            mixture = LatentMixture(number).fit(latents, cells if kind == "localized" else None)
            per_component = PILOT_FACES // len(mixture.weights_)
            sampler = Sampler(world, start=mixture)
            weights, counts, _ = fit_weights(
                sampler, world.target, target, per_component, seed=60_000
            )
            for seed in missing:
                predictions = sampler.with_weights(weights).draw(n, 70_000 + seed).predictions
                row = which | {"seed": seed, "pilot": int(counts.sum())}
                row |= audit_fairness(world, predictions, world.target, seed=seed)
                table.add([row | audit_quality(world, predictions)])


def wrong_labels(labels, sizes, share, rng):
    """Labels of every attribute, `share` of them replaced by another group drawn evenly."""
    changed = {}
    for name, values in labels.items():
        another = (values + rng.integers(1, sizes[name], len(values))) % sizes[name]
        changed[name] = np.where(rng.random(len(values)) < share, another, values)
    return changed


def with_covariance(mixture, kind):
    """The mixture with covariances of a simpler form."""
    pooled = np.tensordot(mixture.weights_, mixture.covariances_, 1)
    for k, own in enumerate(mixture.covariances_):
        simpler = {
            "full": own,
            "tied": pooled,
            "diagonal": np.diag(np.diag(own)),
            "spherical": np.eye(len(own)) * np.diag(own).mean(),
        }
        mixture.covariances_[k] = simpler[kind]
    return mixture


def with_rank(mixture, latents, rank):
    """The mixture with components that differ in the leading principal components alone."""
    flat = latents.reshape(len(latents), -1)
    axes = PCA(rank, svd_solver="randomized", random_state=0).fit(flat).components_
    inside = axes.T @ axes
    outside = np.eye(len(inside)) - inside
    common = mixture.weights_ @ mixture.means_
    pooled = outside @ np.tensordot(mixture.weights_, mixture.covariances_, 1) @ outside
    for k, own in enumerate(mixture.covariances_):
        mixture.covariances_[k] = inside @ own @ inside + pooled
    mixture.means_ = (common + (mixture.means_ - common) @ inside).astype(np.float32)
    return mixture


def fitted(world, what, setting, rng):
    """The localized mixture under one changed condition, and the share of wrong labels in it."""
    latents, labels = world.latents()
    noise = setting if what == "noise" else 0.0
    sizes = {name: len(groups) for name, groups in world.attributes.items()}
    kept = np.arange(len(latents))
    if what == "labels":
        kept = rng.permutation(len(latents))[:setting]
    given = wrong_labels({k: v[kept] for k, v in labels.items()}, sizes, noise, rng)
    mixture = LatentMixture().fit(latents[kept], world.joint(given, world.target))
    if what == "covariance":
        mixture = with_covariance(mixture, setting)
    if what == "rank":
        mixture = with_rank(mixture, latents, setting)
    return mixture.extrapolate_means(world.extrapolation), noise


def measure_settings(world, what, table, n):
    """The method with means moved outward and weights from a pilot, one condition changed."""
    target, sizes = even(world, world.target), {k: len(g) for k, g in world.attributes.items()}
    for setting in SETTINGS[what]:
        if table.has(world=world.name, what=what, setting=str(setting)):
            continue
        print(f"{world.name} {what} {setting}", flush=True)
        rng = np.random.default_rng(90_000)
        mixture, noise = fitted(world, what, setting, rng)
        k = len(mixture.weights_)
        # whoever mislabels the latents mislabels the pilot, too
        sampler = Sampler(world, start=mixture, weights=np.full(k, 1 / k))
        pilot = sampler.draw(PILOT_FACES // 3 // k * k, 90_001)
        said = wrong_labels(pilot.predictions.labels, sizes, noise, rng)
        counts = component_table(pilot.components, world.joint(said, world.target), k, len(target))
        weights = solve_weights(counts, target, world.confusion(world.target))
        sample = sampler.with_weights(weights).draw(n, 90_002)
        row = {"world": world.name, "what": what, "setting": str(setting), "seed": 90_000}
        row |= {"components": k, "pilot": len(pilot)}
        cells = mixture.cells_[pilot.components]
        row["own_group"] = recognition_rate(world, pilot.predictions, world.target, cells)
        row |= audit_fairness(world, sample.predictions, world.target)
        row |= audit_quality(world, sample.predictions)
        table.add([row])


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    parts = ("timesteps", "overshoot", "components", *SETTINGS)
    arguments.add_argument("--worlds", nargs="+", default=WORLDS)
    arguments.add_argument("--only", nargs="+", default=parts, choices=parts)
    arguments.add_argument("--n", type=int, default=800, help="judged faces of each condition")
    arguments.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    arguments.add_argument("--out", type=Path, default=Path("data/results"))
    arguments.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments.add_argument(
        "--dtype", choices=("float32", "bfloat16"), default="bfloat16", help="of the networks"
    )
    options = arguments.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    timesteps = Table(options.out / "timesteps.csv", ["world", "timestep"])
    overshoots = Table(options.out / "overshoot.csv", ["world", "overshoot"])
    components = Table(options.out / "components.csv", ["world", "kind", "components", "seed"])
    keys = ["world", "what", "setting"]
    settings = Table(options.out / "ablations.csv", keys, text=["setting"])
    for name in options.worlds:
        world = load_world(name, device=options.device, dtype=getattr(torch, options.dtype))
        if "timesteps" in options.only:
            measure_timesteps(world, timesteps, options.n)
        if "overshoot" in options.only:
            measure_overshoot(world, overshoots, options.n)
        if "components" in options.only:
            measure_components(world, components, options.n, options.seeds)
        for what in [what for what in SETTINGS if what in options.only]:
            measure_settings(world, what, settings, options.n)


if __name__ == "__main__":
    main()
