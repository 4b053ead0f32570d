"""Classifier guidance: a network is asked, step by step, which way a face's groups lie."""

import numpy as np
import torch

from fairgen_utils._checks import check_target
from fairgen_utils.generate import Sampler
from fairgen_utils.models.guidance import assign_cells


class ClassifierGuidance(Sampler):
    """Every face is led to a cell by the gradient of the world's classifier through the decoder.

    Its cell is the nearest that the batch's quotas leave, as in guidance by the mixture.

    Parameters
    ----------
    world : World
        With a classifier of the course.
    target : array_like, shape (n_cells,)
        Over the groups of the world's target.
    strength : float
        Length of each step, in clean latents.
    """

    is_steered = True

    def __init__(self, world, target, strength=2.0):
        super().__init__(world, name="guidance", strength=strength)
        self.weights = check_target(target, len(world.groups(world.target)))
        self.sizes = [len(world.attributes[name]) for name in world.target]

    def _checked(self, weights):
        return check_target(weights, len(self.weights), "weights")

    def _batch(self, n, key, quota):
        chosen = []

        def toward(clean, noisy, alpha_cumprod):
            if not chosen:
                chosen.append(assign_cells(log_proba_cells(self.world, clean), quota))
            groups = np.unravel_index(chosen[0], self.sizes)
            groups = dict(zip(self.world.target, groups, strict=True))
            return clean + self.strength * classifier_direction(self.world, clean, groups)

        return self._denoise(self._begin(n, key)[0], key, toward), chosen[0]


def log_proba_cells(world, latents):
    """What the classifier gives each cell of the world's target, attributes taken as independent.

    Parameters
    ----------
    world : World
    latents : Tensor, shape (n, channels, height, width)
        Clean ones.

    Returns
    -------
    ndarray, shape (n, n_cells)
    """
    with torch.inference_mode():
        logits = _logits(world, latents)
        cells = torch.zeros(len(latents), 1)
        for name in world.target:
            each = logits[name].float().log_softmax(1).cpu()
            cells = (cells[:, :, None] + each[:, None, :]).flatten(1)
    return cells.numpy()


def _logits(world, latents):
    decoder, classifier = world.pipeline.vqvae, world.classifier
    scaled = latents.to(decoder.dtype) / decoder.config.scaling_factor
    return classifier(decoder.decode(scaled).sample.to(classifier.dtype))[1]


def classifier_direction(world, latents, groups):
    """Where the classifier would find each decoded face likelier to be of the wanted groups.

    Parameters
    ----------
    world : World
    latents : Tensor, shape (n, channels, height, width)
        Clean latents.
    groups : dict of str to ndarray of int, shape (n,)
        Wanted group of every face, by attribute.

    Returns
    -------
    Tensor, shape (n, channels, height, width)
        Gradients of the log-probability, each of length one.

    References
    ----------
    Dhariwal, Nichol, "Diffusion Models Beat GANs on Image Synthesis", NeurIPS 2021. Theirs takes
    a classifier of noisy images; here it is asked about the predicted clean one.
    """
    world.names(tuple(groups))
    with torch.inference_mode(False), torch.enable_grad():
        latents = latents.clone().requires_grad_()
        logits = _logits(world, latents)
        likely = sum(
            logits[name].float().log_softmax(1)[torch.arange(len(latents)), torch.as_tensor(group)]
            for name, group in groups.items()
        )
        (gradient,) = torch.autograd.grad(likely.sum(), latents)
    return gradient / gradient.flatten(1).norm(dim=1).clamp_min(1e-12)[:, None, None, None]
