"""Each test is named after the promise it keeps."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import minimize
from scipy.stats import binomtest, entropy

from fairgen_utils import fairness

# A busy machine must not turn a slow example into a failure.
settings.register_profile("course", deadline=None)
settings.load_profile("course")

ROUNDING = 1e-9  # far above float64 rounding of sums over at most 18 shares

GOOD_CLASSIFIER = np.array([[0.90, 0.06, 0.04], [0.10, 0.85, 0.05], [0.05, 0.15, 0.80]])


@st.composite
def share_vectors(draw, n_groups=None, min_groups=2):
    n_groups = n_groups or draw(st.integers(min_groups, 18))
    counts = draw(arrays(int, n_groups, elements=st.integers(0, 1000)))
    counts[draw(st.integers(0, n_groups - 1))] += 1
    return counts / counts.sum()


@st.composite
def shares_with_target(draw):
    shares = draw(share_vectors())
    return shares, draw(share_vectors(n_groups=len(shares)))


@st.composite
def shares_with_confusion(draw):
    """Random classifiers that are right at least 60 % of the time in every group."""
    shares = draw(share_vectors())
    errors = np.stack([draw(share_vectors(n_groups=len(shares))) for _ in shares])
    right = draw(st.floats(0.6, 1))
    return shares, right * np.eye(len(shares)) + (1 - right) * errors


# Shares


def test_empty_groups_keep_a_share_of_zero():
    assert fairness.shares([0, 2, 2, 2], 4).tolist() == [0.25, 0, 0.75, 0]


@given(shares=share_vectors())
def test_shares_of_certain_probabilities_are_the_hard_shares(shares):
    labels = np.repeat(np.arange(len(shares)), np.rint(shares * 50).astype(int) + 1)
    certain = np.eye(len(shares))[labels]
    np.testing.assert_allclose(
        fairness.soft_shares(certain), fairness.shares(labels, len(shares)), atol=ROUNDING
    )


def test_soft_shares_average_the_probabilities():
    # By hand; hard labels would say [2/3, 1/3].
    soft = fairness.soft_shares([[0.6, 0.4], [0.9, 0.1], [0.0, 1.0]])
    np.testing.assert_allclose(soft, [0.5, 0.5], atol=ROUNDING)


def test_joint_labels_count_with_the_last_attribute_fastest():
    # Like digits: group 1 of 2 and group 2 of 3 is 1 * 3 + 2.
    assert fairness.joint_labels([[0, 1, 1], [2, 0, 2]], (2, 3)).tolist() == [2, 3, 5]


@given(seed=st.integers(0, 10_000), axis=st.integers(0, 2))
def test_marginals_of_joint_shares_are_the_attribute_shares(seed, axis):
    sizes = (2, 3, 4)
    rng = np.random.default_rng(seed)
    labels = [rng.integers(0, size, 30) for size in sizes]
    joint = fairness.shares(fairness.joint_labels(labels, sizes), 24)
    np.testing.assert_allclose(
        fairness.marginal_shares(joint, sizes, axis),
        fairness.shares(labels[axis], sizes[axis]),
        atol=ROUNDING,
    )


def test_checked_shares_come_back_unchanged():
    shares = [0.3, 0.3, 0.4]
    assert fairness.check_shares(shares).tolist() == shares


# Distances from a target


@given(pair=shares_with_target())
def test_fd_is_zero_only_at_the_target(pair):
    shares, target = pair
    assert fairness.fairness_discrepancy(target, target) == 0
    # Equal fractions divide to equal floats, so no tolerance is needed.
    assert (fairness.fairness_discrepancy(shares, target) == 0) == np.array_equal(shares, target)


@pytest.mark.parametrize("n_groups", [2, 3, 7, 18])
def test_collapsed_generator_scores_the_maximum(n_groups):
    # FD is convex, so its maximum is at a corner of the simplex: (1 - 1/K)^2 + (K - 1)/K^2.
    # Counting only the groups that occur would give 0.5 for K = 2 in place of 0.707.
    collapsed = fairness.fairness_discrepancy(fairness.shares([0] * 50, n_groups))
    assert collapsed == pytest.approx(np.sqrt((n_groups - 1) / n_groups), abs=ROUNDING)


@given(shares=share_vectors())
def test_no_shares_score_above_the_collapsed_generator(shares):
    n_groups = len(shares)
    assert fairness.fairness_discrepancy(shares) <= np.sqrt((n_groups - 1) / n_groups) + ROUNDING


def test_fd_of_a_known_case():
    # (0.1, -0.3, 0.2): sqrt(0.01 + 0.09 + 0.04).
    fd = fairness.fairness_discrepancy([0.6, 0.1, 0.3], [0.5, 0.4, 0.1])
    assert fd == pytest.approx(np.sqrt(0.14), abs=ROUNDING)


@given(pair=shares_with_target())
def test_kl_is_never_negative(pair):
    assert fairness.kl_divergence(*pair) >= 0


def test_kl_is_not_negative_for_shares_rounded_down():
    # Accepted, for their sum is within 1e-6 of one; the formula alone would say -8e-7.
    assert fairness.kl_divergence([0.4999996, 0.4999996]) == 0


@given(pair=shares_with_target())
def test_kl_agrees_with_scipy(pair):
    shares, target = pair
    np.testing.assert_allclose(
        fairness.kl_divergence(shares, target), entropy(shares, target), atol=ROUNDING
    )


def test_kl_is_infinite_where_an_excluded_group_occurs():
    assert fairness.kl_divergence([0.5, 0.5], [1, 0]) == np.inf


def test_an_empty_group_adds_nothing_to_kl():
    assert fairness.kl_divergence([1, 0], [0.5, 0.5]) == pytest.approx(np.log(2), abs=ROUNDING)


@given(shares=share_vectors())
def test_normalized_entropy_stays_between_zero_and_one(shares):
    assert 0 <= fairness.normalized_entropy(shares) <= 1


@given(shares=share_vectors())
def test_entropy_and_kl_to_uniform_add_up(shares):
    # H(p) + KL(p || uniform) = log K.
    log_k = np.log(len(shares))
    total = fairness.normalized_entropy(shares) * log_k + fairness.kl_divergence(shares)
    assert total == pytest.approx(log_k, abs=ROUNDING)


@given(pair=shares_with_target(), seed=st.integers(0, 1000))
def test_order_of_the_groups_does_not_matter(pair, seed):
    shares, target = pair
    order = np.random.default_rng(seed).permutation(len(shares))
    for metric in (fairness.fairness_discrepancy, fairness.kl_divergence):
        np.testing.assert_allclose(
            metric(shares[order], target[order]), metric(shares, target), atol=ROUNDING
        )
    assert fairness.normalized_entropy(shares[order]) == pytest.approx(
        fairness.normalized_entropy(shares), abs=ROUNDING
    )


@pytest.mark.parametrize(
    "function",
    [
        fairness.fairness_discrepancy,
        fairness.kl_divergence,
        fairness.normalized_entropy,
        lambda s: fairness.correct_shares(s, GOOD_CLASSIFIER),
        lambda s: fairness.marginal_shares(s, (3, 1), 0),
    ],
)
def test_a_batch_gives_what_its_rows_give(function):
    batch = np.random.default_rng(0).dirichlet(np.ones(3), size=(4, 5))
    rows = np.array([[function(row) for row in block] for block in batch])
    np.testing.assert_allclose(function(batch), rows, atol=ROUNDING)


def test_a_single_metric_is_a_plain_float():
    assert type(fairness.fairness_discrepancy([0.4, 0.6])) is float


# Intervals


@pytest.mark.parametrize("counts", [(0, 40), (1, 39), (13, 27), (40, 0)])
@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_share_intervals_are_wilsons(counts, confidence):
    ours = fairness.share_intervals(np.repeat([0, 1], counts), 2, confidence)
    scipys = [binomtest(c, 40).proportion_ci(confidence, method="wilson") for c in counts]
    np.testing.assert_allclose(ours, scipys, atol=ROUNDING)


def test_a_group_never_seen_keeps_an_interval_with_a_width():
    low, high = fairness.share_intervals([0] * 100, 2)[1]
    assert low == 0
    assert high > 0.01  # a share of 1 % leaves 100 faces empty with probability .99^100 = .37


def test_bootstrap_interval_covers_at_about_its_nominal_rate():
    # Far from the target, where FD is smooth and its bias small. With 400 repetitions the
    # standard error of the rate is sqrt(.95 * .05 / 400) = .011: three of them, and .01 for
    # the percentile method at n = 300.
    truth = np.array([0.6, 0.3, 0.1])
    wanted = fairness.fairness_discrepancy(truth)
    rng = np.random.default_rng(1)
    covered = 0
    for repetition in range(400):
        labels = rng.choice(3, size=300, p=truth)
        low, high = fairness.bootstrap_interval(
            labels, fairness.fairness_discrepancy, 3, n_resamples=400, seed=repetition
        )
        covered += low <= wanted <= high
    assert covered / 400 == pytest.approx(0.95, abs=0.043)


def test_bootstrap_interval_matches_resampling_the_labels():
    # The multinomial shortcut against the definition: draw faces with replacement.
    labels = np.repeat([0, 1, 2], [60, 30, 10])
    rng = np.random.default_rng(0)
    resampled = [
        fairness.fairness_discrepancy(fairness.shares(rng.choice(labels, 100), 3))
        for _ in range(4000)
    ]
    interval = fairness.bootstrap_interval(
        labels, fairness.fairness_discrepancy, 3, n_resamples=4000
    )
    # A 2.5 % quantile of 4,000 draws has a standard error near .003 when the spread is .05.
    np.testing.assert_allclose(interval, np.quantile(resampled, [0.025, 0.975]), atol=0.015)


def test_bootstrap_gives_one_interval_for_each_value_of_the_statistic():
    interval = fairness.bootstrap_interval([0, 0, 1, 2], lambda s: s, 3)
    assert interval.shape == (3, 2)


def test_only_the_same_seed_gives_the_same_draws():
    first, again, other = (fairness.noise_floor(50, n_groups=2, seed=s).tolist() for s in (3, 3, 4))
    assert first == again
    assert first != other


def test_same_seed_gives_the_same_interval():
    labels, fd = np.repeat([0, 1], [30, 20]), fairness.fairness_discrepancy
    first, again = (fairness.bootstrap_interval(labels, fd, 2, seed=3) for _ in range(2))
    assert first.tolist() == again.tolist()


def test_corrected_bootstrap_takes_less_than_half_a_second():
    labels = np.random.default_rng(0).integers(0, 6, 1000)
    confusion = 0.8 * np.eye(6) + 0.2 / 6
    start = time.perf_counter()
    fairness.bootstrap_interval(
        labels, lambda s: fairness.fairness_discrepancy(fairness.correct_shares(s, confusion)), 6
    )
    assert time.perf_counter() - start < 0.5  # the promise; measured near 0.01 s


# Noise floor


@pytest.mark.parametrize(
    ("n", "n_groups", "mean", "high"),
    [
        (64, 2, 0.071, 0.177),
        (200, 2, 0.040, 0.099),
        (10_000, 2, 0.006, 0.014),
        (200, 7, 0.063, 0.096),
    ],
)
def test_noise_floor_matches_the_published_table(n, n_groups, mean, high):
    draws = fairness.noise_floor(n, n_groups=n_groups)
    # Rounding of the table (.0005) and five standard errors of a mean of 10,000 draws.
    assert draws.mean() == pytest.approx(mean, abs=0.0005 + 5 * draws.std() / 100)
    # For K = 2 the scores come in steps of sqrt(2) / n, and the quantile may sit on a neighbour.
    assert np.quantile(draws, 0.95) == pytest.approx(high, abs=0.002 + np.sqrt(2) / n)


def test_noise_floor_has_the_variance_that_theory_gives():
    # E[FD^2] = sum of the shares' variances = (1 - sum target^2) / n, exactly.
    target = np.array([0.5, 0.3, 0.2])
    squares = fairness.noise_floor(100, target) ** 2
    wanted = (1 - np.sum(target**2)) / 100
    assert squares.mean() == pytest.approx(wanted, abs=5 * squares.std() / 100)


def test_noise_floor_quantile_is_the_quantile_of_its_draws():
    draws = fairness.noise_floor(100, n_groups=4, n_trials=500)
    high = fairness.noise_floor(100, n_groups=4, n_trials=500, quantile=0.9)
    # A tenth of the draws lie above it; FD takes discrete values, so a few may tie.
    assert np.mean(draws > high) <= 0.1 <= np.mean(draws >= high)


def test_classifier_errors_raise_the_noise_floor():
    target = [0.5, 0.3, 0.2]
    clean = fairness.noise_floor(200, target)
    corrected = fairness.noise_floor(200, target, confusion=GOOD_CLASSIFIER)
    standard_error = np.hypot(clean.std(), corrected.std()) / 100
    assert corrected.mean() > clean.mean() + 5 * standard_error


def test_noise_floor_with_errors_matches_labelling_face_by_face():
    target = np.array([0.5, 0.3, 0.2])
    rng = np.random.default_rng(5)
    one_by_one = []
    for _ in range(1000):
        true = rng.choice(3, size=60, p=target)
        predicted = (rng.random((60, 1)) > GOOD_CLASSIFIER.cumsum(axis=1)[true, :2]).sum(axis=1)
        corrected = fairness.correct_shares(fairness.shares(predicted, 3), GOOD_CLASSIFIER)
        one_by_one.append(fairness.fairness_discrepancy(corrected, target))
    at_once = fairness.noise_floor(60, target, confusion=GOOD_CLASSIFIER)
    standard_error = np.hypot(np.std(one_by_one) / np.sqrt(1000), at_once.std() / 100)
    assert at_once.mean() == pytest.approx(np.mean(one_by_one), abs=4 * standard_error)


# Classifier errors


def test_confusion_rates_of_a_known_case():
    rates = fairness.confusion_rates([0, 0, 0, 0, 1, 1], [0, 0, 0, 1, 1, 0], 2)
    assert rates.tolist() == [[0.75, 0.25], [0.5, 0.5]]


def test_small_integer_types_do_not_overflow():
    # 17 * 18 + 17 = 323 does not fit in the uint8 that label files often use.
    labels = np.arange(18, dtype=np.uint8)
    assert fairness.confusion_rates(labels, labels, 18).tolist() == np.eye(18).tolist()


@given(pair=shares_with_confusion())
def test_correction_recovers_the_true_shares(pair):
    # Right at least 60 % of the time: rounding grows at most by 1 / (2 * 0.6 - 1) = 5.
    shares, confusion = pair
    recovered = fairness.correct_shares(confusion.T @ shares, confusion)
    np.testing.assert_allclose(recovered, shares, atol=ROUNDING)


def test_correction_inside_the_simplex_is_the_linear_solve():
    # Two groups by hand: (measured - false positive rate) / (true rate - false positive rate).
    corrected = fairness.correct_shares([0.4, 0.6], [[0.9, 0.1], [0.2, 0.8]])
    np.testing.assert_allclose(corrected, [2 / 7, 5 / 7], atol=ROUNDING)


def test_correction_stays_among_shares():
    # Fewer of group 0 than its false positives alone: the solve says -1/7, no share.
    corrected = fairness.correct_shares([0.1, 0.9], [[0.9, 0.1], [0.2, 0.8]])
    assert corrected.tolist() == [0, 1]


def test_correction_outside_the_simplex_is_the_nearest_shares():
    # By hand: dropping the -0.05 leaves 1.05 for two groups, so each gives up 0.025.
    # Dividing by 1.05, a common shortcut, would say (0, 1/3, 2/3).
    measured = np.array([-0.05, 0.35, 0.70]) @ GOOD_CLASSIFIER
    corrected = fairness.correct_shares(measured, GOOD_CLASSIFIER)
    np.testing.assert_allclose(corrected, [0, 0.325, 0.675], atol=ROUNDING)


def test_correction_agrees_with_a_constrained_optimiser():
    for measured in np.random.default_rng(0).dirichlet(np.full(3, 0.4), size=20):
        solution = np.linalg.solve(GOOD_CLASSIFIER.T, measured)
        nearest = minimize(
            lambda p, solution: np.sum((p - solution) ** 2),
            np.full(3, 1 / 3),
            args=(solution,),
            bounds=[(0, 1)] * 3,
            constraints={"type": "eq", "fun": lambda p: p.sum() - 1},
            method="SLSQP",
            options={"ftol": 1e-12},
        ).x
        # The optimiser stops near 1e-6 of its answer, not at rounding.
        corrected = fairness.correct_shares(measured, GOOD_CLASSIFIER)
        np.testing.assert_allclose(corrected, nearest, atol=1e-5)


# Amplification


def test_amplification_is_generated_minus_training():
    result = fairness.amplification(np.repeat([0, 1], [75, 25]), [0.5, 0.5])
    np.testing.assert_allclose(result.difference, [0.25, -0.25], atol=ROUNDING)
    np.testing.assert_allclose(result.ratio, [1.5, 0.5], atol=ROUNDING)


@pytest.mark.parametrize("confusion", [None, GOOD_CLASSIFIER])
def test_amplification_lies_in_its_interval(confusion):
    labels = np.repeat([0, 1, 2], [70, 20, 10])
    result = fairness.amplification(labels, [0.5, 0.3, 0.2], confusion=confusion)
    assert np.all(result.interval[:, 0] < result.difference)
    assert np.all(result.difference < result.interval[:, 1])


def test_amplification_by_the_classifier_alone_is_corrected_away():
    # A generator exactly at its training shares, labelled by a classifier with errors.
    training = np.array([0.5, 0.3, 0.2])
    seen = np.rint(training @ GOOD_CLASSIFIER * 100_000).astype(int)
    labels = np.repeat([0, 1, 2], seen)
    plain = fairness.amplification(labels, training)
    corrected = fairness.amplification(labels, training, confusion=GOOD_CLASSIFIER)
    crosses_zero = [r.interval.prod(axis=1) <= 0 for r in (plain, corrected)]
    assert not crosses_zero[0].any()
    assert crosses_zero[1].all()
    np.testing.assert_allclose(corrected.difference, 0, atol=1e-4)  # counts were rounded


def test_ratio_to_an_absent_training_group_is_infinite():
    assert fairness.amplification([0, 0, 1], [1, 0]).ratio[1] == np.inf


# Refusals: each names the argument

LABELS, FD = [0, 1, 1], fairness.fairness_discrepancy

REFUSALS = [
    ("labels", lambda: fairness.shares([], 2)),
    ("labels", lambda: fairness.shares([0, 2], 2)),
    ("labels", lambda: fairness.shares([0, -1], 2)),
    ("labels", lambda: fairness.shares([0.0, 1.0], 2)),
    ("labels", lambda: fairness.shares([True, False], 2)),
    ("labels: 1 of 2 are NaN", lambda: fairness.shares([0.0, np.nan], 2)),
    ("labels", lambda: fairness.shares([[0, 1]], 2)),
    ("n_groups", lambda: fairness.shares(LABELS, 0)),
    ("n_groups", lambda: fairness.shares(LABELS, 2.0)),
    ("probabilities", lambda: fairness.soft_shares([[0.5, 0.6]])),
    ("probabilities", lambda: fairness.soft_shares([0.5, 0.5])),
    ("probabilities", lambda: fairness.soft_shares(np.empty((0, 2)))),
    ("labels", lambda: fairness.joint_labels([LABELS], (2, 2))),
    ("labels", lambda: fairness.joint_labels([LABELS, [0, 1]], (2, 2))),
    (r"labels\[1\]", lambda: fairness.joint_labels([LABELS, [0, 1, 2]], (2, 2))),
    ("joint", lambda: fairness.marginal_shares([0.5, 0.5], (2, 2), 0)),
    ("axis", lambda: fairness.marginal_shares([0.25] * 4, (2, 2), 2)),
    ("target: shares sum to 1.2, not 1", lambda: fairness.check_shares([0.6, 0.3, 0.3])),
    ("wanted", lambda: fairness.check_shares([-0.5, 1.5], "wanted")),
    ("target", lambda: fairness.check_shares([np.nan, 1])),
    ("target", lambda: fairness.check_shares([])),
    ("target", lambda: fairness.check_shares(["half", "half"])),
    ("target", lambda: fairness.check_shares([0.5, 0.5], n_groups=3)),
    ("shares", lambda: FD([0.5, 0.4])),
    ("target", lambda: FD([0.5, 0.5], [1.0])),
    ("target", lambda: FD([0.5, 0.5], [[0.5, 0.5]])),
    ("target", lambda: fairness.kl_divergence([0.5, 0.5], [0.5, 0.6])),
    ("shares", lambda: fairness.normalized_entropy([1.0])),
    ("confidence", lambda: fairness.share_intervals(LABELS, 2, confidence=95)),
    ("confidence", lambda: fairness.bootstrap_interval(LABELS, FD, 2, confidence=0)),
    ("n_resamples", lambda: fairness.bootstrap_interval(LABELS, FD, 2, n_resamples=0)),
    ("statistic", lambda: fairness.bootstrap_interval(LABELS, np.max, 2)),
    ("n:", lambda: fairness.noise_floor(0, n_groups=2)),
    ("n_groups", lambda: fairness.noise_floor(10)),
    ("n_trials", lambda: fairness.noise_floor(10, n_groups=2, n_trials=0)),
    ("quantile", lambda: fairness.noise_floor(10, n_groups=2, quantile=95)),
    ("target", lambda: fairness.noise_floor(10, [0.5, 0.6])),
    ("confusion", lambda: fairness.noise_floor(10, n_groups=2, confusion=GOOD_CLASSIFIER)),
    ("true", lambda: fairness.confusion_rates([0, 0], [0, 1], 2)),
    ("predicted", lambda: fairness.confusion_rates([0, 1], [0], 2)),
    ("predicted", lambda: fairness.confusion_rates([0, 1], [0, 2], 2)),
    ("measured", lambda: fairness.correct_shares([0.5, 0.6], np.eye(2))),
    ("confusion", lambda: fairness.correct_shares([0.5, 0.5], [[90, 10], [10, 90]])),
    ("confusion", lambda: fairness.correct_shares([0.5, 0.5], [[0.5, 0.5]])),
    ("confusion: rank 1", lambda: fairness.correct_shares([0.5, 0.5], [[0.5, 0.5]] * 2)),
    ("generated", lambda: fairness.amplification([0, 2], [0.5, 0.5])),
    ("training_shares", lambda: fairness.amplification([0, 1], [0.5, 0.6])),
]


@pytest.mark.parametrize(("argument", "call"), REFUSALS)
def test_bad_input_is_refused_by_name(argument, call):
    with pytest.raises(ValueError, match=f"^{argument}"):
        call()


def test_a_refusal_shows_what_was_found():
    with pytest.raises(ValueError, match=r"found \[0\.6, 0\.3, 0\.3\]"):
        fairness.fairness_discrepancy([0.4, 0.3, 0.3], [0.6, 0.3, 0.3])
