"""Order: which world, which groups in which shares, by which method; checked before any work."""

import errno
import importlib
import os
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from fairgen_utils._checks import check_count, check_numbers, check_target
from fairgen_utils.generate import Sampler, recommended_sampler
from fairgen_utils.load import load_world
from fairgen_utils.localize import fit_weights, localize_mixture
from fairgen_utils.models.diffusion import decode
from fairgen_utils.models.own_world import OwnWorld
from fairgen_utils.models.pipeline import start_timestep
from fairgen_utils.models.world import World, parse_target

METHODS = ("guided", "plain", "localized")
PILOT_SEED = 1_000_000  # added to the seed: judged faces are never the pilot's
TIMED = 16  # faces made to say how long the others will take
WHY = {
    "pool": "plain faces first: no latents came with this world, and groups are localized in some",
    "pilot": "pilot faces first: the weights of the mixture are fitted to them",
    "faces": "faces, {method}",
}


@dataclass
class Order:
    """Faces to be made: the same order makes the same faces in the demo, a dataset and shards.

    Attributes
    ----------
    world : World
    attribute : str or tuple of str
    target : array_like, shape (n_groups,), or None
        Wanted shares; even ones when None.
    n : int
    seed : int
    method : {"guided", "plain", "localized"}
        Plain sampling steered by a mixture; plain sampling; started from the mixture, with weights
        fitted to a pilot.
    strength : float, optional
        Of guidance; the world's recommended one when omitted.
    per_component : int
        Pilot faces of each component.
    """

    world: World
    attribute: tuple
    target: np.ndarray | None
    n: int
    seed: int = 0
    method: str = "guided"
    strength: float | None = None
    per_component: int = 60

    def __post_init__(self):
        self.attribute = self.world.names(self.attribute)
        self.target = check_target(self.target, len(self.world.groups(self.attribute)))
        check_count(self.n, "n")
        check_count(self.seed, "seed", least=0)
        check_count(self.per_component, "pilot")
        if self.method not in METHODS:
            raise ValueError(f"method: found {self.method!r}; give one of {', '.join(METHODS)}")
        if self.strength is not None:
            if self.method != "guided":
                raise ValueError(
                    f"strength: {self.method} sampling has none; it goes with method guided"
                )
            if np.ndim(self.strength) or not 0 <= check_numbers(self.strength, "strength") < np.inf:
                raise ValueError(f"strength: found {self.strength!r}; give a number, 0 or more")
        self.world.confusion(self.attribute)  # can the classifier tell the groups apart?

    @property
    def settings(self):
        """Everything the faces depend on beside the world: for `_files.fingerprint`."""
        world, found = self.world, {"method": self.method}
        found |= {"attribute": world.text(self.attribute), "target": self.target.tolist()}
        found |= {"n": self.n, "seed": self.seed, "num_inference_steps": world.num_inference_steps}
        if self.method == "guided":
            strength = world.strength if self.strength is None else self.strength
            found |= {"strength": strength, "first_guided_step": world.first_guided_step}
        if self.method == "localized":
            found |= {"timestep": world.timestep, "extrapolation": world.extrapolation}
            found |= {"pilot": self.per_component}
        if isinstance(world, OwnWorld) and self.method != "plain":
            found |= {"pool_size": world.pool_size, "pool_seed": world.seed}
        return found

    def plain(self):
        """The same faces as plain sampling makes them."""
        return replace(self, method="plain", strength=None)

    def unfitted(self):
        """The sampler; of a localized one the components are even until a pilot fits them."""
        if self.method == "plain":
            return Sampler(self.world)
        if self.method == "guided":
            sampler = recommended_sampler(self.world, self.attribute, self.target)
            if self.strength is not None:
                sampler.strength = self.strength
            return sampler
        start = localize_mixture(self.world, self.attribute)
        start = start.extrapolate_means(self.world.extrapolation)
        return Sampler(self.world, start=start, weights=even(len(start.weights_)))

    def sampler(self, progress=True):
        """The sampler, ready to draw `n` faces of `seed`."""
        sampler = self.unfitted()
        if self.method != "localized":
            return sampler
        weights, _, pilot = fit_weights(
            sampler,
            *(self.attribute, self.target, self.per_component, PILOT_SEED + self.seed),
            progress=progress,
        )
        return sampler.with_weights(weights, preparation=sampler.nfe * len(pilot))


def even(n):
    """As much of each: shape (n,)."""
    return np.full(n, 1 / n)


