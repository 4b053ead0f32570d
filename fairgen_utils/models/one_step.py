"""Generators of one step: latents in, faces out, no noise and no timesteps between.

A world takes them for *measure* and *localize*: Gaussians per group fit in any latent space. There
is nothing to guide on the way, for there is no way; what stands in its place is one move in closed
form, `transport`.
"""

from abc import ABC, abstractmethod

import numpy as np
from scipy.optimize import linear_sum_assignment

from fairgen_utils._checks import check_labels, check_numbers, check_shares, check_target

# what code for diffusion models asks a pipeline for
PARTS_OF_DIFFUSION = ("unet", "scheduler")


class OneStep(ABC):
    """A generator that maps latents to faces. Subclass it, and say what it has.

    Attributes
    ----------
    latent_shape : tuple of int
        Of one latent.
    image_size : int
        Side of the faces, in pixels.
    """

    latent_shape: tuple
    image_size: int

    @abstractmethod
    def draw(self, n, seed):
        """Latents of `n` new faces: ndarray, shape (n, *latent_shape), float32."""

    @abstractmethod
    def decode(self, latents, progress=True):
        """Faces of latents: ndarray, shape (n, height, width, 3), uint8."""

    def __getattr__(self, name):
        # reached only by names that don't exist: sampling and guidance ask for these two first
        if name in PARTS_OF_DIFFUSION:
            raise AttributeError(
                f"{type(self).__name__} makes a face in one step and has no {name}: sampling over "
                "timesteps, guidance and inversion need a diffusion model; here use draw and "
                "decode, or transport from fairgen_utils.models.one_step"
            )
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")


def transport(latents, present, wanted, means, strength=1.0):
    """Latents moved from group to group, each keeping what sets it apart from its own.

    The move is ``strength * (mean of the wanted group - expected mean of the present one)``.
    Between Gaussians of one covariance strength 1 is the optimal transport: of all maps that turn
    one into the other, the one that moves latents least. It is guidance without timesteps, too:
    the common covariance times the gradient of ``log p(wanted | latent)``.

    Parameters
    ----------
    latents : array_like, shape (n, n_features)
    present : array_like, shape (n, n_groups)
        Each latent's probability of every group, as ``predict_proba`` of a mixture or of linear
        discriminants gives them.
    wanted : array_like of int, shape (n,)
        The group each latent is moved to; -1 leaves it where it is.
    means : array_like, shape (n_groups, n_features)
        Of the groups.
    strength : float, at least 0

    Returns
    -------
    ndarray, shape (n, n_features), float32

    References
    ----------
    Peyre, Cuturi, "Computational Optimal Transport", 2019, remark 2.31, for Gaussians; Tan, Shen,
    Zhou, "Improving the Fairness of Deep Generative Models without Retraining", arXiv 2012.04842,
    for Gaussians per attribute in a StyleGAN's W.
    """
    latents, means = (
        check_numbers(values, name, np.float32)
        for values, name in ((latents, "latents"), (means, "means"))
    )
    present, wanted = check_shares(present, "present", len(means)), np.asarray(wanted)
    if latents.ndim != 2 or means.ndim != 2 or latents.shape[1] != means.shape[1]:
        raise ValueError(f"means: found shape {means.shape} for latents of {latents.shape}")
    if len(present) != len(latents) or wanted.shape != (len(latents),):
        raise ValueError(
            f"wanted: found {len(present)} rows of probabilities and {wanted.shape} groups for "
            f"{len(latents)} latents; give one of each"
        )
    if not 0 <= check_numbers(strength, "strength") < np.inf:
        raise ValueError(f"strength: found {strength}; give 0 or more")
    moves = wanted != -1
    if not moves.any():
        return latents.copy()
    check_labels(wanted[moves], len(means), "wanted")
    step = np.zeros_like(latents)
    step[moves] = means[wanted[moves]] - present[moves].astype(np.float32) @ means
    return latents + np.float32(strength) * step


def nearest_groups(log_probabilities, present, target):
    """Which group each latent has to move to, so that shares are met and change is least.

    Parameters
    ----------
    log_probabilities : array_like, shape (n, n_groups)
        Of the groups, given each latent.
    present : array_like of int, shape (n,)
        The group each is in. Who may stay, stays.
    target : array_like, shape (n_groups,)

    Returns
    -------
    ndarray of int, shape (n,)
        -1 for those that stay.
    """
    likely = check_numbers(log_probabilities, "log_probabilities").copy()
    target = check_target(target, likely.shape[1])
    present = check_labels(present, len(target), "present")
    if len(present) != len(likely):
        raise ValueError(f"present: found {len(present)} for {len(likely)} latents")
    likely = np.maximum(likely, -700)  # a probability of zero would forbid what has to be
    likely[np.arange(len(likely)), present] = 700
    places = np.round(np.cumsum([0, *target]) / target.sum() * len(likely)).astype(int)
    quotas = np.repeat(np.arange(len(target)), np.diff(places))
    _, chosen = linear_sum_assignment(-likely[:, quotas])
    groups = quotas[chosen]
    return np.where(groups == present, -1, groups)


def truncate_within(mixture, psi):
    """The mixture with every component drawn in toward its *own* mean.

    Truncation toward the mean of all makes faces look better and costs the rare their place;
    toward the mean of each group it does the one without the other.

    Parameters
    ----------
    mixture : LatentMixture
    psi : float
        What is left of the distance from the component's mean, in (0, 1].

    Returns
    -------
    LatentMixture

    References
    ----------
    Mokady et al., "Self-Distilled StyleGAN: Towards Generation from Internet Photos", SIGGRAPH
    2022, for truncation toward one of several means.
    """
    if not 0 < check_numbers(psi, "psi") <= 1:
        raise ValueError(f"psi: found {psi}; give a share above 0, at most 1")
    covariances = np.float32(psi) ** 2 * mixture.covariances_
    return mixture._like_this(means_=mixture.means_, covariances_=covariances)
