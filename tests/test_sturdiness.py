"""Bad input is refused where it enters; what is killed goes on; nothing is half-written.

Hundreds of generated bad inputs: each must be refused by the course's own code, with a message that
names the argument, and must leave nothing behind. Kills of training and of measuring: the run ends
as an unbroken one. (Those of `generate` are in test_command_line.py.)
"""

import ctypes
import functools
import hashlib
import io
import itertools
import json
import os
import pickle
import random
import re
import shutil
import sys
import tempfile
import traceback
import warnings
import zipfile
from contextlib import redirect_stderr
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from diffusers import UNet2DModel
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kills import FORK, HANG, forks, killed_again_and_again, killed_at, start
from PIL import Image
from safetensors.torch import load_file

import fairgen_utils
from fairgen_utils import datasets, judge, localize, measure, parse_target
from fairgen_utils._files import write_whole
from fairgen_utils.apps import dashboard, order, shards
from fairgen_utils.apps.command_line import main
from fairgen_utils.apps.dashboard import Settings, Studio
from fairgen_utils.apps.dataset import make_dataset
from fairgen_utils.apps.order import Order, plan
from fairgen_utils.apps.shards import generate_sharded
from fairgen_utils.datasets.celeba import CELEBA_COLUMNS, CELEBA_HAIR
from fairgen_utils.generate import Sampler, recommended_sampler
from fairgen_utils.load import load_world
from fairgen_utils.models.diffusion import decode, denoise, encode
from fairgen_utils.models.low_frequency import LowFrequencyMixture, mixture_for
from fairgen_utils.models.mixture import LatentMixture
from fairgen_utils.models.own_world import own_world
from fairgen_utils.models.world import Predictions
from fairgen_utils.rivals import bottleneck, classifier_guidance, prepare, selection
from fairgen_utils.rivals.selection import choose_evenly
from fairgen_utils.rivals.starts import invert

ROOT = Path(__file__).resolve().parent.parent
OURS = Path(fairgen_utils.__file__).parent
EACH = 30  # at most so many bad inputs of every kind below


def refused(what, bad, call, word):
    """Assert that `call(bad)` is refused kindly: by us, in a message that begins with `word`."""
    try:
        made = call(bad)
    except (ValueError, OSError) as error:
        innermost = Path(traceback.extract_tb(error.__traceback__)[-1].filename)
        assert OURS in innermost.parents, f"raised in {innermost}: {error!r}"
        assert re.match(rf"({word})\b", str(error)), f"{word!r} does not begin {str(error)!r}"
    else:
        raise AssertionError(f"{what} accepted {bad!r} and returned {made!r}")


def listing(folder):
    """Every file of a folder, with what it holds."""
    return {path: path.is_file() and path.read_bytes() for path in folder.rglob("*")}


# --- what is bad ---------------------------------------------------------------------------------

counts = st.one_of(
    st.integers(-5, 0), st.floats(-3, 3).filter(lambda x: x != int(x)), st.just("3"), st.just(None)
)
seeds = st.one_of(st.integers(-5, -1), st.sampled_from([0.5, "1", None]))
fractions = st.sampled_from([-0.1, 1.1, float("nan"), float("inf"), -float("inf")])
attributes = st.one_of(
    st.text(max_size=8).filter(lambda s: not set(s.split(",")) <= {"gender", "ancestry", "smile"}),
    st.sampled_from(["gender,gender", "gender,", ",", "Gender ", "gender;ancestry"]),
)
timesteps = st.one_of(
    st.integers(-2000, -1), st.integers(1000, 5000), st.sampled_from([0.5, "500", None, np.nan])
)


@st.composite
def labels(draw):
    """No labels of 3 groups."""
    return draw(
        st.one_of(
            st.just([]),
            st.lists(st.sampled_from([0.0, 1.5, np.nan]), min_size=1, max_size=5),
            st.lists(st.integers(3, 99), min_size=1, max_size=5),
            st.lists(st.integers(-99, -1), min_size=1, max_size=5),
            st.lists(st.text(max_size=3), min_size=1, max_size=3),
            st.just(np.zeros((2, 3), int)),
            st.just(1),
            st.just(None),
        )
    )


@st.composite
def shares(draw):
    """No shares of 3 groups, nor of any other number."""
    spoiled = np.array([0.2, 0.3, 0.5])
    spoiled[draw(st.integers(0, 2))] = draw(st.sampled_from([np.nan, np.inf, -0.2, 0.9, 7.0]))
    return draw(st.sampled_from([spoiled, [], ["a", "b", "c"], "half", 2 * np.ones(3), 1.0]))


@st.composite
def latents(draw):
    """No latents of shape (n, 4, 8, 8)."""
    spoiled = np.ones((3, 4, 8, 8), np.float32)
    spoiled[draw(st.integers(0, 2)), 0, 0, 0] = draw(st.sampled_from([np.nan, np.inf, -np.inf]))
    return draw(
        st.sampled_from(
            [spoiled, np.zeros((0, 4, 8, 8)), np.zeros(()), np.ones(5), "latents", [["a"]], None]
        )
    )


