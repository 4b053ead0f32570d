"""The main job: biased faces, fair faces, and the numbers, from one command."""

import argparse
import base64
import errno
import json
import os
import time
from html import escape
from pathlib import Path

import numpy as np
import pandas as pd

from fairgen_utils import show
from fairgen_utils._checks import check_count
from fairgen_utils.generate import generate, pilot_weights
from fairgen_utils.judge import audit_fairness, audit_quality
from fairgen_utils.load import load_world
from fairgen_utils.localize import localized_mixture
from fairgen_utils.measure import share_intervals, shares


def parse_target(world, text):
    """``"gender,ancestry"`` or ``"gender=0.3,0.7"`` -> attribute, target shares.

    Shares follow the order of ``world.groups(attribute)``; uniform when none are given, or when
    the word ``uniform`` is; ``joint:`` may stand before several attributes.
    """
    attribute, _, numbers = text.removeprefix("joint:").partition("=")
    attribute = ",".join(world.names(attribute))
    groups = world.groups(attribute)
    if numbers in ("", "uniform"):
        return attribute, np.full(len(groups), 1 / len(groups))
    try:
        target = np.array([float(number) for number in numbers.split(",")])
    except ValueError:
        raise ValueError(f"target: {numbers!r} are not numbers joined by commas") from None
    if len(target) != len(groups) or (target < 0).any() or not abs(target.sum() - 1) <= 1e-6:
        raise ValueError(
            f"target: found {target.tolist()} for {groups}; give {len(groups)} shares, none "
            "negative, that sum to 1"
        )
    return attribute, target


def make_folder(path):
    """A folder for results, which can be written to: better known before minutes of work."""
    path.mkdir(parents=True, exist_ok=True)
    if not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))


def run(world, attribute, target, n, seed, per_component):
    """Plain and fair faces of a world: two Samples, and the seconds spent on fit and pilot."""
    plain = generate(world, n, seed)
    started = time.perf_counter()
    mixture = localized_mixture(world, attribute).overshoot(world.overshoot)
    fit_seconds = time.perf_counter() - started
    weights, _, pilot = pilot_weights(
        world, mixture, attribute, target, per_component, seed + 1
    )
    # a seed of its own: the judged faces are never the pilot's
    fair = generate(world, n, seed + 2, mixture, weights)
    return plain, fair, {"fit": fit_seconds, "pilot": pilot.seconds}


def panels_of(world, attribute, target, samples):
    """What `show.before_after` draws: a panel per attribute, then all of them jointly."""
    names = attribute.split(",")
    cube = np.reshape(target, [len(world.attributes[name]) for name in names])
    wanted = {
        name: cube.sum(tuple(i for i in range(len(names)) if i != axis))
        for axis, name in enumerate(names)
    }
    if 1 < len(names) and cube.size <= 8:
        wanted[attribute] = cube.ravel()
    panels = []
    for name, goal in wanted.items():
        groups, series = world.groups(name), {}
        for label, (colour, sample) in samples.items():
            labels = world.joint(sample.predictions.labels, name)
            measured = shares(labels, len(groups)), share_intervals(labels, len(groups))
            series[label] = (colour, *measured)
        panels.append((name.replace(",", " and "), groups, series, goal))
    return panels


def table_of(world, attribute, target, samples):
    """One row per method: discrepancies with intervals and floor, quality, speed."""
    rows = []
    for label, (_, sample) in samples.items():
        fairness = audit_fairness(world, sample.predictions, attribute, target)
        quality = audit_quality(world, sample.predictions)
        rows.append(
            {
                "method": label,
                "n": fairness["n"],
                "FD": f"{fairness['fd']:.3f}",
                "FD corrected": f"{fairness['fd_corrected']:.3f}",
                "95 % interval": "{fd_corrected_low:.3f} to {fd_corrected_high:.3f}".format(
                    **fairness
                ),
                "noise floor": f"{fairness['fd_floor95']:.3f}",
                "Frechet distance": f"{quality['ffd']:.2f}",
                "faces/s": f"{sample.faces_per_second:.1f}",
            }
        )
    return pd.DataFrame(rows)


