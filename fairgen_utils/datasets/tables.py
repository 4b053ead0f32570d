"""Read: the tables that come with data sets; labels and pictures agree in number and order."""

import io
from pathlib import PurePosixPath

import numpy as np
import pandas as pd

from fairgen_utils.datasets.archive import listed
from fairgen_utils.datasets.pictures import is_picture


def read_table(archive, name, columns, names=None):
    """A table of an archive: its name as .txt, columns parted by blanks, or as .csv.

    Parameters
    ----------
    archive : Archive
    name : str
    columns : sequence of str
        Those that it must have.
    names : list of str, optional
        Of all columns, where a .txt has no header.

    Returns
    -------
    pandas.DataFrame
        The column "file", or else the first one, holds the files, each once.

    Raises
    ------
    FileNotFoundError
        If there is neither file.
    ValueError
        If it is damaged or malformed, lacks a column, or has several rows for a file.
    """
    for candidate in dict.fromkeys((name, PurePosixPath(name).with_suffix(".csv").name)):
        root = archive.root_of(candidate)
        if root is not None:
            where = f"path: {root}{candidate} in {archive.path}"
            return parse_table(archive.read(root + candidate), where, columns, names)
    raise FileNotFoundError(f"path: {archive.path} holds no {name}; it comes with the dataset")


def parse_table(content, where, columns, names=None):
    """As `read_table`, from a file's bytes; `where` begins the messages and ends in .csv or not."""
    try:
        text = content.decode("utf-8-sig")  # Excel puts a mark before it
        if ".csv" in where:
            table = _read(text.splitlines(), ",")
        elif names:
            table = _read([" ".join(names), *text.splitlines()], r"\s+")
        else:
            table = _counted(text.splitlines())
    except UnicodeDecodeError:
        raise ValueError(f"{where} is no text in UTF-8; save it as such") from None
    except (ValueError, IndexError) as error:
        raise ValueError(f"{where} is malformed: {str(error).strip()}") from None
    missing = sorted(set(columns) - set(table))
    if missing:
        raise ValueError(f"{where} has no column {missing}; found {listed(list(table), 8)}")
    files = table["file"] if "file" in columns else table.iloc[:, 0]
    twice = files[files.duplicated()].unique().tolist()
    if twice:
        raise ValueError(f"{where} has several rows for {listed(twice)}; keep one of each")
    return table


def _counted(lines):
    """As CelebA writes them: how many rows; a header, without a name for the files; the rows."""
    told = int(lines.pop(0)) if lines[0].strip().isdigit() else None
    if len(lines[1].split()) == len(lines[0].split()) + 1:
        lines[0] = "image " + lines[0]
    table = _read(lines, r"\s+")
    if told not in (None, len(table)):
        raise ValueError(f"its first line tells of {told} rows, and it has {len(table)}")
    if table.isna().any(axis=None):
        row = table.isna().any(axis=1).argmax()
        raise ValueError(f"the row of {table.iloc[row, 0]} is cut off")
    return table


def _read(lines, separator):
    lines = [line for line in lines if line.strip()]
    if len(lines) < 2:
        raise ValueError("it has no rows")
    widths = {len(line.split("," if separator == "," else None)) for line in lines[:2]}
    if len(widths) > 1 and '"' not in lines[0] + lines[1]:
        # pandas would take the first column for row names, and move all others by one
        raise ValueError("its rows and its header have different numbers of columns")
    table = pd.read_csv(io.StringIO("\n".join(lines)), sep=separator, skipinitialspace=True)
    return table.loc[:, ~table.columns.str.startswith("Unnamed: ")]  # row numbers, by pandas


def all_there(archive, files, told=()):
    """The same files with what precedes them in the archive; an error names those it lacks.

    Parameters
    ----------
    archive : Archive
    files : list of str
        Wanted ones, as a table calls them.
    told : iterable of str
        All others of the table.

    Returns
    -------
    found : list of str
    unlisted : list of str
        Further pictures in the same folders, which no row tells of.
    """
    there = set(archive.names)
    root = next((r for f in files[:50] if (r := archive.root_of(f)) is not None), "")
    absent = [file for file in files if root + file not in there]
    if absent:
        raise FileNotFoundError(
            f"path: {len(absent)} of the {len(files)} pictures in the table are missing from "
            f"{archive.path}: {listed(absent, 3)}; unpack the pictures beside the tables"
        )
    found = [root + file for file in files]
    known, folders = {root + file for file in told}, {str(PurePosixPath(f).parent) for f in found}
    known.update(found)
    unlisted = [
        name
        for name in archive.names
        if is_picture(name) and name not in known and str(PurePosixPath(name).parent) in folders
    ]
    return found, unlisted


def indices(column, groups, name):
    """Places of a column's values in `groups`; ValueError names others."""
    unknown = sorted(set(column) - set(groups), key=str)
    if unknown:
        raise ValueError(f"{name}: found {unknown[:5]}; known groups are {groups}")
    return column.map({group: i for i, group in enumerate(groups)}).to_numpy(np.int64)
