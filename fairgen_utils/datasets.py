"""Load faces with labels from a dataset's own files: rendered heads, or UTKFace."""

import hashlib
import io
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from tqdm import tqdm

IMAGE_SIZE = 64

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


@dataclass
class Faces:
    """Faces and their labels.

    Attributes
    ----------
    images : ndarray, shape (n, 64, 64, 3), uint8
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
    table = pd.read_csv(folder / f"{split}.csv")
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
        absent = sorted(set(table["file"]) - set(archive.namelist()))
        if absent:
            raise ValueError(f"split: {folder / split}.zip lacks {absent[:5]} of its table")
        images = _read_images(archive, table["file"].tolist())
    return Faces(images, labels, HEADS_ATTRIBUTES)


def read_utkface(path, split, heldout_percent=10):
    """Read the labelled adults of UTKFace from its zip archive or folder.

    Names that do not parse, faces under 18, the residual group "Others" and exact pixel
    duplicates are left out. A face belongs to the held-out split when the SHA-256 of its file
    name, modulo 100, is below `heldout_percent`, unless the same file is in training under
    another name: no training run can see a held-out face by accident.

    Parameters
    ----------
    path : path
        A zip archive or folder of ``age_gender_race_datetime.jpg.chip.jpg`` files.
    split : {"train", "heldout"}
    heldout_percent : int, in [0, 100]

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
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"path: {path} does not exist; give UTKFace's zip or folder")
    with _open(path) as archive:
        rows = [(name, *_parse_utkface(name)) for name in sorted(archive.namelist())]
        rows = pd.DataFrame(rows, columns=["file", "age", "gender", "race"]).dropna()
        if rows.empty:
            raise ValueError(
                f"path: no file of {path} is named like UTKFace's age_gender_race_date.jpg.chip.jpg"
            )
        rows = rows[(rows["age"] >= 18) & (rows["race"] < 4)]
        heldout = rows["file"].map(_name_hash) % 100 < heldout_percent
        if split == "heldout":
            # UTKFace holds some photographs twice, under names that fall on both sides
            pictures = rows["file"].map(lambda name: hashlib.sha256(archive.read(name)).digest())
            heldout &= ~pictures.isin(pictures[~heldout])
        rows = rows[heldout if split == "heldout" else ~heldout].astype({"gender": int})
        if rows.empty:
            raise ValueError(f"split: none of the labelled adults in {path} is in {split!r}")
        images = _read_images(archive, rows["file"].tolist())
    _, first = np.unique(images.reshape(len(images), -1), axis=0, return_index=True)
    first = np.sort(first)
    rows, images = rows.iloc[first], images[first]
    labels = {
        # UTKFace writes 0 for male, 1 for female; our tuples are alphabetical
        "gender": 1 - rows["gender"].to_numpy(np.int64),
        "race": rows["race"].to_numpy(np.int64),
        "age": np.digitize(rows["age"].to_numpy(), (35, 60)).astype(np.int64),
    }
    return Faces(images, labels, UTKFACE_ATTRIBUTES)


def read_faces(path, split):
    """Read a split of heads or of UTKFace, whichever `path` holds."""
    path = Path(path)
    if path.is_dir() and any(path.glob("*.csv")):
        return read_heads(path, split)
    return read_utkface(path, split)


def _open(path):
    if path.is_dir():
        return _Folder(path)
    if not zipfile.is_zipfile(path):
        raise ValueError(f"path: {path} is damaged or no zip archive; fetch it again")
    return zipfile.ZipFile(path)


class _Folder:
    """A folder with the three methods of a ZipFile that the readers use."""

    def __init__(self, root):
        self.root = Path(root)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        return False

    def namelist(self):
        return [str(p.relative_to(self.root)) for p in self.root.rglob("*.jpg")]

    def read(self, name):
        return (self.root / name).read_bytes()


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


def _read_images(archive, names):
    images = np.empty((len(names), IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8)
    for i, name in enumerate(tqdm(names, desc="reading faces", delay=2, leave=False)):
        picture = Image.open(io.BytesIO(archive.read(name))).convert("RGB")
        if picture.size != (IMAGE_SIZE, IMAGE_SIZE):
            picture = picture.resize((IMAGE_SIZE, IMAGE_SIZE), Image.LANCZOS, reducing_gap=3.0)
        images[i] = np.asarray(picture)
    return images
