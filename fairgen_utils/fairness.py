"""Measure: labels in, numbers out.

Shares of every group, their distance from a target, and how far each number can be trusted:
intervals, the noise floor of a fair generator, and the correction for classifier errors.
Groups are integers 0..n_groups-1. Functions of shares accept a batch, shape (..., n_groups).
"""

from dataclasses import dataclass
from numbers import Integral

import numpy as np
from scipy.special import entr, ndtri, rel_entr

SUM_TOLERANCE = 1e-6


def shares(labels, n_groups):
    """Share of every group among hard labels, the empty groups included.

    Parameters
    ----------
    labels : array_like of int, shape (n,), in 0..n_groups-1
    n_groups : int
        Number of groups that could occur, which the labels alone cannot tell.

    Returns
    -------
    ndarray of float, shape (n_groups,), in [0, 1], summing to one

    Raises
    ------
    ValueError
        If labels are empty, NaN, not integer, or outside 0..n_groups-1.

    References
    ----------
    Choi et al., "Fair Generative Modeling via Weak Supervision", ICML 2020.
    """
    labels = _check_labels(labels, n_groups)
    return np.bincount(labels, minlength=n_groups) / len(labels)


def soft_shares(probabilities):
    """Mean class probabilities: the soft variant of `shares`. Report which one is used.

    Parameters
    ----------
    probabilities : array_like of float, shape (n, n_groups), in [0, 1], rows summing to one

    Returns
    -------
    ndarray of float, shape (n_groups,), in [0, 1], summing to one

    Raises
    ------
    ValueError
        If the array is empty or not two-dimensional, or a row is not a probability vector.

    References
    ----------
    Shi et al., "Dissecting and Mitigating Diffusion Bias via Mechanistic Interpretability"
    (DiffLens), CVPR 2025.
    """
    probabilities = check_shares(probabilities, "probabilities")
    if probabilities.ndim != 2:
        raise ValueError(f"probabilities: shape {probabilities.shape}; pass (n, n_groups)")
    return probabilities.mean(axis=0)


def joint_labels(labels, sizes):
    """One label for each combination of several attributes (C order: the last runs fastest).

    Parameters
    ----------
    labels : sequence of array_like of int, one of shape (n,) for each attribute
    sizes : sequence of int, the number of groups of each attribute

    Returns
    -------
    ndarray of int, shape (n,), in 0..prod(sizes)-1

    Raises
    ------
    ValueError
        If an attribute's labels are invalid, or the numbers of attributes or faces differ.

    References
    ----------
    Buolamwini and Gebru, "Gender Shades", FAT* 2018: why combinations are counted.
    """
    if len(labels) != len(sizes) or not len(sizes):
        raise ValueError(f"labels: {len(labels)} arrays for {len(sizes)} sizes; pass one for each")
    pairs = enumerate(zip(labels, sizes, strict=True))
    arrays = [_check_labels(a, k, f"labels[{i}]") for i, (a, k) in pairs]
    lengths = [len(a) for a in arrays]
    if len(set(lengths)) > 1:
        raise ValueError(f"labels: lengths {lengths} differ; pass the same faces in each array")
    return np.ravel_multi_index(arrays, tuple(sizes))


def marginal_shares(joint, sizes, axis):
    """Shares of one attribute, from the shares of the combinations of `joint_labels`.

    Parameters
    ----------
    joint : array_like of float, shape (..., prod(sizes)), in [0, 1], summing to one
    sizes : sequence of int, the number of groups of each attribute
    axis : int, the attribute to keep, in 0..len(sizes)-1

    Returns
    -------
    ndarray of float, shape (..., sizes[axis]), in [0, 1], summing to one

    Raises
    ------
    ValueError
        If the joint shares are invalid, or there is no such attribute.

    References
    ----------
    Buolamwini and Gebru, "Gender Shades", FAT* 2018: fair margins can hide unfair combinations.
    """
    joint = check_shares(joint, "joint", int(np.prod(sizes)))
    if axis not in range(len(sizes)):
        raise ValueError(f"axis: {axis}; pass an attribute in 0..{len(sizes) - 1}")
    others = tuple(i - len(sizes) for i in range(len(sizes)) if i != axis)
    return joint.reshape(*joint.shape[:-1], *sizes).sum(axis=others)


