"""Notebook 8: downstream fairness."""

import numpy as np
from scipy import stats

from fairgen_utils.course._checking import check_function, same_shape, verdict


def check_balancing_weights(balancing_weights):
    """Exercise 8.1: `balancing_weights(groups)`, one weight an example; they sum to its length."""
    groups = np.repeat([0, 1, 2], [2, 3, 15])[np.random.default_rng(0).permutation(20)]
    counts = np.bincount(groups)

    def diagnose(call):
        found = call(groups)
        of_groups = np.bincount(groups, found)
        if of_groups[2] > 1.01 * of_groups[0] and found[groups == 2][0] > found[groups == 0][0]:
            return "the frequent group's members weigh more than the rare one's."
        if np.allclose(found, found[0]):
            return "all examples weigh alike, so the groups still count as their sizes."
        if not np.allclose(of_groups, of_groups[0]):
            return f"groups of {counts.tolist()} examples count {np.round(of_groups, 2).tolist()}."
        if not np.isclose(found.sum(), len(groups)):
            return f"the groups count alike, but all weights sum to {found.sum():g}."
        if not all(np.allclose(found[groups == g], found[groups == g][0]) for g in range(3)):
            return "the groups count alike, but members of one group don't."

    check_function("8.1", balancing_weights, (groups,), diagnose, same_shape)


def check_paired_interval(paired_interval):
    """Exercise 8.2: `paired_interval(before, after)`, returning mean, low and high."""
    rng = np.random.default_rng(1)
    before = rng.normal(0.75, 0.03, 8)
    after = before + rng.normal(0.02, 0.01, 8)
    difference = after - before
    mean, error = difference.mean(), difference.std(ddof=1) / np.sqrt(8)
    t = stats.t.ppf(0.975, 7)
    unpaired = np.hypot(stats.sem(before), stats.sem(after))
    mistakes = [
        (
            stats.norm.ppf(0.975) * error,
            "that is 1.96 standard errors; eight values know their spread less well than that.",
        ),
        (t * error * np.sqrt(8), "that is the spread of the differences, not of their mean."),
        (
            t * unpaired,
            "that treats the two as independent; the same training sets are in both.",
        ),
        (
            t * error * np.sqrt(7 / 8),
            "that standard deviation divides by n; it was estimated with its own mean.",
        ),
        (stats.t.ppf(0.95, 7) * error, "that quantile leaves 5 % on each side."),
        (
            stats.t.ppf(0.975, 8) * error,
            "that quantile has one degree of freedom too many.",
        ),
    ]

    def diagnose(call):
        middle, low, high = call(before, after)
        if not np.isclose(middle, mean):
            if np.isclose(middle, -mean):
                return "the sign is turned around: a rise is a positive change."
            return f"the first number should be the mean change; yours is {middle:.3g}."
        if low > high:
            return "the low end of the interval lies above the high one."
        if not np.isclose(middle - low, high - middle):
            return "the interval should reach as far below the mean as above."
        otherwise = "the mean is right; its interval isn't."
        return verdict((high - low) / 2, t * error, mistakes, otherwise, rtol=1e-4, atol=0)

    check_function("8.2", paired_interval, (before, after), diagnose, shape=(3,))


def check_equalised_odds(equalised_odds):
    """Exercise 8.3: `equalised_odds(y_true, y_pred, groups)`, as fairlearn computes it."""
    rng = np.random.default_rng(2)
    y_true, groups = rng.integers(0, 2, 90), rng.integers(0, 3, 90)
    y_pred = np.where(rng.random(90) < 0.6 + 0.1 * groups, y_true, rng.integers(0, 2, 90))

    def gap(values, where):
        return np.ptp([values[(groups == g) & where].mean() for g in range(3)])

    everybody = np.ones(90, bool)
    false, true = gap(y_pred, y_true == 0), gap(y_pred, y_true == 1)
    mistakes = [
        (
            gap(y_pred == y_true, everybody),
            "that is the gap in accuracy; take the two kinds of error apart.",
        ),
        (
            gap(y_pred, everybody),
            "that is the gap in the share called 1, whatever the true label.",
        ),
        (false + true, "that is the sum of both gaps."),
        ((false + true) / 2, "that is the mean of both gaps."),
        (min(false, true), "that is the smaller of the two gaps."),
    ]

    def diagnose(call):
        found = call(y_true, y_pred, groups)
        otherwise = f"for 90 faces of three groups it gives {found:.3g}: not yet."
        return verdict(found, max(false, true), mistakes, otherwise)

    check_function("8.3", equalised_odds, (y_true, y_pred, groups), diagnose)
