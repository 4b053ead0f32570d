"""What the course asks of a diffusers pipeline: its schedule, its latents, its device."""

import copy
import warnings
from contextlib import contextmanager
from numbers import Integral

import numpy as np
import torch
from diffusers import DiffusionPipeline
from diffusers.utils import logging

from fairgen_utils._checks import check_count, check_numbers

# settings of schedulers that noise otherwise: exploding variance, EDM, flow matching
STRANGE = ("sigma_min", "sigma_max", "sigma_data", "snr", "s_churn", "base_shift", "shift")
# what a trained network says of pure noise, as a multiple of it, by what it predicts
SLOPES = {"epsilon": (0.7, 1.3), "v_prediction": (-0.5, 0.5), "sample": (-0.5, 0.5)}


def check_pipeline(pipeline):
    """Refuse, with the way out, a pipeline that this module cannot drive.

    Raises
    ------
    ValueError
        If there is no unconditional U-Net, if it predicts a variance as well, if it and the
        autoencoder don't fit, or if the scheduler does not noise latents as
        ``sqrt(a) x0 + sqrt(1 - a) noise``, which the mixtures rely on.
    """
    unet, scheduler = getattr(pipeline, "unet", None), getattr(pipeline, "scheduler", None)
    if unet is None or scheduler is None or not hasattr(pipeline, "device"):
        raise ValueError(
            f"generator: {type(pipeline).__name__} has no unet or no scheduler; give an "
            "unconditional pipeline such as LDMPipeline, DDPMPipeline or DDIMPipeline"
        )
    _check_network(unet.config, autoencoder_of(pipeline))
    _check_scheduler(scheduler)


def _check_network(config, autoencoder):
    asks_for = {"a prompt": "cross_attention_dim", "a class": "num_class_embeds"}
    asks_for |= {"a class embedding": "class_embed_type", "more": "addition_embed_type"}
    for what, key in asks_for.items():
        if config.get(key):
            raise ValueError(f"generator: its U-Net asks for {what}; give an unconditional one")
    channels = config.in_channels
    if config.out_channels != channels:
        raise ValueError(
            f"generator: its U-Net predicts {config.out_channels} channels from {channels}; "
            "learned variances are not supported"
        )
    if config.get("time_embedding_type") == "fourier":
        raise ValueError(
            "generator: its U-Net is told the noise as a scale and not as a timestep, as models of "
            "exploding variance (VE) are; give one trained with timesteps"
        )
    if config.sample_size is None:
        raise ValueError(
            "generator: its U-Net does not say its size; tell it: "
            "pipeline.unet.register_to_config(sample_size=...)"
        )
    if autoencoder is None and channels != 3:
        raise ValueError(
            f"generator: it makes pictures of {channels} channels; faces are in RGB, of 3"
        )
    if autoencoder is not None:
        latent = autoencoder.config.get("latent_channels") or channels
        if latent != channels:
            raise ValueError(
                f"generator: its U-Net makes latents of {channels} channels, and its autoencoder "
                f"reads {latent}"
            )
        if autoencoder.config.get("shift_factor") or autoencoder.config.get("latents_mean"):
            raise ValueError(
                "generator: its autoencoder shifts latents (shift_factor, latents_mean), which is "
                "not supported"
            )