def check_shares(shares, name="target", n_groups=None):
    """Validate shares: the one check that every function here uses.

    Parameters
    ----------
    shares : array_like of float, shape (..., n_groups), the empty groups included
    name : str, the argument to name in the message
    n_groups : int, optional

    Returns
    -------
    ndarray of float, shape (..., n_groups), the same numbers, not rescaled

    Raises
    ------
    ValueError
        If shares are empty, not numbers, NaN, negative, of the wrong length, or their sum is
        further than 1e-6 from one.
    """
    try:
        array = np.asarray(shares, dtype=float)
    except (TypeError, ValueError):
        raise ValueError(f"{name}: not an array of numbers; pass one share per group") from None
    if array.ndim == 0 or array.size == 0:
        raise ValueError(f"{name}: shape {array.shape} holds no group; pass one share per group")
    if n_groups is not None and array.shape[-1] != n_groups:
        raise ValueError(
            f"{name}: {array.shape[-1]} shares for {n_groups} groups; pass one per group"
        )
    rows = array.reshape(-1, array.shape[-1])
    sums = rows.sum(axis=1)
    for wrong, found, wanted in (
        (~np.isfinite(rows).all(axis=1), "are not finite", "leave those faces out and say so"),
        ((rows < 0).any(axis=1), "are negative", "pass shares of at least 0"),
        (abs(sums - 1) > SUM_TOLERANCE, "sum to {:.8g}, not 1", "divide them by their sum"),
    ):
        if wrong.any():
            first = wrong.argmax()
            raise ValueError(
                f"{name}: shares {found.format(sums[first])}; "
                f"found {rows[first].round(6).tolist()}; {wanted}"
            )
    return array


def fairness_discrepancy(shares, target=None):
    """Distance of measured shares from the target shares (FD).

    Every group counts, also one that never occurs: against a uniform target, a generator
    collapsed to one of K groups scores the maximum, sqrt((K - 1) / K).

    Parameters
    ----------
    shares : array_like of float, shape (..., n_groups), in [0, 1], summing to one
    target : array_like of float, shape (n_groups,), uniform when omitted

    Returns
    -------
    float or ndarray of float, shape (...)
        Euclidean norm of ``shares - target``, in [0, sqrt(2)].

    Raises
    ------
    ValueError
        If shares or target are invalid, or their lengths differ.

    References
    ----------
    Choi et al., "Fair Generative Modeling via Weak Supervision", ICML 2020.
    """
    shares = check_shares(shares, "shares")
    target = _check_target(target, shares.shape[-1])
    return _scalar(np.linalg.norm(shares - target, axis=-1))


def kl_divergence(shares, target=None):
    """Kullback-Leibler divergence KL(shares || target), in nats.

    Parameters
    ----------
    shares : array_like of float, shape (..., n_groups), in [0, 1], summing to one
        An empty group adds nothing (0 log 0 = 0).
    target : array_like of float, shape (n_groups,), uniform when omitted

    Returns
    -------
    float or ndarray of float, shape (...)
        In [0, inf]; infinite where a group occurs that the target excludes.

    Raises
    ------
    ValueError
        If shares or target are invalid, or their lengths differ.

    References
    ----------
    Kullback and Leibler, "On Information and Sufficiency", Ann. Math. Stat. 1951.
    """
    shares = check_shares(shares, "shares")
    target = _check_target(target, shares.shape[-1])
    return _scalar(np.maximum(rel_entr(shares, target).sum(axis=-1), 0))


