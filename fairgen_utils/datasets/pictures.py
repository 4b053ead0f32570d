"""Read: pictures as a viewer would show them, whatever the camera or the program stored."""

import io
import struct
import warnings
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import PurePosixPath

import numpy as np
from PIL import Image, ImageCms, ImageFile
from tqdm import tqdm

from fairgen_utils._checks import check_count
from fairgen_utils.datasets.archive import BROKEN, Archive, kind_of, listed

IMAGE_SIZE = 64

# what is refused unread, so that a stranger's file cannot fill the memory
MOST_PIXELS = 50_000_000

# what is read, by the first bytes and not by the name; and the names that are looked at
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
SUFFIXES = {
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png"),
    *(".webp", ".bmp", ".gif", ".tif", ".tiff"),
}
# pictures of other kinds, and what may hold some: skipped, and said
UNREAD = {
    *(".heic", ".heif", ".avif", ".jxl", ".jp2", ".ppm", ".pgm", ".tga", ".psd", ".svg"),
    *(".raw", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".raf", ".rw2"),
}
PACKED = {".zip", ".gz", ".tgz", ".7z", ".tar", ".rar", ".xz"}

DAMAGED = (*BROKEN, SyntaxError, TypeError, KeyError, AttributeError, ZeroDivisionError)

# EXIF orientation: what puts the picture upright
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class Pictures:
    """Pictures of an archive or folder, read when asked for: ``pictures[:100]`` reads 100 of them.

    ``np.asarray(pictures)`` reads them all; 200,000 faces of 64 x 64 are 2.5 GB.

    Attributes
    ----------
    names : list of str
        Their files.
    skipped : dict of str to list of str
        Files beside them that are not read, by the reason.
    """

    def __init__(self, archive, names, size, crop=None):
        check_count(size, "size")
        self.archive, self.names, self.size, self.crop = archive, list(names), size, crop
        self.skipped = {why: list(files) for why, files in archive.skipped.items()}
        self.shape = (len(self.names), size, size, 3)

    def __len__(self):
        return len(self.names)

    def __getitem__(self, places):
        chosen = np.arange(len(self))[places]
        names = [self.names[place] for place in np.atleast_1d(chosen)]
        images = read_images(self.archive, names, self.size, self.crop)
        return images[0] if np.ndim(chosen) == 0 else images

    def __array__(self, dtype=None, copy=None):
        return self[:] if dtype is None else self[:].astype(dtype)


@dataclass
class Faces:
    """Faces and their labels.

    Attributes
    ----------
    images : ndarray or Pictures, shape (n, size, size, 3), uint8
        RGB pixels.
    labels : dict of str to ndarray, shape (n,), int64
        For every attribute, the index of each face's group in ``attributes[name]``.
    attributes : dict of str to tuple of str
        The group names of every attribute.
    skipped : dict of str to list of str
        Files that are not among the faces, by the reason.
    """

    images: np.ndarray
    labels: dict
    attributes: dict
    skipped: dict = field(default_factory=dict, repr=False)

    def __post_init__(self):
        self.skipped = {why: files for why, files in self.skipped.items() if files}

    def __len__(self):
        return len(self.images)


def read_pictures(path, size=IMAGE_SIZE):
    """All pictures of a folder or zip archive, in the order of their names; labels are not read.

    They are read as a viewer shows them: turned upright as the camera noted, 16 bits a channel
    scaled down to 8, transparent parts over white, colour profiles and CMYK brought to sRGB.
    Pictures that are not square are cut to the square about their middle.

    Parameters
    ----------
    path : path
    size : int
        Height and width that pictures are resized to.

    Returns
    -------
    Pictures
        Its ``skipped`` lists, by the reason, whatever else is there. A warning names what somebody
        may have meant to be read: hidden copies, pictures of a kind that is not read.

    Raises
    ------
    FileNotFoundError
        If there is no such path, or no picture in it.
    ValueError
        If the archive is damaged; when a picture is read that is damaged, animated, or larger than
        50 megapixels.
    """
    archive = Archive(path, "a folder or zip archive of pictures")
    names = [name for name in archive.names if is_picture(name)]
    others = [name for name in archive.names if not is_picture(name)]
    packed = [name for name in others if is_picture(name, PACKED)]
    if not names:
        kinds = sorted({PurePosixPath(name).suffix or name for name in others})
        raise FileNotFoundError(
            f"path: {archive.path} holds no picture such as .jpg, .jpeg or .png"
            + (f"; unpack {listed(packed)} first" if packed else f"; it holds {listed(kinds)}")
            * bool(others)
        )
    pictures = Pictures(archive, names, size)
    unread = [name for name in others if is_picture(name, UNREAD)]
    for why, files in (
        ("a kind of picture that is not read; save it as .png", unread),
        ("an archive; unpack it first", packed),
        ("no picture", sorted(set(others) - set(unread) - set(packed))),
    ):
        if files:
            pictures.skipped[why] = files
    warn_of(archive.path, pictures.skipped)
    return pictures


def warn_of(path, skipped, stacklevel=3):
    """Warn of skipped files whose names look like pictures', or like archives of some."""
    for why, names in skipped.items():
        names = [name for name in names if is_picture(name, SUFFIXES | UNREAD | PACKED)]
        if names:
            warnings.warn(
                f"path: {len(names)} files of {path} are skipped ({why}): {listed(names)}",
                stacklevel=stacklevel,
            )