def plan(world, n, attribute=None, method="guided", per_component=60, timed=16):
    """What a run will cost, from a few faces made here and now: before hours are spent.

    Parameters
    ----------
    world : World
    n : int
        Faces wanted.
    attribute : str or tuple of str, optional
        The world's target when omitted.
    method : str
        As in `Order`.
    per_component : int
        Pilot faces of each of the mixture's components, where there is a pilot.
    timed : int
        Faces that are generated to take the time.

    Returns
    -------
    pandas.DataFrame
        A row for each job: ``faces``, network evaluations ``nfe`` a face, ``hours`` for one process
        like this one, and ``gigabytes`` of shards on disk. Those of the pool must fit in memory,
        too: the mixture is fitted to all of it.
    """
    order = Order(
        *(world, world.target if attribute is None else attribute, None, n),
        method=method,
        per_component=per_component,
    )
    return _costs(order, _pace(world, timed)).set_index("job")


def announce(*orders, processes=1):
    """Say on standard error what will be made, what for, and about how long it takes."""
    if sum(faces for order in orders for faces, _ in _jobs(order).values()) < 4 * TIMED:
        return  # made as soon as told
    pace, hours = _pace(orders[0].world, TIMED), 0
    for order in orders:
        for cost in _costs(order, pace).itertuples():
            what = WHY[cost.job].format(method=order.method)
            print(f"{cost.faces:,} {what}: about {_time(cost.hours / processes)}", file=sys.stderr)
            hours += cost.hours / processes
    if len(orders) > 1:
        print(f"together about {_time(hours)}", file=sys.stderr)


def _pace(world, timed):
    """Of a few faces: seconds a face and step, seconds a face afterwards, bytes of both."""
    plain = Sampler(world)
    plain.latents(check_count(timed, "timed"), 0, progress=False)  # warms up
    started = time.perf_counter()
    latents, _ = plain.latents(timed, 0, progress=False)
    per_step = (time.perf_counter() - started) / timed / plain.nfe
    started = time.perf_counter()
    images = decode(world.pipeline, latents, progress=False)
    world.classify(images)
    finish = (time.perf_counter() - started) / timed
    return per_step, finish, 2 * latents[0].size, images[0].nbytes


def _jobs(order):
    """What has to be made, in this order: job -> faces, and network evaluations a face."""
    world, nfe = order.world, Sampler(order.world).nfe
    jobs = {"faces": (order.n, nfe)}
    if order.method == "localized":
        rest = nfe - start_timestep(world.pipeline, world.timestep, world.num_inference_steps)[1]
        pilot = len(world.groups(order.attribute)) * order.per_component
        jobs = {"pilot": (pilot, rest), "faces": (order.n, rest)}
    if isinstance(world, OwnWorld) and world.pool is None and order.method != "plain":
        jobs = {"pool": (world.pool_size, nfe)} | jobs
    return jobs


def _costs(order, pace):
    (per_step, finish, latent_bytes, image_bytes), rows = pace, []
    for job, (faces, calls) in _jobs(order).items():
        gigabytes = faces * (latent_bytes if job == "pool" else image_bytes) / 1e9
        hours = faces * (calls * per_step + finish) / 3600
        row = {"job": job, "faces": faces, "nfe": calls, "hours": hours}
        rows.append(row | {"gigabytes": gigabytes})
    return pd.DataFrame(rows)


def _time(hours):
    seconds = 3600 * hours
    if seconds < 90:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 60:.0f} min" if hours < 1.5 else f"{hours:.1f} h"


def open_world(name, device="cpu", dtype="float32"):
    """A shipped world by name, or whatever ``module:function`` returns.

    Parameters
    ----------
    name : str
    device : str or torch.device
    dtype : str
        Both of a shipped world; a function's world has its own already.

    Returns
    -------
    World
    """
    if ":" not in name:
        return load_world(name, device=device, dtype=getattr(torch, dtype))
    if dtype != "float32":
        raise ValueError(f"dtype: {name} makes its world itself; set {dtype} in it, not here")
    module, _, function = name.partition(":")
    try:
        made = getattr(importlib.import_module(module), function)()
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"world: {name} cannot be called ({error})") from error
    if not isinstance(made, World):
        raise ValueError(f"world: {name} returned {type(made).__name__}; return a world")
    return made


def read_order(options, n, device="cpu", dtype="float32"):
    """The order that a command line's options make; ValueError before any work if it is amiss."""
    world = open_world(options.world, device, dtype)
    attribute, target = parse_target(world, options.target or world.text(world.target))
    settings = options.seed, options.method, options.strength, options.pilot
    return Order(world, attribute, target, n, *settings)


def make_folder(path):
    """A folder for results, which can be written to: better known before minutes of work."""
    path = Path(path)
    path.mkdir(parents=True, exist_ok=True)
    if not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
    return path
