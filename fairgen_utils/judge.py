"""Judge: how close generated faces are to real ones, over all and group by group."""

import warnings

import numpy as np
import torch
from scipy.ndimage import convolve
from sklearn.neighbors import NearestNeighbors
from torch import nn
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import KernelInceptionDistance

from fairgen_utils._checks import check_count, check_numbers, check_target
from fairgen_utils.measure import (
    correct_shares,
    fairness_discrepancy,
    fd_interval,
    noise_floor,
    shares,
)

LAPLACIAN = np.array([[[0, 1, 0], [1, -4, 1], [0, 1, 0]]], np.float32)


class _Features(nn.Module):
    """Lets torchmetrics take features that were already computed, in place of images."""

    def __init__(self, num_features):
        super().__init__()
        self.num_features = num_features

    def forward(self, features):
        return features


def moments(features):
    """Mean and covariance of features, in double precision: what `frechet_distance` compares with.

    Parameters
    ----------
    features : array_like, shape (n, n_features)
    """
    features = _check(features, "features").numpy()
    return features.mean(0), np.cov(features, rowvar=False)


def balanced_moments(features, cells):
    """Mean and covariance of features with every cell weighted alike: a balanced reference.

    Parameters
    ----------
    features : ndarray, shape (n, n_features)
    cells : array_like of int, shape (n,)
        The attribute cell of each face.

    Returns
    -------
    mean : ndarray, shape (n_features,)
    covariance : ndarray, shape (n_features, n_features)
    """
    features = _check(features, "features").numpy()
    if np.shape(cells) != (len(features),):
        raise ValueError(f"cells: found shape {np.shape(cells)} for {len(features)} faces")
    _, cell, counts = np.unique(cells, return_inverse=True, return_counts=True)
    weights = 1 / counts[cell]
    covariance = np.cov(features, rowvar=False, aweights=weights)
    return np.average(features, axis=0, weights=weights), covariance


def frechet_distance(features, mean, covariance):
    """Frechet distance between generated features and a reference Gaussian; lower is better.

    Parameters
    ----------
    features : array_like, shape (n, n_features)
        Classifier features of the generated faces. With small n the distance is biased upward,
        so compare only values taken at the same n.
    mean : array_like, shape (n_features,)
    covariance : array_like, shape (n_features, n_features)

    Returns
    -------
    float, at least 0

    Raises
    ------
    ValueError
        If a shape does not fit, or a value is not finite.

    References
    ----------
    Heusel et al., "GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash
    Equilibrium", NeurIPS 2017: the same distance, on Inception features.
    """
    features = _check(features, "features")
    mean = torch.as_tensor(check_numbers(mean, "mean"))
    covariance = torch.as_tensor(check_numbers(covariance, "covariance"))
    width = features.shape[1]
    if mean.shape != (width,) or covariance.shape != (width, width):
        raise ValueError(
            f"mean, covariance: found shapes {tuple(mean.shape)}, {tuple(covariance.shape)} "
            f"for features of width {width}"
        )
    if not (mean.isfinite().all() and covariance.isfinite().all()):
        raise ValueError("mean, covariance: found NaN or infinite values; compute them again")
    metric = FrechetInceptionDistance(feature=_Features(width)).set_dtype(torch.float64)
    metric.update(features, real=False)
    # a reference known by its statistics alone: give the metric the sums it would have gathered
    n = 1_000_000
    metric.real_features_sum = n * mean
    metric.real_features_cov_sum = (n - 1) * covariance + n * torch.outer(mean, mean)
    metric.real_features_num_samples = torch.tensor(n)
    return max(0.0, float(metric.compute()))


