"""Each test is named after the promise it keeps."""


import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.stats import binomtest, entropy
from strategies import ROUNDING, share_vectors, shares_with_target

from fairgen_utils import _checks, measure

GOOD_CLASSIFIER = np.array([[0.90, 0.06, 0.04], [0.10, 0.85, 0.05], [0.05, 0.15, 0.80]])


@st.composite
def shares_with_confusion(draw):
    """Random classifiers that are right at least 60 % of the time in every group."""
    shares = draw(share_vectors())
    errors = np.stack([draw(share_vectors(n_groups=len(shares))) for _ in shares])
    right = draw(st.floats(0.6, 1))
    return shares, right * np.eye(len(shares)) + (1 - right) * errors


# Shares


def test_empty_groups_keep_a_share_of_zero():
    assert measure.shares([0, 2, 2, 2], 4).tolist() == [0.25, 0, 0.75, 0]


@given(shares=share_vectors())
def test_shares_of_certain_probabilities_are_the_hard_shares(shares):
    labels = np.repeat(np.arange(len(shares)), np.rint(shares * 50).astype(int) + 1)
    certain = np.eye(len(shares))[labels]
    np.testing.assert_allclose(
        measure.soft_shares(certain), measure.shares(labels, len(shares)), atol=ROUNDING
    )


def test_soft_shares_average_the_probabilities():
    # By hand; hard labels would say [2/3, 1/3].
    soft = measure.soft_shares([[0.6, 0.4], [0.9, 0.1], [0.0, 1.0]])
    np.testing.assert_allclose(soft, [0.5, 0.5], atol=ROUNDING)


def test_joint_labels_count_with_the_last_attribute_fastest():
    # Like digits: group 1 of 2 and group 2 of 3 is 1 * 3 + 2.
    assert measure.joint_labels([[0, 1, 1], [2, 0, 2]], (2, 3)).tolist() == [2, 3, 5]


@given(seed=st.integers(0, 10_000), axis=st.integers(0, 2))
def test_marginals_of_joint_shares_are_the_attribute_shares(seed, axis):
    sizes = (2, 3, 4)
    rng = np.random.default_rng(seed)
    labels = [rng.integers(0, size, 30) for size in sizes]
    joint = measure.shares(measure.joint_labels(labels, sizes), 24)
    np.testing.assert_allclose(
        measure.marginal_shares(joint, sizes, axis),
        measure.shares(labels[axis], sizes[axis]),
        atol=ROUNDING,
    )


def test_checked_shares_come_back_unchanged():
    shares = [0.3, 0.3, 0.4]
    assert _checks.check_shares(shares).tolist() == shares


# Distances from a target


@given(pair=shares_with_target())
def test_fd_is_zero_only_at_the_target(pair):
    shares, target = pair
    assert measure.fairness_discrepancy(target, target) == 0
    # Equal fractions divide to equal floats, so no tolerance is needed.
    assert (measure.fairness_discrepancy(shares, target) == 0) == np.array_equal(shares, target)


@pytest.mark.parametrize("n_groups", [2, 3, 7, 18])
def test_collapsed_generator_scores_the_maximum(n_groups):
    # FD is convex, so its maximum is at a corner of the simplex: (1 - 1/K)^2 + (K - 1)/K^2.
    # Counting only the groups that occur would give 0.5 for K = 2 in place of 0.707.
    collapsed = measure.fairness_discrepancy(measure.shares([0] * 50, n_groups))
    assert collapsed == pytest.approx(np.sqrt((n_groups - 1) / n_groups), abs=ROUNDING)


@given(shares=share_vectors())
def test_no_shares_score_above_the_collapsed_generator(shares):
    n_groups = len(shares)
    assert measure.fairness_discrepancy(shares) <= np.sqrt((n_groups - 1) / n_groups) + ROUNDING


def test_fd_of_a_known_case():
    # (0.1, -0.3, 0.2): sqrt(0.01 + 0.09 + 0.04).
    fd = measure.fairness_discrepancy([0.6, 0.1, 0.3], [0.5, 0.4, 0.1])
    assert fd == pytest.approx(np.sqrt(0.14), abs=ROUNDING)


