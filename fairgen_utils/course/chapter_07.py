"""Notebook 7: is it any good?"""

import numpy as np

from fairgen_utils.course._checking import check_function, check_number, results, verdict
from fairgen_utils.judge import manifold_scores


def check_times_cheaper(answer):
    """Exercise 7.1: calls per kept face, rejection over guided, from the results' table."""
    heads = results("fairness").query("world == 'heads'")
    calls = heads.groupby("method")["nfe"].mean()
    rejection, guided = calls["rejection"], calls["guided"]
    mistakes = [
        (
            guided / rejection,
            "that is the other way round: how many times more does rejection need?",
        ),
        (
            rejection / calls["overshoot"],
            "that is against `overshoot`, which starts half-way; look for `guided`.",
        ),
        (rejection - guided, "that is a difference; how many times?"),
    ]

    def diagnose(value):
        otherwise = f"{value:.3g} isn't the quotient of the two means. Only rows of the heads?"
        return verdict(value, rejection / guided, mistakes, otherwise, rtol=0.02)

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


def check_recall(recall):
    """Exercise 7.3: `recall(made, real, k)` by balls around the generated points."""
    # drawn so that precision, recall and coverage differ
    rng = np.random.default_rng(2)
    made, real = rng.normal(0, 1, (40, 2)), rng.normal(1, 1.5, (60, 2))
    scores = manifold_scores(made, real, 3)
    mistakes = [
        (scores["precision"], "that is precision: the balls are around the wrong points."),
        (scores["coverage"], "that is coverage: the balls are around the real points."),
        (
            manifold_scores(made, real, 2)["recall"],
            "your balls reach one neighbour short; a point is not its own neighbour.",
        ),
    ]

    def diagnose(call):
        found = call(made, real, 3)
        otherwise = f"for 40 generated and 60 real points it gives {found:.3g}: not yet."
        return verdict(found, scores["recall"], mistakes, otherwise)

    check_function("7.3", recall, (made, real, 3), diagnose)
