"""Each test is named after the promise it keeps."""

import numpy as np
import pytest

from fairgen_utils.models.low_frequency import LowFrequencyMixture, mixture_for
from fairgen_utils.models.mixture import LatentMixture

SHAPE = (3, 8, 8)


def smooth_latents(n, seed=0):
    """Two cells that differ in brightness, fine detail that differs by pixel."""
    rng = np.random.default_rng(seed)
    cells = rng.integers(0, 2, n)
    coarse = rng.normal(0, 0.3, (n, 3, 2, 2)) + np.where(cells, 1, -1)[:, None, None, None]
    scale = np.linspace(0.1, 0.5, 64).reshape(8, 8)
    detail = rng.standard_normal((n, *SHAPE)) * scale
    return (coarse.repeat(4, 2).repeat(4, 3) + detail).astype(np.float32), cells


@pytest.fixture(scope="module")
def fitted():
    latents, cells = smooth_latents(4000)
    return LowFrequencyMixture(1, 4, prior_counts=1).fit(latents, cells)


def test_the_low_frequencies_are_an_orthonormal_basis():
    # Coefficients keep lengths: |P'x|^2 + |x - PP'x|^2 = |x|^2.
    mixture = LowFrequencyMixture(block=4)
    x = np.random.default_rng(0).standard_normal((5, *SHAPE))
    coarse = mixture.coarse(x)
    detail = x - mixture.spread(coarse)
    np.testing.assert_allclose(
        (coarse**2).sum((1, 2, 3)) + (detail**2).sum((1, 2, 3)), (x**2).sum((1, 2, 3))
    )
    np.testing.assert_allclose(mixture.coarse(mixture.spread(coarse)), coarse)


@pytest.mark.parametrize("alpha_cumprod", [1.0, 0.4, 0.0])
def test_samples_have_the_moments_of_noised_latents(fitted, alpha_cumprod):
    latents, _ = smooth_latents(4000)
    noise = np.random.default_rng(7).standard_normal(latents.shape)
    wanted = np.sqrt(alpha_cumprod) * latents + np.sqrt(1 - alpha_cumprod) * noise
    drawn, _ = fitted.push_forward(alpha_cumprod).sample(4000, seed=3)
    # two samples of 4,000: standard error of a mean at most 1.2/sqrt(4000), times sqrt(2)
    np.testing.assert_allclose(drawn.mean(0), wanted.mean(0), atol=0.13)
    np.testing.assert_allclose(drawn.std(0), wanted.std(0), rtol=0.08)
    # neighbours inside a patch move together as they do in the latents
    for i, j in ((0, 1), (0, 5)):
        ours, theirs = (np.corrcoef(x[:, 0, 0, i], x[:, 0, 0, j])[0, 1] for x in (drawn, wanted))
        assert ours == pytest.approx(theirs, abs=0.08)


def test_noise_alone_is_left_at_the_end(fitted):
    # At a = 0: exactly white, in the subspace and outside of it.
    drawn, _ = fitted.push_forward(0.0).sample(4000, seed=1)
    covariance = np.cov(drawn.reshape(4000, -1)[:, :20], rowvar=False)
    np.testing.assert_allclose(covariance, np.eye(20), atol=0.12)


def test_weights_choose_the_cell_and_responsibilities_find_it_again(fitted):
    latents, components = fitted.sample(400, seed=0, weights=[0, 1])
    assert set(components) == {1}
    assert fitted.cells_.tolist() == [0, 1]
    assert latents.mean() > 0.5
    found = fitted.predict_proba(latents)
    assert found[:, 1].mean() > 0.99


def test_a_low_frequency_mixture_is_the_mixture_of_the_block_means():
    latents, cells = smooth_latents(300)
    ours = LowFrequencyMixture(1, 4).fit(latents, cells).push_forward(0.5)
    means = latents.reshape(300, 3, 2, 4, 2, 4).mean((3, 5)) * 4
    plain = LatentMixture(1).fit(means, cells).push_forward(0.5)
    np.testing.assert_allclose(ours.mixture_.means_, plain.means_, atol=1e-5)
    np.testing.assert_allclose(ours.mixture_.covariances_, plain.covariances_, atol=1e-4)


def test_drawing_more_faces_than_a_chunk_draws_them_all(fitted):
    latents, components = fitted.sample(150, seed=5)
    assert latents.shape == (150, *SHAPE) and components.shape == (150,)
    assert latents.std(0).min() > 0 and np.isfinite(latents).all()
    again, _ = fitted.sample(150, seed=5)
    np.testing.assert_array_equal(latents, again)


@pytest.mark.parametrize(
    ("shape", "block"),
    [((16, 8, 8), None), ((3, 64, 64), 4), ((3, 256, 256), 16), ((3, 48, 32), 4)],
)
def test_the_smallest_block_that_fits_is_chosen(shape, block):
    mixture = mixture_for(shape)
    assert getattr(mixture, "block", None) == block


def test_large_latents_are_read_in_chunks(tmp_path):
    # A memory-mapped file of faces that were never in memory together.
    path = tmp_path / "latents.npy"
    stored = np.lib.format.open_memmap(path, "w+", np.float16, (70, 3, 64, 64))
    stored[:] = np.random.default_rng(0).standard_normal(stored.shape)
    mixture = mixture_for((3, 64, 64)).fit(np.load(path, mmap_mode="r"), np.arange(70) % 2)
    assert mixture.sample(2, seed=0)[0].shape == (2, 3, 64, 64)
