"""Ideas against what guidance by the mixture misses: not every face becomes what it is led to.

Each changes the recommended sampler in one way; `study_guidance.py` measures what that gives.
"""

import copy

import numpy as np
import torch

from fairgen_utils.generate import Sampler, recommended_sampler
from fairgen_utils.localize import CellPosterior
from fairgen_utils.models.diffusion import decode
from fairgen_utils.models.guidance import LEAST_SIGNAL, Steering, assign_cells
from fairgen_utils.models.low_frequency import mixture_for

OWN_FACES = 1152  # to fit a guide on, or a cell's strength: whole batches
LEAST, MOST = 0.5, 2.0  # of the recommended strength


class TwoRounds(Steering):
    """Steps toward the cell twice, half as far each: the second from where the first has led."""

    def __call__(self, clean, noisy, alpha_cumprod):
        moved = super().__call__(clean, noisy, alpha_cumprod)
        if self.step <= self.first_step:
            return moved
        there = noisy + alpha_cumprod**0.5 * (moved - clean).to(noisy.dtype) / 2
        self.step -= 1  # the same step again
        return (moved + super().__call__(clean, there, alpha_cumprod)) / 2


class LeftAlone(Steering):
    """Leaves a face alone where it got the cell that it was likeliest to end in anyhow."""

    others = None

    def __call__(self, clean, noisy, alpha_cumprod):
        if self.cells is None and self.step == self.first_step:
            a = max(alpha_cumprod, LEAST_SIGNAL)
            likely = self.posterior.log_proba(noisy, a).cpu().numpy()
            self.cells = assign_cells(likely, self.quota)
            self.others = torch.as_tensor(self.cells != likely.argmax(1), device=noisy.device)
        moved = super().__call__(clean, noisy, alpha_cumprod)
        if self.others is None:
            return moved
        return torch.where(self.others[:, None, None, None], moved, clean)


class OwnStrengths(Steering):
    """Moves the faces of every cell by a strength of that cell's own."""

    def __call__(self, clean, noisy, alpha_cumprod):
        moved = super().__call__(clean, noisy, alpha_cumprod)
        if self.step <= self.first_step:
            return moved
        factor = torch.as_tensor(self.factors[self.cells], device=noisy.device).to(clean.dtype)
        return clean + factor[:, None, None, None] * (moved - clean)


def steered_by(sampler, steering, **known):
    """The sampler with another kind of steering."""

    class Steered(Sampler):
        def _steering(self, cells=None, quota=None):
            strength, first = self.strength, self.first_guided_step
            found = steering(self.posterior, strength, first, cells, quota)
            vars(found).update(known)
            return found

    other = copy.copy(sampler)
    other.__class__ = Steered
    return other


def recognised(world, seed):
    """Latents of guided faces, the cells they were led to, and those that they are read as."""
    latents, cells = recommended_sampler(world).latents(OWN_FACES, seed)
    images = decode(world.pipeline, latents, progress=False)
    return latents, cells, world.joint(world.classify(images).labels, world.target)


def strengths_of_cells(cells, read, n_cells):
    """Factors of strength: the more, the seldomer faces of a cell are read as of that cell."""
    rates = np.array([(read[cells == c] == c).mean() for c in range(n_cells)])
    factors = (1 - rates) / (1 - rates).mean()
    return np.clip(factors, LEAST, MOST).astype(np.float32)


def with_idea(sampler, idea, seed):
    """The recommended sampler, changed by one idea.

    Parameters
    ----------
    sampler : Sampler
    idea : str
        - ``its own faces``: the mixture fitted anew, to latents of guided faces and what the
          classifier reads them as. The generator's own faces, of rare cells as many as of others.
        - ``two rounds``: every step in two halves, the second one from where the first led.
        - ``left alone``: faces that get the cell they were likeliest to end in are not moved.
        - ``own strengths``: a strength for every cell, higher where fewer faces are read as of it.
    seed : int
        Of the faces that an idea is fitted on.
    """
    world = sampler.world
    if idea == "two rounds":
        return steered_by(sampler, TwoRounds)
    if idea == "left alone":
        return steered_by(sampler, LeftAlone)
    latents, cells, read = recognised(world, seed)
    if idea == "own strengths":
        factors = strengths_of_cells(cells, read, len(sampler.weights))
        return steered_by(sampler, OwnStrengths, factors=factors)
    if idea != "its own faces":
        raise ValueError(f"idea: there is no idea {idea!r}; see the documentation of with_idea")
    other = copy.copy(sampler)
    other.guide = mixture_for(latents.shape[1:], 1, "tied").fit(latents, read)
    other.posterior = CellPosterior(other.guide, len(sampler.weights), world.pipeline.device)
    return other
