"""What the road walks on: attributes, a generator, a classifier, and what a target is."""

import itertools
from dataclasses import dataclass

import numpy as np

from fairgen_utils._checks import check_target
from fairgen_utils.measure import confusion_counts, joint_labels

IMAGE_SIZE = 64  # of the shipped worlds


@dataclass
class Predictions:
    """What the classifier says of faces.

    Attributes
    ----------
    labels : dict of str to ndarray, shape (n,), int64
        Most probable group of each attribute.
    probabilities : dict of str to ndarray, shape (n, n_groups), float32
    features : ndarray, shape (n, 128), float32
        The classifier's penultimate layer.
    """

    labels: dict
    probabilities: dict
    features: np.ndarray

    @classmethod
    def joined(cls, parts):
        """Predictions of several batches as one."""
        return cls(
            {k: np.concatenate([part.labels[k] for part in parts]) for k in parts[0].labels},
            {
                k: np.concatenate([part.probabilities[k] for part in parts])
                for k in parts[0].probabilities
            },
            np.concatenate([part.features for part in parts]),
        )


@dataclass
class Sample:
    """Generated faces and what is known of them.

    Attributes
    ----------
    images : ndarray, shape (n, height, width, 3), uint8
    predictions : Predictions, or None
        What the world's classifier says of them; None where it was not asked.
    components : ndarray, shape (n,), int64, or None
        The mixture component each face started from, or the cell it was guided to; None for plain
        sampling.
    seconds : float
        Wall time of denoising and decoding, without the classifier.
    """

    images: np.ndarray
    predictions: Predictions | None
    components: np.ndarray | None
    seconds: float

    def __len__(self):
        return len(self.images)

    @property
    def faces_per_second(self):
        return len(self) / self.seconds


@dataclass
class World:
    """What the road walks on: attributes, a generator, a classifier, and faces to judge by.

    `load_world` gives a shipped one, `models.own_world` puts anybody's generator in its place.

    Attributes
    ----------
    name : str
    attributes : dict of str to tuple of str
        Every attribute the classifier reads, with its groups.
    cell_attributes : tuple of str
        Those that are evened out, or could be.
    target : tuple of str
        The attributes that are evened out jointly unless others are asked for.
    pipeline : diffusers.DiffusionPipeline
        Unconditional: `LDMPipeline`, `DDPMPipeline`.
    classifier : FaceClassifier, or a callable of one's own
    timestep : int
        Recommended start for denoising from a mixture.
    num_inference_steps : int
        Recommended length of the full schedule.
    extrapolation : float
        Recommended factor of `LatentMixture.extrapolate_means`.
    strength : float
        Recommended strength of guidance by the mixture.
    first_guided_step : int
        Steps left alone before it begins.
    checksums : dict of str to str, or None
        SHA-256 of every file of a shipped world.
    """

    name: str
    attributes: dict
    cell_attributes: tuple
    target: tuple
    pipeline: object
    classifier: object
    timestep: int
    num_inference_steps: int
    extrapolation: float = 0.0
    strength: float = 4.0
    first_guided_step: int = 2
    checksums: dict | None = None

    @property
    def image_size(self):
        """Side of the faces that the classifier reads, in pixels."""
        return IMAGE_SIZE

    def names(self, attribute):
        """The single attributes asked for, checked: a tuple of str.

        Parameters
        ----------
        attribute : str or sequence of str
            ``"gender"``, ``("gender", "ancestry")`` or, as files have it, ``"gender,ancestry"``.
        """
        parts = attribute.split(",") if isinstance(attribute, str) else list(attribute)
        names = tuple(str(name).strip() for name in parts)
        unknown = [name for name in names if name not in self.attributes]
        if not names or unknown or len(set(names)) < len(names):
            raise ValueError(
                f"attribute: found {attribute!r}; {self.name} has {', '.join(self.attributes)}, "
                "singly or several different ones"
            )
        return names

    def text(self, attribute):
        """The attributes as files and tables name them: ``"gender,ancestry"``."""
        return ",".join(self.names(attribute))

    def groups(self, attribute):
        """Group names of an attribute, or of several jointly."""
        names = [self.attributes[name] for name in self.names(attribute)]
        return [" ".join(combination) for combination in itertools.product(*names)]

    def joint(self, labels, attribute):
        """Labels of one attribute, or of several as one: shape (n,), int64.

        Parameters
        ----------
        labels : dict of str to ndarray
            As `Predictions.labels` and `Faces.labels` hold them.
        attribute : str or tuple of str
        """
        names = self.names(attribute)
        sizes = [len(self.attributes[name]) for name in names]
        return joint_labels([labels[name] for name in names], sizes)

    def confusion(self, attribute):
        """P(predicted | true) on held-out faces: shape (n_groups, n_groups), rows sum to one."""
        counts = self.confusion_counts(attribute)
        return counts / counts.sum(axis=1, keepdims=True)

    def confusion_counts(self, attribute):
        """Held-out faces by true and predicted group: they tell how well `confusion` is known."""
        return confusion_counts(*self.heldout(attribute), len(self.groups(attribute)))

    def heldout(self, attribute):
        """True and predicted groups of the held-out faces: two arrays of shape (n,)."""
        return tuple(self.joint(labels, attribute) for labels in self._true_and_predicted())


def parse_target(world, text):
    """What somebody typed, ``"gender,ancestry"`` or ``"gender=0.3,0.7"``, as attributes and shares.

    Parameters
    ----------
    world : World
    text : str
        Shares follow the order of ``world.groups(attribute)``; they are uniform when none are
        given, or when the word ``uniform`` is; ``joint:`` may stand before several attributes.

    Returns
    -------
    attribute : tuple of str
    target : ndarray, shape (n_groups,)
    """
    attribute, equals, numbers = text.removeprefix("joint:").partition("=")
    if not equals and any(part.strip()[:1].isdigit() for part in attribute.split(",")):
        raise ValueError(
            f"target: found {text!r}; shares follow an equals sign, as in gender=0.3,0.7"
        )
    attribute = world.names(attribute)
    groups = world.groups(attribute)
    if numbers in ("", "uniform"):
        return attribute, check_target(None, len(groups))
    try:
        target = np.array([float(number) for number in numbers.split(",")])
    except ValueError:
        raise ValueError(f"target: {numbers!r} are not numbers joined by commas") from None
    if len(target) != len(groups) or not (target >= 0).all() or not abs(target.sum() - 1) <= 1e-6:
        percent = len(target) == len(groups) and abs(target.sum() - 100) < 1e-6
        hint = f"; as shares: {','.join(f'{part / 100:g}' for part in target)}" if percent else ""
        raise ValueError(
            f"target: found {target.tolist()} for {groups}; give {len(groups)} shares, none "
            f"negative, that sum to 1{hint}"
        )
    return attribute, target
