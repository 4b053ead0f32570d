"""Demo: faces before and after, the same ones where the method allows it, and the numbers."""

import textwrap
import time

import numpy as np
import pandas as pd

from fairgen_utils import show
from fairgen_utils._files import provenance, write_json
from fairgen_utils.apps.folder import draw
from fairgen_utils.apps.order import announce, make_folder, read_order
from fairgen_utils.apps.report import SHOWN, before_after, write_report
from fairgen_utils.judge import audit_fairness, audit_quality, brightness, sharpness
from fairgen_utils.measure import share_intervals, shares

WIDTH = 88  # of a terminal's lines
COLOURS = {"plain": show.PLAIN, "guided": show.FAIR, "localized": show.FAIR}


def run(order, progress=True):
    """Plain faces of an order's seed, and those it asks for.

    Parameters
    ----------
    order : Order

    Returns
    -------
    samples : dict of str to Sample
        By method: plain sampling first.
    preparation : dict
        ``seconds`` that preparing the method took, and ``faces`` of its pilot.
    """
    before = order.plain().sampler().draw(order.n, order.seed, progress=progress)
    started = time.perf_counter()
    sampler = order.sampler(progress)
    seconds = time.perf_counter() - started
    after = sampler.draw(order.n, order.seed, progress=progress)
    spent = {"seconds": seconds, "faces": round(sampler.preparation / sampler.nfe)}
    return {"plain": before, order.method: after}, spent


def panels_of(world, attribute, target, samples):
    """What `show.before_after` draws: a panel per attribute, then all of them jointly.

    Parameters
    ----------
    samples : dict of str to tuple (colour, Sample)
    """
    names = world.names(attribute)
    cube = np.reshape(target, [len(world.attributes[name]) for name in names])
    wanted = {
        name: cube.sum(tuple(i for i in range(len(names)) if i != axis))
        for axis, name in enumerate(names)
    }
    if 1 < len(names) and cube.size <= 8:
        wanted[world.text(names)] = cube.ravel()
    panels = []
    for name, goal in wanted.items():
        groups, series = world.groups(name), {}
        for label, (colour, sample) in samples.items():
            labels = world.joint(sample.predictions.labels, name)
            measured = shares(labels, len(groups)), share_intervals(labels, len(groups))
            series[label] = (colour, *measured)
        panels.append((name.replace(",", " and "), groups, series, goal))
    return panels


def table_of(order, samples):
    """One row per method: discrepancies with intervals and floor, quality, speed."""
    rows = []
    for method, sample in samples.items():
        # where quotas said how many faces go to each cell, chance has less to decide
        given = {"cells": sample.components} if method == "guided" else {}
        found = audit_fairness(
            *(order.world, sample.predictions, order.attribute, order.target), **given
        )
        rows.append(
            {
                "method": method,
                "faces": found["n"],
                "FD": f"{found['fd']:.3f}",
                "FD corrected": f"{found['fd_corrected']:.3f}",
                "95 % interval": f"{found['fd_corrected_low']:.3f} to "
                f"{found['fd_corrected_high']:.3f}",
                "noise floor": f"{found['fd_floor95']:.3f}",
                "Frechet distance": _quality(order.world, sample),
                "faces/s": f"{sample.faces_per_second:.1f}",
            }
        )
    return pd.DataFrame(rows)


def _quality(world, sample):
    try:
        return f"{audit_quality(world, sample.predictions)['ffd']:.2f}"
    except ValueError:  # a world of one's own may have no real faces to compare with
        return "unknown"


def looks_of(order, samples):
    """What the method does to each group's pictures, before and after: a row for each group.

    Groups are those the classifier reads, so a row's faces are other ones before and after.
    """
    rows = []
    for name in order.attribute:
        for g, group in enumerate(order.world.attributes[name]):
            own = [s.images[s.predictions.labels[name] == g] for s in samples.values()]
            row = {"group": group, "faces": [str(len(images)) for images in own]}
            row["brightness"] = [f"{brightness(i).mean():.0f}" if len(i) else "-" for i in own]
            row["sharpness"] = [f"{1000 * sharpness(i):.2f}" if len(i) else "-" for i in own]
            rows.append({key: v if key == "group" else " to ".join(v) for key, v in row.items()})
    return pd.DataFrame(rows)


