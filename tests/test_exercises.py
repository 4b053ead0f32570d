"""Checks of a learner's answers: right ones pass, wrong ones hear what is wrong, and no answer."""

import importlib
import inspect
import io
import itertools
import re
import subprocess
import sys
from contextlib import redirect_stdout
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import strategies  # noqa: F401  (no deadline on a busy machine)
import torch
from fairlearn.metrics import equalized_odds_difference
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.optimize import nnls

from fairgen_utils import course

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"
LATENTS = np.random.default_rng(5).standard_normal((20, 4, 2, 2))
HEADS = pd.DataFrame(
    {
        "gender": ["female"] * 8 + ["male"] * 4,
        "ancestry": ["african", "african", "asian", "asian", "asian", "asian", "asian", "asian"] * 1
        + ["asian"] * 4,
        "age": ["young"] * 12,
        "hair_style": ["bun", "buzz", "bob", "bob", "long", "buzz", "bun", "bob"] + ["buzz"] * 4,
    }
)


def shrinking_error(latents, noise, timestep):
    """The error of the best linear denoiser of standard normal latents."""
    a = np.cos(timestep / 1000 * np.pi / 2) ** 2
    noisy = np.sqrt(a) * latents + np.sqrt(1 - a) * noise
    return ((np.sqrt(a) * noisy - latents) ** 2).mean()


def half_fresh(clean, noise, b, share, fresh, scale=np.sqrt):
    mixed = scale(1 - share) * noise + scale(share) * fresh
    return np.sqrt(b) * clean + np.sqrt(1 - b) * mixed


def parameters(k, d):
    return (k - 1) + k * d + k * d * (d + 1) / 2


def bic(log_likelihood, n, k, d):
    return -2 * log_likelihood + parameters(k, d) * np.log(n)


def faces_to_plan(half, recall, false):
    return (1.96 / half) ** 2 * 0.25 / (recall - false) ** 2


def truncated(styles, groups, psi):
    means = np.stack([styles[groups == group].mean(0) for group in groups])
    return means + psi * (styles - means)