@given(pair=shares_with_target())
def test_kl_is_never_negative(pair):
    assert measure.kl_divergence(*pair) >= 0


def test_kl_is_not_negative_for_shares_rounded_down():
    # Accepted, for their sum is within 1e-6 of one; the formula alone would say -8e-7.
    assert measure.kl_divergence([0.4999996, 0.4999996]) == 0


@given(pair=shares_with_target())
def test_kl_agrees_with_scipy(pair):
    shares, target = pair
    np.testing.assert_allclose(
        measure.kl_divergence(shares, target), entropy(shares, target), atol=ROUNDING
    )


def test_kl_is_infinite_where_an_excluded_group_occurs():
    assert measure.kl_divergence([0.5, 0.5], [1, 0]) == np.inf


def test_an_empty_group_adds_nothing_to_kl():
    assert measure.kl_divergence([1, 0], [0.5, 0.5]) == pytest.approx(np.log(2), abs=ROUNDING)


@given(shares=share_vectors())
def test_normalized_entropy_stays_between_zero_and_one(shares):
    assert 0 <= measure.normalized_entropy(shares) <= 1


@given(shares=share_vectors())
def test_entropy_and_kl_to_uniform_add_up(shares):
    # H(p) + KL(p || uniform) = log K.
    log_k = np.log(len(shares))
    total = measure.normalized_entropy(shares) * log_k + measure.kl_divergence(shares)
    assert total == pytest.approx(log_k, abs=ROUNDING)


@given(pair=shares_with_target(), seed=st.integers(0, 1000))
def test_order_of_the_groups_does_not_matter(pair, seed):
    shares, target = pair
    order = np.random.default_rng(seed).permutation(len(shares))
    for metric in (measure.fairness_discrepancy, measure.kl_divergence):
        np.testing.assert_allclose(
            metric(shares[order], target[order]), metric(shares, target), atol=ROUNDING
        )
    assert measure.normalized_entropy(shares[order]) == pytest.approx(
        measure.normalized_entropy(shares), abs=ROUNDING
    )


@pytest.mark.parametrize(
    "function",
    [
        measure.fairness_discrepancy,
        measure.kl_divergence,
        measure.normalized_entropy,
        lambda s: measure.marginal_shares(s, (3, 1), 0),
    ],
)
def test_a_batch_gives_what_its_rows_give(function):
    batch = np.random.default_rng(0).dirichlet(np.ones(3), size=(4, 5))
    rows = np.array([[function(row) for row in block] for block in batch])
    np.testing.assert_allclose(function(batch), rows, atol=ROUNDING)


def test_a_single_metric_is_a_plain_float():
    assert type(measure.fairness_discrepancy([0.4, 0.6])) is float


# Intervals


@pytest.mark.parametrize("counts", [(0, 40), (1, 39), (13, 27), (40, 0)])
@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_share_intervals_are_wilsons(counts, confidence):
    ours = measure.share_intervals(np.repeat([0, 1], counts), 2, confidence)
    scipys = [binomtest(c, 40).proportion_ci(confidence, method="wilson") for c in counts]
    np.testing.assert_allclose(ours, scipys, atol=ROUNDING)


def test_a_group_never_seen_keeps_an_interval_with_a_width():
    low, high = measure.share_intervals([0] * 100, 2)[1]
    assert low == 0
    assert high > 0.01  # a share of 1 % leaves 100 faces empty with probability .99^100 = .37


def test_bootstrap_interval_covers_at_about_its_nominal_rate():
    # Far from the target, where FD is smooth and its bias small. With 400 repetitions the
    # standard error of the rate is sqrt(.95 * .05 / 400) = .011: three of them, and .01 for
    # the percentile method at n = 300.
    truth = np.array([0.6, 0.3, 0.1])
    wanted = measure.fairness_discrepancy(truth)
    rng = np.random.default_rng(1)
    covered = 0
    for repetition in range(400):
        labels = rng.choice(3, size=300, p=truth)
        low, high = measure.bootstrap_interval(
            labels, measure.fairness_discrepancy, 3, n_resamples=400, seed=repetition
        )
        covered += low <= wanted <= high
    assert covered / 400 == pytest.approx(0.95, abs=0.043)


