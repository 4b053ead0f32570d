"""Read: photographs that are the same to the eye, and not to the byte."""

import numpy as np
from scipy.fft import dctn

GREY = np.float32([0.299, 0.587, 0.114])  # of red, green and blue, as the eye weighs them
WAVES = 16  # lowest frequencies looked at, each way
# Of 255. Up to here, UTKFace's pairs (80 held-out faces of 1,777) are the same photograph by eye;
# from 50 on, different people are among them.
MOST_BITS = 48
BLOCK = 512  # rows compared at once: their distances to 20,000 pictures are 40 MB


def perceptual_hash(images):
    """What a picture looks like, in 255 bits: light, colour and how it was saved hardly matter.

    Of the 16 x 16 lowest frequencies of a discrete cosine transform, without the mean, a bit says
    which are above their median.

    Parameters
    ----------
    images : array_like, shape (n, height, width, 3), uint8
        At least 16 pixels high and wide.

    Returns
    -------
    ndarray, shape (n, 255), bool

    References
    ----------
    Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions", 2010.
    """
    images = np.asarray(images)
    if images.ndim != 4 or images.shape[3] != 3 or min(images.shape[1:3]) < WAVES:
        raise ValueError(
            f"images: found shape {images.shape}; give (n, height, width, 3), 16 pixels or more"
        )
    waves = dctn(images @ GREY, axes=(1, 2), norm="ortho")[:, :WAVES, :WAVES]
    waves = waves.reshape(len(images), -1)[:, 1:]
    return waves > np.median(waves, axis=1, keepdims=True)


def near_duplicates(images, others, most_bits=MOST_BITS):
    """Pairs of pictures that look the same: one of `images`, one of `others`.

    Parameters
    ----------
    images, others : array_like, shape (n, height, width, 3), uint8
        Cut alike; the sizes may differ.
    most_bits : int, in [0, 255]
        The largest Hamming distance of their perceptual hashes that counts.

    Returns
    -------
    ndarray, shape (n_pairs, 2), int64
        Places in `images` and in `others`.
    """
    # as -1 and 1: a product counts equal bits less unequal ones
    ours, theirs = (2 * np.float32(perceptual_hash(some)) - 1 for some in (images, others))
    pairs = []
    for start in range(0, len(ours), BLOCK):
        apart = (ours.shape[1] - ours[start : start + BLOCK] @ theirs.T) / 2
        pairs.append(np.argwhere(apart <= most_bits) + (start, 0))
    return np.concatenate(pairs)
