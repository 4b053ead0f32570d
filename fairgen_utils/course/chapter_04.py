"""Notebook 4: inside the noisy latent space."""

import numpy as np

from fairgen_utils.course._checking import check_function, check_number, verdict


def check_control_probe(answer):
    """Exercise 4.1: test accuracy of a probe of shuffled gender labels."""

    def diagnose(value):
        if not 0 <= value <= 1:
            return "a balanced accuracy lies between 0 and 1."
        if value > 0.75:
            return "that high? Tested on the faces it was fitted on, or not shuffled?"
        # a direction that chance fits may lean on hair: more than the luck of 2,000 faces
        if not 0.4 < value < 0.6:
            return "without information a probe guesses; what does guessing get with two groups?"

    check_number("4.1", answer, diagnose)


def check_noisy_distance(noisy_distance):
    """Exercise 4.2: `noisy_distance(d, a)`, in noisy standard deviations."""
    d, a = 3.0, 0.25
    mean = d * np.sqrt(a)
    mistakes = [
        (d * a, "means shrink by the root."),
        (
            mean / np.sqrt(1 - a),
            "the noisy spread isn't the noise alone; the clean spread is in it, too.",
        ),
        (mean / np.sqrt(a), "the spread doesn't only shrink with the signal: noise comes in."),
        (mean / (np.sqrt(a) + np.sqrt(1 - a)), "standard deviations don't add; variances do."),
    ]

    def diagnose(call):
        found = call(d, a)
        otherwise = f"for d = 3 and a = 0.25 it gives {found:.3g}; compute mean and variance apart."
        return verdict(found, mean / np.sqrt(a + 1 - a), mistakes, otherwise)

    check_function("4.2", noisy_distance, (2.0, 0.5), diagnose)


def check_balanced_accuracy(balanced_accuracy):
    """Exercise 4.3: `balanced_accuracy(truth, predicted)`, the mean of the groups' recalls."""
    truth, predicted = np.array([0] * 8 + [1] * 2), np.array([0] * 8 + [0, 1])
    mistakes = [
        (0.9, "that is plain accuracy: the larger group counts for more."),
        ((8 / 9 + 1) / 2, "look at a group's members by truth, not at those called so."),
    ]

    def diagnose(call):
        found = call(truth, predicted)
        otherwise = f"of 8 recognised of 8, and 1 of 2, it makes {found:.3g}."
        problem = verdict(found, 0.75, mistakes, otherwise)
        if not problem and not np.isclose(call(np.array([0, 2, 2]), np.array([0, 2, 0])), 0.75):
            return "it counts a group that doesn't occur."
        return problem

    zeros = np.array([0, 0, 1])
    check_function("4.3", balanced_accuracy, (zeros, zeros), diagnose)
