"""Load faces with labels from a dataset's own files: heads, UTKFace, FairFace, CelebA."""

from pathlib import Path

from fairgen_utils.datasets.archive import Archive
from fairgen_utils.datasets.celeba import CELEBA_ATTRIBUTES, read_celeba
from fairgen_utils.datasets.fairface import FAIRFACE_ATTRIBUTES, read_fairface
from fairgen_utils.datasets.heads import HEADS_ATTRIBUTES, read_heads
from fairgen_utils.datasets.near import near_duplicates, perceptual_hash
from fairgen_utils.datasets.pictures import Faces, Pictures, read_pictures
from fairgen_utils.datasets.utkface import UTKFACE_ATTRIBUTES, read_utkface

__all__ = [
    "CELEBA_ATTRIBUTES",
    "FAIRFACE_ATTRIBUTES",
    "HEADS_ATTRIBUTES",
    "UTKFACE_ATTRIBUTES",
    "Faces",
    "Pictures",
    "near_duplicates",
    "perceptual_hash",
    "read_celeba",
    "read_faces",
    "read_fairface",
    "read_heads",
    "read_pictures",
    "read_utkface",
]


def read_faces(path, split):
    """Read a split of heads, FairFace, CelebA or UTKFace, whichever `path` holds.

    Held-out photographs of UTKFace that look like one in training are left out, so that no judge
    is asked about a face that was trained on.
    """
    with Archive(path, "a data set's folder or zip") as archive:
        names = {name.rpartition("/")[2] for name in archive.names}
    if any(name.startswith("fairface_label_") for name in names):
        return read_fairface(path, split)
    if any(name.startswith("list_attr_celeba.") for name in names):
        return read_celeba(path, split)
    if any(Path(path).glob("*.csv")):
        return read_heads(path, split)
    return read_utkface(path, split, drop_near_duplicates=True)
