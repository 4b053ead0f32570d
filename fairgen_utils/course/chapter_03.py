"""Notebook 3: measuring bias."""

import numpy as np

from fairgen_utils.course._checking import check_function, check_number, verdict
from fairgen_utils.measure import fairness_discrepancy, noise_floor, shares


def check_faces_needed(answer):
    """Exercise 3.1: N at which the noise floor of two groups falls below 0.02."""

    def diagnose(value):
        if value < 2:
            return "a number of faces is wanted."
        if value > 1e6:  # so many need not be drawn to know
            return f"that is far more than needed: {value:g} faces."
        floor = noise_floor(int(value), n_groups=2, quantile=0.95, seed=0)
        if floor > 0.0208:
            return f"with {value:g} faces the floor is still {floor:.3f}."
        if floor < 0.0192:
            return f"that is more than needed: with {value:g} faces the floor is {floor:.4f}."

    check_number("3.1", answer, diagnose)


def check_published_fd(reported, right):
    """Exercise 3.2: what a script that skips empty groups reports of a collapsed generator."""
    root = np.sqrt(0.5)

    def of_script(value):
        mistakes = [
            (root, "that is what it should report. What does `counts` hold when all labels are 1?"),
            (0, "its target is 1 / n_groups, and n_groups is 2 whatever is found."),
        ]
        return verdict(value, 0.5, mistakes, "run the script on `np.ones(100, int)`.", atol=1e-3)

    def truth(value):
        mistakes = [
            (0.5, "that leaves out the group that never occurs; it is off by a half, too."),
            (1, "two differences of a half: squared, added, and then?"),
        ]
        otherwise = "the shares are 0 and 1, the target is a half each; FD is their distance."
        return verdict(value, root, mistakes, otherwise, atol=1e-3)

    check_number("3.2, reported", reported, of_script)
    check_number("3.2, right", right, truth)


def check_repaired_fd(repaired_fd):
    """Exercise 3.2: `repaired_fd(labels, n_groups)`, with empty groups counted."""

    def diagnose(call):
        for labels, k in (([1] * 20, 2), ([0, 0, 1, 3], 5), ([0, 1, 2] * 4, 3)):
            labels = np.array(labels)
            found, wanted = call(labels, k), fairness_discrepancy(shares(labels, k))
            if not np.isclose(found, wanted):
                missing = k - len(set(labels.tolist()))
                return f"with {missing} of {k} groups empty it gives {found:.3g}: not yet."

    check_function("3.2, repaired", repaired_fd, (np.array([0, 1, 1]), 2), diagnose)


def check_largest_fd(largest_fd):
    """Exercise 3.3: `largest_fd(k)` for k groups and an even target."""
    k = np.array([2, 3, 7])
    even = "the target is even, so it lies as far from every corner; how far?"
    mistakes = [
        ((k - 1) / k, "FD is a distance, so a root is missing."),
        (np.full(3, np.sqrt(2)), even),
        (np.ones(3), even),
    ]

    def diagnose(call):
        found = np.array([call(int(n)) for n in k])
        wanted = np.array([fairness_discrepancy(np.eye(n)[0]) for n in k])
        off = np.argmax(abs(found - wanted))
        otherwise = (
            f"for {k[off]} groups it gives {found[off]:.3g}; a generator of one group has another."
        )
        return verdict(found, wanted, mistakes, otherwise)

    check_function("3.3", largest_fd, (2,), diagnose)
