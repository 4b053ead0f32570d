"""Somebody else's generator: a StyleGAN of 1024-pixel faces, as a wheel on PyPI carries it."""

from pathlib import Path

import numpy as np
from PIL import Image
from tqdm.auto import tqdm

from fairgen_utils._checks import check_count
from fairgen_utils.models.one_step import OneStep

WHEEL = "random-face==2021.7.21.1"
CODE = 512  # numbers in z, and in w
# The square of a picture that lies as UTKFace's photographs do: its left, top and side, in shares
# of the picture's side (data/recipes/frame_strangers.py, from mean faces).
FRAME = (44 / 256, 70 / 256, 171 / 256)
JUDGED = 64  # pixels that the utkface world's judges take


class StyleGAN(OneStep):
    """MobileStyleGAN: noise z -> style w -> face, one step each, by OpenVINO on the CPU.

    Made by Belousov (MobileStyleGAN, arXiv 2104.04767) from a StyleGAN2 trained on FFHQ. Neither
    the wheel nor any file of it is part of the course: fetch it with
    ``pip download --no-deps random-face==2021.7.21.1`` and unzip it. Its code is Apache 2.0;
    FFHQ and StyleGAN2, which the weights descend from, are for non-commercial use.

    Parameters
    ----------
    folder : path
        Of the unzipped wheel, or the ``random_face/data`` in it.
    psi : float
        Truncation, in (0, 1]: every style is drawn toward the mean style until this share of the
        difference is left. Below one, faces look better and alike.
    size : int
        Pixels of the faces returned, 1024 at most.
    threads : int
        Of the CPU. The faces do not depend on it beyond rounding.
    seed : int
        Of the draws whose styles' mean is the mean style.

    Attributes
    ----------
    mean : ndarray, shape (512,)
        The mean style, in W.
    latent_shape : tuple of int
    image_size : int

    Raises
    ------
    ImportError
        If OpenVINO is not installed.
    OSError
        If the folder holds no such networks.
    """

    latent_shape = (CODE,)

    def __init__(self, folder, psi=0.7, size=256, threads=1, seed=0):
        if not 0 < psi <= 1:
            raise ValueError(f"psi: found {psi}; give a share above 0, at most 1")
        self.psi, self.image_size = float(psi), check_count(size, "size")
        if size > 1024:
            raise ValueError(f"size: found {size}; the generator makes 1024 pixels, no more")
        core = _core()
        settings = {
            "INFERENCE_NUM_THREADS": check_count(threads, "threads"),
            "INFERENCE_PRECISION_HINT": "f32",  # bfloat16 where the CPU has it: other faces
        }
        networks = [core.read_model(path) for path in _networks(folder)]
        networks[0].reshape([-1, CODE])
        self._mapping, self._synthesis = (
            core.compile_model(network, "CPU", settings) for network in networks
        )
        self.mean = self._styles(10_000, seed).mean(0)

    def draw(self, n, seed):
        """Styles w of new faces, truncated.

        Parameters
        ----------
        n : int
        seed : int
            The same seed gives the same people at every `psi`.

        Returns
        -------
        ndarray, shape (n, 512), float32
        """
        return self.truncate(self._styles(n, seed), self.psi)

    def truncate(self, styles, psi):
        """Styles drawn toward the mean style until `psi` of the difference is left."""
        return self.mean + np.float32(psi) * (styles - self.mean)

    def decode(self, styles, progress=True):
        """Faces of styles.

        Parameters
        ----------
        styles : array_like, shape (n, 512)
        progress : bool

        Returns
        -------
        ndarray, shape (n, size, size, 3), uint8
        """
        styles = np.asarray(styles, np.float32)
        if styles.ndim != 2 or styles.shape[1] != CODE:
            raise ValueError(f"styles: found shape {styles.shape}; give (n, {CODE})")
        faces = np.empty((len(styles), self.image_size, self.image_size, 3), np.uint8)
        for face, style in zip(tqdm(faces, "faces", disable=not progress), styles, strict=True):
            face[:] = _picture(self._synthesis([style[None]])[0][0], self.image_size)
        return faces

    def _styles(self, n, seed):
        noise = np.random.default_rng(seed).standard_normal((check_count(n, "n"), CODE), np.float32)
        return self._mapping([noise])[0]


def as_utkface(faces):
    """Whole pictures, cut and sized as UTKFace's photographs are, for judges that know those.

    Parameters
    ----------
    faces : ndarray, shape (n, side, side, 3), uint8

    Returns
    -------
    ndarray, shape (n, 64, 64, 3), uint8
    """
    left, top, side = (share * faces.shape[1] for share in FRAME)
    box, size = (left, top, left + side, top + side), (JUDGED, JUDGED)
    cut = [Image.fromarray(face).resize(size, Image.Resampling.LANCZOS, box) for face in faces]
    return np.stack([np.asarray(face) for face in cut])


def _picture(pixels, size):
    """3 x 1024 x 1024 numbers in [-1, 1] -> size x size x 3 bytes."""
    pixels = (np.clip(pixels.transpose(1, 2, 0) + 1, 0, 2) * 127.5).round().astype(np.uint8)
    return np.asarray(Image.fromarray(pixels).resize((size, size), Image.Resampling.BOX))


def _core():
    try:
        import openvino
    except ImportError:
        raise ImportError(
            "openvino is not installed; other people's generators are an extra: "
            "python -m pip install --editable '.[strangers]'"
        ) from None
    return openvino.Core()


def _networks(folder):
    """Where the two networks lie, in the wheel or in the folder of its data."""
    for data in (Path(folder), Path(folder, "random_face", "data")):
        paths = [data / "MappingNetwork.xml", data / "SynthesisNetwork.xml"]
        if all(path.is_file() and path.with_suffix(".bin").is_file() for path in paths):
            return paths
    raise FileNotFoundError(
        f"folder: {folder} holds no MappingNetwork and SynthesisNetwork; fetch the wheel with "
        f"'pip download --no-deps {WHEEL}', unzip it, and give the folder it is unzipped to"
    )
