"""Each test is named after the promise it keeps."""

import numpy as np
import pytest
import torch
from conftest import build_pipeline
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DDPMPipeline,
    DDPMScheduler,
    EulerDiscreteScheduler,
    LDMPipeline,
    VQModel,
)
from tiny_world import (
    ATTRIBUTES,
    BRIGHT,
    by_brightness,
    colours,
    exact_pipeline,
    make_world,
    random_unet,
)

from fairgen_utils.generate import Sampler, recommended_sampler
from fairgen_utils.judge import audit_fairness, audit_quality
from fairgen_utils.localize import fit_weights, localize_mixture
from fairgen_utils.models.diffusion import decode, encode
from fairgen_utils.models.low_frequency import LowFrequencyMixture
from fairgen_utils.models.mixture import LatentMixture
from fairgen_utils.models.own_world import own_world
from fairgen_utils.models.pipeline import latent_shape


def random_autoencoder(kind):
    torch.manual_seed(1)
    return kind(
        block_out_channels=(4, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=3,
        norm_num_groups=4,
        layers_per_block=1,
    ).eval()


def random_pipeline(kind):
    """A pipeline of each family, of random weights."""
    if kind == "ours":
        return build_pipeline()
    if kind == "pixels, noise":
        return DDPMPipeline(random_unet(3, 32), DDPMScheduler())
    if kind == "pixels, velocity":
        scheduler = DDIMScheduler(prediction_type="v_prediction")
        return DDPMPipeline(random_unet(3, 32), scheduler)
    if kind == "pixels, not square":
        return DDPMPipeline(random_unet(3, (16, 32)), DDIMScheduler())
    autoencoder = random_autoencoder(VQModel if kind == "vector-quantised" else AutoencoderKL)
    scheduler = DDIMScheduler(prediction_type="sample", clip_sample=False)
    return LDMPipeline(vqvae=autoencoder, unet=random_unet(3, 16), scheduler=scheduler)


KINDS = (
    "ours",
    "pixels, noise",
    "pixels, velocity",
    "pixels, not square",
    "vector-quantised",
    "variational",
)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_pipeline_walks_the_whole_road_from_disk(kind, tmp_path):
    random_pipeline(kind).save_pretrained(tmp_path / "generator")
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (40, 32, 32, 3), np.uint8)
    images[:20] //= 2
    world = own_world(
        tmp_path / "generator",
        by_brightness,
        ATTRIBUTES,
        labelled=(images, {"tone": np.arange(40) // 20}),
        features=colours,
        pool_size=12,
        num_inference_steps=3,
    )
    latents, labels = world.latents()
    assert latents.shape == (12, *latent_shape(world.pipeline))
    # random networks make pictures of one kind: tell the pool's halves apart all the same
    world.set_pool(latents, {"tone": np.arange(12) % 2})
    mixture = localize_mixture(world, "tone")
    large = np.prod(latent_shape(world.pipeline)) > 1024
    assert isinstance(mixture, LowFrequencyMixture if large else LatentMixture)
    sampler = Sampler(world, start=mixture)
    weights, table, _ = fit_weights(sampler, "tone", [0.5, 0.5], 3, seed=1, progress=False)
    assert table.sum() == 6 and weights.sum() == pytest.approx(1)
    sample = sampler.with_weights(weights).draw(4, 0, progress=False)
    assert sample.images.dtype == np.uint8 and len(sample.images) == 4
    assert len(Sampler(world).draw(3, 0, progress=False)) == 3
    guided = recommended_sampler(world, "tone").draw(4, 0, progress=False)
    assert sorted(guided.components) == [0, 0, 1, 1]
    assert 0 <= audit_fairness(world, sample.predictions, "tone")["fd"] <= 1
    assert np.isfinite(audit_quality(world, sample.predictions)["ffd"])


# A generator whose every number is known


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction", "sample"])
def test_an_exact_generator_has_the_shares_of_its_data_and_then_those_asked_for(prediction_type):
    world = make_world(size=8)
    world.pipeline = exact_pipeline(prediction_type, sample_size=8)
    plain = Sampler(world).draw(400, seed=1, progress=False)
    # binomial, N = 400: three standard errors
    assert plain.predictions.labels["tone"].mean() == pytest.approx(BRIGHT, abs=0.06)
    sampler = Sampler(world, start=localize_mixture(world, "tone"))
    weights, table, _ = fit_weights(sampler, "tone", [0.3, 0.7], 60, seed=2, progress=False)
    # here a component's faces stay what they began as
    assert table.sum() == 120 and table[0, 1] == table[1, 0] == 0
    np.testing.assert_allclose(weights, [0.3, 0.7], atol=0.02)
    fair = sampler.with_weights(weights).draw(400, 3, progress=False)
    assert fair.predictions.labels["tone"].mean() == pytest.approx(0.7, abs=0.07)
    audit = audit_fairness(world, fair.predictions, "tone", [0.3, 0.7])
    assert audit["fd_corrected"] < audit["fd_floor95"] * 1.5
    # its faces look like the data's, group by group: the spread is that of SPREAD, in grey levels
    bright = fair.images[fair.predictions.labels["tone"] == 1].astype(float)
    assert bright.mean() == pytest.approx(127.5 * 1.5, abs=2)
    assert bright.std(0).mean() == pytest.approx(127.5 * 0.15, rel=0.15)


def test_the_start_is_where_three_tenths_of_the_variance_is_signal():
    world = make_world()
    alphas = world.pipeline.scheduler.alphas_cumprod
    assert alphas[world.timestep] == pytest.approx(0.3, abs=0.01)
    assert make_world(timestep=77).timestep == 77


def test_the_pool_is_made_once_and_can_be_given():
    world = make_world(pool_size=20)
    first, labels = world.latents()
    assert world.latents()[0] is first
    assert first.dtype == np.float16 and len(labels["tone"]) == 20
    world.set_pool(first[:4], {"tone": np.array([0, 1, 0, 1])})
    assert len(world.latents()[0]) == 4


def test_labelled_faces_give_the_classifiers_errors():
    world = make_world()
    images, labels = world.labelled
    wrong = labels["tone"].copy()
    wrong[:50] = 1 - wrong[:50]  # a quarter of each group is called the other by the classifier
    world = make_world(labelled=(images, {"tone": wrong}))
    np.testing.assert_allclose(world.confusion("tone"), [[0.75, 0.25], [0.25, 0.75]])


def test_without_labelled_faces_it_is_said_that_nothing_is_corrected():
    with pytest.warns(UserWarning, match="labelled: no labelled faces"):
        world = make_world(labelled=None)
    np.testing.assert_array_equal(world.confusion("tone"), np.eye(2))
    sample = Sampler(world).draw(20, 0, progress=False)
    audit = audit_fairness(world, sample.predictions, "tone")
    assert audit["fd"] == pytest.approx(audit["fd_corrected"])
    with pytest.raises(ValueError, match="^reference: .*labelled="):
        audit_quality(world, sample.predictions)


def test_quality_needs_features():
    world = make_world(features=None)
    sample = Sampler(world).draw(20, 0, progress=False)
    with pytest.raises(ValueError, match="^reference: .*features="):
        audit_quality(world, sample.predictions)


def test_pixels_are_their_own_latents():
    pipeline = exact_pipeline()
    images = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), np.uint8)
    latents = encode(pipeline, images, progress=False)
    assert latents.shape == (5, 3, 16, 16) and latents.min() >= -1 and latents.max() <= 1
    np.testing.assert_array_equal(decode(pipeline, latents, progress=False), images)


