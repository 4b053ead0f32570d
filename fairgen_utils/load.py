"""Load: a world is faces, labels, a generator and a classifier that belong together."""

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from diffusers import DiffusionPipeline
from tqdm import tqdm

from fairgen_utils._checks import check_images
from fairgen_utils._files import data_folder
from fairgen_utils.judge import moments
from fairgen_utils.models.classifier import FaceClassifier
from fairgen_utils.models.pipeline import check_device, quiet_diffusers
from fairgen_utils.models.world import IMAGE_SIZE, Predictions, World

# what world.json must tell
WRITTEN = {
    *("attributes", "cell_attributes", "train_counts", "target", "timestep", "strength"),
    *("first_guided_step", "num_inference_steps", "extrapolation", "sha256"),
}


@dataclass
class ShippedWorld(World):
    """A world from the repository's data/. Made by `load_world`.

    Attributes beside those of `World`
    ----------------------------------
    folder : Path
    train_counts : ndarray of int, one axis per cell attribute
        How many training faces each combination of groups has.
    reference_file : str
        What the classifier says of the held-out faces, in the world's folder.
    """

    folder: Path | None = None
    train_counts: np.ndarray | None = None
    reference_file: str = "reference.npz"

    def training_shares(self, attribute):
        """Shares of the groups among the faces the generator was trained on."""
        names = self.names(attribute)
        missing = [name for name in names if name not in self.cell_attributes]
        if missing:
            raise ValueError(
                f"attribute: training counts exist for {self.cell_attributes}, not for {missing}"
            )
        axes = [self.cell_attributes.index(name) for name in names]
        others = tuple(set(range(self.train_counts.ndim)) - set(axes))
        kept = sorted(axes)
        counts = self.train_counts.sum(others).transpose([kept.index(axis) for axis in axes])
        return counts.ravel() / counts.sum()

    def classify(self, images, batch_size=250, progress=False):
        """Labels, probabilities and features of faces.

        Parameters
        ----------
        images : ndarray, shape (n, 64, 64, 3), uint8

        Returns
        -------
        Predictions
        """
        images = check_images(images, IMAGE_SIZE)
        features, probabilities = [], {name: [] for name in self.attributes}
        parts = range(0, len(images), batch_size)
        for start in tqdm(parts, desc="classifying", disable=not progress, leave=False):
            batch = torch.as_tensor(images[start : start + batch_size])
            pixels = batch.permute(0, 3, 1, 2).to(self.classifier.device) / 127.5 - 1
            with torch.inference_mode():
                embedded, logits = self.classifier(pixels.to(self.classifier.dtype))
            features.append(embedded.float().cpu().numpy())
            for name, scores in logits.items():
                probabilities[name].append(scores.float().softmax(1).cpu().numpy())
        probabilities = {name: np.concatenate(parts) for name, parts in probabilities.items()}
        labels = {name: values.argmax(1) for name, values in probabilities.items()}
        return Predictions(labels, probabilities, np.concatenate(features))

    def second_judge(self):
        """The same world under a second classifier, of another depth, which no method ever sees.

        Whatever pleases the first one without changing the face looks like fairness to it.

        Returns
        -------
        World
            Whose `classify`, `confusion`, `reference` and `group_moments` are the second one's.

        Raises
        ------
        FileNotFoundError
            If this world has no second judge.
        """
        folder = self.folder / "judge"
        if not folder.is_dir():
            raise FileNotFoundError(
                f"{folder} is missing: {self.name} has no second judge; "
                "data/recipes/add_judge.py adds one"
            )
        judge = _from_safetensors(FaceClassifier, folder)
        judge = judge.to(self.classifier.device, self.classifier.dtype).eval()
        return replace(self, classifier=judge, reference_file="judge/reference.npz")

    def reference(self):
        """Features of the balanced reference faces, for judging quality.

        Returns
        -------
        dict
            ``mean`` (128,), ``covariance`` (128, 128) and ``n``; where the faces may be
            published also ``features`` (n, 128).
        """
        keys = ("mean", "covariance", "n", "features")
        stored = self._load(self.reference_file)
        return {key: stored[key] for key in keys if key in stored}

    def group_moments(self, attribute):
        """Mean and covariance of the reference faces' features, group by group.

        Parameters
        ----------
        attribute : str
            A single one.

        Returns
        -------
        list of tuple (mean, covariance)
        """
        stored = self._load(self.reference_file)
        (attribute,) = self.names(attribute)
        groups = len(self.groups(attribute))
        if "features" in stored:
            labels = self._by_attribute(stored["labels"])[attribute]
            return [moments(stored["features"][labels == g]) for g in range(groups)]
        means, covariances = stored[f"{attribute}_mean"], stored[f"{attribute}_covariance"]
        return list(zip(means, covariances, strict=True))

    def latents(self):
        """Clean latents to localize attributes in, with the classifier's pseudo-labels.

        Returns
        -------
        latents : ndarray, shape (n, 16, 8, 8), float32
        labels : dict of str to ndarray, shape (n,), int64

        Notes
        -----
        ``heads``: the training faces, encoded. ``utkface``, ``celeba``: faces the generator made,
        since latents of photographs would be photographs.
        """
        stored = self._load("latents.npz")
        return stored["latents"].astype(np.float32), self._by_attribute(stored["labels"])

    def _true_and_predicted(self):
        stored = self._load(self.reference_file)
        return [self._by_attribute(stored[key]) for key in ("labels", "predicted")]

    def _by_attribute(self, columns):
        return dict(zip(self.attributes, columns.T.astype(np.int64), strict=True))

    def _load(self, file):
        with np.load(self.folder / file) as stored:
            return dict(stored)