def test_bootstrap_interval_matches_resampling_the_labels():
    # The multinomial shortcut against the definition: draw faces with replacement.
    labels = np.repeat([0, 1, 2], [60, 30, 10])
    rng = np.random.default_rng(0)
    resampled = [
        measure.fairness_discrepancy(measure.shares(rng.choice(labels, 100), 3))
        for _ in range(4000)
    ]
    interval = measure.bootstrap_interval(
        labels, measure.fairness_discrepancy, 3, n_resamples=4000
    )
    # A 2.5 % quantile of 4,000 draws has a standard error near .003 when the spread is .05.
    np.testing.assert_allclose(interval, np.quantile(resampled, [0.025, 0.975]), atol=0.015)


def test_bootstrap_gives_one_interval_for_each_value_of_the_statistic():
    interval = measure.bootstrap_interval([0, 0, 1, 2], lambda s: s, 3)
    assert interval.shape == (3, 2)


def test_only_the_same_seed_gives_the_same_draws():
    first, again, other = (
        measure.noise_floor(50, n_groups=2, seed=s).tolist() for s in (3, 3, 4)
    )
    assert first == again
    assert first != other


def test_same_seed_gives_the_same_interval():
    labels, fd = np.repeat([0, 1], [30, 20]), measure.fairness_discrepancy
    first, again = (measure.bootstrap_interval(labels, fd, 2, seed=3) for _ in range(2))
    assert first.tolist() == again.tolist()


def test_all_draws_of_a_bootstrap_are_corrected_in_one_call():
    confusion, called = 0.8 * np.eye(6) + 0.2 / 6, []

    def statistic(shares):
        called.append(shares.shape)
        return measure.fairness_discrepancy(measure.correct_shares(shares, confusion))

    measure.bootstrap_interval(np.arange(1000) % 6, statistic, 6)
    assert called == [(2000, 6)]


# Intervals of FD


def counted(n):
    """The classifier's errors as counted on n faces of each group."""
    return np.rint(n * GOOD_CLASSIFIER).astype(int)


def coverage(p, n, replicates, rates=None, n_true=None, cells=None, target=None):
    """How often the interval holds the FD of shares p; rates counted anew on n_true faces each."""
    k, rng = len(p), np.random.default_rng(0)
    wanted, held = measure.fairness_discrepancy(p, target), 0
    for _ in range(replicates):
        counts = None if rates is None else rng.multinomial(n_true, rates)
        shown = p if rates is None else p @ rates
        labels = np.repeat(np.arange(k), rng.multinomial(n, shown))
        low, high = measure.fd_interval(labels, k, target, counts, n_draws=500, seed=rng)
        held += low - ROUNDING <= wanted <= high + ROUNDING
    return held / replicates


# Each setting holds to 95 % +- 1.5: three standard errors of 2,000 replicates. The whole grid,
# K = 2 to 18 and N = 200 to 6,000, was simulated once and is in data/results/coverage.csv.
@pytest.mark.parametrize(
    ("p", "n"),
    [
        (np.full(18, 1 / 18), 200),  # at the target, where a bootstrap never covers
        (1 / 8 + 0.05 * np.array([1, -1, 0, 0, 0, 0, 0, 0]) / np.sqrt(2), 2000),
    ],
    ids=["even", "uneven"],
)
@pytest.mark.slow
def test_the_interval_of_fd_covers_it(p, n):
    assert coverage(p, n, 2000) == pytest.approx(0.95, abs=0.015)


@pytest.mark.slow
def test_the_corrected_interval_covers_where_the_errors_are_counted_on_few_faces():
    found = coverage(np.array([0.45, 0.30, 0.25]), 2000, 2000, GOOD_CLASSIFIER, n_true=150)
    assert found == pytest.approx(0.95, abs=0.015)


