"""Each test is named after the promise it keeps."""

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import logsumexp
from scipy.stats import chi2, multivariate_normal
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture
from strategies import share_vectors

from fairgen_utils.generate import Sampler
from fairgen_utils.load import load_world
from fairgen_utils.localize import component_table, fit_weights, localize_mixture, solve_weights
from fairgen_utils.models.mixture import LatentMixture

SHAPE = (1, 2, 3)  # of one latent: 6 values
SINGLE = 1e-5  # float32 keeps 7 digits; values here are of order one and sums are short

seeds = st.integers(0, 10_000)
alphas = st.floats(0, 1)


def mixture_of(n_components, seed=0):
    """A mixture whose parameters were drawn, not fitted: what theory says of it is exact."""
    rng = np.random.default_rng(seed)
    n_features = int(np.prod(SHAPE))
    mixture = LatentMixture(n_components)
    mixture.weights_ = rng.dirichlet(np.full(n_components, 3.0)).astype(np.float32)
    mixture.means_ = 2 * rng.standard_normal((n_components, n_features)).astype(np.float32)
    roots = rng.standard_normal((n_components, n_features, n_features)) / np.sqrt(n_features)
    covariances = roots @ roots.transpose(0, 2, 1) + 0.3 * np.eye(n_features)
    mixture.covariances_ = covariances.astype(np.float32)
    mixture.cells_ = np.arange(n_components)
    mixture.latent_shape_ = SHAPE
    return mixture


def latents_of(n, seed=0):
    return np.random.default_rng(seed).standard_normal((n, *SHAPE)).astype(np.float32)


def moments(mixture):
    """Mean and covariance of the whole mixture: the law of total covariance."""
    weights = mixture.weights_.astype(float) / mixture.weights_.sum(dtype=float)
    mean = weights @ mixture.means_
    within = np.einsum("k,kij->ij", weights, mixture.covariances_)
    centred = mixture.means_ - mean
    return mean, within + np.einsum("k,ki,kj->ij", weights, centred, centred)


# Push forward


@given(seed=seeds, n_components=st.integers(1, 4), alpha=alphas)
def test_push_forward_has_the_moments_of_noised_latents(seed, n_components, alpha):
    # Of x_t = sqrt(a) x_0 + sqrt(1 - a) e with independent e: sqrt(a) E x_0, a Cov x_0 + (1 - a) I.
    mixture = mixture_of(n_components, seed)
    clean_mean, clean_covariance = moments(mixture)
    mean, covariance = moments(mixture.push_forward(alpha))
    np.testing.assert_allclose(mean, np.sqrt(alpha) * clean_mean, atol=SINGLE * 10)
    wanted = alpha * clean_covariance + (1 - alpha) * np.eye(6)
    np.testing.assert_allclose(covariance, wanted, atol=SINGLE * 10)


@pytest.mark.parametrize("timestep", [100, 500, 900])
def test_noised_latents_fall_where_the_pushed_mixture_says(timestep):
    # Whitened by its own component, a noised latent's squared length is chi-squared with 6
    # degrees of freedom: mean 6, variance 12. Direct noising is diffusers' own add_noise.
    scheduler = DDPMScheduler(1000, beta_schedule="squaredcos_cap_v2")
    mixture = mixture_of(3)
    clean, components = mixture.sample(6000, seed=1)
    noise = torch.as_tensor(latents_of(6000, seed=2))
    noisy = scheduler.add_noise(torch.as_tensor(clean), noise, torch.tensor(timestep)).numpy()
    pushed = mixture.push_forward(float(scheduler.alphas_cumprod[timestep]))
    for k in range(3):
        centred = noisy[components == k].reshape(-1, 6) - pushed.means_[k]
        standard_error = np.sqrt(pushed.covariances_[k].diagonal() / len(centred))
        # 18 means in all: 4.5 standard errors leave a chance of 1e-4
        assert (abs(centred.mean(0)) < 4.5 * standard_error).all()
        lengths = (centred * np.linalg.solve(pushed.covariances_[k], centred.T).T).sum(1)
        assert lengths.mean() == pytest.approx(6, abs=4.5 * np.sqrt(12 / len(lengths)))
        # the same along the tail: a tenth lies beyond the 90 % point
        beyond = (lengths > chi2(6).ppf(0.9)).mean()
        assert beyond == pytest.approx(0.1, abs=4.5 * np.sqrt(0.09 / len(lengths)))


