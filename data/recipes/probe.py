"""A judge of another kind: linear discriminants of latents, in place of a network of pictures."""

import numpy as np
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from fairgen_utils.generate import encode
from fairgen_utils.own_world import own_world


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
    probes = {}
    for name in world.cell_attributes:
        groups = len(world.attributes[name])
        probe = LinearDiscriminantAnalysis(
            solver="lsqr", shrinkage="auto", priors=np.full(groups, 1 / groups)
        )
        probes[name] = probe.fit(latents, training.labels[name])

    def classify(images):
        encoded = encode(world.pipeline, images, progress=False).reshape(len(images), -1)
        return {name: probe.predict_proba(encoded) for name, probe in probes.items()}

    return own_world(
        world.pipeline,
        classify,
        {name: world.attributes[name] for name in world.cell_attributes},
        target=world.target,
        labelled=(heldout.images, heldout.labels),
        num_inference_steps=world.num_inference_steps,
        name=world.name,
    )
