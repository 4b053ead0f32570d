"""Each test is named after the promise it keeps."""

import itertools

import numpy as np
import pytest
from scipy.special import softmax
from tiny_world import colours

from fairgen_utils.generate import Sampler
from fairgen_utils.localize import localize_mixture
from fairgen_utils.models.diffusion import denoise, encode
from fairgen_utils.models.mixture import LatentMixture
from fairgen_utils.models.one_step import OneStep, nearest_groups, transport, truncate_within
from fairgen_utils.models.own_world import own_world

RNG = np.random.default_rng(0)
MEANS = np.array([[0, 0, 0], [2, -1, 0.5], [-1, 1, 3]], np.float32)
FACTOR = np.array([[1, 0, 0], [0.5, 0.7, 0], [-0.2, 0.3, 1.2]])
COVARIANCE = FACTOR @ FACTOR.T


class Painter(OneStep):
    """Paints a latent's first value as brightness: every second face is bright."""

    latent_shape = (3,)
    image_size = 8

    def draw(self, n, seed):
        latents = np.random.default_rng(seed).normal(0, 0.1, (n, 3)).astype(np.float32)
        latents[::2, 0] += 1
        return latents

    def decode(self, latents, progress=True):
        grey = (255 * np.clip(np.asarray(latents)[:, :1], 0, 1)).astype(np.uint8)
        return np.broadcast_to(grey[:, None, None], (len(grey), 8, 8, 3)).copy()


def by_brightness(images):
    bright = images.mean((1, 2, 3)) > 128
    return {"tone": np.eye(2)[bright.astype(int)]}


def painter_world(**changed):
    with pytest.warns(UserWarning, match="no labelled faces"):
        return own_world(
            Painter(), by_brightness, {"tone": ("dark", "bright")}, pool_size=60, **changed
        )


def log_posterior(latents):
    """Log-probability of each of three Gaussians of one covariance, from its definition."""
    inverse = np.linalg.inv(COVARIANCE)
    away = latents[:, None] - MEANS
    joint = -0.5 * np.einsum("nki,ij,nkj->nk", away, inverse, away)
    return np.log(softmax(joint, axis=1))


def test_a_world_measures_and_localizes_with_a_generator_of_one_step():
    world = painter_world()
    latents, labels = world.latents()
    assert latents.shape == (60, 3) and np.bincount(labels["tone"]).tolist() == [30, 30]
    mixture = localize_mixture(world, "tone")
    assert mixture.means_[:, 0] == pytest.approx([0, 1], abs=0.1)
    drawn, components = mixture.sample(40, 1, [0.25, 0.75])
    found = world.classify(world.pipeline.decode(drawn)).labels["tone"]
    assert (found == mixture.cells_[components]).mean() > 0.9


@pytest.mark.parametrize(
    "call",
    [
        lambda painter: denoise(painter, np.zeros((1, 3, 8, 8)), 999),
        lambda painter: encode(painter, np.zeros((1, 8, 8, 3), np.uint8)),
    ],
)
def test_what_needs_a_diffusion_model_says_so_by_name(call):
    with pytest.raises(AttributeError, match="Painter makes a face in one step.*draw and decode"):
        call(Painter())


def test_a_sampler_refuses_it_by_name_before_any_work():
    with pytest.raises(ValueError, match="Painter has no unet"):
        Sampler(painter_world())


def test_another_missing_name_is_an_ordinary_error():
    with pytest.raises(AttributeError, match="no attribute 'colour'"):
        print(Painter().colour)


def test_latents_of_another_shape_are_no_pool():
    with pytest.raises(ValueError, match="latents: found shape"):
        painter_world().set_pool(np.zeros((4, 2)), {"tone": np.zeros(4, int)})


def test_a_move_at_strength_one_turns_one_gaussian_into_the_other_at_the_least_cost():
    latents = MEANS[0] + RNG.standard_normal((400, 3)) @ FACTOR.T
    present = np.tile([1.0, 0, 0], (400, 1))
    moved = transport(latents, present, np.ones(400, int), MEANS)
    assert moved.mean(0) - latents.mean(0) == pytest.approx(MEANS[1] - MEANS[0], abs=1e-5)
    assert np.cov(moved.T) == pytest.approx(np.cov(latents.T), abs=1e-4)
    # no map can cost less than the squared distance of the means (Jensen's inequality)
    cost = ((moved - latents) ** 2).sum(1).mean()
    assert cost == pytest.approx(((MEANS[1] - MEANS[0]) ** 2).sum(), rel=1e-5)


