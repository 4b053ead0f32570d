"""Measure: shares, discrepancies, their intervals and floors, correction, amplification."""

from dataclasses import dataclass

import numpy as np
from scipy.special import entr, ndtri, rel_entr

from fairgen_utils._checks import (
    check_confusion,
    check_count,
    check_labels,
    check_numbers,
    check_shares,
    check_tail,
    check_target,
    plain,
)


def shares(labels, n_groups):
    """Share of every group among hard labels, the empty ones too (Choi et al., ICML 2020).

    Parameters
    ----------
    labels : array_like of int, shape (n,), in 0..n_groups-1
    n_groups : int, the groups that could occur, which the labels alone cannot tell

    Returns
    -------
    ndarray, shape (n_groups,), in [0, 1], summing to one
    """
    labels = check_labels(labels, n_groups)
    return np.bincount(labels, minlength=n_groups) / len(labels)


def soft_shares(probabilities):
    """Mean class probabilities, the soft variant of `shares` (DiffLens, Shi et al., CVPR 2025).

    Report which of the two is used.

    Parameters
    ----------
    probabilities : array_like, shape (n, n_groups), in [0, 1], rows summing to one

    Returns
    -------
    ndarray, shape (n_groups,), in [0, 1], summing to one
    """
    probabilities = check_shares(probabilities, "probabilities")
    if probabilities.ndim != 2:
        raise ValueError(f"probabilities: shape {probabilities.shape}; pass (n, n_groups)")
    return probabilities.mean(axis=0)


def joint_labels(labels, sizes):
    """One label for each combination of several attributes; the last attribute runs fastest.

    Fair margins can hide unfair combinations (Buolamwini and Gebru, "Gender Shades", FAT* 2018).

    Parameters
    ----------
    labels : sequence of array_like of int, one of shape (n,) for each attribute
    sizes : sequence of int, the number of groups of each attribute

    Returns
    -------
    ndarray of int, shape (n,), in 0..prod(sizes)-1
    """
    if len(labels) != len(sizes) or not len(sizes):
        raise ValueError(f"labels: {len(labels)} arrays for {len(sizes)} sizes; pass one for each")
    pairs = enumerate(zip(labels, sizes, strict=True))
    arrays = [check_labels(a, k, f"labels[{i}]") for i, (a, k) in pairs]
    lengths = [len(a) for a in arrays]
    if len(set(lengths)) > 1:
        raise ValueError(f"labels: lengths {lengths} differ; pass the same faces in each array")
    return np.ravel_multi_index(arrays, tuple(sizes))


def marginal_shares(joint, sizes, axis):
    """Shares of one attribute, from the shares of the combinations of `joint_labels`.

    Parameters
    ----------
    joint : array_like, shape (..., prod(sizes)), in [0, 1], summing to one
    sizes : sequence of int, the number of groups of each attribute
    axis : int, the attribute to keep, in 0..len(sizes)-1

    Returns
    -------
    ndarray, shape (..., sizes[axis]), in [0, 1], summing to one
    """
    joint = check_shares(joint, "joint", int(np.prod(sizes)))
    if axis not in range(len(sizes)):
        raise ValueError(f"axis: {axis}; pass an attribute in 0..{len(sizes) - 1}")
    others = tuple(i - len(sizes) for i in range(len(sizes)) if i != axis)
    return joint.reshape(*joint.shape[:-1], *sizes).sum(axis=others)


def fairness_discrepancy(shares, target=None):
    """Euclidean distance of measured shares from the target shares, FD (Choi et al., ICML 2020).

    Every group counts, also one that never occurs: against a uniform target, a generator
    collapsed to one of K groups scores the maximum, sqrt((K - 1) / K).

    Parameters
    ----------
    shares : array_like, shape (..., n_groups), in [0, 1], summing to one
    target : array_like, shape (n_groups,), uniform when omitted

    Returns
    -------
    float or ndarray, shape (...), in [0, sqrt(2)]
    """
    shares = check_shares(shares, "shares")
    target = check_target(target, shares.shape[-1])
    return plain(np.linalg.norm(shares - target, axis=-1))


