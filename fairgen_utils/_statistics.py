"""What chance does to measured shares: its covariance, its draws, and intervals by test inversion.

Shares are vectors p of shape (n_groups,). A classifier shows p @ rates of them, with
rates = P(predicted | true); corrected shares are its inverse applied to what was measured.
"""

import numpy as np
from scipy.special import ndtri

NEAR = 0.01  # an end is found where it is this near, in standard deviations
FARTHEST = 64.0  # steps along a ray that end at all faces in one group


def spread(shares):
    """Covariance of one face's label, as a vector of zeros and a one: (..., k) -> (..., k, k)."""
    diagonal = shares[..., None] * np.eye(shares.shape[-1])
    return diagonal - shares[..., :, None] * shares[..., None, :]


def draw_shares(n, probabilities, size, rng):
    """Shares of n independent labels, `size` times over: shape (size, n_groups)."""
    # The multinomial sampler is stricter about the sum than check_shares.
    probabilities = probabilities / probabilities.sum()
    return rng.multinomial(n, probabilities, size=size) / n


def root_of(covariance):
    """Matrix R with R @ R.T the covariance, which may be singular: (..., k, k)."""
    values, vectors = np.linalg.eigh(covariance)
    return vectors * np.sqrt(np.maximum(values, 0))[..., None, :]


def project_to_simplex(points):
    """Nearest shares to each point: lower all coordinates by one amount and cut at 0."""
    n_groups = points.shape[-1]
    descending = np.sort(points, axis=-1)[..., ::-1]
    shifts = (np.cumsum(descending, axis=-1) - 1) / np.arange(1, n_groups + 1)
    kept = (descending > shifts).sum(axis=-1, keepdims=True)
    return np.maximum(points - np.take_along_axis(shifts, kept - 1, axis=-1), 0)


def quotas_of(target, n):
    """Whole numbers of faces that sum to n and are nearest to n * target: largest remainders."""
    wanted = np.asarray(target) * n
    faces = np.floor(wanted).astype(int)
    late = np.argsort(faces - wanted, kind="stable")[: n - faces.sum()]
    faces[late] += 1
    return faces


class Sampling:
    """Labelled faces, and what of their shares was left to chance.

    Parameters
    ----------
    labels : ndarray of int, shape (n,)
    n_groups : int
    cells : ndarray of int, shape (n,), or None
        Cells by quotas: only the label within the cell is left to chance. Cells of a single face
        tell nothing about that and are taken together. None: independent faces.
    """

    def __init__(self, labels, n_groups, cells=None):
        self.labels, self.n, self.n_groups = labels, len(labels), n_groups
        self.measured = np.bincount(labels, minlength=n_groups) / len(labels)
        self.by_quotas = cells is not None
        if self.by_quotas:
            _, cells, faces = np.unique(cells, return_inverse=True, return_counts=True)
            _, self.cells = np.unique(np.where(faces[cells] > 1, cells, -1), return_inverse=True)
            pairs = self.cells * n_groups + labels
            counts = np.bincount(pairs, minlength=(self.cells.max() + 1) * n_groups)
            counts = counts.reshape(-1, n_groups)
            self.faces = counts.sum(axis=1)
            self.rates = counts / self.faces[:, None]

    def covariance(self, shown):
        """Of the measured shares, where the classifier would show these on average."""
        if not self.by_quotas:
            return spread(shown) / self.n
        # as for any variance: what is left after a mean was fitted is too small by (n - 1) / n
        weights = self.faces**2 / np.maximum(self.faces - 1, 1) / self.n**2
        return np.tensordot(weights, spread(self.rates), 1)

    def residuals(self):
        """Each face's label, as zeros and a one, less what was to be expected of it."""
        expected = self.rates[self.cells] if self.by_quotas else self.measured
        return np.eye(self.n_groups)[self.labels] - expected


class Labelling:
    """How a classifier shows true shares, and how far chance carries what is made of them.

    Parameters
    ----------
    rates : ndarray, shape (n_groups, n_groups), P(predicted | true), or None for no correction
    n_true : ndarray, shape (n_groups,), or None
        Held-out faces behind every row of the rates; None: rates are known exactly.
    """

    def __init__(self, n_groups, rates=None, n_true=None):
        self.corrects = rates is not None
        self.rates = rates if self.corrects else np.eye(n_groups)
        self.inverse = np.linalg.inv(rates) if self.corrects else self.rates
        self.row_noise = np.zeros((n_groups, n_groups, n_groups))
        if n_true is not None:
            # one more face, spread evenly: an error not yet seen in a few faces is not impossible
            smooth = (rates * n_true[:, None] + 1 / n_groups) / (n_true[:, None] + 1)
            self.row_noise = spread(smooth) / n_true[:, None, None]

    def shares(self, measured):
        """Measured shares, corrected if there are rates."""
        return project_to_simplex(measured @ self.inverse) if self.corrects else measured

    def covariance(self, true, labels):
        """Of corrected shares at these true ones, for labels of that covariance."""
        of_rates = np.tensordot(true**2, self.row_noise, 1)
        return self.inverse.T @ (labels + of_rates) @ self.inverse

    def redrawn(self, measured, true, rng):
        """Corrected shares of draws at these true ones, under rates that are drawn anew as well."""
        if self.row_noise.any():
            of_rates = np.tensordot(true**2, self.row_noise, 1)
            measured = measured - rng.standard_normal(measured.shape) @ root_of(of_rates).T
        return self.shares(measured)


