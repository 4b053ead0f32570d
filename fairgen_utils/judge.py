"""Judge: audits of generated faces, over all and group by group.

The distances and looks that they report are written in `_quality.py` and called from here as well.
"""

from typing import NamedTuple

import numpy as np

from fairgen_utils._checks import check_cells, check_count, check_target
from fairgen_utils._quality import (
    balanced_moments,
    brightness,
    frechet_distance,
    kernel_distance,
    manifold_scores,
    moments,
    relative_sharpness,
    sharpness,
)
from fairgen_utils.measure import (
    correct_shares,
    fairness_discrepancy,
    fd_interval,
    noise_floor,
    shares,
)

__all__ = [
    "GroupQuality",
    "audit_fairness",
    "audit_groups",
    "audit_quality",
    "balanced_moments",
    "brightness",
    "frechet_distance",
    "group_brightness",
    "kernel_distance",
    "manifold_scores",
    "moments",
    "recognition_rate",
    "relative_sharpness",
    "sharpness",
    "within_group_variance",
]


class GroupQuality(NamedTuple):
    """Frechet distance of each group to its own reference, their mean, and the worst by name."""

    groups: dict
    mean: float
    worst: float
    worst_group: str


def recognition_rate(world, predictions, attribute, cells):
    """Share of faces that the judge puts in the group they were made for.

    Beside it belongs the rate at which the same judge recognises *real* faces of each group, the
    diagonal of its confusion matrix: a generator need not, and should not, do better.

    Parameters
    ----------
    world : World
    predictions : Predictions
    attribute : str or tuple of str
    cells : array_like of int, shape (n,)
        The group each face was made for: `components` of a guided sample; of a localized one,
        ``mixture.cells_[sample.components]``.

    Returns
    -------
    float in [0, 1]
    """
    labels = world.joint(predictions.labels, attribute)
    return float(np.mean(labels == check_cells(cells, len(labels))))


def audit_fairness(world, predictions, attribute, target=None, seed=0, cells=None):
    """Fairness discrepancy of generated faces, with everything needed to read it.

    Parameters
    ----------
    world : World
    predictions : Predictions
    attribute : str or tuple of str
        One attribute, or several jointly: ``("gender", "ancestry")``.
    target : array_like, optional
        Wanted shares; uniform when omitted.
    seed : int
        For the draws of intervals and floor.
    cells : array_like of int, shape (n,), optional
        The cell each face was given, where quotas fixed how many faces go into each: `components`
        of a guided sample. Chance has less to decide then, and floor and intervals say so.

    Returns
    -------
    dict
        ``n``; ``fd`` of the classifier's labels with its 95 % interval ``fd_low``, ``fd_high``;
        ``fd_corrected`` for the classifier's errors, with its interval; and ``fd_floor95``: the
        95th percentile of `fd_corrected` for a generator exactly at the target, with as many
        faces and this judge. How well the judge's errors are known is in both.

    Notes
    -----
    Chance adds to a measured FD, so it may lie above its own interval, which begins at 0 where
    chance explains it all. Faces that the classifier itself selected are not measured by this
    correction: see `posterior_shares`.
    """
    k = len(world.groups(attribute))
    target = check_target(target, k)
    labels, errors = world.joint(predictions.labels, attribute), world.confusion_counts(attribute)
    measured, rates = shares(labels, k), errors / errors.sum(axis=1, keepdims=True)
    low, high = fd_interval(labels, k, target, cells=cells, seed=seed).tolist()
    corrected = fd_interval(labels, k, target, errors, cells=cells, seed=seed).tolist()
    quotas = None
    if cells is not None:
        _, cells = np.unique(cells, return_inverse=True)
        counts = np.zeros((cells.max() + 1, k))
        np.add.at(counts, (cells, labels), 1)
        quotas = counts.sum(axis=1), counts / counts.sum(axis=1, keepdims=True)
    floor = {"quantile": 0.95, "seed": seed, "quotas": quotas}
    return {
        "n": len(labels),
        "fd": fairness_discrepancy(measured, target),
        "fd_low": low,
        "fd_high": high,
        "fd_floor95": noise_floor(len(labels), target, k, errors, **floor),
        "fd_corrected": fairness_discrepancy(correct_shares(measured, rates), target),
        "fd_corrected_low": corrected[0],
        "fd_corrected_high": corrected[1],
    }


def audit_quality(world, predictions):
    """Frechet and kernel distance to the balanced reference: ``ffd`` and ``kid``.

    ``kid`` needs the reference's individual features; it is NaN where only statistics may be
    published. A balanced reference rewards evenness: what quality is left is told by
    `audit_groups`.
    """
    reference = world.reference()
    kid = float("nan")
    if "features" in reference:
        kid = kernel_distance(predictions.features, reference["features"])
    ffd = frechet_distance(predictions.features, reference["mean"], reference["covariance"])
    return {"ffd": ffd, "kid": kid}


def audit_groups(world, predictions, attribute, n):
    """Frechet distance of each group's faces to the reference faces of that same group.

    A method could be even by making one group's faces badly; this would show it.

    Parameters
    ----------
    n : int
        Faces taken of each group, the first ones. The distance depends on it: compare methods at
        the same n only.

    Returns
    -------
    GroupQuality
        groups: distance by name of the group, NaN where there are fewer than `n` faces; mean;
        worst: the largest, and its group. Mean and worst are NaN where a group is.
    """
    check_count(n, "n", least=2)
    labels = world.joint(predictions.labels, attribute)
    references = world.group_moments(attribute)
    found = {}
    for g, group in enumerate(world.groups(attribute)):
        features = predictions.features[labels == g][:n]
        enough = len(features) == n
        found[group] = frechet_distance(features, *references[g]) if enough else float("nan")
    distances = np.array(list(found.values()))
    # a group that can't be measured hides the worst: argmax finds NaN first
    worst = list(found)[int(distances.argmax())]
    return GroupQuality(found, float(distances.mean()), found[worst], worst)


def group_brightness(world, images, predictions, attribute):
    """Brightness of each group's faces, to hold beside real ones': is a group drawn darker?

    Parameters
    ----------
    images : ndarray, shape (n, height, width, 3), uint8
    predictions : Predictions
        Of the same images.
    attribute : str or tuple of str

    Returns
    -------
    dict of str to tuple (mean, standard deviation)
        By group, of `brightness`; NaN where there is no face.
    """
    found, labels = brightness(images), world.joint(predictions.labels, attribute)
    own = [found[labels == g] for g in range(len(world.groups(attribute)))]
    looks = [(float(x.mean()), float(x.std())) if len(x) else (np.nan, np.nan) for x in own]
    return dict(zip(world.groups(attribute), looks, strict=True))


def within_group_variance(world, predictions):
    """How varied faces of one group are: total variance of features over that of real faces.

    Averaged over the groups of the target's first attribute; those with fewer than two faces are
    left out. Below 1, faces of a group are more alike than real ones.

    Returns
    -------
    float
    """
    name = world.names(world.target)[0]
    ratios = []
    for g, (_, covariance) in enumerate(world.group_moments(name)):
        features = predictions.features[predictions.labels[name] == g]
        if len(features) > 1:
            ratios.append(np.var(features, axis=0).sum() / np.trace(covariance))
    return float(np.mean(ratios))
