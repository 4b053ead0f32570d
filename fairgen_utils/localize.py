"""Localize: attributes in latent space; what a mixture says of a face, and what it should weigh."""

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import nnls

from fairgen_utils._checks import (
    check_count,
    check_labels,
    check_numbers,
    check_shares,
    check_target,
)
from fairgen_utils.models.low_frequency import mixture_for


def localize_mixture(world, attribute, n_components=1, covariance_type="full"):
    """An attribute-localized mixture of a world's latents, its components known by cell.

    Parameters
    ----------
    world : World
    attribute : str or tuple of str
        ``"gender"``, or several jointly: ``("gender", "ancestry")``.
    n_components : int
        Gaussians for each group that occurs.
    covariance_type : {"full", "tied"}
        A covariance for each Gaussian, or one pooled within all of them, as guidance wants it.

    Returns
    -------
    LatentMixture, or LowFrequencyMixture where latents are too large for a covariance
    """
    latents, labels = world.latents()
    mixture = mixture_for(latents.shape[1:], n_components, covariance_type)
    return mixture.fit(latents, world.joint(labels, attribute))


class CellPosterior:
    """What a localized mixture knows of a noisy latent, in closed form at every noise level.

    Noise turns a component N(m, S) into N(sqrt(a) m, a S + (1 - a) I), with ``a`` for
    ``alphas_cumprod[t]``. So Bayes' rule gives p(cell | x_t), and the Gaussian's conditional mean
    E[x_0 | x_t, cell]. One eigendecomposition of each covariance serves every noise level.

    Parameters
    ----------
    mixture : LatentMixture or LowFrequencyMixture
        Localized, fitted on clean latents. With a tied covariance a step costs two products of
        matrices for all cells together, and log p(cell | x_t) is linear in the latents.
    n_cells : int, optional
        Cells in all; one without a component has probability zero. Default: the highest and one.
    device, dtype
        Of the computation.

    References
    ----------
    Bishop, "Pattern Recognition and Machine Learning", 2006, section 2.3.3, for the conditional
    mean. Tweedie's formula turns it into the score: (1 - a) grad log p(x_t) = sqrt(a) E[x_0 | x_t]
    - x_t (Efron, JASA 2011).
    """

    def __init__(self, mixture, n_cells=None, device="cpu", dtype=torch.float32):
        # where latents are large, the mixture knows their low frequencies alone
        full = getattr(mixture, "mixture_", mixture)
        self.block = getattr(mixture, "block", 1)
        self.cells = torch.as_tensor(full.cells_, device=device)
        self.n_cells = int(full.cells_.max()) + 1 if n_cells is None else n_cells
        like = {"device": device, "dtype": dtype}
        values, vectors = np.linalg.eigh(full.covariances_.astype(float))
        self.variances = torch.as_tensor(values, **like)  # (1 or k, d)
        self.axes = torch.as_tensor(vectors, **like)  # (1 or k, d, d)
        means = torch.as_tensor(full.means_, **like)
        self.means = torch.einsum("kd,kde->ke", means, self.axes.expand(len(means), -1, -1))
        self.log_weights = torch.as_tensor(np.log(full.weights_), **like)

    def log_proba(self, noisy, alpha_cumprod):
        """log p(cell | x_t): Tensor, shape (n, n_cells).

        Parameters
        ----------
        noisy : Tensor, shape (n, *latent_shape)
        alpha_cumprod : float, in (0, 1]
        """
        joint = self._components(noisy, alpha_cumprod)[0]
        cells = torch.full((len(joint), self.n_cells), -torch.inf).to(joint)
        for cell in self.cells.unique().tolist():
            cells[:, cell] = joint[:, self.cells == cell].logsumexp(1)
        return cells.log_softmax(1)

    def toward(self, noisy, alpha_cumprod, cells):
        """E[x_0 | x_t, cell] - E[x_0 | x_t]: how far a face is, in clean latents, from its cell.

        The same as (1 - a)/sqrt(a) times the gradient of log p(cell | x_t): classifier guidance,
        whose classifier is the mixture. It fades by itself once the mixture is sure of the cell.

        Parameters
        ----------
        noisy : Tensor, shape (n, *latent_shape)
        alpha_cumprod : float, in (0, 1]
        cells : Tensor of int, shape (n,)
            The cell wanted for each, one that has a component.

        Returns
        -------
        Tensor, shape (n, *latent_shape)
        """
        joint, scores = self._components(noisy, alpha_cumprod)
        of_cell = self.cells[None, :] == cells[:, None].to(self.cells.device)
        own = joint.masked_fill(~of_cell, -torch.inf).softmax(1)
        change = own - joint.softmax(1)  # (n, k): the components to come from, and to leave
        if len(self.axes) == 1:
            step = torch.einsum("nk,nkd->nd", change, scores) @ self.axes[0].T
        else:
            step = torch.einsum("nk,nkd,ked->ne", change, scores, self.axes)
        step = (1 - alpha_cumprod) / alpha_cumprod**0.5 * step
        return self._spread(step, noisy)

    def _components(self, noisy, a):
        """Log-joint of every component, (n, k), and the scores on its own axes, (n, k, d)."""
        # block means scaled to an orthonormal basis: what a mixture of large latents knows
        coarse = noisy if self.block == 1 else F.avg_pool2d(noisy, self.block) * self.block
        flat = coarse.flatten(1).to(self.means.dtype)
        if len(self.axes) == 1:
            on_axes = (flat @ self.axes[0])[:, None]
        else:
            on_axes = torch.einsum("nd,kde->nke", flat, self.axes)
        variances = a * self.variances + 1 - a
        away = on_axes - a**0.5 * self.means
        scores = -away / variances
        joint = self.log_weights + 0.5 * (away * scores).sum(-1) - 0.5 * variances.log().sum(-1)
        return joint, scores

    def _spread(self, step, noisy):
        if self.block == 1:
            return step.reshape(noisy.shape)
        n, channels, height, width = noisy.shape
        coarse = step.reshape(n, channels, height // self.block, width // self.block)
        return F.interpolate(coarse, scale_factor=self.block, mode="nearest") / self.block


def fit_weights(sampler, attribute, target, per_component, seed, progress=True):
    """Weights solved on a pilot of the sampler's own faces, whose shares really hold.

    Denoising pulls faces back toward the majority, so a table counted on training latents
    promises too much. Here every component (or cell that is guided to) makes `per_component`
    faces, the classifier labels them, and the weights are solved on *that* table.

    Parameters
    ----------
    sampler : Sampler
        That starts from a mixture, or is guided by one.
    attribute : str or tuple of str, or list of them
        Several goals at once are a list: ``[("gender", "race"), "age"]`` wants gender and race
        even jointly, and age, whoever has it.
    target : array_like, shape (n_groups,), or list of them
    per_component : int
        Faces for each: exactly where quotas lead to cells, on average where components are drawn.
    seed : int

    Returns
    -------
    weights : ndarray, shape (n_components,)
        For `Sampler.with_weights`.
    table : ndarray, shape (n_components, n_groups), or list of them
        Counts of the pilot.
    pilot : Sample
        Never judge a method on these faces: its weights were fitted to them.
    """
    world, several = sampler.world, isinstance(attribute, list)
    goals, targets = (attribute, target) if several else ([attribute], [target])
    if several and not (isinstance(target, (list, tuple)) and len(target) == len(attribute)):
        raise ValueError(f"target: give one for each of the {len(goals)} goals in a list")
    for goal, wanted in zip(goals, targets, strict=True):  # before minutes of work
        check_target(wanted, len(world.groups(goal)))
    check_count(per_component, "per_component")
    if sampler.weights is None or (sampler.guide is not None and not sampler.is_steered):
        raise ValueError(
            f"sampler: {sampler.name} draws from no component and leads to no cell, so there is "
            "nothing to weigh; give it start=, or guide= with a strength above 0"
        )
    k = len(sampler.weights)
    reached = np.ones(k) if sampler.guide is None else np.isin(np.arange(k), sampler.guide.cells_)
    n = per_component * int(reached.sum())
    pilot = sampler.with_weights(reached / reached.sum()).draw(n, seed, progress=progress)
    tables = []
    for goal in goals:
        labels = world.joint(pilot.predictions.labels, goal)
        tables.append(component_table(pilot.components, labels, k, len(world.groups(goal))))
    weights = solve_weights(tables, list(targets), [world.confusion(goal) for goal in goals])
    return weights, tables if several else tables[0], pilot


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
        raise ValueError(f"components: shape {components.shape} for {n_components} components")
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
    listed = isinstance(table, (list, tuple)) and len(table) > 0
    several = np.ndim(table[0]) == 2 if listed else getattr(table, "ndim", 0) == 3
    tables, targets = (list(table), list(target)) if several else ([table], [target])
    confusions = list(confusion) if several and confusion is not None else [confusion] * len(tables)
    if not len(tables) == len(targets) == len(confusions):
        raise ValueError(
            f"table: found {len(tables)} tables, {len(targets)} targets and {len(confusions)} "
            "confusion matrices; give one of each for every goal"
        )
    parts = [_goal(*goal) for goal in zip(tables, targets, confusions, strict=True)]
    used = parts[0][0]
    if any(not np.array_equal(part[0], used) for part in parts):
        raise ValueError("table: several tables must count the same faces")
    variances = sum(part[3] for part in parts)
    heavy = 1e3  # the heavy last row holds the weights to a sum of one, to about 1e-6
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
        shape = "shape (n_components, n_groups)"
        raise ValueError(f"table: give finite, non-negative counts, {shape}, not all zero")
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
