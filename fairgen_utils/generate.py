"""Generate: encode, denoise from any timestep, decode. Thin over a diffusers pipeline.

Any unconditional pipeline of a U-Net will do. With an autoencoder (``LDMPipeline``) latents are
what it makes of images; without one (``DDPMPipeline``) the pixels themselves, in [-1, 1].
"""

import inspect
import time
from dataclasses import dataclass
from numbers import Integral

import numpy as np
import torch
from diffusers import DDIMInverseScheduler
from tqdm import tqdm

from fairgen_utils._checks import check_count, check_numbers, check_target
from fairgen_utils.load import Predictions
from fairgen_utils.localize import component_table, solve_weights


def start_timestep(pipeline, timestep, num_inference_steps):
    """The schedule's own timestep nearest to `timestep`, and its position in the schedule.

    Parameters
    ----------
    pipeline : diffusers.DiffusionPipeline
    timestep : int
        In [0, num_train_timesteps).
    num_inference_steps : int
        Steps of the full schedule; a start in the middle runs only the rest of them.

    Returns
    -------
    timestep : int
    index : int
    """
    last = pipeline.scheduler.config.num_train_timesteps
    if not isinstance(timestep, Integral) or not 0 <= timestep < last:
        raise ValueError(f"timestep: found {timestep!r}; this generator knows 0 to {last - 1}")
    scheduler = _fresh_scheduler(pipeline, num_inference_steps)
    distances = (scheduler.timesteps.cpu() - timestep).abs()
    index = int(distances.argmin())
    return int(scheduler.timesteps[index]), index


def encode(pipeline, images, batch_size=128, progress=True):
    """Clean latents of images.

    Parameters
    ----------
    pipeline : diffusers.DiffusionPipeline
        Its autoencoder, if any: AutoencoderDC, AutoencoderKL or VQModel.
    images : ndarray, shape (n, height, width, 3), uint8

    Returns
    -------
    ndarray, shape (n, channels, height, width), float32
    """
    images = np.asarray(images)
    if images.ndim != 4 or images.shape[-1] != 3 or images.dtype != np.uint8 or not len(images):
        raise ValueError(
            f"images: found {images.dtype} of shape {images.shape}; give uint8, shape (n, h, w, 3)"
        )
    autoencoder = _autoencoder(pipeline)
    if autoencoder is None:
        pixels = np.moveaxis(images, -1, 1).astype(np.float32) / 127.5 - 1
        return check_latents(pipeline, pixels)
    batches = []
    for batch in _batches(images, batch_size, "encoding", progress):
        pixels = torch.as_tensor(batch).permute(0, 3, 1, 2).to(pipeline.device, autoencoder.dtype)
        with torch.inference_mode():
            encoded = autoencoder.encode(pixels / 127.5 - 1)
            # AutoencoderKL gives a distribution; AutoencoderDC and VQModel the latents themselves
            latents = encoded.latent_dist.mean if hasattr(encoded, "latent_dist") else encoded[0]
            batches.append(latents.float().cpu().numpy())
    return np.concatenate(batches) * autoencoder.config.scaling_factor


def decode(pipeline, latents, batch_size=32, progress=True):
    """Images of clean latents: ndarray, shape (n, height, width, 3), uint8."""
    autoencoder = _autoencoder(pipeline)
    images = []
    for batch in _batches(check_latents(pipeline, latents), batch_size, "decoding", progress):
        pixels = torch.as_tensor(batch)
        if autoencoder is not None:
            scaled = pixels.to(pipeline.device, autoencoder.dtype)
            with torch.inference_mode():
                pixels = autoencoder.decode(scaled / autoencoder.config.scaling_factor).sample
        pixels = (pixels.float().clamp(-1, 1) + 1) * 127.5
        images.append(pixels.round().byte().permute(0, 2, 3, 1).cpu().numpy())
    return np.concatenate(images)


