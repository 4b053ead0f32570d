"""Between noise and images: encode, denoise from any timestep, decode. Thin over diffusers.

Any unconditional pipeline of a U-Net will do. With an autoencoder (``LDMPipeline``) latents are
what it makes of images; without one (``DDPMPipeline``) the pixels themselves, in [-1, 1].
"""

import inspect

import numpy as np
import torch
from tqdm import tqdm

from fairgen_utils._checks import check_count, check_images
from fairgen_utils.models.pipeline import (
    autoencoder_of,
    check_latents,
    fresh_scheduler,
    start_timestep,
    timesteps_of,
)


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
    images = check_images(images)
    autoencoder = autoencoder_of(pipeline)
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
    autoencoder = autoencoder_of(pipeline)
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
        ``adjust(clean, noisy, alpha_cumprod)`` gives at every step what to put in place of the
        clean latents that the network predicts, a Tensor of the batch's shape: how guidance
        steers. Batches come one after the other.

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
        scheduler = fresh_scheduler(pipeline, num_inference_steps)
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
    a = scheduler.alphas_cumprod[t]
    signal, noise = a.sqrt(), (1 - a).sqrt()
    kind = scheduler.config.prediction_type
    if kind == "v_prediction":
        clean = signal * noisy - noise * predicted
    elif kind == "epsilon":
        clean = (noisy - noise * predicted) / signal
    else:
        clean = predicted
    adjusted = adjust(clean, noisy, float(a))
    if adjusted is clean:  # left alone: not even rounded
        return predicted
    clean = adjusted
    epsilon = (noisy - signal * clean) / noise
    return {"v_prediction": signal * epsilon - noise * clean, "epsilon": epsilon}.get(kind, clean)


def _batches(array, batch_size, description, progress):
    check_count(batch_size, "batch_size")
    look = {"desc": description, "unit": "face", "delay": 1}
    with tqdm(total=len(array), disable=not progress, **look) as bar:
        for start in range(0, len(array), batch_size):
            yield array[start : start + batch_size]
            bar.update(len(array[start : start + batch_size]))
