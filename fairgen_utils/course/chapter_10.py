"""Notebook 10: other people's models."""

import operator

import numpy as np

from fairgen_utils.course._checking import (
    Problem,
    check_function,
    same_shape,
    shown,
    unanswered,
    verdict,
)


def check_truncate_to_own(truncate_to_own):
    """Exercise 10.1: `truncate_to_own(styles, groups, psi)`, of the shape of the styles."""
    groups, psi = np.array([0, 0, 1, 0, 2, 0, 1, 0, 0, 2]), 0.3
    styles = np.random.default_rng(0).standard_normal((10, 3)) + 2 * groups[:, None] + 1
    own = np.stack([styles[groups == group].mean(0) for group in range(3)])[groups]
    everybody = styles.mean(0)
    mistakes = [
        (everybody + psi * (styles - everybody), "that is toward the mean of all groups."),
        (own + (1 - psi) * (styles - own), "psi is what is left, not what is taken away."),
        (psi * styles, "that draws everybody toward zero; toward what should it be?"),
        (own, "now all of a group are one face; some of the difference should be left."),
        (psi * (styles - own), "that is what is left of the differences; from where do they go?"),
        (everybody + psi * (styles - own), "the differences are right, but from the wrong mean."),
    ]

    def diagnose(call):
        otherwise = "some style isn't as far from its own group's mean as psi asks for."
        return verdict(call(styles, groups, psi), own + psi * (styles - own), mistakes, otherwise)

    example = (np.ones((2, 2)), np.array([0, 1]), 0.5)
    check_function("10.1", truncate_to_own, example, diagnose, same_shape)


def check_detail_left(detail_left):
    """Exercise 10.2: `detail_left(x, block)`, what block means leave of pictures."""
    x = np.random.default_rng(0).standard_normal((3, 2, 8, 8))
    means = x.reshape(3, 2, 2, 4, 2, 4).mean((3, 5)).repeat(4, 2).repeat(4, 3)
    mistakes = [
        (means, "those are the means; what do they leave?"),
        (x - x.mean((2, 3), keepdims=True), "every block has a mean of its own."),
        (means - x, "the sign is turned round."),
    ]

    def diagnose(call):
        otherwise = "the mean of some block of what is left isn't zero, or too much is gone."
        return verdict(call(x, 4), x - means, mistakes, otherwise)

    check_function("10.2", detail_left, (np.ones((1, 1, 4, 4)), 2), diagnose, same_shape)


def check_shards_to_do(shards_to_do):
    """Exercise 10.3: `shards_to_do(n_shards, rank, processes, done)`, a list of numbers."""

    def marked(n_shards, rank, processes, done):
        """The list as an array of counts, one a shard; numbers that are no shard are refused."""
        result = shards_to_do(n_shards, rank, processes, set(done))
        if unanswered(result):
            return result
        try:
            listed = [operator.index(shard) for shard in result]
        except TypeError:
            raise Problem(f"a list of whole numbers is wanted, found {shown(result)}.") from None
        if beyond := [shard for shard in listed if not 0 <= shard < n_shards]:
            raise Problem(f"of {n_shards} shards, there is no number {beyond[0]:.3g}.")
        if listed != sorted(listed):
            raise Problem("a process should make its shards in order.")
        return np.bincount(np.array(listed, int), minlength=n_shards)

    def diagnose(call):
        plan = np.array([call(10, rank, 3, (1, 5)) for rank in range(3)])
        made = plan.sum(0)
        if made[[1, 5]].any():
            return "a shard that is done is made again."
        if plan.max() > 1:
            return f"one process makes shards {np.flatnonzero(plan.max(0) > 1).tolist()} twice."
        if made.max() > 1:
            return f"shards {np.flatnonzero(made > 1).tolist()} are made by two processes."
        if missing := [shard for shard in (0, 2, 3, 4, 6, 7, 8, 9) if not made[shard]]:
            return f"shards {missing} are made by nobody."
        if np.ptp(plan.sum(1)) > 2:
            return "one process has nearly all the work."
        late = [call(10, rank, 3, (0, 1, 5)) for rank in (1, 2)]
        if not np.array_equal(late, plan[1:]):
            return (
                "while the processes start, others finish shards: which are whose must not depend "
                "on what is done, or two may take the same."
            )

    answer = shards_to_do if unanswered(shards_to_do) or not callable(shards_to_do) else marked
    check_function("10.3", answer, (4, 0, 2, ()), diagnose, shape=lambda n, *others: (n,))