def denoise(
    pipeline,
    latents,
    timestep,
    num_inference_steps=15,
    seed=0,
    batch_size=64,
    progress=True,
    until=None,
    adjust=None,
):
    """Take noisy latents from `timestep` down to clean ones with the pipeline's own scheduler.

    Parameters
    ----------
    pipeline : diffusers.DiffusionPipeline
    latents : ndarray, shape (n, channels, height, width), float32
        At the noise level of `timestep`, which must be one that `start_timestep` returned.
    timestep : int
    num_inference_steps : int
        Steps of the full schedule.
    seed : int
        For schedulers that add noise at every step; the shipped solver is deterministic.
    until : int, optional
        Stop at this timestep of the schedule, with latents of its noise level. To the end when
        omitted.
    adjust : callable, optional
        ``adjust(clean)`` gives at every step what to put in place of the clean latents that the
        network predicts, a Tensor of the batch's shape: how guidance steers.

    Returns
    -------
    ndarray, shape (n, channels, height, width), float32
    """
    latents = check_latents(pipeline, latents)
    snapped, index = start_timestep(pipeline, timestep, num_inference_steps)
    if snapped != timestep:
        raise ValueError(
            f"timestep: {timestep} is not in the {num_inference_steps}-step schedule; "
            f"the nearest is {snapped} (start_timestep finds it)"
        )
    end = len(timesteps_of(pipeline, num_inference_steps))
    if until is not None:
        stop, end = start_timestep(pipeline, until, num_inference_steps)
        if stop != until or end <= index:
            raise ValueError(f"until: found {until}; give a later timestep of the same schedule")
    generator = torch.Generator().manual_seed(seed)
    clean = []
    for batch in _batches(latents, batch_size, "denoising", progress):
        scheduler = _fresh_scheduler(pipeline, num_inference_steps)
        if hasattr(scheduler, "set_begin_index"):
            scheduler.set_begin_index(index)
        takes_generator = "generator" in inspect.signature(scheduler.step).parameters
        extra = {"generator": generator} if takes_generator else {}
        batch = torch.as_tensor(batch).to(pipeline.device)
        with torch.inference_mode():
            for t in scheduler.timesteps[index:end]:
                # the network may compute in half precision; the latents it nudges stay in single
                model_input = scheduler.scale_model_input(batch, t).to(pipeline.unet.dtype)
                predicted = pipeline.unet(model_input, t).sample.float()
                if adjust is not None:
                    predicted = _adjusted(scheduler, predicted, batch, t, adjust)
                batch = scheduler.step(predicted, t, batch, **extra).prev_sample
        clean.append(batch.float().cpu().numpy())
    return np.concatenate(clean)


def _adjusted(scheduler, predicted, noisy, t, adjust):
    """The network's output had it predicted the adjusted clean latents instead."""
    signal, noise = scheduler.alphas_cumprod[t].sqrt(), (1 - scheduler.alphas_cumprod[t]).sqrt()
    kind = scheduler.config.prediction_type
    if kind == "v_prediction":
        clean = adjust(signal * noisy - noise * predicted)
    elif kind == "epsilon":
        clean = adjust((noisy - noise * predicted) / signal)
    else:
        clean = adjust(predicted)
    epsilon = (noisy - signal * clean) / noise
    return {"v_prediction": signal * epsilon - noise * clean, "epsilon": epsilon}.get(kind, clean)


def invert(pipeline, latents, num_inference_steps=15, batch_size=64, progress=True):
    """Clean latents taken up to pure noise by running DDIM backwards.

    Parameters
    ----------
    pipeline : diffusers.DiffusionPipeline
    latents : ndarray, shape (n, channels, height, width), float32

    Returns
    -------
    ndarray, shape (n, channels, height, width), float32

    References
    ----------
    Song, Meng, Ermon, "Denoising Diffusion Implicit Models", ICLR 2021, arXiv 2010.02502.
    """
    scheduler = DDIMInverseScheduler.from_config(pipeline.scheduler.config)
    scheduler.set_timesteps(num_inference_steps)
    noise = []
    for batch in _batches(check_latents(pipeline, latents), batch_size, "inverting", progress):
        batch = torch.as_tensor(batch).to(pipeline.device)
        with torch.inference_mode():
            for t in scheduler.timesteps:
                predicted = pipeline.unet(batch.to(pipeline.unet.dtype), t).sample.float()
                batch = scheduler.step(predicted, t, batch).prev_sample
        noise.append(batch.float().cpu().numpy())
    return np.concatenate(noise)


