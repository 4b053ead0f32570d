"""Each test is named after the promise it keeps."""

import copy

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, DDIMScheduler, DDPMScheduler, VQModel

from fairgen_utils.generate import Sampler
from fairgen_utils.models.diffusion import decode, denoise, encode
from fairgen_utils.models.mixture import LatentMixture
from fairgen_utils.models.pipeline import start_timestep
from fairgen_utils.models.world import World

STEPS = 5
FIRST = 995  # of the five: above it the solver's schedule is clipped
# Convolutions add in another order for another batch: float32 rounding, grown over five steps.
REORDERED = 1e-4


def noise_of(n, seed=0):
    return np.random.default_rng(seed).standard_normal((n, 4, 8, 8)).astype(np.float32)


def images_of(n, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, 64, 64, 3), np.uint8)


def fresh_timesteps(pipeline, steps=STEPS):
    scheduler = copy.deepcopy(pipeline.scheduler)
    scheduler.set_timesteps(steps)
    return scheduler.timesteps.tolist()


def world_of(pipeline):
    """A world of which a sampler asks for nothing but its generator."""
    return World("bare", {"tone": ("dark", "bright")}, (), ("tone",), pipeline, None, 500, STEPS)


def plain_latents(pipeline, n, seed):
    return Sampler(world_of(pipeline)).latents(n, seed, progress=False)[0]


def with_scheduler(pipeline, kind):
    """The same networks under another scheduler."""
    other = copy.copy(pipeline)
    config = dict(pipeline.scheduler.config, clip_sample=False, timestep_spacing="leading")
    other.scheduler = kind.from_config(config)
    return other


# Where denoising starts


def test_start_snaps_to_the_nearest_timestep_of_the_schedule(pipeline):
    timesteps = fresh_timesteps(pipeline)
    for wanted in range(0, 1000, 37):
        snapped, index = start_timestep(pipeline, wanted, STEPS)
        assert timesteps[index] == snapped
        assert abs(snapped - wanted) == min(abs(t - wanted) for t in timesteps)


def test_the_whole_schedule_starts_at_its_first_timestep(pipeline):
    assert start_timestep(pipeline, 999, STEPS) == (FIRST, 0)


def test_a_timestep_of_the_schedule_is_its_own_start(pipeline):
    for index, timestep in enumerate(fresh_timesteps(pipeline)):
        assert start_timestep(pipeline, timestep, STEPS) == (timestep, index)


# Denoising


def test_plain_noise_becomes_what_diffusers_own_call_makes_of_it(pipeline):
    generator = torch.Generator().manual_seed(3)
    wanted = pipeline(2, generator, num_inference_steps=STEPS, output_type="numpy").images
    noise = torch.randn((2, 4, 8, 8), generator=torch.Generator().manual_seed(3)).numpy()
    clean = denoise(pipeline, noise, fresh_timesteps(pipeline)[0], STEPS, progress=False)
    ours = decode(pipeline, clean, progress=False)
    # half a grey level of rounding to uint8
    np.testing.assert_allclose(ours / 255, wanted, atol=0.5 / 255 + REORDERED)


@pytest.mark.parametrize("kind", [None, DDIMScheduler])
def test_a_start_in_the_middle_runs_the_rest_of_the_schedule(pipeline, kind):
    # The multistep solver restarts at first order: the loop by hand shows it no earlier step.
    pipeline = with_scheduler(pipeline, kind) if kind else pipeline
    scheduler = copy.deepcopy(pipeline.scheduler)
    scheduler.set_timesteps(STEPS)
    latents = noise_of(3)
    clean = denoise(pipeline, latents, int(scheduler.timesteps[2]), STEPS, progress=False)
    wanted = torch.as_tensor(latents)
    with torch.inference_mode():
        for t in scheduler.timesteps[2:]:
            wanted = scheduler.step(pipeline.unet(wanted, t).sample, t, wanted).prev_sample
    np.testing.assert_allclose(clean, wanted, atol=REORDERED)


def test_at_the_last_step_a_v_prediction_is_turned_into_the_clean_latents(pipeline):
    # By hand (Salimans and Ho, 2022): x_0 = sqrt(a) x_t - sqrt(1 - a) v.
    last = fresh_timesteps(pipeline)[-1]
    alpha = pipeline.scheduler.alphas_cumprod[last]
    latents = torch.as_tensor(noise_of(2))
    with torch.inference_mode():
        predicted = pipeline.unet(latents, last).sample
    wanted = alpha.sqrt() * latents - (1 - alpha).sqrt() * predicted
    clean = denoise(pipeline, latents.numpy(), last, STEPS, progress=False)
    np.testing.assert_allclose(clean, wanted, atol=REORDERED)