def test_counts_widen_the_interval_and_rates_do_not():
    labels = np.repeat([0, 1, 2], [900, 600, 500])
    widths = [
        np.diff(measure.fd_interval(labels, 3, None, errors))[0]
        for errors in (counted(100), counted(100_000), GOOD_CLASSIFIER)
    ]
    assert widths[0] > 1.5 * widths[1]
    assert widths[1] == pytest.approx(widths[2], rel=0.02)


@pytest.mark.slow
def test_under_quotas_the_interval_covers_and_is_narrower():
    rng, k, n = np.random.default_rng(1), 4, 800
    rates = np.diag([0.9, 0.8, 0.7, 0.6]) + np.array([[0.1], [0.2], [0.3], [0.4]]) / k
    rates /= rates.sum(axis=1, keepdims=True)
    cells = np.arange(n) % k
    wanted, held = measure.fairness_discrepancy(np.full(k, 1 / k) @ rates), 0
    for _ in range(2000):
        labels = (rng.random((n, 1)) > rates.cumsum(axis=1)[cells, :-1]).sum(axis=1)
        low, high = measure.fd_interval(labels, k, cells=cells, n_draws=500, seed=rng)
        held += low <= wanted <= high
    assert held / 2000 == pytest.approx(0.95, abs=0.015)
    # far from even, a quarter of the variance of labels is all that is left at these rates
    labels = np.repeat(cells[:k], [500, 100, 100, 100])
    given = np.where(np.arange(n) % 4, labels, 0)
    widths = [np.diff(measure.fd_interval(labels, k, cells=c))[0] for c in (None, given)]
    assert widths[1] < 0.8 * widths[0]


def test_an_interval_at_the_target_begins_at_zero_and_one_far_off_does_not():
    assert measure.fd_interval(np.arange(600) % 6, 6)[0] == 0
    low, high = measure.fd_interval(np.repeat([0, 1], [900, 100]), 2)
    assert 0.5 < low < np.sqrt(2) * 0.4 < high  # (.9, .1): sqrt(.16 + .16)


def test_the_interval_of_two_groups_agrees_with_the_exact_one_of_a_share():
    # K = 2: FD is sqrt(2) |p - 1/2|, so far from even Clopper and Pearson's ends say the same
    # but for their own caution, half a face at either end
    labels = np.repeat([0, 1], [700, 300])
    exact = binomtest(700, 1000).proportion_ci(0.95, method="exact")
    ours = measure.fd_interval(labels, 2, n_draws=20_000) / np.sqrt(2) + 0.5
    np.testing.assert_allclose(ours, exact, atol=0.002)


def test_the_interval_of_a_collapsed_generator_ends_at_the_maximum():
    low, high = measure.fd_interval(np.zeros(200, int), 3)
    assert high == pytest.approx(np.sqrt(2 / 3), abs=1e-6)
    assert 0.75 < low < high


def test_an_excluded_group_that_occurs_is_not_explained_by_chance():
    assert measure.fd_interval([0] * 98 + [1] * 2, 2, [1, 0])[0] > 0


def test_same_seed_gives_the_same_interval_of_fd():
    labels = np.repeat([0, 1, 2], [40, 30, 30])
    first, again, other = (measure.fd_interval(labels, 3, seed=s).tolist() for s in (3, 3, 4))
    assert first == again
    assert first != other


# Paired differences


def pairs(n, rng, moved):
    """Labels of n faces of three groups, and of the same faces with a share moved to group 2."""
    first = rng.choice(3, n, p=[0.5, 0.3, 0.2])
    return first, np.where(rng.random(n) < moved, 2, first)