# Mistakes: each error names the thing


class NoNetwork:
    scheduler = DDIMScheduler()


def with_scheduler(scheduler):
    return DDPMPipeline(random_unet(3, 16), scheduler)


@pytest.mark.parametrize(
    ("pipeline", "said"),
    [
        (NoNetwork(), "NoNetwork has no unet"),
        (with_scheduler(EulerDiscreteScheduler()), "EulerDiscreteScheduler keeps latents"),
        (DDPMPipeline(random_unet(3, 16, out_channels=6), DDPMScheduler()), "learned variances"),
        (DDPMPipeline(random_unet(3, 16, num_class_embeds=4), DDPMScheduler()), "asks for a class"),
    ],
)
def test_a_pipeline_of_another_kind_is_refused_with_the_way_out(pipeline, said):
    with pytest.raises(ValueError, match=f"^generator: .*{said}"):
        own_world(pipeline, by_brightness, ATTRIBUTES)


@pytest.mark.parametrize("path", ["nowhere/at/all", "no-such-owner/no-such-model"])
def test_a_generator_that_cannot_be_loaded_is_named(path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(OSError, match=f"^generator: {path}"):
        own_world(path, by_brightness, ATTRIBUTES)


IMAGES = np.zeros((4, 16, 16, 3), np.uint8)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"labelled": (IMAGES, {"colour": [0, 1, 0, 1]})}, r"labelled: no labels for \['tone'\]"),
        ({"labelled": (IMAGES, {"tone": [0, 1, 2, 1]})}, "labelled tone"),
        ({"labelled": (IMAGES, {"tone": [0, 1]})}, "labelled: 2 tone labels, 4 images"),
    ],
)
def test_a_setting_amiss_is_refused_by_name(changed, said):
    with pytest.raises(ValueError, match=f"^{said}"):
        make_world(**changed)


def test_nobody_knows_the_training_shares():
    with pytest.raises(ValueError, match="^attribute: .*trained on"):
        make_world().training_shares("tone")
