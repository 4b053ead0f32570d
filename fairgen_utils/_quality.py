"""Quality: how near generated faces are to real ones, in features and to the eye."""

import numpy as np
from scipy.ndimage import convolve
from scipy.spatial.distance import cdist
from sklearn.neighbors import NearestNeighbors

from fairgen_utils._checks import check_count, check_images, check_numbers

LAPLACIAN = np.array([[[0, 1, 0], [1, -4, 1], [0, 1, 0]]], np.float32)


def moments(features):
    """Mean and covariance of features, in double precision: what `frechet_distance` compares with.

    Parameters
    ----------
    features : array_like, shape (n, n_features)
    """
    features = _check(features, "features")
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
    features = _check(features, "features")
    if np.shape(cells) != (len(features),):
        raise ValueError(f"cells: found shape {np.shape(cells)} for {len(features)} faces")
    _, cell, counts = np.unique(cells, return_inverse=True, return_counts=True)
    weights = 1 / counts[cell]
    covariance = np.cov(features, rowvar=False, aweights=weights)
    return np.average(features, axis=0, weights=weights), covariance


def frechet_distance(features, mean, covariance):
    """Frechet distance between generated features and a reference Gaussian; lower is better.

    |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)), for means m and covariances C.

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
    Equilibrium", NeurIPS 2017: the same distance, on Inception features. Dowson and Landau, "The
    Frechet Distance between Multivariate Normal Distributions", J. Multivariate Analysis 1982.
    """
    own_mean, own = moments(features)
    mean, covariance = check_numbers(mean, "mean"), check_numbers(covariance, "covariance")
    if mean.shape != own_mean.shape or covariance.shape != own.shape:
        raise ValueError(
            f"mean, covariance: found shapes {mean.shape}, {covariance.shape} "
            f"for features of width {len(own_mean)}"
        )
    if not (np.isfinite(mean).all() and np.isfinite(covariance).all()):
        raise ValueError("mean, covariance: found NaN or infinite values; compute them again")
    gap = own_mean - mean
    # the trace of (own @ covariance)^(1/2), from a symmetric matrix with the same eigenvalues
    values, vectors = np.linalg.eigh(own)
    root = vectors * np.sqrt(np.maximum(values, 0))
    shared = np.sqrt(np.maximum(np.linalg.eigvalsh(root.T @ covariance @ root), 0)).sum()
    return max(0.0, float(gap @ gap + np.trace(own) + np.trace(covariance) - 2 * shared))


def kernel_distance(features, reference):
    """Kernel distance (KID) between generated and reference features; lower is better.

    Over all pairs of faces, where other implementations draw subsets; nothing is random.

    Parameters
    ----------
    features, reference : array_like, shapes (n, n_features) and (m, n_features)

    Returns
    -------
    float
        Its expectation is the squared distance itself at any n: about zero, even slightly
        negative, when both sets come from one distribution.

    Raises
    ------
    ValueError
        If a shape does not fit, or a feature is not finite.

    References
    ----------
    Binkowski et al., "Demystifying MMD GANs", ICLR 2018: equation 4.
    """
    features, reference = _check_pair(features, reference)
    n, m, width = len(features), len(reference), features.shape[1]

    def total(a, b):
        return sum(((part @ b.T / width + 1) ** 3).sum() for part in np.array_split(a, 8))

    def own(x):
        # a face is no pair with itself
        return total(x, x) - (((x**2).sum(axis=1) / width + 1) ** 3).sum()

    pairs = own(features) / (n * (n - 1)) + own(reference) / (m * (m - 1))
    return float(pairs - 2 * total(features, reference) / (n * m))


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
    features, reference = _check_pair(features, reference)
    if check_count(n_neighbors, "n_neighbors") >= min(len(features), len(reference)):
        raise ValueError(f"n_neighbors: found {n_neighbors}; give more faces than that")
    # asked without points of its own, the search leaves out a face as its own neighbour
    radius, own_radius = (
        NearestNeighbors(n_neighbors=n_neighbors).fit(x).kneighbors()[0][:, -1]
        for x in (reference, features)
    )
    distances = cdist(features, reference)
    inside = distances <= radius
    return {
        "precision": float(inside.any(1).mean()),
        "recall": float((distances <= own_radius[:, None]).any(0).mean()),
        "density": float(inside.sum(1).mean() / n_neighbors),
        "coverage": float(inside.any(0).mean()),
    }


