"""Guidance by a mixture: which face gets which cell, and the step toward it."""

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment

LEAST_SIGNAL = 1e-6  # of alphas_cumprod: at pure noise the step's limit is finite, 0/0 is not


def batch_quotas(target, sizes, seed):
    """How many faces of each batch go to each cell, so that all batches together fit the target.

    After every face, hence after every batch whatever its size, no cell is a whole face or more
    away from its share: whose turn it is to fall behind first gets the next face. (Rounding each
    batch to the largest remainders cannot promise that, even with remainders carried over.)

    Parameters
    ----------
    target : array_like, shape (n_cells,)
        Wanted shares, summing to one.
    sizes : sequence of int
        Faces in each batch.
    seed : int
        Decides between cells whose turn it is alike.

    Yields
    ------
    ndarray of int, shape (n_cells,)
        Of one batch, summing to its size.

    References
    ----------
    Tijdeman, "The Chairman Assignment Problem", Discrete Mathematics 32, 1980.
    """
    target = np.asarray(target, float) / np.sum(target)
    rng = np.random.default_rng(seed)
    # a cell is up once so much of a face is owed; then none ever misses 1 - slack of one
    slack = 1 / max(2 * len(target) - 2, 1)
    given, n = np.zeros(len(target)), 0
    for size in sizes:
        before = given.copy()
        early = 1e-6 * rng.random(len(target))  # another order of equals for every batch
        for _ in range(size):
            n += 1
            deadline = (given + 1 - slack) / np.maximum(target, 1e-12) - early
            up = n * target - given >= slack - 1e-9
            given[np.argmin(np.where(up, deadline, np.inf))] += 1
        yield (given - before).astype(int)


def assign_cells(log_proba, quota):
    """A cell for every face: the quotas filled, with the least change asked of the batch.

    Parameters
    ----------
    log_proba : ndarray, shape (n, n_cells)
        log p(cell | x_t), as `CellPosterior.log_proba` gives it.
    quota : ndarray of int, shape (n_cells,)
        Summing to n.

    Returns
    -------
    ndarray of int, shape (n,)

    References
    ----------
    Kuhn, "The Hungarian Method for the Assignment Problem", 1955: scipy's linear_sum_assignment.
    """
    places = np.repeat(np.arange(len(quota)), quota)
    rows, chosen = linear_sum_assignment(-np.maximum(log_proba[:, places], -1e30))
    cells = np.empty(len(rows), int)
    cells[rows] = places[chosen]
    return cells


class Steering:
    """Moves the clean latents that the network predicts toward cells, step by step of one batch.

    Parameters
    ----------
    posterior : CellPosterior
    strength : float, at least 0
        Factor of E[x_0 | x_t, cell] - E[x_0 | x_t].
    first_step : int
        Steps left alone before the faces get their cells.
    cells : ndarray of int, shape (n,), optional
        Chosen beforehand.
    quota : ndarray of int, shape (n_cells,), optional
        Otherwise: how many faces each cell gets, the nearest ones.
    """

    def __init__(self, posterior, strength, first_step, cells=None, quota=None):
        self.posterior, self.strength, self.first_step = posterior, strength, first_step
        self.cells, self.quota, self.step = cells, quota, 0

    def __call__(self, clean, noisy, alpha_cumprod):
        self.step += 1
        if self.step <= self.first_step:
            return clean
        a = max(alpha_cumprod, LEAST_SIGNAL)
        if self.cells is None:
            log_proba = self.posterior.log_proba(noisy, a).cpu().numpy()
            self.cells = assign_cells(log_proba, self.quota)
        cells = torch.as_tensor(self.cells, device=noisy.device)
        return clean + self.strength * self.posterior.toward(noisy, a, cells).to(clean.dtype)