def without_chance(squared, lift):
    """Distance whose square chance has lifted: the root of what is left.

    Where chance explains more than all of it, a little below 0: such draws keep an order, and
    none looks farther from a distance of 0 than one that was lifted less than expected.
    """
    left = squared - lift
    return np.sqrt(np.maximum(left, 0)) - 0.1 * np.sqrt(np.maximum(-left, 0))


def invert_distance(sampling, target, labelling, confidence, normals):
    """Interval of the distance of true shares from the target, and its estimate.

    Every distance is tested on the ray from the target through the measured shares: would faces
    of such a generator, measured in the same way, stray from the distance as far as ours did in
    more than 1 - `confidence` of all draws? The interval holds those that would. At a distance of
    0 only draws that are too far count, so the lower end can be 0.

    Parameters
    ----------
    sampling : Sampling
    target : ndarray, shape (n_groups,)
    labelling : Labelling
    confidence : float
    normals : ndarray, shape (n_groups, n_draws)
        Standard normal draws, the same for every distance, so that its test changes smoothly.

    Returns
    -------
    low, estimate, high : float
        The estimate is the measured distance less what chance adds to it, at least 0.
    """
    found = labelling.shares(sampling.measured)
    squared = np.sum((found - target) ** 2)
    # where nothing was measured in any direction: toward the group wanted least
    ray = found - target if squared > 0 else np.eye(len(target))[target.argmin()] - target
    ray = ray / max(np.linalg.norm(ray), 1e-300)

    def at(step):
        return project_to_simplex(target + step * ray) if step else target

    def distance(step):
        return float(np.linalg.norm(at(step) - target))

    def draws(step):
        true = at(step)
        covariance = labelling.covariance(true, sampling.covariance(true @ labelling.rates))
        drawn = true[:, None] + root_of(covariance) @ normals
        outside = (drawn < 0).any(axis=0)  # few, as a rule
        if labelling.corrects and outside.any():
            drawn[:, outside] = project_to_simplex(drawn[:, outside].T).T
        return ((drawn - target[:, None]) ** 2).sum(axis=0)

    limit = ndtri((1 + confidence) / 2)

    def strain(step):
        """How far we stray, in standard deviations, less what is allowed: 0 at an end."""
        drawn, wanted = draws(step), distance(step)
        lift = drawn.mean() - wanted**2
        ours = abs(without_chance(squared, lift) - wanted)
        # a step is its own estimate where both agree to rounding
        as_far = np.sum(abs(without_chance(drawn, lift) - wanted) >= ours - 1e-12)
        # our own faces are one more draw (Davison and Hinkley, 1997, section 4.2)
        return -ndtri((as_far + 1) / (len(drawn) + 1) / 2) - limit

    def end(reach, last):
        """The step from the estimate, this far or farther, up to the last, at which strain is 0."""
        inside, eased, outside = middle, -limit, middle + reach
        while (strained := strain(outside)) <= 0:
            if abs(outside - middle) >= abs(last - middle):
                return last
            inside, eased, reach = outside, strained, 2 * reach
            outside = middle + reach if abs(reach) < abs(last - middle) else last
        for _ in range(20):  # regula falsi: strain is nearly linear
            step = inside - eased * (outside - inside) / (strained - eased)
            found = strain(step)
            if abs(found) < NEAR:
                break
            # Illinois: a side that stays is halved, lest all steps come from the other
            if found > 0:
                outside, strained, eased = step, found, eased / 2
            else:
                inside, eased, strained = step, found, strained / 2
        return step

    drawn = draws(np.sqrt(squared))
    lift = drawn.mean() - distance(np.sqrt(squared)) ** 2
    middle = np.sqrt(max(squared - lift, 0))
    reach = 1.2 * limit * max(np.sqrt(drawn).std(), 1e-6)
    low = end(-min(reach, middle), 0.0) if middle > 0 else 0.0
    return distance(low), distance(middle), distance(end(reach, FARTHEST))


def join_intervals(a, b, target, labelling, confidence, normals):
    """Interval of the difference of two distances that were measured on pairs of faces.

    Each end joins the distances' own intervals, which know of the border at 0, by how much the
    pairs make the two rise and fall together (Zou and Donner, Stat. Med. 2008).
    """
    ways, ends = [], []
    for sampling in (a, b):
        found = labelling.shares(sampling.measured)
        gap = labelling.inverse @ (found - target)
        # what every face, and every held-out face, moves the distance by
        faces = sampling.residuals() @ gap / sampling.n
        rows = found[:, None] * (gap @ root_of(labelling.row_noise))
        ways.append(np.concatenate([faces, rows.ravel()]))
        ends.append(invert_distance(sampling, target, labelling, confidence, normals))
    lengths = [np.linalg.norm(way) for way in ways]
    correlation = ways[0] @ ways[1] / np.prod(lengths) if min(lengths) > 0 else 0.0
    (low_a, fd_a, high_a), (low_b, fd_b, high_b) = ends

    def reach(one, other):
        return float(np.sqrt(max(one**2 + other**2 - 2 * correlation * one * other, 0)))

    difference = fd_a - fd_b
    low = difference - reach(fd_a - low_a, high_b - fd_b)
    return low, difference + reach(high_a - fd_a, fd_b - low_b)
