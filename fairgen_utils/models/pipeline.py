"""What the course asks of a diffusers pipeline: its schedule, its latents, its device."""

from contextlib import contextmanager
from numbers import Integral

import numpy as np
import torch
from diffusers.utils import logging

from fairgen_utils._checks import check_count, check_numbers


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


def latent_shape(pipeline):
    """Shape of one latent: (channels, height, width)."""
    config = pipeline.unet.config
    size = config.sample_size
    return (config.in_channels, *((size, size) if isinstance(size, int) else size))


def check_latents(pipeline, latents):
    """Latents of this generator as an array; ValueError if they are none."""
    latents = check_numbers(latents, "latents", np.float32)
    expected = latent_shape(pipeline)
    if latents.ndim != 4 or latents.shape[1:] != expected or not len(latents):
        raise ValueError(f"latents: found shape {latents.shape}; give (n, {expected})")
    if not np.isfinite(latents).all():
        raise ValueError("latents: found NaN or infinite values")
    return latents


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
    scheduler = fresh_scheduler(pipeline, num_inference_steps)
    distances = (scheduler.timesteps.cpu() - timestep).abs()
    index = int(distances.argmin())
    return int(scheduler.timesteps[index]), index


def timesteps_of(pipeline, num_inference_steps):
    """The timesteps of the pipeline's schedule, from noisy to clean."""
    return fresh_scheduler(pipeline, num_inference_steps).timesteps.tolist()


def fresh_scheduler(pipeline, num_inference_steps):
    """A scheduler of the pipeline's kind, set to a schedule of so many steps."""
    check_count(num_inference_steps, "num_inference_steps")
    # a scheduler keeps state between steps: a new one per batch leaves the pipeline's untouched
    scheduler = type(pipeline.scheduler).from_config(pipeline.scheduler.config)
    scheduler.set_timesteps(num_inference_steps)
    return scheduler


def autoencoder_of(pipeline):
    """What turns images into latents, and back; None where the pixels are the latents."""
    return getattr(pipeline, "vqvae", None) or getattr(pipeline, "vae", None)


def best_device():
    """The fastest device that is there: ``"cuda"``, a Mac's ``"mps"``, or ``"cpu"``."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def check_device(device):
    """The device, if this machine has it; ValueError otherwise."""
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError, TypeError) as error:  # torch was built without it
        found = str(error).splitlines()[0]
        raise ValueError(f"device: {device!r} is not to be had here ({found})") from None


@contextmanager
def quiet_diffusers():
    """Load without remarks that help nobody here."""
    # LDMPipeline announces that it expected a VQModel, and a bar that lasts a tenth of a second
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        logging.enable_progress_bar()
