"""Select among plain faces: rejection sampling, and what then holds of their true groups."""

import numpy as np

from fairgen_utils._checks import check_count, check_target
from fairgen_utils.measure import correct_shares


def reject(labels, target, n, seed):
    """Rejection sampling: the first faces of a plain sample that fill quotas drawn from `target`.

    Parameters
    ----------
    labels : ndarray of int, shape (pool,)
        Predicted group of every face of the sample.
    target : array_like, shape (n_groups,)
    n : int
        Faces to keep.
    seed : int
        For the quotas.

    Returns
    -------
    kept : ndarray of int
        Positions of the kept faces.
    used : int
        How many faces had to be generated to find them. When the sample is too small to fill
        every quota, all of it, and fewer than `n` are kept.
    """
    target = check_target(target, None)
    quotas = np.random.default_rng(seed).multinomial(check_count(n, "n"), target / target.sum())
    places = [np.flatnonzero(labels == g)[:quota] for g, quota in enumerate(quotas)]
    kept = np.sort(np.concatenate(places))
    full = all(len(found) == quota for found, quota in zip(places, quotas, strict=True))
    return kept, int(kept[-1]) + 1 if full else len(labels)


def posterior_shares(kept, plain, confusion):
    """True shares to expect among faces that were selected by their predicted group.

    Selection by prediction voids P(predicted | true); what still holds within a predicted group is
    P(true | predicted), by Bayes' rule from the generator's own shares.

    Parameters
    ----------
    kept : array_like, shape (n_groups,)
        Predicted shares of the selected faces.
    plain : array_like, shape (n_groups,)
        Predicted shares before selection.
    confusion : array_like, shape (n_groups, n_groups), P(predicted | true)

    Returns
    -------
    ndarray, shape (n_groups,), summing to one
    """
    plain = check_target(plain, None, "plain")
    kept = check_target(kept, len(plain), "kept")
    joint = np.asarray(confusion) * correct_shares(plain, confusion)[:, None]
    return (joint / np.maximum(joint.sum(0), 1e-12)) @ kept
