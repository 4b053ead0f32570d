"""Bad values are refused where they enter, by us, in a message that names the argument.

Every function that needs no world; those that do are in test_refusals_of_worlds.py.
"""

import numpy as np
import pytest
from bad_inputs import (
    CALM,
    FITTED,
    LABELS,
    LATENTS,
    LOW,
    THIRDS,
    confusions,
    counts,
    features,
    fractions,
    labels,
    latents,
    pictures,
    refused,
    shares,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from fairgen_utils import datasets, judge, localize, measure
from fairgen_utils.load import load_world
from fairgen_utils.models.low_frequency import LowFrequencyMixture, mixture_for
from fairgen_utils.models.mixture import LatentMixture
from fairgen_utils.rivals import selection
from fairgen_utils.rivals.selection import choose_evenly

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


@pytest.mark.parametrize("name", ALONE)
def test_a_function_refuses_bad_values(name):
    call, values, word = ALONE[name]

    @settings(**CALM)
    @given(values)
    def check(bad):
        refused(name, bad, call, word)

    check()
