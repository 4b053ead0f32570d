"""Bad values are refused before minutes of work, by us, in a message that names the argument.

Everything that takes a world: generators, samplers, rivals, audits, orders.
"""

import warnings

import numpy as np
import pytest
import torch
from bad_inputs import (
    CALM,
    FITTED,
    LATENTS,
    THIRDS,
    TIED,
    attributes,
    counts,
    labels,
    latents,
    pictures,
    refused,
    seeds,
    shares,
    timesteps,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from fairgen_utils import judge, localize, parse_target
from fairgen_utils.apps.order import Order, plan
from fairgen_utils.apps.shards import generate_sharded
from fairgen_utils.generate import Sampler, recommended_sampler
from fairgen_utils.load import load_world
from fairgen_utils.models.diffusion import decode, denoise, encode
from fairgen_utils.models.own_world import own_world
from fairgen_utils.models.world import Predictions
from fairgen_utils.rivals import bottleneck, classifier_guidance, prepare
from fairgen_utils.rivals.starts import invert

# what needs a world: name -> what is called with the world and a bad value
WITH_WORLD = {
    "groups": (lambda world, bad: world.groups(bad), attributes, "attribute"),
    "confusion": (lambda world, bad: world.confusion(bad), attributes, "attribute"),
    "training_shares": (lambda world, bad: world.training_shares(bad), attributes, "attribute"),
    "classify": (lambda world, bad: world.classify(bad), pictures(), "images"),
    "draw": (lambda world, bad: Sampler(world).draw(bad, 0), counts, "n"),
    "draw, seed": (lambda world, bad: Sampler(world).draw(2, bad), seeds, "seed"),
    "draw, first_batch": (
        lambda world, bad: Sampler(world).draw(2, 0, first_batch=bad),
        counts.filter(lambda bad: bad != 0),
        "first_batch",
    ),
    "latents": (lambda world, bad: Sampler(world).latents(bad, 0), counts, "n"),
    "steps": (
        lambda world, bad: Sampler(world, num_inference_steps=bad),
        counts.filter(lambda bad: bad is not None),
        "num_inference_steps",
    ),
    "sampler, batch_size": (
        lambda world, bad: Sampler(world, batch_size=bad),
        counts,
        "batch_size",
    ),
    "sampler, weights of components": (
        lambda world, bad: Sampler(world, start=FITTED, weights=bad),
        shares(),
        "weights",
    ),
    "sampler, weights of cells": (
        lambda world, bad: Sampler(world, guide=TIED, weights=bad),
        shares(),
        "weights",
    ),
    "with_weights": (
        lambda world, bad: Sampler(world, guide=TIED).with_weights(bad),
        shares(),
        "weights",
    ),
    "strength": (
        lambda world, bad: Sampler(world, guide=TIED, strength=bad),
        st.sampled_from([-1, -1e-9, np.nan, np.inf, "strong", [1, 2], [4]]),
        "strength",
    ),
    "first_guided_step": (
        lambda world, bad: Sampler(world, guide=TIED, first_guided_step=bad),
        st.one_of(st.integers(-9, -1), st.sampled_from([0.5, "2", [1]])),
        "first_guided_step",
    ),
    "assignment": (
        lambda world, bad: Sampler(world, guide=TIED, assignment=bad),
        st.sampled_from(["", "Nearest", "optimal", None, 1, ["nearest"]]),
        "assignment",
    ),
    "same_face, cells": (
        lambda world, bad: Sampler(world, guide=TIED).same_face(0, cells=bad),
        labels().filter(lambda bad: bad is not None),
        "cells",
    ),
    "same_face, index": (
        lambda world, bad: Sampler(world, guide=TIED).same_face(0, bad),
        counts.filter(lambda bad: bad != 0),
        "index",
    ),
    "same_face, seed": (
        lambda world, bad: Sampler(world, guide=TIED).same_face(bad),
        seeds,
        "seed",
    ),
    "recommended_sampler": (recommended_sampler, attributes, "attribute"),
    "recommended_sampler, target": (
        lambda world, bad: recommended_sampler(world, "ancestry", bad),
        shares(),
        "target",
    ),
    "decode": (lambda world, bad: decode(world.pipeline, bad), latents(), "latents"),
    "encode": (
        lambda world, bad: encode(world.pipeline, bad),
        pictures().filter(lambda bad: np.shape(bad)[1:] != (3, 64, 64)),
        "images",
    ),
    "denoise": (
        lambda world, bad: denoise(world.pipeline, bad, 500, 5, 0),
        latents(),
        "latents",
    ),
    "invert": (lambda world, bad: invert(world.pipeline, bad, 2), latents(), "latents"),
    "localize_mixture": (localize.localize_mixture, attributes, "attribute"),
    "parse_target": (
        lambda world, bad: parse_target(world, f"gender={bad}"),
        st.sampled_from(
            ["0.5", "1,1", "a,b", "0.5,0.6", "-1,2", "nan,1", "inf,0", "0.5,,0.5", "="]
        ),
        "target",
    ),
    "parse_target, attribute": (
        parse_target,
        attributes.filter(lambda s: "=" not in s),
        "attribute",
    ),
    "plan": (plan, counts, "n"),
    "sampler, timestep": (
        lambda world, bad: Sampler(world, start=FITTED, timestep=bad),
        timesteps.filter(lambda bad: bad is not None),
        "timestep",
    ),
    "batch_size": (
        lambda world, bad: decode(world.pipeline, LATENTS[:2], bad),
        counts,
        "batch_size",
    ),
    "until": (
        lambda world, bad: denoise(world.pipeline, LATENTS[:2], 999, 5, until=bad),
        timesteps.filter(lambda bad: bad is not None),
        "timestep",
    ),
    "prepare": (lambda world, bad: prepare(world, bad), st.text(max_size=6), "name"),
    "audit_fairness": (
        lambda world, bad: judge.audit_fairness(world, seen(world), "ancestry", bad),
        shares(),
        "target",
    ),
    "audit_fairness, attribute": (
        lambda world, bad: judge.audit_fairness(world, seen(world), bad),
        attributes,
        "attribute",
    ),
    "audit_groups": (
        lambda world, bad: judge.audit_groups(world, seen(world), "ancestry", bad),
        counts,
        "n",
    ),
    "fit_weights": (
        lambda world, bad: localize.fit_weights(led(world), "ancestry", bad, 2, 0),
        shares(),
        "target",
    ),
    "fit_weights, goals": (
        lambda world, bad: localize.fit_weights(led(world), ["ancestry", "gender"], bad, 2, 0),
        st.sampled_from([None, THIRDS, [THIRDS], [THIRDS] * 3, [THIRDS, THIRDS]]),
        "target",
    ),
    "fit_weights, attribute": (
        lambda world, bad: localize.fit_weights(led(world), bad, THIRDS, 2, 0),
        attributes,
        "attribute",
    ),
    "fit_weights, faces": (
        lambda world, bad: localize.fit_weights(led(world), "ancestry", THIRDS, bad, 0),
        counts,
        "per_component",
    ),
    "fit_weights, sampler": (
        lambda world, bad: localize.fit_weights(bad(world), "ancestry", THIRDS, 2, 0),
        st.sampled_from([Sampler, lambda world: Sampler(world, guide=TIED, strength=0)]),
        "sampler",
    ),
    "fit_bottleneck": (
        lambda world, bad: bottleneck.fit_bottleneck(world.pipeline, bad, [0, 1], [0.5, 0.5], 2, 0),
        latents(),
        "latents",
    ),
    "fit_bottleneck, cells": (
        lambda world, bad: bottleneck.fit_bottleneck(world.pipeline, LATENTS, bad, THIRDS, 2, 0),
        labels(),
        "cells",
    ),
    "fit_bottleneck, priors": (
        lambda world, bad: bottleneck.fit_bottleneck(
            world.pipeline, LATENTS, np.arange(40) % 3, bad, 2, 0
        ),
        shares(),
        "priors",
    ),
    "steered": (
        lambda world, bad: bottleneck.steered(
            world.pipeline.unet, {0: (torch.ones(3, 4), torch.ones(3))}, bad, 1.0
        ).__enter__(),
        shares(),
        "target",
    ),
    "classifier_direction": (
        lambda world, bad: classifier_guidance.classifier_direction(
            world, torch.as_tensor(LATENTS[:1]), {bad: np.array([0])}
        ),
        attributes,
        "attribute",
    ),
    "set_pool": (
        lambda world, bad: own(world).set_pool(bad, {"tone": np.zeros(3, int)}),
        # a large pool is mapped from disk and not read here: that it's finite is seen when fitted
        latents().filter(lambda bad: np.shape(bad) != (3, 4, 8, 8)),
        "latents|labelled",
    ),
    "set_pool, labels": (
        lambda world, bad: own(world).set_pool(LATENTS[:3], {"tone": bad}),
        labels(),
        "labelled",
    ),
    "own_world, pool": (lambda world, bad: own(world, pool_size=bad), counts, "pool_size"),
    "own_world, steps": (
        lambda world, bad: own(world, num_inference_steps=bad),
        counts,
        "num_inference_steps",
    ),
    "own_world, timestep": (
        lambda world, bad: own(world, timestep=bad),
        timesteps.filter(lambda bad: bad is not None),
        "timestep",
    ),
    "own_world, target": (
        lambda world, bad: own(world, target=bad),
        attributes.filter(bool),
        "attribute",
    ),
    "own_world, scores": (
        lambda world, bad: own(world, classifier=lambda images: bad).classify(
            np.zeros((1, 64, 64, 3), np.uint8)
        ),
        st.one_of(
            st.sampled_from([None, [0.5, 0.5], {}, {"shade": [[0.5, 0.5]]}]),
            st.builds(
                lambda scores: {"tone": scores},
                st.sampled_from(
                    [[0.5, 0.5], [[0.5, 0.6]], [[np.nan, 1]], [[-1, 2]], [["a", "b"]], [[1.0]]]
                ),
            ),
        ),
        "classifier",
    ),
    "order, target": (lambda world, bad: Order(world, "ancestry", bad, 4), shares(), "target"),
    "order, n": (lambda world, bad: Order(world, "ancestry", THIRDS, bad), counts, "n"),
    "order, attribute": (lambda world, bad: Order(world, bad, None, 4), attributes, "attribute"),
    "order, seed": (lambda world, bad: Order(world, "ancestry", None, 4, bad), seeds, "seed"),
    "order, method": (
        lambda world, bad: Order(world, "ancestry", None, 4, method=bad),
        st.sampled_from(["", "Guided", None, "fair", 3]),
        "method",
    ),
    "order, strength": (
        lambda world, bad: Order(world, "ancestry", None, 4, strength=bad),
        st.sampled_from([-1, np.nan, np.inf, "strong", -1e-9, [1, 2]]),
        "strength",
    ),
    "shards, shard_size": (
        lambda world, bad: generate_sharded(Order(world, "ancestry", None, 4), "unmade", bad),
        counts,
        "shard_size",
    ),
    "own_world": (
        lambda world, bad: own_world(world.pipeline, bad, {"tone": ("dark", "bright")}),
        st.sampled_from([None, 3, "classifier", []]),
        "classifier",
    ),
    "own_world, attributes": (
        lambda world, bad: own_world(world.pipeline, lambda images: {}, bad),
        st.sampled_from([{}, {"tone": ()}, {"tone": ("one",)}, {"a": ("x", "y"), "b": ("z",)}]),
        "attributes",
    ),
    "own_world, generator": (
        lambda world, bad: own_world(bad, lambda images: {}, {"tone": ("dark", "bright")}),
        st.sampled_from([None, 3, [], torch.nn.Linear(1, 1)]),
        "generator",
    ),
}


def seen(world):
    """A classifier's word on six faces."""
    labels = {name: np.arange(6) % len(groups) for name, groups in world.attributes.items()}
    return Predictions(labels, {}, np.eye(6, 128, dtype=np.float32))


def led(world):
    """A sampler whose weights can be fitted."""
    return Sampler(world, guide=TIED)


def dark(images):
    """A classifier that any faces please."""
    return {"tone": np.tile([0.9, 0.1], (len(images), 1))}


def own(world, classifier=dark, **changed):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that no faces are labelled
        return own_world(world.pipeline, classifier, {"tone": ("dark", "bright")}, **changed)


@pytest.fixture(scope="module")
def world(worlds_root):
    return load_world("tiny", worlds_root)


@pytest.mark.parametrize("name", WITH_WORLD)
def test_what_takes_a_world_refuses_bad_values(world, tmp_path, monkeypatch, name):
    call, values, word = WITH_WORLD[name]
    monkeypatch.chdir(tmp_path)

    @settings(**CALM)
    @given(values)
    def check(bad):
        refused(name, bad, lambda bad: call(world, bad), word)

    check()
    assert not list(tmp_path.iterdir())
