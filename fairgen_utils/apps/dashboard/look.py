"""Look: what the dashboard shows of a run, as pieces of HTML and one figure."""

import base64
import html
import io

import numpy as np
from matplotlib.figure import Figure

from fairgen_utils import show
from fairgen_utils._files import as_png
from fairgen_utils.apps.dashboard.settings import METHODS, PERCEIVED
from fairgen_utils.apps.demo import panels_of
from fairgen_utils.judge import audit_quality

SHOWN = 10  # pairs side by side: 96 pixels or more each on a projector's 1440
MOST_COLUMNS = 9  # of one face in every group: as many fit beside the plain one
LEAST_FOR_QUALITY = 100  # a Frechet distance of fewer faces says little
LETTERS = 18  # pixels, read from the last row
FIGURE_WIDTH = 7.8  # inches, shown at 100 pixels or more each
COLOURS = show.PLAIN, show.FAIR  # of plain faces, and of a method's

STYLE = f"""<style>
.fairgen {{ --jp-widgets-font-size: {LETTERS}px; --jp-widgets-inline-height: 36px;
  --jp-ui-font-size1: {LETTERS}px; font-size: {LETTERS}px; width: 100%; overflow: visible }}
.fairgen .widget-html-content {{ font-size: {LETTERS}px; line-height: 1.4; white-space: normal }}
.fairgen .widget-html-content p {{ margin: .2rem 0 }}
.fairgen a {{ color: #0056a3; text-decoration: underline }}
.fairgen .jupyter-button {{ height: 40px; font-size: {LETTERS}px }}
.fairgen .fold {{ height: auto; min-height: 40px; white-space: normal; line-height: 1.3 }}
.fairgen .share .widget-html-content {{ line-height: 36px }}
.fairgen .noUi-handle {{ border: 2px solid #555 }} /* white on white is seen from no row */
.fairgen :focus-visible {{ outline: 3px solid #0056a3; outline-offset: 2px }}
.fairgen .widget-readout {{ min-width: 3em; font-size: {LETTERS}px }}
.fairgen progress {{ width: 14rem; vertical-align: middle }}
.fairgen .pairs {{ width: 100%; gap: 6px; overflow: visible }}
.fairgen .rows {{ line-height: 1.2 }}
.fairgen .rows b {{ font-size: 20px }} /* large enough for the contrast that orange has */
.fairgen .pair {{ flex: 1 1 0; min-width: 96px; max-width: 200px; height: auto;
  aspect-ratio: 1/2.04; margin: 0; padding: 0; background-color: transparent;
  background-repeat: no-repeat; background-size: 100% auto; background-position: top, bottom }}
.fairgen .numbers {{ border-collapse: collapse }}
.fairgen .numbers th, .fairgen .numbers td {{ padding: .2rem 1.2rem .2rem 0; text-align: left }}
.fairgen .numbers td {{ font-variant-numeric: tabular-nums }}
.fairgen .numbers tr + tr > * {{ border-top: 1px solid #999 }}
.fairgen .large td {{ font-size: 44px; line-height: 1.15; font-weight: bold; padding-right: .8rem }}
.fairgen .large th {{ font-weight: normal }}
.fairgen .cells {{ display: grid; gap: 4px 3px; margin: .3rem 0; overflow-x: auto }}
.fairgen .cells figure {{ margin: 0; line-height: 1.15 }}
.fairgen .cells img {{ width: 96px; display: block; border: 4px solid transparent }}
.fairgen .cells .own img {{ border-color: #0056a3 }}
</style>"""

