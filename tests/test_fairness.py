"""Each test is named after the promise it keeps."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import entropy
from strategies import ROUNDING, share_vectors, shares_with_target

from fairgen_utils import _checks, measure

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


# Refusals: each names the argument

LABELS, FD = [0, 1, 1], measure.fairness_discrepancy

REFUSALS = [
    ("labels", lambda: measure.shares([], 2)),
    ("labels", lambda: measure.shares([0, 2], 2)),
    ("labels", lambda: measure.shares([0, -1], 2)),
    ("labels", lambda: measure.shares([0.0, 1.0], 2)),
    ("labels", lambda: measure.shares([True, False], 2)),
    ("labels: 1 of 2 are NaN", lambda: measure.shares([0.0, np.nan], 2)),
    ("labels", lambda: measure.shares([[0, 1]], 2)),
    ("n_groups", lambda: measure.shares(LABELS, 0)),
    ("n_groups", lambda: measure.shares(LABELS, 2.0)),
    ("probabilities", lambda: measure.soft_shares([[0.5, 0.6]])),
    ("probabilities", lambda: measure.soft_shares([0.5, 0.5])),
    ("probabilities", lambda: measure.soft_shares(np.empty((0, 2)))),
    ("labels", lambda: measure.joint_labels([LABELS], (2, 2))),
    ("labels", lambda: measure.joint_labels([LABELS, [0, 1]], (2, 2))),
    (r"labels\[1\]", lambda: measure.joint_labels([LABELS, [0, 1, 2]], (2, 2))),
    ("joint", lambda: measure.marginal_shares([0.5, 0.5], (2, 2), 0)),
    ("axis", lambda: measure.marginal_shares([0.25] * 4, (2, 2), 2)),
    ("target: shares sum to 1.2, not 1", lambda: _checks.check_shares([0.6, 0.3, 0.3])),
    ("wanted", lambda: _checks.check_shares([-0.5, 1.5], "wanted")),
    ("target", lambda: _checks.check_shares([np.nan, 1])),
    ("target", lambda: _checks.check_shares([])),
    ("target", lambda: _checks.check_shares(["half", "half"])),
    ("target", lambda: _checks.check_shares([0.5, 0.5], n_groups=3)),
    ("shares", lambda: FD([0.5, 0.4])),
    ("target", lambda: FD([0.5, 0.5], [1.0])),
    ("target", lambda: FD([0.5, 0.5], [[0.5, 0.5]])),
    ("target", lambda: measure.kl_divergence([0.5, 0.5], [0.5, 0.6])),
    ("shares", lambda: measure.normalized_entropy([1.0])),
]


@pytest.mark.parametrize(("argument", "call"), REFUSALS)
def test_bad_input_is_refused_by_name(argument, call):
    with pytest.raises(ValueError, match=f"^{argument}"):
        call()


def test_a_refusal_shows_what_was_found():
    with pytest.raises(ValueError, match=r"found \[0\.6, 0\.3, 0\.3\]"):
        measure.fairness_discrepancy([0.4, 0.3, 0.3], [0.6, 0.3, 0.3])