def block_means(x, block):
    n, c, h, w = x.shape
    means = x.reshape(n, c, h // block, block, w // block, block).mean((3, 5))
    return means.repeat(block, 2).repeat(block, 3)


def shards(n_shards, rank, processes, done):
    return [shard for shard in range(rank, n_shards, processes) if shard not in done]


def late_shards(n_shards, rank, processes, done):
    """Which are whose depends on what is done when a process looks."""
    return [shard for shard in range(n_shards) if shard not in done][rank::processes]


def empirical_fd(labels, k):
    return np.linalg.norm(np.bincount(labels, minlength=k) / len(labels) - 1 / k)


def without_empty(labels, k):
    counts = np.unique(labels, return_counts=True)[1]
    return np.linalg.norm(counts / len(labels) - 1 / k)


def inside(points, centres, k):
    """Which points lie in the balls around the centres that reach to their k-th neighbour."""
    reach = np.sort(np.linalg.norm(centres[:, None] - centres, axis=2), axis=1)[:, k]
    return np.linalg.norm(points[:, None] - centres, axis=2) <= reach


def promised_fd(rng):
    rows = rng.multinomial(5, [0.4, 0.2, 0.1, 0.1, 0.1, 0.1], size=32) / 5
    target = np.full(6, 1 / 6)
    weights, _ = nnls(np.vstack([rows.T, 1000 * np.ones(32)]), np.append(target, 1000))
    return np.linalg.norm(rows.T @ weights - target)


RESULTS = pd.read_csv(NOTEBOOKS.parent / "data" / "results" / "fairness.csv")
CALLS = RESULTS.query("world == 'heads'").groupby("method")["nfe"].mean()
TIMES_CHEAPER = CALLS["rejection"] / CALLS["guided"]
JOINT = RESULTS.query("world == 'utkface' and attribute == 'gender,race'")
FD = JOINT.groupby("method")["fd_corrected"].mean()
REDUCTION = 1 - FD["localized_pilot"] / FD["plain"]
GENDERS = np.repeat([0, 1, 0], [9, 15, 4])  # of the first 24 faces 9 are female
READ = np.zeros(40, int), np.repeat([1, 0], [12, 28])  # true and read
CARD = {entry: "One sentence of five words, N = 10." for entry in course.CARD_ENTRIES}

# check, its other arguments, a right answer, and wrong ones with a word of what should be said
CASES = {
    "rare_share": (
        0.040,
        [
            (4.0, "percentage"),
            (0.75, "large"),
            (0.2, "small"),
            (0.05, "more steps"),
            (0.01, "fewer"),
        ],
    ),
    "melting_alpha": (
        lambda m, s: 1 / (1 + m**2 - s**2),
        [
            (lambda m, s: 1 / np.sqrt(1 + m**2 - s**2), "root"),
            (lambda m, s: 1 / (1 + m**2), "own spread"),
            (lambda m, s: (1 + s**2) / (1 + m**2), "shrinks"),
            (lambda m, s: 4 / (4 + m**2 - 4 * s**2), "-m and +m"),
            (lambda m, s: m, "between 0 and 1"),
            (lambda m, s: 0.9, "two humps"),
            (lambda m, s: 1 / 0, "ZeroDivisionError"),
            (lambda m, s: np.nan, "finite"),
        ],
    ),
    "step_with_fresh_noise": (
        half_fresh,
        [
            (lambda clean, noise, b, share, _: half_fresh(clean, noise, b, share, 0), "no fresh"),
            (lambda *args: half_fresh(*args, scale=lambda v: v), "What scales"),
            (lambda clean, noise, b, share, new: half_fresh(clean, new, b, share, noise), "0.70"),
            (lambda clean, noise, b, share, fresh: b * clean + share * fresh, "lead to"),
            (lambda clean, noise, b, share, fresh: b**0.5 * clean + share * fresh, "together"),
        ],
    ),
    "noise_from_velocity": (
        lambda x, v, a: np.sqrt(1 - a) * x + np.sqrt(a) * v,
        [
            (lambda x, v, a: np.sqrt(a) * x - np.sqrt(1 - a) * v, "clean latent"),
            (lambda x, v, a: np.sqrt(a) * x + np.sqrt(1 - a) * v, "changed places"),
            (lambda x, v, a: (1 - a) * x + a * v, "squares"),
            (lambda x, v, a: np.sqrt(1 - a) * x - np.sqrt(a) * v, "sign"),
            (lambda x, v, a: x + v, "finds a noise"),
        ],
    ),
    "faces_needed": (4800, [(1000, "still"), (10_000, "more than needed"), (0.02, "number of")]),
    "repaired_fd": (
        empirical_fd,
        [(without_empty, "groups empty"), (lambda labels, k: 0.5, "groups empty")],
    ),
    "largest_fd": (
        lambda k: np.sqrt((k - 1) / k),
        [
            (lambda k: (k - 1) / k, "root"),
            (lambda k: np.sqrt(2), "corner"),
            (lambda k: 0.5, "another"),
        ],
    ),
    "control_probe": (0.48, [(48, "between 0 and 1"), (0.98, "fitted on"), (0.3, "guesses")]),
    "noisy_distance": (
        lambda d, a: np.sqrt(a) * d,
        [
            (lambda d, a: a * d, "root"),
            (lambda d, a: np.sqrt(a) * d / np.sqrt(1 - a), "alone"),
            (lambda d, a: d, "noise comes in"),
            (lambda d, a: np.sqrt(a) * d / (np.sqrt(a) + np.sqrt(1 - a)), "variances do"),
            (lambda d, a: 7.0, "apart"),
        ],
    ),
    "balanced_accuracy": (
        lambda t, p: np.mean([(p[t == g] == g).mean() for g in np.unique(t)]),
        [
            (lambda t, p: (t == p).mean(), "plain accuracy"),
            (lambda t, p: np.mean([(t[p == g] == g).mean() for g in np.unique(t)]), "by truth"),
            (lambda t, p: np.array([(p[t == g] == g).mean() for g in np.unique(t)]), "one number"),
            (lambda t, p: 0.1, "it makes"),
        ],
    ),
    "purity": (
        lambda table: table.max(1).sum() / table.sum(),
        [
            (lambda table: table.max(1) / table.sum(1), "one number"),
            (lambda table: (table.max(1) / table.sum(1)).mean(), "mean over components"),
            (lambda table: table.max(1).sum(), "counts"),
            (lambda table: table.max(0).sum() / table.sum(), "each row"),
            (lambda table: 0.1, "110"),
        ],
    ),
    "push_on": (
        lambda m, c, b: (np.sqrt(b) * m, b * c + (1 - b) * np.eye(2)),
        [
            (lambda m, c, b: (b * m, b * c + (1 - b) * np.eye(2)), "how are values scaled"),
            (lambda m, c, b: (np.sqrt(b) * m, b * c), "new noise"),
            (lambda m, c, b: (np.sqrt(b) * m, c), "covariance is off"),
            (lambda m, c, b: (m, c), "mean is off"),
        ],
    ),
    "bic": (
        bic,
        [
            (lambda L, n, k, d: -bic(L, n, k, d), "signs"),
            (lambda L, n, k, d: -2 * L + 2 * parameters(k, d), "AIC"),
            (lambda L, n, k, d: bic(L, n, k, d) + np.log(n), "not free"),
            (lambda L, n, k, d: bic(L, n, k, d) - (k - 1) * np.log(n), "missing"),
            (lambda L, n, k, d: -2 * L + (k - 1 + k * d + k * d * d) * np.log(n), "symmetric"),
            (lambda L, n, k, d: -2 * L + (k - 1 + 2 * k * d) * np.log(n), "diagonal"),
            (lambda L, n, k, d: bic(L, n, k, d) + L, "twice"),
            (lambda L, n, k, d: bic(L, n, k, d) + 3, "not yet"),
        ],
    ),
    "true_share": (
        lambda q, recall, false: (q - false) / (recall - false),
        [
            (lambda q, recall, false: q / recall, "recall alone; faces of B"),
            (lambda q, recall, false: q - false, "of what is the rest"),
            (lambda q, recall, false: (q - false) / recall, "but the rest"),
            (lambda q, recall, false: q * recall + (1 - q) * false, "expected to be reported"),
            (lambda q, recall, false: q, "it gives 0.5."),
        ],
    ),
    "faces_to_plan": (
        faces_to_plan,
        [
            (lambda half, recall, false: faces_to_plan(half, 1, 0), "perfect"),
            (lambda half, recall, false: (0.98 / half) ** 2 / (recall - false), "divided by the"),
            (lambda half, recall, false: faces_to_plan(2 * half, recall, false), "either side"),
            (lambda half, recall, false: faces_to_plan(1.96 * half, recall, false), "one standard"),
            (lambda half, recall, false: faces_to_plan(half, recall, false) ** 0.5, "square"),
            (lambda half, recall, false: 3000, "too few"),
            (lambda half, recall, false: 7000, "more than"),
        ],
    ),
    "truncate_to_own": (
        truncated,
        [
            (lambda s, g, psi: truncated(s, 0 * g, psi), "all groups"),
            (lambda s, g, psi: truncated(s, g, 1 - psi), "what is left"),
            (lambda s, g, psi: psi * s, "toward zero"),
            (lambda s, g, psi: truncated(s, g, 0), "one face"),
            (lambda s, g, psi: truncated(s, g, psi) - truncated(s, g, 0), "from where"),
            (lambda s, g, psi: s.mean(0) + psi * (s - truncated(s, g, 0)), "wrong mean"),
            (lambda s, g, psi: s, "as far from"),
        ],
    ),
    "detail_left": (
        lambda x, block: x - block_means(x, block),
        [
            (block_means, "those are the means"),
            (lambda x, block: block_means(x, block) - x, "sign"),
            (lambda x, block: x - x.mean((2, 3), keepdims=True), "of its own"),
            (lambda x, block: x[:, :, ::block], "shape"),
            (lambda x, block: 0 * x, "isn't zero, or too much"),
        ],
    ),
    "shards_to_do": (
        shards,
        [
            (lambda n, rank, processes, done: range(rank, n, processes), "made again"),
            (lambda n, rank, processes, done: shards(n, 0, 1, done), "two processes"),
            (lambda n, rank, processes, done: shards(n - 2, rank, processes, done), "nobody"),
            (lambda n, rank, p, done: shards(n, 0, 1, done) if rank == 0 else [], "nearly all"),
            (late_shards, "depend"),
        ],
    ),
    "promised_fd": (
        promised_fd,
        [
            (lambda rng: promised_fd(rng) + 0.27, "truth"),
            (lambda rng: promised_fd(rng) + 0.1, "less"),
            (lambda rng: promised_fd(rng) - 0.1, "negative"),
            (lambda rng: 0.001, "draws nothing"),
        ],
    ),
    "keep_probability": (
        lambda made, target: (target / made) / (target / made).max(),
        [
            (lambda made, target: target / made, "probabilities"),
            (lambda made, target: (target / made) / (target / made).sum(), "too many"),
            (lambda made, target: (made / target) / (made / target).max(), "other way"),
            (lambda made, target: np.full(3, 0.5)[: len(made)], "not the target"),
        ],
    ),
    "frechet_1d": (
        lambda m1, s1, m2, s2: (m1 - m2) ** 2 + (s1 - s2) ** 2,
        [
            (lambda m1, s1, m2, s2: np.hypot(m1 - m2, s1 - s2), "root"),
            (lambda m1, s1, m2, s2: (m1 - m2) ** 2 + (s1**2 - s2**2) ** 2, "variances"),
            (lambda m1, s1, m2, s2: (m1 - m2) ** 2 + s1**2 + s2**2, "missing"),
            (lambda m1, s1, m2, s2: (m1 - m2) ** 2, "can still differ"),
            (lambda m1, s1, m2, s2: 1.0, "it gives"),
        ],
    ),
    "share_followed": (
        lambda before, after: (after - (1 - before)) / (2 * before - 1),
        [
            (lambda before, after: after, "used to disagree"),
            (lambda before, after: after - (1 - before), "between blind and all"),
            (lambda before, after: after / before, "does not agree on nothing"),
            (lambda before, after: 2 * after - 1, "coins"),
            (lambda before, after: (before - after) / (2 * before - 1), "did *not* follow"),
            (lambda before, after: 0.5, "not yet"),
        ],
    ),
    "false_alarm": (
        1 - 0.975**8,
        [
            (1 - 0.95**8, "either side"),
            (8 * 0.025, "counts it twice"),
            (8 * 0.05, "add up"),
            (0.025, "one group"),
            (0.05, "both sides"),
            (0.975**8, "none does"),
            (0.95**8, "hold zero"),
            (0.5, "isn't it"),
        ],
    ),
    "most_copies": (
        lambda n, found: (1 - 0.05 ** (1 / n)) / found,
        [
            (lambda n, found: 1 - 0.05 ** (1 / n), "finds every copy"),
            (lambda n, found: (1 - 0.05 ** (1 / n)) * found, "not for fewer"),
            (lambda n, found: (1 - 0.95 ** (1 / n)) / found, "95 of 100"),
            (lambda n, found: 0.05 ** (1 / n), "gives no alarm"),
            (lambda n, found: 1 / n, "one face; more"),
            (lambda n, found: 0.5, "not yet"),
        ],
    ),
    "recall": (
        lambda made, real, k: inside(real, made, k).any(1).mean(),
        [
            (lambda made, real, k: inside(made, real, k).any(1).mean(), "precision"),
            (lambda made, real, k: inside(made, real, k).any(0).mean(), "coverage"),
            (lambda made, real, k: inside(real, made, k - 1).any(1).mean(), "one neighbour short"),
            (lambda made, real, k: inside(real, made, k).any(1), "one number"),
            (lambda made, real, k: 0.0, "not yet"),
        ],
    ),
    "rise_of_reported_share": (
        lambda p, recall, false, d: (1 - p) * d,
        [
            (lambda p, recall, false, d: d, "only faces"),
            (lambda p, recall, false, d: p * d, "others"),
            (lambda p, recall, false, d: p * recall + (1 - p) * (false + d), "itself"),
            (lambda p, recall, false, d: 0.5, "subtract"),
        ],
    ),
    "model_card": (
        CARD,
        [
            ({}, "missing"),
            ("a card", "dict"),
            (CARD | {"limits": "None."}, "sentence"),
            (CARD | {"limits": "There are none, for it is unbiased."}, "cure"),
            (CARD | {"measurements": "Shares came out as we wanted them."}, "no number"),
            (CARD | {"measurements": "Shares came out at 0.5 as we wanted."}, "its N"),
        ],
    ),
}
WRONG = [(name, wrong, word) for name, (_, wrongs) in CASES.items() for wrong, word in wrongs]


@pytest.mark.parametrize("name", CASES)
def test_right_answer_passes(name, capsys):
    getattr(course, f"check_{name}")(CASES[name][0])
    assert capsys.readouterr().out.endswith("correct.\n")


@pytest.mark.parametrize(("name", "answer", "word"), WRONG)
def test_wrong_answer_hears_what_is_wrong(name, answer, word, capsys):
    getattr(course, f"check_{name}")(answer)
    said = capsys.readouterr().out
    assert word in said and "correct" not in said


@pytest.mark.parametrize("name", CASES)
def test_missing_answer_is_asked_for(name, capsys):
    for missing in (..., None, lambda *arguments: ...):
        if callable(missing) and not callable(CASES[name][0]):
            continue
        if not callable(missing) and callable(CASES[name][0]):
            continue
        getattr(course, f"check_{name}")(missing)
        assert "not answered yet" in capsys.readouterr().out


def test_compression_diagnoses_each_number(capsys):
    course.check_compression(12, 6)
    assert capsys.readouterr().out.count("correct.") == 2
    for numbers, bits, word in ((4, 8, "three colours"), (12, 24, "more bits"), (12, 12, "same")):
        course.check_compression(numbers, bits)
        assert word in capsys.readouterr().out


def test_published_fd_diagnoses_each_number(capsys):
    course.check_published_fd(0.5, np.sqrt(0.5))
    assert capsys.readouterr().out.count("correct.") == 2
    for reported, right, word in ((0.707, 0.5, "leaves out"), (0, 1, "and then"), (0.3, 1, "run")):
        course.check_published_fd(reported, right)
        assert word in capsys.readouterr().out


def test_two_components_diagnoses_each_number(capsys):
    course.check_two_components(0.2, 0.4, 0.9)
    assert capsys.readouterr().out.count("correct.") == 3
    for weight, low, high, word in (
        (0.8, 0.4, 0.9, "second"),
        (0.5, 0.4, 0.9, "65 %"),
        (0.3, 0.4, 0.9, "55.0%"),
        (2, 0.4, 0.9, "between 0 and 1"),
        (0.2, 0, 1, "no component"),
        (0.2, 0.9, 0.4, "one component only"),
    ):
        course.check_two_components(weight, low, high)
        assert word in capsys.readouterr().out


def test_error_of_guess_diagnoses(capsys):
    course.check_error_of_guess(shrinking_error, LATENTS)
    assert "correct." in capsys.readouterr().out
    for wrong, word in (
        (lambda latents, noise, t: 0.5, "hardly depends"),
        (lambda latents, noise, t: 1 / t, "falls"),
        (lambda latents, noise, t: t / 1000 * 5, "nearer"),
        (lambda *arguments: np.sqrt(shrinking_error(*arguments)), "Squared"),
        (lambda latents, noise, t: np.ones(3), "one number"),
    ):
        course.check_error_of_guess(wrong, LATENTS)
        assert word in capsys.readouterr().out


def test_called_female_diagnoses(capsys):
    course.check_called_female(9, GENDERS)
    assert "correct." in capsys.readouterr().out
    for wrong, word in ((15, "men"), (13, "first 24"), (9 / 24, "share"), (11, "isn't it")):
        course.check_called_female(wrong, GENDERS)
        assert word in capsys.readouterr().out
    course.check_called_female(9, "labels")
    assert "second argument" in capsys.readouterr().out


def test_classifier_error_diagnoses(capsys):
    course.check_classifier_error(0.3, READ)
    assert "correct." in capsys.readouterr().out
    for wrong, word in ((0.7, "right"), (12, "how many"), (30, "per cent"), (0.5, "differ")):
        course.check_classifier_error(wrong, READ)
        assert word in capsys.readouterr().out
    course.check_classifier_error(0.3, 7)
    assert "second argument" in capsys.readouterr().out


def test_times_cheaper_diagnoses(capsys):
    course.check_times_cheaper(TIMES_CHEAPER)
    assert "correct." in capsys.readouterr().out
    for wrong, word in (
        (1 / TIMES_CHEAPER, "other way round"),
        (CALLS["rejection"] / CALLS["overshoot"], "half-way"),
        (CALLS["rejection"] - CALLS["guided"], "difference"),
        (-1, "quotient"),
    ):
        course.check_times_cheaper(wrong)
        assert word in capsys.readouterr().out


def even_weights(groups, total=1.0):
    counts = np.bincount(groups)
    return total * len(groups) / (len(counts) * counts[groups])


def test_balancing_weights_diagnoses(capsys):
    course.check_balancing_weights(even_weights)
    assert "correct." in capsys.readouterr().out
    for wrong, word in (
        (lambda groups: np.bincount(groups)[groups] / 10, "frequent"),
        (lambda groups: np.ones(len(groups)), "alike, so"),
        (lambda groups: even_weights(groups, 0.5), "sum to 10"),
        (lambda groups: np.sqrt(even_weights(groups)), "count ["),
        (lambda groups: 1 / np.bincount(groups), "20 numbers"),
    ):
        course.check_balancing_weights(wrong)
        assert word in capsys.readouterr().out


def t_interval(before, after, quantile=0.975, freedom=1, ddof=1, root=True, sign=1):
    difference = sign * (np.asarray(after) - before)
    n = len(difference)
    half = stats.t.ppf(quantile, n - freedom) * difference.std(ddof=ddof) / (n**0.5 if root else 1)
    return difference.mean(), difference.mean() - half, difference.mean() + half


def unpaired_interval(before, after):
    half = stats.t.ppf(0.975, 7) * np.hypot(stats.sem(before), stats.sem(after))
    mean = np.mean(after) - np.mean(before)
    return mean, mean - half, mean + half


def test_paired_interval_diagnoses(capsys):
    course.check_paired_interval(t_interval)
    assert "correct." in capsys.readouterr().out
    for wrong, word in (
        (lambda b, a: t_interval(b, a, sign=-1), "sign"),
        (lambda b, a: t_interval(b, a, quantile=0.95), "each side"),
        (lambda b, a: t_interval(b, a, freedom=0), "degree of freedom"),
        (lambda b, a: t_interval(b, a, freedom=-(10**6)), "1.96"),
        (lambda b, a: t_interval(b, a, ddof=0), "divides by n"),
        (lambda b, a: t_interval(b, a, root=False), "not of their mean"),
        (unpaired_interval, "independent"),
        (lambda b, a: t_interval(b, a)[:2], "3 numbers"),
    ):
        course.check_paired_interval(wrong)
        assert word in capsys.readouterr().out


def rates(y_true, y_pred, groups):
    called = [[y_pred[(groups == g) & (y_true == y)].mean() for g in range(3)] for y in (0, 1)]
    return np.ptp(called, axis=1)


def test_equalised_odds_diagnoses(capsys):
    course.check_equalised_odds(
        lambda y, p, g: equalized_odds_difference(y, p, sensitive_features=g)
    )
    assert "correct." in capsys.readouterr().out
    for wrong, word in (
        (lambda *a: rates(*a).min(), "smaller"),
        (lambda *a: rates(*a).sum(), "sum"),
        (lambda *a: rates(*a).mean(), "mean"),
        (lambda y, p, g: np.ptp([(y == p)[g == k].mean() for k in range(3)]), "accuracy"),
        (lambda y, p, g: np.ptp([p[g == k].mean() for k in range(3)]), "share called 1"),
        (rates, "one number"),
    ):
        course.check_equalised_odds(wrong)
        assert word in capsys.readouterr().out


def test_reduction_diagnoses(capsys):
    plain, left = FD["plain"], FD["localized_pilot"]
    course.check_reduction(REDUCTION)
    assert "correct." in capsys.readouterr().out
    for wrong, word in (
        (left / plain, "left"),
        (plain - left, "difference"),
        (100 * (1 - left / plain), "per cent"),
        (1 - FD["uniform"] / plain - 0.3, "isn't it"),
    ):
        course.check_reduction(wrong)
        assert word in capsys.readouterr().out


def test_share_of_women_diagnoses(capsys):
    # cells: african women 1 of 2, asian women 5 of 6; the mean of the two is 2/3
    course.check_share_of_women(2 / 3, HEADS)
    assert "correct." in capsys.readouterr().out
    for wrong, word in ((6 / 8, "without weights"), (6 / 12, "all heads"), (1 / 3, "everybody")):
        course.check_share_of_women(wrong, HEADS)
        assert word in capsys.readouterr().out


# --- whatever is handed in ------------------------------------------------------------------------


class Mute:
    """Its words can't be had, nor its numbers."""

    def __repr__(self):
        raise RuntimeError("no words")

    __str__ = __array__ = __float__ = __repr__


def raising(*arguments):
    raise Mute.__new__(type("Mute", (Mute, Exception), {}))


TURNS = itertools.cycle((0.5, "no"))


def now_and_then(*arguments):
    """Works when it is tried, and not when the check asks again with other arguments."""
    return next(TURNS)


VALUES = [
    *(None, ..., True, 0, -1, 1e30, -1e30, 1e308, 10**30, 10**400, np.nan, np.inf, -np.inf, 1j),
    *("", "0.28", "many", b"1", [], (), (1, 2), (1, 2, 3, 4), [[1], [1, 2]], {}, {1}, object()),
    *(np.array([]), np.zeros((2, 2)), np.full(3, np.nan), np.array("1"), np.datetime64("now")),
    *(pd.NA, pd.Series([1.0, 2.0]), pd.DataFrame({"gender": [1]}), Decimal("sNaN"), Mute(), int),
    *(torch.ones(2, requires_grad=True), CARD | {"limits": 3}, dict.fromkeys(CARD, "")),
]
FUNCTIONS = [raising, lambda: 3, *[lambda *arguments, value=value: value for value in VALUES]]
FUNCTIONS += [now_and_then]
GIVEN = {"error_of_guess": LATENTS, "share_of_women": HEADS}
GIVEN |= {"called_female": GENDERS, "classifier_error": READ}
CHECKS = [name for name in course.__all__ if name.startswith("check_")]


def said_of(name, *answers):
    with redirect_stdout(io.StringIO()) as said:
        getattr(course, name)(*answers)
    return said.getvalue()


@pytest.mark.parametrize("name", CHECKS)
@given(data=st.data())
@settings(max_examples=150, suppress_health_check=list(HealthCheck))
@pytest.mark.filterwarnings("ignore")  # what NumPy says of huge numbers
def test_a_check_survives_whatever_is_handed_in(name, data):
    wanted = inspect.signature(getattr(course, name)).parameters
    answers = [data.draw(st.sampled_from(VALUES + FUNCTIONS)) for _ in wanted]
    said = said_of(name, *answers)
    assert said and all(line.startswith("Exercise ") for line in said.splitlines())
    assert "correct" not in said


# promised_fd apart: its right answers are all that are small
@pytest.mark.parametrize("name", [n for n in CASES if callable(CASES[n][0]) and n != "promised_fd"])
@pytest.mark.parametrize("factor", [0, -1, 1e-300, 1e9, 1e200, np.nan])
@pytest.mark.filterwarnings("ignore")
def test_a_check_survives_numbers_of_every_size_in_the_right_shape(name, factor):
    right = CASES[name][0]

    def scaled(*arguments):
        result = right(*arguments)
        pair = isinstance(result, tuple)
        return tuple(part * factor for part in result) if pair else np.asarray(result) * factor

    assert "correct" not in said_of(f"check_{name}", scaled)


@pytest.mark.parametrize("missing", [None, ..., "12", np.nan])
def test_of_several_numbers_each_is_looked_at_alone(missing):
    for name, right in (
        ("check_compression", (12, 6)),
        ("check_published_fd", (0.5, np.sqrt(0.5))),
        ("check_two_components", (0.2, 0.4, 0.9)),
    ):
        for place in range(len(right)):
            answers = [missing if i == place else value for i, value in enumerate(right)]
            verdicts = said_of(name, *answers).splitlines()
            assert ["correct." in line for line in verdicts] == [a is not missing for a in answers]


SECRETS = {name: [answer] for name, (answer, _) in CASES.items() if isinstance(answer, float | int)}
SECRETS |= {"compression": (12, 6), "published_fd": (0.5, np.sqrt(0.5))}
SECRETS |= {"two_components": (0.2, 0.4, 0.9), "share_of_women": [2 / 3]}
SECRETS |= {"reduction": [REDUCTION], "times_cheaper": [TIMES_CHEAPER]}
SECRETS |= {"called_female": [9], "classifier_error": [0.3]}


@pytest.mark.parametrize("name", SECRETS)
@given(value=st.floats(-2, 2) | st.floats(-1e4, 1e4) | st.integers(-10, 10_000))
@settings(suppress_health_check=list(HealthCheck))
def test_a_wrong_number_does_not_hear_the_right_one(name, value):
    answers = [value] * len(SECRETS[name]) + ([GIVEN[name]] if name in GIVEN else [])
    lines = said_of(f"check_{name}", *answers).splitlines()
    for line, secret in zip(lines, SECRETS[name], strict=True):
        words = line.partition(": ")[2]
        for echo in (f"{value:g}", f"{value:.3g}", f"{value:.3f}"):
            words = words.replace(echo, "")
        told = [float(found) for found in re.findall(r"\d+(?:\.\d+)?", words)]
        assert "correct" in line or not np.isclose(told, secret, rtol=0.005).any(), line


def test_a_function_that_works_in_place_does_not_change_what_it_is_asked():
    def in_place(x, block):
        x -= block_means(x, block)
        return x

    def pushed(mean, covariance, b):
        mean *= np.sqrt(b)
        covariance *= b
        covariance += (1 - b) * np.eye(2)
        return mean, covariance

    assert "correct" in said_of("check_detail_left", in_place)
    assert "correct" in said_of("check_push_on", pushed)


# --- the chapters ---------------------------------------------------------------------------------


def test_every_check_of_every_chapter_is_offered_and_used_by_its_notebook():
    offered = set()
    for path in sorted((NOTEBOOKS.parent / "fairgen_utils" / "course").glob("chapter_*.py")):
        module = importlib.import_module(f"fairgen_utils.course.{path.stem}")
        checks = {
            name
            for name, thing in vars(module).items()
            if name.startswith("check_") and thing.__module__ == module.__name__
        }
        (notebook,) = NOTEBOOKS.glob(f"{path.stem[-2:]}_*.ipynb")
        assert set(re.findall(r"\bcourse\.(check_\w+)", notebook.read_text("utf-8"))) == checks
        offered |= checks
    assert offered == set(CHECKS)


def test_checks_are_offered_before_anything_heavy_is_read():
    code = "import sys, fairgen_utils.course; print({'numpy', 'torch'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "set()\n"


def test_a_name_that_is_no_check_is_refused():
    with pytest.raises(AttributeError, match="check_nothing"):
        course.check_nothing  # noqa: B018


def test_exercises_are_those_of_the_solutions():
    script = NOTEBOOKS / "make_exercises.py"
    run = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def test_answers_are_taken_out_of_exercises(monkeypatch):
    monkeypatch.syspath_prepend(NOTEBOOKS)
    from make_exercises import blank

    source = (
        "# your answer\nhelp = 3\na, b = help, 2\n# end of your answer\nprint(a, b)\n"
        "def f(x):\n    # your answer\n    y = x\n    return y\n    # end of your answer\n"
    )
    assert blank(source) == (
        "a = ...  # your answer\nb = ...  # your answer\nprint(a, b)\n"
        "def f(x):\n    return ...  # your answer\n"
    )
