"""Notebook 7: is it any good?"""

import numpy as np

from fairgen_utils.course._checking import check_function, check_number, verdict


def check_false_alarm(answer):
    """Exercise 7.1: the chance that one of eight intervals calls a group worse, of no change."""
    mistakes = [
        (1 - 0.95**8, "that counts intervals on either side; how many lie on the side of worse?"),
        (8 * 0.025, "that sum counts it twice when two intervals miss. Ask first for: none does."),
        (8 * 0.05, "chances of 5 in 100 don't add up so: two may miss at once, or to better."),
        (0.025, "that is the chance for one group. There are eight."),
        (0.05, "that is the chance for one group, of both sides. There are eight."),
        (0.975**8, "that is the chance that none does."),
        (0.95**8, "that is the chance that all eight hold zero."),
    ]

    def diagnose(value):
        otherwise = f"{value:.3g} isn't it. What is the chance that one interval does *not* alarm?"
        return verdict(value, 1 - 0.975**8, mistakes, otherwise, rtol=0.02)

    check_number("7.1", answer, diagnose)


def check_frechet_1d(frechet_1d):
    """Exercise 7.2: `frechet_1d(m1, s1, m2, s2)`, squared, of two Gaussians on a line."""
    m1, s1, m2, s2 = 1.0, 2.0, 4.0, 0.5
    right = 9 + 1.5**2
    mistakes = [
        (np.sqrt(right), "that is its root; this notebook leaves it squared."),
        (
            9 + (s1**2 - s2**2) ** 2,
            "differences of standard deviations count, not of variances.",
        ),
        (9 + s1**2 + s2**2, "the last term of the trace is missing."),
        (9, "two crowds with one mean can still differ."),
    ]

    def diagnose(call):
        found = call(m1, s1, m2, s2)
        otherwise = f"for N(1, 2^2) and N(4, 0.5^2) it gives {found:.3g}."
        return verdict(found, right, mistakes, otherwise)

    check_function("7.2", frechet_1d, (0.0, 1.0, 1.0, 1.0), diagnose)


def check_share_followed(share_followed):
    """Exercise 7.3: `share_followed(before, after)`: flips that a judge followed."""
    before, after = 0.9, 0.42
    mistakes = [
        (after, "a judge that follows nothing still agrees where it used to disagree."),
        (after - (1 - before), "that is counted from blind. Of how much between blind and all?"),
        (after / before, "a judge that follows nothing does not agree on nothing."),
        (2 * after - 1, "who follows nothing agrees less often than coins do."),
        ((before - after) / (2 * before - 1), "that is the share it did *not* follow."),
    ]

    def diagnose(call):
        found = call(before, after)
        otherwise = f"for 0.9 before and 0.42 after it gives {found:.3g}: not yet."
        return verdict(found, (after - 0.1) / 0.8, mistakes, otherwise)

    check_function("7.3", share_followed, (0.8, 0.5), diagnose)