@st.composite
def pictures(draw):
    """No pictures of shape (n, 64, 64, 3), uint8."""
    shape = draw(
        st.sampled_from([(64, 64, 3), (0, 64, 64, 3), (2, 64, 64), (2, 64, 64, 4), (2, 3, 64, 64)])
    )
    kind = draw(st.sampled_from([np.float32, np.int64, np.uint8]))
    if draw(st.booleans()):
        shape, kind = (2, 64, 64, 3), draw(st.sampled_from([np.float32, np.int64, bool]))
    return draw(st.sampled_from([np.zeros(shape, kind), "picture.png", None, []]))


@st.composite
def features(draw):
    spoiled = np.eye(6)
    spoiled[draw(st.integers(0, 5)), draw(st.integers(0, 5))] = draw(
        st.sampled_from([np.nan, np.inf])
    )
    return draw(st.sampled_from([spoiled, np.ones(6), np.ones((1, 6)), np.ones((2, 2, 2)), "x"]))


@st.composite
def confusions(draw):
    """No confusion matrix of 3 groups."""
    spoiled = np.eye(3)
    spoiled[draw(st.integers(0, 2)), draw(st.integers(0, 2))] = draw(
        st.sampled_from([np.nan, -0.5, 0.5, 2.0])
    )
    blind = np.full((3, 3), 1 / 3)
    return draw(st.sampled_from([spoiled, blind, np.eye(2), np.eye(3)[:2], "x", []]))


THIRDS = np.full(3, 1 / 3)
LABELS = np.array([0, 1, 2, 1])
LATENTS = np.random.default_rng(0).standard_normal((40, 4, 8, 8)).astype(np.float32)
FITTED = LatentMixture(2).fit(LATENTS)
LOW = LowFrequencyMixture(1).fit(LATENTS)
TIED = LatentMixture(covariance_type="tied").fit(LATENTS, np.arange(40) % 3)