@given(seed=seeds, first=alphas, second=alphas)
def test_noising_twice_is_noising_by_the_product(seed, first, second):
    mixture = mixture_of(3, seed)
    twice = mixture.push_forward(first).push_forward(second)
    once = mixture.push_forward(first * second)
    np.testing.assert_allclose(twice.means_, once.means_, atol=SINGLE)
    np.testing.assert_allclose(twice.covariances_, once.covariances_, atol=SINGLE)


def test_without_noise_the_mixture_stays_itself():
    mixture = mixture_of(3)
    same = mixture.push_forward(1)
    assert same.means_.tolist() == mixture.means_.tolist()
    assert same.covariances_.tolist() == mixture.covariances_.tolist()


def test_in_pure_noise_every_component_is_the_standard_normal():
    noise = mixture_of(4).push_forward(0)
    assert not noise.means_.any()
    assert noise.covariances_.tolist() == [np.eye(6).tolist()] * 4


def test_in_pure_noise_responsibilities_are_the_weights():
    mixture = mixture_of(4)
    told = mixture.push_forward(0).predict_proba(latents_of(20))
    np.testing.assert_allclose(told, np.tile(mixture.weights_, (20, 1)), atol=SINGLE)


def test_push_forward_leaves_the_clean_mixture_alone():
    mixture, copy = mixture_of(3), mixture_of(3)
    mixture.push_forward(0.5)
    assert mixture.means_.tolist() == copy.means_.tolist()
    assert mixture.covariances_.tolist() == copy.covariances_.tolist()


# Densities


@given(seed=seeds, n_components=st.integers(1, 4))
def test_density_is_scipys(seed, n_components):
    mixture, latents = mixture_of(n_components, seed), latents_of(10, seed)
    scipys = [
        np.log(weight) + multivariate_normal(mean, covariance).logpdf(latents.reshape(10, -1))
        for weight, mean, covariance in zip(
            mixture.weights_, mixture.means_, mixture.covariances_, strict=True
        )
    ]
    # far from the means the log-density is large, and float32 rounds in proportion
    np.testing.assert_allclose(
        mixture.score_samples(latents), logsumexp(scipys, axis=0), rtol=1e-4, atol=1e-4
    )


@given(seed=seeds)
def test_responsibilities_are_sklearns(seed):
    mixture, latents = mixture_of(3, seed), latents_of(20, seed)
    sklearns = GaussianMixture(3)
    sklearns.weights_ = mixture.weights_.astype(float)
    sklearns.means_ = mixture.means_.astype(float)
    precisions = np.linalg.inv(mixture.covariances_.astype(float))
    sklearns.precisions_cholesky_ = np.linalg.cholesky(precisions)
    # probabilities of a hundred nats' difference round in the fourth digit
    np.testing.assert_allclose(
        mixture.predict_proba(latents), sklearns.predict_proba(latents.reshape(20, -1)), atol=1e-3
    )


# Sampling


@pytest.mark.parametrize("weights", [None, [0.7, 0.0, 0.3]])
def test_components_are_drawn_at_their_weights(weights):
    mixture = mixture_of(3)
    wanted = mixture.weights_ if weights is None else np.array(weights)
    _, components = mixture.sample(20_000, seed=0, weights=weights)
    drawn = np.bincount(components, minlength=3) / 20_000
    assert (abs(drawn - wanted) <= 4 * np.sqrt(wanted * (1 - wanted) / 20_000)).all()


def test_samples_have_the_moments_of_their_component():
    mixture = mixture_of(2)
    latents, components = mixture.sample(40_000, seed=0)
    for k in range(2):
        members = latents[components == k].reshape(-1, 6)
        covariance, n = mixture.covariances_[k], len(members)
        deviation = np.sqrt(covariance.diagonal())
        assert (abs(members.mean(0) - mixture.means_[k]) < 4.5 * deviation / np.sqrt(n)).all()
        # variance of a Gaussian sample covariance: (s_ii s_jj + s_ij^2) / n
        errors = np.sqrt((np.outer(deviation, deviation) ** 2 + covariance**2) / n)
        assert (abs(np.cov(members, rowvar=False) - covariance) < 4.5 * errors).all()


