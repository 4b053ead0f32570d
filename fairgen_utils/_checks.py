"""Arguments: checked once, here, before any work; every error names the argument."""

from numbers import Integral

import numpy as np

SUM_TOLERANCE = 1e-6


def check_numbers(values, name, dtype=float):
    """Numbers as an array; ValueError names the argument `name`."""
    try:
        return np.asarray(values, dtype)
    except (TypeError, ValueError):
        raise ValueError(f"{name}: not an array of numbers; found {values!r:.60}") from None


def check_shares(shares, name="target", n_groups=None):
    """Shares (..., n_groups) as an array, not rescaled; ValueError names the argument `name`."""
    array = check_numbers(shares, name)
    if array.ndim == 0 or array.size == 0:
        raise ValueError(f"{name}: shape {array.shape} holds no group; pass one share per group")
    if n_groups is not None and array.shape[-1] != n_groups:
        raise ValueError(f"{name}: {array.shape[-1]} shares for {n_groups} groups")
    rows = array.reshape(-1, array.shape[-1])
    for wrong, found, wanted in (
        (~np.isfinite(rows).all(axis=1), "are not finite", "leave those faces out and say so"),
        ((rows < 0).any(axis=1), "are negative", "pass shares of at least 0"),
        (abs(rows.sum(axis=1) - 1) > SUM_TOLERANCE, "sum to {:.8g}, not 1", "divide by their sum"),
    ):
        if wrong.any():
            row = rows[wrong.argmax()]
            found = f"shares {found.format(row.sum())}; found {row.round(6).tolist()}"
            raise ValueError(f"{name}: {found}; {wanted}")
    return array


def check_target(target, n_groups, name="target"):
    """One share per group, shape (n_groups,), uniform when `target` is None."""
    if target is None:
        return np.full(check_count(n_groups, "n_groups"), 1 / n_groups)
    target = check_shares(target, name, n_groups)
    if target.ndim != 1:
        raise ValueError(f"{name}: shape {target.shape}; pass one share per group, (n_groups,)")
    return target


def check_labels(labels, n_groups, name="labels"):
    """Integer labels (n,) in 0..n_groups-1 as an array; ValueError names the argument `name`."""
    check_count(n_groups, "n_groups")
    labels = np.asarray(labels)
    if labels.ndim != 1 or not labels.size:
        raise ValueError(f"{name}: shape {labels.shape}; pass one label per face, and at least one")
    if labels.dtype.kind == "f" and np.isnan(labels).any():
        count = f"{np.isnan(labels).sum()} of {len(labels)}"
        raise ValueError(f"{name}: {count} are NaN; leave those faces out and say how many")
    if labels.dtype.kind not in "iu":
        raise ValueError(f"{name}: dtype {labels.dtype}, not integer; pass 0..{n_groups - 1}")
    outside = labels[(labels < 0) | (labels >= n_groups)]
    if outside.size:
        found = f"{outside.size} outside 0..{n_groups - 1}; found {np.unique(outside)[:5].tolist()}"
        raise ValueError(f"{name}: {found}; check n_groups and the label codes")
    # Small dtypes such as uint8 would overflow in joint and confusion codes.
    return labels.astype(np.intp)


def check_count(value, name, least=1):
    """An integer of at least `least`; ValueError names the argument `name`."""
    if not isinstance(value, Integral) or value < least:
        raise ValueError(f"{name}: {value!r}; pass an integer of at least {least}")
    return int(value)


def plain(values):
    """A single value as a float, which prints as 0.5 and not as np.float64(0.5)."""
    return float(values) if np.ndim(values) == 0 else values


def check_tail(confidence):
    number = check_numbers(confidence, "confidence")
    if number.ndim or not 0 < number < 1:
        raise ValueError(f"confidence: {confidence!r}; pass a number in (0, 1), such as 0.95")
    return (1 - confidence) / 2


def check_fractions(values, name):
    """Numbers in [0, 1] as an array; ValueError names the argument `name`."""
    values = check_numbers(values, name)
    if np.any(~(abs(values - 0.5) <= 0.5)):
        raise ValueError(f"{name}: {values.tolist()}; pass values in [0, 1], such as 0.95")
    return values


def check_cells(cells, n, name="cells"):
    """The cell of each of n faces, any integers, or None; ValueError names the argument `name`."""
    if cells is None:
        return None
    cells = np.asarray(cells)
    if cells.shape != (n,) or cells.dtype.kind not in "iu":
        found = f"{cells.dtype} of shape {cells.shape} for {n} faces"
        raise ValueError(f"{name}: {found}; pass the cell each face was given, an integer")
    return cells


def check_quotas(quotas, n_groups):
    """Faces given to each cell, and P(predicted | cell)."""
    if len(quotas) != 2:
        raise ValueError(f"quotas: {len(quotas)} parts; pass a number or the pair (faces, rates)")
    rates = check_shares(quotas[1], "quotas, rates", n_groups)
    faces = check_numbers(quotas[0], "quotas, faces")
    if faces.shape != rates.shape[:-1] or rates.ndim != 2 or not (faces >= 0).all():
        found = f"{faces.tolist()!r:.60} for rates of shape {rates.shape}"
        raise ValueError(f"quotas, faces: {found}; pass the number of faces of each cell")
    return faces, rates


def check_confusion(confusion, n_groups):
    """P(predicted | true) as an array that can be inverted."""
    confusion = check_shares(confusion, "confusion", n_groups)
    if confusion.ndim != 2 or len(confusion) != confusion.shape[1]:
        raise ValueError(f"confusion: shape {confusion.shape}; pass one row per true group")
    rank = np.linalg.matrix_rank(confusion)
    if rank < len(confusion):
        found = f"rank {rank} for {len(confusion)} groups, so some cannot be told apart"
        raise ValueError(f"confusion: {found}; merge groups or use a better classifier")
    return confusion


def check_images(images, size=None, name="images"):
    """Pictures as an array (n, height, width, 3) of uint8; ValueError if they are none."""
    images = np.asarray(images)
    fits = images.ndim == 4 and images.shape[-1] == 3 and images.dtype == np.uint8 and len(images)
    if not fits or (size is not None and images.shape[1:3] != (size, size)):
        wanted = "(n, height, width, 3)" if size is None else f"(n, {size}, {size}, 3)"
        raise ValueError(
            f"{name}: found {images.dtype} of shape {images.shape}; give uint8, shape {wanted}"
        )
    return images


def check_errors(confusion, n_groups):
    """P(predicted | true), and how many faces each row was counted on: None where it is exact.

    `confusion` may be such rates; or the counts behind them, integers; or None: then both are.
    """
    if confusion is None:
        return None, None
    counts = np.asarray(confusion)
    if counts.ndim != 2 or counts.dtype.kind not in "iu" or (counts.sum(axis=1) == 1).all():
        return check_confusion(confusion, n_groups), None
    if (counts < 0).any():
        raise ValueError(f"confusion: {counts.min()} faces counted; pass counts of at least 0")
    n_true = counts.sum(axis=1)
    if not n_true.all():
        missing = np.flatnonzero(n_true == 0).tolist()
        raise ValueError(f"confusion: no face counted of groups {missing}; add labelled faces")
    return check_confusion(counts / n_true[:, None], n_groups), n_true
