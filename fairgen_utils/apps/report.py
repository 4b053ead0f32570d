"""Report: what the demo found, as one picture and as one page that fits a telephone."""

import base64
import io
import sys
from html import escape

import numpy as np
from matplotlib.figure import Figure

from fairgen_utils import show
from fairgen_utils._files import as_png, write_whole

SHOWN, COLUMNS = 24, 8  # faces of each method in the picture, and in a row of it
GAP = 10  # white pixels between rows of pairs

STYLE = """
:root { color-scheme: light dark; --ink: #222; --paper: #fff; --line: #ccc }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e6e6; --paper: #17191d; --line: #555 }
}
body { font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 0 auto; padding: 1rem;
  color: var(--ink); background: var(--paper) }
.faces { display: grid; gap: .6rem; grid-template-columns: repeat(auto-fill, minmax(120px, 1fr)) }
@media (max-width: 40rem) {
  .faces { grid-template-columns: repeat(auto-fill, minmax(96px, 1fr)) }
}
.two { display: grid; gap: 0 2rem; grid-template-columns: repeat(auto-fit, minmax(20rem, 1fr)) }
.faces figure { margin: 0 } .faces img { width: 100%; display: block }
figcaption { font-size: 13px; line-height: 1.3; padding-top: .2rem }
.bars { width: 100%; background: #fff; border-radius: 4px }
.scroll { overflow-x: auto } table { border-collapse: collapse; margin: 1rem 0; font-size: 15px }
th, td { padding: .3rem .6rem; border-bottom: 1px solid var(--line); text-align: right;
  font-variant-numeric: tabular-nums } th:first-child, td:first-child { text-align: left }
td + td { white-space: nowrap }
@media (max-width: 40rem) { th, td { padding: .3rem .2rem; font-size: 14px } }
"""


def before_after(samples, panels, paired):
    """Faces of two methods and their share bars.

    Parameters
    ----------
    samples : dict of str to Sample
        Two, plain sampling first.
    panels : list of tuple
        One per attribute: (name, groups, series, target), as `show.share_bars` takes them.
    paired : bool
        Whether they grew from the same noise: then each stands below its other.

    Returns
    -------
    matplotlib Figure
    """
    shown = [sample.images[:SHOWN] for sample in samples.values()]
    rows = [images.reshape(-1, COLUMNS, *images.shape[1:]) for images in shown]
    order = [(method, row) for row in range(len(rows[0])) for method in (0, 1)]
    if not paired:
        order.sort()
    figure = Figure(figsize=(15, 7.8), layout="constrained")
    pictures, bars = figure.subfigures(1, 2, width_ratios=(1.55, 1))
    ax = pictures.subplots()
    sheet, places = _sheet([(method, rows[method][row]) for method, row in order], paired)
    ax.imshow(sheet, interpolation="lanczos")
    ax.set_yticks(places, [list(samples)[method] for method, _ in order], rotation=90, va="center")
    ax.set_xticks([])
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    title = "Same noise: plain above, guided below" if paired else "Plain, and others below"
    ax.set_title(title, loc="left")
    _bars(bars, panels)
    return figure


def _sheet(rows, paired):
    """Rows of faces one below the other, white between pairs; and the middle of each row."""
    parts, places, height = [], [], 0
    for i, (method, images) in enumerate(rows):
        ends = paired and method == 0 or not paired and method != rows[i - 1][0]
        if i and ends:
            gap = np.full((GAP, parts[0].shape[1], 3), 255, np.uint8)
            parts.append(gap)
            height += GAP
        parts.append(np.concatenate(images, axis=1))
        places.append(height + parts[-1].shape[0] / 2)
        height += parts[-1].shape[0]
    return np.concatenate(parts), places


def _bars(figure, panels):
    heights = [1 + len(groups) for _, groups, _, _ in panels]
    axes = np.atleast_1d(figure.subplots(len(panels), 1, sharex=True, height_ratios=heights))
    for ax, (name, groups, series, target) in zip(axes, panels, strict=True):
        show.share_bars(ax, groups, series, target, name)
        ax.set_xlabel("share of faces" if ax is axes[-1] else "")
    axes[0].set_xlim(0, 1.06 * axes[0].get_xlim()[1])  # the last number at the axis is not cut
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=3, frameon=False)