def test_batch_size_does_not_change_the_faces(pipeline):
    one, all_at_once = (
        denoise(pipeline, noise_of(5), FIRST, STEPS, batch_size=size, progress=False)
        for size in (2, 5)
    )
    np.testing.assert_allclose(one, all_at_once, atol=REORDERED)


def test_each_face_depends_on_its_own_noise_only(pipeline):
    noise = noise_of(4)
    alone = denoise(pipeline, noise[2:3], FIRST, STEPS, progress=False)
    together = denoise(pipeline, noise, FIRST, STEPS, progress=False)
    np.testing.assert_allclose(together[2:3], alone, atol=REORDERED)


def test_denoising_leaves_the_pipelines_scheduler_as_it_was(pipeline):
    pipeline.scheduler.set_timesteps(7)

    def state():
        held = vars(pipeline.scheduler).items()
        return {name: str(value) for name, value in held if name != "_internal_dict"}

    before = state()
    plain_latents(pipeline, 2, 0)
    assert state() == before


def test_generating_leaves_the_global_generators_alone(pipeline):
    before = torch.get_rng_state()
    plain_latents(with_scheduler(pipeline, DDPMScheduler), 2, 0)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("kind", [None, DDIMScheduler, DDPMScheduler])
def test_only_the_same_seed_gives_the_same_faces(pipeline, kind):
    pipeline = with_scheduler(pipeline, kind) if kind else pipeline
    first, again, other = (
        plain_latents(pipeline, 2, seed).tolist() for seed in (3, 3, 4)
    )
    assert first == again
    assert first != other


@pytest.mark.parametrize(("kind", "draws"), [(DDIMScheduler, False), (DDPMScheduler, True)])
def test_seed_of_denoising_matters_only_where_the_scheduler_draws(pipeline, kind, draws):
    pipeline = with_scheduler(pipeline, kind)
    start = fresh_timesteps(pipeline)[0]
    first, other = (
        denoise(pipeline, noise_of(1), start, STEPS, seed, progress=False) for seed in (1, 2)
    )
    assert (abs(first - other).max() > REORDERED) == draws


# Localized sampling


class Recorder(LatentMixture):
    """A mixture that writes down how far it was pushed, and gives known latents."""

    weights_ = np.array([0.9, 0.1])

    def push_forward(self, alpha_cumprod):
        self.alpha_cumprod = alpha_cumprod
        return self

    def sample(self, n, seed, weights=None):
        self.weights = weights
        return noise_of(n, seed), np.arange(n)


def test_the_mixture_is_pushed_to_the_timestep_where_denoising_starts(pipeline):
    mixture = Recorder()
    sampler = Sampler(world_of(pipeline), start=mixture, timestep=512, weights=[0.5, 0.5])
    clean, components = sampler.latents(3, 9, progress=False)
    snapped, index = start_timestep(pipeline, 512, STEPS)
    assert snapped != 512  # otherwise this shows nothing
    # the solver's own noise level at that step: sigma^2 = (1 - a) / a
    scheduler = copy.deepcopy(pipeline.scheduler)
    scheduler.set_timesteps(STEPS)
    wanted = 1 / (1 + float(scheduler.sigmas[index]) ** 2)
    assert mixture.alpha_cumprod == pytest.approx(wanted, rel=1e-5)  # float32
    assert mixture.weights.tolist() == [0.5, 0.5]
    assert components.tolist() == [0, 1, 2]
    assert (sampler.timestep, sampler.nfe) == (snapped, STEPS - index)
    direct = denoise(pipeline, noise_of(3, (9, 0)), snapped, STEPS, progress=False)
    np.testing.assert_allclose(clean, direct, atol=REORDERED)


def test_localized_faces_come_from_the_weighted_components(pipeline):
    mixture = LatentMixture(1).fit(noise_of(40), np.arange(40) % 2)
    sampler = Sampler(world_of(pipeline), start=mixture, weights=[0, 1])
    clean, components = sampler.latents(6, 0, progress=False)
    assert clean.shape == (6, 4, 8, 8)
    assert components.tolist() == [1] * 6


# Encoding and decoding


