"""What a localized mixture knows of a noisy latent, against autograd, sampling and scikit-learn."""

import itertools

import numpy as np
import pytest
import torch
from sklearn.covariance import EmpiricalCovariance
from sklearn.discriminant_analysis import (
    LinearDiscriminantAnalysis,
    QuadraticDiscriminantAnalysis,
)
from torch.distributions import MultivariateNormal

from fairgen_utils.localize import CellPosterior
from fairgen_utils.models.low_frequency import LowFrequencyMixture
from fairgen_utils.models.mixture import LatentMixture

DOUBLE = {"dtype": torch.float64}

ALPHAS = (0.02, 0.35, 0.9)
KINDS = ("full", "tied")


def mixture_of(n_cells, per_cell=1, kind="full", shape=(1, 2, 3), seed=0):
    """A mixture whose parameters were drawn, in double precision: theory is exact for it."""
    rng = np.random.default_rng(seed)
    k, d = n_cells * per_cell, int(np.prod(shape))
    mixture = LatentMixture(per_cell, kind)
    mixture.weights_ = rng.dirichlet(np.full(k, 3.0))
    mixture.means_ = rng.standard_normal((k, d))
    roots = rng.standard_normal((1 if kind == "tied" else k, d, d)) / np.sqrt(d)
    mixture.covariances_ = roots @ roots.transpose(0, 2, 1) + 0.3 * np.eye(d)
    mixture.cells_ = np.repeat(np.arange(n_cells), per_cell)
    mixture.latent_shape_ = shape
    return mixture


def log_densities(mixture, noisy, a):
    """Log-joint of latents and each component at a noise level, by torch's own Gaussian."""
    covariances = torch.as_tensor(mixture.covariances_).expand(len(mixture.means_), -1, -1)
    means = torch.as_tensor(mixture.means_)
    noise = (1 - a) * torch.eye(means.shape[1])
    gaussians = MultivariateNormal(a**0.5 * means, a * covariances + noise)
    weights = torch.as_tensor(mixture.weights_).log()
    return weights + gaussians.log_prob(noisy.flatten(1)[:, None])


def log_cells(log_joint, cells):
    """log p(cell | x_t) of components' log-joint densities."""
    of_cell = [log_joint[:, cells == cell].logsumexp(1) for cell in np.unique(cells)]
    return torch.stack(of_cell, 1).log_softmax(1)


def gradient(log_proba, noisy, wanted):
    """Autograd's gradient of log p(wanted cell | x_t)."""
    noisy = noisy.clone().requires_grad_()
    likely = log_proba(noisy)[torch.arange(len(noisy)), wanted].sum()
    return torch.autograd.grad(likely, noisy)[0]


def noisy_of(n, shape, seed=1):
    return torch.as_tensor(np.random.default_rng(seed).standard_normal((n, *shape)))