def test_samples_have_the_shape_of_the_latents():
    latents, components = mixture_of(2).sample(5, seed=0)
    assert latents.shape == (5, *SHAPE)
    assert components.shape == (5,)


@pytest.mark.parametrize("n_components", [2, 7, 24, 64])
def test_fitted_weights_can_be_sampled_whatever_their_rounding(n_components):
    # float32 weights sum to one only to seven digits; NumPy's choice wants eight.
    for seed in range(20):
        mixture_of(n_components, seed).sample(1, seed)


def test_only_the_same_seed_gives_the_same_draw():
    mixture = mixture_of(3)
    first, again, other = (mixture.sample(10, seed)[0].tolist() for seed in (3, 3, 4))
    assert first == again
    assert first != other


def test_fitting_and_sampling_leave_the_global_generators_alone():
    def states():
        return np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # noqa: NPY002

    before = states()
    LatentMixture(2).fit(latents_of(40)).sample(10, seed=0)
    assert states() == before


# Fitting


def test_each_cell_gets_one_component_at_its_class_mean():
    latents, cells = latents_of(90), np.repeat([0, 1, 2], [20, 30, 40])
    mixture = LatentMixture(1).fit(latents, cells)
    means = [latents[cells == cell].reshape(-1, 6).mean(0) for cell in range(3)]
    np.testing.assert_allclose(mixture.means_, means, atol=SINGLE)
    np.testing.assert_allclose(mixture.weights_, [2 / 9, 3 / 9, 4 / 9], atol=SINGLE)


def test_without_shrinkage_a_cells_covariance_is_its_own():
    latents, cells = latents_of(200), np.arange(200) % 2
    mixture = LatentMixture(1, prior_counts=0).fit(latents, cells)
    for k in range(2):
        wanted = np.cov(latents[cells == k].reshape(-1, 6), rowvar=False, bias=True)
        np.testing.assert_allclose(mixture.covariances_[k], wanted, atol=SINGLE)


def test_with_endless_shrinkage_all_cells_share_the_pooled_covariance():
    latents, cells = latents_of(200), np.arange(200) % 2
    mixture = LatentMixture(1, prior_counts=1e6).fit(latents, cells)
    within = [np.cov(latents[cells == k].reshape(-1, 6), rowvar=False, bias=True) for k in (0, 1)]
    # 1e-4 on the diagonal keeps it invertible; the cells' own count for 100 in a million
    np.testing.assert_allclose(mixture.covariances_, [np.mean(within, axis=0)] * 2, atol=3e-4)


def test_a_cell_without_faces_gets_no_component():
    mixture = LatentMixture(1).fit(latents_of(20), np.repeat([0, 3], 10))
    assert mixture.cells_.tolist() == [0, 3]
    assert len(mixture.means_) == 2


def test_n_components_counts_in_each_cell():
    mixture = LatentMixture(3).fit(latents_of(80), np.arange(80) % 2)
    assert mixture.cells_.tolist() == [0, 0, 0, 1, 1, 1]
    # the components of a cell share its faces
    np.testing.assert_allclose(mixture.weights_.reshape(2, 3).sum(1), 0.5, atol=1e-4)


def test_separated_clusters_are_found_without_labels():
    # Twelve deviations apart in every direction: no face is in doubt.
    truth = np.arange(300) % 3
    latents = latents_of(300) + 12 * np.eye(6, dtype=np.float32)[truth].reshape(-1, *SHAPE)
    found = LatentMixture(3).fit(latents).predict_proba(latents).argmax(1)
    assert adjusted_rand_score(truth, found) == 1


def test_same_seed_fits_the_same_mixture():
    first, again = (LatentMixture(3, random_state=5).fit(latents_of(60)) for _ in range(2))
    assert first.means_.tolist() == again.means_.tolist()


