"""Read: CelebA, photographs of well-known people with forty yes-or-no labels each."""

import numpy as np

from fairgen_utils.datasets.archive import Archive, listed
from fairgen_utils.datasets.pictures import IMAGE_SIZE, Faces, Pictures, warn_of
from fairgen_utils.datasets.tables import all_there, indices, read_table

CELEBA_ATTRIBUTES = {
    "gender": ("female", "male"),
    "age": ("not young", "young"),
    "smile": ("neutral", "smiling"),
    "glasses": ("none", "glasses"),
    "hair": ("black", "brown", "blond", "grey or bald", "unclear"),
}

# CelebA's own names and numbers
CELEBA_COLUMNS = {"gender": "Male", "age": "Young", "smile": "Smiling", "glasses": "Eyeglasses"}

CELEBA_HAIR = {"Black_Hair": 0, "Brown_Hair": 1, "Blond_Hair": 2, "Gray_Hair": 3, "Bald": 3}

CELEBA_SPLITS = {"train": 0, "valid": 1, "test": 2}

# of the aligned picture, 178 x 218: left, upper, right, lower; the usual square for 64 pixels
ALIGNED, FACE = (178, 218), (25, 57, 153, 185)
CROPPED = (64, 64)


def read_celeba(path, split, size=IMAGE_SIZE):
    """Read CelebA: aligned faces, cropped, with gender, age, smile, glasses and hair colour.

    The parts are the official ones, by person: nobody is in two of them. Of the aligned pictures,
    178 x 218, columns 25 to 153 and rows 57 to 185 are read; pictures of 64 x 64 have been cropped
    already and are read as they are.

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
        With pictures that are read when asked for. Hair is "unclear" where the labels say none of
        CelebA's four colours nor bald, or several: four faces in ten.

    Raises
    ------
    FileNotFoundError, ValueError
        If `path`, a table or a picture is missing, a table is malformed, or the tables disagree;
        when a picture is read that has another size.

    References
    ----------
    Liu, Luo, Wang, Tang, "Deep Learning Face Attributes in the Wild", ICCV 2015.
    """
    if split not in CELEBA_SPLITS:
        raise ValueError(f"split: found {split!r}; CelebA has {', '.join(CELEBA_SPLITS)}")
    archive = Archive(path, "CelebA's folder or zip")
    wanted = (*CELEBA_COLUMNS.values(), *CELEBA_HAIR)
    told = read_table(archive, "list_attr_celeba.txt", wanted)
    parts = read_table(archive, "list_eval_partition.txt", (), ["image", "part"])
    told, parts = (t.set_index(t.iloc[:, 0].astype(str)).iloc[:, 1:] for t in (told, parts))
    for name, lacking in (
        ("list_attr_celeba", parts.index.difference(told.index)),
        ("list_eval_partition", told.index.difference(parts.index)),
    ):
        if len(lacking):
            raise ValueError(
                f"path: {name} in {archive.path} has no row for {len(lacking)} pictures of the "
                f"other table: {listed(lacking.tolist())}"
            )
    part = indices(parts.iloc[:, 0], tuple(CELEBA_SPLITS.values()), "list_eval_partition")
    members = parts.index[part == CELEBA_SPLITS[split]]
    if members.empty:
        raise ValueError(f"split: no picture of {archive.path} is in {split!r}")
    folder = "img_align_celeba/"
    files, unlisted = all_there(archive, list(folder + members), folder + told.index)
    told = told.loc[members]
    labels = {
        name: indices(told[column], (-1, 1), column) for name, column in CELEBA_COLUMNS.items()
    }
    labels["hair"] = _hair(told)
    pictures = Pictures(archive, files, size, _face)
    skipped = pictures.skipped | {"without a row in the tables": unlisted}
    warn_of(archive.path, skipped)
    return Faces(pictures, labels, CELEBA_ATTRIBUTES, skipped)


def _hair(told):
    """The one colour that the labels name; the last group where they name none, or several."""
    colours = np.zeros((len(told), 4), bool)
    for column, colour in CELEBA_HAIR.items():
        colours[:, colour] |= indices(told[column], (-1, 1), column) == 1
    return np.where(colours.sum(1) == 1, colours.argmax(1), 4).astype(np.int64)


def _face(picture, name):
    if picture.size == ALIGNED:
        return FACE
    if picture.size == CROPPED:
        return (0, 0, *CROPPED)
    found = "{} x {}".format(*picture.size)
    raise ValueError(
        f"{name} has {found} pixels; CelebA's aligned pictures have 178 x 218, cropped ones 64 x 64"
    )
