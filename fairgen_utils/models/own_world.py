"""Load: a world around anybody's generator and classifier."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from fairgen_utils._checks import check_count, check_images
from fairgen_utils.generate import Sampler
from fairgen_utils.judge import balanced_moments, moments
from fairgen_utils.models.callables import (
    ask_classifier,
    ask_features,
    check_attributes,
    check_label_dict,
    check_labelled,
    try_out,
)
from fairgen_utils.models.diffusion import decode
from fairgen_utils.models.one_step import OneStep
from fairgen_utils.models.pipeline import (
    autoencoder_of,
    check_device,
    check_pipeline,
    latent_shape,
    load_pipeline,
    placed,
    start_timestep,
    try_network,
)
from fairgen_utils.models.world import Predictions, World

# what is left of the signal's variance where the course's own worlds start denoising
SIGNAL = 0.3


@dataclass(kw_only=True)
class OwnWorld(World):
    """A world whose generator, classifier and faces are the reader's. Made by `own_world`.

    Attributes beside those of `World`
    ----------------------------------
    features : callable or None
    labelled : tuple (images, labels) or None
    pool_size : int
    seed : int
        Of the pool.
    pool : tuple (latents, labels) or None
        None until `latents` makes it.
    """

    features: Callable | None
    labelled: tuple | None
    pool_size: int
    seed: int
    pool: tuple | None = None

    @property
    def image_size(self):
        """Side of the generator's faces, in pixels."""
        if isinstance(self.pipeline, OneStep):
            return self.pipeline.image_size
        autoencoder = autoencoder_of(self.pipeline)
        side = latent_shape(self.pipeline)[-1]
        if autoencoder is None:
            return side
        if hasattr(autoencoder, "spatial_compression_ratio"):
            return side * autoencoder.spatial_compression_ratio
        return side * 2 ** (len(autoencoder.config.block_out_channels) - 1)

    def classify(self, images, batch_size=250, progress=False):
        """Labels, probabilities and features of faces, by the reader's own callables."""
        images = check_images(images)
        features, probabilities = [], {name: [] for name in self.attributes}
        for start in range(0, len(images), batch_size):
            batch = images[start : start + batch_size]
            for name, found in ask_classifier(self.classifier, batch, self.attributes).items():
                probabilities[name].append(found)
            features.append(ask_features(self.features, batch))
        probabilities = {name: np.concatenate(parts) for name, parts in probabilities.items()}
        labels = {name: values.argmax(1) for name, values in probabilities.items()}
        return Predictions(labels, probabilities, np.concatenate(features))

    def training_shares(self, attribute):
        """Unknown, unless the reader's labelled faces happen to be the training set's sample."""
        raise ValueError(
            f"attribute: nobody has told this world what the faces that {self.name} was trained on "
            "are like; compare with shares of your own"
        )

    @cached_property
    def _labelled_predictions(self):
        return self.classify(self.labelled[0])

    def confusion_counts(self, attribute):
        """Labelled faces by true and predicted group; the identity where none were given."""
        if self.labelled is None:
            return np.eye(len(self.groups(attribute)))
        return super().confusion_counts(attribute)

    def reference(self):
        """Features of the labelled faces, every group of the target weighted alike."""
        if self.labelled is None or self.features is None:
            raise ValueError(
                "reference: quality is a distance between features of generated and of real faces; "
                "pass labelled= and features= to own_world"
            )
        features = self._labelled_predictions.features
        mean, covariance = balanced_moments(features, self.joint(self.labelled[1], self.target))
        return {"mean": mean, "covariance": covariance, "n": len(features), "features": features}

    def group_moments(self, attribute):
        """Mean and covariance of the labelled faces' features, group by group."""
        features = self.reference()["features"]
        labels = self.joint(self.labelled[1], attribute)
        return [moments(features[labels == g]) for g in range(len(self.groups(attribute)))]

    def latents(self):
        """Latents of plainly generated faces, made at the first call, and the classifier's labels.

        Returns
        -------
        latents : ndarray, shape (n, channels, height, width), float16
        labels : dict of str to ndarray, shape (n,), int64
        """
        if self.pool is None and isinstance(self.pipeline, OneStep):
            latents = self.pipeline.draw(self.pool_size, self.seed)
            self.set_pool(latents, self.classify(self.pipeline.decode(latents)).labels)
        elif self.pool is None:
            latents = Sampler(self).latents(self.pool_size, self.seed)[0].astype(np.float16)
            self.set_pool(latents, self.classify(decode(self.pipeline, latents)).labels)
        return self.pool

    def set_pool(self, latents, labels):
        """Localize attributes in latents made elsewhere: by other processes, or from photographs.

        Parameters
        ----------
        latents : ndarray, shape (n, channels, height, width)
        labels : dict of str to ndarray of int, shape (n,)
        """
        one_step = isinstance(self.pipeline, OneStep)
        shape = self.pipeline.latent_shape if one_step else latent_shape(self.pipeline)
        if np.shape(latents)[1:] != shape:
            raise ValueError(
                f"latents: found shape {np.shape(latents)}; this generator's are (n, {shape})"
            )
        self.pool = latents, check_label_dict(labels, self.attributes, len(latents), "latents")

    def second_judge(self):
        """None is known: call `own_world` once more, with another classifier."""
        raise ValueError(
            "second_judge: this world has one classifier; for a second judge call own_world again, "
            "with another classifier and the same labelled faces"
        )

    def _true_and_predicted(self):
        return self.labelled[1], self._labelled_predictions.labels


