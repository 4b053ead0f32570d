"""Select among plain faces: by rejection, or in the middle of the way; and what then holds."""

import numpy as np

from fairgen_utils._checks import check_count, check_target
from fairgen_utils.generate import Sampler
from fairgen_utils.localize import localize_mixture
from fairgen_utils.measure import correct_shares
from fairgen_utils.models.pipeline import start_timestep


def rejection_sample(labels, target, n, seed):
    """Rejection sampling: the first faces of a plain sample that fill quotas drawn from `target`.

    Parameters
    ----------
    labels : ndarray of int, shape (pool,)
        Predicted group of every face of the sample.
    target : array_like, shape (n_groups,)
    n : int
        Faces to keep.
    seed : int
        For the quotas.

    Returns
    -------
    kept : ndarray of int
        Positions of the kept faces.
    used : int
        How many faces had to be generated to find them. When the sample is too small to fill
        every quota, all of it, and fewer than `n` are kept.
    """
    target = check_target(target, None)
    quotas = np.random.default_rng(seed).multinomial(check_count(n, "n"), target / target.sum())
    places = [np.flatnonzero(labels == g)[:quota] for g, quota in enumerate(quotas)]
    kept = np.sort(np.concatenate(places))
    full = all(len(found) == quota for found, quota in zip(places, quotas, strict=True))
    return kept, int(kept[-1]) + 1 if full else len(labels)


def posterior_shares(kept, plain, confusion):
    """True shares to expect among faces that were selected by their predicted group.

    Selection by prediction voids P(predicted | true); what still holds within a predicted group is
    P(true | predicted), by Bayes' rule from the generator's own shares.

    Parameters
    ----------
    kept : array_like, shape (n_groups,)
        Predicted shares of the selected faces.
    plain : array_like, shape (n_groups,)
        Predicted shares before selection.
    confusion : array_like, shape (n_groups, n_groups), P(predicted | true)

    Returns
    -------
    ndarray, shape (n_groups,), summing to one
    """
    plain = check_target(plain, None, "plain")
    kept = check_target(kept, len(plain), "kept")
    joint = np.asarray(confusion) * correct_shares(plain, confusion)[:, None]
    return (joint / np.maximum(joint.sum(0), 1e-12)) @ kept


class OnTheFly(Sampler):
    """Denoise several times as many as wanted, localize, keep an even choice, and go on.

    Parameters
    ----------
    world : World
    target : array_like, shape (n_cells,)
    pool : int
        Faces begun for each one finished.
    """

    def __init__(self, world, target, pool=4):
        super().__init__(world, name="on_the_fly")
        self.pool, self.target = pool, check_target(target, len(world.groups(world.target)))
        # pooled, as guidance has it: groups of few faces are told apart better half-way
        mixture = localize_mixture(world, world.target, covariance_type="tied")
        self.middle, index = start_timestep(world.pipeline, world.timestep, self.steps)
        self.half_way = mixture.push_forward(
            float(world.pipeline.scheduler.alphas_cumprod[self.middle])
        )
        self.nfe = pool * index + self.nfe - index

    def _batch(self, n, key, quota):
        noise = self._begin(self.pool * n, key)[0]
        half_way = self._denoise(noise, key, until=self.middle)
        responsibilities = cell_responsibilities(self.half_way, half_way, len(self.target))
        kept = choose_evenly(responsibilities, self.target, n, key)
        return self._denoise(half_way[kept], key, timestep=self.middle), None


def cell_responsibilities(mixture, latents, n_cells, batch_size=1000):
    """Probability of every cell given each latent: shape (n, n_cells)."""
    starts = range(0, len(latents), batch_size)
    parts = [mixture.predict_proba(latents[start : start + batch_size]) for start in starts]
    return np.concatenate(parts) @ np.eye(n_cells)[mixture.cells_]


def choose_evenly(responsibilities, target, n, seed):
    """The `n` of a pool that fill quotas drawn from `target`, those surest of their cell first.

    Parameters
    ----------
    responsibilities : ndarray, shape (pool, n_cells)
    target : array_like, shape (n_cells,)
    n : int, at most the pool
    seed : int or sequence of int

    Returns
    -------
    ndarray of int, shape (n,)
        Different positions in the pool, in rising order.
    """
    target = check_target(target, responsibilities.shape[1])
    if check_count(n, "n") > len(responsibilities):
        raise ValueError(f"n: found {n} for a pool of {len(responsibilities)}; give a larger pool")
    quotas = np.random.default_rng(seed).multinomial(n, target)
    free, kept = np.ones(len(responsibilities), bool), []
    # the rarest first: what is left suffices for those whom the pool has plenty of
    for cell in np.argsort(responsibilities.sum(0)):
        order = np.argsort(-np.where(free, responsibilities[:, cell], -1), kind="stable")
        chosen = order[: quotas[cell]]
        free[chosen] = False
        kept.append(chosen)
    return np.sort(np.concatenate(kept))
