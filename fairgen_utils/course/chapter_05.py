"""Notebook 5: localizing attributes with Gaussian mixtures."""

import numpy as np

from fairgen_utils.course._checking import Problem, check_function, numbers_of, unanswered, verdict


def check_purity(purity):
    """Exercise 5.1: `purity(table)`, the share of faces in their component's main group."""
    table = np.array([[90.0, 10.0], [5.0, 5.0]])  # column maxima would give 100 of 110
    mistakes = [
        (0.7, "that is the mean over components: a small one counts as much as a large one."),
        (95, "that counts faces; a share is wanted."),
        (100 / 110, "the largest entry is sought in each row, over the groups."),
    ]

    def diagnose(call):
        found = call(table)
        otherwise = (
            f"of [[90, 10], [5, 5]] it makes {found:.3g}; how many of 110 are in a main group?"
        )
        return verdict(found, 95 / 110, mistakes, otherwise)

    check_function("5.1", purity, (np.array([[3.0, 1.0], [2.0, 2.0]]),), diagnose)


def check_push_on(push_on):
    """Exercise 5.2: `push_on(mean, covariance, b)`, noising what is already noisy."""

    def joined(mean, covariance, b):
        """What `push_on` returns, mean and covariance in one flat array."""
        result = push_on(mean, covariance, b)
        if unanswered(result):
            return result
        if not isinstance(result, tuple | list) or len(result) != 2:
            raise Problem("two results are wanted: a mean and a covariance.")
        parts = [numbers_of(part) for part in result]
        for part, like, name in zip(
            parts, (mean, covariance), ("mean", "covariance"), strict=True
        ):
            if part.shape != like.shape:
                raise Problem(f"a {name} of shape {like.shape} is wanted, found {part.shape}.")
        return np.concatenate([part.ravel() for part in parts])

    def diagnose(call):
        mean, covariance, a, b = np.array([1.0, -2.0]), np.diag([0.5, 2.0]), 0.6, 0.3
        at_a = np.sqrt(a) * mean, a * covariance + (1 - a) * np.eye(2)
        found = call(*at_a, b)
        of_mean = verdict(
            found[:2],
            np.sqrt(a * b) * mean,
            [(b * at_a[0], "the mean is scaled by b; how are values scaled where variances are?")],
            "the mean is off: pushing the clean one to ab at once gives another.",
        )
        mistakes = [
            (b * at_a[1], "the covariance only shrinks; where is the new noise?"),
            (
                b * at_a[1] + (1 - a * b) * np.eye(2),
                "too much noise: a part of it was there before you came.",
            ),
        ]
        right = a * b * covariance + (1 - a * b) * np.eye(2)
        otherwise = "the covariance is off: pushing the clean one to ab at once gives another."
        return of_mean or verdict(found[2:].reshape(2, 2), right, mistakes, otherwise)

    answer = push_on if unanswered(push_on) or not callable(push_on) else joined
    check_function("5.2", answer, (np.zeros(2), np.eye(2), 0.5), diagnose, shape=(6,))


def check_bic(bic):
    """Exercise 5.3: `bic(log_likelihood, n, k, d)` of a mixture with full covariances."""
    likelihood, n, k, d = -5000.0, 800, 5, 4
    parameters = (k - 1) + k * d + k * d * (d + 1) / 2

    def charged(count):
        return -2 * likelihood + count * np.log(n)

    signs = "the signs: a better fit must lower it, more parameters must raise it."
    square = "a covariance is symmetric: not all of its d * d numbers are free."
    diagonal = "those are diagonal covariances; full ones have more numbers."
    mistakes = [
        (2 * likelihood + parameters * np.log(n), signs),
        (2 * likelihood - parameters * np.log(n), signs),
        (-2 * likelihood - parameters * np.log(n), signs),
        (
            -2 * likelihood + 2 * parameters,
            "that is AIC: its charge doesn't grow with the number of faces.",
        ),
        (charged(parameters + 1), "the last weight is not free: they sum to one."),
        (charged(parameters - k + 1), "the weights are missing among the parameters."),
        (charged(k - 1 + k * d + k * d * d), square),
        (charged(k + k * d + k * d * d), square),
        (charged(k - 1 + 2 * k * d), diagonal),
        (charged(k + 2 * k * d), diagonal),
        (-likelihood + parameters * np.log(n), "the likelihood counts twice in BIC."),
    ]

    def diagnose(call):
        found = call(likelihood, n, k, d)
        otherwise = f"for k = {k} and d = {d} it charges {found + 2 * likelihood:.1f}: not yet."
        return verdict(found, charged(parameters), mistakes, otherwise)

    check_function("5.3", bic, (likelihood, n, k, d), diagnose)