def test_clone_keeps_the_parameters_and_forgets_the_fit():
    mixture = LatentMixture(2, n_dimensions=3, prior_counts=1.5, random_state=7).fit(latents_of(30))
    fresh = clone(mixture)
    assert fresh.get_params() == mixture.get_params()
    assert not hasattr(fresh, "means_")


@pytest.mark.parametrize(
    "use",
    [
        lambda mixture: mixture.push_forward(0.5),
        lambda mixture: mixture.sample(1, seed=0),
        lambda mixture: mixture.predict_proba(latents_of(2)),
        lambda mixture: mixture.score_samples(latents_of(2)),
    ],
)
def test_an_unfitted_mixture_says_so(use):
    with pytest.raises(NotFittedError):
        use(LatentMixture())


# The table


def test_table_counts_faces():
    table = component_table([0, 0, 1, 2, 2, 2], [1, 1, 0, 0, 1, 1], 4, 2)
    assert table.tolist() == [[0, 2], [1, 0], [1, 2], [0, 0]]


def test_table_of_certain_responsibilities_is_the_count():
    components, labels = np.array([0, 0, 1, 2]), [1, 0, 0, 1]
    soft = component_table(np.eye(3)[components], labels, 3, 2)
    assert soft.tolist() == component_table(components, labels, 3, 2).tolist()


# Weights


@st.composite
def solvable(draw, n_groups=None):
    """Component rows and a target that some weights reach."""
    n_groups = n_groups or draw(st.integers(2, 5))
    n_components = draw(st.integers(n_groups, 8))
    rows = np.stack([draw(share_vectors(n_groups)) for _ in range(n_components)])
    return rows, draw(share_vectors(n_components)) @ rows


# Counts so large that their sampling variance, 1e-12, vanishes beside the discrepancy.
ENDLESS = 1e12


@given(problem=solvable())
def test_feasible_target_is_reached_with_endless_faces(problem):
    rows, target = problem
    weights = solve_weights(rows * ENDLESS, target)
    # weights sum to one to about 1e-6 before they are divided by their sum
    np.testing.assert_allclose(rows.T @ weights, target, atol=1e-5)


@given(problem=solvable(), counts=st.integers(1, 1000))
def test_weights_are_shares_of_the_components(problem, counts):
    rows, target = problem
    weights = solve_weights(np.rint(rows * counts) + 1, target)
    assert (weights >= 0).all()
    assert weights.sum() == pytest.approx(1, abs=1e-9)


@given(problem=solvable(), seed=seeds)
def test_order_of_components_and_groups_does_not_matter(problem, seed):
    rows, target = problem
    table, rng = np.rint(rows * 50) + 1, np.random.default_rng(seed)
    components, groups = rng.permutation(rows.shape[0]), rng.permutation(rows.shape[1])
    weights = solve_weights(table, target)
    permuted = solve_weights(table[components][:, groups], target[groups])
    # the objective is strictly convex, so there is one answer; 1e-6 is the solver's rounding
    np.testing.assert_allclose(permuted, weights[components], atol=1e-6)


@given(problem=solvable(n_groups=3))
def test_with_a_confused_classifier_the_true_shares_are_the_target(problem):
    rows, target = problem
    confusion = np.array([[0.90, 0.06, 0.04], [0.10, 0.85, 0.05], [0.05, 0.15, 0.80]])
    measured = rows @ confusion
    weights = solve_weights(measured * ENDLESS, target, confusion)
    # undoing the confusion multiplies 1e-5 by less than 2 (its inverse has norm 1.5)
    np.testing.assert_allclose(rows.T @ weights, target, atol=2e-5)


@given(target=share_vectors(3))
def test_fewer_faces_spread_the_weight_more(target):
    # Rows that are permutations of one another have one variance, so the second term is
    # proportional to sum w^2, and a heavier second term can only lower it.
    rows = np.array([[7, 2, 1], [7, 1, 2], [2, 7, 1], [1, 7, 2], [2, 1, 7], [1, 2, 7]])
    concentration = [
        np.sum(solve_weights(rows * faces, target) ** 2) for faces in (1, 3, 10, 100, 10_000)
    ]
    assert (np.diff(concentration) >= -1e-6).all()


