"""Audit: run a method on a world and put numbers on it. Ties measure, localize and judge."""

import time
from dataclasses import dataclass

import numpy as np

from fairgen_utils.fairness import (
    check_count,
    check_shares,
    check_target,
    fairness_discrepancy,
    shares,
)
from fairgen_utils.generate import decode, sample_localized, sample_plain
from fairgen_utils.localize import component_table, solve_weights
from fairgen_utils.quality import frechet_distance, kernel_distance
from fairgen_utils.subspace import mixture_for
from fairgen_utils.uncertainty import bootstrap_interval, correct_shares, noise_floor
from fairgen_utils.worlds import Predictions


@dataclass
class Sample:
    """Generated faces and what is known of them.

    Attributes
    ----------
    images : ndarray, shape (n, height, width, 3), uint8
    predictions : Predictions
    components : ndarray, shape (n,), int64, or None
        The mixture component each face started from; None for plain sampling.
    seconds : float
        Wall time of denoising and decoding, without the classifier.
    """

    images: np.ndarray
    predictions: Predictions
    components: np.ndarray | None
    seconds: float

    def __len__(self):
        return len(self.images)

    @property
    def faces_per_second(self):
        return len(self) / self.seconds


def generate(world, n, seed, mixture=None, weights=None, timestep=None, progress=True):
    """Generate faces with a world's recommended settings, and classify them once.

    Parameters
    ----------
    world : World
    n : int
    seed : int
    mixture : LatentMixture or LowFrequencyMixture, optional
        Start from this mixture at `timestep`. Plain sampling from pure noise when omitted.
    weights : array_like, shape (n_components,), optional
    timestep : int, optional
        The world's recommended one when omitted.

    Returns
    -------
    Sample
    """
    started = time.perf_counter()
    steps = world.num_inference_steps
    if mixture is None:
        latents, components = sample_plain(world.pipeline, n, seed, steps, progress=progress), None
    else:
        timestep = world.timestep if timestep is None else timestep
        latents, components = sample_localized(
            world.pipeline, mixture, n, timestep, seed, weights, steps, progress=progress
        )
    images = decode(world.pipeline, latents, progress=progress)
    seconds = time.perf_counter() - started
    return Sample(images, world.classify(images), components, seconds)


def localized_mixture(world, attribute, n_components=1):
    """An attribute-localized mixture: `n_components` Gaussians for each group that occurs."""
    latents, labels = world.latents()
    mixture = mixture_for(latents.shape[1:], n_components)
    return mixture.fit(latents, world.joint(labels, attribute))


def pilot_weights(
    world, mixture, attribute, target, per_component, seed, timestep=None, progress=True
):
    """Component weights solved on a pilot of generated faces, whose shares really hold.

    Denoising pulls faces back toward the majority, so a table counted on training latents
    promises too much. Here every component makes `per_component` faces at the timestep that will
    be used, the classifier labels them, and the weights are solved on *that* table.

    Parameters
    ----------
    world : World
    mixture : LatentMixture
    attribute : str, or list of str
        Several goals at once are a list: ``["gender,race", "age"]`` wants gender and race even
        jointly, and age, whoever has it.
    target : array_like, shape (n_groups,), or list of them
    per_component : int
    seed : int
    timestep : int, optional

    Returns
    -------
    weights : ndarray, shape (n_components,)
    table : ndarray, shape (n_components, n_groups), or list of them
        Counts of the pilot.
    pilot : Sample
        Never judge a method on these faces: its weights were fitted to them.
    """
    goals = [attribute] if isinstance(attribute, str) else attribute
    targets = [target] if isinstance(attribute, str) else target
    for goal, wanted in zip(goals, targets, strict=True):  # before minutes of work
        check_target(wanted, len(world.groups(goal)))
    k = len(mixture.weights_)
    n = k * check_count(per_component, "per_component")
    pilot = generate(world, n, seed, mixture, np.full(k, 1 / k), timestep, progress)
    tables = [
        component_table(
            pilot.components, world.joint(pilot.predictions.labels, a), k, len(world.groups(a))
        )
        for a in goals
    ]
    confusions = [world.confusion(a) for a in goals]
    if isinstance(attribute, str):
        return solve_weights(tables[0], target, confusions[0]), tables[0], pilot
    return solve_weights(tables, list(target), confusions), tables, pilot


