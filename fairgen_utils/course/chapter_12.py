"""Notebook 12: how we judge."""

import numpy as np

from fairgen_utils.course._checking import check_function, check_number, results, verdict
from fairgen_utils.judge import manifold_scores


def check_times_cheaper(answer):
    """Exercise 12.1: calls per kept face, rejection over guided, from the results' table."""
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

    check_number("12.1", answer, diagnose)


def check_recall(recall):
    """Exercise 12.2: `recall(made, real, k)` by balls around the generated points."""
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

    check_function("12.2", recall, (made, real, 3), diagnose)


def check_most_copies(most_copies):
    """Exercise 12.3: `most_copies(n, found)` that a search may overlook in 5 of 100 tries."""
    n, found = 200, 0.2
    right = (1 - 0.05 ** (1 / n)) / found
    mistakes = [
        (right * found, "that would hold for a search that finds every copy; this one doesn't."),
        (right * found**2, "a search that finds fewer leaves room for more copies, not for fewer."),
        ((1 - 0.95 ** (1 / n)) / found, "so few would be overlooked in 95 of 100 tries."),
        (0.05 ** (1 / n), "that is the chance that one face gives no alarm. Now for the share."),
        (1 / n, "that is one face; more copies may go unseen."),
    ]

    def diagnose(call):
        value = call(n, found)
        otherwise = f"for 200 faces and a search that finds a fifth it gives {value:.3g}: not yet."
        return verdict(value, right, mistakes, otherwise, rtol=0.02)  # 3 / n is near enough

    check_function("12.3", most_copies, (100, 0.5), diagnose)
