"""Other places to start from: components found without labels, clean latents, inverted noise."""

import numpy as np
import torch
from diffusers import DDIMInverseScheduler
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from tqdm import tqdm

from fairgen_utils.generate import Sampler
from fairgen_utils.localize import component_table, localize_mixture, solve_weights
from fairgen_utils.models.low_frequency import mixture_for
from fairgen_utils.models.pipeline import check_latents

N_COMPONENTS = 32


def found_sampler(world, name, seed):
    """Starts from components that no label helped to find, all alike unless ``table`` weighs them.

    Parameters
    ----------
    world : World
    name : str
        ``uniform``, ``pilot``, ``kmeans`` or ``table``.
    seed : int
        Of the clusters.

    Returns
    -------
    Sampler
    """
    latents, labels = world.latents()
    if name == "kmeans":
        clusters = cluster(latents, N_COMPONENTS, seed)
        start = mixture_for(latents.shape[1:]).fit(latents, clusters)
    else:
        start = mixture_for(latents.shape[1:], N_COMPONENTS).fit(latents)
    k = len(start.weights_)
    weights = np.full(k, 1 / k)
    if name == "table":
        cells = world.joint(labels, world.target)
        groups = len(world.groups(world.target))
        table = component_table(start.predict_proba(latents), cells, k, groups)
        weights = solve_weights(table, None, world.confusion(world.target))
    return Sampler(world, name=name, start=start, weights=weights)


def cluster(latents, n_clusters, seed, n_dimensions=48):
    """K-means in the leading principal components: the cluster of every latent, shape (n,)."""
    flat = np.reshape(latents, (len(latents), -1))
    pca = PCA(min(n_dimensions, *flat.shape), svd_solver="randomized", random_state=seed)
    projected = pca.fit_transform(flat)
    clusters = KMeans(n_clusters, n_init=4, random_state=seed).fit_predict(projected)
    return clusters.astype(np.int64)


class CleanSampler(Sampler):
    """Latents of a mixture, decoded as they are: no denoising at all.

    Tan et al., "Improving the Fairness of Deep Generative Models without Retraining", arXiv
    2012.04842, did so in a GAN's latent space, whose generator takes such samples as they are.
    """

    def __init__(self, world, mixture, weights):
        super().__init__(world, name="clean", start=mixture, timestep=0, weights=weights)
        self.noised, self.timestep, self.nfe = mixture, 0, 0.0

    def _batch(self, n, key, quota):
        return self._begin(n, key)


def clean_sampler(world, seed):
    """A `CleanSampler` with four Gaussians for each cell of the world's target."""
    mixture = localize_mixture(world, world.target, 4)
    return CleanSampler(world, mixture, even_over_cells(mixture))


def even_over_cells(mixture):
    """Component weights that give every cell the same share, kept in proportion within a cell."""
    weights = np.array(mixture.weights_, float)
    for cell in np.unique(mixture.cells_):
        weights[mixture.cells_ == cell] /= weights[mixture.cells_ == cell].sum()
    return weights / weights.sum()


def inverted_sampler(world, seed, progress=True, most=300):
    """A Gaussian per cell at the far end, where every face was taken back to noise.

    Meant as a negative control, for noise that is *added* leaves nothing to localize there. But
    inversion is a map without chance: what it makes of a face looks like noise, and still tells
    whose it was, as far as the network's errors let it.

    Parameters
    ----------
    world : World
    seed : int
        Of the choice of latents.
    progress : bool
    most : int
        Latents of each cell.

    Returns
    -------
    Sampler
    """
    latents, cells = some_of_each(world, most, seed)
    plain = Sampler(world)
    noise = invert(world.pipeline, latents, plain.steps, progress=progress)
    mixture = mixture_for(latents.shape[1:]).fit(noise, cells)
    weights, spent = even_over_cells(mixture), float(plain.nfe * len(latents))
    sampler = Sampler(
        world,
        name="inverted",
        start=mixture,
        timestep=plain.timestep,
        weights=weights,
        preparation=spent,
    )
    sampler.noised = mixture  # it was fitted at that noise level
    return sampler


def some_of_each(world, most, seed):
    """Latents of at most `most` faces of every cell of the target, and their cells."""
    latents, labels = world.latents()
    cells = world.joint(labels, world.target)
    order = np.random.default_rng(seed).permutation(len(cells))
    kept = [order[cells[order] == cell][:most] for cell in np.unique(cells)]
    kept = np.sort(np.concatenate(kept))
    return latents[kept], cells[kept]


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
    # even in time: it knows no other way, and none of the solver's that is even in log-SNR
    scheduler = DDIMInverseScheduler.from_config(
        pipeline.scheduler.config, timestep_spacing="trailing"
    )
    scheduler.set_timesteps(num_inference_steps)
    noise = []
    latents = check_latents(pipeline, latents)
    starts = range(0, len(latents), batch_size)
    for start in tqdm(starts, desc="inverting", disable=not progress, delay=1):
        batch = latents[start : start + batch_size]
        batch = torch.as_tensor(batch).to(pipeline.device)
        with torch.inference_mode():
            for t in scheduler.timesteps:
                predicted = pipeline.unet(batch.to(pipeline.unet.dtype), t).sample.float()
                batch = scheduler.step(predicted, t, batch).prev_sample
        noise.append(batch.float().cpu().numpy())
    return np.concatenate(noise)
