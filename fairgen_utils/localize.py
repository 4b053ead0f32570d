"""Localize: Gaussian mixtures in the noisy latent space. Latents in, latents out."""


import numpy as np
from scipy.optimize import nnls

from fairgen_utils._checks import (
    check_labels,
    check_numbers,
    check_shares,
    check_target,
)
from fairgen_utils.models.low_frequency import mixture_for


def component_table(components, labels, n_components, n_groups):
    """How many faces of each group came out of each component.

    Parameters
    ----------
    components : array_like
        Component of each face, int of shape (n,), or responsibilities of shape (n, n_components).
    labels : array_like of int, shape (n,)
        Group of each face.
    n_components, n_groups : int

    Returns
    -------
    ndarray, shape (n_components, n_groups), float64
        Counts, fractional with responsibilities. Rows over their sums are P(group | component).

    Raises
    ------
    ValueError
        If a component or label is out of range, or their numbers differ.
    """
    labels, components = check_labels(labels, n_groups), np.asarray(components)
    if len(components) != len(labels):
        raise ValueError(f"labels: found {len(labels)} for {len(components)} components")
    if components.ndim == 1:
        components = np.eye(n_components)[check_labels(components, n_components, "components")]
    if components.shape != (len(labels), n_components):
        raise ValueError(
            f"components: found shape {components.shape} for {n_components} components"
        )
    return components.T @ np.eye(n_groups)[labels]


def solve_weights(table, target, confusion=None):
    """Component weights whose faces are expected to land closest to the target shares.

    The table is an estimate, and an optimiser would lean on its luckiest errors. So this
    minimises the *expected* squared discrepancy, the table's sampling variance included:
    ``||T' w - target||^2 + sum_k w_k^2 v_k``, with ``T`` the row-normalised table and ``v_k`` the
    variance of row k. With many faces per component the second term vanishes, and a feasible
    target is reached exactly; with few it spreads the weight over more components.

    Several goals at once (gender by race, and age) are lists of tables, targets and confusion
    matrices: the discrepancies are summed.

    Parameters
    ----------
    table : array_like, shape (n_components, n_groups), or list of them
        Counts, as `component_table` gives them. A component without faces gets weight zero.
    target : array_like, shape (n_groups,), or list of them
        Wanted shares.
    confusion : array_like, shape (n_groups, n_groups), or list of them, optional
        P(predicted | true) of the classifier that labelled the table's faces. The table is then
        steered to what that classifier would report of a generator exactly at the target.

    Returns
    -------
    ndarray, shape (n_components,)
        Non-negative, summing to one.

    Raises
    ------
    ValueError
        If the table is negative, not finite or empty, the target is no distribution over its
        groups, or the confusion matrix no such distribution for each of them.
    """
    several = isinstance(table, list) and table and np.ndim(table[0]) == 2
    goals = (table, target, confusion) if several else ([table], [target], [confusion])
    tables, targets, confusions = goals
    confusions = confusions or [None] * len(tables)
    parts = [_goal(*goal) for goal in zip(tables, targets, confusions, strict=True)]
    used = parts[0][0]
    if any(not np.array_equal(part[0], used) for part in parts):
        raise ValueError("table: several tables must count the same faces")
    variances = sum(part[3] for part in parts)
    # the heavy last row holds the weights to a sum of one, to about 1e-6
    heavy = 1e3
    rows = [part[1].T for part in parts]
    system = np.vstack([*rows, np.diag(np.sqrt(variances)), heavy * np.ones(len(variances))])
    wanted = np.concatenate([*(part[2] for part in parts), np.zeros(len(variances)), [heavy]])
    weights = np.zeros(len(used))
    weights[used] = nnls(system, wanted)[0]
    return weights / weights.sum()


def _goal(table, target, confusion):
    """Of one table: which components have faces, their rows, wanted shares, variances."""
    table = check_numbers(table, "table")
    if table.ndim != 2 or not np.isfinite(table).all() or (table < 0).any() or table.sum() == 0:
        raise ValueError(
            "table: give finite, non-negative counts, shape (n_components, n_groups), not all zero"
        )
    n_groups = table.shape[1]
    target = check_target(target, n_groups)
    if confusion is not None:
        confusion = check_shares(confusion, "confusion", n_groups)
        if confusion.shape != (n_groups, n_groups):
            raise ValueError(f"confusion: shape {confusion.shape}; pass one row per true group")
        target = target @ confusion
    counts = table.sum(1)
    used = counts > 0
    rows, counts = table[used] / counts[used, None], counts[used]
    # one imagined face per group keeps three lucky faces from counting as certainty
    smoothed = (table[used] + 1) / (counts + n_groups)[:, None]
    return used, rows, target, (1 - (smoothed**2).sum(1)) / counts


def localized_mixture(world, attribute, n_components=1):
    """An attribute-localized mixture: `n_components` Gaussians for each group that occurs."""
    latents, labels = world.latents()
    mixture = mixture_for(latents.shape[1:], n_components)
    return mixture.fit(latents, world.joint(labels, attribute))