@pytest.mark.parametrize("a", ALPHAS)
@pytest.mark.parametrize("per_cell", [1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_the_step_toward_a_cell_is_the_gradient_of_its_log_posterior(kind, per_cell, a):
    mixture = mixture_of(3, per_cell, kind)
    posterior = CellPosterior(mixture, **DOUBLE)
    noisy, wanted = noisy_of(9, (1, 2, 3)), torch.arange(9) % 3

    def log_proba(noisy):
        return log_cells(log_densities(mixture, noisy, a), mixture.cells_)

    torch.testing.assert_close(posterior.log_proba(noisy, a), log_proba(noisy))
    wanted_step = (1 - a) / a**0.5 * gradient(log_proba, noisy, wanted)
    torch.testing.assert_close(posterior.toward(noisy, a, wanted), wanted_step)


def low_frequencies(kind, per_cell):
    """A mixture of block means, and the Gaussians it makes of whole latents, written out."""
    rng = np.random.default_rng(0)
    latents = rng.standard_normal((300, 1, 4, 4)) + np.linspace(0, 2, 300)[:, None, None, None]
    mixture = LowFrequencyMixture(per_cell, 2, kind).fit(latents, np.arange(300) // 150)
    basis = np.zeros((16, 4))  # orthonormal: a half on each of a block's four pixels
    for row, column in itertools.product(range(4), range(4)):
        basis[4 * row + column, 2 * (row // 2) + column // 2] = 0.5
    rest = np.eye(16) - basis @ basis.T
    detail = rest @ np.diag(mixture.detail_variance_.ravel().astype(float)) @ rest
    whole = LatentMixture(per_cell)
    whole.weights_, whole.cells_ = mixture.weights_.astype(float), mixture.cells_
    coarse = mixture.mixture_
    whole.means_ = coarse.means_.astype(float) @ basis.T + mixture.detail_mean_.ravel()
    whole.covariances_ = basis @ coarse.covariances_.astype(float) @ basis.T + detail
    return mixture, whole


@pytest.mark.parametrize("a", ALPHAS)
@pytest.mark.parametrize(("kind", "per_cell"), [("full", 1), ("full", 2), ("tied", 2)])
def test_what_low_frequencies_know_of_a_cell_is_all_there_is_to_know(kind, per_cell, a):
    # The fine detail is the same Gaussian in every cell: it drops out of Bayes' rule.
    mixture, whole = low_frequencies(kind, per_cell)
    posterior = CellPosterior(mixture, **DOUBLE)
    noisy, wanted = noisy_of(6, (1, 4, 4)), torch.arange(6) % 2

    def log_proba(noisy):
        return log_cells(log_densities(whole, noisy, a), whole.cells_)

    # the fitted mean of the detail is in single precision, and not quite orthogonal to the rest
    close = {"rtol": 1e-4, "atol": 1e-5}
    torch.testing.assert_close(posterior.log_proba(noisy, a), log_proba(noisy), **close)
    step = (1 - a) / a**0.5 * gradient(log_proba, noisy, wanted)
    torch.testing.assert_close(posterior.toward(noisy, a, wanted), step, **close)


@pytest.mark.parametrize("kind", KINDS)
def test_posterior_and_conditional_means_are_those_of_noised_samples(kind):
    # No formula: clean samples of the mixture, each weighed by how likely its noise is.
    a, n = 0.4, 200_000
    mixture = mixture_of(2, 2, kind, shape=(1, 1, 2))
    clean, components = mixture.sample(n, seed=0)
    clean, cells = clean.reshape(n, 2).astype(float), mixture.cells_[components]
    posterior = CellPosterior(mixture, **DOUBLE)
    for noisy in noisy_of(4, (1, 1, 2)):
        away = noisy.numpy().ravel() - np.sqrt(a) * clean
        weights = np.exp(-0.5 * (away**2).sum(1) / (1 - a))
        share = np.average(cells == 1, weights=weights)
        mean = np.average(clean, axis=0, weights=weights)
        own = np.average(clean, axis=0, weights=weights * (cells == 1))
        # a weighted mean errs as that of (sum w)^2 / sum w^2 samples: here more than 10,000,
        # a tenth of them of the cell, of values that deviate by at most 1.2: .04 is three errors
        assert weights.sum() ** 2 / (weights**2).sum() > 10_000
        assert share > 0.1
        found = posterior.log_proba(noisy[None], a).exp()[0, 1].item()
        assert found == pytest.approx(share, abs=0.02)
        step = posterior.toward(noisy[None], a, torch.tensor([1])).numpy().ravel()
        np.testing.assert_allclose(step, own - mean, atol=0.04)


class Regularised(EmpiricalCovariance):
    """Scikit-learn's covariance, with what ours has on its diagonal to be invertible."""

    def fit(self, X, y=None):
        super().fit(X)
        self.covariance_ = self.covariance_ + 1e-4 * np.eye(X.shape[1])
        return self


def test_on_clean_latents_a_tied_mixture_is_linear_discriminant_analysis():
    rng = np.random.default_rng(0)
    cells = np.repeat([0, 1, 2], [200, 300, 100])
    centres = np.array([[0, 0, 0, 0], [1, 0, -1, 0.5], [-1, 1, 0, 0]])
    latents = rng.normal(centres[cells], [0.5, 1, 1.5, 2])
    theirs = LinearDiscriminantAnalysis(solver="lsqr", covariance_estimator=Regularised())
    theirs.fit(latents, cells)
    ours = CellPosterior(LatentMixture(covariance_type="tied").fit(latents, cells), **DOUBLE)
    found = ours.log_proba(torch.as_tensor(latents), 1.0).numpy()
    # fitted in single precision
    np.testing.assert_allclose(found, theirs.predict_log_proba(latents), atol=1e-4)


def test_on_clean_latents_a_full_mixture_is_quadratic_discriminant_analysis():
    rng = np.random.default_rng(0)
    cells = np.repeat([0, 1], [200, 300])
    latents = rng.normal(0, np.where(cells, 1.5, 0.7)[:, None], (500, 4)) + cells[:, None]
    theirs = QuadraticDiscriminantAnalysis(store_covariance=True).fit(latents, cells)
    mixture = LatentMixture()
    mixture.means_, mixture.weights_ = theirs.means_, theirs.priors_
    mixture.covariances_, mixture.cells_ = np.array(theirs.covariance_), np.arange(2)
    found = CellPosterior(mixture, **DOUBLE).log_proba(torch.as_tensor(latents), 1.0)
    np.testing.assert_allclose(found, theirs.predict_log_proba(latents), atol=1e-8)


@pytest.mark.parametrize("kind", KINDS)
def test_in_pure_noise_cells_have_their_priors_and_the_step_leads_from_mean_to_mean(kind):
    # As a falls to zero the latents tell nothing: E[x_0 | x_t, cell] is the cell's own mean.
    mixture = mixture_of(3, 1, kind, (4, 8, 8))
    posterior, noisy = CellPosterior(mixture), noisy_of(6, (4, 8, 8)).float()
    log_proba = posterior.log_proba(noisy, 1e-6)
    # signal is a thousandth of the noise, in 256 dimensions: some hundredths of a nat
    np.testing.assert_allclose(log_proba.exp(), np.tile(mixture.weights_, (6, 1)), atol=0.02)
    cells = torch.arange(6) % 3
    step = posterior.toward(noisy, 1e-6, cells).flatten(1)
    wanted = mixture.means_[cells] - mixture.weights_ @ mixture.means_
    # the mean of all shifts with the posterior, by .02 times distances of at most 5
    np.testing.assert_allclose(step, wanted, atol=0.1)


@pytest.mark.parametrize("a", [1e-12, 1e-6, 1e-3, 0.5, 0.999, 1.0])
@pytest.mark.parametrize("kind", KINDS)
def test_posteriors_are_finite_and_sum_to_one_at_every_noise_level(kind, a):
    mixture = mixture_of(3, 2, kind, (4, 8, 8))
    # single precision, and latents far away from every mean
    posterior, noisy = CellPosterior(mixture), 30 * noisy_of(9, (4, 8, 8)).float()
    log_proba = posterior.log_proba(noisy, a)
    np.testing.assert_allclose(log_proba.exp().sum(1), 1, atol=1e-5)
    assert not log_proba.isnan().any()
    assert posterior.toward(noisy, a, torch.arange(9) % 3).isfinite().all()


def test_the_step_fades_once_the_mixture_is_sure_and_is_none_on_clean_latents():
    mixture = mixture_of(2, 1, "tied")
    mixture.means_ *= 20
    posterior = CellPosterior(mixture, **DOUBLE)
    there = torch.as_tensor(mixture.means_).reshape(2, 1, 2, 3)
    noisy = 0.9**0.5 * there
    stay, leave = (posterior.toward(noisy, 0.9, torch.tensor(c)) for c in ([0, 1], [1, 0]))
    assert stay.abs().max() < 1e-6 < 1 < leave.abs().max()
    assert posterior.toward(there, 1.0, torch.tensor([1, 0])).abs().max() == 0


def test_a_cell_that_no_component_knows_has_no_chance():
    mixture = mixture_of(2)
    mixture.cells_ = np.array([0, 2])
    log_proba = CellPosterior(mixture, n_cells=4).log_proba(noisy_of(5, (1, 2, 3)), 0.5)
    assert log_proba.shape == (5, 4)
    assert log_proba[:, [1, 3]].exp().max() == 0
    np.testing.assert_allclose(log_proba.exp().sum(1), 1, atol=1e-6)
