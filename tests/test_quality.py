"""Each test is named after the promise it keeps."""

import numpy as np
import pytest
import torch
from scipy import ndimage
from scipy.linalg import sqrtm

from fairgen_utils.judge import (
    balanced_moments,
    detail,
    frechet_distance,
    kernel_distance,
    manifold_scores,
)


def features_of(n, width=6, shift=0.0, scale=1.0, seed=0):
    return shift + scale * np.random.default_rng(seed).standard_normal((n, width))


def statistics(features):
    return features.mean(0), np.cov(features, rowvar=False)


def test_balanced_moments_weigh_every_cell_alike():
    rng = np.random.default_rng(0)
    features = np.concatenate([rng.normal(0, 1, (900, 3)), rng.normal(4, 1, (100, 3))])
    mean, covariance = balanced_moments(features, np.repeat([0, 1], [900, 100]))
    # halves at 0 and 4: mean 2; variance 1 within plus 4 between; ten standard errors of slack
    assert np.allclose(mean, 2, atol=0.3)
    assert np.allclose(np.diag(covariance), 5, atol=0.7)


# Frechet distance


@pytest.mark.parametrize("seed", range(3))
def test_frechet_distance_is_the_distance_of_two_gaussians(seed):
    # Dowson and Landau (1982): |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)), the root by scipy.
    rng = np.random.default_rng(seed)
    features = features_of(200, seed=seed) @ rng.standard_normal((6, 6))
    mean, root = rng.standard_normal(6), rng.standard_normal((6, 6))
    covariance = root @ root.T
    own_mean, own = statistics(features)
    wanted = np.sum((own_mean - mean) ** 2) + np.trace(
        own + covariance - 2 * sqrtm(own @ covariance).real
    )
    # the metric's sums over a million imagined faces cost six of double precision's 16 digits
    assert frechet_distance(features, mean, covariance) == pytest.approx(wanted, rel=1e-6)


def test_frechet_distance_to_their_own_statistics_is_zero():
    features = features_of(300)
    # roots of eigenvalues off by 1e-10 are off by 1e-5 at most
    assert frechet_distance(features, *statistics(features)) == pytest.approx(0, abs=1e-5)


def test_frechet_distance_of_a_shift_is_its_square():
    features = features_of(300)
    mean, covariance = statistics(features)
    shifted = frechet_distance(features + 0.5, mean, covariance)
    assert shifted == pytest.approx(6 * 0.25, abs=1e-5)


def test_frechet_distance_is_biased_upward_when_faces_are_few():
    # All drawn from the reference itself: what is left is the price of few faces.
    few, many = (
        np.mean(
            [frechet_distance(features_of(n, seed=s), np.zeros(6), np.eye(6)) for s in range(9)]
        )
        for n in (30, 1000)
    )
    assert few > 3 * many


def test_frechet_distance_knows_features_that_do_not_vary():
    # Dead units are common after a ReLU: the covariance is singular.
    features = features_of(100)
    features[:, 0] = 0
    assert frechet_distance(features, *statistics(features)) == pytest.approx(0, abs=1e-5)


# Kernel distance


def test_kernel_distance_is_the_estimate_of_its_paper():
    # Binkowski et al. (2018), eq. 4 written out: the mean of k over pairs of different faces,
    # k(x, y) = (x.y / d + 1)^3. With one subset of everything, nothing is drawn.
    features, reference = features_of(40), features_of(40, shift=0.3, seed=1)

    def kernel(a, b):
        return (a @ b.T / 6 + 1) ** 3

    def pairs(k):
        return (k.sum() - k.trace()) / (40 * 39)

    wanted = (
        pairs(kernel(features, features))
        + pairs(kernel(reference, reference))
        - 2 * kernel(features, reference).mean()
    )
    ours = kernel_distance(features, reference, subsets=1)
    assert ours == pytest.approx(wanted, abs=1e-4)  # the metric computes in float32


def test_kernel_distance_averages_zero_within_one_distribution():
    # Also for few faces, unlike the Frechet distance: within four standard errors.
    values = [
        kernel_distance(features_of(20, seed=s), features_of(20, seed=s + 100), subsets=1)
        for s in range(100)
    ]
    assert abs(np.mean(values)) < 4 * np.std(values) / 10


def test_kernel_distance_grows_with_the_shift():
    reference = features_of(300, seed=1)
    distances = [kernel_distance(features_of(300, shift=s), reference) for s in (0, 0.5, 1)]
    assert distances[0] < distances[1] < distances[2]


def test_kernel_distance_lowers_the_subset_size_to_the_fewest_faces():
    few, many = features_of(20), features_of(600, shift=0.3, seed=1)
    assert np.isfinite([kernel_distance(few, many), kernel_distance(many, few)]).all()


def test_only_the_same_seed_draws_the_same_subsets():
    features, reference = features_of(100), features_of(100, seed=1)
    first, again, other = (
        kernel_distance(features, reference, seed, subset_size=20) for seed in (3, 3, 4)
    )
    assert first == again
    assert first != other


def test_kernel_distance_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    kernel_distance(features_of(30), features_of(30, seed=1))
    assert torch.equal(torch.get_rng_state(), before)


