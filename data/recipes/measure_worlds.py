"""Measure every method on every shipped world: the numbers of README, cards and notebooks.

Writes data/results/fairness.csv (a row per world, method, attribute and seed), shares.csv
(shares and amplification per group), timesteps.csv (the localization window), components.csv
(how many components, found or localized), overshoot.csv (how far outward to move the means),
groups.csv (distance of each group to its own reference) and speed.csv (seconds per mixture, faces
per second).
Each method and seed is written as soon as it is measured; a killed run picks up where it stopped.
Delete rows to measure them again.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from fairgen_utils.audit import (
    audit_fairness,
    audit_groups,
    audit_quality,
    generate,
    localized_mixture,
    own_group_rate,
    pilot_weights,
    posterior_shares,
    reject,
)
from fairgen_utils.fairness import fairness_discrepancy, shares
from fairgen_utils.generate import start_timestep
from fairgen_utils.localize import LatentMixture, component_table, solve_weights
from fairgen_utils.uncertainty import amplification, share_intervals
from fairgen_utils.worlds import Predictions, load_world

N_COMPONENTS = 32
PILOT_FACES = 4800
MOST_BATCHES = 60  # of rejection sampling, before it is given up
TIMESTEPS = (200, 330, 460, 600, 730, 860)
# components in all where they are found, in each cell where they are localized
COMPONENTS = {"found": (8, 16, 32, 64), "localized": (1, 2, 4)}
ABLATION_PILOT_FACES = 1800
OVERSHOOTS = (0.0, 0.4, 0.8, 1.2)
GROUP_FACES = 250  # of each group, for the distance to its own reference


def attributes_of(world):
    """The single cell attributes, the first two jointly, and the world's target."""
    names = world.cell_attributes
    return list(dict.fromkeys([*names, ",".join(names[:2]), world.target]))


def even(world, attribute):
    """The uniform target of an attribute."""
    groups = len(world.groups(attribute))
    return np.full(groups, 1 / groups)


def left_out(world):
    """Cell attributes that are no part of the world's target."""
    return [name for name in world.cell_attributes if name not in world.target.split(",")]


def subset(predictions, kept):
    """The predictions of some of the faces."""
    return Predictions(
        {name: values[kept] for name, values in predictions.labels.items()},
        {name: values[kept] for name, values in predictions.probabilities.items()},
        predictions.features[kept],
    )


class Table:
    """A CSV file that grows row by row and knows which rows it has."""

    def __init__(self, path, keys):
        self.path, self.keys = path, keys
        self.rows = pd.read_csv(path) if path.exists() else pd.DataFrame(columns=keys)

    def has(self, **values):
        if self.rows.empty:
            return False
        return bool(np.all([self.rows[k] == v for k, v in values.items()], axis=0).any())

    def add(self, rows):
        if not rows:
            return
        new = pd.DataFrame(rows)
        # an empty table has no column types to keep, and would turn whole numbers into fractions
        self.rows = new if self.rows.empty else pd.concat([self.rows, new], ignore_index=True)
        self.rows = self.rows.drop_duplicates(self.keys, keep="last").sort_values(self.keys)
        temporary = self.path.with_suffix(".tmp")
        self.rows.round(5).to_csv(temporary, index=False)
        temporary.replace(self.path)


