"""Studio: makes a run's faces batch by batch, and keeps what the next run can use."""

import time
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from fairgen_utils.apps.dashboard.settings import Settings
from fairgen_utils.apps.order import PILOT_SEED
from fairgen_utils.generate import Sample, Sampler
from fairgen_utils.judge import audit_fairness
from fairgen_utils.load import load_world
from fairgen_utils.localize import component_table, solve_weights
from fairgen_utils.models.pipeline import best_device
from fairgen_utils.models.world import Predictions, World


@dataclass
class Run:
    """Faces of a run so far.

    Attributes
    ----------
    world : World
    settings : Settings
        Of these faces: a run that was stopped early has fewer than were asked for.
    plain, made : Sample
        As plain sampling makes them, and as the method does; pairs where ``settings.pairs``.
    seconds : float
        Wall time since the run began.
    """

    world: World
    settings: Settings
    plain: Sample
    made: Sample
    seconds: float

    def __len__(self):
        return len(self.made)

    @property
    def samples(self):
        """Name -> Sample: plain faces first."""
        return {"plain": self.plain, self.settings.method: self.made}

    @cached_property
    def fairness(self):
        """Name -> what `audit_fairness` finds."""
        settings, found = self.settings, {}
        for name, sample in self.samples.items():
            # where quotas said how many faces go to each cell, chance has less to decide
            given = {"cells": sample.components} if name == "guided" else {}
            asked = settings.attribute, np.array(settings.target)
            found[name] = audit_fairness(self.world, sample.predictions, *asked, **given)
        return found

    def cells(self, sample):
        """Which combination of the attributes each face is read as: shape (n,)."""
        return self.world.joint(sample.predictions.labels, self.settings.attribute)

    @property
    def origin(self):
        """What makes two runs one: everything but how many faces there are."""
        return replace(self.settings, n=1)


@dataclass
class Step:
    """Where a run stands.

    Attributes
    ----------
    job : {"mixture", "pilot", "faces"}
        What is being made now.
    done, wanted : int
        Faces of this job so far, and in all.
    run : Run or None
        All faces so far, where a batch of them has just been finished.
    """

    job: str
    done: int
    wanted: int
    run: Run | None = None


class Studio:
    """Makes faces batch by batch, the same ones as the command line makes of the same order.

    Worlds, mixtures, pilots and plain faces are kept: who only moves a target waits for them once.

    Parameters
    ----------
    root : path, optional
        The folder that holds the worlds, as in `load_world`.
    """

    def __init__(self, root=None):
        self.root, self._worlds, self._samplers, self._tables = root, {}, {}, {}
        self._plain = (None, [])  # (world, seed), batches

    def world(self, name):
        """A shipped world, loaded once."""
        if name not in self._worlds:
            self._worlds[name] = load_world(name, self.root, best_device())
        return self._worlds[name]

    def check(self, settings):
        """The order of these settings; ValueError, before anything is made, if there is none."""
        return settings.order(self.world(settings.world))

    def batches(self, settings):
        """Make a run's faces.

        Yields
        ------
        Step
            After every batch, and before anything that takes long.
        """
        started = time.perf_counter()
        order = self.check(settings)
        if self._key(order) not in self._samplers:
            yield Step("mixture", 0, settings.n)
        sampler = self._sampler(order)
        if order.method == "localized":
            yield from self._pilot(order, sampler)
            table, confusion = self._tables[self._pilot_key(order)], order.world.confusion
            weights = solve_weights(table, order.target, confusion(order.attribute))
        else:
            weights = order.target
        sampler = sampler.with_weights(weights)
        plain, made = [], []
        for batch, size in enumerate(_sizes(order.n, sampler.batch_size)):
            done = sum(map(len, made))
            plain.append(self._plain_batch(order, batch, size))
            yield Step("faces", done, order.n)
            made.append(sampler.draw(size, order.seed, progress=False, first_batch=batch))
            done += size
            so_far = replace(settings, n=done)
            both = _joined(plain), _joined(made)
            run = Run(order.world, so_far, *both, time.perf_counter() - started)
            yield Step("faces", done, order.n, run)

    def same_face(self, run, index):
        """A plain face of a run, guided to every cell of its attributes.

        Returns
        -------
        Sample
            As `Sampler.same_face` gives it.
        """
        order = replace(run.settings, method="guided").order(run.world)
        sampler = self._sampler(order)
        return sampler.same_face(order.seed, index, np.unique(sampler.guide.cells_))

    def _key(self, order):
        return order.world.name, order.method, order.attribute

    def _sampler(self, order):
        """With weights that are even; fitting its mixture takes a moment, and is done once."""
        if self._key(order) not in self._samplers:
            self._samplers[self._key(order)] = replace(order, target=None).unfitted()
        return self._samplers[self._key(order)]

    def _pilot_key(self, order):
        return order.world.name, order.attribute, order.seed

    def _pilot(self, order, sampler):
        """The table that `fit_weights` counts: it doesn't depend on the target."""
        if self._pilot_key(order) in self._tables:
            return
        k, parts = len(sampler.weights), []
        n, seed = k * order.per_component, PILOT_SEED + order.seed
        for batch, size in enumerate(_sizes(n, sampler.batch_size)):
            yield Step("pilot", sum(map(len, parts)), n)
            parts.append(sampler.draw(size, seed, progress=False, first_batch=batch))
        pilot, groups = _joined(parts), len(order.world.groups(order.attribute))
        labels = order.world.joint(pilot.predictions.labels, order.attribute)
        table = component_table(pilot.components, labels, k, groups)
        self._tables[self._pilot_key(order)] = table

    def _plain_batch(self, order, batch, size):
        key = order.world.name, order.seed
        if self._plain[0] != key:
            self._plain = key, []
        kept = self._plain[1]
        if batch < len(kept) and size <= len(kept[batch]):
            return _first(kept[batch], size)
        sampler = Sampler(order.world)
        made = sampler.draw(size, order.seed, progress=False, first_batch=batch)
        kept[batch:] = [made]
        return made


def _sizes(n, batch_size):
    return [min(batch_size, n - start) for start in range(0, n, batch_size)]


def _joined(parts):
    """Several samples as one."""
    known = parts[0].components is not None
    return Sample(
        np.concatenate([part.images for part in parts]),
        Predictions.joined([part.predictions for part in parts]),
        np.concatenate([part.components for part in parts]) if known else None,
        sum(part.seconds for part in parts),
    )


def _first(sample, n):
    """The first faces of a plain batch."""
    said = sample.predictions
    labels = {name: values[:n] for name, values in said.labels.items()}
    probabilities = {name: values[:n] for name, values in said.probabilities.items()}
    predictions = Predictions(labels, probabilities, said.features[:n])
    return Sample(sample.images[:n], predictions, None, sample.seconds * n / len(sample))
