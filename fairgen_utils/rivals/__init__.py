"""Peers: every way to make faces that the course compares, behind one small interface.

`prepare` fits what a method needs, once; the `Method` it returns makes clean latents from seeds
and knows what a face costs. Each peer is written in its simplest honest form.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from tqdm import tqdm

from fairgen_utils._checks import check_count, check_target
from fairgen_utils.generate import (
    decode,
    denoise,
    invert,
    latent_shape,
    pilot_weights,
    sample_localized,
    sample_plain,
    start_timestep,
)
from fairgen_utils.judge import audit_fairness
from fairgen_utils.localize import component_table, localized_mixture, solve_weights
from fairgen_utils.models.classifier import FaceClassifier
from fairgen_utils.models.mixture import LatentMixture
from fairgen_utils.rivals.guidance import classifier_direction, fit_bottleneck, steered

METHODS = (
    "plain",
    "uniform",
    "kmeans",
    "clean",
    "inverted",
    "bottleneck",
    "guidance",
    "on_the_fly",
    "table",
    "pilot",
    "localized",
    "localized_pilot",
    "overshoot",
    "goals",
)


N_COMPONENTS = 32


STRENGTHS = (250.0, 500.0, 1000.0, 2000.0, 4000.0)  # of distribution guidance


@dataclass
class Method:
    """A prepared way to make faces.

    Attributes
    ----------
    name : str
    draw : callable
        ``draw(n, seed)`` gives clean latents, shape (n, channels, height, width), float32.
    calls : float
        Calls of the U-Net for each face drawn.
    preparation : float
        Calls of the U-Net that preparing it took, once.
    timestep : int
        Where denoising starts; 0 where there is none.
    mixture : LatentMixture, optional
    weights : ndarray, shape (n_components,), optional
    strength : float, optional
        Of guidance.
    """

    name: str
    draw: Callable
    calls: float
    preparation: float = 0.0
    timestep: int = 0
    mixture: object = None
    weights: np.ndarray | None = None
    strength: float | None = None


def even(world, attribute):
    """The uniform target of an attribute, or of several jointly: shape (n_groups,)."""
    groups = len(world.groups(attribute))
    return np.full(groups, 1 / groups)


def left_out(world):
    """Cell attributes that are no part of the world's target."""
    return [name for name in world.cell_attributes if name not in world.target.split(",")]


def prepare(world, name, pilot_faces=4800, seed=20_000, progress=True):
    """Fit what a method needs on a world, with the world's target made even.

    Parameters
    ----------
    world : World
    name : str
        One of `METHODS`:

        - ``plain``: noise, and the whole schedule.
        - ``uniform``: mixture components found without labels, all alike (the published recipe).
        - ``kmeans``: clusters in place of found components, weights fitted to a pilot.
        - ``clean``: a mixture per attribute cell in clean latent space, decoded as it is.
        - ``inverted``: a Gaussian per cell over latents inverted to pure noise.
        - ``bottleneck``: heads on the U-Net's bottleneck steer each batch to the target.
        - ``guidance``: the classifier's gradient steers each face to a cell drawn for it.
        - ``on_the_fly``: a pool denoised part of the way, then thinned to an even one.
        - ``table``, ``pilot``: as ``uniform``, with weights fitted to training latents or pilot.
        - ``localized``, ``localized_pilot``, ``overshoot``: a Gaussian per attribute cell; all
          alike; weights fitted to a pilot; means moved outward as well.
        - ``goals``: as ``overshoot``, with attributes left out of the target a second goal.
    pilot_faces : int
        Faces generated to fit weights, where a method does.
    seed : int

    Returns
    -------
    Method

    Raises
    ------
    ValueError
        If there is no such method, or it has no use on this world.
    """
    if name not in METHODS:
        raise ValueError(f"name: there is no method {name!r}; choose from {', '.join(METHODS)}")
    if name == "goals" and not left_out(world):
        raise ValueError(f"name: 'goals' has no use: the target of {world.name} leaves nothing out")
    if name == "guidance" and not isinstance(world.classifier, FaceClassifier):
        raise ValueError(
            "name: 'guidance' follows the gradient of a course's classifier through the decoder; "
            f"{world.name} has a {type(world.classifier).__name__} in its place"
        )
    other = {
        "plain": _plain,
        "clean": _clean,
        "inverted": _inverted,
        "bottleneck": _bottleneck,
        "guidance": _guidance,
        "on_the_fly": _on_the_fly,
    }
    if name in other:
        return other[name](world, seed, progress)
    return _mixture_method(world, name, pilot_faces, seed, progress)


def _steps_from(world, timestep):
    """The schedule's own timestep nearest to the wanted one, and the steps left from there."""
    steps = world.num_inference_steps
    timestep, index = start_timestep(world.pipeline, timestep, steps)
    return timestep, steps - index


def _last(world):
    return world.pipeline.scheduler.config.num_train_timesteps - 1