def is_picture(name, suffixes=frozenset(SUFFIXES)):
    return PurePosixPath(name).suffix.lower() in suffixes


def read_images(archive, names, size=IMAGE_SIZE, crop=None):
    """Pictures of an archive, shape (n, size, size, 3), uint8; ValueError names one that is amiss.

    Parameters
    ----------
    crop : callable, optional
        ``crop(picture, name)`` returns the box (left, upper, right, lower) to read. The square
        about the middle when omitted.
    """
    images = np.empty((len(names), size, size, 3), np.uint8)
    for i, name in enumerate(tqdm(names, desc="reading faces", delay=2, leave=False)):
        content = archive.read(name)
        try:
            picture = decode(content)
        except _Unfit as error:
            raise ValueError(f"{name} {error} (in {archive.path})") from None
        except DAMAGED as error:
            raise ValueError(
                f"{name} is damaged or no picture ({error}); fetch {archive.path} again"
            ) from None
        box = (crop or middle)(picture, name)
        images[i] = picture.crop(box).resize((size, size), Image.Resampling.LANCZOS)
    return images


def middle(picture, name=""):
    """The box of the largest square about the middle."""
    side = min(picture.size)
    left, upper = ((length - side) // 2 for length in picture.size)
    return left, upper, left + side, upper + side


class _Unfit(Exception):
    """A picture that is whole and still not one that a viewer and we would see alike."""


def decode(content):
    """A file's picture in RGB, as a viewer shows it."""
    lenient, ImageFile.LOAD_TRUNCATED_IMAGES = ImageFile.LOAD_TRUNCATED_IMAGES, False
    try:  # other libraries switch that on for everybody: what is missing would be grey
        picture = _loaded(content)
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = lenient
    profile, upright = picture.info.get("icc_profile"), UPRIGHT.get(_orientation(picture))
    shown = _in_srgb(_over_white(_in_eight_bits(picture)), profile)
    return shown if upright is None else shown.transpose(upright)


def _loaded(content):
    try:
        picture = Image.open(io.BytesIO(content), formats=FORMATS)
    except Image.UnidentifiedImageError:
        kind = kind_of(content) or "is damaged or no picture of a kind that is read"
        raise _Unfit(f"{kind}; it should be one of {', '.join(FORMATS)}") from None
    except Image.DecompressionBombError:
        raise _Unfit(f"has more than {MOST_PIXELS} pixels; scale it down first") from None
    if picture.width * picture.height > MOST_PIXELS:
        size = f"{picture.width} x {picture.height} pixels"
        raise _Unfit(f"has {size}, more than {MOST_PIXELS}; scale it down first")
    # a telephone's picture may hold a second one, such as a map of depths (MPO): the first is shown
    if picture.format != "MPO" and getattr(picture, "n_frames", 1) > 1:
        raise _Unfit("is animated or has several pages; save one of its pictures")
    picture.load()
    return picture


def _orientation(picture):
    if picture.format == "TIFF":
        return picture.tag_v2.get(0x0112, 1)
    # not by getexif: where EXIF is silent it asks XMP, where programs leave what no longer holds
    exif = Image.Exif()
    try:
        exif.load(picture.info.get("exif"))
        return exif.get(0x0112, 1)
    except (*DAMAGED, struct.error):  # a viewer shrugs, too
        return 1


def _in_eight_bits(picture):
    """Grey of 16 bits scaled down; what has no agreed brightest value is refused."""
    if picture.mode.startswith("I;16") or (picture.mode == "I" and picture.format == "PNG"):
        values = np.asarray(picture).astype(np.int64)
        key = picture.info.get("transparency")
        values = np.where(values == key, 65535, values) if isinstance(key, int) else values
        brightest = 65535
        if picture.format == "TIFF":  # 12 bits, of microscopes; the negative, of medicine
            brightest = 2 ** picture.tag_v2.get(0x0102, (16,))[0] - 1
            values = brightest - values if picture.tag_v2.get(0x0106) == 0 else values
        return Image.fromarray((255 * values / brightest).round().clip(0, 255).astype(np.uint8))
    if picture.mode in ("I", "F", "LAB", "HSV"):
        raise _Unfit(f"has pixels of kind {picture.mode!r}, whose range is unknown; save as .png")
    return picture


def _over_white(picture):
    """Transparent parts over white, as on a page; colours of a palette as such."""
    if not picture.has_transparency_data:
        return picture.convert("RGB") if picture.mode in ("P", "1", "YCbCr") else picture
    picture = picture.convert("RGBA")
    page = Image.new("RGBA", picture.size, "white")
    return Image.alpha_composite(page, picture).convert("RGB")


def _in_srgb(picture, profile):
    transform = _transform(profile, picture.mode) if profile else None
    if transform is None:
        return picture.convert("RGB")
    return ImageCms.applyTransform(picture, transform)


@lru_cache(8)
def _transform(profile, mode):
    """From a file's colour profile to sRGB; None if it is that already, or cannot be used."""
    try:
        told = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "sRGB" in ImageCms.getProfileDescription(told):
            return None
        srgb = ImageCms.createProfile("sRGB")
        return ImageCms.buildTransform(told, srgb, mode, "RGB")
    except (ImageCms.PyCMSError, *DAMAGED):
        return None  # a viewer, too, shows the numbers as they are
