"""Gaussian mixtures of latents, known exactly at every noise level."""

from functools import cached_property

import numpy as np
from scipy.linalg import solve_triangular
from scipy.special import logsumexp
from sklearn.base import BaseEstimator
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture
from sklearn.utils.validation import check_is_fitted

from fairgen_utils._checks import check_count, check_numbers, check_shares


class MixtureBase(BaseEstimator):
    """What mixtures of all latents and of their low frequencies have in common."""

    def _like_this(self, **fitted):
        """A mixture of the same settings and names, with other fitted values."""
        made = type(self)(**self.get_params())
        for name in ("weights_", "cells_", "latent_shape_"):
            setattr(made, name, getattr(self, name))
        for name, value in fitted.items():
            setattr(made, name, value)
        return made

    def _checked_weights(self, weights):
        if weights is None:
            return self.weights_
        return check_shares(weights, "weights", len(self.weights_))


class LatentMixture(MixtureBase):
    """A Gaussian mixture over latents, known exactly at every timestep once fitted on clean ones.

    Without labels, expectation-maximisation finds the components in the leading principal
    components, where there are enough faces per dimension; one last M-step with the
    responsibilities it found gives means and covariances in the whole latent space. With
    ``cells`` (an attribute group per face) the components are *attribute-localized*: the same
    M-step, its responsibilities given by labels instead of found.

    Parameters
    ----------
    n_components : int
        Components in all or, when `fit` is given cells, components in each cell.
    covariance_type : {"full", "tied"}
        A covariance of its own for every component, or one pooled within all of them
        (scikit-learn's words). A tied one makes the cells' posterior linear in the latents.
    n_dimensions : int
        Principal components in which expectation-maximisation runs.
    prior_counts : float, optional
        Weight, in faces, of the pooled covariance that every component's own is shrunk towards
        (the maximum a posteriori estimate under an inverse-Wishart prior). Default: one face per
        latent dimension. Of no use with a tied covariance.
    random_state : int

    Attributes
    ----------
    weights_ : ndarray, shape (n_components,)
    means_ : ndarray, shape (n_components, n_features), float32
    covariances_ : ndarray, shape (n_components, n_features, n_features), float32
        Of shape (1, n_features, n_features) when tied.
    cells_ : ndarray, shape (n_components,), int64
        The cell each component belongs to; all zero when fitted without cells.
    latent_shape_ : tuple of int
        Shape of one latent; its product is ``n_features``.
    """

    def __init__(
        self,
        n_components=1,
        covariance_type="full",
        n_dimensions=48,
        prior_counts=None,
        random_state=0,
    ):
        self.n_components = n_components
        self.covariance_type = covariance_type
        self.n_dimensions = n_dimensions
        self.prior_counts = prior_counts
        self.random_state = random_state

    def fit(self, latents, cells=None):
        """Fit on clean latents.

        Parameters
        ----------
        latents : array_like, shape (n, ...)
        cells : array_like of int, shape (n,), optional
            Attribute cell of every latent: known labels or a classifier's pseudo-labels. Cells
            are numbered from 0; a cell without faces gets no component.

        Raises
        ------
        ValueError
            If `latents` is empty or not finite, there are fewer faces than components, or
            `cells` does not match.
        """
        flat = _flatten(latents)
        check_count(self.n_components, "n_components")
        if self.covariance_type not in ("full", "tied"):
            raise ValueError(
                f"covariance_type: found {self.covariance_type!r}; give 'full' or 'tied'"
            )
        cells = np.zeros(len(flat), np.int64) if cells is None else np.asarray(cells)
        if cells.shape != (len(flat),) or not np.issubdtype(cells.dtype, np.integer):
            raise ValueError(
                f"cells: found shape {cells.shape} of {cells.dtype}; "
                f"give one integer per latent, shape ({len(flat)},)"
            )
        self.latent_shape_ = np.shape(latents)[1:]
        occupied = np.unique(cells)
        responsibilities = np.zeros((len(flat), len(occupied) * self.n_components), np.float32)
        for i, cell in enumerate(occupied):
            columns = slice(i * self.n_components, (i + 1) * self.n_components)
            members = cells == cell
            responsibilities[members, columns] = self._responsibilities(flat[members])
        self.cells_ = np.repeat(occupied, self.n_components)
        self._maximize(flat, responsibilities)
        self.__dict__.pop("_factors", None)
        return self

    def _responsibilities(self, flat):
        if self.n_components == 1:
            return np.ones((len(flat), 1), np.float32)
        if len(flat) < 2 * self.n_components:
            raise ValueError(
                f"n_components: {self.n_components} components cannot be fitted on {len(flat)} "
                "latents; give more latents or ask for fewer components"
            )
        kept = min(self.n_dimensions, *flat.shape)
        pca = PCA(kept, svd_solver="randomized", random_state=self.random_state)
        projected = pca.fit_transform(flat)
        mixture = GaussianMixture(
            self.n_components,
            reg_covar=1e-3,
            max_iter=60,
            tol=1e-2,
            random_state=self.random_state,
        )
        return mixture.fit(projected).predict_proba(projected)

    def _maximize(self, flat, responsibilities):
        counts = responsibilities.sum(0) + 1e-6
        n_features = flat.shape[1]
        prior = n_features if self.prior_counts is None else self.prior_counts
        self.weights_ = counts / counts.sum()
        self.means_ = (responsibilities.T @ flat) / counts[:, None]
        tied = self.covariance_type == "tied"
        scatters = np.zeros((1 if tied else len(counts), n_features, n_features), np.float32)
        for k, (mean, column) in enumerate(zip(self.means_, responsibilities.T, strict=True)):
            member = column > 1e-6
            centred = (flat[member] - mean) * np.sqrt(column[member])[:, None]
            scatters[0 if tied else k] += centred.T @ centred
        pooled = scatters.sum(0) / len(flat) + 1e-4 * np.eye(n_features, dtype=np.float32)
        if tied:
            self.covariances_ = pooled[None]
            return
        self.covariances_ = scatters
        self.covariances_ += prior * pooled
        self.covariances_ /= (counts + prior)[:, None, None]

    def push_forward(self, alpha_cumprod):
        """The exact mixture of the same latents after noising: sqrt(a) x0 + sqrt(1 - a) noise.

        A component N(mu, S) becomes N(sqrt(a) mu, a S + (1 - a) I); the weights stay.

        Parameters
        ----------
        alpha_cumprod : float, in [0, 1]
            The scheduler's ``alphas_cumprod[timestep]``: 1 is clean, 0 is noise.

        Returns
        -------
        LatentMixture
        """
        check_is_fitted(self)
        if not 0 <= check_numbers(alpha_cumprod, "alpha_cumprod") <= 1:
            raise ValueError(f"alpha_cumprod: found {alpha_cumprod}; it lies between 0 and 1")
        covariances = np.float32(alpha_cumprod) * self.covariances_
        diagonal = np.arange(self.means_.shape[1])
        covariances[:, diagonal, diagonal] += np.float32(1 - alpha_cumprod)
        means = np.sqrt(alpha_cumprod, dtype=np.float32) * self.means_
        return self._like_this(means_=means, covariances_=covariances)

    def extrapolate_means(self, factor):
        """The same mixture with its means moved away from their common mean.

        Denoising pulls faces back toward what is common. Means moved outward beforehand, by
        ``factor`` times their distance from the mean of all, make up for it. Too far, and groups
        turn into caricatures of themselves: choose `factor` so that generated faces are
        recognised as their group about as often as real faces are, and no more.

        Parameters
        ----------
        factor : float, at least 0
            0 changes nothing.

        Returns
        -------
        LatentMixture

        Notes
        -----
        Our own addition; the published method has no such step.
        """
        check_is_fitted(self)
        if not 0 <= check_numbers(factor, "factor") < np.inf:
            raise ValueError(f"factor: found {factor}; give 0 or more")
        common = self.weights_ @ self.means_
        means = (self.means_ + factor * (self.means_ - common)).astype(np.float32)
        return self._like_this(means_=means, covariances_=self.covariances_)

    @cached_property
    def _factors(self):
        """Lower triangular factors of the covariances: computed once, kept with the mixture."""
        return np.linalg.cholesky(self.covariances_)

    def _factor(self, component):
        return self._factors[0 if self.covariance_type == "tied" else component]

    def sample(self, n, seed, weights=None):
        """Draw latents, each from a component drawn with probability `weights`.

        Parameters
        ----------
        n : int, at least 1
        seed : int or sequence of int
        weights : array_like, shape (n_components,), optional
            Shares of the components, summing to one. The fitted ``weights_`` when omitted.

        Returns
        -------
        latents : ndarray, shape (n, *latent_shape_), float32
        components : ndarray, shape (n,), int64
            The component each latent came from.
        """
        check_is_fitted(self)
        check_count(n, "n")
        k, n_features = self.means_.shape
        weights = np.asarray(self._checked_weights(weights), float)
        rng = np.random.default_rng(seed)
        components = rng.choice(k, size=n, p=weights / weights.sum())
        latents = rng.standard_normal((n, n_features), dtype=np.float32)
        for component in np.unique(components):
            members = components == component
            latents[members] = latents[members] @ self._factor(component).T
            latents[members] += self.means_[component]
        return latents.reshape(n, *self.latent_shape_), components

    def predict_proba(self, latents):
        """Responsibilities: the probability of each component given each latent.

        Parameters
        ----------
        latents : array_like, shape (n, *latent_shape_)
            At the noise level this mixture was pushed to.

        Returns
        -------
        ndarray, shape (n, n_components), rows summing to one
        """
        joint = self._log_joint(latents)
        return np.exp(joint - logsumexp(joint, axis=1, keepdims=True))

    def score_samples(self, latents):
        """Log-density of each latent, shape (n,), in nats."""
        return logsumexp(self._log_joint(latents), axis=1)

    def _log_joint(self, latents):
        check_is_fitted(self)
        flat = _flatten(latents)
        n_features = self.means_.shape[1]
        if flat.shape[1] != n_features:
            raise ValueError(
                f"latents: found {flat.shape[1]} values each; the mixture was fitted on latents "
                f"of shape {self.latent_shape_}"
            )
        columns = []
        for k, (weight, mean) in enumerate(zip(self.weights_, self.means_, strict=True)):
            factor = self._factor(k)
            whitened = solve_triangular(factor, (flat - mean).T, lower=True)
            log_determinant = 2 * np.log(np.diag(factor)).sum()
            columns.append(np.log(weight) - 0.5 * ((whitened**2).sum(0) + log_determinant))
        return np.stack(columns, 1) - 0.5 * n_features * np.log(2 * np.pi)


def _flatten(latents):
    latents = check_numbers(latents, "latents", np.float32)
    if latents.ndim < 2 or latents.size == 0:
        raise ValueError(f"latents: found shape {latents.shape}; give one or more, shape (n, ...)")
    if not np.isfinite(latents).all():
        raise ValueError("latents: found NaN or infinite values; check the encoder and its input")
    return latents.reshape(len(latents), -1)