# what is called with a bad value, where the value comes from, and the word that must be said
ALONE = {
    "shares": (lambda bad: measure.shares(bad, 3), labels(), "labels"),
    "shares, groups": (lambda bad: measure.shares(LABELS, bad), counts, "n_groups"),
    "joint_labels": (lambda bad: measure.joint_labels([LABELS, bad], (3, 3)), labels(), "labels"),
    "fairness_discrepancy": (measure.fairness_discrepancy, shares(), "shares"),
    "fd, target": (lambda bad: measure.fairness_discrepancy(THIRDS, bad), shares(), "target"),
    "kl_divergence": (measure.kl_divergence, shares(), "shares"),
    "normalized_entropy": (measure.normalized_entropy, shares(), "shares"),
    "share_intervals": (lambda bad: measure.share_intervals(bad, 3), labels(), "labels"),
    "confidence": (
        lambda bad: measure.share_intervals(LABELS, 3, bad),
        st.one_of(fractions, st.sampled_from([0, 1])),
        "confidence",
    ),
    "noise_floor, n": (lambda bad: measure.noise_floor(bad, 3), counts, "n"),
    "noise_floor, groups": (
        lambda bad: measure.noise_floor(50, n_groups=bad),
        counts,
        "n_groups",
    ),
    "fd_interval": (lambda bad: measure.fd_interval(bad, 3), labels(), "labels"),
    "fd_interval, target": (lambda bad: measure.fd_interval(LABELS, 3, bad), shares(), "target"),
    "fd_interval, confusion": (
        lambda bad: measure.fd_interval(LABELS, 3, None, bad),
        confusions(),
        "confusion",
    ),
    "fd_interval, confidence": (
        lambda bad: measure.fd_interval(LABELS, 3, confidence=bad),
        st.one_of(fractions, st.sampled_from([0, 1, None, "most", [0.9, 0.95]])),
        "confidence",
    ),
    "fd_interval, cells": (
        lambda bad: measure.fd_interval(LABELS, 3, cells=bad),
        labels().filter(lambda bad: bad is not None and not _whole(bad)),
        "cells",
    ),
    "paired_difference": (
        lambda bad: measure.paired_difference(LABELS, bad, 3),
        labels(),
        "labels_b",
    ),
    "noise_floor, quotas": (
        lambda bad: measure.noise_floor(50, THIRDS, n_trials=10, quotas=bad),
        st.one_of(fractions, st.sampled_from(["all", (1, 2, 3), ([1, 1], np.eye(3))])),
        "quotas",
    ),
    "confusion_counts": (lambda bad: measure.confusion_counts(bad, LABELS, 3), labels(), "true"),
    "confusion_rates": (lambda bad: measure.confusion_rates(bad, LABELS, 3), labels(), "true"),
    "correct_shares": (
        lambda bad: measure.correct_shares(bad, np.eye(3)),
        shares(),
        "measured",
    ),
    "correct_shares, confusion": (
        lambda bad: measure.correct_shares(THIRDS, bad),
        confusions(),
        "confusion",
    ),
    "amplification": (
        lambda bad: measure.amplification(LABELS, bad),
        shares(),
        "training_shares",
    ),
    "fit": (lambda bad: LatentMixture().fit(bad), latents(), "latents"),
    "fit, cells": (
        lambda bad: LatentMixture().fit(LATENTS[:4], bad),
        labels().filter(lambda bad: bad is not None and not _whole(bad)),
        "cells",
    ),
    "n_components": (
        lambda bad: LatentMixture(bad).fit(LATENTS),
        counts,
        "n_components",
    ),
    "predict_proba": (FITTED.predict_proba, latents(), "latents"),
    "push_forward": (FITTED.push_forward, fractions, "alpha_cumprod"),
    "covariance_type": (
        lambda bad: LatentMixture(covariance_type=bad).fit(LATENTS),
        st.sampled_from(["diag", "spherical", "Full", "", None, 1]),
        "covariance_type",
    ),
    "extrapolate_means": (
        FITTED.extrapolate_means,
        st.sampled_from([-1, -0.1, np.nan, np.inf, "far", None]),
        "factor",
    ),
    "mixture.sample": (lambda bad: FITTED.sample(bad, 0), counts, "n"),
    "mixture.sample, weights": (
        lambda bad: FITTED.sample(5, 0, bad),
        shares().filter(lambda bad: bad is not None),
        "weights",
    ),
    "low frequencies, fit": (lambda bad: LowFrequencyMixture().fit(bad), latents(), "latents"),
    "low frequencies, block": (
        lambda bad: LowFrequencyMixture(block=bad).fit(LATENTS),
        st.one_of(counts, st.sampled_from([1, 3, 5, 16])),
        "block",
    ),
    "low frequencies, sample": (lambda bad: LOW.sample(bad, 0), counts, "n"),
    "component_table": (
        lambda bad: localize.component_table([0, 1, 0, 1], bad, 2, 3),
        labels(),
        "labels",
    ),
    "solve_weights, table": (
        lambda bad: localize.solve_weights(bad, THIRDS),
        st.sampled_from(
            [[], np.zeros((2, 3)), [[1, -1, 2]], [[np.nan, 1, 1]], [[np.inf, 1, 1]], "x", [1, 2, 3]]
        ),
        "table",
    ),
    "solve_weights, target": (
        lambda bad: localize.solve_weights(np.ones((2, 3)), bad),
        shares(),
        "target",
    ),
    "solve_weights, confusion": (
        lambda bad: localize.solve_weights(np.ones((2, 3)), THIRDS, bad),
        confusions().filter(lambda bad: np.shape(bad) != (3, 3) or not np.allclose(bad, 1 / 3)),
        "confusion",
    ),
    "frechet_distance": (
        lambda bad: judge.frechet_distance(bad, np.zeros(6), np.eye(6)),
        features(),
        "features",
    ),
    "kernel_distance": (
        lambda bad: judge.kernel_distance(bad, np.eye(6)),
        features(),
        "features",
    ),
    "manifold_scores": (
        lambda bad: judge.manifold_scores(np.eye(6), bad, 2),
        features(),
        "reference",
    ),
    "sharpness": (
        judge.sharpness,
        pictures().filter(lambda bad: np.shape(bad)[1:] != (3, 64, 64)),
        "images",
    ),
    "brightness": (
        judge.brightness,
        pictures().filter(lambda bad: np.shape(bad)[1:] != (3, 64, 64)),
        "images",
    ),
    "choose_evenly": (
        lambda bad: choose_evenly(np.full((6, 3), 1 / 3), bad, 3, 0),
        shares(),
        "target",
    ),
    "choose_evenly, n": (
        lambda bad: choose_evenly(np.full((6, 3), 1 / 3), THIRDS, bad, 0),
        st.one_of(counts, st.integers(7, 99)),
        "n",
    ),
    "rejection_sample": (
        lambda bad: selection.rejection_sample(LABELS, bad, 3, 0),
        shares(),
        "target",
    ),
    "rejection_sample, n": (
        lambda bad: selection.rejection_sample(LABELS, THIRDS, bad, 0),
        counts,
        "n",
    ),
    "soft_shares": (lambda bad: measure.soft_shares([bad]), shares(), "probabilities"),
    "marginal_shares": (
        lambda bad: measure.marginal_shares(bad, (3, 1), 0),
        shares(),
        "joint",
    ),
    "marginal_shares, axis": (
        lambda bad: measure.marginal_shares(THIRDS, (3, 1), bad),
        st.one_of(st.integers(2, 9), st.integers(-9, -1), st.sampled_from([0.5, "0", None])),
        "axis",
    ),
    "bootstrap_interval": (
        lambda bad: measure.bootstrap_interval(bad, measure.fairness_discrepancy, 3),
        labels(),
        "labels",
    ),
    "bootstrap_interval, draws": (
        lambda bad: measure.bootstrap_interval(
            LABELS, measure.fairness_discrepancy, 3, n_resamples=bad
        ),
        counts,
        "n_resamples",
    ),
    "noise_floor, quantile": (
        lambda bad: measure.noise_floor(50, THIRDS, quantile=bad, n_trials=10),
        st.one_of(fractions, st.sampled_from(["half", [0.5, 2]])),
        "quantile",
    ),
    "posterior_shares, kept": (
        lambda bad: selection.posterior_shares(bad, THIRDS, np.eye(3)),
        shares(),
        "kept",
    ),
    "posterior_shares, plain": (
        lambda bad: selection.posterior_shares(THIRDS, bad, np.eye(3)),
        shares(),
        "plain",
    ),
    "low frequencies, predict_proba": (LOW.predict_proba, latents(), "latents"),
    "mixture_for": (
        mixture_for,
        st.tuples(st.integers(1, 4), st.sampled_from([37, 41]), st.sampled_from([43, 47])),
        "latent_shape",
    ),
    "moments": (judge.moments, features(), "features"),
    "balanced_moments": (
        lambda bad: judge.balanced_moments(bad, np.arange(6) % 2),
        features(),
        "features",
    ),
    "balanced_moments, cells": (
        lambda bad: judge.balanced_moments(np.eye(6), bad),
        labels(),
        "cells",
    ),
    "frechet_distance, mean": (
        lambda bad: judge.frechet_distance(np.eye(6), bad, np.eye(6)),
        st.sampled_from([np.full(6, np.nan), np.zeros(5), np.zeros((6, 1)), "x", None]),
        "mean",
    ),
    "manifold_scores, neighbours": (
        lambda bad: judge.manifold_scores(np.eye(6), np.eye(6), bad),
        st.one_of(counts, st.integers(6, 99)),
        "n_neighbors",
    ),
    "device": (
        lambda bad: load_world("heads", device=bad),
        st.sampled_from(["toaster", "cuda:99", "", "cpu:x", None]).filter(bool),
        "device",
    ),
    "split": (
        lambda bad: datasets.read_utkface("UTKFace.zip", bad),
        st.text(max_size=8).filter(lambda s: s not in ("train", "heldout")),
        "split",
    ),
    "size": (lambda bad: datasets.read_utkface("UTKFace.zip", "train", size=bad), counts, "size"),
    "folder": (
        lambda bad: load_world("heads", bad),
        st.text("abc", min_size=8, max_size=12),
        "root",
    ),
    "path": (
        lambda bad: datasets.read_pictures(bad),
        st.text("abc", min_size=8, max_size=12),
        "path",
    ),
}


