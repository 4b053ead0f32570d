"""Measure: shares of groups, their distance from a target, and a classifier's errors in them.

What chance does to all of these, their intervals, noise floors and differences, is written in
`_intervals.py` and called from here as well.
"""

import numpy as np
from scipy.special import entr, rel_entr

from fairgen_utils._checks import (
    check_confusion,
    check_labels,
    check_shares,
    check_target,
    plain,
)
from fairgen_utils._intervals import (
    Amplification,
    PairedDifference,
    amplification,
    bootstrap_interval,
    fd_interval,
    noise_floor,
    paired_difference,
    share_intervals,
)
from fairgen_utils._statistics import project_to_simplex

__all__ = [
    "Amplification",
    "PairedDifference",
    "amplification",
    "bootstrap_interval",
    "confusion_counts",
    "confusion_rates",
    "correct_shares",
    "fairness_discrepancy",
    "fd_interval",
    "joint_labels",
    "kl_divergence",
    "marginal_shares",
    "noise_floor",
    "normalized_entropy",
    "paired_difference",
    "share_intervals",
    "shares",
    "soft_shares",
]


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


def confusion_counts(true, predicted, n_groups):
    """How many faces of each true group were predicted as each group.

    Given to `fd_interval`, `paired_difference` or `noise_floor` in place of rates, they tell how
    well the rates are known.

    Parameters
    ----------
    true, predicted : array_like of int, shape (n,), in 0..n_groups-1, every group among `true`
        Of faces the classifier was not trained on, as near to generated ones as can be had.
    n_groups : int

    Returns
    -------
    ndarray of int, shape (n_groups, n_groups): row = true, column = predicted
    """
    true = check_labels(true, n_groups, "true")
    predicted = check_labels(predicted, n_groups, "predicted")
    if len(true) != len(predicted):
        raise ValueError(f"predicted: {len(predicted)} labels for {len(true)} true ones")
    pairs = np.bincount(true * n_groups + predicted, minlength=n_groups**2)
    counts = pairs.reshape(n_groups, n_groups)
    missing = np.flatnonzero(counts.sum(axis=1) == 0).tolist()
    if missing:
        raise ValueError(f"true: no example of groups {missing}; add labelled faces of every group")
    return counts


def confusion_rates(true, predicted, n_groups):
    """How often each true group is predicted as each group (Teo et al., "CLEAM", NeurIPS 2023).

    Parameters
    ----------
    true, predicted, n_groups
        As for `confusion_counts`.

    Returns
    -------
    ndarray, shape (n_groups, n_groups), P(predicted | true): row = true, rows summing to one
    """
    counts = confusion_counts(true, predicted, n_groups)
    return counts / counts.sum(axis=1, keepdims=True)


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
    return project_to_simplex(measured @ np.linalg.inv(confusion))