def sample_plain(pipeline, n, seed, num_inference_steps=15, batch_size=64, progress=True):
    """Clean latents of `n` faces sampled as usual: pure noise, the whole schedule.

    Returns
    -------
    ndarray, shape (n, channels, height, width), float32
    """
    check_count(n, "n")
    shape = (n, *latent_shape(pipeline))
    noise = np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)
    first = int(_fresh_scheduler(pipeline, num_inference_steps).timesteps[0])
    return denoise(pipeline, noise, first, num_inference_steps, seed, batch_size, progress)


def sample_localized(
    pipeline,
    mixture,
    n,
    timestep,
    seed,
    weights=None,
    num_inference_steps=15,
    batch_size=64,
    progress=True,
):
    """Clean latents of `n` faces that start from a mixture, pushed forward to `timestep`.

    Parameters
    ----------
    pipeline : diffusers.DiffusionPipeline
    mixture : LatentMixture
        Fitted on clean latents.
    n : int
    timestep : int
        Where denoising starts; the schedule's nearest timestep is taken.
    seed : int
    weights : array_like, shape (n_components,), optional
        Shares of the components; the fitted ones when omitted.

    Returns
    -------
    latents : ndarray, shape (n, channels, height, width), float32
    components : ndarray, shape (n,), int64
    """
    check_count(n, "n")
    timestep, _ = start_timestep(pipeline, timestep, num_inference_steps)
    alpha_cumprod = float(pipeline.scheduler.alphas_cumprod[timestep])
    noisy, components = mixture.push_forward(alpha_cumprod).sample(n, seed, weights)
    clean = denoise(pipeline, noisy, timestep, num_inference_steps, seed, batch_size, progress)
    return clean, components


def timesteps_of(pipeline, num_inference_steps):
    """The timesteps of the pipeline's schedule, from noisy to clean."""
    return _fresh_scheduler(pipeline, num_inference_steps).timesteps.tolist()


def latent_shape(pipeline):
    """Shape of one latent: (channels, height, width)."""
    config = pipeline.unet.config
    size = config.sample_size
    return (config.in_channels, *((size, size) if isinstance(size, int) else size))


def check_pipeline(pipeline):
    """Refuse, with the way out, a pipeline that this module cannot drive.

    Raises
    ------
    ValueError
        If there is no unconditional U-Net, if it predicts a variance as well, or if the scheduler
        does not noise latents as ``sqrt(a) x0 + sqrt(1 - a) noise``, which the mixtures rely on.
    """
    unet, scheduler = getattr(pipeline, "unet", None), getattr(pipeline, "scheduler", None)
    if unet is None or scheduler is None:
        raise ValueError(
            f"generator: {type(pipeline).__name__} has no unet or no scheduler; give an "
            "unconditional pipeline such as LDMPipeline, DDPMPipeline or DDIMPipeline"
        )
    config = unet.config
    asks_for = {"a prompt": "cross_attention_dim", "a class": "num_class_embeds"}
    for what, key in asks_for.items():
        if config.get(key):
            raise ValueError(f"generator: its U-Net asks for {what}; give an unconditional one")
    if config.out_channels != config.in_channels:
        raise ValueError(
            f"generator: its U-Net predicts {config.out_channels} channels from "
            f"{config.in_channels}; learned variances are not supported"
        )
    if not hasattr(scheduler, "alphas_cumprod") or float(scheduler.init_noise_sigma) != 1:
        raise ValueError(
            f"generator: {type(scheduler).__name__} keeps latents on a scale of its own; give the "
            "pipeline another before passing it: pipeline.scheduler = "
            "DPMSolverMultistepScheduler.from_config(pipeline.scheduler.config)"
        )


def _autoencoder(pipeline):
    return getattr(pipeline, "vqvae", None) or getattr(pipeline, "vae", None)


def _fresh_scheduler(pipeline, num_inference_steps):
    check_count(num_inference_steps, "num_inference_steps")
    # a scheduler keeps state between steps: a new one per batch leaves the pipeline's untouched
    scheduler = type(pipeline.scheduler).from_config(pipeline.scheduler.config)
    scheduler.set_timesteps(num_inference_steps)
    return scheduler