def _whole(bad):
    """Four whole numbers of any sign: cells may be numbered as one likes."""
    bad = np.asarray(bad)
    return bad.shape == (4,) and np.issubdtype(bad.dtype, np.integer)


CALM = {
    "max_examples": EACH,
    "derandomize": True,
    "deadline": None,
    "database": None,
    "suppress_health_check": list(HealthCheck),
}


@pytest.mark.parametrize("name", ALONE)
def test_a_function_refuses_bad_values(name):
    call, values, word = ALONE[name]

    @settings(**CALM)
    @given(values)
    def check(bad):
        refused(name, bad, call, word)

    check()


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


def own(world, classifier=len, **changed):
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


# --- damaged files -------------------------------------------------------------------------------

damages = st.tuples(st.sampled_from(["cut", "flip", "empty", "text"]), st.integers(0, 2**31))
unflipped = damages.filter(lambda how: how[0] != "flip")  # a flipped bit may be a legal value


def damage(path, how, seed):
    content = bytearray(path.read_bytes())
    place = random.Random(seed).randrange(len(content))
    if how == "cut":
        content = content[:place]
    elif how == "flip":
        content[place] ^= 0xFF
    else:
        content = b"" if how == "empty" else b"<html>404: not found</html>"
    path.write_bytes(bytes(content))


def refuses_damaged(make, read, word, kinds=damages):
    """Assert that `read(path)` refuses the damaged file that `make()` gave, and leaves it alone."""

    @settings(**CALM)
    @given(kinds)
    def check(how):
        path = make()
        damage(path, *how)
        before = listing(path.parent)
        refused(f"{path.name} read by {read}", how, lambda how: read(path), word)
        assert listing(path.parent) == before

    check()


@pytest.mark.parametrize(
    "file",
    [
        "world.json",
        "generator/unet/diffusion_pytorch_model.safetensors",
        "classifier/diffusion_pytorch_model.safetensors",
        "generator/model_index.json",
        "latents.npz",
        "reference.npz",
    ],
)
def test_a_world_with_a_damaged_file_is_refused_by_name(worlds_root, tmp_path, file):
    kinds = unflipped if file == "world.json" else damages  # the one file without a checksum
    root = shutil.copytree(worlds_root, tmp_path / "data")

    def make():
        return Path(shutil.copy(worlds_root / "tiny" / file, root / "tiny" / file))

    refuses_damaged(make, lambda path: load_world("tiny", root), f".*{Path(file).name}", kinds)


@pytest.mark.parametrize("missing", ["sha256", "attributes", "extrapolation", "strength", None])
def test_a_card_that_does_not_tell_all_is_refused(own_root, missing):
    path = own_root / "tiny" / "world.json"
    card = json.loads(path.read_text())
    path.write_text(json.dumps({k: card[k] for k in card if k != missing} if missing else [card]))
    refused("world.json without", missing, lambda _: load_world("tiny", own_root), ".*world.json")


class Trap:
    """A pickle of it makes a folder when it is opened."""

    def __init__(self, place):
        self.place = place

    def __reduce__(self):
        return os.mkdir, (str(self.place),)