def test_decoding_is_the_autoencoders_decoding_in_grey_levels(pipeline):
    latents = noise_of(3)
    with torch.inference_mode():
        pixels = pipeline.vqvae.decode(torch.as_tensor(latents)).sample.numpy()
    wanted = np.clip((pixels.transpose(0, 2, 3, 1) + 1) / 2, 0, 1) * 255
    images = decode(pipeline, latents, progress=False)
    assert images.dtype == np.uint8
    np.testing.assert_allclose(images, wanted, atol=0.5 + 255 * REORDERED)


def test_pixels_out_of_range_are_cut_and_do_not_wrap(pipeline):
    # Latents far outside the data send pixels past both ends.
    latents = 200 * noise_of(2)
    with torch.inference_mode():
        pixels = pipeline.vqvae.decode(torch.as_tensor(latents)).sample.numpy()
    pixels = pixels.transpose(0, 2, 3, 1)
    images = decode(pipeline, latents, progress=False)
    assert (pixels > 1.1).any() and (pixels < -1.1).any()  # otherwise this shows nothing
    assert (images[pixels > 1.1] == 255).all()
    assert (images[pixels < -1.1] == 0).all()


def test_encoding_is_the_autoencoders_encoding_of_pixels_in_minus_one_to_one(pipeline):
    images = images_of(3)
    pixels = torch.as_tensor(images.transpose(0, 3, 1, 2) / 255 * 2 - 1, dtype=torch.float32)
    with torch.inference_mode():
        wanted = pipeline.vqvae.encode(pixels).latent
    np.testing.assert_allclose(encode(pipeline, images, progress=False), wanted, atol=REORDERED)


@pytest.mark.parametrize("kind", [AutoencoderKL, VQModel])
def test_the_autoencoders_of_other_latent_pipelines_encode_too(pipeline, kind):
    other = copy.copy(pipeline)
    other.vqvae = kind(block_out_channels=(4,), latent_channels=4, norm_num_groups=2).eval()
    images = images_of(2)
    pixels = torch.as_tensor(images.transpose(0, 3, 1, 2) / 255 * 2 - 1, dtype=torch.float32)
    with torch.inference_mode():
        output = other.vqvae.encode(pixels)
    # of a distribution, the likeliest latent: encoding the same face twice must not differ
    wanted = output.latent_dist.mode() if kind is AutoencoderKL else output.latents
    wanted = wanted * other.vqvae.config.scaling_factor
    np.testing.assert_allclose(encode(other, images, progress=False), wanted, atol=REORDERED)


def test_scaling_factor_is_undone_by_decoding(pipeline):
    scaled = copy.copy(pipeline)
    scaled.vqvae = copy.deepcopy(pipeline.vqvae)
    scaled.vqvae.register_to_config(scaling_factor=0.5)
    images = images_of(2)
    plain, halved = (encode(each, images, progress=False) for each in (pipeline, scaled))
    np.testing.assert_allclose(halved, plain / 2, atol=REORDERED)
    there_and_back = [
        decode(each, latents, progress=False).astype(int)
        for each, latents in ((pipeline, plain), (scaled, halved))
    ]
    # the same pixels, but for a level that rounds the other way
    np.testing.assert_allclose(*there_and_back, atol=1)


@pytest.mark.parametrize("batch_size", [1, 2])
def test_coding_in_batches_changes_nothing(pipeline, batch_size):
    images = images_of(3)
    at_once = encode(pipeline, images, progress=False)
    np.testing.assert_allclose(
        encode(pipeline, images, batch_size, progress=False), at_once, atol=REORDERED
    )
    decoded = decode(pipeline, at_once, batch_size, progress=False).astype(int)
    np.testing.assert_allclose(decoded, decode(pipeline, at_once, progress=False), atol=1)


# Refusals: what the generated ones of test_refusals.py do not try

REFUSALS = [
    ("timestep: 998 is not in the 5-step", lambda p: denoise(p, noise_of(1), 998, STEPS)),
    ("latents", lambda p: denoise(p, np.zeros((1, 3, 8, 8)), FIRST, STEPS)),
    ("latents", lambda p: decode(p, np.zeros((1, 4, 4, 4)))),
    ("weights: plain", lambda p: Sampler(world_of(p), weights=[0.5, 0.5])),
    ("guide", lambda p: Sampler(world_of(p)).same_face(0)),
]


@pytest.mark.parametrize(("argument", "call"), REFUSALS)
def test_bad_input_is_refused_by_name(pipeline, argument, call):
    with pytest.raises(ValueError, match=f"^{argument}"):
        call(pipeline)