def sentences_of(order, samples, spent):
    """What the picture and the numbers show, in sentences that are true for this run."""
    world, (plain, made) = order.world, samples.values()
    before, after = (world.joint(s.predictions.labels, order.attribute) for s in (plain, made))
    paired = order.method == "guided"
    if paired:
        change = np.abs(plain.images.astype(float) - made.images).mean()
        which = (
            "Each pair is one face twice: above as plain sampling makes it, below from the same "
            "noise, guided to the group it was given, so that all groups together meet the target. "
            f"Of {order.n} faces, {np.sum(before != after)} are read as another group than before; "
            f"a pixel changes by {change:.0f} of 255 on average. The lower face is an edit of the "
            "upper one by what the mixture knows of groups; not what a person would look like who "
            "belonged to another, for there is no person."
        )
    else:
        which = (
            "Above are faces as plain sampling makes them; below, others, which start from a "
            "mixture of the groups part of the way down. They are no pairs."
        )
    prepared = f"Fitting the mixture took {spent['seconds']:.0f} s, once; no pilot was needed."
    if spent["faces"]:
        prepared = (
            f"Fitting the mixture, and its weights to a pilot of {spent['faces']} faces, took "
            f"{spent['seconds']:.0f} s, once."
        )
    return {
        "title": f"{world.name}, before and after: {_listed(order.attribute)}",
        "which": which,
        "read": "Below each picture stands what the classifier reads"
        + (": first above, then below, or once where it is the same." if paired else "."),
        "numbers": "FD is the distance of the measured shares from the target; corrected is the "
        "same after accounting for the classifier's known errors; a generator exactly at the "
        "target would stay below the noise floor in 95 of 100 such measurements. Chance adds to a "
        "measured distance, so it may lie above its own interval. The Frechet "
        "distance is to a balanced reference, lower is better.",
        "looks": f"From plain to {order.method}: how many faces the classifier reads as the group, "
        "how bright the middle of those faces is, from 0 to 255, and how sharp the pictures are "
        "(mean squared Laplacian, times 1000). A method that draws a group darker or lighter, or "
        "blurs it, shows here.",
        "made": f"{prepared} Seed {order.seed}.",
        "groups": "Groups are what a classifier perceives in pixels, in somebody's categories; "
        "they are not people's identities.",
    }


def _listed(names):
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def command(options):
    """`python -m fairgen_utils demo`."""
    if options.method == "plain":
        raise ValueError(
            "method: the demo sets plain faces beside those of a method; give guided or localized, "
            "or 'generate --method plain' for plain faces alone"
        )
    order = read_order(options, options.n)
    if order.n < SHOWN:
        raise ValueError(f"n: found {order.n}; give at least {SHOWN}, the picture shows as many")
    out = make_folder(options.out)
    announce(order.plain(), order)
    samples, spent = run(order)
    table, looks = table_of(order, samples), looks_of(order, samples)
    sentences = sentences_of(order, samples, spent)
    print(table.to_string(index=False), looks.to_string(index=False), sep="\n\n")
    for said in ("which", "numbers", "looks"):
        print("\n" + textwrap.fill(sentences[said], WIDTH))
    print()
    path = out / f"demo_{order.world.name}.json"
    rows = {"measured": table.to_dict("records"), "looks": looks.to_dict("records")}
    write_json(path, provenance(order.world, order.settings) | rows)
    print(path)
    coloured = {name: (COLOURS[name], sample) for name, sample in samples.items()}
    panels = panels_of(order.world, order.attribute, order.target, coloured)
    paired = order.method == "guided"
    alt = "; ".join(f"{row.method}: FD {row.FD}" for row in table.itertuples())
    alt = f"Plain {order.world.name} faces and {order.method} ones, with bars of shares; {alt}"
    picture = path.with_suffix(".png")
    if draw(picture, lambda: (before_after(samples, panels, paired), alt)):
        print(picture)
    page = path.with_suffix(".html")
    write_report(page, order, samples, panels, [table, looks], sentences)
    print(page)
