"""Intervals, noise floors and differences: what chance does to what `fairgen_utils.measure` finds.

The draws and tests behind them are in `fairgen_utils._statistics`.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.special import ndtri

from fairgen_utils._checks import (
    check_cells,
    check_confusion,
    check_count,
    check_errors,
    check_fractions,
    check_labels,
    check_quotas,
    check_tail,
    check_target,
    plain,
)
from fairgen_utils._statistics import (
    Labelling,
    Sampling,
    draw_shares,
    invert_distance,
    join_intervals,
    quotas_of,
    root_of,
    spread,
)


def share_intervals(labels, n_groups, confidence=0.95):
    """Interval of every group's share, with a width even at share 0 (Wilson, JASA 1927).

    Parameters
    ----------
    labels : array_like of int, shape (n,), in 0..n_groups-1
    n_groups : int
    confidence : float in (0, 1)

    Returns
    -------
    ndarray, shape (n_groups, 2), lower and upper ends in [0, 1]
    """
    sampling = _sampling(labels, n_groups)
    measured, n, z = sampling.measured, sampling.n, ndtri(1 - check_tail(confidence))
    centre = (measured + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(measured * (1 - measured) / n + z**2 / (4 * n**2))
    # Rounding must not push an end past 0, 1 or the share itself.
    low, high = np.clip(centre - half, 0, measured), np.clip(centre + half, measured, 1)
    return np.stack([low, high], axis=-1)


def bootstrap_interval(labels, statistic, n_groups, confidence=0.95, n_resamples=2000, seed=0):
    """Percentile bootstrap interval of a statistic of the shares (Efron and Tibshirani, 1993).

    Multinomial counts at the measured shares are exactly labels resampled with replacement, only
    faster. Not for distances, which chance only lengthens: their bootstrap lies too high (for FD
    use `fd_interval`). A group never seen is never drawn; for shares use `share_intervals`.

    Parameters
    ----------
    labels : array_like of int, shape (n,), in 0..n_groups-1
    statistic : callable
        Maps shares (n_resamples, n_groups) to values (n_resamples, ...), for example
        ``lambda s: correct_shares(s, confusion)``. Called once.
    n_groups, n_resamples : int
    confidence : float in (0, 1)
    seed : int or numpy.random.Generator

    Returns
    -------
    ndarray, shape (..., 2), lower and upper ends of each value of the statistic
    """
    sampling, tail = _sampling(labels, n_groups), check_tail(confidence)
    size, rng = check_count(n_resamples, "n_resamples"), np.random.default_rng(seed)
    values = np.asarray(statistic(draw_shares(sampling.n, sampling.measured, size, rng)))
    if values.shape[:1] != (n_resamples,):
        shapes = f"returned shape {values.shape} for {n_resamples} draws"
        raise ValueError(f"statistic: {shapes}; it must map each row of shares to a value")
    return np.moveaxis(np.quantile(values, [tail, 1 - tail], axis=0), 0, -1)


def fd_interval(
    labels,
    n_groups,
    target=None,
    confusion=None,
    confidence=0.95,
    *,
    cells=None,
    n_draws=2000,
    seed=0,
):
    """Interval of the generator's FD that covers it, by test inversion (Neyman, 1937).

    It holds every FD from which, by chance, measured faces stray as far as ours do in more than
    1 - `confidence` of all draws. At the target, chance only adds to a measured FD: the interval
    begins at 0 there, and the measured FD itself may lie *above* it (see `noise_floor`).

    Parameters
    ----------
    labels : array_like of int, shape (n,), in 0..n_groups-1
    n_groups, n_draws : int
    target : array_like, shape (n_groups,), uniform when omitted
    confusion : array_like, shape (n_groups, n_groups), optional
        For the FD of corrected shares: P(predicted | true) where it is known exactly, or the
        integers of `confusion_counts`, whose own uncertainty is then in the interval.
    confidence : float in (0, 1)
    cells : array_like of int, shape (n,), optional
        The cell each face was given, where quotas fixed how many go into each (guided faces):
        only what a face becomes within its cell is left to chance then.
    seed : int or numpy.random.Generator

    Returns
    -------
    ndarray, shape (2,), lower and upper end in [0, sqrt(2)]
    """
    check_tail(confidence)
    normals = _normals(n_draws, check_count(n_groups, "n_groups"), seed)
    labelling, target = _labelling(confusion, n_groups, target)
    sampling = _sampling(labels, n_groups, cells)
    low, _, high = invert_distance(sampling, target, labelling, confidence, normals)
    return np.array([low, high])


class PairedDifference(NamedTuple):
    """FD of one method less that of another, on the same seeds, with its interval."""

    difference: float
    low: float
    high: float


def paired_difference(
    labels_a,
    labels_b,
    n_groups,
    target=None,
    confusion=None,
    confidence=0.95,
    *,
    cells_a=None,
    cells_b=None,
    n_draws=2000,
    seed=0,
):
    """By how much FD differs between methods a and b, where face i of both has the same seed.

    What both share cancels: faces alike by chance, errors of the confusion matrix. The intervals
    of `fd_interval` are joined by the correlation of the pairs (Zou and Donner, Stat. Med. 2008).

    Parameters
    ----------
    labels_a, labels_b : array_like of int, shape (n,), in 0..n_groups-1
    n_groups, target, confusion, confidence, n_draws, seed : as for `fd_interval`
    cells_a, cells_b : array_like of int, shape (n,), optional, as `cells` there

    Returns
    -------
    PairedDifference
        difference: FD of a less FD of b, as measured; low, high: of the generators'.
    """
    check_tail(confidence)
    normals = _normals(n_draws, check_count(n_groups, "n_groups"), seed)
    labelling, target = _labelling(confusion, n_groups, target)
    a = _sampling(labels_a, n_groups, cells_a, "labels_a", "cells_a")
    b = _sampling(labels_b, n_groups, cells_b, "labels_b", "cells_b")
    if len(a.labels) != len(b.labels):
        found = f"{len(b.labels)} labels, but {len(a.labels)} in labels_a"
        raise ValueError(f"labels_b: {found}; pass faces of the same seeds in the same order")
    fd_a, fd_b = (float(np.linalg.norm(labelling.shares(m.measured) - target)) for m in (a, b))
    ends = join_intervals(a, b, target, labelling, confidence, normals)
    return PairedDifference(fd_a - fd_b, *ends)


def noise_floor(
    n,
    target=None,
    n_groups=None,
    confusion=None,
    quantile=None,
    n_trials=10_000,
    seed=0,
    *,
    quotas=None,
):
    """FD that a generator exactly at the target scores with n faces, by chance alone.

    With a confusion matrix the labels pass through the classifier (they stay multinomial, at
    ``target @ rates``) and their shares are corrected, as those of a real generator would be.

    Parameters
    ----------
    n : int, the number of faces labelled in each trial
    target : array_like, shape (n_groups,), uniform when omitted
    n_groups, n_trials : int; n_groups only where neither target nor confusion tells it
    confusion : array_like, shape (n_groups, n_groups), optional
        As for `fd_interval`: the uncertainty of counts raises the floor.
    quantile : float or array_like in [0, 1], returned in place of the draws
    seed : int or numpy.random.Generator
    quotas : float in [0, 1], or pair (faces, rates), optional
        Where groups were handed out by quotas, faces lie nearer to the target than independent
        ones. A float: quotas of the target (largest remainders), and a face is of the group it
        was given with this probability, else of any by the target. A pair, as measured: faces
        given to each cell, (n_cells,), and P(predicted | cell), (n_cells, n_groups).

    Returns
    -------
    ndarray, shape (n_trials,), in [0, sqrt(2)]; with quantile, float or its shape
    """
    n, size = check_count(n, "n"), check_count(n_trials, "n_trials")
    quantile = None if quantile is None else check_fractions(quantile, "quantile")
    labelling, target = _labelling(confusion, n_groups, target)
    rng, k, shown = np.random.default_rng(seed), len(target), target @ labelling.rates
    if quotas is None:
        measured = draw_shares(n, shown, size, rng)
    elif np.isscalar(quotas):
        right = check_fractions(quotas, "quotas")
        given = (right * np.eye(k) + (1 - right) * target) @ labelling.rates
        measured = rng.multinomial(quotas_of(target, n), given, size=(size, k)).sum(axis=1) / n
    else:
        faces, given = check_quotas(quotas, k)
        noise = np.tensordot(faces, spread(given), 1) / faces.sum() ** 2
        measured = shown + rng.standard_normal((size, k)) @ root_of(noise).T
    floor = np.linalg.norm(labelling.redrawn(measured, target, rng) - target, axis=1)
    return floor if quantile is None else plain(np.quantile(floor, quantile))


@dataclass(frozen=True)
class Amplification:
    """Generated against training shares: arrays of shape (n_groups,); interval (n_groups, 2)."""

    generated: np.ndarray
    training: np.ndarray
    difference: np.ndarray
    interval: np.ndarray
    ratio: np.ndarray


def amplification(
    generated, training_shares, confidence=0.95, n_resamples=2000, seed=0, confusion=None
):
    """How far the generator moved each share from training (Zhao et al., EMNLP 2017).

    A difference is not yet a cause: faces may also differ in pose, age or their judge. Use one
    judge for both sets, and compare like with like (Seshadri et al., arXiv 2308.00755).

    Parameters
    ----------
    generated : array_like of int, shape (n,), in 0..n_groups-1
    training_shares : array_like, shape (n_groups,), taken as known exactly
    confidence : float in (0, 1), for each group alone
    n_resamples, seed : int, of the bootstrap, which only a confusion matrix asks for
    confusion : array_like, shape (n_groups, n_groups), P(predicted | true), optional
        When given, generated shares are corrected and the interval is bootstrapped, too narrow
        for a group that is never predicted; else it is Wilson's.

    Returns
    -------
    Amplification
        Shares generated and training, difference (generated - training, in [-1, 1]) with its
        interval, and ratio (generated / training; inf or NaN at a training share of 0).
    """
    training = check_target(training_shares, None, "training_shares")
    n_groups = len(training)
    measured = _sampling(generated, n_groups, name="generated").measured
    if confusion is None:
        interval = share_intervals(generated, n_groups, confidence) - training[:, None]
    else:
        labelling = Labelling(n_groups, check_confusion(confusion, n_groups))
        measured = labelling.shares(measured)
        interval = bootstrap_interval(
            generated,
            lambda draws: labelling.shares(draws) - training,
            *(n_groups, confidence, n_resamples, seed),
        )
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = measured / training
    return Amplification(measured, training, measured - training, interval, ratio)


def _labelling(confusion, n_groups, target):
    rates, n_true = check_errors(confusion, n_groups)
    target = check_target(target, n_groups if rates is None else len(rates))
    return Labelling(len(target), rates, n_true), target


def _sampling(labels, n_groups, cells=None, name="labels", cells_name="cells"):
    labels = check_labels(labels, n_groups, name)
    return Sampling(labels, n_groups, check_cells(cells, len(labels), cells_name))


def _normals(n_draws, n_groups, seed):
    size = (n_groups, check_count(n_draws, "n_draws"))
    return np.random.default_rng(seed).standard_normal(size)
