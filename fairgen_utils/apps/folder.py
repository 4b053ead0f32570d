"""Folders: the shares of whatever pictures lie in one, as a world's classifier reads them."""

import sys

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from tqdm import tqdm

from fairgen_utils import show
from fairgen_utils._files import write_whole
from fairgen_utils.apps.order import make_folder, open_world
from fairgen_utils.datasets import read_pictures
from fairgen_utils.judge import audit_fairness
from fairgen_utils.measure import correct_shares, share_intervals, shares
from fairgen_utils.models.world import Predictions

CHUNK = 2000  # pictures in memory at a time
COLUMNS = ("attribute", "fd_corrected", "fd_corrected_low", "fd_corrected_high", "fd_floor95")


def measure_folder(world, path, joint=None):
    """Shares of groups among the pictures of a folder or zip, by the classifier's word.

    Parameters
    ----------
    world : World
        Its classifier reads the pictures, each cut to a square and scaled to the world's own size;
        they should show faces as close as the world's own.
    path : path
    joint : sequence of (str or tuple of str), optional
        Attributes to report jointly as well, cell by cell; the world's target when omitted.

    Returns
    -------
    shares : pandas.DataFrame
        A row for each group of every attribute, then for each cell: ``attribute``, ``group``,
        ``n``, ``share``, 95 % interval ``low``, ``high``, and ``corrected`` for the classifier's
        errors on the world's own faces.
    fairness : pandas.DataFrame
        A row for each attribute or joint, as `judge.audit_fairness` against even shares.
    """
    joint = [world.target] if joint is None else joint
    asked = [world.text(attribute) for attribute in joint]  # refused before minutes of reading
    names = list(dict.fromkeys([*world.attributes, *asked]))
    for name in names:
        world.confusion(name)
    pictures, found = read_pictures(path, world.image_size), []
    for start in tqdm(range(0, len(pictures), CHUNK), desc="classifying", delay=2):
        found.append(world.classify(pictures[start : start + CHUNK]))
    predictions = Predictions.joined(found)
    rows, audits = [], []
    for name in names:
        groups, labels = world.groups(name), world.joint(predictions.labels, name)
        measured, ends = shares(labels, len(groups)), share_intervals(labels, len(groups))
        corrected = correct_shares(measured, world.confusion(name))
        for g, group in enumerate(groups):
            row = {"attribute": name, "group": group, "n": len(pictures), "share": measured[g]}
            rows.append(row | {"low": ends[g, 0], "high": ends[g, 1], "corrected": corrected[g]})
        audits.append({"attribute": name} | audit_fairness(world, predictions, name))
    return pd.DataFrame(rows), pd.DataFrame(audits)


def figure_of(table, title):
    """Share bars of a table of `measure_folder`, a panel an attribute, and its words."""
    panels = dict(list(table.groupby("attribute", sort=False)))
    heights = [1 + len(rows) for rows in panels.values()]
    figure = Figure(figsize=(7, 0.45 * sum(heights) + 1), layout="constrained")
    axes = figure.subplots(len(heights), 1, height_ratios=heights, sharex=True, squeeze=False)
    for ax, (name, rows) in zip(axes[:, 0], panels.items(), strict=True):
        series = {"measured": (show.FAIR, rows["share"], rows[["low", "high"]].to_numpy())}
        even = np.full(len(rows), 1 / len(rows))
        show.share_bars(ax, rows["group"].tolist(), series, even, name.replace(",", " and "))
        ax.set_xlabel("share of pictures" if ax is axes[-1, 0] else "")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper right", ncols=2)
    figure.suptitle(title, x=0.02, ha="left")
    words = [f"{row.group} {row.share:.2f}" for row in table.itertuples()]
    return figure, "Shares: " + ", ".join(words)


def draw(path, figure_and_alt):
    """Draw a figure to a file; what goes wrong is told, since the work it shows is done.

    Parameters
    ----------
    path : Path
    figure_and_alt : callable
        Returns a figure and its words.

    Returns
    -------
    bool
        Whether it was drawn.
    """
    try:
        write_whole(path, show.picture(*figure_and_alt()).data)
    except Exception as error:  # whatever a figure trips over, the numbers stand
        why = f"{type(error).__name__}: {error}"
        print(f"{path} was not drawn ({why}); the numbers are complete", file=sys.stderr)
        return False
    return True


def command(options):
    """`python -m fairgen_utils measure`."""
    world = open_world(options.world)
    make_folder(options.out)
    table, fairness = measure_folder(world, options.folder, options.attributes)
    print(table.round(3).to_string(index=False), end="\n\n")
    print(fairness[list(COLUMNS)].round(3).to_string(index=False))
    print(
        "\nFD: distance from even shares, corrected for the classifier's errors on the world's own "
        "faces; on other pictures it errs more. Labels are what it perceives, not identities."
    )
    written = options.out / "shares.csv"
    write_whole(written, table.round(5).to_csv(index=False, lineterminator="\n"))
    print(written)
    path = options.out / "shares.png"
    title = f"{options.folder.name}: {table['n'].iloc[0]} pictures"
    if draw(path, lambda: figure_of(table, title)):
        print(path)