def check_latents(pipeline, latents):
    """Latents of this generator as an array; ValueError if they are none."""
    latents = check_numbers(latents, "latents", np.float32)
    expected = latent_shape(pipeline)
    if latents.ndim != 4 or latents.shape[1:] != expected or not len(latents):
        raise ValueError(f"latents: found shape {latents.shape}; give (n, {expected})")
    if not np.isfinite(latents).all():
        raise ValueError("latents: found NaN or infinite values")
    return latents


def _batches(array, batch_size, description, progress):
    check_count(batch_size, "batch_size")
    look = {"desc": description, "unit": "face", "delay": 1}
    with tqdm(total=len(array), disable=not progress, **look) as bar:
        for start in range(0, len(array), batch_size):
            yield array[start : start + batch_size]
            bar.update(len(array[start : start + batch_size]))


@dataclass
class Sample:
    """Generated faces and what is known of them.

    Attributes
    ----------
    images : ndarray, shape (n, height, width, 3), uint8
    predictions : Predictions
    components : ndarray, shape (n,), int64, or None
        The mixture component each face started from; None for plain sampling.
    seconds : float
        Wall time of denoising and decoding, without the classifier.
    """

    images: np.ndarray
    predictions: Predictions
    components: np.ndarray | None
    seconds: float

    def __len__(self):
        return len(self.images)

    @property
    def faces_per_second(self):
        return len(self) / self.seconds


def generate(world, n, seed, mixture=None, weights=None, timestep=None, progress=True):
    """Generate faces with a world's recommended settings, and classify them once.

    Parameters
    ----------
    world : World
    n : int
    seed : int
    mixture : LatentMixture or LowFrequencyMixture, optional
        Start from this mixture at `timestep`. Plain sampling from pure noise when omitted.
    weights : array_like, shape (n_components,), optional
    timestep : int, optional
        The world's recommended one when omitted.

    Returns
    -------
    Sample
    """
    started = time.perf_counter()
    steps = world.num_inference_steps
    if mixture is None:
        latents, components = sample_plain(world.pipeline, n, seed, steps, progress=progress), None
    else:
        timestep = world.timestep if timestep is None else timestep
        latents, components = sample_localized(
            world.pipeline, mixture, n, timestep, seed, weights, steps, progress=progress
        )
    images = decode(world.pipeline, latents, progress=progress)
    seconds = time.perf_counter() - started
    return Sample(images, world.classify(images), components, seconds)


def pilot_weights(
    world, mixture, attribute, target, per_component, seed, timestep=None, progress=True
):
    """Component weights solved on a pilot of generated faces, whose shares really hold.

    Denoising pulls faces back toward the majority, so a table counted on training latents
    promises too much. Here every component makes `per_component` faces at the timestep that will
    be used, the classifier labels them, and the weights are solved on *that* table.

    Parameters
    ----------
    world : World
    mixture : LatentMixture
    attribute : str, or list of str
        Several goals at once are a list: ``["gender,race", "age"]`` wants gender and race even
        jointly, and age, whoever has it.
    target : array_like, shape (n_groups,), or list of them
    per_component : int
    seed : int
    timestep : int, optional

    Returns
    -------
    weights : ndarray, shape (n_components,)
    table : ndarray, shape (n_components, n_groups), or list of them
        Counts of the pilot.
    pilot : Sample
        Never judge a method on these faces: its weights were fitted to them.
    """
    goals = [attribute] if isinstance(attribute, str) else attribute
    targets = [target] if isinstance(attribute, str) else target
    for goal, wanted in zip(goals, targets, strict=True):  # before minutes of work
        check_target(wanted, len(world.groups(goal)))
    k = len(mixture.weights_)
    n = k * check_count(per_component, "per_component")
    pilot = generate(world, n, seed, mixture, np.full(k, 1 / k), timestep, progress)
    tables = [
        component_table(
            pilot.components, world.joint(pilot.predictions.labels, a), k, len(world.groups(a))
        )
        for a in goals
    ]
    confusions = [world.confusion(a) for a in goals]
    if isinstance(attribute, str):
        return solve_weights(tables[0], target, confusions[0]), tables[0], pilot
    return solve_weights(tables, list(target), confusions), tables, pilot
