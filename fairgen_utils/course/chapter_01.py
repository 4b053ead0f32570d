"""Notebook 1: diffusion you can see."""

import numpy as np

from fairgen_utils.course._checking import check_function, check_number, same_shape, verdict


def check_rare_share(answer):
    """Exercise 1.1: the rare group's share after 6 DDIM steps, as a number in [0, 1]."""

    def diagnose(value):
        if value < 0:
            return "a share can't be negative."
        if value > 1:
            return "that looks like a percentage or a count; give a share between 0 and 1."
        if value > 0.6:
            return "that is the share of the large group; which place has the rare one?"
        if value > 0.1:
            return "that is the share of the small group; which place has the rare one?"
        # 5 steps give 0.035 and 8 give 0.045; draws of 10,000 differ by 0.004
        if value > 0.047:
            return "so many only come with more steps. How many stops has your list of timesteps?"
        if value < 0.030:
            return "so few only come with fewer steps. How many stops has your list of timesteps?"

    check_number("1.1", answer, diagnose)


def check_melting_alpha(melting_alpha):
    """Exercise 1.2: `melting_alpha(m, s)`, where two noised groups stop showing two humps."""
    cases = [(2.0, 0.5), (1.0, 0.2), (3.0, 1.0)]
    m, s = np.array(cases).T
    mistakes = [
        (
            1 / np.sqrt(1 + m**2 - s**2),
            "that is the square root of it: means shrink by the root, variances by the whole.",
        ),
        (1 / (1 + m**2), "the noisy groups have their own spread too, besides the noise."),
        (
            (1 + s**2) / (1 + m**2),
            "the groups' own spread shrinks with the signal; yours keeps its size.",
        ),
        (4 / (4 + m**2 - 4 * s**2), "how far apart are -m and +m?"),
    ]

    def diagnose(call):
        found = np.array([call(*case) for case in cases])
        if np.any((found <= 0) | (found >= 1)):
            return f"for m, s = {cases[0]} it gives {found[0]:.3g}; it must lie between 0 and 1."
        # what is meant: half the distance of the noised means equals the noised deviation
        gap = np.sqrt(found) * m - np.sqrt(found * (s**2 - 1) + 1)
        off = np.argmax(abs(gap))
        side = "still show two humps" if gap[off] > 0 else "have long been one"
        otherwise = f"at your value for m, s = {cases[off]}, the groups {side}."
        return verdict(found, 1 / (1 + m**2 - s**2), mistakes, otherwise, atol=1e-6)

    check_function("1.2", melting_alpha, cases[0], diagnose)


def check_step_with_fresh_noise(step_with_fresh_noise):
    """Exercise 1.3: `step_with_fresh_noise(clean, noise, b, share, fresh)`, the next point."""

    def diagnose(call):
        b, share = 0.5, 0.3
        # the step is linear, so one probe an argument gives its factors
        one, none = np.ones(1), np.zeros(1)
        of_clean = call(one, none, b, share, none)[0]
        of_noise = call(none, one, b, share, none)[0]
        of_fresh = call(none, none, b, share, one)[0]
        if np.isclose(of_fresh, 0):
            return "no fresh noise comes in: that is a deterministic step."
        if not np.isclose(of_clean, np.sqrt(b)):
            return "without noise, the step should lead to sqrt(b) * clean, as in DDIM."
        if np.isclose(of_noise + of_fresh, [np.sqrt(1 - b), 1 - b]).any():
            return "a factor is a share of the noise's variance. What scales a draw?"
        if not np.isclose(of_noise**2 + of_fresh**2, 1 - b):
            return "the variances of old and fresh noise should come to 1 - b together."
        if not np.isclose(of_fresh**2, share * (1 - b)):
            return f"with share {share}, {of_fresh**2 / (1 - b):.2f} of the variance is fresh."

    ones = np.ones(2)
    check_function("1.3", step_with_fresh_noise, (ones, ones, 0.5, 0.3, ones), diagnose, same_shape)
