"""A world of one's own that a test can compute by hand: bright and dark pictures, exact network."""

import numpy as np
import torch
from diffusers import ConfigMixin, DDIMScheduler, DDPMPipeline, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.models.unets.unet_2d import UNet2DOutput

from fairgen_utils.models.own_world import own_world

ATTRIBUTES = {"tone": ("dark", "bright")}
SIZE = 16
LEVEL, SPREAD = 0.5, 0.15  # pictures: +-LEVEL everywhere, plus noise of deviation SPREAD
BRIGHT = 0.2  # share of bright pictures in the data


class ExactNetwork(ModelMixin, ConfigMixin):
    """The best possible prediction for that data, in closed form; no weights to train."""

    @register_to_config
    def __init__(self, prediction_type="epsilon", in_channels=3, out_channels=3, sample_size=SIZE):
        super().__init__()
        self.alphas_cumprod = DDIMScheduler().alphas_cumprod
        self.unused = torch.nn.Parameter(torch.zeros(1))

    def forward(self, noisy, timestep):
        a = self.alphas_cumprod[int(timestep)]
        variance = a * SPREAD**2 + 1 - a
        # log odds of bright against dark, for means +-m: 2 m x / variance, plus the prior's
        odds = 2 * a.sqrt() * LEVEL * noisy.sum((1, 2, 3)) / variance + np.log(
            BRIGHT / (1 - BRIGHT)
        )
        means = torch.stack([-LEVEL + 0 * odds, LEVEL + 0 * odds], 1)
        chances = torch.stack([(-odds).sigmoid(), odds.sigmoid()], 1)
        mean = (means * chances).sum(1)[:, None, None, None]
        pull = a.sqrt() * SPREAD**2 / variance
        clean = mean + pull * (noisy - a.sqrt() * mean)
        noise = (noisy - a.sqrt() * clean) / (1 - a).sqrt()
        predicted = {
            "epsilon": noise,
            "sample": clean,
            "v_prediction": a.sqrt() * noise - (1 - a).sqrt() * clean,
        }
        return UNet2DOutput(predicted[self.config.prediction_type])


def exact_pipeline(prediction_type="epsilon"):
    scheduler = DDIMScheduler(prediction_type=prediction_type, clip_sample=False)
    return DDPMPipeline(ExactNetwork(prediction_type).eval(), scheduler)


def by_brightness(images):
    """A classifier that is nearly sure: the mean grey level on one side of the middle."""
    bright = np.where(images.mean((1, 2, 3)) > 127.5, 0.99, 0.01)
    return {"tone": np.stack([1 - bright, bright], 1)}


def colours(images):
    return images.mean((1, 2)) / 255


def make_world(**changed):
    rng = np.random.default_rng(0)
    tone = np.arange(200) % 2
    pixels = np.where(tone, 190, 64)[:, None, None, None] + rng.normal(0, 19, (200, SIZE, SIZE, 3))
    settings = {
        "labelled": (pixels.clip(0, 255).astype(np.uint8), {"tone": tone}),
        "features": colours,
        "pool_size": 200,
        "num_inference_steps": 100,
        "name": "tones",
    }
    return own_world(exact_pipeline(), by_brightness, ATTRIBUTES, **(settings | changed))