def _check_scheduler(scheduler):
    name, config = type(scheduler).__name__, scheduler.config
    if not hasattr(scheduler, "alphas_cumprod") or float(scheduler.init_noise_sigma) != 1:
        raise ValueError(
            f"generator: {name} keeps latents on a scale of its own; give the pipeline another "
            "before passing it: if the network was trained with timesteps and betas, pipeline."
            "scheduler = DPMSolverMultistepScheduler.from_config(pipeline.scheduler.config)"
        )
    # what from_config takes over from schedulers of another kind, and then ignores
    strange = [key for key in STRANGE if config.get(key) is not None]
    if strange or config.get("use_flow_sigmas"):
        raise ValueError(
            f"generator: its {name} was made from the settings of a scheduler of another kind "
            f"({', '.join(strange) or 'use_flow_sigmas'}); a network trained with that one samples "
            "noise here"
        )
    kind = config.get("prediction_type")
    if kind not in SLOPES:
        raise ValueError(
            f"generator: its {name} says that the network predicts {kind!r}; supported are "
            f"{', '.join(SLOPES)}"
        )
    if kind == "epsilon" and float(scheduler.alphas_cumprod.min()) < 1e-7:
        raise ValueError(
            f"generator: its {name} begins without any signal (rescale_betas_zero_snr), where a "
            "network that predicts noise says nothing; set that to False"
        )


def placed(pipeline, device=None, dtype=None):
    """The pipeline on a device, in a precision, ready to sample; the one given is left as it is.

    Parameters
    ----------
    pipeline : diffusers.DiffusionPipeline
    device, dtype : optional
        As the pipeline's when omitted.
    """
    made = copy.copy(pipeline)
    for name, part in vars(pipeline).items():
        if not isinstance(part, torch.nn.Module):
            continue
        there = {(tensor.device, tensor.dtype) for tensor in part.parameters()}
        wanted = {(device or at, dtype or kind) for at, kind in there}
        if there != wanted or part.training:
            # not by the pipeline's own setter, which writes to its settings
            place = {"device": device, "dtype": dtype}
            place = {key: value for key, value in place.items() if value is not None}
            made.__dict__[name] = copy.deepcopy(part).to(**place).eval()
    return made


def try_network(pipeline, num_inference_steps):
    """Call the network once, on pure noise, before it is called for hours.

    Warns if what it says there is not what its scheduler takes it for.
    """
    steps = timesteps_of(pipeline, num_inference_steps)
    if steps[0] < steps[-1]:
        raise ValueError(
            f"generator: its {type(pipeline.scheduler).__name__} goes from faces to noise; give "
            "one that goes from noise to faces"
        )
    noise = torch.as_tensor(
        np.random.default_rng(0).standard_normal((1, *latent_shape(pipeline)), np.float32)
    )
    place = {"device": pipeline.device, "dtype": pipeline.unet.dtype}
    try:
        with torch.inference_mode():
            said = pipeline.unet(noise.to(**place), torch.tensor(steps[0], device=pipeline.device))
            said = said.sample.float().cpu()
    except Exception as error:
        raise ValueError(
            f"generator: its U-Net, called with noise of shape {tuple(noise.shape)} and a "
            f"timestep, raised {type(error).__name__}: {error}"
        ) from error
    if said.shape != noise.shape:
        raise ValueError(
            f"generator: its U-Net made {tuple(said.shape)} of noise of {tuple(noise.shape)}"
        )
    if not said.isfinite().all():
        raise ValueError(
            f"generator: its U-Net gives NaN or infinite values in {pipeline.unet.dtype}; pass "
            "dtype=torch.float32"
        )
    kind = pipeline.scheduler.config.prediction_type
    slope, (low, high) = float((said * noise).sum() / (noise**2).sum()), SLOPES[kind]
    if not low <= slope <= high:
        warnings.warn(
            f"generator: of pure noise its network says {slope:.2f} times that noise; one that "
            f"predicts {kind!r}, as its scheduler has it, would say {low} to {high}. Is it the "
            "scheduler that the network was trained with?",
            stacklevel=4,
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


def load_pipeline(path):
    """A pipeline from a folder or the hub, on the CPU, in single precision."""
    try:
        with quiet_diffusers():
            return DiffusionPipeline.from_pretrained(path, low_cpu_mem_usage=False)
    except (OSError, ValueError) as error:
        raise OSError(
            f"generator: {path} is neither a folder with a diffusers pipeline nor, from here, a "
            f"hub id that can be fetched ({str(error).splitlines()[0]})"
        ) from error