@pytest.mark.parametrize("network", ["generator/unet", "generator/vqvae", "classifier"])
@pytest.mark.parametrize("content", ["trap", "tensors"])
def test_weights_are_read_from_safetensors_alone(own_root, tmp_path, network, content):
    """A pickle is not opened, whatever its name, what it holds and what the card says of it."""
    folder, card_path = own_root / "tiny" / network, own_root / "tiny" / "world.json"
    weights, sprung = folder / "diffusion_pytorch_model.safetensors", tmp_path / "sprung"
    pickled, card = folder / "diffusion_pytorch_model.bin", json.loads(card_path.read_text())
    if content == "trap":
        pickled.write_bytes(pickle.dumps(Trap(sprung)))
    else:
        torch.save(load_file(weights), pickled)
    load_world("tiny", own_root)  # beside the weights it's nobody's business
    weights.write_bytes(pickled.read_bytes())
    key = f"{content} for {network}"
    refused(key, "in place", lambda _: load_world("tiny", own_root), ".*safetensors is damaged")
    file = weights.relative_to(own_root / "tiny").as_posix()
    card["sha256"][file] = hashlib.sha256(weights.read_bytes()).hexdigest()
    card_path.write_text(json.dumps(card))
    refused(key, "in the card", lambda _: load_world("tiny", own_root), ".*from safetensors")
    weights.unlink()
    del card["sha256"][file]
    card_path.write_text(json.dumps(card))
    refused(key, "alone", lambda _: load_world("tiny", own_root), ".*from safetensors")
    assert not sprung.exists()


def test_a_generator_of_ones_own_runs_no_code_either(own_root, tmp_path):
    """Some on the hub have no safetensors; pickles of theirs are read as tensors and no more."""
    unet, sprung = own_root / "tiny" / "generator" / "unet", tmp_path / "sprung"
    (unet / "diffusion_pytorch_model.safetensors").unlink()
    (unet / "diffusion_pytorch_model.bin").write_bytes(pickle.dumps(Trap(sprung)))
    generator = own_root / "tiny" / "generator"
    refused(
        "own pickle",
        "unet",
        lambda _: own_world(generator, lambda images: {}, {"tone": ("dark", "bright")}),
        "generator",
    )
    assert not sprung.exists()


def photographs(folder):
    """A zip of three pictures as UTKFace names them."""
    path = folder / "UTKFace.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for i, name in enumerate(["20_0_0", "40_1_1", "70_0_2"]):
            content = io.BytesIO()
            Image.new("RGB", (8, 8), (40 * i, 9, 9)).save(content, "JPEG")
            archive.writestr(f"{name}_2017010917000000{i}.jpg.chip.jpg", content.getvalue())
    return path


@pytest.mark.parametrize(
    "read", [datasets.read_pictures, lambda path: datasets.read_utkface(path, "train")]
)
def test_damaged_archives_are_refused_and_left_alone(tmp_path, read):
    refuses_damaged(lambda: photographs(tmp_path), read, "path", unflipped)


def test_a_flipped_bit_in_a_picture_of_an_archive_is_found(tmp_path):
    @settings(**CALM)
    @given(st.integers(0, 2), st.integers(0, 500))
    def check(member, place):
        path = photographs(tmp_path)
        with zipfile.ZipFile(path) as archive:
            found = archive.infolist()[member]
        start = found.header_offset + 30 + len(found.filename)  # of the picture itself
        content = bytearray(path.read_bytes())
        content[start + place % found.compress_size] ^= 0xFF
        path.write_bytes(bytes(content))
        refused(
            "flipped picture",
            (member, place % found.compress_size),
            lambda _: datasets.read_pictures(path)[:],
            re.escape(found.filename),
        )

    check()