def sharpness(images):
    """How much fine detail pictures hold: mean squared Laplacian of their brightness.

    Features of a classifier that was trained to bear some blur hardly see softness; the eye does.
    Compare pictures of the same kind and size, since a busy background holds detail, too; and
    crowds of the same groups, or by `relative_sharpness`.

    Parameters
    ----------
    images : ndarray, shape (n, height, width, 3), uint8

    Returns
    -------
    float, at least 0
        With brightness in [0, 1].
    """
    return float(_detail(images).mean())


def relative_sharpness(images, labels, others, other_labels):
    """Sharpness of faces over that of others, as if these were of the same groups.

    Groups differ in detail: long hair has more of it, dark skin in even light less. So evener
    faces would look softer, or sharper, than plain ones for that reason alone. What the others
    would have with the same groups is a least-squares fit to them: a share for every group of
    every attribute, added up.

    Parameters
    ----------
    images, others : ndarray, shape (n, height, width, 3), uint8
        Two crowds; their sizes may differ.
    labels, other_labels : dict of str to ndarray of int, shape (n,)
        Group of every face, by attribute; the same attributes of both.

    Returns
    -------
    float
        1 where faces are as sharp as the others are, group by group.

    Raises
    ------
    ValueError
        If attributes or numbers of faces differ.
    """
    if list(labels) != list(other_labels):
        raise ValueError(
            f"labels: found {', '.join(labels) or 'none'}; other_labels are of "
            f"{', '.join(other_labels) or 'none'}; give the same attributes"
        )
    found, usual = _detail(images), _detail(others)
    for name, crowd, said in (("labels", found, labels), ("other_labels", usual, other_labels)):
        for attribute, of in said.items():
            if len(of) != len(crowd):
                raise ValueError(
                    f"{name}: {attribute} has {len(of)} entries, for {len(crowd)} faces"
                )
    sizes = {k: 1 + max(np.max(labels[k]), np.max(other_labels[k])) for k in labels}

    def columns(said, n):
        each = [np.eye(size)[said[k]] for k, size in sizes.items()]
        return np.concatenate([np.ones((n, 1)), *each], 1)

    fit, *_ = np.linalg.lstsq(columns(other_labels, len(usual)), usual, rcond=None)
    return float(found.mean() / (columns(labels, len(found)) @ fit).mean())


def _detail(images):
    """Mean squared Laplacian of every face's brightness, which is in [0, 1]: shape (n,)."""
    brightness = check_images(images).mean(-1, dtype=np.float32) / 255
    return (convolve(brightness, LAPLACIAN) ** 2).mean((1, 2), dtype=np.float64)


def brightness(images):
    """Mean brightness of every face: of its middle, which is skin, whatever the background.

    Parameters
    ----------
    images : ndarray, shape (n, height, width, 3), uint8

    Returns
    -------
    ndarray, shape (n,), in [0, 255]
    """
    images = check_images(images)
    height, width = images.shape[1:3]
    down, across = (slice(side * 3 // 8, -(-side * 21 // 32)) for side in (height, width))
    return images[:, down, across].mean((1, 2, 3))


def _check(features, name):
    features = check_numbers(features, name, np.float64)
    if features.ndim != 2 or len(features) < 2 or not np.isfinite(features).all():
        raise ValueError(
            f"{name}: found shape {features.shape}; give finite values of shape (n, n_features), "
            "n at least 2"
        )
    return features


def _check_pair(features, reference):
    features, reference = _check(features, "features"), _check(reference, "reference")
    if features.shape[1] != reference.shape[1]:
        raise ValueError(
            f"reference: width {reference.shape[1]} differs from features' {features.shape[1]}"
        )
    return features, reference