def own_world(
    generator,
    classifier,
    attributes,
    *,
    target=None,
    labelled=None,
    features=None,
    timestep=None,
    num_inference_steps=50,
    pool_size=2000,
    seed=0,
    name="own",
    device=None,
    dtype=None,
):
    """Put a generator and a classifier of your own where the course has its worlds.

    Everything then works as on a shipped world: ``Sampler``, ``localize_mixture``,
    ``recommended_sampler``, ``audit_fairness``.

    Parameters
    ----------
    generator : diffusers.DiffusionPipeline, or path or hub id of one, or OneStep
        Unconditional, with a ``unet`` and, in latent space, a ``vqvae`` or ``vae``. Any size; a
        scheduler that predicts noise, velocity or the clean sample. A generator of one step has
        no timesteps: it is measured and localized, and what needs a diffusion model refuses it.
    classifier : callable
        ``classifier(images)``, uint8 of shape (n, height, width, 3), returns a dict: for every
        attribute its groups' probabilities, shape (n, n_groups).
    attributes : dict of str to sequence of str
        The groups of every attribute, in the order of the probabilities.
    target : str or tuple of str, optional
        Attributes to even out jointly. All of them when omitted.
    labelled : tuple (images, labels), optional
        Real faces that the classifier was not trained on, every group among them, with a dict of
        true labels. They tell the classifier's errors, which shares are then corrected for, and
        what good faces look like. Without them, shares stay as the classifier sees them.
    features : callable, optional
        ``features(images)``, shape (n, n_features), for the Frechet distance.
    timestep : int, optional
        Where localized denoising starts. When omitted, where 0.3 of a latent's variance is
        signal: a guess from the course's worlds. Try others: the window differs by model.
    num_inference_steps : int
    pool_size : int
        Generated faces in which attributes are localized.
    seed : int
        Of that pool.
    name : str
    device, dtype : optional
        Where the generator computes, and in which precision. When omitted, as it is given; one
        that is loaded here, on the CPU in single precision. Yours is never changed: what has to be
        moved is copied.

    Returns
    -------
    OwnWorld

    Raises
    ------
    OSError
        If `generator` is a path or hub id that cannot be loaded.
    ValueError
        If the pipeline is of a kind that the mixtures do not fit, or another argument is amiss:
        the network is called once, classifier and features on two faces, before minutes of work.
    """
    attributes = check_attributes(attributes)
    if not callable(classifier):
        raise ValueError(f"classifier: found {type(classifier).__name__}; give a callable")
    if features is not None and not callable(features):
        raise ValueError(f"features: found {type(features).__name__}; give a callable")
    check_count(pool_size, "pool_size", least=2)
    check_count(seed, "seed", least=0)
    if isinstance(generator, (str, Path)):
        generator = load_pipeline(generator)
    one_step = isinstance(generator, OneStep)
    if one_step and timestep is not None:
        raise ValueError(f"timestep: found {timestep}; {type(generator).__name__} has none")
    if not one_step:
        check_pipeline(generator)
        generator = placed(generator, device and check_device(device), dtype)
        if timestep is None:
            timestep = int((generator.scheduler.alphas_cumprod - SIGNAL).abs().argmin())
        start_timestep(generator, timestep, num_inference_steps)  # refuses what isn't a timestep
    world = OwnWorld(
        name=name,
        attributes=attributes,
        cell_attributes=tuple(attributes),
        pipeline=generator,
        classifier=classifier,
        target=tuple(attributes),
        timestep=timestep,
        num_inference_steps=1 if one_step else num_inference_steps,
        features=features,
        labelled=None,
        pool_size=pool_size,
        seed=seed,
    )
    if target is not None:
        world.target = world.names(target)
    if labelled is not None:
        world.labelled = check_labelled(labelled, attributes, world.target)
    _try_out(world)
    if labelled is None:
        warnings.warn(
            "labelled: no labelled faces, so the classifier's errors are unknown and no share is "
            "corrected for them",
            stacklevel=2,
        )
    return world


def _try_out(world):
    """Every part once, before thousands of faces are made."""
    one_step = isinstance(world.pipeline, OneStep)
    if not one_step:
        try_network(world.pipeline, world.num_inference_steps)
    kinds = [] if world.labelled is None else [world.labelled[0][:2]]
    if not kinds or kinds[0].shape[1:3] != (world.image_size,) * 2 or len(kinds[0]) < 2:
        noise = np.random.default_rng(0)
        if one_step:
            made = world.pipeline.decode(world.pipeline.draw(2, world.seed), progress=False)
        else:
            shape = (2, *latent_shape(world.pipeline))
            latents = noise.standard_normal(shape, np.float32)
            made = decode(world.pipeline, latents, progress=False)
        kinds.append(check_images(made, name="generator: its faces"))
    found = {try_out(faces, world.classifier, world.attributes, world.features) for faces in kinds}
    if len(found) > 1:
        raise ValueError(
            f"features: {sorted(found)} of them for faces of {[k.shape[1:3] for k in kinds]} "
            "pixels; return as many for every size"
        )