@pytest.mark.parametrize("seed", range(5))
def test_an_optimiser_gets_no_nearer_to_an_infeasible_target(seed):
    # No component has more than half of group 0, and the target wants nine tenths.
    rng = np.random.default_rng(seed)
    rows = np.column_stack([rng.uniform(0.1, 0.5, 6), rng.uniform(0.1, 0.4, 6)])
    rows = np.column_stack([rows, 1 - rows.sum(1)])
    target = np.array([0.9, 0.05, 0.05])
    optimum = minimize(
        lambda w: np.sum((rows.T @ w - target) ** 2),
        np.full(6, 1 / 6),
        bounds=[(0, 1)] * 6,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1},
        method="SLSQP",
        options={"ftol": 1e-12},
    ).x
    weights = solve_weights(rows * ENDLESS, target)
    ours, theirs = (np.linalg.norm(rows.T @ w - target) for w in (weights, optimum))
    assert ours == pytest.approx(theirs, abs=1e-5)  # SLSQP stops near 1e-6


@pytest.mark.parametrize("seed", range(5))
def test_weights_minimise_the_expected_discrepancy(seed):
    # The objective of the docstring, written out again and given to another optimiser.
    rng = np.random.default_rng(seed)
    table, target = rng.integers(0, 12, (5, 3)) + 1.0, rng.dirichlet(np.ones(3))
    counts = table.sum(1)
    rows, smoothed = table / counts[:, None], (table + 1) / (counts + 3)[:, None]
    variances = (smoothed * (1 - smoothed)).sum(1) / counts

    def expected(w):
        return np.sum((rows.T @ w - target) ** 2) + np.sum(w**2 * variances)

    optimum = minimize(
        expected,
        np.full(5, 0.2),
        bounds=[(0, 1)] * 5,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1},
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 500},
    ).x
    np.testing.assert_allclose(solve_weights(table, target), optimum, atol=1e-4)


def test_a_component_without_faces_gets_no_weight():
    weights = solve_weights([[9, 1], [0, 0], [1, 9]], [0.5, 0.5])
    assert weights[1] == 0


# Refusals: what the generated ones of test_refusals.py do not try

REFUSALS = [
    ("latents: found 5 values", lambda: mixture_of(2).score_samples(np.zeros((2, 5)))),
    ("n_components: 5", lambda: LatentMixture(5).fit(latents_of(4))),
    ("n_components: 3", lambda: LatentMixture(3).fit(latents_of(12), [0] * 10 + [1] * 2)),
    ("labels", lambda: component_table([0, 1], [0], 2, 2)),
    ("components", lambda: component_table([0, 2], [0, 1], 2, 2)),
    ("components", lambda: component_table([0, -1], [0, 1], 2, 2)),
    ("components", lambda: component_table(np.eye(3), [0, 1, 1], 2, 2)),
    ("target", lambda: solve_weights(np.eye(2), [[0.5, 0.5]])),
]


@pytest.mark.parametrize(("argument", "call"), REFUSALS)
def test_bad_input_is_refused_by_name(argument, call):
    with pytest.raises(ValueError, match=f"^{argument}"):
        call()


# Extrapolated means


def two_cells(seed=0):
    rng = np.random.default_rng(seed)
    cells = np.repeat([0, 1], [300, 100])
    return rng.standard_normal((400, 3)) + np.where(cells, 2, -2)[:, None], cells


def test_extrapolation_moves_means_away_from_their_common_mean_and_nothing_else():
    latents, cells = two_cells()
    mixture = LatentMixture().fit(latents, cells)
    moved = mixture.extrapolate_means(0.5)
    common = latents.mean(0)  # weights are the shares of the cells
    np.testing.assert_allclose(moved.means_ - common, 1.5 * (mixture.means_ - common), atol=1e-5)
    np.testing.assert_allclose(moved.weights_ @ moved.means_, common, atol=1e-5)
    np.testing.assert_array_equal(moved.covariances_, mixture.covariances_)
    np.testing.assert_array_equal(mixture.extrapolate_means(0).means_, mixture.means_)


