"""Read: UTKFace, photographs with age, gender and race in their names."""

import hashlib
import re
import warnings
from pathlib import PurePosixPath

import numpy as np
import pandas as pd
from tqdm import tqdm

from fairgen_utils._checks import check_count
from fairgen_utils.datasets.archive import Archive, listed
from fairgen_utils.datasets.near import near_duplicates
from fairgen_utils.datasets.pictures import IMAGE_SIZE, Faces, is_picture, read_images, warn_of

UTKFACE_ATTRIBUTES = {
    "gender": ("female", "male"),
    "race": ("White", "Black", "Asian", "Indian"),
    "age": ("young", "middle", "older"),
}

OLDEST = 120  # UTKFace's own ages go to 116; what is more is no age
NAME = re.compile(r"(\d{1,3})_([01])_([0-4])_[^_]+", re.ASCII)


def read_utkface(
    path, split, heldout_percent=10, size=IMAGE_SIZE, others=False, drop_near_duplicates=False
):
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
    drop_near_duplicates : bool
        Leave held-out faces out that look like one in training: about four in a hundred are the
        same photograph, saved or cut a little differently.

    Returns
    -------
    Faces
        Its ``skipped`` lists what was left out, by the reason.

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
    if check_count(heldout_percent, "heldout_percent", least=0) > 100:
        raise ValueError(f"heldout_percent: {heldout_percent}; pass an integer from 0 to 100")
    with Archive(path, "UTKFace's zip or folder") as archive:
        skipped = dict(archive.skipped)
        people = _adults(archive, others, skipped)
        heldout = people["file"].map(_name_hash) % 100 < heldout_percent
        training = people.loc[~heldout, "file"].tolist()
        people = people[heldout if split == "heldout" else ~heldout]
        if split == "heldout":
            # UTKFace holds some photographs twice, under names that fall on both sides
            known = {_digest(archive, name) for name in tqdm(training, "comparing files", delay=2)}
            seen = people["file"].map(lambda name: _digest(archive, name) in known).astype(bool)
            people = _without(people, seen, "also in training", skipped)
        if people.empty:
            raise ValueError(
                f"split: none of the labelled adults in {archive.path} is in {split!r}"
            )
        images = read_images(archive, people["file"].tolist(), size)
        _, first = np.unique(images.reshape(len(images), -1), axis=0, return_index=True)
        wrong = ~np.isin(np.arange(len(images)), first)
        images, people = images[~wrong], _without(people, wrong, "of the same pixels", skipped)
        if split == "heldout" and drop_near_duplicates:
            twins = near_duplicates(images, read_images(archive, training, size))[:, 0]
            wrong = np.isin(np.arange(len(images)), twins)
            images, people = images[~wrong], _without(people, wrong, "like one there", skipped)
    labels = {
        # UTKFace writes 0 for male, 1 for female; our tuples are alphabetical
        "gender": 1 - people["gender"].to_numpy(np.int64),
        "race": people["race"].to_numpy(np.int64),
        "age": np.digitize(people["age"].to_numpy(), (35, 60)).astype(np.int64),
    }
    attributes = dict(UTKFACE_ATTRIBUTES)
    if others:
        attributes["race"] = (*attributes["race"], "Others")
    return Faces(images, labels, attributes, skipped)


def _adults(archive, others, skipped):
    """Files with age, gender and race as UTKFace writes them; what isn't wanted is in `skipped`."""
    warn_of(archive.path, skipped, stacklevel=4)
    names = [name for name in archive.names if is_picture(name)]
    rows = pd.DataFrame(
        [(name, *_parsed(name)) for name in names], columns=["file", "age", "gender", "race"]
    )
    rows = _without(rows, rows["age"].isna(), "named unlike UTKFace's", skipped)
    bad = skipped["named unlike UTKFace's"]
    if rows.empty:
        raise ValueError(
            f"path: no file of {archive.path} is named like UTKFace's "
            "age_gender_race_date.jpg.chip.jpg"
        )
    if bad:
        warnings.warn(
            f"path: {len(bad)} pictures of {archive.path} aren't named like UTKFace's and are "
            f"skipped: {listed(bad)}",
            stacklevel=3,
        )
    rows = _without(rows, rows["age"] < 18, "under 18", skipped)
    rows = _without(rows, rows["race"] > (4 if others else 3), "of the group Others", skipped)
    return _without(rows, _again(rows["file"]), "once more in another folder", skipped)


def _without(rows, wrong, why, skipped):
    skipped[why] = rows.loc[wrong, "file"].tolist()
    return rows[~wrong]


def _parsed(name):
    found = NAME.fullmatch(PurePosixPath(name).name)
    age, gender, race = map(int, found.groups()) if found else (OLDEST + 1, 0, 0)
    return (age, gender, race) if age <= OLDEST else (None, None, None)


def _again(files):
    """Which files are the same face once more: in another folder, or before it was cut out."""
    names = files.map(lambda name: PurePosixPath(name).name.split(".")[0])
    uncut = ~files.str.contains(".chip.", regex=False)
    return names[uncut.sort_values(kind="stable").index].duplicated()[files.index]


def _digest(archive, name):
    return hashlib.sha256(archive.read(name)).digest()


def _name_hash(name):
    return int(hashlib.sha256(PurePosixPath(name).name.encode()).hexdigest(), 16) % 100