@pytest.mark.parametrize("moved", [0.1, 0.2])
@pytest.mark.slow
def test_the_interval_of_a_paired_difference_covers_it(moved):
    rng, shares = np.random.default_rng(2), np.array([0.5, 0.3, 0.2])
    after = (1 - moved) * shares + moved * np.array([0, 0, 1])
    fd = measure.fairness_discrepancy
    wanted, held = fd(shares) - fd(after), 0
    for _ in range(600):
        found = measure.paired_difference(*pairs(600, rng, moved), 3, n_draws=500, seed=rng)
        held += found.low <= wanted <= found.high
    # at least .95 less two standard errors; joined intervals are cautious near the border at 0
    assert held / 600 >= 0.932


def test_pairs_tell_more_than_two_samples():
    rng = np.random.default_rng(3)
    first, second = pairs(2000, rng, 0.05)
    paired = measure.paired_difference(first, second, 3)
    apart = measure.paired_difference(first, rng.permutation(second), 3)
    assert paired.difference == apart.difference
    assert paired.high - paired.low < 0.5 * (apart.high - apart.low)


def test_a_method_does_not_differ_from_itself():
    labels = np.repeat([0, 1, 2], [500, 300, 200])
    for errors in (None, counted(300)):
        difference, low, high = measure.paired_difference(labels, labels, 3, None, errors)
        alone = np.diff(measure.fd_interval(labels, 3, None, errors))[0]
        assert difference == 0
        # what is left is how lopsided the two intervals are
        assert low <= 0 <= high and high - low < alone / 5


def test_errors_that_both_share_cancel_in_a_difference():
    # two methods measured on other faces, but through the same poorly known errors
    rng = np.random.default_rng(4)
    first, second = (rng.choice(3, 20_000, p=p) for p in ([0.6, 0.2, 0.2], [0.55, 0.25, 0.2]))
    counts = counted(60)
    _, low, high = measure.paired_difference(first, second, 3, None, counts)
    widths = [np.diff(measure.fd_interval(s, 3, None, counts))[0] for s in (first, second)]
    assert high - low < 0.5 * np.hypot(*widths)


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
    draws = measure.noise_floor(n, n_groups=n_groups)
    # Rounding of the table (.0005) and five standard errors of a mean of 10,000 draws.
    assert draws.mean() == pytest.approx(mean, abs=0.0005 + 5 * draws.std() / 100)
    # For K = 2 the scores come in steps of sqrt(2) / n, and the quantile may sit on a neighbour.
    assert np.quantile(draws, 0.95) == pytest.approx(high, abs=0.002 + np.sqrt(2) / n)


def test_noise_floor_has_the_variance_that_theory_gives():
    # E[FD^2] = sum of the shares' variances = (1 - sum target^2) / n, exactly.
    target = np.array([0.5, 0.3, 0.2])
    squares = measure.noise_floor(100, target) ** 2
    wanted = (1 - np.sum(target**2)) / 100
    assert squares.mean() == pytest.approx(wanted, abs=5 * squares.std() / 100)


def test_noise_floor_quantile_is_the_quantile_of_its_draws():
    draws = measure.noise_floor(100, n_groups=4, n_trials=500)
    high = measure.noise_floor(100, n_groups=4, n_trials=500, quantile=0.9)
    # A tenth of the draws lie above it; FD takes discrete values, so a few may tie.
    assert np.mean(draws > high) <= 0.1 <= np.mean(draws >= high)


def test_classifier_errors_raise_the_noise_floor():
    target = [0.5, 0.3, 0.2]
    clean = measure.noise_floor(200, target)
    corrected = measure.noise_floor(200, target, confusion=GOOD_CLASSIFIER)
    standard_error = np.hypot(clean.std(), corrected.std()) / 100
    assert corrected.mean() > clean.mean() + 5 * standard_error


def test_noise_floor_with_errors_matches_labelling_face_by_face():
    target = np.array([0.5, 0.3, 0.2])
    rng = np.random.default_rng(5)
    one_by_one = []
    for _ in range(1000):
        true = rng.choice(3, size=60, p=target)
        predicted = (rng.random((60, 1)) > GOOD_CLASSIFIER.cumsum(axis=1)[true, :2]).sum(axis=1)
        corrected = measure.correct_shares(measure.shares(predicted, 3), GOOD_CLASSIFIER)
        one_by_one.append(measure.fairness_discrepancy(corrected, target))
    at_once = measure.noise_floor(60, target, confusion=GOOD_CLASSIFIER)
    standard_error = np.hypot(np.std(one_by_one) / np.sqrt(1000), at_once.std() / 100)
    assert at_once.mean() == pytest.approx(np.mean(one_by_one), abs=4 * standard_error)


