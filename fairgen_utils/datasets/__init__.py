"""Load faces with labels from a dataset's own files: heads, UTKFace, FairFace, CelebA."""

import hashlib
import io
import warnings
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageOps
from tqdm import tqdm

from fairgen_utils._checks import check_count

IMAGE_SIZE = 64


# what is refused unread, so that a stranger's file cannot fill the memory
MOST_PIXELS, MOST_BYTES = 50_000_000, 100_000_000


DAMAGED = (
    *(OSError, SyntaxError, RuntimeError, EOFError, zlib.error),
    *(zipfile.BadZipFile, Image.DecompressionBombError),
)


HEADS_ATTRIBUTES = {
    "gender": ("female", "male"),
    "ancestry": ("african", "asian", "european"),
    "age": ("young", "middle", "older"),
    "smile": ("neutral", "smiling"),
    "glasses": ("none", "glasses"),
}


UTKFACE_ATTRIBUTES = {
    "gender": ("female", "male"),
    "race": ("White", "Black", "Asian", "Indian"),
    "age": ("young", "middle", "older"),
}


FAIRFACE_ATTRIBUTES = {
    "gender": ("female", "male"),
    "race": (
        "Black",
        "East Asian",
        "Indian",
        "Latino_Hispanic",
        "Middle Eastern",
        "Southeast Asian",
        "White",
    ),
    "age": ("20-39", "40-59", "60 or more"),
}


CELEBA_ATTRIBUTES = {
    "gender": ("female", "male"),
    "age": ("not young", "young"),
    "smile": ("neutral", "smiling"),
    "glasses": ("none", "glasses"),
}


# FairFace's own age groups, of adults, as ours
FAIRFACE_AGES = {"20-29": 0, "30-39": 0, "40-49": 1, "50-59": 1, "60-69": 2, "more than 70": 2}


FAIRFACE_MINORS = ("0-2", "3-9", "10-19")


# CelebA's own names and numbers
CELEBA_COLUMNS = {"gender": "Male", "age": "Young", "smile": "Smiling", "glasses": "Eyeglasses"}


CELEBA_SPLITS = {"train": 0, "valid": 1, "test": 2}


