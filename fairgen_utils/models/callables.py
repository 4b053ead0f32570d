"""Load: what a reader's own classifier, features and faces say, checked before it is used."""

import numpy as np
import torch

from fairgen_utils._checks import check_images, check_labels, check_numbers

ALIKE = 0.02  # a probability may move by so much when other faces are asked about beside


def ask_classifier(classifier, images, attributes):
    """Probabilities of every attribute's groups: dict of str to ndarray, float32.

    Parameters
    ----------
    classifier : callable
        Called with a copy of the images, without gradients; arrays or tensors come back.
    images : ndarray, shape (n, height, width, 3), uint8
    attributes : dict of str to tuple of str
    """
    found = _called(classifier, images, "classifier")
    return {
        name: _check_scores(found, name, len(images), len(groups))
        for name, groups in attributes.items()
    }


def ask_features(features, images):
    """Features of faces: ndarray, shape (n, n_features), float32; of no column where none are."""
    if features is None:
        return np.zeros((len(images), 0), np.float32)
    found = _as_array(_called(features, images, "features"), "features")
    if found.ndim != 2 or len(found) != len(images):
        raise ValueError(
            f"features: found shape {found.shape} for {len(images)} faces; return one row each"
        )
    if not np.isfinite(found).all():
        raise ValueError("features: found NaN or infinite values")
    return found


def try_out(images, classifier, attributes, features):
    """Ask about two faces, and about one of them again, before thousands are made.

    Parameters
    ----------
    images : ndarray, shape (2, height, width, 3), uint8

    Returns
    -------
    int
        How many features there are.
    """
    together = ask_classifier(classifier, images, attributes)
    alone = ask_classifier(classifier, images[:1], attributes)
    apart = max(abs(together[name][:1] - alone[name]).max() for name in attributes)
    if apart > ALIKE:
        raise ValueError(
            f"classifier: a face's probabilities change by {apart:.2g} when it is asked again "
            "without its neighbour; is it in training mode? call its eval()"
        )
    return ask_features(features, images).shape[1]


def check_attributes(attributes):
    """Attributes with their groups, as a dict of tuples; ValueError says what is amiss."""
    if not isinstance(attributes, dict) or not attributes:
        raise ValueError(
            f"attributes: found {attributes!r}; give a dict such as {{'tone': ('dark', 'bright')}}"
        )
    for name, groups in attributes.items():
        if isinstance(groups, str) or not np.iterable(groups):
            raise ValueError(f"attributes: {name!r} has {groups!r}; list the names of its groups")
        if len(set(groups)) < max(2, len(tuple(groups))):
            raise ValueError(f"attributes: {name!r} has {groups}; name two groups or more, once")
        if not isinstance(name, str) or "," in name or "=" in name or name != name.strip():
            raise ValueError(f"attributes: {name!r} is no name; files and commands join them by ,")
    return {name: tuple(map(str, groups)) for name, groups in attributes.items()}


def check_labelled(labelled, attributes, joint=()):
    """Faces with labels, as given to `own_world`; ValueError says what is amiss.

    Parameters
    ----------
    labelled : tuple (images, labels)
    attributes : dict of str to tuple of str
    joint : sequence of str
        Attributes of which every cell must be among them, not only every group.
    """
    if not isinstance(labelled, (tuple, list)) or len(labelled) != 2:
        raise ValueError(f"labelled: found {type(labelled).__name__}; give (images, labels)")
    images = check_images(labelled[0], name="labelled images")
    labels = check_label_dict(labelled[1], attributes, len(images), "images")
    sizes = [len(attributes[name]) for name in joint]
    cells = {tuple(cell) for cell in zip(*(labels[name].tolist() for name in joint), strict=True)}
    for name, groups in attributes.items():
        absent = [group for i, group in enumerate(groups) if not (labels[name] == i).any()]
        if absent:
            raise ValueError(
                f"labelled: no face of {name} {', '.join(absent)}; how often the classifier errs "
                "on them cannot be told"
            )
    absent = [cell for cell in np.ndindex(*sizes) if joint and cell not in cells]
    if absent:
        named = [
            " ".join(attributes[name][i] for name, i in zip(joint, cell, strict=True))
            for cell in absent
        ]
        raise ValueError(
            f"labelled: no face of {', '.join(named[:3])}{' ...' if len(named) > 3 else ''}; add "
            "some, or leave attributes out of the target"
        )
    return images, labels


def check_label_dict(labels, attributes, n, what):
    """Labels of every attribute for `n` images or latents: dict of str to ndarray."""
    missing = [name for name in attributes if not isinstance(labels, dict) or name not in labels]
    if missing:
        found = list(labels) if isinstance(labels, dict) else type(labels).__name__
        raise ValueError(f"labelled: no labels for {missing}; found {found}")
    checked = {}
    for name, groups in attributes.items():
        checked[name] = check_labels(labels[name], len(groups), f"labelled {name}")
        if len(checked[name]) != n:
            raise ValueError(f"labelled: {len(checked[name])} {name} labels, {n} {what}")
    return checked


def _called(function, images, name):
    try:
        with torch.no_grad():  # of a copy: what changes its input must not change our faces
            return function(images.copy())
    except Exception as error:
        raise ValueError(
            f"{name}: called with uint8 images of shape {images.shape}, it raised "
            f"{type(error).__name__}: {error}"
        ) from error


def _as_array(values, name):
    if isinstance(values, torch.Tensor):
        values = values.detach().float().cpu()
    return check_numbers(values, name, np.float32)


def _check_scores(found, name, n, n_groups):
    if not isinstance(found, dict) or name not in found:
        kind = list(found) if isinstance(found, dict) else type(found).__name__
        raise ValueError(f"classifier: returned {kind}; return a dict with {name!r} in it")
    scores = _as_array(found[name], f"classifier: {name}")
    if scores.shape != (n, n_groups):
        raise ValueError(
            f"classifier: {name} has shape {scores.shape}; return ({n}, {n_groups}), "
            "a probability for each group"
        )
    if not np.isfinite(scores).all() or (scores < 0).any() or abs(scores.sum(1) - 1).max() > 1e-3:
        raise ValueError(
            f"classifier: {name} are no probabilities: rows must sum to one; "
            "a softmax makes them of a network's scores"
        )
    return scores