def test_a_floor_under_quotas_lies_between_none_and_that_of_independent_faces():
    free = measure.noise_floor(500, n_groups=4, quantile=0.95)
    floors = [measure.noise_floor(500, n_groups=4, quantile=0.95, quotas=r) for r in (1, 0.5, 0)]
    assert floors[0] < ROUNDING  # 125 faces each, all as they should be
    assert floors[0] < floors[1] < floors[2]
    # at 0 nothing is left of the quotas; two quantiles of 10,000 draws differ by 2 %
    assert floors[2] == pytest.approx(free, rel=0.04)


def test_quotas_have_the_variance_that_theory_gives():
    # A face of group g is seen as group j with rates[g, j]; independent within fixed numbers.
    n, target = 900, np.full(3, 1 / 3)
    seen = measure.noise_floor(n, target, confusion=GOOD_CLASSIFIER, quotas=1)
    inverse = np.linalg.inv(GOOD_CLASSIFIER)
    spread = sum(np.diag(row) - np.outer(row, row) for row in GOOD_CLASSIFIER) / 3 / n
    wanted = np.trace(inverse.T @ spread @ inverse)
    assert np.mean(seen**2) == pytest.approx(wanted, abs=5 * np.std(seen**2) / 100)


def test_measured_cells_give_the_floor_of_the_quotas_they_came_from():
    n, target = 900, np.full(3, 1 / 3)
    told = measure.noise_floor(n, target, confusion=GOOD_CLASSIFIER, quotas=1, quantile=0.95)
    measured = (np.full(3, 300), GOOD_CLASSIFIER)
    found = measure.noise_floor(n, target, None, GOOD_CLASSIFIER, 0.95, quotas=measured)
    assert found == pytest.approx(told, rel=0.04)


@pytest.mark.parametrize("n", [7, 64, 100])
def test_quotas_are_whole_faces_next_to_the_target(n):
    target = np.array([0.5, 0.3, 0.15, 0.05])
    floor = measure.noise_floor(n, target, quotas=1, n_trials=3)
    assert len(set(floor)) == 1  # nothing is left to chance
    # largest remainders: no group is a whole face off
    assert floor[0] * n < np.sqrt(len(target))


def test_errors_counted_on_few_faces_raise_the_noise_floor():
    floors = [
        measure.noise_floor(2000, n_groups=3, confusion=errors, quantile=0.95)
        for errors in (GOOD_CLASSIFIER, counted(100_000), counted(100))
    ]
    assert floors[1] == pytest.approx(floors[0], rel=0.03)
    assert floors[2] > 1.3 * floors[1]


# Classifier errors


def test_confusion_rates_of_a_known_case():
    rates = measure.confusion_rates([0, 0, 0, 0, 1, 1], [0, 0, 0, 1, 1, 0], 2)
    assert rates.tolist() == [[0.75, 0.25], [0.5, 0.5]]


def test_confusion_counts_count_and_keep_groups_never_predicted():
    assert measure.confusion_counts([0, 0, 1, 2], [0, 1, 1, 0], 3).tolist() == [
        [1, 1, 0],
        [0, 1, 0],
        [1, 0, 0],
    ]


def test_small_integer_types_do_not_overflow():
    # 17 * 18 + 17 = 323 does not fit in the uint8 that label files often use.
    labels = np.arange(18, dtype=np.uint8)
    assert measure.confusion_rates(labels, labels, 18).tolist() == np.eye(18).tolist()


