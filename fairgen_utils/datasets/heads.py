"""Read: rendered heads, whose every label is known."""

from pathlib import Path

from fairgen_utils.datasets.archive import Archive, listed
from fairgen_utils.datasets.pictures import Faces, read_images
from fairgen_utils.datasets.tables import indices, parse_table

HEADS_ATTRIBUTES = {
    "gender": ("female", "male"),
    "ancestry": ("african", "asian", "european"),
    "age": ("young", "middle", "older"),
    "smile": ("neutral", "smiling"),
    "glasses": ("none", "glasses"),
}


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
    table = parse_table(path.read_bytes(), f"split: {path}", ("file", *HEADS_ATTRIBUTES))
    for name in ("smile", "glasses"):
        groups = dict(enumerate(HEADS_ATTRIBUTES[name]))  # the table says 0 and 1
        table[name] = [groups.get(value, value) for value in table[name]]
    labels = {
        name: indices(table[name], groups, name) for name, groups in HEADS_ATTRIBUTES.items()
    }
    with Archive(folder / f"{split}.zip") as archive:
        told, there = set(table["file"]), set(archive.names)
        for file, lacking in (("zip", told - there), ("csv", there - told)):
            if lacking:
                lacking = listed(sorted(lacking, key=str))
                raise ValueError(f"split: {folder / split}.{file} lacks {lacking}; they must agree")
        images = read_images(archive, table["file"].tolist())
    return Faces(images, labels, HEADS_ATTRIBUTES)
