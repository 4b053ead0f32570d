"""Show: figures in one visual language, each with a sentence that says what it shows."""

import base64
import html
import io
import textwrap

import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from IPython.display import Image
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from tqdm import tqdm

from fairgen_utils._frames import combinations, grid, slider_page

# the same colour for the same thing in every figure; Okabe and Ito's palette, safe for colour-blind
# readers, and every bar and line is named as well
PLAIN, FAIR, TARGET, TRAINING = "#D55E00", "#0072B2", "#000000", "#999999"

COLUMN = 790  # pixels: a page's width, as wide as a picture is shown in the book
LEAST_LETTERS = 11  # pixels that letters have there
DPI = 150  # of figures, for a lecture hall
SLIDER_DPI = 110  # of those with sliders, of which a notebook holds up to 27

# Figures made here are matplotlib's own `Figure`, never pyplot's: those are drawn and closed by
# the notebook at every message of a widget, wherever another thread is with them.


sns.set_theme(style="ticks", context="notebook", rc={"figure.dpi": DPI, "axes.titlesize": "medium"})


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


def face_rows(rows, captions=None, width=12.0):
    """Rows of large faces, one row below the other: the same faces before and after, say.

    Parameters
    ----------
    rows : dict of str to ndarray, shape (n, h, w, 3), uint8
        Name of each row, written above it -> its faces; as many in every row.
    captions : sequence of str, or dict of str to sequence of str, optional
        Below each column; or, under a row's name, below that row's own faces.
    width : float
        Of the figure, in inches.

    Returns
    -------
    matplotlib Figure
    """
    counts = {name: len(images) for name, images in rows.items()}
    if not counts or len(set(counts.values())) > 1 or 0 in counts.values():
        raise ValueError(f"rows: found {counts} faces; give as many in every row, at least one")
    n = next(iter(counts.values()))
    side = width / n
    if captions is not None and not isinstance(captions, dict):
        captions = {list(rows)[-1]: captions}
    below = {name: list(words) for name, words in (captions or {}).items()}
    if not set(below) <= set(rows) or any(len(words) != n for words in below.values()):
        found = {name: len(words) for name, words in below.items()}
        raise ValueError(f"captions: found {found}; give {n} for rows among {list(rows)}")
    # 14 points let about eight letters stand on an inch: a longer caption would run into the next
    letters = max(8, int(8 * side))
    for name, words in below.items():
        below[name] = [textwrap.fill(word, letters) for word in words]
    lines = [max(word.count("\n") + 1 for word in words) for words in below.values()]
    height = len(rows) * (side + 0.45) + 0.1 * len(lines) + 0.3 * sum(lines)
    fig = Figure(figsize=(width, height))
    axes = fig.subplots(len(rows), n, squeeze=False)
    for line, (name, images) in zip(axes, rows.items(), strict=True):
        for ax, image in zip(line, images, strict=True):
            ax.imshow(image, interpolation="lanczos")
            ax.set(xticks=[], yticks=[])
            for spine in ax.spines.values():
                spine.set_visible(False)
        # a title would widen the first column if it is longer: the last face keeps its height free
        line[-1].set_title(" ", fontsize=15)
        above = {"xycoords": "axes fraction", "textcoords": "offset points", "fontsize": 15}
        line[0].annotate(name, (0, 1), (0, 6), **above).set_in_layout(False)
        for ax, caption in zip(line, below.get(name, []), strict=False):
            ax.set_xlabel(caption, fontsize=14)
    fig.set_layout_engine("constrained", w_pad=0.02, h_pad=0.03)
    return fig