def write_report(path, figure, alt, table, sentences):
    """One HTML file with nothing outside it, written whole or not at all."""
    image = base64.b64encode(figure.read_bytes()).decode()
    paragraphs = "".join(f"<p>{escape(sentence)}</p>" for sentence in sentences[1:])
    page = f"""<!doctype html><html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width"><title>{escape(sentences[0])}</title><style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto;
  padding: 0 1rem; color: #222; background: #fff }}
img {{ width: 100%; height: auto }} table {{ border-collapse: collapse; margin: 1rem 0 }}
th, td {{ padding: .3rem .8rem; border-bottom: 1px solid #ccc; text-align: right }}
th:first-child, td:first-child {{ text-align: left }}</style></head><body>
<h1>{escape(sentences[0])}</h1><img alt="{escape(alt)}" src="data:image/png;base64,{image}">
{table.to_html(index=False, border=0)}{paragraphs}</body></html>"""
    temporary = path.with_suffix(".tmp")
    temporary.write_text(page, encoding="utf-8")
    os.replace(temporary, path)


def main(arguments=None):
    parser = argparse.ArgumentParser(
        prog="python -m fairgen_utils.demo", description=__doc__, allow_abbrev=False
    )
    parser.add_argument("--world", default="heads", help="heads or utkface (default: heads)")
    parser.add_argument(
        "--target",
        help="attributes to make even, joined by commas (gender,ancestry), or shares you choose "
        "(gender=0.3,0.7); default: the world's own target",
    )
    parser.add_argument("--n", type=int, default=500, help="faces per method (default: 500)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pilot", type=int, default=60, help="pilot faces per component")
    parser.add_argument("--out", type=Path, default=Path("outputs"), help="default: outputs/")
    options = parser.parse_args(arguments)
    try:
        world = load_world(options.world)
        attribute, target = parse_target(world, options.target or world.target)
        world.confusion(attribute)  # before minutes of work: can the classifier tell them apart?
        if options.n < 40:
            raise ValueError(f"n: found {options.n}; the figure shows 40 faces, so ask for 40+")
        if options.pilot < 1:
            raise ValueError(f"pilot: found {options.pilot}; ask for 1 face or more")
        check_count(options.seed, "seed", least=0)
        make_folder(options.out)
    except (ValueError, OSError) as error:
        parser.exit(2, f"{error}\n")

    plain, fair, seconds = run(world, attribute, target, options.n, options.seed, options.pilot)
    samples = {"plain": (show.PLAIN, plain), "localized": (show.FAIR, fair)}
    table = table_of(world, attribute, target, samples)
    sentences = [
        f"{world.name}: faces before and after, {attribute.replace(',', ' and ')}",
        "FD is the distance of the measured shares from the target; corrected is the same after "
        "accounting for the classifier's known errors; a generator exactly at the target would "
        "stay below the noise floor in 95 of 100 such measurements. The Frechet distance is to a "
        "balanced reference, lower is better.",
        f"Fitting the mixture took {seconds['fit']:.0f} s and its pilot of generated faces "
        f"{seconds['pilot']:.0f} s, once; seed {options.seed}.",
        "Groups are what a classifier perceives in pixels, in somebody's categories; they are not "
        "people's identities.",
    ]
    alt = (
        f"Plain {world.name} faces above, localized ones below, and bars of their shares beside; "
        + "; ".join(f"{row.method}: FD {row.FD}" for row in table.itertuples())
    )
    figure = show.before_after(
        plain.images, fair.images, panels_of(world, attribute, target, samples)
    )
    picture = show.picture(figure, alt)
    path = options.out / f"demo_{world.name}.png"
    path.write_bytes(picture.data)
    write_report(path.with_suffix(".html"), path, alt, table, sentences)
    settings = {"world": world.name, "attribute": attribute, "target": target.tolist()}
    settings |= {"n": options.n, "seed": options.seed, "pilot_per_component": options.pilot}
    settings |= {"timestep": world.timestep, "overshoot": world.overshoot}
    path.with_suffix(".json").write_text(json.dumps(settings, indent=1) + "\n")
    print(table.to_string(index=False))
    print(f"\n{path}\n{path.with_suffix('.html')}")


if __name__ == "__main__":
    main()
