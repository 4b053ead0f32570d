"""Guidance: change what the network computes on its way, and so the faces. Two rival methods.

Neither retrains the generator, and neither knows of mixtures: one asks a classifier of images
which way to go, the other moves the U-Net's innermost features.
"""

from contextlib import contextmanager

import numpy as np
import torch
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from tqdm import tqdm

from fairgen_utils._checks import check_labels, check_target
from fairgen_utils.generate import check_latents, timesteps_of


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
    world.names(",".join(groups))
    decoder, classifier = world.pipeline.vqvae, world.classifier
    with torch.inference_mode(False), torch.enable_grad():
        latents = latents.clone().requires_grad_()
        scaled = latents.to(decoder.dtype) / decoder.config.scaling_factor
        _, logits = classifier(decoder.decode(scaled).sample.to(classifier.dtype))
        likely = sum(
            logits[name].float().log_softmax(1)[torch.arange(len(latents)), torch.as_tensor(group)]
            for name, group in groups.items()
        )
        (gradient,) = torch.autograd.grad(likely.sum(), latents)
    return gradient / gradient.flatten(1).norm(dim=1).clamp_min(1e-12)[:, None, None, None]


def fit_bottleneck(pipeline, latents, cells, priors, num_inference_steps, seed, progress=True):
    """Linear heads that read a face's cell off the U-Net's bottleneck, one for every timestep.

    Parameters
    ----------
    pipeline : diffusers.DiffusionPipeline
    latents : ndarray, shape (n, channels, height, width), float32
        Clean ones; they are noised here.
    cells : ndarray of int, shape (n,)
        From 0 to n_cells - 1, each occurring twice or more.
    priors : array_like, shape (n_cells,)
        Shares of the cells in the generator's own faces: `latents` may hold them more evenly.
    num_inference_steps : int
    seed : int
        For the noise.

    Returns
    -------
    dict of int to tuple (coefficients, intercept)
        By timestep: Tensors of shapes (n_cells, n_features) and (n_cells,). Their logits give the
        probability of every cell.

    References
    ----------
    Kwon, Jeong, Uh, "Diffusion Models Already Have a Semantic Latent Space", ICLR 2023, for the
    bottleneck ("h-space"); Parihar et al., CVPR 2024, for heads on it.
    """
    latents, priors = check_latents(pipeline, latents), check_target(priors, None, "priors")
    cells = check_labels(cells, len(priors), "cells")
    if len(cells) != len(latents) or (np.bincount(cells, minlength=len(priors)) < 2).any():
        raise ValueError(f"cells: found {len(cells)} for {len(latents)} latents; two or more each")
    rng = np.random.default_rng(seed)
    heads, bar = {}, {"desc": "fitting heads", "disable": not progress}
    found = []
    hook = pipeline.unet.mid_block.register_forward_hook(
        lambda module, inputs, output: found.append(output.float().cpu().flatten(1))
    )
    try:
        for t in tqdm(timesteps_of(pipeline, num_inference_steps), **bar):
            a = float(pipeline.scheduler.alphas_cumprod[t])
            noise = rng.standard_normal(latents.shape, dtype=np.float32)
            noisy = torch.as_tensor(np.sqrt(a) * latents + np.sqrt(1 - a) * noise)
            found.clear()
            with torch.inference_mode():
                for batch in noisy.float().split(64):
                    pipeline.unet(batch.to(pipeline.device, pipeline.unet.dtype), t)
            heads[t] = tuple(
                torch.as_tensor(values, dtype=torch.float32, device=pipeline.device)
                for values in _linear_head(torch.cat(found).numpy(), cells, priors, seed)
            )
    finally:
        hook.remove()
    return heads


def _linear_head(features, cells, priors, seed, n_dimensions=200):
    """Linear discriminants of the cells, found in the leading principal components."""
    pca = PCA(min(n_dimensions, len(features) // 2), svd_solver="randomized", random_state=seed)
    projected = pca.fit_transform(features)
    analysis = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto", priors=priors)
    analysis.fit(projected, cells)
    coefficients = analysis.coef_ @ pca.components_
    intercept = analysis.intercept_ - coefficients @ pca.mean_
    if len(coefficients) == 1:
        # of two cells scikit-learn gives the second's logit against the first's
        coefficients, intercept = np.stack([0 * coefficients[0], coefficients[0]]), [0, *intercept]
    return coefficients, intercept


@contextmanager
def steered(unet, heads, target, strength):
    """Within this context, every batch's bottleneck is moved toward an even batch.

    The heads give each face's probability of every cell; their mean over the batch is its
    expected distribution, and all faces step down the gradient of ``KL(target || expected)``.

    Parameters
    ----------
    unet : UNet2DModel
    heads : dict
        As `fit_bottleneck` gives them.
    target : Tensor, shape (n_cells,)
        Wanted shares.
    strength : float
        Factor of the gradient. Too little changes nothing, too much turns the batch over to
        other cells: try it out.

    References
    ----------
    Parihar et al., "Balancing Act: Distribution-Guided Debiasing in Diffusion Models", CVPR 2024,
    for the idea. Loss, heads and step are our choices.
    """
    wanted = target.cpu() if torch.is_tensor(target) else target
    check_target(wanted, len(next(iter(heads.values()))[1]))
    now = []

    def remember(module, inputs):
        now[:] = [int(inputs[1])]

    def move(module, inputs, output):
        coefficients, intercept = heads[now[0]]
        features = output.float().flatten(1)
        gradient = distribution_gradient(features, coefficients, intercept, target)
        return output - (strength * gradient).reshape(output.shape).to(output.dtype)

    hooks = [
        unet.register_forward_pre_hook(remember),
        unet.mid_block.register_forward_hook(move),
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def distribution_gradient(features, coefficients, intercept, target):
    """Gradient of n KL(target || mean cell probabilities) with respect to the features.

    Parameters
    ----------
    features : Tensor, shape (n, n_features)
    coefficients, intercept : Tensor, shapes (n_cells, n_features) and (n_cells,)
    target : Tensor, shape (n_cells,)

    Returns
    -------
    Tensor, shape (n, n_features)
    """
    probabilities = (features @ coefficients.T + intercept).softmax(1)
    of_mean = -target.to(probabilities) / probabilities.mean(0).clamp_min(1e-6)
    expected = (probabilities * of_mean).sum(1, keepdim=True)
    return (probabilities * (of_mean - expected)) @ coefficients