def before_after(plain_images, fair_images, panels, titles=("Plain sampling", "Localized")):
    """Plain faces above, fair faces below, share bars beside.

    Parameters
    ----------
    plain_images, fair_images : ndarray, shape (n, h, w, 3), uint8
        40 of each are drawn.
    panels : list of tuple
        One per attribute: (name, groups, series, target), as `share_bars` takes them.
    titles : tuple of str
        Of the faces above, and of those below.

    Returns
    -------
    matplotlib Figure
    """
    fig = Figure(figsize=(15, 8), layout="constrained")
    pictures, bars = fig.subfigures(1, 2, width_ratios=(1.8, 1))
    above, below = pictures.subplots(2, 1)
    faces(above, plain_images[:40], 10, titles[0])
    faces(below, fair_images[:40], 10, titles[1])
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

    Letters that a page's column would make too small to read are enlarged.

    Parameters
    ----------
    fig : matplotlib Figure
    alt : str
        What a reader who cannot see the figure should know from it.
    width : int
        In pixels, where there is room.

    Returns
    -------
    IPython.display.Image
    """
    enlarge_letters(fig, LEAST_LETTERS * 72 * fig.get_figwidth() / min(width, COLUMN))
    buffer = io.BytesIO()
    fig.savefig(buffer, format="png", dpi=DPI)
    plt.close(fig)
    return Image(buffer.getvalue(), format="png", width=width, alt=alt)


def enlarge_letters(fig, least):
    """Letters smaller than `least` points are made that large."""
    for ax in fig.findobj(lambda part: hasattr(part, "xaxis")):
        for axis in (ax.xaxis, ax.yaxis):
            for label in axis.get_ticklabels():
                if label.get_fontsize() < least:
                    axis.set_tick_params(labelsize=least)
                    break
    for text in fig.findobj(Text):
        if text.get_fontsize() < least:
            text.set_fontsize(least)


class Knobs(ipywidgets.VBox):
    """A figure with sliders below it: made by `knobs`. Without a kernel, its frames are shown."""

    def __init__(self, draw, alt, size, sliders):
        self._draw, self._alt, self._size = draw, alt, size
        self._settings = sliders
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
        self._frames, self._still = self._stills()

    def _turned(self, change=None):
        values = {name: slider.value for name, slider in self.sliders.items()}
        try:
            png = base64.b64encode(picture(self._drawn(values), self._alt).data).decode()
        except Exception as error:  # a widget swallows what its callbacks raise: say it in place
            problem = html.escape(f"{type(error).__name__}: {error}")
            self.figure.value = f"<p>For {values} there is no figure. {problem}</p>"
            return
        alt = html.escape(f"{self._alt} Here for {values}.")
        width = f"width:{SLIDER_DPI * self._size[0]:.0f}px;max-width:100%"
        self.figure.value = f'<img alt="{alt}" style="{width}" src="data:image/png;base64,{png}">'

    def _drawn(self, values):
        fig = Figure(figsize=self._size, dpi=SLIDER_DPI, layout="constrained")
        self._draw(fig.subplots(), **values)
        return fig

    def _stills(self):
        """What a page without a kernel shows: sliders over frames, and a picture of three."""
        values, pictures = grid(self._settings), []
        for chosen in tqdm(combinations(values), desc="drawing frames", delay=1, leave=False):
            canvas = FigureCanvasAgg(self._drawn(chosen))
            canvas.draw()
            pictures.append(np.array(canvas.buffer_rgba())[..., :3])
        default = {name: settings[1] for name, settings in self._settings.items()}
        width, height = self._size
        fig = Figure(figsize=(3 * width, height), layout="constrained")
        for place, ax in enumerate(fig.subplots(1, 3)):
            chosen = {name: settings[place] for name, settings in self._settings.items()}
            self._draw(ax, **chosen)
            words = (f"{name.replace('_', ' ')} {value}" for name, value in chosen.items())
            ax.set_title(", ".join(words), loc="left")
        still = picture(fig, self._alt, 1000)
        return slider_page(pictures, values, default, self._alt), still

    def _repr_mimebundle_(self, include=None, exclude=None, **kwargs):
        # Lab takes the widget, a book or a viewer the frames, and slides the picture
        live = super()._repr_mimebundle_(include=include, exclude=exclude, **kwargs)
        still, words = self._still._repr_mimebundle_()
        return live | {"text/html": self._frames} | still, words

    def __repr__(self):
        return f"(run this cell to turn the knobs: {', '.join(self.sliders)})"


def knobs(draw, alt, size=(4.2, 4.0), **sliders):
    """A figure to turn knobs on. Drawn beforehand for some of their values, it turns everywhere.

    Parameters
    ----------
    draw : callable
        ``draw(ax, **values)`` draws on one axis, quickly enough for a slider.
    alt : str
        What a reader who cannot see the figure should know from it.
    size : tuple of float
        Width and height, in inches.
    **sliders : tuple
        Name -> (lowest, default, highest, step); whole-numbered when the step is.

    Returns
    -------
    Knobs

    Raises
    ------
    ValueError
        If a slider's default doesn't lie between its ends, or there are more than three.
    """
    for name, (low, default, high, step) in sliders.items():
        if not low <= default <= high or not 0 < step <= high - low:
            raise ValueError(
                f"{name}: found (lowest, default, highest, step) {(low, default, high, step)}; the "
                "default lies between the ends, and a step fits between them"
            )
    return Knobs(draw, alt, size, sliders)