def heads(folder, n=24, split="train", seed=0):
    """Rendered heads as noise: an archive of pictures and its table."""
    rng = np.random.default_rng(seed)
    files = [f"{i:05}.png" for i in range(n)]
    groups = list(itertools.product(*datasets.HEADS_ATTRIBUTES.values()))
    rows = [groups[i * len(groups) // n] for i in range(n)]
    table = pd.DataFrame(rows, columns=list(datasets.HEADS_ATTRIBUTES))
    table.insert(0, "file", files)
    table.to_csv(folder / f"{split}.csv", index=False)
    with zipfile.ZipFile(folder / f"{split}.zip", "w") as archive:
        for file in files:
            content = io.BytesIO()
            Image.fromarray(rng.integers(0, 256, (64, 64, 3), np.uint8)).save(content, "PNG")
            archive.writestr(file, content.getvalue())
    return folder / f"{split}.csv"


def fairface(folder):
    lines = ["file,age,gender,race"]
    for i, race in enumerate(datasets.FAIRFACE_ATTRIBUTES["race"]):
        lines.append(f"train/{i}.jpg,20-29,{('Male', 'Female')[i % 2]},{race}")
        (folder / "train").mkdir(exist_ok=True)
        Image.new("RGB", (8, 8)).save(folder / "train" / f"{i}.jpg")
    (folder / "fairface_label_train.csv").write_text("\n".join(lines) + "\n")
    return folder / "fairface_label_train.csv"


def celeba(folder):
    columns = [*CELEBA_HAIR, "Eyeglasses", "Male", "Smiling", "Young"]
    lines = ["5", " ".join(columns)]
    for i in range(5):
        lines.append(f"{i:06}.jpg {' -1' * (len(columns) - 1)} {-1 if i % 2 else ' 1'}")
        (folder / "img_align_celeba").mkdir(exist_ok=True)
        Image.new("RGB", (8, 8)).save(folder / "img_align_celeba" / f"{i:06}.jpg")
    (folder / "list_eval_partition.txt").write_text("".join(f"{i:06}.jpg 0\n" for i in range(5)))
    (folder / "list_attr_celeba.txt").write_text("\n".join(lines) + "\n")
    return folder / "list_attr_celeba.txt"


@pytest.mark.parametrize(
    ("make", "read", "words"),
    [
        (heads, datasets.read_heads, ["split", *datasets.HEADS_ATTRIBUTES]),
        (fairface, datasets.read_fairface, ["path", *datasets.FAIRFACE_ATTRIBUTES]),
        (celeba, datasets.read_celeba, ["path", *CELEBA_COLUMNS.values()]),
    ],
)
def test_a_table_that_is_cut_off_in_a_row_is_refused(tmp_path, make, read, words):
    path = make(tmp_path)
    read(tmp_path, "train")  # whole, it is read
    whole = path.read_text()
    inside = [i for i in range(1, len(whole)) if "\n" not in whole[i - 1 : i + 1]]

    @settings(**CALM)
    @given(st.one_of(st.sampled_from(inside), st.just(0)))
    def check(place):
        path.write_text(whole[:place])
        before = listing(tmp_path)
        refused(path.name, place, lambda _: read(tmp_path, "train"), "|".join(words))
        assert listing(tmp_path) == before

    check()


def test_a_table_without_the_last_of_its_faces_is_refused(tmp_path):
    """A whole row lost shows only against the archive."""
    path = heads(tmp_path)
    path.write_text("\n".join(path.read_text().splitlines()[:-1]) + "\n")
    refused("train.csv", "last row", lambda _: datasets.read_heads(tmp_path, "train"), "split")


def shard(folder):
    np.savez(folder / "faces_00000.npz", images=np.zeros((2, 8, 8, 3), np.uint8))
    return folder / "faces_00000.npz"


def test_a_damaged_shard_is_refused_by_name(tmp_path):
    def read(path):
        return shards.join([path], "images")

    refuses_damaged(lambda: shard(tmp_path), read, ".*faces_00000.npz", unflipped)


@pytest.mark.parametrize("file", ["settings.json", "provenance.json"])
def test_a_damaged_record_of_a_run_is_refused_by_name(world, tmp_path, file):
    def make():
        (tmp_path / file).write_text(json.dumps({"world": "tiny", "n": 4}))
        return tmp_path / file

    def read(path):
        make = generate_sharded if file == "settings.json" else make_dataset
        return make(Order(world, "gender", None, 4), tmp_path)

    if file == "provenance.json":
        (tmp_path / ".lock").touch()  # it takes one, and leaves it
    refuses_damaged(make, read, f".*{file}", unflipped)


def test_text_that_is_no_settings_is_refused(tmp_path):
    @settings(**CALM)
    @given(st.text(max_size=40))
    def check(text):
        (tmp_path / "settings.json").write_text(text, encoding="utf-8")
        refused("settings", text, lambda _: Settings.read(tmp_path / "settings.json"), "path")

    check()


# --- the command line ----------------------------------------------------------------------------

OWN = ["--world", "tiny_world:make_world"]
COMMANDS = {
    "generate": (main, ["generate", *OWN, "--n", "4"]),
    "measure": (main, ["measure", "nowhere", *OWN]),
    "shards": (main, ["shards", *OWN, "--faces", "4"]),
    "demo": (main, ["demo", "--world", "tiny", "--n", "40"]),
    "dashboard": (dashboard.main, ["nowhere.json"]),
}
EVERYWHERE = [["--world", "moon"], ["--colour", "red"], ["--world"]]
MAKING = [
    *(["--target", "height"], ["--target", "tone=1,1"], ["--target", "tone=0.5"]),
    *(["--target", "joint:"], ["--pilot", "0"], ["--pilot", "-2"], ["--pilot", "1.5"]),
    *(["--seed", "x"], ["--seed", "-1"]),
]
SHARDED = [
    *(["--world", "tiny_world:nothing"], ["--world", ":"], ["--world", "json:loads"]),
    *(["--world", "tiny_world:ATTRIBUTES"], ["--dtype", "int8"]),
]
OPTIONS = {
    "generate": [*EVERYWHERE, *MAKING, *SHARDED, ["--n", "0"], ["--n", "-3"], ["--n", "many"]],
    "measure": [[], *EVERYWHERE, *SHARDED[:4]],
    "shards": [*EVERYWHERE, *MAKING, *SHARDED, ["--faces", "0"], ["--shard-size", "0"]],
    "demo": [*EVERYWHERE, *MAKING, ["--n", "23"], ["--n", "many"]],
    "dashboard": [[], ["--world", "tiny"], ["twice.json"]],
}


@pytest.fixture
def tiny_worlds(monkeypatch, worlds_root):
    """The commands find a world called tiny, and `tiny_world` can be imported."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    monkeypatch.setattr(order, "load_world", functools.partial(load_world, root=worlds_root))
    monkeypatch.setattr(dashboard.export, "Studio", lambda: Studio(worlds_root))


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_refuses_bad_options_and_writes_nothing(tiny_worlds, tmp_path, capsys, command):
    run, arguments = COMMANDS[command]

    @settings(**CALM)
    @given(st.sampled_from(OPTIONS[command]))
    def check(bad):
        with pytest.raises(SystemExit) as stopped:
            run([*arguments, "--out", str(tmp_path / "out"), *bad])
        assert stopped.value.code == 2
        said = capsys.readouterr().err.strip().splitlines()[-1]
        # argparse names the option; we, the argument or the file
        named = [word.strip("-") for word in bad] + ["attribute"] * ("--target" in bad)
        named = named or ["nowhere"]
        assert any(word in said for word in named), said
        # `measure` has its folder made before minutes of work
        assert not [path for path in tmp_path.rglob("*") if path.is_file()]
        assert command == "measure" or not (tmp_path / "out").exists()

    check()


# --- kills ---------------------------------------------------------------------------------------

KILLS = {"classifier": 5, "diffusion": 5, "measurements": 10}


@pytest.fixture
def recipes(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "data" / "recipes"))


def train_classifier(folder, faces):
    """The recipe as it is run, with a tiny network, and checkpoints and log much more often."""
    import train_classifier as recipe

    often = {"checkpoint_seconds": 0.1, "log_every": 2}
    recipe.train = functools.partial(recipe.train, **often)
    sys.argv = ["train_classifier.py", "--faces", str(faces), "--run", str(folder)]
    sys.argv += ["--heldout", "reference", "--balance", "gender", "--channels", "4", "8"]
    sys.argv += ["--steps", "200", "--batch-size", "8", "--device", "cpu"]
    recipe.main()


def train_diffusion(folder, faces, world):
    """As above; every 20 steps the weights are judged, and the best are kept."""
    import train_diffusion as recipe

    recipe.build = lambda: UNet2DModel.from_config(world.pipeline.unet.config)
    often = {"checkpoint_seconds": 0.1, "log_every": 2}
    recipe.train = functools.partial(recipe.train, **often)
    sys.argv = ["train_diffusion.py", "--faces", str(faces), "--run", str(folder)]
    sys.argv += ["--autoencoder", str(world.folder / "generator" / "vqvae")]
    sys.argv += ["--classifier", str(world.folder / "classifier"), "--heldout", "reference"]
    sys.argv += ["--faces-judged", "8", "--steps", "60", "--batch-size", "8", "--device", "cpu"]
    recipe.main()


def trained(folder):
    """What a finished training left: the steps of its log, and the networks to the last bit."""
    steps = [json.loads(row)["step"] for row in (folder / "log.jsonl").read_text().splitlines()]
    networks = sorted(folder.rglob("*.safetensors"))
    assert networks
    return steps, [(path.relative_to(folder), path.read_bytes()) for path in networks]


@forks
@pytest.mark.parametrize("recipe", ["classifier", "diffusion"])
def test_killed_trainings_end_with_the_weights_of_an_unbroken_one(tmp_path, recipes, world, recipe):
    heads(tmp_path)
    heads(tmp_path, split="reference", seed=1)
    last_step, log_every = {"classifier": (200, 2), "diffusion": (60, 2)}[recipe]

    def folders(number):
        return tmp_path / f"run{number}"

    def work(folder):
        if recipe == "classifier":
            train_classifier(folder, tmp_path)
        else:
            train_diffusion(folder, tmp_path, world)

    def look(folder):
        path = folder / "checkpoint.pt"
        step = torch.load(path, weights_only=True)["step"] if path.exists() else 0
        return 0 < step < last_step

    midway, last = killed_again_and_again(work, KILLS[recipe], folders, 0, look)
    assert midway > 1
    unbroken = trained(folders(0))
    assert unbroken[0] == list(range(log_every, last_step + 1, log_every))
    for number in range(1, last + 1):
        assert trained(folders(number)) == unbroken


def test_a_line_that_a_kill_cut_off_and_later_ones_leave_the_log(tmp_path, recipes):
    from training import forget_rows

    log = tmp_path / "log.jsonl"
    log.write_text('{"step": 10}\n{"step": 20}\n{"step": 30}\n{"ste')
    forget_rows(log, 20)
    assert log.read_text() == '{"step": 10}\n{"step": 20}\n'


@forks
def test_killed_measurements_end_with_the_rows_and_faces_of_an_unbroken_one(
    tmp_path, recipes, world
):
    from make_faces import FaceMaker
    from tables import Table

    def folders(number):
        return tmp_path / f"results{number}"

    def measure(folder):
        table = Table(folder / "means.csv", ["method", "seed"])
        maker = FaceMaker(world, 20, folder)
        for seed in range(12):
            if not table.has(method="plain", seed=seed):
                images = maker.faces("plain", seed).images
                table.add([{"method": "plain", "seed": seed, "mean": images.mean()}])

    def look(folder):
        """At no moment is a row or a face's archive there in part."""
        for path in folder.rglob("*.npz"):
            with np.load(path) as stored:
                assert len(stored["images"]) == 20
        path = folder / "means.csv"
        rows = path.read_text().splitlines(keepends=True) if path.exists() else []
        whole = (folders(0) / "means.csv").read_text().splitlines(keepends=True)
        assert rows == whole[: len(rows)]
        return 1 < len(rows) < len(whole)

    midway, last = killed_again_and_again(measure, KILLS["measurements"], folders, 1, look)
    assert midway > 1
    unbroken = (folders(0) / "means.csv").read_bytes()
    assert len(unbroken.splitlines()) == 13
    for number in range(1, last + 1):
        assert (folders(number) / "means.csv").read_bytes() == unbroken
        for seed in range(12):
            name = f"tiny/plain_{seed}.npz"
            with np.load(folders(0) / name) as one, np.load(folders(number) / name) as other:
                assert all((one[k] == other[k]).all() for k in one if k != "seconds")


@forks
def test_a_kill_at_any_moment_leaves_the_table_of_before_or_after(tmp_path, recipes):
    from tables import Table

    def add(folder):
        Table(folder / "rows.csv", ["seed"]).add([{"seed": 2, "mean": 0.25}])

    left, killed, rng = [], True, random.Random(0)
    while killed:
        folder = tmp_path / str(len(left))
        folder.mkdir()
        Table(folder / "rows.csv", ["seed"]).add([{"seed": 1, "mean": 0.5}])
        killed, moments = killed_at(add, folder, len(left) + 1, rng)
        left.append(Table(folder / "rows.csv", ["seed"]).rows["seed"].tolist())
    # opened, then renamed: at least two moments, and the last run was not killed
    assert len(left) == moments + 1 > 2
    assert left[0] == [1] and left[-1] == [1, 2] and all(rows in ([1], [1, 2]) for rows in left)


# --- folders that cannot be written to ------------------------------------------------------------


@pytest.fixture
def shelf(worlds_root):
    """A folder that may be read and not written to, with a picture, beside readable worlds."""
    folder = Path(tempfile.mkdtemp())
    shutil.copytree(worlds_root, folder / "data")
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755)
    shelf = folder / "shelf"
    (shelf / "begun").mkdir(parents=True)
    Image.new("RGB", (64, 64)).save(shelf / "face.png")
    settings = {"world": "tiny", "method": "guided", "attribute": "gender"}
    settings |= {"target": [0.5, 0.5], "n": 4, "seed": 0}
    (shelf / "settings.json").write_text(json.dumps(settings))
    for path in (shelf / "begun", shelf):
        path.chmod(0o555)
    yield shelf
    for path in (shelf, shelf / "begun"):
        path.chmod(0o755)
    shutil.rmtree(folder)


def without_powers(call):
    """How a call ended and what it said, in a process that may only do what files' modes allow."""

    def work(pipe):
        if os.geteuid() == 0:  # root still, so that a private home can be read, with no capability
            version, none = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
            assert ctypes.CDLL(None).capset(version, none) == 0
        said, status = io.StringIO(), 0
        with redirect_stderr(said):
            try:
                call()
            except SystemExit as stopped:
                status = stopped.code
            except OSError as error:
                status = str(error)
        pipe.send((status, said.getvalue()))

    mine, childs = FORK.Pipe()
    process = start(work, childs)
    childs.close()  # the child's own is the last one: if it dies without a word, that is heard
    try:
        assert mine.poll(HANG), f"not done after {HANG} s"
        return mine.recv()
    except EOFError:
        return "no answer", ""
    finally:
        process.kill()
        process.join()


@forks
@pytest.mark.parametrize("folder", ["new", "begun"])
@pytest.mark.parametrize("command", COMMANDS)
def test_a_folder_that_cannot_be_written_is_named_and_left_alone(
    shelf, tiny_worlds, monkeypatch, command, folder
):
    run, arguments = COMMANDS[command]
    files = {"nowhere": str(shelf), "nowhere.json": str(shelf / "settings.json")}
    readable = shelf.parent / "data"
    monkeypatch.setattr(order, "load_world", functools.partial(load_world, root=readable))
    monkeypatch.setattr(dashboard.export, "Studio", lambda: Studio(readable))
    before = listing(shelf)
    line = [files.get(word, word) for word in arguments] + ["--out", str(shelf / folder)]
    status, said = without_powers(lambda: run(line))
    assert status == 2, (status, said)
    assert str(shelf / folder) in said and "Traceback" not in said
    assert listing(shelf) == before


@forks
@pytest.mark.parametrize("what", ["table", "faces", "report", "pictures"])
def test_what_writes_a_file_names_one_that_it_cannot_write(shelf, recipes, world, what):
    from make_faces import FaceMaker
    from tables import Table

    write = {
        "table": lambda: Table(shelf / "rows.csv", ["seed"]).add([{"seed": 1}]),
        "faces": lambda: FaceMaker(world, 2, shelf).faces("plain", 0),
        "report": lambda: write_whole(shelf / "demo.html", "a page"),
        "pictures": lambda: shards.merge([], shelf, world.attributes),
    }[what]
    before = listing(shelf)
    status, _ = without_powers(write)
    assert "denied" in str(status) and str(shelf) in status
    assert listing(shelf) == before