class Ladder:
    """The methods of one world, from plain sampling up.

    Mixtures and pilots are fitted once: the seeds tell how much the judged faces vary, not how
    much another pilot would have changed the weights.
    """

    methods = (
        "plain",
        "localized_pilot",
        "overshoot",
        "goals",
        "localized",
        "uniform",
        "table",
        "pilot",
        "rejection",
    )

    def __init__(self, world, n):
        self.world, self.n = world, n
        self.joint = world.target
        self.target = even(world, self.joint)
        self.mixtures, self.fitted = {}, {}

    def applies(self, method):
        """Whether a method is of use: several goals, where the target leaves an attribute out."""
        return method != "goals" or bool(left_out(self.world))

    def mixture(self, method):
        """One Gaussian per attribute cell, moved outward or not, or components found unlabelled."""
        kinds = {"overshoot": "overshoot", "goals": "goals"}
        kinds |= dict.fromkeys(("localized", "localized_pilot"), "localized")
        kind = kinds.get(method, "found")
        if kind not in self.mixtures:
            world = self.world
            if kind == "found":
                self.mixtures[kind] = LatentMixture(N_COMPONENTS).fit(world.latents()[0])
            elif kind == "goals":
                cells = ",".join(world.cell_attributes)
                self.mixtures[kind] = localized_mixture(world, cells).overshoot(world.overshoot)
            else:
                factor = world.overshoot if kind == "overshoot" else 0.0
                self.mixtures[kind] = localized_mixture(world, self.joint).overshoot(factor)
        return self.mixtures[kind]

    def run(self, method, seed):
        """Predictions of the judged faces, number of components, and faces per second.

        Methods share their sampling seeds, so they differ by method and not by luck.
        """
        if method == "plain":
            sample = generate(self.world, self.n, seed)
            return sample.predictions, 0, sample.faces_per_second
        mixture = self.mixture(method)
        k = len(mixture.weights_)
        sample = generate(self.world, self.n, 10_000 + seed, mixture, self.weights(method))
        return sample.predictions, k, sample.faces_per_second

    def weights(self, method):
        """Component weights: uniform, or fitted once to a table and then kept for every seed."""
        if method not in self.fitted:
            mixture = self.mixture(method)
            k = len(mixture.weights_)
            self.fitted[method] = np.full(k, 1 / k)
            if method == "table":
                latents, labels = self.world.latents()
                cells = self.world.joint(labels, self.joint)
                table = component_table(mixture.predict_proba(latents), cells, k, len(self.target))
                confusion = self.world.confusion(self.joint)
                self.fitted[method] = solve_weights(table, self.target, confusion)
            elif method.endswith("pilot") or method == "overshoot":
                self.fitted[method], _, _ = pilot_weights(
                    self.world, mixture, self.joint, self.target, PILOT_FACES // k, seed=20_000
                )
            elif method == "goals":
                goals = [self.joint, *left_out(self.world)]
                targets = [even(self.world, goal) for goal in goals]
                self.fitted[method], _, _ = pilot_weights(
                    self.world, mixture, goals, targets, PILOT_FACES // k, seed=20_000
                )
        return self.fitted[method]

    def reject(self, seed):
        """Rejection sampling: predictions of kept and of all faces, and kept faces per second."""
        parts, seconds, kept = [], 0.0, []
        while len(kept) < self.n:
            if len(parts) == MOST_BATCHES:
                raise RuntimeError(f"no {self.n} faces to keep among {MOST_BATCHES * self.n}")
            sample = generate(self.world, self.n, 30_000 + 1000 * seed + len(parts))
            parts.append(sample.predictions)
            seconds += sample.seconds
            everything = concatenate(parts)
            kept, used = reject(self.world, everything, self.joint, self.target, self.n, seed)
        speed = self.n / (seconds * used / len(everything.features))
        return subset(everything, kept), everything, speed


def concatenate(parts):
    """Predictions of several batches as one."""
    first = parts[0]
    return Predictions(
        {k: np.concatenate([p.labels[k] for p in parts]) for k in first.labels},
        {k: np.concatenate([p.probabilities[k] for p in parts]) for k in first.labels},
        np.concatenate([p.features for p in parts]),
    )


def share_rows(world, predictions, attribute, seed):
    """Shares of every group as classified, and corrected against those of the training faces."""
    groups = world.groups(attribute)
    labels = world.joint(predictions.labels, attribute)
    measured, intervals = shares(labels, len(groups)), share_intervals(labels, len(groups))
    training = world.training_shares(attribute)
    change = amplification(labels, training, seed=seed, confusion=world.confusion(attribute))
    return [
        {
            "group": group,
            "training": training[g],
            "share": measured[g],
            "share_low": intervals[g][0],
            "share_high": intervals[g][1],
            "share_corrected": change.generated[g],
            "amplification": change.difference[g],
            "amplification_low": change.interval[g][0],
            "amplification_high": change.interval[g][1],
        }
        for g, group in enumerate(groups)
    ]


def audit_rejected(world, kept, everything, attribute, seed):
    """As `audit_fairness`, for faces that the classifier itself selected."""
    groups = len(world.groups(attribute))
    row = audit_fairness(world, kept, attribute, seed=seed)
    selected, plain = (shares(world.joint(p.labels, attribute), groups) for p in (kept, everything))
    expected = posterior_shares(selected, plain, world.confusion(attribute))
    unknown = dict.fromkeys(("fd_floor95", "fd_corrected_low", "fd_corrected_high"), np.nan)
    return row | unknown | {"fd_corrected": fairness_discrepancy(expected)}


