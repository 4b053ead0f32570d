"""Sliders over pictures drawn beforehand: they turn where no kernel runs, in a book or a viewer."""

import base64
import html
import io
import itertools
import json
import re

import numpy as np
from PIL import Image

MOST_FRAMES = {1: 21, 2: 25, 3: 27}  # by number of sliders; more of those would be too coarse
MOST_BYTES = 300_000  # of a whole slider with its pictures, so that a notebook stays small

# the script finds its own slider, so that many may stand on a page
SCRIPT = """<script>(() => {
const box = document.currentScript.parentElement, frames = FRAMES, alt = ALT;
const image = box.querySelector("img"), inputs = [...box.querySelectorAll("input")];
const turn = () => {
  let frame = 0;
  const said = inputs.map((input) => {
    const value = JSON.parse(input.dataset.values)[input.value];
    frame = frame * (Number(input.max) + 1) + Number(input.value);
    input.setAttribute("aria-valuetext", value);
    input.nextElementSibling.value = value;
    return input.dataset.name + " " + value;
  });
  image.src = "data:image/webp;base64," + frames[frame];
  image.alt = alt + " Here for " + said.join(", ") + ".";
};
inputs.forEach((input) => input.addEventListener("input", turn));
})();</script>"""


def stops(low, default, high, step, most):
    """At most `most` values of a slider, evenly apart, its ends and its default among them."""
    values = low + step * np.arange(round((high - low) / step) + 1)
    start = int(np.abs(values - default).argmin())
    chosen = np.unique(np.linspace(0, len(values) - 1, min(most, len(values))).round().astype(int))
    if start not in chosen:
        inner = chosen[1:-1] if len(chosen) > 2 else chosen
        chosen[np.flatnonzero(chosen == inner[np.abs(inner - start).argmin()])] = start
    kind = int if isinstance(step, int) else float
    return [kind(round(value, 6)) for value in values[chosen].tolist()]


def grid(sliders):
    """Values of every slider, so that all combinations are few enough to draw beforehand.

    Parameters
    ----------
    sliders : dict of str to tuple
        Name -> (lowest, default, highest, step).

    Returns
    -------
    dict of str to list
    """
    if not 1 <= len(sliders) <= max(MOST_FRAMES):
        raise ValueError(f"sliders: found {len(sliders)}; 1 to {max(MOST_FRAMES)} can be turned")
    most = int(MOST_FRAMES[len(sliders)] ** (1 / len(sliders)) + 1e-9)
    return {name: stops(*values, most) for name, values in sliders.items()}


def combinations(values):
    """Every combination of the sliders' values, as dicts, the last slider turning fastest."""
    choices = itertools.product(*values.values())
    return [dict(zip(values, chosen, strict=True)) for chosen in choices]


def slider_page(pictures, values, default, alt, most_bytes=MOST_BYTES):
    """A piece of HTML: a picture, and sliders below it that choose which.

    Parameters
    ----------
    pictures : list of ndarray, shape (height, width, 3), uint8
        One for each of `combinations(values)`.
    values : dict of str to list
        As `grid` gives them.
    default : dict of str to number
        Where the sliders stand at first.
    alt : str
        What a reader who cannot see the pictures should know from them.

    Returns
    -------
    str
    """
    if len(pictures) != len(combinations(values)):
        raise ValueError(f"pictures: found {len(pictures)} for {len(combinations(values))} frames")
    frames = _small_enough(pictures, most_bytes)
    words = {name: name.replace("_", " ") for name in values}
    here = ", ".join(f"{words[name]} {default[name]:g}" for name in values)
    labels = []
    for name, stops in values.items():
        said = html.escape(json.dumps([f"{stop:g}" for stop in stops]))
        labels.append(
            f'<label style="display:flex;gap:.6em;align-items:center">{html.escape(words[name])} '
            f'<input type="range" min="0" max="{len(stops) - 1}" style="flex:1" '
            f'value="{stops.index(default[name])}" aria-valuetext="{default[name]:g}" '
            f'data-name="{html.escape(words[name])}" data-values="{said}">'
            f"<output>{default[name]:g}</output></label>"
        )
    shown = frames[combinations(values).index(default)]
    # in one go: base64, too, has letters; and "</" would end the script, JSON may write "<\\/"
    parts = {"FRAMES": json.dumps(frames), "ALT": json.dumps(alt).replace("</", "<\\/")}
    script = re.sub("FRAMES|ALT", lambda found: parts[found[0]], SCRIPT)
    return (
        f'<div class="knobs" style="max-width:{pictures[0].shape[1]}px">'
        f'<img alt="{html.escape(f"{alt} Here for {here}.")}" style="width:100%" '
        f'src="data:image/webp;base64,{shown}">{"".join(labels)}{script}</div>'
    )


def _small_enough(pictures, most_bytes):
    """Base64 of every picture, as good as fits.

    Drawings in fewer and fewer colours, since a blurred line can't be read; then, as pictures of
    faces from the first, coarser and smaller.
    """
    some = pictures[:: len(pictures) // 4 or 1]  # tell about how large all will be
    tries = [(1, 75, None), (1, 55, None), (0.75, 55, None), (0.5, 40, None)]
    few = (32, 16, 8, 4) if _drawn(some[0]) else (32,)
    for scale, quality, colours in [*((1, None, count) for count in few), *tries]:
        sizes = [len(_webp(picture, scale, quality, colours)) for picture in some]
        if 1.1 * np.mean(sizes) * (len(pictures) + 1) < most_bytes:
            break
    return [_webp(picture, scale, quality, colours) for picture in pictures]


def _drawn(picture):
    """Whether it is a drawing: half of it is paper."""
    return np.mean((picture == 255).all(axis=2)) > 0.5


def _inks(image, colours):
    """The channels of so many colours: the most frequent ones that the eye tells apart."""
    counts = sorted(image.getcolors(image.width * image.height), reverse=True)
    inks = [counts[0][1]]
    for _, colour in counts[1:]:
        if len(inks) < colours and np.abs(np.subtract(inks, colour)).max(1).min() > 256 / colours:
            inks.append(colour)
    return [channel for ink in inks for channel in ink]


def _webp(picture, scale, quality, colours):
    image, buffer = Image.fromarray(picture), io.BytesIO()
    if colours:  # lossless, once they are counted
        palette = Image.new("P", (1, 1))
        inks = _inks(image, colours)
        palette.putpalette((inks * 256)[: 3 * 256])
        fewer = image.quantize(palette=palette, dither=Image.Dither.NONE)
        fewer.convert("RGB").save(buffer, "WEBP", lossless=True, method=4)
    else:
        size = [round(scale * side) for side in image.size]
        image.resize(size, Image.Resampling.LANCZOS).save(buffer, "WEBP", quality=quality)
    return base64.b64encode(buffer.getvalue()).decode()
