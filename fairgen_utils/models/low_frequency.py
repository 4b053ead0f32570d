"""Localize where latents are too large for a covariance: mixtures of their low frequencies."""

import numpy as np
from sklearn.utils.validation import check_is_fitted

from fairgen_utils._checks import check_count, check_numbers
from fairgen_utils.models.mixture import LatentMixture, MixtureBase

MOST_FEATURES = 1024  # a full covariance of as many is what the course's own worlds use


CHUNK = 64  # latents held in double precision at a time


class LowFrequencyMixture(MixtureBase):
    """A `LatentMixture` of block means; all finer detail keeps one Gaussian of its own.

    Noise drowns an image's fine detail first, and denoising starts where little of it is left. So
    attributes are localized in what survives: the means of ``block`` by ``block`` patches, scaled
    to an orthonormal basis. The rest of the space has the mean and, pixel by pixel, the variance
    of all faces together. Both parts are known exactly at every timestep.

    Parameters
    ----------
    n_components : int
        Components in all or, when `fit` is given cells, components in each cell.
    block : int, at least 2
        Side of a patch; must divide height and width.
    covariance_type, prior_counts, random_state
        As in `LatentMixture`.

    Attributes
    ----------
    mixture_ : LatentMixture
        Of the coefficients of the low frequencies, shape (channels, height/block, width/block).
    detail_mean_, detail_variance_ : ndarray, shape (channels, height, width), float32
    weights_, cells_, latent_shape_
        As in `LatentMixture`.

    References
    ----------
    The subspace is our choice: the published method works on latents small enough to need none.
    That a diffusion model settles low frequencies first: Rissanen et al., "Generative Modelling
    With Inverse Heat Dissipation", ICLR 2023.
    """

    def __init__(
        self,
        n_components=1,
        block=4,
        covariance_type="full",
        prior_counts=None,
        random_state=0,
    ):
        self.n_components = n_components
        self.block = block
        self.covariance_type = covariance_type
        self.prior_counts = prior_counts
        self.random_state = random_state

    def fit(self, latents, cells=None):
        """Fit on clean latents, a few at a time: memory is bounded by the coefficients' size.

        Parameters
        ----------
        latents : array_like, shape (n, channels, height, width)
            A memory-mapped array will do.
        cells : array_like of int, shape (n,), optional
            Attribute cell of every latent.

        Raises
        ------
        ValueError
            If `block` does not divide the latents, or as `LatentMixture.fit` does.
        """
        shape = np.shape(latents)
        if len(shape) != 4 or not shape[0]:
            raise ValueError(f"latents: found shape {shape}; give (n, channels, height, width)")
        check_count(self.block, "block", least=2)
        if shape[2] % self.block or shape[3] % self.block:
            raise ValueError(
                f"block: {self.block} by {self.block} patches do not divide latents "
                f"of {shape[2]} by {shape[3]}"
            )
        coarse = []
        total, squares = np.zeros(shape[1:]), np.zeros(shape[1:])
        for start in range(0, shape[0], CHUNK):
            part = check_numbers(latents[start : start + CHUNK], "latents", np.float64)
            coarse.append(self.coarse(part).astype(np.float32))
            detail = part - self.spread(self.coarse(part))
            total += detail.sum(0)
            squares += (detail**2).sum(0)
        mixture = LatentMixture(
            self.n_components,
            self.covariance_type,
            prior_counts=self.prior_counts,
            random_state=self.random_state,
        )
        self.mixture_ = mixture.fit(np.concatenate(coarse), cells)
        self.latent_shape_ = tuple(shape[1:])
        self.weights_, self.cells_ = self.mixture_.weights_, self.mixture_.cells_
        mean = total / shape[0]
        # taking block means away from noise leaves 1 - 1/block^2 of its variance
        left = 1 - 1 / self.block**2
        self.detail_mean_ = mean.astype(np.float32)
        variance = np.maximum(squares / shape[0] - mean**2, 0) / left
        self.detail_variance_ = variance.astype(np.float32)
        return self

    def push_forward(self, alpha_cumprod):
        """The exact mixture of the same latents after noising: sqrt(a) x0 + sqrt(1 - a) noise.

        Parameters
        ----------
        alpha_cumprod : float, in [0, 1]

        Returns
        -------
        LowFrequencyMixture
        """
        check_is_fitted(self)
        kept = np.float32(alpha_cumprod)
        return self._like_this(
            mixture_=self.mixture_.push_forward(alpha_cumprod),
            detail_mean_=np.sqrt(kept) * self.detail_mean_,
            detail_variance_=kept * self.detail_variance_ + (1 - kept),
        )

    def extrapolate_means(self, factor):
        """The same mixture with the means of its low frequencies moved outward, by `factor`."""
        check_is_fitted(self)
        return self._like_this(
            mixture_=self.mixture_.extrapolate_means(factor),
            detail_mean_=self.detail_mean_,
            detail_variance_=self.detail_variance_,
        )

    def sample(self, n, seed, weights=None):
        """Draw latents, each from a component drawn with probability `weights`.

        Parameters
        ----------
        n : int, at least 1
        seed : int
        weights : array_like, shape (n_components,), optional
            Shares of the components; the fitted ones when omitted.

        Returns
        -------
        latents : ndarray, shape (n, channels, height, width), float32
        components : ndarray, shape (n,), int64
        """
        check_is_fitted(self)
        coarse, components = self.mixture_.sample(n, seed, weights)
        # not the coefficients' own stream
        rng = np.random.default_rng((*np.atleast_1d(seed).tolist(), 1))
        deviation = np.sqrt(self.detail_variance_)
        latents = np.empty((n, *self.latent_shape_), np.float32)
        for start in range(0, n, CHUNK):
            part = coarse[start : start + CHUNK]
            noise = rng.standard_normal((len(part), *self.latent_shape_), np.float32) * deviation
            noise -= self.spread(self.coarse(noise))
            latents[start : start + CHUNK] = self.spread(part) + self.detail_mean_ + noise
        return latents, components

    def predict_proba(self, latents):
        """Responsibilities, by the low frequencies: shape (n, n_components)."""
        check_is_fitted(self)
        latents = check_numbers(latents, "latents", np.float32)
        return self.mixture_.predict_proba(self.coarse(latents))

    def coarse(self, latents):
        """Coefficients of the low frequencies, (n, channels, h / block, w / block): P'x."""
        if latents.ndim != 4 or latents.shape[2] % self.block or latents.shape[3] % self.block:
            raise ValueError(f"latents: found shape {latents.shape}; give (n, channels, h, w)")
        n, channels, height, width = latents.shape
        blocks = latents.reshape(
            n, channels, height // self.block, self.block, width // self.block, self.block
        )
        return blocks.mean((3, 5)) * self.block

    def spread(self, coarse):
        """Latents of the low frequencies alone, (n, channels, h, w), from coefficients: P."""
        return coarse.repeat(self.block, 2).repeat(self.block, 3) / self.block


def mixture_for(latent_shape, n_components=1, covariance_type="full"):
    """An unfitted mixture for latents of this shape: all of it if small, else low frequencies.

    Parameters
    ----------
    latent_shape : tuple of int
        (channels, height, width), or, where all is localized, any other.
    n_components : int

    Returns
    -------
    LatentMixture or LowFrequencyMixture
        With the smallest block that leaves at most 1,024 coefficients.
    """
    if np.prod(latent_shape) <= MOST_FEATURES:
        return LatentMixture(n_components, covariance_type)
    if len(latent_shape) != 3:
        raise ValueError(f"latent_shape: found {latent_shape}; give (channels, height, width)")
    channels, height, width = latent_shape
    for block in range(2, min(height, width) + 1):
        divides = height % block == 0 and width % block == 0
        if divides and channels * height * width <= MOST_FEATURES * block**2:
            return LowFrequencyMixture(n_components, block, covariance_type)
    raise ValueError(f"latent_shape: no square block divides {height} by {width}")