def measure_speed(world, table):
    """Seconds to fit each kind of mixture; faces per second, plain and localized."""
    latents, labels = world.latents()
    cells = world.joint(labels, world.target)
    kinds = {"found": (LatentMixture(N_COMPONENTS), None), "localized": (LatentMixture(), cells)}
    for kind, (mixture, given) in kinds.items():
        if not table.has(world=world.name, what=f"fit {kind}, seconds"):
            started = time.perf_counter()
            mixture.fit(latents, given)
            seconds = time.perf_counter() - started
            table.add([{"world": world.name, "what": f"fit {kind}, seconds", "value": seconds}])
    for dtype in (torch.float32, torch.bfloat16):
        for kind in ("plain", "localized"):
            name = f"{kind} {str(dtype).removeprefix('torch.')}, faces/s"
            if not table.has(world=world.name, what=name):
                typed = load_world(world.name, device=world.pipeline.device, dtype=dtype)
                mixture = None if kind == "plain" else localized_mixture(world, world.target)
                speed = generate(typed, 256, 50_000, mixture).faces_per_second
                table.add([{"world": world.name, "what": name, "value": speed}])


def measure_timesteps(world, table, n):
    """The localization window: one Gaussian per cell, all alike, started at several timesteps."""
    mixture = None
    for wanted in TIMESTEPS:
        timestep, _ = start_timestep(world.pipeline, wanted, world.num_inference_steps)
        if table.has(world=world.name, timestep=timestep):
            continue
        mixture = mixture or localized_mixture(world, world.target)
        k = len(mixture.weights_)
        sample = generate(world, n, 40_000, mixture, np.full(k, 1 / k), timestep)
        row = {"world": world.name, "timestep": timestep, "n": n, "seed": 40_000}
        names = world.target.split(",")
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

    The recommended factor is chosen by the recognition rate alone, never by fairness or quality.
    """
    mixture = localized_mixture(world, world.target)
    real = float(np.mean(np.diag(world.confusion(world.target))))
    k = len(mixture.weights_)
    for factor in OVERSHOOTS:
        if table.has(world=world.name, overshoot=factor):
            continue
        moved = mixture.overshoot(factor)
        even_sample = generate(world, n, 80_000, moved, np.full(k, 1 / k))
        weights, _, _ = pilot_weights(
            world, moved, world.target, even(world, world.target), n // k, seed=80_001
        )
        sample = generate(world, n, 80_002, moved, weights)
        row = {"world": world.name, "overshoot": factor, "n": n, "seed": 80_000}
        row["own_group"] = own_group_rate(world, moved, even_sample, world.target)
        row["own_group_real"] = real
        row |= audit_fairness(world, sample.predictions, world.target)
        row |= audit_quality(world, sample.predictions)
        row |= within_group(world, sample.predictions)
        table.add([row])


def within_group(world, predictions):
    """How varied faces of one group are in the classifier's features: total variance over real."""
    name = world.target.split(",")[0]
    ratios = []
    for g, (_, covariance) in enumerate(world.group_moments(name)):
        features = predictions.features[predictions.labels[name] == g]
        ratios.append(np.var(features, axis=0).sum() / np.trace(covariance))
    return {"within_group_variance": float(np.mean(ratios))}


def measure_groups(world, ladder, table):
    """Frechet distance of each group to its own reference, at the same number of faces."""
    for method in ("plain", "localized_pilot", "overshoot", "goals"):
        if not ladder.applies(method) or table.has(world=world.name, method=method):
            continue
        print(f"{world.name} {method} by group")
        parts, rows = [], []
        # rare groups need many plain faces before there are enough of them
        for batch in range(8):
            parts.append(ladder.run(method, 100 + batch)[0])
            everything = concatenate(parts)
            rows = [
                {"world": world.name, "method": method, "attribute": name, "group": group}
                | {"n": GROUP_FACES, "ffd": ffd}
                for name in world.cell_attributes
                for group, ffd in audit_groups(world, everything, name, GROUP_FACES).items()
            ]
            if all(np.isfinite(row["ffd"]) for row in rows):
                break
        table.add(rows)


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
            per_component = ABLATION_PILOT_FACES // len(mixture.weights_)
            weights, counts, _ = pilot_weights(
                world, mixture, world.target, target, per_component, seed=60_000
            )
            for seed in missing:
                predictions = generate(world, n, 70_000 + seed, mixture, weights).predictions
                row = which | {"seed": seed, "pilot": int(counts.sum())}
                row |= audit_fairness(world, predictions, world.target, seed=seed)
                table.add([row | audit_quality(world, predictions, seed)])