def kernel_distance(features, reference, seed=0, subsets=50, subset_size=500):
    """Kernel distance (KID) between generated and reference features; lower is better.

    Parameters
    ----------
    features, reference : array_like, shapes (n, n_features) and (m, n_features)
    seed : int
        For the random subsets.
    subsets, subset_size : int
        The subset size is lowered to the smaller of n and m.

    Returns
    -------
    float
        Its expectation is the squared distance itself at any n: about zero, even slightly
        negative, when both sets come from one distribution.

    Raises
    ------
    ValueError
        If a shape does not fit, a feature is not finite, or there is nothing to average.

    References
    ----------
    Binkowski et al., "Demystifying MMD GANs", ICLR 2018.
    """
    features, reference = _check(features, "features"), _check(reference, "reference")
    if features.shape[1] != reference.shape[1]:
        raise ValueError(
            f"reference: width {reference.shape[1]} differs from features' {features.shape[1]}"
        )
    for name, value, least in (("subsets", subsets, 1), ("subset_size", subset_size, 2)):
        check_count(value, name, least)
    size = min(subset_size, len(features), len(reference))
    with warnings.catch_warnings():
        # it warns that it keeps every feature in memory: a few hundred kilobytes here
        warnings.simplefilter("ignore", UserWarning)
        metric = KernelInceptionDistance(
            feature=_Features(features.shape[1]), subsets=subsets, subset_size=size
        )
    metric.update(reference.float(), real=True)
    metric.update(features.float(), real=False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return float(metric.compute()[0])


def manifold_scores(features, reference, n_neighbors=5):
    """Precision, recall, density and coverage: are faces good, and are all kinds there?

    Around every face lies a ball that reaches to its `n_neighbors`-th neighbour among its own kind.

    Parameters
    ----------
    features, reference : array_like, shapes (n, n_features) and (m, n_features)
        Compare only values taken at the same n and m.
    n_neighbors : int

    Returns
    -------
    dict of str to float
        ``precision``: share of generated faces inside a reference ball. ``recall``: share of
        reference faces inside a generated ball. ``density``: reference balls around a generated
        face, over `n_neighbors`; about 1 for a perfect generator, and not bounded by it.
        ``coverage``: share of reference balls with a generated face inside.

    Raises
    ------
    ValueError
        If a shape does not fit, a feature is not finite, or there are fewer faces than neighbours.

    References
    ----------
    Kynkaanniemi et al., "Improved Precision and Recall Metric", NeurIPS 2019; Naeem et al.,
    "Reliable Fidelity and Diversity Metrics for Generative Models", ICML 2020.
    """
    features, reference = _check(features, "features"), _check(reference, "reference")
    if features.shape[1] != reference.shape[1]:
        raise ValueError(
            f"reference: width {reference.shape[1]} differs from features' {features.shape[1]}"
        )
    if check_count(n_neighbors, "n_neighbors") >= min(len(features), len(reference)):
        raise ValueError(f"n_neighbors: found {n_neighbors}; give more faces than that")
    # asked without points of its own, the search leaves out a face as its own neighbour
    radius, own_radius = (
        NearestNeighbors(n_neighbors=n_neighbors).fit(x).kneighbors()[0][:, -1]
        for x in (reference, features)
    )
    distances = torch.cdist(features, reference).numpy()
    inside = distances <= radius
    return {
        "precision": float(inside.any(1).mean()),
        "recall": float((distances <= own_radius[:, None]).any(0).mean()),
        "density": float(inside.sum(1).mean() / n_neighbors),
        "coverage": float(inside.any(0).mean()),
    }


def detail(images):
    """How much fine detail pictures hold: mean squared Laplacian of their brightness.

    Features of a classifier that was trained to bear some blur hardly see softness; the eye does.
    Compare pictures of the same kind and size: a busy background holds detail, too.

    Parameters
    ----------
    images : ndarray, shape (n, height, width, 3), uint8

    Returns
    -------
    float, at least 0
        With brightness in [0, 1].
    """
    images = np.asarray(images)
    if images.ndim != 4 or images.shape[-1] != 3 or images.dtype != np.uint8 or not len(images):
        raise ValueError(
            f"images: found {images.dtype} of shape {images.shape}; give uint8, shape (n, h, w, 3)"
        )
    brightness = images.mean(-1, dtype=np.float32) / 255
    return float(np.mean(convolve(brightness, LAPLACIAN) ** 2))


def _check(features, name):
    features = check_numbers(features, name, np.float64)
    if features.ndim != 2 or len(features) < 2 or not np.isfinite(features).all():
        raise ValueError(
            f"{name}: found shape {features.shape}; give finite values of shape (n, n_features), "
            "n at least 2"
        )
    return torch.as_tensor(features)


def own_group_rate(world, mixture, sample, attribute):
    """Share of faces that end in the group their component stands for.

    Beside it belongs the rate at which the classifier recognises *real* faces of each group, the
    mean diagonal of its confusion matrix: a generator need not, and should not, do better.
    """
    labels = world.joint(sample.predictions.labels, attribute)
    return float((labels == mixture.cells_[sample.components]).mean())


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


def audit_quality(world, predictions, seed=0):
    """Frechet and kernel distance to the balanced reference: ``ffd`` and ``kid``.

    ``kid`` needs the reference's individual features; it is NaN where only statistics may be
    published.
    """
    reference = world.reference()
    kid = float("nan")
    if "features" in reference:
        kid = kernel_distance(predictions.features, reference["features"], seed)
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
    dict of str to float
        By group; NaN where there are fewer than `n` faces.
    """
    check_count(n, "n", least=2)
    labels = world.joint(predictions.labels, attribute)
    moments = world.group_moments(attribute)
    found = {}
    for g, group in enumerate(world.groups(attribute)):
        features = predictions.features[labels == g][:n]
        enough = len(features) == n
        found[group] = frechet_distance(features, *moments[g]) if enough else float("nan")
    return found


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
