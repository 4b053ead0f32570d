"""Each test is named after the promise it keeps."""

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.stats import binomtest
from strategies import ROUNDING, share_vectors

from fairgen_utils import measure

GOOD_CLASSIFIER = np.array([[0.90, 0.06, 0.04], [0.10, 0.85, 0.05], [0.05, 0.15, 0.80]])


@st.composite
def shares_with_confusion(draw):
    """Random classifiers that are right at least 60 % of the time in every group."""
    shares = draw(share_vectors())
    errors = np.stack([draw(share_vectors(n_groups=len(shares))) for _ in shares])
    right = draw(st.floats(0.6, 1))
    return shares, right * np.eye(len(shares)) + (1 - right) * errors


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


def test_corrected_bootstrap_takes_less_than_half_a_second():
    labels = np.random.default_rng(0).integers(0, 6, 1000)
    confusion = 0.8 * np.eye(6) + 0.2 / 6
    start = time.process_time()  # what others do on the machine doesn't count
    measure.bootstrap_interval(
        labels, lambda s: measure.fairness_discrepancy(measure.correct_shares(s, confusion)), 6
    )
    assert time.process_time() - start < 0.5  # the promise; measured near 0.01 s


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


# Classifier errors


def test_confusion_rates_of_a_known_case():
    rates = measure.confusion_rates([0, 0, 0, 0, 1, 1], [0, 0, 0, 1, 1, 0], 2)
    assert rates.tolist() == [[0.75, 0.25], [0.5, 0.5]]


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


# Refusals: each names the argument

LABELS, FD = [0, 1, 1], measure.fairness_discrepancy

REFUSALS = [
    ("confidence", lambda: measure.share_intervals(LABELS, 2, confidence=95)),
    ("confidence", lambda: measure.bootstrap_interval(LABELS, FD, 2, confidence=0)),
    ("n_resamples", lambda: measure.bootstrap_interval(LABELS, FD, 2, n_resamples=0)),
    ("statistic", lambda: measure.bootstrap_interval(LABELS, np.max, 2)),
    ("n:", lambda: measure.noise_floor(0, n_groups=2)),
    ("n_groups", lambda: measure.noise_floor(10)),
    ("n_trials", lambda: measure.noise_floor(10, n_groups=2, n_trials=0)),
    ("quantile", lambda: measure.noise_floor(10, n_groups=2, quantile=95)),
    ("target", lambda: measure.noise_floor(10, [0.5, 0.6])),
    ("confusion", lambda: measure.noise_floor(10, n_groups=2, confusion=GOOD_CLASSIFIER)),
    ("true", lambda: measure.confusion_rates([0, 0], [0, 1], 2)),
    ("predicted", lambda: measure.confusion_rates([0, 1], [0], 2)),
    ("predicted", lambda: measure.confusion_rates([0, 1], [0, 2], 2)),
    ("measured", lambda: measure.correct_shares([0.5, 0.6], np.eye(2))),
    ("confusion", lambda: measure.correct_shares([0.5, 0.5], [[90, 10], [10, 90]])),
    ("confusion", lambda: measure.correct_shares([0.5, 0.5], [[0.5, 0.5]])),
    ("confusion: rank 1", lambda: measure.correct_shares([0.5, 0.5], [[0.5, 0.5]] * 2)),
    ("generated", lambda: measure.amplification([0, 2], [0.5, 0.5])),
    ("training_shares", lambda: measure.amplification([0, 1], [0.5, 0.6])),
]


@pytest.mark.parametrize(("argument", "call"), REFUSALS)
def test_bad_input_is_refused_by_name(argument, call):
    with pytest.raises(ValueError, match=f"^{argument}"):
        call()