@given(pair=shares_with_confusion())
def test_correction_recovers_the_true_shares(pair):
    # Right at least 60 % of the time: rounding grows at most by 1 / (2 * 0.6 - 1) = 5.
    shares, confusion = pair
    recovered = measure.correct_shares(confusion.T @ shares, confusion)
    np.testing.assert_allclose(recovered, shares, atol=ROUNDING)


def test_correction_inside_the_simplex_is_the_linear_solve():
    # Two groups by hand: (measured - false positive rate) / (true rate - false positive rate).
    corrected = measure.correct_shares([0.4, 0.6], [[0.9, 0.1], [0.2, 0.8]])
    np.testing.assert_allclose(corrected, [2 / 7, 5 / 7], atol=ROUNDING)


def test_correction_stays_among_shares():
    # Fewer of group 0 than its false positives alone: the solve says -1/7, no share.
    corrected = measure.correct_shares([0.1, 0.9], [[0.9, 0.1], [0.2, 0.8]])
    assert corrected.tolist() == [0, 1]


def test_correction_outside_the_simplex_is_the_nearest_shares():
    # By hand: dropping the -0.05 leaves 1.05 for two groups, so each gives up 0.025.
    # Dividing by 1.05, a common shortcut, would say (0, 1/3, 2/3).
    measured = np.array([-0.05, 0.35, 0.70]) @ GOOD_CLASSIFIER
    corrected = measure.correct_shares(measured, GOOD_CLASSIFIER)
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
        corrected = measure.correct_shares(measured, GOOD_CLASSIFIER)
        np.testing.assert_allclose(corrected, nearest, atol=1e-5)


def test_a_batch_is_corrected_as_its_rows_are():
    batch = np.random.default_rng(0).dirichlet(np.ones(3), size=(4, 5))
    rows = [[measure.correct_shares(row, GOOD_CLASSIFIER) for row in block] for block in batch]
    np.testing.assert_allclose(
        measure.correct_shares(batch, GOOD_CLASSIFIER), rows, atol=ROUNDING
    )


# Amplification


def test_amplification_is_generated_minus_training():
    result = measure.amplification(np.repeat([0, 1], [75, 25]), [0.5, 0.5])
    np.testing.assert_allclose(result.difference, [0.25, -0.25], atol=ROUNDING)
    np.testing.assert_allclose(result.ratio, [1.5, 0.5], atol=ROUNDING)


@pytest.mark.parametrize("confusion", [None, GOOD_CLASSIFIER])
def test_amplification_lies_in_its_interval(confusion):
    labels = np.repeat([0, 1, 2], [70, 20, 10])
    result = measure.amplification(labels, [0.5, 0.3, 0.2], confusion=confusion)
    assert np.all(result.interval[:, 0] < result.difference)
    assert np.all(result.difference < result.interval[:, 1])


def test_amplification_by_the_classifier_alone_is_corrected_away():
    # A generator exactly at its training shares, labelled by a classifier with errors.
    training = np.array([0.5, 0.3, 0.2])
    seen = np.rint(training @ GOOD_CLASSIFIER * 100_000).astype(int)
    labels = np.repeat([0, 1, 2], seen)
    plain = measure.amplification(labels, training)
    corrected = measure.amplification(labels, training, confusion=GOOD_CLASSIFIER)
    crosses_zero = [r.interval.prod(axis=1) <= 0 for r in (plain, corrected)]
    assert not crosses_zero[0].any()
    assert crosses_zero[1].all()
    np.testing.assert_allclose(corrected.difference, 0, atol=1e-4)  # counts were rounded


def test_ratio_to_an_absent_training_group_is_infinite():
    assert measure.amplification([0, 0, 1], [1, 0]).ratio[1] == np.inf


# Refusals: each names the argument (generated bad inputs are in test_refusals.py)

LABELS, FD = [0, 1, 1], measure.fairness_discrepancy
ONES = np.ones(3, int)