# Precision, recall, density, coverage


def test_manifold_scores_agree_with_their_definition_face_by_face():
    generated, reference, k = features_of(30, 3), features_of(40, 3, seed=1), 4

    def reach(points, i):
        return np.sort(np.linalg.norm(points - points[i], axis=1))[k]  # place 0 is itself

    def in_ball(x, points, i):
        return np.linalg.norm(x - points[i]) <= reach(points, i)

    real = np.array([[in_ball(g, reference, j) for j in range(40)] for g in generated])
    made = np.array([[in_ball(r, generated, i) for i in range(30)] for r in reference])
    scores = manifold_scores(generated, reference, k)
    assert scores["precision"] == pytest.approx(np.mean([row.any() for row in real]))
    assert scores["recall"] == pytest.approx(np.mean([row.any() for row in made]))
    assert scores["density"] == pytest.approx(np.mean([row.sum() for row in real]) / k)
    assert scores["coverage"] == pytest.approx(np.mean([column.any() for column in real.T]))


def test_a_collapsed_generator_is_precise_and_covers_nothing():
    reference = features_of(400)
    scores = manifold_scores(reference[:1] + features_of(400, scale=1e-3), reference)
    assert scores["precision"] == 1
    assert scores["coverage"] < 0.1 and scores["recall"] < 0.1


def test_a_generator_beside_the_data_is_never_precise():
    scores = manifold_scores(features_of(200, shift=50), features_of(200))
    assert scores == {"precision": 0, "recall": 0, "density": 0, "coverage": 0}


def test_a_perfect_generator_has_density_one():
    # expectation (Naeem et al., section 3.2): density 1, coverage 1 - 2^-k up to finite samples
    drawn = [manifold_scores(features_of(400, seed=s), features_of(400, seed=99)) for s in range(9)]
    assert np.mean([d["density"] for d in drawn]) == pytest.approx(1, abs=0.05)
    assert np.mean([d["coverage"] for d in drawn]) == pytest.approx(1 - 2**-5, abs=0.02)


# Refusals: each names the argument

GOOD, EYE, ZERO = features_of(10), np.eye(6), np.zeros(6)
NAN = np.full((10, 6), np.nan)

REFUSALS = [
    ("features", lambda: frechet_distance(NAN, ZERO, EYE)),
    ("features", lambda: frechet_distance(GOOD[:1], ZERO, EYE)),
    ("features", lambda: frechet_distance(GOOD[0], ZERO, EYE)),
    ("mean, covariance", lambda: frechet_distance(GOOD, np.zeros(5), EYE)),
    ("mean, covariance", lambda: frechet_distance(GOOD, ZERO, np.eye(5))),
    ("mean, covariance", lambda: frechet_distance(GOOD, ZERO * np.nan, EYE)),
    ("mean, covariance", lambda: frechet_distance(GOOD, ZERO, np.full((6, 6), np.inf))),
    ("features", lambda: kernel_distance(NAN, GOOD)),
    ("reference", lambda: kernel_distance(GOOD, NAN)),
    ("reference", lambda: kernel_distance(GOOD, GOOD[:1])),
    ("reference: width 5", lambda: kernel_distance(GOOD, GOOD[:, :5])),
    ("subset_size", lambda: kernel_distance(GOOD, GOOD, subset_size=1)),
    ("subsets", lambda: kernel_distance(GOOD, GOOD, subsets=0)),
    ("reference: width 5", lambda: manifold_scores(GOOD, GOOD[:, :5])),
    ("features", lambda: manifold_scores(NAN, GOOD)),
    ("n_neighbors", lambda: manifold_scores(GOOD, GOOD, n_neighbors=10)),
    ("n_neighbors", lambda: manifold_scores(GOOD, GOOD, n_neighbors=0)),
]


@pytest.mark.parametrize(("argument", "call"), REFUSALS)
def test_bad_input_is_refused_by_name(argument, call):
    with pytest.raises(ValueError, match=f"^{argument}"):
        call()


def test_detail_falls_with_every_blur_and_flat_pictures_have_none():
    rng = np.random.default_rng(0)
    sharp = rng.integers(0, 256, (3, 16, 16, 3), np.uint8)
    soft = ndimage.uniform_filter(sharp, (0, 3, 3, 0))
    softer = ndimage.uniform_filter(soft, (0, 3, 3, 0))
    assert detail(sharp) > 2 * detail(soft) > 2 * detail(softer)
    assert detail(np.full((2, 8, 8, 3), 77, np.uint8)) == 0


def test_detail_is_that_of_brightness_in_the_unit_range():
    spot = np.zeros((1, 9, 9, 3), np.uint8)
    spot[0, 4, 4] = 255
    # the Laplacian of a single bright pixel: -4 there, 1 at its four neighbours
    assert detail(spot) == pytest.approx((16 + 4) / 81)


@pytest.mark.parametrize("images", [np.zeros((2, 8, 8, 3)), np.zeros((0, 8, 8, 3), np.uint8)])
def test_detail_refuses_what_is_no_picture(images):
    with pytest.raises(ValueError, match="images: found"):
        detail(images)
