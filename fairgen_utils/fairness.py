"""Measure: labels in, shares and their distances from a target out.

Groups are integers 0..n_groups-1; functions of shares accept a batch, shape (..., n_groups).
Every function raises ValueError naming the argument when labels are empty, NaN, not integer or out
of range, or shares are negative, not finite, of the wrong length or do not sum to one.
"""

from numbers import Integral

import numpy as np
from scipy.special import entr, rel_entr

SUM_TOLERANCE = 1e-6


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


def check_numbers(values, name, dtype=float):
    """Numbers as an array; ValueError names the argument `name`."""
    try:
        return np.asarray(values, dtype)
    except (TypeError, ValueError):
        raise ValueError(f"{name}: not an array of numbers; found {values!r:.60}") from None


def check_shares(shares, name="target", n_groups=None):
    """Shares (..., n_groups) as an array, not rescaled; ValueError names the argument `name`."""
    array = check_numbers(shares, name)
    if array.ndim == 0 or array.size == 0:
        raise ValueError(f"{name}: shape {array.shape} holds no group; pass one share per group")
    if n_groups is not None and array.shape[-1] != n_groups:
        raise ValueError(f"{name}: {array.shape[-1]} shares for {n_groups} groups")
    rows = array.reshape(-1, array.shape[-1])
    for wrong, found, wanted in (
        (~np.isfinite(rows).all(axis=1), "are not finite", "leave those faces out and say so"),
        ((rows < 0).any(axis=1), "are negative", "pass shares of at least 0"),
        (abs(rows.sum(axis=1) - 1) > SUM_TOLERANCE, "sum to {:.8g}, not 1", "divide by their sum"),
    ):
        if wrong.any():
            row = rows[wrong.argmax()]
            found = f"shares {found.format(row.sum())}; found {row.round(6).tolist()}"
            raise ValueError(f"{name}: {found}; {wanted}")
    return array


def check_target(target, n_groups, name="target"):
    """One share per group, shape (n_groups,), uniform when `target` is None."""
    if target is None:
        return np.full(check_count(n_groups, "n_groups"), 1 / n_groups)
    target = check_shares(target, name, n_groups)
    if target.ndim != 1:
        raise ValueError(f"{name}: shape {target.shape}; pass one share per group, (n_groups,)")
    return target


def check_labels(labels, n_groups, name="labels"):
    """Integer labels (n,) in 0..n_groups-1 as an array; ValueError names the argument `name`."""
    check_count(n_groups, "n_groups")
    labels = np.asarray(labels)
    if labels.ndim != 1 or not labels.size:
        raise ValueError(f"{name}: shape {labels.shape}; pass one label per face, and at least one")
    if labels.dtype.kind == "f" and np.isnan(labels).any():
        count = f"{np.isnan(labels).sum()} of {len(labels)}"
        raise ValueError(f"{name}: {count} are NaN; leave those faces out and say how many")
    if labels.dtype.kind not in "iu":
        raise ValueError(f"{name}: dtype {labels.dtype}, not integer; pass 0..{n_groups - 1}")
    outside = labels[(labels < 0) | (labels >= n_groups)]
    if outside.size:
        found = f"{outside.size} outside 0..{n_groups - 1}; found {np.unique(outside)[:5].tolist()}"
        raise ValueError(f"{name}: {found}; check n_groups and the label codes")
    # Small dtypes such as uint8 would overflow in joint and confusion codes.
    return labels.astype(np.intp)


def check_count(value, name, least=1):
    """An integer of at least `least`; ValueError names the argument `name`."""
    if not isinstance(value, Integral) or value < least:
        raise ValueError(f"{name}: {value!r}; pass an integer of at least {least}")
    return int(value)


def plain(values):
    """A single value as a float, which prints as 0.5 and not as np.float64(0.5)."""
    return float(values) if np.ndim(values) == 0 else values