def write_report(path, order, samples, panels, tables, sentences):
    """One HTML file with nothing outside it, written whole or not at all.

    Parameters
    ----------
    path : Path
    order : Order
    samples : dict of str to Sample
        Two, plain sampling first.
    panels : list of tuple
        As in `before_after`.
    tables : list of pandas.DataFrame
        Of the numbers, a row per method; and of looks, a row per group.
    sentences : dict of str to str
        ``title``, ``which``, ``read``, ``numbers``, ``looks``, ``made``, ``groups``.
    """
    said = {name: escape(text) for name, text in sentences.items()}
    numbers, looks = tables
    numbers = numbers.set_index("method").T.rename_axis(None, axis=1).reset_index(names="")
    write_whole(
        path,
        f"""<!doctype html><html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{said["title"]}</title><style>{STYLE}</style></head><body><main>
<h1>{said["title"]}</h1><p>{said["which"]}</p>
<p>{said["read"]}</p>
<div class="faces">{_faces(order, samples)}</div>
<div class="two"><section><h2>Shares</h2>{_bars_of_page(panels)}</section>
<section><h2>Numbers</h2>{_table(numbers, "Numbers of both methods")}<p>{said["numbers"]}</p>
<h2>Brightness and sharpness</h2>{_table(looks, "Brightness and sharpness of each group")}
<p>{said["looks"]}</p></section></div>
<p>{said["made"]}</p><p>{said["groups"]}</p></main></body></html>
""",
    )


def _faces(order, samples):
    """A figure for each pair, or for each face where there are none, that says what is read."""
    world, figures = order.world, []
    groups = world.groups(order.attribute)
    read = [world.joint(s.predictions.labels, order.attribute)[:SHOWN] for s in samples.values()]
    plain, made = (sample.images[:SHOWN] for sample in samples.values())
    if order.method == "guided":
        for i, pair in enumerate(np.concatenate([plain, made], axis=1)):
            before, after = groups[read[0][i]], groups[read[1][i]]
            alt = f"Face {i + 1}: plain, read as {before}; below, guided, read as {after}"
            told = before if before == after else f"{before} \N{RIGHTWARDS ARROW} {after}"
            figures.append((pair, alt, told))
    else:
        for method, images, labels in zip(samples, (plain, made), read, strict=True):
            for i, (image, label) in enumerate(zip(images, labels, strict=True)):
                alt = f"Face {i + 1}, {method}: read as {groups[label]}"
                figures.append((image, alt, f"{method}: {groups[label]}"))
    return "".join(
        f'<figure><img alt="{escape(alt)}" src="{_data(as_png(image))}">'
        f"<figcaption>{escape(told)}</figcaption></figure>"
        for image, alt, told in figures
    )


def _bars_of_page(panels):
    """The bars as a picture for a narrow page, its letters large; their words where it fails."""
    words = [
        f"{group}, {method}: {share:.2f}"
        for _, groups, series, _ in panels
        for method, (_, values, _) in series.items()
        for group, share in zip(groups, values, strict=True)
    ]
    try:
        rows = sum(1 + len(groups) for _, groups, _, _ in panels)
        figure = Figure(figsize=(4.6, 0.42 * rows + 1), layout="constrained")
        _bars(figure, panels)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=220)  # sharp on a telephone, too
    except Exception as error:  # whatever a figure trips over, the numbers stand
        print(f"the bars were not drawn ({type(error).__name__}: {error})", file=sys.stderr)
        return f"<p>{escape('; '.join(words))}</p>"
    alt = escape("Shares of faces: " + "; ".join(words))
    return f'<img class="bars" alt="{alt}" src="{_data(buffer.getvalue())}">'


def _table(table, label):
    return (
        f'<div class="scroll" role="region" aria-label="{label}" tabindex="0">'
        f"{table.to_html(index=False, border=0)}</div>"
    )


def _data(png):
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"