def load_world(name, root=None, device="cpu", dtype=torch.float32):
    """Load a shipped world, after checking that its files are complete and unaltered.

    Parameters
    ----------
    name : str
        ``"heads"`` (rendered, labels known), or ``"utkface"`` or ``"celeba"`` (trained on
        photographs).
    root : path, optional
        The folder that holds the worlds. The repository's ``data/`` when omitted.
    device : str or torch.device
    dtype : torch.dtype
        Precision of generator and classifier.

    Returns
    -------
    ShippedWorld

    Raises
    ------
    ValueError
        If there is no world of that name, no such device, or a file is damaged.
    OSError
        If `root` or one of the world's files is missing, or weights are not in safetensors.
    """
    root = Path(root) if root else data_folder()
    if not root.is_dir():
        raise FileNotFoundError(f"root: {root} is no folder; pass the one that holds the worlds")
    known = sorted(path.parent.name for path in root.glob("*/world.json"))
    if name not in known:
        raise ValueError(f"name: there is no world {name!r} in {root}; found {known}")
    folder, device = root / name, check_device(device)
    try:
        world = json.loads((folder / "world.json").read_text())
        if not isinstance(world, dict) or not world.keys() >= WRITTEN:
            raise ValueError
    except ValueError:
        raise ValueError(
            f"{folder / 'world.json'} is damaged; restore it with 'git checkout -- data'"
        ) from None
    _verify(folder, world["sha256"])
    pipeline = _from_safetensors(DiffusionPipeline, folder / "generator")
    classifier = _from_safetensors(FaceClassifier, folder / "classifier")
    with quiet_diffusers():
        pipeline, classifier = pipeline.to(device, dtype), classifier.to(device, dtype).eval()
    for network in (pipeline.unet, pipeline.vqvae):
        network.to(memory_format=torch.channels_last)  # a few per cent faster on a CPU
    pipeline.set_progress_bar_config(leave=False)
    return ShippedWorld(
        name=name,
        folder=folder,
        attributes={key: tuple(groups) for key, groups in world["attributes"].items()},
        cell_attributes=tuple(world["cell_attributes"]),
        train_counts=np.array(world["train_counts"]),
        pipeline=pipeline,
        classifier=classifier,
        target=tuple(world["target"].split(",")),
        timestep=world["timestep"],
        num_inference_steps=world["num_inference_steps"],
        extrapolation=world["extrapolation"],
        strength=world["strength"],
        first_guided_step=world["first_guided_step"],
        checksums=world["sha256"],
    )


def _from_safetensors(kind, folder):
    """A network or pipeline, never from a pickle: opening one could run its author's code."""
    try:
        with quiet_diffusers():
            return kind.from_pretrained(folder, low_cpu_mem_usage=False, use_safetensors=True)
    except (OSError, ValueError) as error:
        found = str(error).splitlines()[0]
        raise OSError(f"{folder} cannot be loaded from safetensors ({found})") from error


def _verify(folder, checksums):
    for file, expected in checksums.items():
        path = folder / file
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing; restore it with 'git checkout -- data'")
        if hashlib.sha256(path.read_bytes()).hexdigest() != expected:
            raise ValueError(
                f"{path} is damaged: its SHA-256 is not the recorded one; "
                "restore it with 'git checkout -- data'"
            )