# ipywidgets gives slider handles no name, and a value that isn't the one on the screen
NAMES = """<script>(() => {
if (window.fairgenNames) return;
window.fairgenNames = true;
const give = (node, name, value) => {
  if (value && node.getAttribute(name) !== value) node.setAttribute(name, value);
};
const names = () => document.querySelectorAll(".fairgen .widget-slider").forEach((box) => {
  const handle = box.querySelector("[role=slider]"), label = box.querySelector(".widget-label");
  const beside = box.nextElementSibling;
  const share = beside && beside.classList.contains("share") ? beside : null;
  const said = share || box.querySelector(".widget-readout");
  if (!handle || !label || !said) return;
  give(handle, "aria-label", (share ? "share of " : "") + label.textContent.trim());
  give(handle, "aria-valuetext", said.textContent.trim());
});
const watched = ["aria-valuetext", "style"];
new MutationObserver(names).observe(document.body, {
  subtree: true, childList: true, characterData: true, attributes: true, attributeFilter: watched,
});
names();
})();</script>"""


def data(content, kind="image/png"):
    """Bytes as an address that a page can show or save."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def heading(run):
    """World, method, seed and target of the faces on show."""
    title = html.escape(f"{len(run)} faces. {run.settings.said(run.world)}")
    below = METHODS[run.settings.method]
    below += ", the same seeds" if run.settings.pairs else ": other faces, no pairs"
    above = f"<b style='color:{show.PLAIN}'>Above</b> plain sampling"
    press = "Press a face to see it in every group."
    return (
        f"<p><b>{title}</b></p><p class='rows'>{above}, "
        f"<b style='color:{show.FAIR}'>below</b> {below}. {press}</p>"
    )


def read_as(run, sample, index):
    """What the classifier reads in one face: ``"male european"``."""
    return run.world.groups(run.settings.attribute)[int(run.cells(sample)[index])]


def pair_style(run, first):
    """Faces as backgrounds of the buttons of class ``pair-0`` and so on."""
    rules = []
    for place in range(SHOWN):
        if first + place < len(run):
            both = [data(as_png(s.images[first + place])) for s in (run.plain, run.made)]
            images = ", ".join(f"url({address})" for address in both)
            rules.append(f".fairgen .pair-{place} {{ background-image: {images} }}")
    return f"<style>{chr(10).join(rules)}</style>"


def pair_words(run, index):
    """A pair for those who do not see it."""
    plain, made = (read_as(run, sample, index) for sample in (run.plain, run.made))
    return (
        f"face {index} of seed {run.settings.seed}: plain {plain}, {run.settings.method} {made}. "
        "Press to see it in every group"
    )


def large_numbers(run):
    """Distances from the target, readable from the last row, with their floor."""
    lines = "".join(
        f"<tr><td style='color:{colour}'>{row['fd_corrected']:.3f}</td><th scope='row'>{name}<br>"
        f"<b>floor {row['fd_floor95']:.3f}</b><br>"
        f"{row['fd_corrected_low']:.3f} to {row['fd_corrected_high']:.3f}</th></tr>"
        for colour, (name, row) in zip(COLOURS, run.fairness.items(), strict=True)
    )
    return (
        "<table class='numbers large' aria-label='distance from the wanted shares'>"
        f"{lines}</table><p>Distance from the wanted shares (FD, corrected), its noise floor, its "
        "95 % interval. Below the floor nobody can tell it from luck; luck adds to it, so it may "
        "lie above its interval. In the bars, dashed: wanted.</p>"
    )


def bars(run):
    """Shares beside their targets, as an image."""
    samples = dict(zip(run.samples, zip(COLOURS, run.samples.values(), strict=True), strict=True))
    target = np.asarray(run.settings.target)
    panels = panels_of(run.world, run.settings.attribute, target, samples)
    figure = Figure(figsize=(FIGURE_WIDTH, 3.3), layout="constrained")
    columns = _columns(panels)
    for part, column in zip(np.ravel(figure.subfigures(1, len(columns))), columns, strict=True):
        heights = [1 + len(groups) for _, groups, _, _ in column]
        axes = part.subplots(len(column), 1, height_ratios=heights, squeeze=False)
        for ax, (name, groups, series, wanted) in zip(axes[:, 0], column, strict=True):
            show.share_bars(ax, groups, series, wanted, name)
            ax.set_xlabel("")
    show.enlarge_letters(figure, LETTERS * 72 / 100)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150)
    said = [
        f"{group}: " + ", ".join(f"{name} {100 * values[1][g]:.0f} %" for name, values in found)
        for _, groups, series, _ in panels
        for found in [list(series.items())]
        for g, group in enumerate(groups)
    ]
    alt = html.escape(f"Shares beside the wanted ones, dashed. {'; '.join(said)}")
    return f'<img alt="{alt}" src="{data(buffer.getvalue())}" style="width:100%; max-width:1200px">'


def _columns(panels):
    """Panels in two columns of about the same height, in their order."""
    if len(panels) == 1:
        return [panels]
    heights = np.cumsum([1 + len(groups) for _, groups, _, _ in panels])
    cut = 1 + int(np.abs(heights[:-1] - heights[-1] / 2).argmin())
    return [panels[:cut], panels[cut:]]


def table(run):
    """All numbers, a row for each series."""
    heads = ("method", "faces", "FD as read", "FD corrected", "95 % interval", "noise floor")
    rows = [(*heads, "Frechet distance", "faces/s")]
    for (name, row), sample in zip(run.fairness.items(), run.samples.values(), strict=True):
        quality = "more faces needed"
        if len(sample) >= LEAST_FOR_QUALITY:
            quality = f"{audit_quality(run.world, sample.predictions)['ffd']:.1f}"
        interval = f"{row['fd_corrected_low']:.3f} to {row['fd_corrected_high']:.3f}"
        distances = [f"{row[key]:.3f}" for key in ("fd", "fd_corrected", "fd_floor95")]
        distances.insert(2, interval)
        rows.append((name, str(row["n"]), *distances, quality, f"{sample.faces_per_second:.1f}"))
    header = "".join(f"<th scope='col'>{head}</th>" for head in rows[0])
    lines = [
        f"<tr><th scope='row'>{row[0]}</th>{''.join(f'<td>{cell}</td>' for cell in row[1:])}</tr>"
        for row in rows[1:]
    ]
    changed = ""
    if run.settings.pairs:
        amount = np.abs(run.plain.images.astype(float) - run.made.images).mean()
        other = np.sum(run.cells(run.plain) != run.cells(run.made))
        changed = (
            f"Of {len(run)} faces {other} are read as another group of {run.settings.joint} than "
            f"before; a pixel changes by {amount:.0f} of 255 on average. "
        )
    return (
        f"<table class='numbers'><tr>{header}</tr>{''.join(lines)}</table><p>{changed}Corrected: "
        "for the classifier's known errors. A generator exactly at the target stays below the "
        "noise floor in 95 of 100 runs of this size. Frechet distance: to balanced real faces, "
        f"lower is better; only equal numbers of faces compare. {PERCEIVED}</p>"
    )


def every_group(run, index, sample):
    """One face in every cell of its attributes."""
    groups = run.world.groups(run.settings.attribute)
    own, columns = read_as(run, run.plain, index), len(groups)
    for name in run.world.names(run.settings.attribute):  # a row for each group, if need be
        if columns > MOST_COLUMNS:
            columns //= len(run.world.attributes[name])
    tall = f" style='grid-row: 1 / span {len(groups) // columns}'"
    pictures = [("plain", run.plain.images[index], tall)]
    pictures += [
        (groups[cell], image, " class='own'" if groups[cell] == own else "")
        for cell, image in zip(sample.components, sample.images, strict=True)
    ]
    figures = "".join(
        f"<figure{mark}><img alt='face {index}, {html.escape(name)}' src='{data(as_png(image))}'>"
        f"<figcaption>{html.escape(name)}</figcaption></figure>"
        for name, image, mark in pictures
    )
    return (
        f"<p><b>Face {index} in every group</b>: an edit, not what a person of that group would "
        f"look like. Framed: read as {own}.</p>"
        f"<div class='cells' style='grid-template-columns: repeat({columns + 1}, 104px)'>"
        f"{figures}</div>"
    )