def measure(world, ladder, method, seed):
    """Rows for fairness.csv and for shares.csv of one method and seed."""
    steps = world.num_inference_steps
    last = world.pipeline.scheduler.config.num_train_timesteps - 1
    timestep, _ = start_timestep(world.pipeline, last, steps)
    rows, group_rows = [], []
    if method == "rejection":
        predictions, everything, speed = ladder.reject(seed)
        components = 0
    else:
        predictions, components, speed = ladder.run(method, seed)
        if components:
            timestep, _ = start_timestep(world.pipeline, world.timestep, steps)
    quality = audit_quality(world, predictions, seed) | {"faces_per_second": speed}
    for attribute in attributes_of(world):
        if method == "rejection":
            row = audit_rejected(world, predictions, everything, attribute, seed)
        else:
            row = audit_fairness(world, predictions, attribute, seed=seed)
        which = {"world": world.name, "method": method, "attribute": attribute}
        how = {"timestep": timestep, "components": components, "n": row.pop("n"), "seed": seed}
        rows.append({**which, **how, **row, **quality})
        if method != "rejection":
            group_rows += [
                {**which, "seed": seed, "n": how["n"], **share}
                for share in share_rows(world, predictions, attribute, seed)
            ]
    return rows, group_rows


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--worlds", nargs="+", default=["heads", "utkface"])
    arguments.add_argument("--methods", nargs="*", default=Ladder.methods)
    arguments.add_argument(
        "--also",
        nargs="*",
        default=["speed", "timesteps", "overshoot", "groups", "components"],
        help="tables to measure beside the methods; none after a bare --also",
    )
    arguments.add_argument("--n", type=int, default=1000, help="judged faces per method and seed")
    arguments.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    arguments.add_argument("--out", type=Path, default=Path("data/results"))
    arguments.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments.add_argument(
        "--dtype", choices=("float32", "bfloat16"), default="float32", help="of the networks"
    )
    options = arguments.parse_args()
    if unknown := set(options.methods) - set(Ladder.methods):
        arguments.error(f"--methods: found {sorted(unknown)}; known are {Ladder.methods}")
    options.out.mkdir(parents=True, exist_ok=True)
    keys = ["world", "method", "attribute", "seed"]
    fairness = Table(options.out / "fairness.csv", keys)
    group_shares = Table(options.out / "shares.csv", [*keys, "group"])
    timesteps = Table(options.out / "timesteps.csv", ["world", "timestep"])
    components = Table(options.out / "components.csv", ["world", "kind", "components", "seed"])
    overshoots = Table(options.out / "overshoot.csv", ["world", "overshoot"])
    groups = Table(options.out / "groups.csv", ["world", "method", "attribute", "group"])
    speed = Table(options.out / "speed.csv", ["world", "what"])
    for name in options.worlds:
        world = load_world(name, device=options.device, dtype=getattr(torch, options.dtype))
        if "speed" in options.also:
            measure_speed(world, speed)
        if "timesteps" in options.also:
            measure_timesteps(world, timesteps, options.n)
        if "components" in options.also:
            measure_components(world, components, options.n, options.seeds)
        if "overshoot" in options.also:
            measure_overshoot(world, overshoots, options.n)
        ladder = Ladder(world, options.n)
        for method in filter(ladder.applies, options.methods):
            for seed in options.seeds:
                cell = {"world": name, "method": method, "seed": seed}
                if all(fairness.has(**cell, attribute=a) for a in attributes_of(world)):
                    continue
                print(f"{name} {method} seed {seed}")
                rows, group_rows = measure(world, ladder, method, seed)
                group_shares.add(group_rows)
                fairness.add(rows)
        if "groups" in options.also:
            measure_groups(world, ladder, groups)


if __name__ == "__main__":
    main()
