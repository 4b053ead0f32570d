"""Read: FairFace, photographs whose labels for race were balanced on purpose."""

import numpy as np

from fairgen_utils.datasets.archive import Archive
from fairgen_utils.datasets.pictures import IMAGE_SIZE, Faces, Pictures, warn_of
from fairgen_utils.datasets.tables import all_there, indices, read_table

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

# FairFace's own age groups, of adults, as ours
FAIRFACE_AGES = {"20-29": 0, "30-39": 0, "40-49": 1, "50-59": 1, "60-69": 2, "more than 70": 2}

FAIRFACE_MINORS = ("0-2", "3-9", "10-19")


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
    archive = Archive(path, "FairFace's folder or zip")
    name = f"fairface_label_{split}.csv"
    table = read_table(archive, name, ("file", "age", "gender", "race"))
    told = table["file"].astype(str)
    minors = table["age"].isin(FAIRFACE_MINORS)
    table = table[~minors]
    if table.empty:
        raise ValueError(f"split: {name} in {archive.path} tells of no adult")
    files, unlisted = all_there(archive, told[~minors].tolist(), told)
    labels = {
        "gender": indices(table["gender"], ("Female", "Male"), "gender"),
        "race": indices(table["race"], FAIRFACE_ATTRIBUTES["race"], "race"),
        "age": indices(table["age"], tuple(FAIRFACE_AGES), "age"),
    }
    labels["age"] = np.array(list(FAIRFACE_AGES.values()))[labels["age"]]
    pictures = Pictures(archive, files, size)
    skipped = pictures.skipped | {"without a row in the table": unlisted}
    warn_of(archive.path, skipped)
    skipped["of minors"] = told[minors].tolist()
    return Faces(pictures, labels, FAIRFACE_ATTRIBUTES, skipped)
