"""Distribution guidance: linear heads on the U-Net's bottleneck move a batch to a target."""

from contextlib import contextmanager

import numpy as np
import torch
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from tqdm import tqdm

from fairgen_utils._checks import check_labels, check_target
from fairgen_utils.generate import Sampler
from fairgen_utils.judge import audit_fairness
from fairgen_utils.measure import shares
from fairgen_utils.models.pipeline import check_latents, timesteps_of
from fairgen_utils.rivals.starts import some_of_each

STRENGTHS = (250.0, 500.0, 1000.0, 2000.0, 4000.0)


class Bottleneck(Sampler):
    """Each batch's bottleneck is moved until its cells look even to the heads.

    Parameters
    ----------
    world : World
    heads : dict
        As `fit_bottleneck` gives them.
    target : array_like, shape (n_cells,)
    strength : float
    """

    def __init__(self, world, heads, target, strength, preparation=0.0):
        super().__init__(
            world, name="bottleneck", strength=strength, batch_size=100, preparation=preparation
        )
        self.heads = heads
        self.target = torch.as_tensor(np.asarray(target), dtype=torch.float32)

    def _batch(self, n, key, quota):
        with steered(self.world.pipeline.unet, self.heads, self.target, self.strength):
            return self._denoise(self._begin(n, key)[0], key), None


def bottleneck_sampler(world, target, seed, progress=True, pilot_faces=400):
    """A `Bottleneck` whose strength is the one whose pilot comes out most even.

    Parihar et al., "Balancing Act: Distribution-Guided Debiasing in Diffusion Models", CVPR 2024.
    Their heads are trained networks, ours are linear discriminants.

    Parameters
    ----------
    world : World
    target : array_like, shape (n_cells,)
    seed : int
    progress : bool
    pilot_faces : int
        For the generator's own shares, and for each strength.

    Returns
    -------
    Bottleneck
    """
    latents, cells = some_of_each(world, 200, seed)
    plain = Sampler(world)
    labels = plain.draw(pilot_faces, seed, progress=progress).predictions.labels
    found = shares(world.joint(labels, world.target), len(target))
    priors = (found + 1e-3) / (found + 1e-3).sum()  # a cell never drawn is rare, not impossible
    heads = fit_bottleneck(world.pipeline, latents, cells, priors, plain.steps, seed, progress)
    discrepancies = []
    for strength in STRENGTHS:
        pilot = Bottleneck(world, heads, target, strength).draw(pilot_faces, seed, progress)
        fairness = audit_fairness(world, pilot.predictions, world.target, target)
        discrepancies.append(fairness["fd_corrected"])
    best = STRENGTHS[int(np.argmin(discrepancies))]
    spent = float(plain.nfe * (len(latents) + pilot_faces * (1 + len(STRENGTHS))))
    return Bottleneck(world, heads, target, best, spent)


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