def own_group_rate(world, mixture, sample, attribute):
    """Share of faces that end in the group their component stands for.

    Beside it belongs the rate at which the classifier recognises *real* faces of each group, the
    mean diagonal of its confusion matrix: a generator need not, and should not, do better.
    """
    labels = world.joint(sample.predictions.labels, attribute)
    return float((labels == mixture.cells_[sample.components]).mean())


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


def audit_fairness(world, predictions, attribute, target=None, seed=0):
    """Fairness discrepancy of generated faces, with everything needed to read it.

    Parameters
    ----------
    world : World
    predictions : Predictions
    attribute : str
        One attribute, or several jointly: ``"gender,ancestry"``.
    target : array_like, optional
        Wanted shares; uniform when omitted.
    seed : int
        For the bootstrap and the noise floor.

    Returns
    -------
    dict
        ``n``; ``fd`` of the classifier's labels with its 95 % bootstrap interval ``fd_low``,
        ``fd_high``; ``fd_corrected`` for the classifier's error, with its interval; and
        ``fd_floor95``: the 95th percentile of `fd_corrected` for a generator exactly at the
        target. Faces that the classifier itself selected are not measured by this correction:
        see `posterior_shares`.
    """
    groups = world.groups(attribute)
    k = len(groups)
    target = np.full(k, 1 / k) if target is None else check_shares(target, "target", k)
    labels, confusion = world.joint(predictions.labels, attribute), world.confusion(attribute)
    measured = shares(labels, k)

    def both(drawn):
        corrected = correct_shares(drawn, confusion)
        return np.stack([fairness_discrepancy(s, target) for s in (drawn, corrected)], -1)

    fd, fd_corrected = both(measured)
    intervals = bootstrap_interval(labels, both, k, seed=seed)
    return {
        "n": len(labels),
        "fd": fd,
        "fd_low": intervals[0, 0],
        "fd_high": intervals[0, 1],
        "fd_floor95": noise_floor(len(labels), target, k, confusion, quantile=0.95, seed=seed),
        "fd_corrected": fd_corrected,
        "fd_corrected_low": intervals[1, 0],
        "fd_corrected_high": intervals[1, 1],
    }


def audit_quality(world, predictions, seed=0):
    """Frechet and kernel distance to the balanced reference: ``ffd`` and ``kid``.

    ``kid`` needs the reference's individual features; it is NaN where only statistics may be
    published.
    """
    reference = world.reference()
    kid = float("nan")
    if "features" in reference:
        kid = kernel_distance(predictions.features, reference["features"], seed)
    ffd = frechet_distance(predictions.features, reference["mean"], reference["covariance"])
    return {"ffd": ffd, "kid": kid}


def audit_groups(world, predictions, attribute, n):
    """Frechet distance of each group's faces to the reference faces of that same group.

    A method could be even by making one group's faces badly; this would show it.

    Parameters
    ----------
    n : int
        Faces taken of each group, the first ones. The distance depends on it: compare methods at
        the same n only.

    Returns
    -------
    dict of str to float
        By group; NaN where there are fewer than `n` faces.
    """
    check_count(n, "n", least=2)
    labels = world.joint(predictions.labels, attribute)
    moments = world.group_moments(attribute)
    found = {}
    for g, group in enumerate(world.groups(attribute)):
        features = predictions.features[labels == g][:n]
        enough = len(features) == n
        found[group] = frechet_distance(features, *moments[g]) if enough else float("nan")
    return found


def within_group_variance(world, predictions):
    """How varied faces of one group are: total variance of features over that of real faces.

    Averaged over the groups of the target's first attribute; those with fewer than two faces are
    left out. Below 1, faces of a group are more alike than real ones.

    Returns
    -------
    float
    """
    name = world.names(world.target)[0]
    ratios = []
    for g, (_, covariance) in enumerate(world.group_moments(name)):
        features = predictions.features[predictions.labels[name] == g]
        if len(features) > 1:
            ratios.append(np.var(features, axis=0).sum() / np.trace(covariance))
    return float(np.mean(ratios))
