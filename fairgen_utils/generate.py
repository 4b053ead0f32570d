"""Generate: one Sampler draws faces, plainly, from a mixture, or guided by one."""

import copy
import time

import numpy as np
from tqdm import tqdm

from fairgen_utils._checks import check_count, check_labels, check_numbers, check_target
from fairgen_utils.localize import CellPosterior, localize_mixture
from fairgen_utils.models.diffusion import decode, denoise
from fairgen_utils.models.guidance import Steering, batch_quotas
from fairgen_utils.models.pipeline import check_pipeline, latent_shape, start_timestep, timesteps_of
from fairgen_utils.models.world import Predictions, Sample


class Sampler:
    """A prepared way to draw faces. The same settings and seed give the same faces, everywhere.

    Faces come in batches, and the random numbers of a batch depend on the seed and on its place
    alone: fifty faces are the first fifty of a thousand. Plain and guided faces of one seed start
    from the same noise, so they are pairs. (Which cell a guided face gets, and what a scheduler
    draws that adds noise at every step, depends on its batch: there it holds of whole ones.)

    Parameters
    ----------
    world : World
    name : str, optional
        Of the method, for tables and files.
    start : LatentMixture or LowFrequencyMixture, optional
        Start from it, noised, at `timestep`; from pure noise when omitted.
    timestep : int, optional
        The world's recommended one when omitted.
    weights : array_like, optional
        Shares of the start's components, shape (n_components,), or of the cells that faces are
        guided to, shape (n_cells,). Fitted shares and even cells when omitted.
    guide : LatentMixture or LowFrequencyMixture, optional
        Localized, best with a tied covariance: every step is moved toward one of its cells.
    strength : float, optional
        Of guidance. 0 is plain sampling, bit for bit. The world's recommended one when omitted.
    first_guided_step : int, optional
        Steps left alone before. The world's recommended number when omitted.
    assignment : {"nearest", "random"}
        Which faces of a batch get which cell: as few and as small changes as the quotas allow, or
        drawn.
    num_inference_steps : int, optional
    batch_size : int
    preparation : float
        Calls of the U-Net that preparing it took, once.

    Attributes
    ----------
    nfe : float
        Number of function evaluations: calls of the U-Net for each face.
    """

    def __init__(
        self,
        world,
        *,
        name=None,
        start=None,
        timestep=None,
        weights=None,
        guide=None,
        strength=None,
        first_guided_step=None,
        assignment="nearest",
        num_inference_steps=None,
        batch_size=64,
        preparation=0.0,
    ):
        check_pipeline(world.pipeline)
        self.world, self.start, self.guide = world, start, guide
        self.name = name or ("guided" if guide else "localized" if start else "plain")
        self.batch_size = check_count(batch_size, "batch_size")
        self.preparation = preparation
        steps = world.num_inference_steps if num_inference_steps is None else num_inference_steps
        self.steps = check_count(steps, "num_inference_steps")
        last = world.pipeline.scheduler.config.num_train_timesteps - 1
        wanted = last if start is None else world.timestep if timestep is None else timestep
        self.timestep, index = start_timestep(world.pipeline, wanted, self.steps)
        self.nfe = float(len(timesteps_of(world.pipeline, self.steps)) - index)
        self.strength = world.strength if strength is None else strength
        first = world.first_guided_step if first_guided_step is None else first_guided_step
        self.first_guided_step = check_count(first, "first_guided_step", least=0)
        if np.ndim(self.strength) or not 0 <= check_numbers(self.strength, "strength") < np.inf:
            raise ValueError(f"strength: found {strength!r}; give a number, 0 or more")
        if assignment not in ("nearest", "random"):
            raise ValueError(f"assignment: found {assignment!r}; give 'nearest' or 'random'")
        self.assignment = assignment
        self.noised = self.posterior = self.weights = None
        if start is not None:
            alpha_cumprod = float(world.pipeline.scheduler.alphas_cumprod[self.timestep])
            self.noised = start.push_forward(alpha_cumprod)  # and factored once, at its first draw
            self.weights = start.weights_
        if guide is not None:
            # cells beyond the last that the mixture knows are known by their weights alone
            n_cells = max(int(guide.cells_.max()) + 1, 0 if weights is None else np.size(weights))
            self.posterior = CellPosterior(guide, n_cells, world.pipeline.device)
            self.weights = np.full(n_cells, 1 / n_cells)
            weights = self.weights if weights is None else weights
        self.weights = self.weights if weights is None else self._checked(weights)

    def _checked(self, weights):
        if self.weights is None:
            raise ValueError("weights: plain sampling has none; give start= or guide= as well")
        weights = check_target(weights, len(self.weights), "weights")
        if self.guide is not None:
            self._check_known(np.flatnonzero(weights), "weights")
        return weights

    def _check_known(self, cells, name):
        absent = sorted(set(cells.tolist()) - set(self.guide.cells_.tolist()))
        if absent:
            raise ValueError(
                f"{name}: the mixture was fitted on no face of cells {absent}, so nothing leads "
                "there; leave them out or add such faces"
            )

    def with_weights(self, weights, preparation=None):
        """The same way to draw faces, at other shares of components or cells."""
        other = copy.copy(self)
        other.weights = self._checked(weights)
        other.preparation = self.preparation if preparation is None else preparation
        return other

    @property
    def is_steered(self):
        """Whether faces are led to cells, by quotas."""
        return self.guide is not None and self.strength > 0

    @property
    def settings(self):
        """Everything beside world and seed that the faces depend on, as JSON can hold it."""
        found = {"method": self.name, "num_inference_steps": self.steps, "timestep": self.timestep}
        found["batch_size"] = self.batch_size
        if self.weights is not None:
            found["weights"] = np.round(self.weights, 9).tolist()
        if self.guide is not None:
            found |= {"strength": float(self.strength), "assignment": self.assignment}
            found["first_guided_step"] = self.first_guided_step
        return found

    def draw(self, n, seed, progress=True, on_batch=None, classify=True, first_batch=0):
        """Faces of a seed.

        Parameters
        ----------
        n : int
        seed : int
        progress : bool
            Show a bar that moves with every batch.
        on_batch : callable, optional
            ``on_batch(done, n)`` after every batch; what it raises ends the draw.
        classify : bool
            Ask the world's classifier.
        first_batch : int
            Leave out the batches before: how processes share a run.

        Returns
        -------
        Sample
        """
        check_count(n, "n")
        images, said, components, seconds, done = [], [], [], 0.0, 0
        started = time.perf_counter()
        for latents, groups in self._batches(n, seed, first_batch, progress):
            images.append(decode(self.world.pipeline, latents, progress=False))
            components.append(groups)
            seconds += time.perf_counter() - started
            if classify:
                said.append(self.world.classify(images[-1]))
            done += len(latents)
            if on_batch is not None:
                on_batch(done, n)
            started = time.perf_counter()
        said = Predictions.joined(said) if classify else None
        return Sample(np.concatenate(images), said, _joined(components), seconds)

    def latents(self, n, seed, progress=True, first_batch=0):
        """Clean latents, (n, channels, height, width), of the faces of `draw`; their components."""
        check_count(n, "n")
        latents, groups = zip(*self._batches(n, seed, first_batch, progress), strict=True)
        return np.concatenate(latents), _joined(groups)

    def same_face(self, seed, index=0, cells=None):
        """One face of a seed, guided to every cell: the same noise, the other groups.

        An edit of one picture by what the mixture knows of groups; not what a person would look
        like who had been born into another one.

        Parameters
        ----------
        seed, index : int
            The face is the `index`-th that `draw` gives for this seed.
        cells : sequence of int, optional
            All that the mixture knows when omitted.

        Returns
        -------
        Sample
            A face for each cell, `components` naming it.
        """
        if self.guide is None:
            raise ValueError("guide: this sampler has none; give guide= to move faces to cells")
        cells = np.unique(self.guide.cells_) if cells is None else np.asarray(cells)
        self._check_known(check_labels(cells, len(self.weights), "cells"), "cells")
        batch, place = divmod(check_count(index, "index", least=0), self.batch_size)
        check_count(seed, "seed", least=0)
        noise = self._begin(place + 1, (seed, batch))[0][[place] * len(cells)]
        started, latents = time.perf_counter(), []
        for first in range(0, len(cells), self.batch_size):
            part = slice(first, first + self.batch_size)
            steering = self._steering(cells=cells[part])
            latents.append(self._denoise(noise[part], (seed, batch), steering))
        images = decode(self.world.pipeline, np.concatenate(latents), progress=False)
        took = time.perf_counter() - started
        return Sample(images, self.world.classify(images), cells, took)

    def _batches(self, n, seed, first_batch, progress):
        check_count(seed, "seed", least=0)
        check_count(first_batch, "first_batch", least=0)
        full, rest = divmod(n, self.batch_size)
        sizes = [self.batch_size] * (first_batch + full) + [rest] * (rest > 0)
        unled = [None] * len(sizes)
        quotas = batch_quotas(self.weights, sizes, seed) if self.is_steered else unled
        look = {"desc": self.name, "unit": "face", "disable": not progress, "delay": 1}
        with tqdm(total=n, **look) as bar:
            for batch, (size, quota) in enumerate(zip(sizes, quotas, strict=True)):
                if batch >= first_batch:
                    yield self._batch(size, (seed, batch), quota)
                    bar.update(size)

    def _batch(self, n, key, quota):
        """Clean latents of one batch, and their components or cells: what rivals do in their way.

        Parameters
        ----------
        n : int
        key : tuple (seed, batch)
            For every random number of the batch.
        quota : ndarray of int, shape (n_cells,), or None
        """
        noisy, components = self._begin(n, key)
        if quota is None:
            return self._denoise(noisy, key), components
        cells = None
        if self.assignment == "random":
            cells = np.repeat(np.arange(len(quota)), quota)
            cells = np.random.default_rng((*key, 1)).permutation(cells)
        steering = self._steering(cells, quota)
        return self._denoise(noisy, key, steering), steering.cells

    def _begin(self, n, key):
        """Where `n` faces of a batch begin: noisy latents, and their components in the start."""
        if self.start is None:
            shape = (n, *latent_shape(self.world.pipeline))
            return np.random.default_rng(key).standard_normal(shape, dtype=np.float32), None
        weights = self.weights if self.guide is None else None  # of cells, with a guide
        # of a whole batch, so that the first fifty stay the same however many follow
        noisy, components = self.noised.sample(max(n, self.batch_size), key, weights)
        return noisy[:n], components[:n]

    def _steering(self, cells=None, quota=None):
        return Steering(self.posterior, self.strength, self.first_guided_step, cells, quota)

    def _denoise(self, noisy, key, adjust=None, timestep=None, until=None):
        seed = int(np.random.SeedSequence(key).generate_state(1)[0])  # of a stochastic scheduler
        timestep = self.timestep if timestep is None else timestep
        settings = {"batch_size": self.batch_size, "adjust": adjust, "until": until}
        settings["progress"] = False
        return denoise(self.world.pipeline, noisy, timestep, self.steps, seed, **settings)


def _joined(groups):
    return None if groups[0] is None else np.concatenate(groups)


def recommended_sampler(world, attribute=None, target=None):
    """Plain sampling, guided by a tied mixture of the world's attributes: what the course advises.

    Parameters
    ----------
    world : World
    attribute : str or tuple of str, optional
        The world's own target when omitted.
    target : array_like, shape (n_groups,), optional
        Even when omitted.

    Returns
    -------
    Sampler
    """
    attribute = world.names(world.target if attribute is None else attribute)
    target = check_target(target, len(world.groups(attribute)))
    guide = localize_mixture(world, attribute, covariance_type="tied")
    return Sampler(world, guide=guide, weights=target)