class Pictures:
    """Pictures of an archive or folder, read when asked for: ``pictures[:100]`` reads 100 of them.

    ``np.asarray(pictures)`` reads them all; 200,000 faces of 64 x 64 are 2.5 GB.
    """

    def __init__(self, path, names, size, crop=False):
        check_count(size, "size")
        self.path, self.names, self.size, self.crop = Path(path), list(names), size, crop
        self.shape = (len(self.names), size, size, 3)

    def __len__(self):
        return len(self.names)

    def __getitem__(self, places):
        chosen = np.arange(len(self))[places]
        with _open(self.path) as archive:
            names = [self.names[place] for place in np.atleast_1d(chosen)]
            images = _read_images(archive, names, self.size, self.crop)
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
    """

    images: np.ndarray
    labels: dict
    attributes: dict

    def __len__(self):
        return len(self.images)


def read_heads(folder, split):
    """Read a split of rendered heads: ``SPLIT.zip`` with the pictures, ``SPLIT.csv`` with labels.

    Parameters
    ----------
    folder : path
        The folder that holds both files, such as ``data/heads``.
    split : str
        ``"train"`` (skewed on purpose), ``"reference"`` or ``"classifier"`` (both balanced).

    Returns
    -------
    Faces

    Raises
    ------
    FileNotFoundError
        If either file is missing.
    ValueError
        If the files disagree or are damaged, or a label is not one of the known groups.
    """
    folder = Path(folder)
    for path in (folder / f"{split}.zip", folder / f"{split}.csv"):
        if not path.is_file():
            raise FileNotFoundError(
                f"split: {path} is missing; data/recipes/render_heads.py --split {split} makes it"
            )
    try:
        table = pd.read_csv(folder / f"{split}.csv")
    except ValueError as error:
        raise ValueError(f"split: {folder / split}.csv is malformed: {error}") from None
    missing = sorted({"file", *HEADS_ATTRIBUTES} - set(table))
    if missing:
        raise ValueError(f"split: {folder / split}.csv has no column {missing}")
    for name in ("smile", "glasses"):
        groups = dict(enumerate(HEADS_ATTRIBUTES[name]))  # the table says 0 and 1
        table[name] = [groups.get(value, value) for value in table[name]]
    labels = {
        name: _indices(table[name], groups, name) for name, groups in HEADS_ATTRIBUTES.items()
    }
    with _open(folder / f"{split}.zip") as archive:
        told, there = set(table["file"]), set(archive.namelist())
        for file, lacking in (("zip", told - there), ("csv", there - told)):
            if lacking:
                found = sorted(lacking, key=str)[:5]
                raise ValueError(f"split: {folder / split}.{file} lacks {found}; they must agree")
        images = _read_images(archive, table["file"].tolist())
    return Faces(images, labels, HEADS_ATTRIBUTES)


def read_utkface(path, split, heldout_percent=10, size=IMAGE_SIZE, others=False):
    """Read the labelled adults of UTKFace from its zip archive or folder.

    Names that do not parse are reported and left out. Left out as well: faces under 18, exact
    pixel duplicates and, unless asked for, the residual group "Others". A face belongs to the
    held-out split when the SHA-256 of its file name, modulo 100, is below `heldout_percent`, unless
    the same file is in training under another name: no training run can see a held-out face by
    accident.

    Parameters
    ----------
    path : path
        A zip archive or folder of ``age_gender_race_datetime.jpg.chip.jpg`` files, at any depth:
        ``UTKFace/``, ``crop_part1/``, or the uncropped ``part1/`` to ``part3/``.
    split : {"train", "heldout"}
    heldout_percent : int, in [0, 100]
    size : int
        Height and width that pictures are resized to, antialiased.
    others : bool
        Keep "Others" as a fifth group of race.

    Returns
    -------
    Faces

    Raises
    ------
    FileNotFoundError, ValueError
        If `path` does not exist, or holds no UTKFace photograph of the split, or `split` is
        unknown.

    References
    ----------
    Zhang, Song, Qi, "Age Progression/Regression by Conditional Adversarial Autoencoder",
    CVPR 2017.
    """
    if split not in ("train", "heldout"):
        raise ValueError(f"split: found {split!r}; use 'train' or 'heldout'")
    check_count(size, "size")
    path = _existing(path, "UTKFace's zip or folder")
    with _open(path) as archive:
        names = sorted(name for name in archive.namelist() if _is_picture(name))
        rows = [(name, *_parse_utkface(name)) for name in names]
        rows = pd.DataFrame(rows, columns=["file", "age", "gender", "race"])
        bad = rows.loc[rows.isna().any(axis=1), "file"].tolist()
        rows = rows.dropna()
        if rows.empty:
            raise ValueError(
                f"path: no file of {path} is named like UTKFace's age_gender_race_date.jpg.chip.jpg"
            )
        if bad:
            warnings.warn(
                f"path: {len(bad)} pictures of {path} aren't named like UTKFace's and are skipped: "
                f"{', '.join(bad[:5])}{' ...' if len(bad) > 5 else ''}",
                stacklevel=2,
            )
        rows = rows[(rows["age"] >= 18) & (rows["race"] < (5 if others else 4))]
        heldout = rows["file"].map(_name_hash) % 100 < heldout_percent
        if split == "heldout":
            # UTKFace holds some photographs twice, under names that fall on both sides
            pictures = rows["file"].map(lambda name: hashlib.sha256(archive.read(name)).digest())
            heldout &= ~pictures.isin(pictures[~heldout])
        rows = rows[heldout if split == "heldout" else ~heldout].astype({"gender": int})
        if rows.empty:
            raise ValueError(f"split: none of the labelled adults in {path} is in {split!r}")
        images = _read_images(archive, rows["file"].tolist(), size)
    _, first = np.unique(images.reshape(len(images), -1), axis=0, return_index=True)
    first = np.sort(first)
    rows, images = rows.iloc[first], images[first]
    labels = {
        # UTKFace writes 0 for male, 1 for female; our tuples are alphabetical
        "gender": 1 - rows["gender"].to_numpy(np.int64),
        "race": rows["race"].to_numpy(np.int64),
        "age": np.digitize(rows["age"].to_numpy(), (35, 60)).astype(np.int64),
    }
    attributes = dict(UTKFACE_ATTRIBUTES)
    if others:
        attributes["race"] = (*attributes["race"], "Others")
    return Faces(images, labels, attributes)


def read_fairface(path, split, size=IMAGE_SIZE):
    """Read the adults of FairFace from the folder or zip archive that it is unpacked from.

    Parameters
    ----------
    path : path
        Holds ``fairface_label_train.csv``, ``fairface_label_val.csv``, ``train/`` and ``val/``.
    split : {"train", "val"}
    size : int
        Height and width that pictures are resized to, antialiased.

    Returns
    -------
    Faces
        With pictures that are read when asked for. Ages are grouped as 20-39, 40-59 and 60 or
        more; FairFace's groups up to 19 are left out.

    Raises
    ------
    FileNotFoundError, ValueError
        If `path` or a picture of the table is missing, or the table is malformed.

    References
    ----------
    Karkkainen, Joo, "FairFace: Face Attribute Dataset for Balanced Race, Gender, and Age",
    WACV 2021.
    """
    if split not in ("train", "val"):
        raise ValueError(f"split: found {split!r}; FairFace has 'train' and 'val'")
    path = _existing(path, "FairFace's folder or zip")
    with _open(path) as archive:
        name = f"fairface_label_{split}.csv"
        table = _read_table(archive, path, name)
        missing = sorted({"file", "age", "gender", "race"} - set(table))
        if missing:
            raise ValueError(f"path: {name} in {path} has no column {missing}")
        table = table[~table["age"].isin(FAIRFACE_MINORS)]
        files = _all_there(archive, path, table["file"].astype(str).tolist())
    labels = {
        "gender": _indices(table["gender"], ("Female", "Male"), "gender"),
        "race": _indices(table["race"], FAIRFACE_ATTRIBUTES["race"], "race"),
        "age": _indices(table["age"], tuple(FAIRFACE_AGES), "age"),
    }
    labels["age"] = np.array(list(FAIRFACE_AGES.values()))[labels["age"]]
    return Faces(Pictures(path, files, size), labels, FAIRFACE_ATTRIBUTES)


def read_celeba(path, split, size=IMAGE_SIZE):
    """Read CelebA: aligned faces, cropped to their middle square, with four of its 40 attributes.

    Parameters
    ----------
    path : path
        A folder or zip archive that holds ``img_align_celeba/``, ``list_attr_celeba.txt`` and
        ``list_eval_partition.txt`` (or both tables as ``.csv``).
    split : {"train", "valid", "test"}
    size : int
        Height and width that pictures are resized to, antialiased.

    Returns
    -------
    Faces
        With pictures that are read when asked for.

    Raises
    ------
    FileNotFoundError, ValueError
        If `path`, a table or a picture is missing, or a table is malformed.

    References
    ----------
    Liu, Luo, Wang, Tang, "Deep Learning Face Attributes in the Wild", ICCV 2015.
    """
    if split not in CELEBA_SPLITS:
        raise ValueError(f"split: found {split!r}; CelebA has {', '.join(CELEBA_SPLITS)}")
    path = _existing(path, "CelebA's folder or zip")
    with _open(path) as archive:
        told = _read_table(archive, path, "list_attr_celeba.txt", header_lines=1)
        parts = _read_table(archive, path, "list_eval_partition.txt", names=["image", "part"])
        told, parts = (t.set_index(t.columns[0]) for t in (told, parts))
        missing = sorted(set(CELEBA_COLUMNS.values()) - set(told))
        if missing:
            raise ValueError(f"path: list_attr_celeba in {path} has no column {missing}")
        members = parts.index[parts.iloc[:, 0] == CELEBA_SPLITS[split]]
        unlabelled = sorted(set(members) - set(told.index))
        if unlabelled:
            raise ValueError(f"path: list_attr_celeba in {path} has no row for {unlabelled[:5]}")
        if members.empty:
            raise ValueError(f"split: no picture of {path} is in {split!r}")
        told = told.loc[members]
        files = _all_there(archive, path, [f"img_align_celeba/{name}" for name in members])
    labels = {
        name: _indices(told[column], (-1, 1), column) for name, column in CELEBA_COLUMNS.items()
    }
    return Faces(Pictures(path, files, size, crop=True), labels, CELEBA_ATTRIBUTES)


def read_faces(path, split):
    """Read a split of heads, FairFace, CelebA or UTKFace, whichever `path` holds."""
    path = Path(path)
    if path.exists():
        with _open(path) as archive:
            names = {Path(name).name for name in archive.namelist()}
        if any(name.startswith("fairface_label_") for name in names):
            return read_fairface(path, split)
        if any(name.startswith("list_attr_celeba.") for name in names):
            return read_celeba(path, split)
    if path.is_dir() and any(path.glob("*.csv")):
        return read_heads(path, split)
    return read_utkface(path, split)


def read_pictures(path, size=IMAGE_SIZE):
    """All pictures of a folder or zip archive, in the order of their names; labels are not read.

    Parameters
    ----------
    path : path
    size : int
        Pictures are cut to a square about the middle and scaled to this.

    Returns
    -------
    Pictures

    Raises
    ------
    FileNotFoundError
        If there is no such path, or no .jpg, .jpeg or .png in it.
    ValueError
        When a picture is read that is damaged, animated, in CMYK or larger than 50 megapixels.
    """
    path = _existing(path, "a folder or zip archive of pictures")
    with _open(path) as archive:
        names = sorted(name for name in archive.namelist() if _is_picture(name))
    if not names:
        raise FileNotFoundError(f"path: {path} holds no .jpg, .jpeg or .png picture")
    return Pictures(path, names, size, crop=True)


def _existing(path, what):
    if not Path(path).exists():
        raise FileNotFoundError(f"path: {path} does not exist; give {what}")
    return Path(path)


def _root_of(archive, file):
    """What precedes a file's name in the archive: "", "some/where/", or None if it isn't there."""
    found = sorted((n for n in archive.namelist() if f"/{n}".endswith(f"/{file}")), key=len)
    return found[0].removesuffix(file) if found else None


def _read_table(archive, path, name, header_lines=0, names=None):
    """A table of an archive, as .csv or, columns parted by blanks, as .txt."""
    for candidate in dict.fromkeys((name, Path(name).with_suffix(".csv").name)):
        root = _root_of(archive, candidate)
        if root is None:
            continue
        text = io.BytesIO(archive.read(root + candidate))
        try:
            if candidate.endswith(".csv"):
                return pd.read_csv(text)
            if names:
                return pd.read_csv(text, sep=r"\s+", header=None, names=names)
            lines = text.read().decode().splitlines()[header_lines:]
            # the header of CelebA's table names the attributes, and not the column of files
            body = io.StringIO("\n".join(["image " + lines[0], *lines[1:]]))
            return pd.read_csv(body, sep=r"\s+")
        except (ValueError, IndexError) as error:
            raise ValueError(f"path: {candidate} in {path} is malformed: {error}") from None
    raise FileNotFoundError(f"path: {path} holds no {name}; it comes with the dataset")


def _all_there(archive, path, files):
    """The same files with what precedes them in the archive; an error names those it lacks."""
    there = set(archive.namelist())
    root = next((r for f in files[:50] if (r := _root_of(archive, f)) is not None), "")
    absent = [file for file in files if root + file not in there]
    if absent:
        raise FileNotFoundError(
            f"path: {len(absent)} of the {len(files)} pictures in the table are missing from "
            f"{path}: {', '.join(absent[:3])}{' ...' if len(absent) > 3 else ''}; "
            "unpack the pictures beside the tables"
        )
    return [root + file for file in files]


def _open(path):
    if path.is_dir():
        return _Folder(path)
    if not zipfile.is_zipfile(path):
        raise ValueError(f"path: {path} is damaged or no zip archive; fetch it again")
    archive = zipfile.ZipFile(path)
    # nothing is ever unpacked; names that would leave the folder still betray a hostile archive
    for member in archive.infolist():
        if member.filename.startswith(("/", "\\")) or ".." in Path(member.filename).parts:
            raise ValueError(f"path: {path} holds {member.filename!r}, outside itself; not read")
    return archive


class _Folder:
    """A folder with the methods of a ZipFile that the readers use."""

    def __init__(self, root):
        self.root = Path(root)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        return False

    def namelist(self):
        return [p.relative_to(self.root).as_posix() for p in self.root.rglob("*") if p.is_file()]

    def getinfo(self, name):
        member = zipfile.ZipInfo(name)
        member.file_size = (self.root / name).stat().st_size
        return member

    def read(self, name):
        return (self.root / name).read_bytes()


def _is_picture(name):
    hidden = Path(name).name.startswith(".") or "__MACOSX" in Path(name).parts
    return not hidden and Path(name).suffix.lower() in (".jpg", ".jpeg", ".png")


def _parse_utkface(name):
    fields = Path(name).name.split("_")
    try:
        age, gender, race = (int(field) for field in fields[:3])
    except ValueError:
        return None, None, None
    known = len(fields) == 4 and gender in (0, 1) and race in range(5)
    return (age, gender, race) if known else (None, None, None)


def _name_hash(name):
    return int(hashlib.sha256(Path(name).name.encode()).hexdigest(), 16) % 100


def _indices(column, groups, name):
    unknown = sorted(set(column) - set(groups), key=str)
    if unknown:
        raise ValueError(f"{name}: found {unknown}; known groups are {groups}")
    return column.map({group: i for i, group in enumerate(groups)}).to_numpy(np.int64)


def _decode(archive, name):
    if archive.getinfo(name).file_size > MOST_BYTES:
        raise ValueError(f"{name} unpacks to more than {MOST_BYTES // 10**6} MB; leave it out")
    picture = Image.open(io.BytesIO(archive.read(name)))
    if picture.width * picture.height > MOST_PIXELS:
        size = f"{picture.width} x {picture.height} pixels"
        raise ValueError(f"{name} has {size}, more than {MOST_PIXELS}; scale it down first")
    if getattr(picture, "n_frames", 1) > 1:
        raise ValueError(f"{name} is animated; save one of its pictures")
    if picture.mode == "CMYK":
        raise ValueError(f"{name} is in CMYK, colours for a printer; convert it to RGB")
    return picture.convert("RGB")


def _read_images(archive, names, size=IMAGE_SIZE, crop=False):
    images = np.empty((len(names), size, size, 3), np.uint8)
    for i, name in enumerate(tqdm(names, desc="reading faces", delay=2, leave=False)):
        try:
            picture = _decode(archive, name)
        except DAMAGED as error:
            raise ValueError(f"{name} is damaged or no picture ({error}); fetch it again") from None
        if crop:
            picture = ImageOps.fit(picture, (size, size), Image.LANCZOS)
        elif picture.size != (size, size):
            picture = picture.resize((size, size), Image.LANCZOS, reducing_gap=3.0)
        images[i] = np.asarray(picture)
    return images