def test_extrapolation_and_noise_can_be_had_in_either_order():
    mixture = LatentMixture().fit(*two_cells())
    one = mixture.extrapolate_means(0.7).push_forward(0.3)
    other = mixture.push_forward(0.3).extrapolate_means(0.7)
    np.testing.assert_allclose(one.means_, other.means_, atol=1e-5)


# Several goals at once

# four components, one for each of gender x age; faces stay where they began
TABLES = [np.repeat(np.eye(2), 2, axis=0) * 500, np.tile(np.eye(2), (2, 1)) * 500]


def test_several_goals_are_met_together():
    weights = solve_weights(TABLES, [[0.5, 0.5], [0.2, 0.8]])
    np.testing.assert_allclose(weights @ TABLES[0] / 500, [0.5, 0.5], atol=0.01)
    np.testing.assert_allclose(weights @ TABLES[1] / 500, [0.2, 0.8], atol=0.01)


def test_one_goal_is_a_list_of_one():
    table = np.array([[30, 10], [5, 40], [12, 12]])
    np.testing.assert_allclose(
        solve_weights([table], [[0.3, 0.7]]), solve_weights(table, [0.3, 0.7])
    )


def test_goals_are_corrected_each_by_its_own_confusion():
    confusion = np.array([[0.9, 0.1], [0.3, 0.7]])
    weights = solve_weights(TABLES, [[0.5, 0.5], [0.5, 0.5]], [np.eye(2), confusion])
    np.testing.assert_allclose(weights @ TABLES[0] / 500, [0.5, 0.5], atol=0.01)
    np.testing.assert_allclose(weights @ TABLES[1] / 500, [0.6, 0.4], atol=0.01)


@pytest.mark.parametrize("pack", [list, tuple, np.stack])
def test_goals_come_in_lists_or_stacked_in_one_array(pack):
    confusions = pack([np.eye(2), np.array([[0.9, 0.1], [0.3, 0.7]])])
    stacked = solve_weights(pack(TABLES), pack([[0.5, 0.5], [0.2, 0.8]]), confusions)
    wanted = solve_weights(TABLES, [[0.5, 0.5], [0.2, 0.8]], list(confusions))
    np.testing.assert_array_equal(stacked, wanted)


@pytest.mark.parametrize(
    ("targets", "confusions"),
    [
        ([[0.5, 0.5]], None),
        ([[0.5, 0.5]] * 3, None),
        ([[0.5, 0.5]] * 2, [np.eye(2)]),
        ([[0.5, 0.5]] * 2, np.eye(2)[None]),
    ],
)
def test_goals_that_lack_a_target_or_a_confusion_matrix_are_refused(targets, confusions):
    with pytest.raises(ValueError, match="^table: found 2 tables"):
        solve_weights(TABLES, targets, confusions)


def test_goals_counted_on_different_faces_are_refused():
    with pytest.raises(ValueError, match="^table: several"):
        solve_weights([np.eye(2), np.array([[1, 0], [0, 0]])], [[0.5, 0.5]] * 2)


# Pilots


@pytest.fixture(scope="module")
def sampler(worlds_root):
    world = load_world("tiny", worlds_root)
    return Sampler(world, start=localize_mixture(world, "gender,ancestry"))


def test_a_pilot_counts_every_face_it_made_once(sampler):
    target = np.full(6, 1 / 6)
    weights, table, pilot = fit_weights(sampler, "gender,ancestry", target, 4, 0, progress=False)
    assert table.sum() == len(pilot) == 24
    assert table.shape == (6, 6)
    assert weights.sum() == pytest.approx(1)


def test_a_pilot_serves_several_goals(sampler):
    goals, targets = ["gender", "ancestry"], [np.full(2, 1 / 2), np.full(3, 1 / 3)]
    weights, tables, pilot = fit_weights(sampler, goals, targets, 3, 0, progress=False)
    assert [table.shape for table in tables] == [(6, 2), (6, 3)]
    assert all(table.sum() == len(pilot) == 18 for table in tables)
    assert weights.sum() == pytest.approx(1) and (weights >= 0).all()