REFUSALS = [
    ("labels", lambda: measure.shares([True, False], 2)),
    ("labels: 1 of 2 are NaN", lambda: measure.shares([0.0, np.nan], 2)),
    ("probabilities", lambda: measure.soft_shares([0.5, 0.5])),
    ("probabilities", lambda: measure.soft_shares(np.empty((0, 2)))),
    ("labels", lambda: measure.joint_labels([LABELS], (2, 2))),
    ("labels", lambda: measure.joint_labels([LABELS, [0, 1]], (2, 2))),
    (r"labels\[1\]", lambda: measure.joint_labels([LABELS, [0, 1, 2]], (2, 2))),
    ("joint", lambda: measure.marginal_shares([0.5, 0.5], (2, 2), 0)),
    ("target: shares sum to 1.2, not 1", lambda: _checks.check_shares([0.6, 0.3, 0.3])),
    ("wanted", lambda: _checks.check_shares([-0.5, 1.5], "wanted")),
    ("target", lambda: _checks.check_shares([0.5, 0.5], n_groups=3)),
    ("target", lambda: FD([0.5, 0.5], [1.0])),
    ("target", lambda: FD([0.5, 0.5], [[0.5, 0.5]])),
    ("target", lambda: measure.kl_divergence([0.5, 0.5], [0.5, 0.6])),
    ("shares", lambda: measure.normalized_entropy([1.0])),
    ("confidence", lambda: measure.bootstrap_interval(LABELS, FD, 2, confidence=0)),
    ("statistic", lambda: measure.bootstrap_interval(LABELS, np.max, 2)),
    ("n_groups", lambda: measure.noise_floor(10)),
    ("n_trials", lambda: measure.noise_floor(10, n_groups=2, n_trials=0)),
    ("target", lambda: measure.noise_floor(10, [0.5, 0.6])),
    ("confusion", lambda: measure.noise_floor(10, n_groups=2, confusion=GOOD_CLASSIFIER)),
    ("quotas", lambda: measure.noise_floor(10, n_groups=2, quotas=(ONES,))),
    ("quotas, faces", lambda: measure.noise_floor(10, n_groups=2, quotas=(ONES, np.eye(2)))),
    ("quotas, rates", lambda: measure.noise_floor(10, n_groups=2, quotas=(ONES, np.ones((3, 2))))),
    ("target", lambda: measure.fd_interval(LABELS, 2, [1, 1])),
    ("n_draws", lambda: measure.fd_interval(LABELS, 2, n_draws=0)),
    ("confusion: no face counted", lambda: measure.fd_interval([0], 2, None, [[9, 1], [0, 0]])),
    ("confusion", lambda: measure.fd_interval(LABELS, 2, confusion=np.ones((2, 3)))),
    ("confusion: -1 faces", lambda: measure.fd_interval(LABELS, 2, None, [[9, -1], [0, 9]])),
    ("confusion: shares sum to 100", lambda: measure.fd_interval(LABELS, 2, None, 100 * np.eye(2))),
    ("labels_b", lambda: measure.paired_difference(LABELS, [0, 1], 2)),
    ("cells_b", lambda: measure.paired_difference(LABELS, LABELS, 2, cells_b=[0.5] * 3)),
    ("true", lambda: measure.confusion_counts([0, 0], [0, 1], 2)),
    ("predicted", lambda: measure.confusion_rates([0, 1], [0], 2)),
    ("predicted", lambda: measure.confusion_rates([0, 1], [0, 2], 2)),
    ("confusion", lambda: measure.correct_shares([0.5, 0.5], [[90, 10], [10, 90]])),
    ("confusion: rank 1", lambda: measure.correct_shares([0.5, 0.5], [[0.5, 0.5]] * 2)),
    ("generated", lambda: measure.amplification([0, 2], [0.5, 0.5])),
]


@pytest.mark.parametrize(("argument", "call"), REFUSALS)
def test_bad_input_is_refused_by_name(argument, call):
    with pytest.raises(ValueError, match=f"^{argument}"):
        call()


def test_a_refusal_shows_what_was_found():
    with pytest.raises(ValueError, match=r"found \[0\.6, 0\.3, 0\.3\]"):
        measure.fairness_discrepancy([0.4, 0.3, 0.3], [0.6, 0.3, 0.3])
