"""Gaussian mixtures of latents, known exactly at every noise level."""

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.special import logsumexp
from sklearn.base import BaseEstimator
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture
from sklearn.utils.validation import check_is_fitted

from fairgen_utils._checks import check_count, check_numbers, check_shares


class LatentMixture(BaseEstimator):
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
    n_dimensions : int
        Principal components in which expectation-maximisation runs.
    prior_counts : float, optional
        Weight, in faces, of the pooled covariance that every component's own is shrunk towards
        (the maximum a posteriori estimate under an inverse-Wishart prior). Default: one face per
        latent dimension.
    seed : int

    Attributes
    ----------
    weights_ : ndarray, shape (n_components,)
    means_ : ndarray, shape (n_components, n_features), float32
    covariances_ : ndarray, shape (n_components, n_features, n_features), float32
    cells_ : ndarray, shape (n_components,), int64
        The cell each component belongs to; all zero when fitted without cells.
    latent_shape_ : tuple of int
        Shape of one latent; its product is ``n_features``.
    """

    def __init__(self, n_components=1, n_dimensions=48, prior_counts=None, seed=0):
        self.n_components = n_components
        self.n_dimensions = n_dimensions
        self.prior_counts = prior_counts
        self.seed = seed

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
        return self

    def _responsibilities(self, flat):
        if self.n_components == 1:
            return np.ones((len(flat), 1), np.float32)
        if len(flat) < 2 * self.n_components:
            raise ValueError(
                f"n_components: {self.n_components} components cannot be fitted on {len(flat)} "
                "latents; give more latents or ask for fewer components"
            )
        projected = PCA(
            min(self.n_dimensions, *flat.shape), svd_solver="randomized", random_state=self.seed
        ).fit_transform(flat)
        mixture = GaussianMixture(
            self.n_components, reg_covar=1e-3, max_iter=60, tol=1e-2, random_state=self.seed
        )
        return mixture.fit(projected).predict_proba(projected)

    def _maximize(self, flat, responsibilities):
        counts = responsibilities.sum(0) + 1e-6
        n_features = flat.shape[1]
        prior = n_features if self.prior_counts is None else self.prior_counts
        self.weights_ = counts / counts.sum()
        self.means_ = (responsibilities.T @ flat) / counts[:, None]
        scatters = np.empty((len(counts), n_features, n_features), np.float32)
        for k, (mean, column) in enumerate(zip(self.means_, responsibilities.T, strict=True)):
            member = column > 1e-6
            centred = (flat[member] - mean) * np.sqrt(column[member])[:, None]
            scatters[k] = centred.T @ centred
        pooled = scatters.sum(0) / len(flat) + 1e-4 * np.eye(n_features, dtype=np.float32)
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
        noisy = type(self)(**self.get_params())
        noisy.latent_shape_, noisy.cells_ = self.latent_shape_, self.cells_
        noisy.weights_ = self.weights_
        noisy.means_ = np.sqrt(alpha_cumprod, dtype=np.float32) * self.means_
        noisy.covariances_ = np.float32(alpha_cumprod) * self.covariances_
        diagonal = np.arange(noisy.means_.shape[1])
        noisy.covariances_[:, diagonal, diagonal] += np.float32(1 - alpha_cumprod)
        return noisy

    def overshoot(self, factor):
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
        moved = type(self)(**self.get_params())
        moved.latent_shape_, moved.cells_ = self.latent_shape_, self.cells_
        moved.weights_, moved.covariances_ = self.weights_, self.covariances_
        common = self.weights_ @ self.means_
        moved.means_ = (self.means_ + factor * (self.means_ - common)).astype(np.float32)
        return moved

    def sample(self, n, seed, weights=None):
        """Draw latents, each from a component drawn with probability `weights`.

        Parameters
        ----------
        n : int, at least 1
        seed : int
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
        weights = self.weights_ if weights is None else check_shares(weights, "weights", k)
        rng = np.random.default_rng(seed)
        weights = np.asarray(weights, float)
        components = rng.choice(k, size=n, p=weights / weights.sum())
        latents = rng.standard_normal((n, n_features), dtype=np.float32)
        for component in np.unique(components):
            members = components == component
            factor = np.linalg.cholesky(self.covariances_[component])
            latents[members] = latents[members] @ factor.T + self.means_[component]
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
        for weight, mean, covariance in zip(
            self.weights_, self.means_, self.covariances_, strict=True
        ):
            factor = cho_factor(covariance, lower=True)
            centred = (flat - mean).T
            distance = (centred * cho_solve(factor, centred)).sum(0)
            log_determinant = 2 * np.log(np.diag(factor[0])).sum()
            columns.append(np.log(weight) - 0.5 * (distance + log_determinant))
        return np.stack(columns, 1) - 0.5 * n_features * np.log(2 * np.pi)


def _flatten(latents):
    latents = check_numbers(latents, "latents", np.float32)
    if latents.ndim < 2 or latents.size == 0:
        raise ValueError(f"latents: found shape {latents.shape}; give one or more, shape (n, ...)")
    if not np.isfinite(latents).all():
        raise ValueError("latents: found NaN or infinite values; check the encoder and its input")
    return latents.reshape(len(latents), -1)
