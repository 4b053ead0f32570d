"""The attribute classifier: pixels in, calibrated group probabilities and face features out."""

import torch.nn.functional as F
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import nn


class _ResidualBlock(nn.Module):
    def __init__(self, channels_in, channels_out, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels_out)
        same = stride == 1 and channels_in == channels_out
        self.skip = nn.Identity() if same else nn.Conv2d(channels_in, channels_out, 1, stride)

    def forward(self, x):
        hidden = F.relu(self.norm1(self.conv1(x)))
        return F.relu(self.norm2(self.conv2(hidden)) + self.skip(x))


class FaceClassifier(ModelMixin, ConfigMixin):
    """A residual network with one linear head per attribute, over shared face features.

    Saved and loaded like any diffusers model (``save_pretrained``, ``from_pretrained``).

    Parameters
    ----------
    attributes : dict of str to list of str
        The groups of every attribute, in the order of the probabilities.
    channels : sequence of int
        Width of each stage; the resolution halves at every stage.
    temperatures : dict of str to float, optional
        Divisor of each attribute's logits, fitted on held-out faces so that probabilities are
        calibrated (Guo et al., "On Calibration of Modern Neural Networks", ICML 2017).
    """

    @register_to_config
    def __init__(self, attributes, channels=(32, 64, 128, 192), temperatures=None):
        super().__init__()
        stages = [nn.Conv2d(3, channels[0], 3, 2, 1)]
        for width_in, width_out in zip((channels[0], *channels[:-1]), channels, strict=True):
            stages.append(_ResidualBlock(width_in, width_out, 1 if width_in == width_out else 2))
        self.body = nn.Sequential(*stages)
        self.embed = nn.Linear(channels[-1], 128)
        self.heads = nn.ModuleDict(
            {name: nn.Linear(128, len(groups)) for name, groups in attributes.items()}
        )

    def forward(self, pixels):
        """Features and logits.

        Parameters
        ----------
        pixels : Tensor, shape (n, 3, 64, 64), float
            In [-1, 1], as the generator's decoder gives them.

        Returns
        -------
        features : Tensor, shape (n, 128)
        logits : dict of str to Tensor, shape (n, n_groups)
            Already divided by the temperatures.
        """
        features = F.relu(self.embed(self.body(pixels).mean((2, 3))))
        temperatures = self.config.temperatures or {}
        dropped = F.dropout(features, 0.2, self.training)
        logits = {k: head(dropped) / temperatures.get(k, 1.0) for k, head in self.heads.items()}
        return features, logits
