"""Show: figures in one visual language, each with a sentence that says what it shows."""

import io

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from IPython.display import Image

# the same colour for the same thing in every figure; Okabe and Ito's palette, safe for colour-blind
# readers, and every bar and line is named as well
PLAIN, FAIR, TARGET, TRAINING = "#D55E00", "#0072B2", "#000000", "#999999"

sns.set_theme(style="ticks", context="notebook", rc={"figure.dpi": 110, "axes.titlesize": "medium"})


def face_sheet(images, columns):
    """Faces side by side as one picture: ndarray, shape (rows * h, columns * w, 3), uint8."""
    images = np.asarray(images)
    if images.ndim != 4 or len(images) < columns:
        raise ValueError(f"images: found shape {images.shape}; give at least {columns} faces")
    rows = len(images) // columns
    _, height, width, channels = images.shape
    sheet = images[: rows * columns].reshape(rows, columns, height, width, channels)
    return sheet.swapaxes(1, 2).reshape(rows * height, columns * width, channels)


def faces(ax, images, columns, title=""):
    """Draw faces on an axis."""
    ax.imshow(face_sheet(images, columns), interpolation="lanczos")
    ax.set_title(title, loc="left")
    ax.axis("off")


def share_bars(ax, groups, series, target=None, title=""):
    """Horizontal bars of group shares with intervals, one colour per series, the target dashed.

    Parameters
    ----------
    ax : matplotlib Axes
    groups : sequence of str
    series : dict of str to tuple
        Name -> (colour, shares, intervals or None); intervals of shape (n_groups, 2).
    target : array_like, optional
        Wanted share of every group.
    """
    height = 0.8 / len(series)
    rows = np.arange(len(groups))
    for i, (name, (colour, values, intervals)) in enumerate(series.items()):
        place = rows + (i - (len(series) - 1) / 2) * height
        errors = None
        if intervals is not None:
            errors = np.abs(np.asarray(intervals).T - np.asarray(values))
        ax.barh(place, values, height, color=colour, label=name, xerr=errors, error_kw={"lw": 1})
    if target is not None:
        for row, wanted in zip(rows, target, strict=True):
            label = "target" if row == 0 else None
            ax.plot([wanted] * 2, [row - 0.45, row + 0.45], "--", color=TARGET, lw=1.5, label=label)
    ax.set_yticks(rows, groups)
    ax.invert_yaxis()
    ax.set_xlim(left=0)
    ax.set_xlabel("share of faces")
    ax.set_title(title, loc="left")
    sns.despine(ax=ax)


def before_after(plain_images, fair_images, panels):
    """Plain faces above, fair faces below, share bars beside.

    Parameters
    ----------
    plain_images, fair_images : ndarray, shape (n, h, w, 3), uint8
        40 of each are drawn.
    panels : list of tuple
        One per attribute: (name, groups, series, target), as `share_bars` takes them.

    Returns
    -------
    matplotlib Figure
    """
    fig = plt.figure(figsize=(15, 8), layout="constrained")
    pictures, bars = fig.subfigures(1, 2, width_ratios=(1.8, 1))
    above, below = pictures.subplots(2, 1)
    faces(above, plain_images[:40], 10, "Plain sampling")
    faces(below, fair_images[:40], 10, "Localized, weights fitted")
    heights = [1 + len(groups) for _, groups, _, _ in panels]
    axes = np.atleast_1d(bars.subplots(len(panels), 1, sharex=True, height_ratios=heights))
    for ax, (name, groups, series, target) in zip(axes, panels, strict=True):
        share_bars(ax, groups, series, target, name)
        ax.set_xlabel("share of faces" if ax is axes[-1] else "")
    handles, labels = axes[0].get_legend_handles_labels()
    bars.legend(handles, labels, loc="upper right", ncols=3, fontsize="small", frameon=False)
    return fig


def picture(fig, alt, width=900):
    """A figure as a picture with alternative text, closed so that it is shown once.

    Parameters
    ----------
    fig : matplotlib Figure
    alt : str
        What a reader who cannot see the figure should know from it.

    Returns
    -------
    IPython.display.Image
    """
    buffer = io.BytesIO()
    fig.savefig(buffer, format="png", dpi=110)
    plt.close(fig)
    return Image(buffer.getvalue(), format="png", width=width, alt=alt)
