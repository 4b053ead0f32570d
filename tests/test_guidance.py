"""Guidance by a mixture: exact where that can be, even where it is asked to be, else no change."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DEISMultistepScheduler,
    DPMSolverMultistepScheduler,
    UniPCMultistepScheduler,
)
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.stats import kstest, norm
from strategies import share_vectors
from tiny_world import corner_world, exact_mixture, exact_pipeline

from fairgen_utils.generate import Sampler, recommended_sampler
from fairgen_utils.localize import fit_weights, localize_mixture
from fairgen_utils.models.guidance import assign_cells, batch_quotas
from fairgen_utils.models.low_frequency import LowFrequencyMixture
from fairgen_utils.models.world import World

# Quotas


@given(
    target=share_vectors(min_groups=1),
    sizes=st.lists(st.integers(1, 70), min_size=1, max_size=12),
    seed=st.integers(0, 99),
)
# largest remainders, carried over, go astray here: batches of one after a large one
@example(target=np.repeat([0.98 / 9, 0.02 / 9], 9), sizes=[227] + [1] * 20, seed=0)
def test_after_every_batch_no_cell_is_a_whole_face_from_its_share(target, sizes, seed):
    given, n = np.zeros(len(target)), 0
    quotas = list(batch_quotas(target, sizes, seed))
    assert len(quotas) == len(sizes)
    for quota, size in zip(quotas, sizes, strict=True):
        assert (quota >= 0).all() and quota.sum() == size
        given, n = given + quota, n + size
        assert abs(given - n * target).max() < 1
        assert not given[target == 0].any()


def test_quotas_of_the_first_batches_stay_whatever_follows():
    few, many = (list(batch_quotas([0.5, 0.3, 0.2], [7] * n, seed=3)) for n in (3, 9))
    assert [q.tolist() for q in few] == [q.tolist() for q in many[:3]]


def test_no_cell_is_always_the_one_that_is_rounded_down():
    # Four faces for three cells: over 300 seeds the extra one goes to each a hundred times,
    # standard deviation 8.
    extra = sum(next(batch_quotas(np.full(3, 1 / 3), [4], seed)) == 2 for seed in range(300))
    assert extra.sum() == 300 and abs(extra - 100).max() < 35


# Assignment


@given(seed=st.integers(0, 10_000), quota=st.sampled_from([(2, 2, 2), (1, 5, 0), (3, 2, 1)]))
def test_no_other_assignment_that_fills_the_quotas_asks_for_less_change(seed, quota):
    log_proba = np.log(np.random.default_rng(seed).dirichlet(np.full(3, 0.3), 6) + 1e-12)
    places = np.repeat(np.arange(3), quota)
    best = max(
        log_proba[np.arange(6), list(cells)].sum() for cells in set(itertools.permutations(places))
    )
    cells = assign_cells(log_proba, np.array(quota))
    assert np.bincount(cells, minlength=3).tolist() == list(quota)
    assert log_proba[np.arange(6), cells].sum() == pytest.approx(best)


def test_who_fits_the_quotas_already_changes_nothing():
    cells = np.array([0, 2, 1, 0])
    log_proba = np.where(np.eye(3)[cells], -0.1, -5)
    log_proba[:, 1] = np.where(cells == 1, -0.1, -np.inf)  # some cannot be had at all
    assert assign_cells(log_proba, np.array([2, 1, 1])).tolist() == cells.tolist()


# Exact where score and mixture are exact

# Two cells 2.3 deviations apart: which one a face is of can be doubted, and a step too long shows.
DOUBTFUL = {"sample_size": 2, "spread": 1.5}
PREDICTIONS = ("epsilon", "v_prediction", "sample")
SCHEDULERS = (
    *(DDIMScheduler, DDPMScheduler, DPMSolverMultistepScheduler),
    *(DEISMultistepScheduler, UniPCMultistepScheduler),
)


def exact_world(prediction_type="epsilon", scheduler=DDIMScheduler, steps=100, **data):
    """A world of which a sampler asks for nothing but its generator, and that is perfect."""
    pipeline = exact_pipeline(prediction_type, scheduler, **data)
    attributes = {"tone": ("dark", "bright")}
    return World("exact", attributes, ("tone",), ("tone",), pipeline, None, 500, steps)


def guided(world, target, **settings):
    settings = {"strength": 1, "first_guided_step": 0, "num_inference_steps": None} | settings
    return Sampler(world, guide=exact_mixture(world.pipeline), weights=target, **settings)


def misfit(world, latents, target):
    """Largest distance between the latents' distribution and that of cells at the target shares.

    Kolmogorov and Smirnov's, of what tells the cells apart: pixels summed, to an orthonormal axis.
    """
    network = world.pipeline.unet
    along = latents.reshape(len(latents), -1).sum(1) / np.sqrt(network.means.shape[1])
    centres = network.means.numpy().sum(1) / np.sqrt(network.means.shape[1])

    def wanted(x):
        return norm.cdf((np.asarray(x)[:, None] - centres) / network.config.spread) @ target

    return kstest(along, wanted).statistic


N = 1000
SOLVER = 0.015  # at most, of a hundred steps: .006 over all and .015 in one cell at N = 50,000
# Independent faces of exactly the wanted distribution are farther off than 1.95/sqrt(N) once in
# a thousand times; quotas can only help.
WITHIN = 1.95 / np.sqrt(N) + SOLVER


@pytest.mark.parametrize("scheduler", SCHEDULERS)
@pytest.mark.parametrize("prediction_type", PREDICTIONS)
@pytest.mark.slow
def test_at_strength_one_faces_are_exactly_the_targets(prediction_type, scheduler):
    # Score of the data plus gradient of log p(cell | x_t) is the score of the cell, by Bayes'
    # rule; cells drawn without a look at the faces keep noise Gaussian within each.
    world = exact_world(prediction_type, scheduler, **DOUBTFUL)
    target = [0.35, 0.65]
    sampler = guided(world, target, assignment="random", batch_size=500)
    latents, cells = sampler.latents(N, seed=1, progress=False)
    assert np.bincount(cells).tolist() == [350, 650]
    assert misfit(world, latents, target) < WITHIN
    for cell in (0, 1):  # and within each cell
        members = latents[cells == cell]
        assert misfit(world, members, np.eye(2)[cell]) < 1.95 / np.sqrt(len(members)) + SOLVER


def test_no_other_strength_is_exact():
    # What the test above can tell: cells 2.3 deviations apart, a quarter of the shares to shift.
    world, target = exact_world(**DOUBTFUL), [0.35, 0.65]
    for strength in (0.5, 2):
        sampler = guided(world, target, strength=strength, assignment="random", batch_size=500)
        assert misfit(world, sampler.latents(N, 1, progress=False)[0], target) > 1.5 * WITHIN
    plain = Sampler(world, batch_size=500).latents(N, 1, progress=False)[0]
    assert misfit(world, plain, target) > 0.3
    assert misfit(world, plain, [0.8, 0.2]) < WITHIN


@pytest.mark.parametrize("kind", ["tied", "full"])
@pytest.mark.parametrize("first_guided_step", [0, 10])
def test_the_nearest_faces_of_a_batch_fill_the_quotas_and_end_in_their_cells(
    first_guided_step, kind
):
    world = exact_world(sample_size=4, steps=50)  # here no face's cell can be doubted
    guide, target = exact_mixture(world.pipeline, kind), [0.3, 0.7]
    settings = {"strength": 4, "first_guided_step": first_guided_step}
    sampler = Sampler(world, guide=guide, weights=target, **settings)
    latents, cells = sampler.latents(200, seed=1, progress=False)
    assert np.bincount(cells).tolist() == [60, 140]
    assert ((latents.mean((1, 2, 3)) > 0) == cells).all()


def test_nearest_cells_change_faces_less_than_cells_drawn():
    # A fifth of plain faces is bright and half are to be. If chance chooses whom, half of all are
    # asked to change their cell: .8 * .5 + .2 * .5; at best .3 are.
    world = exact_world(sample_size=4, steps=50)
    plain = Sampler(world).latents(192, 1, progress=False)[0]
    moved = {}
    for assignment in ("nearest", "random"):
        sampler = guided(world, [0.5, 0.5], assignment=assignment)
        latents, cells = sampler.latents(192, 1, progress=False)
        assert np.bincount(cells).tolist() == [96, 96]
        moved[assignment] = ((latents.mean((1, 2, 3)) > 0) != (plain.mean((1, 2, 3)) > 0)).mean()
    assert moved["random"] == pytest.approx(0.5, abs=0.11)  # three standard errors, N = 192
    assert moved["nearest"] == pytest.approx(0.3, abs=0.1)  # those of plain's own share
    assert moved["nearest"] < moved["random"] - 0.1


def test_cells_drawn_at_random_know_nothing_of_the_faces_and_are_drawn_again_alike():
    world = exact_world(sample_size=4, steps=5)
    sampler = guided(world, [0.25, 0.75], assignment="random", batch_size=40)
    first, again, other = (sampler.latents(80, seed, False)[1].tolist() for seed in (1, 1, 2))
    assert first == again != other
    assert first[:40] != first[40:] and sum(first[:40]) == sum(first[40:]) == 30
    # another generator, the same cells
    elsewhere = guided(exact_world(sample_size=2, steps=5), [0.25, 0.75], assignment="random")
    elsewhere.batch_size = 40
    assert elsewhere.latents(80, 1, progress=False)[1].tolist() == first


# Out of the way


@pytest.mark.parametrize("scheduler", [DDIMScheduler, DDPMScheduler, DPMSolverMultistepScheduler])
@pytest.mark.parametrize("out", [{"strength": 0}, {"first_guided_step": 10}])
def test_without_strength_or_steps_guidance_is_plain_sampling_bit_for_bit(out, scheduler):
    world = exact_world(scheduler=scheduler, steps=10, sample_size=4)
    sampler = guided(world, [0.5, 0.5], **({"strength": 4} | out))
    faces, _ = sampler.latents(70, seed=3, progress=False)
    assert np.array_equal(faces, Sampler(world).latents(70, 3, progress=False)[0])


@pytest.mark.parametrize("first_guided_step", [0, 3])
def test_plain_and_guided_faces_of_a_seed_are_pairs_up_to_the_first_guided_step(first_guided_step):
    world = exact_world(steps=10, sample_size=4)
    seen = []
    hook = world.pipeline.unet.register_forward_pre_hook(
        lambda network, inputs: seen.append(inputs[0].numpy().copy())
    )
    Sampler(world).latents(20, seed=5, progress=False)
    plain, seen[:] = list(seen), []
    guided(world, [0, 1], first_guided_step=first_guided_step).latents(20, 5, progress=False)
    hook.remove()
    same = [np.array_equal(one, other) for one, other in zip(plain, seen, strict=True)]
    # the first guided step is the first to leave other latents behind it
    assert same == [True] * (first_guided_step + 1) + [False] * (9 - first_guided_step)


# Any target

@pytest.fixture(scope="module")
def corners():
    return replace(corner_world(), first_guided_step=0)


def shares_of(world, sample, attribute):
    labels = world.joint(sample.predictions.labels, attribute)
    return np.bincount(labels, minlength=len(world.groups(attribute))) / len(labels)


@pytest.mark.parametrize(
    ("attribute", "target"),
    [
        ("tone", None),
        ("tone", [0.25, 0.75]),
        ("side", [0.0, 1.0]),
        (("tone", "side"), None),
        (("side", "tone"), [0.4, 0.3, 0.2, 0.1]),
        (None, [0.05, 0.15, 0.3, 0.5]),
    ],
)
def test_every_target_is_met_face_by_face(corners, attribute, target):
    sampler = recommended_sampler(corners, attribute, target)
    sample = sampler.draw(120, seed=2, progress=False)
    groups = corners.groups(attribute or corners.target)
    wanted = np.full(len(groups), 1 / len(groups)) if target is None else np.array(target)
    # every cell within one face of its share, and no face outside of its cell
    assert (
        abs(np.bincount(sample.components, minlength=len(groups)) - 120 * wanted) < 1 + 1e-9
    ).all()
    labels = corners.joint(sample.predictions.labels, attribute or corners.target)
    assert (labels == sample.components).all()


def test_what_is_no_goal_is_left_as_it_was(corners):
    # Tone made even, dark faces keep their sides (2 : 1) and bright ones theirs (3 : 2).
    sample = recommended_sampler(corners, "tone").draw(400, 0, progress=False)
    joint = shares_of(corners, sample, ("tone", "side"))
    # three standard errors of 200 faces each: .1; that faces near the other tone move first, .05
    assert joint[0] / joint[:2].sum() == pytest.approx(2 / 3, abs=0.15)
    assert joint[2] / joint[2:].sum() == pytest.approx(3 / 5, abs=0.15)


def test_several_goals_are_met_at_once(corners):
    sampler = Sampler(corners, guide=localize_mixture(corners, corners.target, 1, "tied"))
    goals, targets = ["tone", "side"], [[0.3, 0.7], [0.6, 0.4]]
    weights, tables, pilot = fit_weights(sampler, goals, targets, 30, seed=1, progress=False)
    # here every face of the pilot is where it was led
    assert [table.sum() for table in tables] == [120, 120] and len(pilot) == 120
    assert np.bincount(pilot.components).tolist() == [30] * 4
    sample = sampler.with_weights(weights).draw(200, 2, progress=False)
    for goal, target in zip(goals, targets, strict=True):
        # weights lean a little toward even ones, for the pilot's few faces
        np.testing.assert_allclose(shares_of(corners, sample, goal), target, atol=0.02)


def test_a_pilot_leaves_out_cells_that_nothing_leads_to(corners):
    latents, labels = corners.latents()
    few = replace(corners)
    kept = corners.joint(labels, ("tone", "side")) != 1
    few.set_pool(latents[kept], {name: values[kept] for name, values in labels.items()})
    guide = localize_mixture(few, ("tone", "side"), 1, "tied")
    sampler = Sampler(few, guide=guide, weights=[0.5, 0, 0.25, 0.25])
    weights, table, pilot = fit_weights(
        sampler, ("tone", "side"), [0.5, 0, 0.25, 0.25], 10, 0, progress=False
    )
    assert np.bincount(pilot.components).tolist() == [10, 0, 10, 10]
    assert weights[1] == 0 and weights == pytest.approx([0.5, 0, 0.25, 0.25], abs=0.05)
    for refused in (None, np.full(4, 0.25)):
        with pytest.raises(ValueError, match=r"^weights: .* no face of cells \[1\]"):
            Sampler(few, guide=guide, weights=refused)
    with pytest.raises(ValueError, match=r"^cells: .* no face of cells \[1\]"):
        sampler.same_face(0, cells=[0, 1])
    assert sampler.same_face(0).components.tolist() == [0, 2, 3]


# The same face


def test_a_face_led_to_every_cell_is_among_them_the_one_that_is_drawn(corners):
    sampler = recommended_sampler(corners)
    sampler.batch_size = 8
    drawn = sampler.draw(20, seed=4, progress=False)
    for index in (0, 7, 13):
        faces = sampler.same_face(4, index)
        assert faces.components.tolist() == [0, 1, 2, 3]
        labels = corners.joint(faces.predictions.labels, corners.target)
        assert labels.tolist() == [0, 1, 2, 3]
        own = drawn.components[index]
        # another batch: a grey level of rounding
        assert abs(faces.images[own].astype(int) - drawn.images[index]).max() <= 1
        others = np.delete(faces.images.astype(int), own, axis=0)
        assert (abs(others - drawn.images[index]).max((1, 2, 3)) > 20).all()


def test_the_same_face_in_chosen_cells_and_in_more_cells_than_a_batch_has(corners):
    sampler = recommended_sampler(corners)
    every = sampler.same_face(1, 3).images.astype(int)
    some = sampler.same_face(1, 3, cells=[2, 0]).images.astype(int)
    assert abs(some - every[[2, 0]]).max() <= 1
    sampler.batch_size = 1
    again = sampler.same_face(1, 0).images.astype(int)
    wide = recommended_sampler(corners).same_face(1, 0).images.astype(int)
    assert abs(again - wide).max() <= 1


# Where guidance may begin, and in what


def test_guidance_may_begin_from_a_mixture_instead_of_noise(corners):
    start = localize_mixture(corners, "tone")
    guide = localize_mixture(corners, corners.target, 1, "tied")
    sampler = Sampler(corners, start=start, guide=guide, weights=[0.1, 0.2, 0.3, 0.4])
    sample = sampler.draw(100, 0, progress=False)
    assert np.bincount(sample.components).tolist() == [10, 20, 30, 40]
    labels = corners.joint(sample.predictions.labels, corners.target)
    assert (labels == sample.components).all()
    assert sampler.nfe < corners.num_inference_steps
    # out of the way again, the start keeps its own weights
    sampler = Sampler(corners, start=start, guide=guide, strength=0)
    alone = Sampler(corners, start=start).latents(20, 0, progress=False)
    for one, other in zip(sampler.latents(20, 0, progress=False), alone, strict=True):
        assert np.array_equal(one, other)


def test_large_latents_are_guided_by_their_low_frequencies():
    world = exact_world(steps=20, sample_size=32)
    clean = np.where(np.arange(80) % 2, 0.5, -0.5)[:, None, None, None]
    clean = clean + np.random.default_rng(0).normal(0, 0.15, (80, 3, 32, 32))
    guide = LowFrequencyMixture(1, 2, "tied").fit(clean, np.arange(80) % 2)
    sampler = Sampler(world, guide=guide, weights=[0.25, 0.75], strength=2, first_guided_step=2)
    latents, cells = sampler.latents(40, 0, progress=False)
    plain, _ = Sampler(world).latents(40, 0, progress=False)
    assert np.bincount(cells).tolist() == [10, 30]
    assert ((latents.mean((1, 2, 3)) > 0) == cells).all()
    # fine detail, the same in all cells, stays plain sampling's own
    fine, plains = (x - guide.spread(guide.coarse(x)) for x in (latents, plain))
    np.testing.assert_allclose(fine, plains, atol=1e-4)
    assert fine.std() > 0.05


def test_what_is_recommended_is_the_worlds_strength_and_first_step_and_one_pooled_covariance(
    corners,
):
    world = replace(corners, strength=2.5, first_guided_step=3)
    sampler = recommended_sampler(world, "side")
    assert (sampler.strength, sampler.first_guided_step) == (2.5, 3)
    assert sampler.guide.covariance_type == "tied" and len(sampler.guide.covariances_) == 1
    assert sampler.assignment == "nearest" and sampler.weights.tolist() == [0.5, 0.5]
    assert sampler.nfe == Sampler(world).nfe