def normalized_entropy(shares):
    """Entropy of the shares over its maximum, H / log K.

    Parameters
    ----------
    shares : array_like of float, shape (..., n_groups >= 2), in [0, 1], summing to one

    Returns
    -------
    float or ndarray of float, shape (...)
        In [0, 1]: 0 when one group has everything, 1 when all groups are equal.

    Raises
    ------
    ValueError
        If shares are invalid, or there is only one group.

    References
    ----------
    Shannon, "A Mathematical Theory of Communication", Bell Syst. Tech. J. 1948.
    """
    shares = check_shares(shares, "shares")
    if shares.shape[-1] < 2:
        raise ValueError("shares: 1 group; entropy is normalized by log K, so pass at least 2")
    return _scalar(np.clip(entr(shares).sum(axis=-1) / np.log(shares.shape[-1]), 0, 1))


def share_intervals(labels, n_groups, confidence=0.95):
    """Wilson score interval of every group's share.

    It keeps a width where a group never occurs. Each interval holds alone, not all at once.

    Parameters
    ----------
    labels : array_like of int, shape (n,), in 0..n_groups-1
    n_groups : int
    confidence : float in (0, 1)

    Returns
    -------
    ndarray of float, shape (n_groups, 2), lower and upper ends in [0, 1]

    Raises
    ------
    ValueError
        If labels or confidence are invalid.

    References
    ----------
    Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", JASA 1927.
    """
    measured = shares(labels, n_groups)
    n, z = len(labels), ndtri(1 - _check_tail(confidence))
    centre = (measured + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(measured * (1 - measured) / n + z**2 / (4 * n**2))
    # Rounding must not push an end past 0, 1 or the share itself.
    low, high = np.clip(centre - half, 0, measured), np.clip(centre + half, measured, 1)
    return np.stack([low, high], axis=-1)


def bootstrap_interval(labels, statistic, n_groups, confidence=0.95, n_resamples=2000, seed=0):
    """Percentile bootstrap interval of a statistic of the shares.

    Drawing multinomial counts at the measured shares is exactly resampling the hard labels with
    replacement, only faster. FD cannot fall below 0 and its plug-in estimate is biased upward:
    near the target the interval lies too high, so read it beside `noise_floor`. A group that
    never occurs is never drawn; for single shares use `share_intervals`.

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
    ndarray of float, shape (..., 2)
        Lower and upper ends for each value of the statistic; (2,) for a single one.

    Raises
    ------
    ValueError
        If an argument is invalid, or the statistic does not return one value per draw.

    References
    ----------
    Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, ch. 13.
    """
    measured, tail = shares(labels, n_groups), _check_tail(confidence)
    values = np.asarray(statistic(_draw_shares(len(labels), measured, n_resamples, seed)))
    if values.shape[:1] != (n_resamples,):
        raise ValueError(
            f"statistic: returned shape {values.shape} for {n_resamples} draws; "
            "it must map (n_resamples, n_groups) to one value per row"
        )
    return np.moveaxis(np.quantile(values, [tail, 1 - tail], axis=0), 0, -1)


def noise_floor(
    n, target=None, n_groups=None, confusion=None, quantile=None, n_trials=10_000, seed=0
):
    """FD that a generator exactly at the target scores with n faces, by chance alone.

    With a confusion matrix, true labels pass through the classifier, and the measured shares are
    corrected by `correct_shares`, as those of a real generator would be. The labels that come
    out are again multinomial, at ``target @ confusion``, so they are drawn in one step.

    Parameters
    ----------
    n : int, the number of faces labelled in each trial
    target : array_like of float, shape (n_groups,)
        Uniform when omitted; then n_groups or confusion gives the number of groups.
    n_groups, n_trials : int
    confusion : array_like of float, shape (n_groups, n_groups), rows summing to one
        P(predicted | true). A perfect classifier when omitted.
    quantile : float or array_like of float in [0, 1], returned in place of the draws
    seed : int or numpy.random.Generator

    Returns
    -------
    ndarray of float, shape (n_trials,), in [0, sqrt(2)]; with quantile, float or its shape

    Raises
    ------
    ValueError
        If an argument is invalid, or the number of groups is not given.

    References
    ----------
    Choi et al., ICML 2020 (FD); Teo et al., "On Measuring Fairness in Generative Models"
    (CLEAM), NeurIPS 2023 (classifier error).
    """
    n = _check_count(n, "n")
    if quantile is not None and np.any(np.abs(np.asarray(quantile) - 0.5) > 0.5):
        raise ValueError(f"quantile: {quantile}; pass values in [0, 1], such as 0.95")
    if confusion is not None:
        confusion = _check_confusion(confusion, n_groups)
        n_groups = len(confusion)
    target = _check_target(target, n_groups)
    seen = target if confusion is None else target @ confusion
    measured = _draw_shares(n, seen, n_trials, seed, "n_trials")
    if confusion is not None:
        measured = correct_shares(measured, confusion)
    floor = fairness_discrepancy(measured, target)
    return floor if quantile is None else _scalar(np.quantile(floor, quantile))


def confusion_rates(true, predicted, n_groups):
    """How often each true group is predicted as each group.

    Parameters
    ----------
    true, predicted : array_like of int, shape (n,), in 0..n_groups-1
        Of faces the classifier was not trained on, as near to generated ones as can be had.
    n_groups : int

    Returns
    -------
    ndarray of float, shape (n_groups, n_groups), in [0, 1], rows summing to one
        P(predicted | true): row = true, column = predicted.

    Raises
    ------
    ValueError
        If labels are invalid, their lengths differ, or a true group has no example.

    References
    ----------
    Teo et al., "On Measuring Fairness in Generative Models" (CLEAM), NeurIPS 2023.
    """
    true = _check_labels(true, n_groups, "true")
    predicted = _check_labels(predicted, n_groups, "predicted")
    if len(true) != len(predicted):
        raise ValueError(
            f"predicted: {len(predicted)} labels for {len(true)} true ones; pass the same faces"
        )
    counts = np.bincount(true * n_groups + predicted, minlength=n_groups**2)
    counts = counts.reshape(n_groups, n_groups)
    totals = counts.sum(axis=1, keepdims=True)
    if not totals.all():
        missing = np.flatnonzero(totals == 0).tolist()
        raise ValueError(
            f"true: no example of groups {missing}, so their error rates are unknown; "
            "add labelled faces of every group"
        )
    return counts / totals


def correct_shares(measured, confusion):
    """Shares corrected for the classifier's known errors.

    Solves ``confusion.T @ p = measured`` (the adjusted count) and takes the nearest shares to
    the solution, which may have left [0, 1]: the least-squares solution projected on the simplex.
    Inside the simplex this is the maximum-likelihood estimate too; outside, a close and
    much faster stand-in. It assumes the same error rates on the measured faces as on the faces
    that gave `confusion`, and takes these as exact. The worse the classifier, the more it
    amplifies noise: compare with `noise_floor`, and show both shares.

    Parameters
    ----------
    measured : array_like of float, shape (..., n_groups), in [0, 1], summing to one
    confusion : array_like of float, shape (n_groups, n_groups), P(predicted | true)

    Returns
    -------
    ndarray of float, shape (..., n_groups), in [0, 1], summing to one

    Raises
    ------
    ValueError
        If an argument is invalid, or the confusion matrix cannot be inverted.

    References
    ----------
    Forman, "Quantifying Counts and Costs via Classification", DMKD 2008; Saerens et al.,
    "Adjusting the Outputs of a Classifier to New a Priori Probabilities", Neural Comput. 2002;
    Teo et al. (CLEAM), NeurIPS 2023; projection: Duchi et al., ICML 2008.
    """
    measured = check_shares(measured, "measured")
    confusion = _check_confusion(confusion, measured.shape[-1])
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
    """How far the generator moved each group's share away from the training share.

    A difference is not yet a cause: training and generated faces may also differ in pose, age or
    whatever else drives the labels, or be labelled by different judges. Use one judge for both,
    and compare like with like (Seshadri et al.).

    Parameters
    ----------
    generated : array_like of int, shape (n,), in 0..n_groups-1
    training_shares : array_like of float, shape (n_groups,), taken as known exactly
    confidence : float in (0, 1), for each group alone
    n_resamples, seed : int
        Bootstrap draws and their seed; used with a confusion matrix only.
    confusion : array_like of float, shape (n_groups, n_groups), optional
        P(predicted | true). When given, generated shares are corrected and the interval is
        bootstrapped, too narrow for a group that is never predicted; else it is Wilson's.

    Returns
    -------
    Amplification
        Fields generated and training (shares), difference (generated - training, in [-1, 1])
        with its interval, and ratio (generated / training; inf or NaN at a training share of 0).

    Raises
    ------
    ValueError
        If an argument is invalid.

    References
    ----------
    Zhao et al., "Men Also Like Shopping", EMNLP 2017; Seshadri et al., "The Bias Amplification
    Paradox in Text-to-Image Generation", arXiv 2308.00755, 2023.
    """
    training = _check_vector(training_shares, "training_shares")
    n_groups = len(training)
    generated = _check_labels(generated, n_groups, "generated")
    measured = shares(generated, n_groups)
    if confusion is None:
        interval = share_intervals(generated, n_groups, confidence) - training[:, None]
    else:
        measured = correct_shares(measured, confusion)

        def difference(draws):
            return correct_shares(draws, confusion) - training

        interval = bootstrap_interval(
            generated, difference, n_groups, confidence, n_resamples, seed
        )
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = measured / training
    return Amplification(measured, training, measured - training, interval, ratio)


def _draw_shares(n, probabilities, size, seed, name="n_resamples"):
    size = _check_count(size, name)
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


def _scalar(values):
    # A plain float prints as 0.5 in a notebook, not as np.float64(0.5).
    return float(values) if np.ndim(values) == 0 else values


def _check_count(value, name):
    if not isinstance(value, Integral) or value < 1:
        raise ValueError(f"{name}: {value!r}; pass an integer of at least 1")
    return int(value)


def _check_tail(confidence):
    if not 0 < confidence < 1:
        raise ValueError(f"confidence: {confidence!r}; pass a number in (0, 1), such as 0.95")
    return (1 - confidence) / 2


def _check_vector(values, name, n_groups=None):
    values = check_shares(values, name, n_groups)
    if values.ndim != 1:
        raise ValueError(f"{name}: shape {values.shape}; pass one share per group, (n_groups,)")
    return values


def _check_target(target, n_groups):
    if target is not None:
        return _check_vector(target, "target", n_groups)
    if n_groups is None:
        raise ValueError("n_groups: not given; pass n_groups, target or confusion")
    return np.full(_check_count(n_groups, "n_groups"), 1 / n_groups)


def _check_confusion(confusion, n_groups):
    confusion = check_shares(confusion, "confusion", n_groups)
    if confusion.ndim != 2 or len(confusion) != confusion.shape[1]:
        raise ValueError(
            f"confusion: shape {confusion.shape}; pass (n_groups, n_groups), one row per true group"
        )
    if np.linalg.matrix_rank(confusion) < len(confusion):
        raise ValueError(
            f"confusion: rank {np.linalg.matrix_rank(confusion)} for {len(confusion)} groups; the "
            "classifier cannot tell some groups apart: merge them or use a better classifier"
        )
    return confusion


def _check_labels(labels, n_groups, name="labels"):
    _check_count(n_groups, "n_groups")
    labels = np.asarray(labels)
    if labels.ndim != 1 or not labels.size:
        raise ValueError(f"{name}: shape {labels.shape}; pass one label per face, and at least one")
    if labels.dtype.kind == "f" and np.isnan(labels).any():
        raise ValueError(
            f"{name}: {np.isnan(labels).sum()} of {len(labels)} are NaN; "
            "leave those faces out and say how many"
        )
    if labels.dtype.kind not in "iu":
        raise ValueError(f"{name}: dtype {labels.dtype}, not integer; pass 0..{n_groups - 1}")
    outside = labels[(labels < 0) | (labels >= n_groups)]
    if outside.size:
        raise ValueError(
            f"{name}: {outside.size} outside 0..{n_groups - 1}; "
            f"found {np.unique(outside)[:5].tolist()}; check n_groups and the label codes"
        )
    # Small dtypes such as uint8 would overflow in joint and confusion codes.
    return labels.astype(np.intp)