def test_the_move_is_the_covariance_times_the_gradient_of_the_log_posterior():
    latents = RNG.standard_normal((6, 3))
    wanted = np.array([0, 1, 2, 0, 1, 2])
    h, gradient = 1e-5, np.empty((6, 3))
    for i, step in enumerate(h * np.eye(3)):
        ahead, behind = log_posterior(latents + step), log_posterior(latents - step)
        gradient[:, i] = ((ahead - behind) / (2 * h))[np.arange(6), wanted]
    moved = transport(latents, np.exp(log_posterior(latents)), wanted, MEANS, strength=0.5)
    assert moved - latents == pytest.approx(0.5 * gradient @ COVARIANCE, abs=1e-4)


def test_who_is_not_asked_to_move_stays_exactly():
    latents = RNG.standard_normal((5, 3)).astype(np.float32)
    present = np.full((5, 3), 1 / 3)
    moved = transport(latents, present, [-1, 0, -1, 2, -1], MEANS)
    assert (moved == latents).all(1).tolist() == [True, False, True, False, True]
    assert (transport(latents, present, np.full(5, -1), MEANS) == latents).all()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"means": MEANS[:, :2]}, "means: found shape"),
        ({"wanted": [0, 1, 3]}, "wanted"),
        ({"wanted": [0, 1]}, "wanted: found 3 rows"),
        ({"present": np.full((3, 3), 0.5)}, "present"),
        ({"strength": -1}, "strength: found -1"),
    ],
)
def test_a_move_that_makes_no_sense_is_refused_by_name(changed, said):
    settings = {"latents": np.zeros((3, 3)), "present": np.eye(3), "wanted": [0, 1, 2]}
    with pytest.raises(ValueError, match=said):
        transport(**(settings | {"means": MEANS} | changed))


def test_quotas_are_met_by_whoever_is_nearest_and_nobody_moves_without_need():
    log_probabilities = np.log(RNG.dirichlet(np.ones(3), 9))
    present = np.array([0] * 6 + [1] * 3)
    target = [3 / 9, 3 / 9, 3 / 9]
    wanted = nearest_groups(log_probabilities, present, target)
    ends = np.where(wanted == -1, present, wanted)
    assert np.bincount(ends).tolist() == [3, 3, 3]
    assert (wanted != -1).sum() == 3 and set(wanted) == {-1, 2}
    # of all choices of three among the six that are too many, the likeliest
    best = max(
        itertools.combinations(range(6), 3), key=lambda some: log_probabilities[list(some), 2].sum()
    )
    assert np.flatnonzero(wanted == 2).tolist() == list(best)


def test_even_faces_need_no_move():
    assert (nearest_groups(np.zeros((6, 3)), [0, 0, 1, 1, 2, 2], np.full(3, 1 / 3)) == -1).all()


def test_truncation_within_groups_keeps_their_means_and_shrinks_the_rest():
    latents = np.concatenate([mean + RNG.standard_normal((50, 3)) for mean in MEANS])
    mixture = LatentMixture().fit(latents, np.repeat([0, 1, 2], 50))
    inward = truncate_within(mixture, 0.5)
    assert (inward.means_ == mixture.means_).all()
    assert inward.covariances_ == pytest.approx(mixture.covariances_ / 4)
    with pytest.raises(ValueError, match="psi: found 0"):
        truncate_within(mixture, 0)


def test_quality_of_one_step_faces_is_judged_as_any_others():
    images = Painter().decode(Painter().draw(20, 3))
    labelled = images, {"tone": by_brightness(images)["tone"].argmax(1)}
    world = own_world(
        Painter(), by_brightness, {"tone": ("dark", "bright")}, labelled=labelled, features=colours
    )
    assert world.confusion("tone") == pytest.approx(np.eye(2))
