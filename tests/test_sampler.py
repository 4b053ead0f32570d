"""One Sampler: the same settings and seed give the same faces, however they are asked for."""

import itertools
import json

import numpy as np
import pytest
from tiny_world import make_world

from fairgen_utils.generate import Sampler
from fairgen_utils.localize import localize_mixture
from fairgen_utils.models.diffusion import decode

BATCH = 16
# A batch of another size adds in another order: float32 rounding, grown over the steps.
REORDERED = 1e-4


@pytest.fixture(scope="module")
def world():
    return make_world(size=4, num_inference_steps=10, timestep=600)


@pytest.fixture(scope="module")
def samplers(world):
    start = localize_mixture(world, "tone")
    guide = localize_mixture(world, "tone", covariance_type="tied")
    return {
        "plain": Sampler(world, batch_size=BATCH),
        "start": Sampler(world, start=start, weights=[0.5, 0.5], batch_size=BATCH),
        "guide": Sampler(world, guide=guide, weights=[0.3, 0.7], batch_size=BATCH),
        "drawn": Sampler(world, guide=guide, assignment="random", batch_size=BATCH),
    }


def same(one, other):
    for mine, theirs in zip(one, other, strict=True):
        if mine is None:
            assert theirs is None
        else:
            np.testing.assert_allclose(mine, theirs, atol=REORDERED)


KINDS = ("plain", "start", "guide", "drawn")


@pytest.mark.parametrize("kind", KINDS)
def test_only_the_same_seed_gives_the_same_faces(samplers, kind):
    first, again, other = (samplers[kind].latents(20, seed, False)[0] for seed in (3, 3, 4))
    assert np.array_equal(first, again)
    assert not np.allclose(first, other, atol=0.1)


@pytest.mark.parametrize("kind", ["plain", "start"])
def test_fifty_faces_are_the_first_fifty_of_a_hundred(samplers, kind):
    few, many = (samplers[kind].latents(n, 7, progress=False) for n in (50, 100))
    same(few, [None if part is None else part[:50] for part in many])


@pytest.mark.parametrize("kind", KINDS)
def test_whole_batches_are_the_first_of_any_run(samplers, kind):
    few, many = (samplers[kind].latents(n, 7, progress=False) for n in (3 * BATCH, 100))
    same(few, [None if part is None else part[: 3 * BATCH] for part in many])


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_shared_by_processes_is_the_run_of_one(samplers, kind):
    sampler = samplers[kind]
    whole = sampler.draw(70, 7, progress=False)
    parts = [
        sampler.draw(n, 7, progress=False, first_batch=first)
        for n, first in ((2 * BATCH, 0), (BATCH, 2), (70 - 3 * BATCH, 3))
    ]
    images = np.concatenate([part.images for part in parts])
    assert abs(images.astype(int) - whole.images).max() <= 1  # a level that rounds the other way
    if whole.components is not None:
        assert np.concatenate([part.components for part in parts]).tolist() == (
            whole.components.tolist()
        )


def test_batches_of_a_run_are_not_alike(samplers):
    latents = samplers["plain"].latents(3 * BATCH, 0, progress=False)[0].reshape(3, BATCH, -1)
    for one, other in itertools.combinations(latents, 2):
        assert not np.allclose(one, other, atol=0.5)


@pytest.mark.parametrize("kind", KINDS)
def test_faces_are_the_decoded_latents_with_the_classifiers_word(world, samplers, kind):
    sample = samplers[kind].draw(20, 1, progress=False)
    latents, components = samplers[kind].latents(20, 1, progress=False)
    assert np.array_equal(sample.images, decode(world.pipeline, latents, progress=False))
    said = world.classify(sample.images)
    assert np.array_equal(sample.predictions.labels["tone"], said.labels["tone"])
    assert np.array_equal(sample.predictions.features, said.features)
    assert len(sample) == 20 and sample.faces_per_second == 20 / sample.seconds
    if kind == "plain":
        assert sample.components is None is components
    else:
        assert sample.components.tolist() == components.tolist()


def test_a_classifier_that_is_not_asked_says_nothing(world, samplers, monkeypatch):
    monkeypatch.setattr(world, "classifier", None)
    sample = samplers["plain"].draw(3, 0, progress=False, classify=False)
    assert sample.predictions is None and len(sample) == 3


@pytest.mark.parametrize("progress", [True, False])
def test_progress_is_told_after_every_batch(samplers, progress):
    told = []
    samplers["plain"].draw(40, 0, progress, on_batch=lambda *now: told.append(now))
    assert told == [(16, 40), (32, 40), (40, 40)]


def test_what_is_raised_on_a_batch_ends_the_draw(samplers):
    class Cancelled(Exception):
        pass

    def cancel(done, n):
        told.append(done)
        if done > BATCH:
            raise Cancelled

    told = []
    with pytest.raises(Cancelled):
        samplers["plain"].draw(100, 0, progress=False, on_batch=cancel)
    assert told == [16, 32]


@pytest.mark.parametrize("kind", KINDS[1:])
def test_other_weights_are_another_sampler_and_leave_the_first_alone(samplers, kind):
    sampler = samplers[kind]
    before = sampler.weights.tolist(), sampler.preparation
    other = sampler.with_weights([0, 1], preparation=7.0)
    assert set(other.latents(20, 0, progress=False)[1]) == {1}
    assert other.preparation == 7
    assert (sampler.weights.tolist(), sampler.preparation) == before
    assert set(sampler.latents(20, 0, progress=False)[1]) == {0, 1}


# What a face depends on is in the settings

SETTINGS = [
    {},
    {"num_inference_steps": 9},
    {"batch_size": 8},
    {"weights": [0.4, 0.6]},
    {"strength": 3},
    {"first_guided_step": 1},
    {"assignment": "random"},
    {"name": "other"},
]


def test_settings_that_give_other_faces_are_other_settings_and_can_be_written_down(world):
    guide = localize_mixture(world, "tone", covariance_type="tied")
    found = [Sampler(world, guide=guide, **settings).settings for settings in SETTINGS]
    start = localize_mixture(world, "tone")
    found += [Sampler(world, start=start, timestep=t).settings for t in (600, 300)]
    found += [Sampler(world).settings]
    texts = [json.dumps(settings, sort_keys=True) for settings in found]
    assert len(set(texts)) == len(texts)
    for text, settings in zip(texts, found, strict=True):
        assert json.loads(text) == settings


def test_cost_is_the_calls_of_the_network_for_a_face(world, samplers):
    calls = []
    hook = world.pipeline.unet.register_forward_hook(
        lambda network, inputs, output: calls.append(len(inputs[0]))
    )
    for sampler in samplers.values():
        calls.clear()
        sampler.latents(20, 0, progress=False)
        assert sum(calls) == 20 * sampler.nfe
    hook.remove()
    assert samplers["plain"].nfe == samplers["guide"].nfe == 10
    assert samplers["start"].nfe == 7  # 600, 500, ..., 0 of 900, 800, ..., 0
