"""A world of one's own that a test can compute by hand: bright and dark pictures, exact network."""

import warnings

import numpy as np
import torch
from diffusers import (
    ConfigMixin,
    DDIMScheduler,
    DDPMPipeline,
    DDPMScheduler,
    ModelMixin,
    UNet2DModel,
)
from diffusers.configuration_utils import register_to_config
from diffusers.models.unets.unet_2d import UNet2DOutput

from fairgen_utils.models.mixture import LatentMixture
from fairgen_utils.models.own_world import own_world

ATTRIBUTES = {"tone": ("dark", "bright")}
SIZE = 16
LEVEL, SPREAD = 0.5, 0.15  # pictures: +-LEVEL everywhere, plus noise of deviation SPREAD
BRIGHT = 0.2  # share of bright pictures in the data
TONES = ((-LEVEL, -LEVEL), (LEVEL, LEVEL))  # of the left and the right half


class ExactNetwork(ModelMixin, ConfigMixin):
    """The best possible prediction for that data, in closed form; no weights to train.

    The data: one Gaussian for each of `levels`, whose mean is one level in the left half of the
    picture and the other in the right one, with noise of deviation `spread` in every pixel.
    """

    @register_to_config
    def __init__(
        self,
        prediction_type="epsilon",
        in_channels=3,
        out_channels=3,
        sample_size=SIZE,
        levels=TONES,
        shares=(1 - BRIGHT, BRIGHT),
        spread=SPREAD,
    ):
        super().__init__()
        self.alphas_cumprod = DDIMScheduler().alphas_cumprod
        self.unused = torch.nn.Parameter(torch.zeros(1))
        means = torch.zeros(len(levels), in_channels, sample_size, sample_size)
        for mean, (left, right) in zip(means, levels, strict=True):
            mean[..., : sample_size // 2], mean[..., sample_size // 2 :] = left, right
        self.register_buffer("means", means.flatten(1))

    def forward(self, noisy, timestep):
        a = self.alphas_cumprod[int(timestep)]
        variance = a * self.config.spread**2 + 1 - a
        away = noisy.flatten(1)[:, None] - a.sqrt() * self.means
        odds = torch.tensor(self.config.shares).log() - 0.5 * (away**2).sum(2) / variance
        mean = (odds.softmax(1) @ self.means).reshape(noisy.shape)
        clean = mean + a.sqrt() * self.config.spread**2 / variance * (noisy - a.sqrt() * mean)
        noise = (noisy - a.sqrt() * clean) / (1 - a).sqrt()
        predicted = {
            "epsilon": noise,
            "sample": clean,
            "v_prediction": a.sqrt() * noise - (1 - a).sqrt() * clean,
        }
        return UNet2DOutput(predicted[self.config.prediction_type])


def exact_pipeline(prediction_type="epsilon", scheduler=DDIMScheduler, **data):
    settings = {"prediction_type": prediction_type}
    if scheduler in (DDIMScheduler, DDPMScheduler):
        settings["clip_sample"] = False
    network = ExactNetwork(prediction_type, **data).eval()
    return DDPMPipeline(network, scheduler(**settings))


def exact_mixture(pipeline, covariance_type="tied"):
    """What a mixture fitted on endlessly many clean latents would be: a cell for each Gaussian."""
    network, size = pipeline.unet, pipeline.unet.config.sample_size
    mixture = LatentMixture(covariance_type=covariance_type)
    mixture.means_ = network.means.numpy()
    k, n_features = mixture.means_.shape
    mixture.weights_ = np.array(network.config.shares)
    mixture.cells_ = np.arange(k)
    copies = 1 if covariance_type == "tied" else k
    covariance = network.config.spread**2 * np.eye(n_features, dtype=np.float32)
    mixture.covariances_ = np.stack([covariance] * copies)
    mixture.latent_shape_ = (network.config.in_channels, size, size)
    return mixture


def by_brightness(images):
    """A classifier that is nearly sure: the mean grey level on one side of the middle."""
    bright = np.where(images.mean((1, 2, 3)) > 127.5, 0.99, 0.01)
    return {"tone": np.stack([1 - bright, bright], 1)}


# Two attributes, unevenly and jointly distributed; corners are 20 deviations apart or more.
CORNER_ATTRIBUTES = {"tone": ("dark", "bright"), "side": ("left", "right")}
CORNERS = ((-0.5, -0.8), (-0.8, -0.5), (0.8, 0.5), (0.5, 0.8))  # dark left, dark right, ...
CORNER_SHARES = (0.5, 0.25, 0.15, 0.1)


def by_halves(images):
    """Tone: on which side of the middle the grey level is; side: which half is brighter."""
    left, right = images[:, :, :2].mean((1, 2, 3)), images[:, :, 2:].mean((1, 2, 3))
    tone, side = (left + right > 255).astype(int), (right > left).astype(int)
    return {"tone": np.eye(2)[tone], "side": np.eye(2)[side]}


def corner_world(target=("tone", "side")):
    pipeline = exact_pipeline(sample_size=4, levels=CORNERS, shares=CORNER_SHARES, spread=0.1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that no faces are labelled
        return own_world(
            *(pipeline, by_halves, CORNER_ATTRIBUTES),
            target=target,
            pool_size=600,
            num_inference_steps=30,
            timestep=600,
            name="corners",
        )


def colours(images):
    return images.mean((1, 2)) / 255


def make_world(size=SIZE, **changed):
    rng = np.random.default_rng(0)
    tone = np.arange(200) % 2
    pixels = np.where(tone, 190, 64)[:, None, None, None] + rng.normal(0, 19, (200, size, size, 3))
    settings = {
        "labelled": (pixels.clip(0, 255).astype(np.uint8), {"tone": tone}),
        "features": colours,
        "pool_size": 200,
        "num_inference_steps": 100,
        "name": "tones",
    }
    generator = exact_pipeline(sample_size=size)
    return own_world(generator, by_brightness, ATTRIBUTES, **(settings | changed))


def random_unet(channels, size, kind=UNet2DModel, **changed):
    """A network of random weights, as small as one with attention can be."""
    torch.manual_seed(0)
    settings = {
        "sample_size": size,
        "in_channels": channels,
        "out_channels": channels,
        "layers_per_block": 1,
        "block_out_channels": (8, 16),
        "norm_num_groups": 4,
        "attention_head_dim": 8,
        "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
        "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
    }
    return kind(**(settings | changed)).eval()
