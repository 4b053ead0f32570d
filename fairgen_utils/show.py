"""Show: figures in one visual language, each with a sentence that says what it shows."""

import base64
import html
import io

import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from IPython.display import Image, display

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


def share_panels(panels, title="", discrepancies=None):
    """Share bars of several attributes, one above the other, and how far all are from the target.

    Parameters
    ----------
    panels : list of tuple
        One per attribute: (name, groups, series, target), as `share_bars` takes them.
    discrepancies : dict of str to tuple, optional
        Name -> (colour, row of `audit.audit_fairness`): drawn as dots with intervals beside the
        noise floor, in a panel at the bottom.

    Returns
    -------
    matplotlib Figure
    """
    heights = [1 + len(groups) for _, groups, _, _ in panels]
    heights += [1 + len(discrepancies)] if discrepancies else []
    figure, axes = plt.subplots(
        *(len(heights), 1),
        figsize=(7, 0.45 * sum(heights) + 1),
        height_ratios=heights,
        layout="constrained",
        squeeze=False,
    )
    longest = max(np.max(series[name][1]) for _, _, series, _ in panels for name in series)
    for ax, (name, groups, series, target) in zip(axes[:, 0], panels, strict=False):
        share_bars(ax, groups, series, target, name)
        ax.set_xlim(0, min(1.0, longest + 0.15))
        ax.set_xlabel("share of pictures" if ax is axes[len(panels) - 1, 0] else "")
    if discrepancies:
        _discrepancies(axes[-1, 0], discrepancies)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper right", ncols=3)
    figure.suptitle(title, x=0.02, ha="left")
    return figure


def _discrepancies(ax, rows):
    """Corrected FD as a dot with its interval, over a grey band up to the noise floor."""
    for place, (colour, row) in enumerate(rows.values()):
        ax.barh(place, row["fd_floor95"], 0.9, color=TRAINING, alpha=0.4)
        ends = [row["fd_corrected_low"], row["fd_corrected_high"]]
        ax.plot(ends, [place, place], color=colour, lw=2)
        ax.plot(row["fd_corrected"], place, "o", color=colour)
    ax.set_yticks(range(len(rows)), rows)
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.set_xlabel("distance from the target (FD, corrected); grey: noise floor")
    sns.despine(ax=ax)


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


class Knobs(ipywidgets.VBox):
    """A figure with sliders below it: made by `knobs`. A page without a kernel shows its repr."""

    def __init__(self, draw, alt, size, sliders):
        self._draw, self._alt, self._size = draw, alt, size
        self.figure = ipywidgets.HTML()
        self.sliders = {
            name: (ipywidgets.IntSlider if isinstance(step, int) else ipywidgets.FloatSlider)(
                value=default,
                min=low,
                max=high,
                step=step,
                description=name.replace("_", " "),
                continuous_update=False,
                style={"description_width": "initial"},
            )
            for name, (low, default, high, step) in sliders.items()
        }
        for slider in self.sliders.values():
            slider.observe(self._turned, "value")
        super().__init__([self.figure, *self.sliders.values()])
        self._turned()

    def _turned(self, change=None):
        values = {name: slider.value for name, slider in self.sliders.items()}
        fig, ax = plt.subplots(figsize=self._size, layout="constrained")
        try:
            self._draw(ax, **values)
        except Exception as error:  # a widget swallows what its callbacks raise: say it in place
            plt.close(fig)
            problem = html.escape(f"{type(error).__name__}: {error}")
            self.figure.value = f"<p>For {values} there is no figure. {problem}</p>"
            return
        png = base64.b64encode(picture(fig, self._alt).data).decode()
        alt = html.escape(f"{self._alt} Here for {values}.")
        self.figure.value = f'<img alt="{alt}" src="data:image/png;base64,{png}">'

    def __repr__(self):
        return f"(run this cell to turn the knobs: {', '.join(self.sliders)})"


def knobs(draw, alt, size=(4.2, 4.0), **sliders):
    """A figure to turn knobs on, below a still one with every knob at its lowest, default, highest.

    The still figure teaches where no kernel runs, and drawing it tries the extremes.

    Parameters
    ----------
    draw : callable
        ``draw(ax, **values)`` draws on one axis, quickly enough for a slider.
    alt : str
        What a reader who cannot see the figure should know from it.
    size : tuple of float
        Width and height of one panel, in inches.
    **sliders : tuple
        Name -> (lowest, default, highest, step); whole-numbered when the step is.

    Returns
    -------
    Knobs

    Raises
    ------
    ValueError
        If a slider's default doesn't lie between its ends.
    """
    for name, (low, default, high, _) in sliders.items():
        if not low <= default <= high:
            raise ValueError(f"{name}: the default {default} is not between {low} and {high}")
    fig, axes = plt.subplots(1, 3, figsize=(3 * size[0], size[1]), layout="constrained")
    for place, ax in enumerate(axes):
        values = {name: settings[place] for name, settings in sliders.items()}
        draw(ax, **values)
        words = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in values.items())
        ax.set_title(words, loc="left")
    display(picture(fig, alt, 1000))
    return Knobs(draw, alt, size, sliders)
