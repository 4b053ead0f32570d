"""Rivals: every other way to make faces, behind the same Sampler.

`prepare` fits what a method needs, once. Each rival is written in its simplest honest form.
"""

import numpy as np

from fairgen_utils.generate import Sampler, recommended_sampler
from fairgen_utils.localize import fit_weights, localize_mixture
from fairgen_utils.models.classifier import FaceClassifier
from fairgen_utils.rivals.bottleneck import bottleneck_sampler
from fairgen_utils.rivals.classifier_guidance import ClassifierGuidance
from fairgen_utils.rivals.selection import OnTheFly
from fairgen_utils.rivals.starts import clean_sampler, found_sampler, inverted_sampler

METHODS = (
    *("plain", "uniform", "kmeans", "clean", "inverted", "bottleneck", "guidance", "on_the_fly"),
    *("table", "pilot", "localized", "localized_pilot", "overshoot", "goals"),
    *("guided", "guided_pilot", "guided_goals", "guided_goals_pilot"),
)
PILOT_FACES, PILOT_SEED = 2400, 20_000


def even(world, attribute):
    """The uniform target of an attribute, or of several jointly: shape (n_groups,)."""
    groups = len(world.groups(attribute))
    return np.full(groups, 1 / groups)


def left_out(world):
    """Cell attributes that are no part of the world's target."""
    return [name for name in world.cell_attributes if name not in world.target]


def prepare(world, name, pilot_faces=PILOT_FACES, seed=PILOT_SEED, progress=True):
    """A sampler of faces by a method, with the world's target made even.

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
        - ``guidance``: the classifier's gradient steers each face to a cell, chosen by quotas.
        - ``on_the_fly``: a pool denoised part of the way, then thinned to an even one.
        - ``table``, ``pilot``: as ``uniform``, with weights fitted to training latents or pilot.
        - ``localized``, ``localized_pilot``, ``overshoot``: a Gaussian per attribute cell; all
          alike; weights fitted to a pilot; means extrapolated as well.
        - ``goals``: as ``overshoot``, with attributes left out of the target a second goal.
        - ``guided``: plain sampling, guided by a mixture with a tied covariance; ``guided_pilot``:
          its quotas trimmed by a pilot; ``guided_goals``, ``guided_goals_pilot``: to the cells of
          all cell attributes.
    pilot_faces : int
        Faces generated to fit weights, where a method does.
    seed : int
        Of the pilot.

    Returns
    -------
    Sampler

    Raises
    ------
    ValueError
        If there is no such method, or it has no use on this world.
    """
    if name not in METHODS:
        raise ValueError(f"name: there is no method {name!r}; choose from {', '.join(METHODS)}")
    if "goals" in name and not left_out(world):
        raise ValueError(f"name: {name!r} has no use: the target of {world.name} is everything")
    if name == "guidance" and not isinstance(world.classifier, FaceClassifier):
        raise ValueError(
            "name: 'guidance' follows the gradient of a course's classifier through the decoder; "
            f"{world.name} has a {type(world.classifier).__name__} in its place"
        )
    if name == "bottleneck" and getattr(world.pipeline.unet, "mid_block", None) is None:
        raise ValueError(
            "name: 'bottleneck' moves what is in the middle of a U-Net; "
            f"{type(world.pipeline.unet).__name__} has no mid_block"
        )
    target = even(world, world.target)
    if name == "plain":
        return Sampler(world)
    if name == "clean":
        return clean_sampler(world, seed)
    if name == "inverted":
        return inverted_sampler(world, seed, progress)
    if name == "bottleneck":
        return bottleneck_sampler(world, target, seed, progress)
    if name == "guidance":
        return ClassifierGuidance(world, target)
    if name == "on_the_fly":
        return OnTheFly(world, target)
    if name in ("uniform", "table", "pilot", "kmeans"):
        sampler = found_sampler(world, name, seed)
    elif name.startswith("guided"):
        everything = world.cell_attributes if "goals" in name else world.target
        sampler = recommended_sampler(world, everything)
    else:
        everything = world.cell_attributes if name == "goals" else world.target
        start = localize_mixture(world, everything)
        if name in ("overshoot", "goals"):
            start = start.extrapolate_means(world.extrapolation)
        k = len(start.weights_)
        sampler = Sampler(world, start=start, weights=np.full(k, 1 / k))
    sampler.name = name
    if name.endswith("pilot") or name in ("kmeans", "overshoot", "goals"):
        return fitted_to_pilot(sampler, pilot_faces, seed, "goals" in name, progress)
    return sampler


def fitted_to_pilot(sampler, pilot_faces, seed, goals=False, progress=True):
    """The sampler with weights that made the world's target even in a pilot of its own faces.

    Parameters
    ----------
    sampler : Sampler
    pilot_faces : int
        Spread evenly over components or cells.
    seed : int
    goals : bool
        The attributes that the target leaves out are goals as well, each by itself.
    """
    world = sampler.world
    attribute = [world.target, *left_out(world)] if goals else world.target
    target = [even(world, goal) for goal in attribute] if goals else even(world, attribute)
    each = max(pilot_faces // len(sampler.weights), 1)
    weights, _, pilot = fit_weights(sampler, attribute, target, each, seed, progress)
    return sampler.with_weights(weights, preparation=sampler.nfe * len(pilot))
