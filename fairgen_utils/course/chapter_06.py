"""Notebook 6: fair generation."""

import numpy as np

from fairgen_utils.course._checking import (
    check_function,
    check_number,
    mistaken,
    same_shape,
    verdict,
)


def check_two_components(weight_of_first, lowest, highest):
    """Exercise 6.1: weights and reach of two components with shares 0.9 and 0.4 of group A."""

    def weight(value):
        if not 0 <= value <= 1:
            return "a weight lies between 0 and 1."
        mistakes = [
            (0.8, "that is how often the second one must be drawn."),
            (0.5, "even weights give 65 % of group A."),
        ]
        share = 0.9 * value + 0.4 * (1 - value)
        otherwise = f"with that, {share:.1%} of the faces are of group A."
        return verdict(value, 0.2, mistakes, otherwise, atol=1e-6)

    def reach(value, at):
        nobody = "no component makes such faces, so no mixture of them does."
        otherwise = "draw one component only, then the other only. What lies between?"
        return verdict(value, at, [(0, nobody), (1, nobody)], otherwise)

    check_number("6.1, weight", weight_of_first, weight)
    check_number("6.1, lowest", lowest, lambda value: reach(value, 0.4))
    check_number("6.1, highest", highest, lambda value: reach(value, 0.9))


def check_promised_fd(promised_fd):
    """Exercise 6.2: `promised_fd(rng)`, what weights fitted on a tiny pilot promise."""

    def diagnose(call):
        rng = np.random.default_rng(0)
        untouched = rng.bit_generator.state
        draws = np.array([call(rng) for _ in range(50)])
        found = draws.mean()
        if rng.bit_generator.state == untouched:
            return "it draws nothing from `rng`, so there is no pilot."
        if draws.min() < 0:
            return "FD is a distance, and yours is negative at times."
        if found > 0.2:
            return f"{found:.3g} is the truth of these components, not what weights promise."
        if found > 0.03:
            return (
                f"{found:.3g}: fitted weights promise less. Do yours come from this pilot's rows?"
            )

    check_function("6.2", promised_fd, (np.random.default_rng(0),), diagnose)


def check_keep_probability(keep_probability):
    """Exercise 6.3: `keep_probability(shares, target)` of rejection sampling, per group."""
    made, target = np.array([0.6, 0.3, 0.1]), np.array([0.5, 0.25, 0.25])

    def diagnose(call):
        found = call(made, target)
        if found.max() > 1 + 1e-9 or found.min() < 0:
            return f"{found.round(2)} aren't probabilities."
        if not found.any():
            return "no face of any group is kept."
        kept = made * found
        if np.allclose(kept / kept.sum(), target):
            return None if np.isclose(found.max(), 1) else "right shares, but too many thrown away."
        ratio = made / target
        frequent = "frequent groups are kept most often; it should be the other way round."
        otherwise = (
            f"the kept faces would have shares {(kept / kept.sum()).round(2)}, not the target's."
        )
        mistakes = [(ratio / ratio.max(), frequent), (made / made.max(), frequent)]
        return mistaken(found, mistakes, otherwise)

    halves = np.array([0.5, 0.5])
    check_function("6.3", keep_probability, (halves, halves), diagnose, same_shape)