def _plain(world, seed, progress):
    timestep, calls = _steps_from(world, _last(world))

    def draw(n, seed):
        return sample_plain(world.pipeline, n, seed, calls, progress=progress)

    return Method("plain", draw, calls, timestep=timestep)


def _mixture_method(world, name, pilot_faces, seed, progress):
    """The methods that start from a mixture noised to the world's timestep."""
    mixture = _start_mixture(world, name, seed)
    k = len(mixture.weights_)
    timestep, calls = _steps_from(world, world.timestep)
    weights, preparation = np.full(k, 1 / k), 0.0
    if name == "table":
        latents, labels = world.latents()
        cells = world.joint(labels, world.target)
        target = even(world, world.target)
        table = component_table(mixture.predict_proba(latents), cells, k, len(target))
        weights = solve_weights(table, target, world.confusion(world.target))
    elif name not in ("uniform", "localized"):
        goals = [world.target, *left_out(world)] if name == "goals" else world.target
        one = isinstance(goals, str)
        targets = even(world, goals) if one else [even(world, goal) for goal in goals]
        per_component = pilot_faces // k
        weights, _, _ = pilot_weights(
            world, mixture, goals, targets, per_component, seed, progress=progress
        )
        preparation = float(calls * per_component * k)

    def draw(n, seed):
        steps = world.num_inference_steps
        return sample_localized(
            world.pipeline, mixture, n, timestep, seed, weights, steps, progress=progress
        )[0]

    return Method(name, draw, calls, preparation, timestep, mixture, weights)


def _start_mixture(world, name, seed):
    if name in ("localized", "localized_pilot"):
        return localized_mixture(world, world.target)
    if name == "overshoot":
        return localized_mixture(world, world.target).overshoot(world.overshoot)
    if name == "goals":
        return localized_mixture(world, ",".join(world.cell_attributes)).overshoot(world.overshoot)
    latents, _ = world.latents()
    if name == "kmeans":
        return LatentMixture().fit(latents, cluster(latents, N_COMPONENTS, seed))
    return LatentMixture(N_COMPONENTS).fit(latents)


def cluster(latents, n_clusters, seed, n_dimensions=48):
    """K-means in the leading principal components: the cluster of every latent, shape (n,)."""
    flat = np.reshape(latents, (len(latents), -1))
    projected = PCA(n_dimensions, svd_solver="randomized", random_state=seed).fit_transform(flat)
    clusters = KMeans(n_clusters, n_init=4, random_state=seed).fit_predict(projected)
    return clusters.astype(np.int64)


def _clean(world, seed, progress):
    """A mixture of four per cell, sampled and decoded: no denoising at all.

    Tan et al., "Improving the Fairness of Deep Generative Models without Retraining", arXiv
    2012.04842, did so in a GAN's latent space, whose generator takes such samples as they are.
    """
    latents, labels = world.latents()
    mixture = LatentMixture(4, seed=seed).fit(latents, world.joint(labels, world.target))
    weights = even_over_cells(mixture)
    return Method(
        "clean", lambda n, seed: mixture.sample(n, seed, weights)[0], 0.0, 0.0, 0, mixture, weights
    )


def even_over_cells(mixture):
    """Component weights that give every cell the same share, kept in proportion within a cell."""
    weights = np.array(mixture.weights_, float)
    for cell in np.unique(mixture.cells_):
        weights[mixture.cells_ == cell] /= weights[mixture.cells_ == cell].sum()
    return weights / weights.sum()


def _inverted(world, seed, progress, most=300):
    """The negative control: at the far end everything is noise, and nothing is left to localize."""
    latents, cells = _some_of_each(world, most, seed)
    noise = invert(world.pipeline, latents, world.num_inference_steps, progress=progress)
    mixture = LatentMixture(seed=seed).fit(noise, cells)
    weights = even_over_cells(mixture)
    timestep, calls = _steps_from(world, _last(world))

    def draw(n, seed):
        start = mixture.sample(n, seed, weights)[0]
        steps = world.num_inference_steps
        return denoise(world.pipeline, start, timestep, steps, seed, progress=progress)

    spent = float(calls * len(latents))
    return Method("inverted", draw, calls, spent, timestep, mixture, weights)


def _some_of_each(world, most, seed):
    """Latents of at most `most` faces of every cell of the target, and their cells."""
    latents, labels = world.latents()
    cells = world.joint(labels, world.target)
    order = np.random.default_rng(seed).permutation(len(cells))
    kept = [order[cells[order] == cell][:most] for cell in np.unique(cells)]
    kept = np.sort(np.concatenate(kept))
    return latents[kept], cells[kept]