def kl_divergence(shares, target=None):
    """Kullback-Leibler divergence KL(shares || target), in nats.

    Parameters
    ----------
    shares : array_like, shape (..., n_groups); an empty group adds nothing (0 log 0 = 0)
    target : array_like, shape (n_groups,), uniform when omitted

    Returns
    -------
    float or ndarray, shape (...), in [0, inf]; inf where a group occurs that the target excludes
    """
    shares = check_shares(shares, "shares")
    target = check_target(target, shares.shape[-1])
    return plain(np.maximum(rel_entr(shares, target).sum(axis=-1), 0))


def normalized_entropy(shares):
    """Entropy of the shares over its maximum, H / log K: 1 when all are equal (Shannon, 1948).

    Parameters
    ----------
    shares : array_like, shape (..., n_groups >= 2), in [0, 1], summing to one

    Returns
    -------
    float or ndarray, shape (...), in [0, 1]
    """
    shares = check_shares(shares, "shares")
    if shares.shape[-1] < 2:
        raise ValueError("shares: 1 group; entropy is normalized by log K, so pass at least 2")
    return plain(np.clip(entr(shares).sum(axis=-1) / np.log(shares.shape[-1]), 0, 1))


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
    measured = shares(labels, n_groups)
    n, z = len(labels), ndtri(1 - check_tail(confidence))
    centre = (measured + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(measured * (1 - measured) / n + z**2 / (4 * n**2))
    # Rounding must not push an end past 0, 1 or the share itself.
    low, high = np.clip(centre - half, 0, measured), np.clip(centre + half, measured, 1)
    return np.stack([low, high], axis=-1)


def bootstrap_interval(labels, statistic, n_groups, confidence=0.95, n_resamples=2000, seed=0):
    """Percentile bootstrap interval of a statistic of the shares (Efron and Tibshirani, 1993).

    Multinomial counts at the measured shares are exactly labels resampled with replacement, only
    faster. FD cannot fall below 0: near the target its interval lies too high, so read it beside
    `noise_floor`. A group never seen is never drawn; for shares use `share_intervals`.

    Parameters
    ----------
    labels : array_like of int, shape (n,), in 0..n_groups-1
    statistic : callable
        Maps shares (n_resamples, n_groups) to values (n_resamples, ...), for example
        ``lambda s: fairness_discrepancy(correct_shares(s, confusion))``. Called once.
    n_groups, n_resamples : int
    confidence : float in (0, 1)
    seed : int or numpy.random.Generator

    Returns
    -------
    ndarray, shape (..., 2), lower and upper ends of each value of the statistic
    """
    measured, tail = shares(labels, n_groups), check_tail(confidence)
    values = np.asarray(statistic(_draw_shares(len(labels), measured, n_resamples, seed)))
    if values.shape[:1] != (n_resamples,):
        shapes = f"returned shape {values.shape} for {n_resamples} draws"
        raise ValueError(f"statistic: {shapes}; it must map each row of shares to a value")
    return np.moveaxis(np.quantile(values, [tail, 1 - tail], axis=0), 0, -1)


def noise_floor(
    n, target=None, n_groups=None, confusion=None, quantile=None, n_trials=10_000, seed=0
):
    """FD that a generator exactly at the target scores with n faces, by chance alone.

    With a confusion matrix the labels pass through the classifier (they stay multinomial, at
    ``target @ confusion``) and their shares are corrected, as those of a real generator would be.

    Parameters
    ----------
    n : int, the number of faces labelled in each trial
    target : array_like, shape (n_groups,), uniform when omitted
    n_groups, n_trials : int
        n_groups is needed only where neither target nor confusion tells it.
    confusion : array_like, shape (n_groups, n_groups), P(predicted | true), optional
    quantile : float or array_like in [0, 1], returned in place of the draws
    seed : int or numpy.random.Generator

    Returns
    -------
    ndarray, shape (n_trials,), in [0, sqrt(2)]; with quantile, float or its shape
    """
    n = check_count(n, "n")
    if quantile is not None and np.any(~(abs(check_numbers(quantile, "quantile") - 0.5) <= 0.5)):
        raise ValueError(f"quantile: {quantile}; pass values in [0, 1], such as 0.95")
    if confusion is not None:
        confusion = check_confusion(confusion, n_groups)
        n_groups = len(confusion)
    target = check_target(target, n_groups)
    seen = target if confusion is None else target @ confusion
    measured = _draw_shares(n, seen, n_trials, seed, "n_trials")
    if confusion is not None:
        measured = correct_shares(measured, confusion)
    floor = fairness_discrepancy(measured, target)
    return floor if quantile is None else plain(np.quantile(floor, quantile))


def confusion_rates(true, predicted, n_groups):
    """How often each true group is predicted as each group (Teo et al., "CLEAM", NeurIPS 2023).

    Parameters
    ----------
    true, predicted : array_like of int, shape (n,), in 0..n_groups-1, every group among `true`
        Of faces the classifier was not trained on, as near to generated ones as can be had.
    n_groups : int

    Returns
    -------
    ndarray, shape (n_groups, n_groups), P(predicted | true): row = true, rows summing to one
    """
    true = check_labels(true, n_groups, "true")
    predicted = check_labels(predicted, n_groups, "predicted")
    if len(true) != len(predicted):
        raise ValueError(f"predicted: {len(predicted)} labels for {len(true)} true ones")
    counts = np.zeros((n_groups, n_groups))
    np.add.at(counts, (true, predicted), 1)
    totals = counts.sum(axis=1, keepdims=True)
    if not totals.all():
        missing = np.flatnonzero(totals == 0).tolist()
        raise ValueError(f"true: no example of groups {missing}; add labelled faces of every group")
    return counts / totals


def correct_shares(measured, confusion):
    """Shares corrected for the classifier's known errors (Teo et al., "CLEAM", NeurIPS 2023).

    Solves ``confusion.T @ p = measured`` (adjusted count: Forman, DMKD 2008) and projects the
    solution on the nearest shares (Duchi et al., ICML 2008). Assumes the same error rates on the
    measured faces as on those that gave `confusion`, known exactly. A poor classifier amplifies
    noise: show both shares. A singular confusion matrix is refused.

    Parameters
    ----------
    measured : array_like, shape (..., n_groups), in [0, 1], summing to one
    confusion : array_like, shape (n_groups, n_groups), P(predicted | true)

    Returns
    -------
    ndarray, shape (..., n_groups), in [0, 1], summing to one
    """
    measured = check_shares(measured, "measured")
    confusion = check_confusion(confusion, measured.shape[-1])
    # One inverse serves a whole batch; np.linalg.solve would factorize for every row.
    return _project_to_simplex(measured @ np.linalg.inv(confusion))


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
    n_resamples, seed : int
        Bootstrap draws and their seed; used with a confusion matrix only.
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
    generated = check_labels(generated, n_groups, "generated")
    measured = shares(generated, n_groups)
    if confusion is None:
        interval = share_intervals(generated, n_groups, confidence) - training[:, None]
    else:
        measured = correct_shares(measured, confusion)
        interval = bootstrap_interval(
            generated,
            lambda draws: correct_shares(draws, confusion) - training,
            *(n_groups, confidence, n_resamples, seed),
        )
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = measured / training
    return Amplification(measured, training, measured - training, interval, ratio)


def _draw_shares(n, probabilities, size, seed, name="n_resamples"):
    size = check_count(size, name)
    # The multinomial sampler is stricter about the sum than check_shares.
    probabilities = probabilities / probabilities.sum()
    return np.random.default_rng(seed).multinomial(n, probabilities, size=size) / n


def _project_to_simplex(points):
    """Nearest shares to each point: lower all coordinates by one amount and cut at 0."""
    n_groups = points.shape[-1]
    descending = np.sort(points, axis=-1)[..., ::-1]
    shifts = (np.cumsum(descending, axis=-1) - 1) / np.arange(1, n_groups + 1)
    kept = (descending > shifts).sum(axis=-1, keepdims=True)
    return np.maximum(points - np.take_along_axis(shifts, kept - 1, axis=-1), 0)