def _on_the_fly(world, seed, progress, pool=4):
    """Denoise `pool` times as many as wanted, localize, keep an even choice, and go on."""
    mixture = localized_mixture(world, world.target)
    target = even(world, world.target)
    timestep, remaining = _steps_from(world, world.timestep)
    first, steps = _steps_from(world, _last(world))
    noisy = mixture.push_forward(float(world.pipeline.scheduler.alphas_cumprod[timestep]))

    def draw(n, seed):
        shape = (pool * n, *latent_shape(world.pipeline))
        noise = np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)
        half_way = denoise(
            world.pipeline, noise, first, steps, seed, progress=progress, until=timestep
        )
        responsibilities = cell_responsibilities(noisy, half_way, len(target))
        kept = choose_evenly(responsibilities, target, n, seed)
        return denoise(world.pipeline, half_way[kept], timestep, steps, seed, progress=progress)

    calls = pool * (steps - remaining) + remaining
    return Method("on_the_fly", draw, calls, timestep=first, mixture=mixture)


def cell_responsibilities(mixture, latents, n_cells, batch_size=1000):
    """Probability of every cell given each latent: shape (n, n_cells)."""
    starts = range(0, len(latents), batch_size)
    parts = [mixture.predict_proba(latents[start : start + batch_size]) for start in starts]
    return np.concatenate(parts) @ np.eye(n_cells)[mixture.cells_]


def choose_evenly(responsibilities, target, n, seed):
    """The `n` of a pool that fill quotas drawn from `target`, those surest of their cell first.

    Parameters
    ----------
    responsibilities : ndarray, shape (pool, n_cells)
    target : array_like, shape (n_cells,)
    n : int, at most the pool
    seed : int

    Returns
    -------
    ndarray of int, shape (n,)
        Different positions in the pool, in rising order.
    """
    target = check_target(target, responsibilities.shape[1])
    if check_count(n, "n") > len(responsibilities):
        raise ValueError(f"n: found {n} for a pool of {len(responsibilities)}; give a larger pool")
    quotas = np.random.default_rng(seed).multinomial(n, target)
    free, kept = np.ones(len(responsibilities), bool), []
    # the rarest first: what is left suffices for those whom the pool has plenty of
    for cell in np.argsort(responsibilities.sum(0)):
        order = np.argsort(-np.where(free, responsibilities[:, cell], -1), kind="stable")
        chosen = order[: quotas[cell]]
        free[chosen] = False
        kept.append(chosen)
    return np.sort(np.concatenate(kept))


def _guidance(world, seed, progress, strength=2.0, batch_size=64):
    """Classifier guidance on the predicted clean image, every face toward a cell drawn for it."""
    timestep, steps = _steps_from(world, _last(world))
    target = even(world, world.target)
    names = world.names(world.target)
    sizes = [len(world.attributes[name]) for name in names]

    def draw(n, seed):
        rng = np.random.default_rng(seed)
        noise = rng.standard_normal((n, *latent_shape(world.pipeline)), dtype=np.float32)
        cells = rng.choice(len(target), n, p=target)
        clean = []
        for start in tqdm(range(0, n, batch_size), desc="guiding", disable=not progress):
            batch = slice(start, start + batch_size)
            groups = dict(zip(names, np.unravel_index(cells[batch], sizes), strict=True))

            def toward(predicted, groups=groups):
                return predicted + strength * classifier_direction(world, predicted, groups)

            clean.append(
                denoise(
                    world.pipeline, noise[batch], timestep, steps, progress=False, adjust=toward
                )
            )
        return np.concatenate(clean)

    return Method("guidance", draw, steps, timestep=timestep, strength=strength)


def _bottleneck(world, seed, progress, pilot_faces=400, batch_size=100):
    """Distribution guidance: each batch's bottleneck is moved until its cells look even.

    Parihar et al., "Balancing Act: Distribution-Guided Debiasing in Diffusion Models", CVPR 2024.
    Their heads are trained networks, ours are linear discriminants; and our strength is the one
    whose pilot comes out most even.
    """
    timestep, steps = _steps_from(world, _last(world))
    latents, cells = _some_of_each(world, 200, seed)
    shares = np.bincount(world.joint(world.latents()[1], world.target)) / len(world.latents()[0])
    heads = fit_bottleneck(world.pipeline, latents, cells, shares, steps, seed, progress)
    target = torch.as_tensor(even(world, world.target), dtype=torch.float32)

    def draw(n, seed, strength):
        shape = (n, *latent_shape(world.pipeline))
        noise = np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)
        with steered(world.pipeline.unet, heads, target, strength):
            return denoise(
                world.pipeline, noise, timestep, steps, seed, batch_size, progress=progress
            )

    discrepancies = []
    for strength in STRENGTHS:
        images = decode(world.pipeline, draw(pilot_faces, seed, strength), progress=progress)
        fairness = audit_fairness(world, world.classify(images), world.target)
        discrepancies.append(fairness["fd_corrected"])
    best = STRENGTHS[int(np.argmin(discrepancies))]
    spent = float(steps * (len(latents) + pilot_faces * len(STRENGTHS)))
    return Method(
        "bottleneck", lambda n, seed: draw(n, seed, best), steps, spent, timestep, strength=best
    )
