"""Measure every method on every shipped world: the numbers of README, cards and notebooks.

Writes, in data/results/: fairness.csv (a row per world, method, attribute and seed), shares.csv
(shares and amplification per group), groups.csv (distance of each group to its own reference) and
judges.csv (the same faces under other judges: a second network, linear probes and, on request, a
public network). The faces come from make_faces.py, which makes those that are missing. Every method
and seed is written as soon as it is measured; a killed run picks up where it stopped. Delete rows
to measure them again.
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from make_faces import ALL, FaceMaker, applicable
from other_judges import probe_world, public_world
from sources import WORLDS, add_sources, heldout_of, source_of
from tables import METHODS, Table

from fairgen_utils import show
from fairgen_utils._files import whole_file
from fairgen_utils.datasets import read_faces
from fairgen_utils.judge import (
    audit_fairness,
    audit_groups,
    audit_quality,
    manifold_scores,
    relative_sharpness,
    sharpness,
    within_group_variance,
)
from fairgen_utils.load import Predictions, load_world
from fairgen_utils.measure import (
    amplification,
    correct_shares,
    fairness_discrepancy,
    kl_divergence,
    share_intervals,
    shares,
)
from fairgen_utils.models.own_world import OwnWorld
from fairgen_utils.rivals.selection import posterior_shares

GROUP_FACES = 250  # of each group, for the distance to its own reference


def attributes_of(world):
    """The single cell attributes, the first two jointly, and the world's target."""
    names = world.cell_attributes
    asked = [*((name,) for name in names), tuple(names[:2]), world.target]
    return [world.text(attribute) for attribute in dict.fromkeys(asked)]


def share_rows(world, predictions, attribute, seed):
    """Shares of every group as classified, and corrected against those of the training faces."""
    groups = world.groups(attribute)
    labels = world.joint(predictions.labels, attribute)
    measured, intervals = shares(labels, len(groups)), share_intervals(labels, len(groups))
    training = world.training_shares(attribute)
    change = amplification(labels, training, seed=seed, confusion=world.confusion(attribute))
    return [
        {
            "group": group,
            "training": training[g],
            "share": measured[g],
            "share_low": intervals[g][0],
            "share_high": intervals[g][1],
            "share_corrected": change.generated[g],
            "amplification": change.difference[g],
            "amplification_low": change.interval[g][0],
            "amplification_high": change.interval[g][1],
        }
        for g, group in enumerate(groups)
    ]


def by_quotas(method, faces):
    """The cell each face was led to, where quotas fixed how many go into each; else None."""
    return faces.cells if method.startswith("guid") and len(faces.cells) else None


def fairness_row(world, predictions, faces, attribute, method, seed):
    """Discrepancies from an even split, and the divergence of the corrected shares from it."""
    groups = len(world.groups(attribute))
    row = audit_fairness(world, predictions, attribute, seed=seed, cells=by_quotas(method, faces))
    measured = shares(world.joint(predictions.labels, attribute), groups)
    confusion = world.confusion(attribute)
    corrected = correct_shares(measured, confusion)
    if len(faces.pool):
        # the classifier itself selected these faces: what holds of them is Bayes' rule alone
        sizes = [len(world.attributes[name]) for name in world.cell_attributes]
        cells = np.unravel_index(faces.pool, sizes)
        pool = world.joint(dict(zip(world.cell_attributes, cells, strict=True)), attribute)
        corrected = posterior_shares(measured, shares(pool, groups), confusion)
        unknown = dict.fromkeys(("fd_floor95", "fd_corrected_low", "fd_corrected_high"), np.nan)
        row |= unknown | {"fd_corrected": fairness_discrepancy(corrected)}
    return row | {"kl_corrected": kl_divergence(corrected)}


def quality_row(world, images, predictions):
    """Distance to the balanced reference; are faces good, all kinds there, groups varied, sharp?"""
    row = audit_quality(world, predictions)
    reference = world.reference()
    scores = dict.fromkeys(("precision", "recall", "density", "coverage"), np.nan)
    if "features" in reference:
        scores = manifold_scores(predictions.features, reference["features"])
    row |= scores | {"within_group_variance": within_group_variance(world, predictions)}
    return row | {"sharpness": sharpness(images)}


def measure(world, faces, predictions, method, seed, plain):
    """Rows for fairness.csv and for shares.csv of one method and seed.

    `plain` is the same seed's plain faces and what the classifier says of them.
    """
    quality = quality_row(world, faces.images, predictions)
    said = [{k: p.labels[k] for k in world.cell_attributes} for p in (predictions, plain[1])]
    over_plain = relative_sharpness(faces.images, said[0], plain[0].images, said[1])
    quality["sharpness_over_plain"] = over_plain
    cost = {"nfe": faces.nfe, "preparation": faces.preparation}
    rows, group_rows = [], []
    for attribute in attributes_of(world):
        row = fairness_row(world, predictions, faces, attribute, method, seed)
        which = {"world": world.name, "method": method, "attribute": attribute}
        how = {"timestep": faces.timestep, "components": faces.components}
        how |= {"n": row.pop("n"), "seed": seed}
        rows.append({**which, **how, **row, **quality, **cost})
        if method != "rejection":
            group_rows += [
                {**which, "seed": seed, "n": how["n"], **share}
                for share in share_rows(world, predictions, attribute, seed)
            ]
    return rows, group_rows


def group_rows(world, predictions, method):
    """Distance of each group to its own reference, all at the same number of faces."""
    which = {"world": world.name, "method": method}
    return [
        {**which, "attribute": name, "group": group, "n": GROUP_FACES, "ffd": ffd}
        for name in world.cell_attributes
        for group, ffd in audit_groups(world, predictions, name, GROUP_FACES).groups.items()
    ]


def judged_attributes(first, judge):
    """What both judges can tell: single attributes and, if it knows them all, the target."""
    names = [name for name in first.cell_attributes if name in judge.attributes]
    everything = set(first.target) <= set(names)
    return list(dict.fromkeys([*names, *[first.text(first.target)] * everything]))


def judge_rows(worlds, predictions, method, cells=None):
    """The same faces under every judge, each corrected by its own errors."""
    first = worlds["first"]
    rows = []
    for judge, found in predictions.items():
        world = worlds[judge]
        quality = {} if isinstance(world, OwnWorld) else audit_quality(world, found)
        for attribute in judged_attributes(first, world):
            row = {"world": world.name, "method": method, "attribute": attribute, "judge": judge}
            labels = first.joint(found.labels, attribute)
            first_said = first.joint(predictions["first"].labels, attribute)
            row["agreement"] = float(np.mean(labels == first_said[: len(labels)]))
            given = None if cells is None else cells[: len(labels)]
            row |= audit_fairness(world, found, attribute, cells=given)
            if (method, judge) == ("rejection", "first"):
                # it selected these faces: its confusion matrix says nothing of them any more
                row |= {key: np.nan for key in row if key.startswith("fd_corrected")}
            rows.append(row | quality)
    return rows


def real_rows(worlds):
    """How often each judge is right about held-out faces, and how often it joins the first."""
    first = worlds["first"]
    rows = []
    for judge, world in worlds.items():
        for attribute in judged_attributes(first, world):
            true, predicted = world.heldout(attribute)
            row = {"world": first.name, "method": "real", "attribute": attribute, "judge": judge}
            agreement = float(np.mean(predicted == first.heldout(attribute)[1]))
            accuracy = float(np.mean(true == predicted))
            rows.append({**row, "n": len(true), "agreement": agreement, "accuracy": accuracy})
    return rows


def contact_sheet(maker, measured, path):
    """Ten faces of every method that is measured, the first ten of the first seed: a row each."""
    methods = [m for m in METHODS if (maker.folder / f"{m}_0.npz").exists()]
    if absent := measured - set(methods):
        print(f"{path}: not drawn, there are no faces of {', '.join(sorted(absent))}")
        return
    size = (8, 0.95 * len(methods))
    fig, axes = plt.subplots(len(methods), 1, figsize=size, layout="constrained", squeeze=False)
    for ax, method in zip(axes[:, 0], methods, strict=True):
        show.faces(ax, maker.faces(method, 0).images[:10], 10, METHODS[method])
        ax.title.set_fontsize(9)
    with whole_file(path) as temporary:
        fig.savefig(temporary, format="png", dpi=90)
    plt.close(fig)


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--worlds", nargs="+", default=WORLDS)
    arguments.add_argument("--methods", nargs="*", default=ALL, choices=ALL)
    arguments.add_argument("--n", type=int, default=2000, help="judged faces per method and seed")
    arguments.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    arguments.add_argument("--faces", type=Path, default=Path("runs/faces"))
    add_sources(arguments)  # a photographic world's linear judge is asked where they are there
    arguments.add_argument(
        "--public", action="store_true", help="ask a public network too (the extra `judges`)"
    )
    arguments.add_argument("--out", type=Path, default=Path("data/results"))
    arguments.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments.add_argument(
        "--dtype",
        choices=("float32", "bfloat16"),
        default="bfloat16",
        help="of the generator; judges run in float32",
    )
    options = arguments.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    keys = ["world", "method", "attribute", "seed"]
    fairness = Table(options.out / "fairness.csv", keys)
    group_shares = Table(options.out / "shares.csv", [*keys, "group"])
    groups = Table(options.out / "groups.csv", ["world", "method", "attribute", "group"])
    judges = Table(options.out / "judges.csv", ["world", "method", "attribute", "judge"])
    for name in options.worlds:
        world = load_world(name, device=options.device)
        source = source_of(world, options)
        names = ["first", "second"] + ["probe"] * (source is not None)
        # made for photographs: of rendered heads it is only asked how much it errs
        names += ["public"] * (options.public and name == "utkface")

        def missing(method, world=world, names=names):
            """Seeds without rows, and judges; None where there is nothing left to do."""
            known = {"world": world.name, "method": method}
            seeds = [s for s in options.seeds if not fairness.has(**known, seed=s)]
            unasked = [j for j in names if seeds or not judges.has(**known, judge=j)]
            return None if groups.has(**known) and not unasked else (seeds, unasked)

        todo = {
            method: missing(method) for method in options.methods if method in applicable(world)
        }
        todo = {method: rest for method, rest in todo.items() if rest is not None}
        asked = names + ["public"] * (options.public and "public" not in names)
        known = {"world": name, "method": "real"}
        if not todo and all(judges.has(**known, judge=judge) for judge in asked):
            continue
        generator = load_world(name, device=options.device, dtype=getattr(torch, options.dtype))
        maker = FaceMaker(generator, options.n, options.faces)
        worlds = {"first": world, "second": world.second_judge()}
        if source is not None:
            faces = [read_faces(source, split) for split in ("train", heldout_of(name))]
            worlds["probe"] = probe_world(world, *faces)
            if options.public:
                worlds["public"] = public_world(world, faces[1])
        judges.add(real_rows(worlds))
        plain = {}
        for method, (seeds, unasked) in todo.items():
            print(f"{name} {method}", flush=True)
            faces = {seed: maker.faces(method, seed) for seed in options.seeds}
            said = {seed: world.classify(found.images) for seed, found in faces.items()}
            for seed in seeds:
                if seed not in plain:
                    found = maker.faces("plain", seed)
                    plain[seed] = found, world.classify(found.images)
                rows, of_groups = measure(
                    world, faces[seed], said[seed], method, seed, plain[seed]
                )
                group_shares.add(of_groups)
                fairness.add(rows)
            everybody = {"first": Predictions.joined(list(said.values()))}
            images = np.concatenate([found.images for found in faces.values()])
            for judge in [judge for judge in unasked if judge != "first"]:
                # encoding is slow: the probes see one seed's faces
                asked = images[: options.n] if judge == "probe" else images
                everybody[judge] = worlds[judge].classify(asked)
            groups.add(group_rows(world, everybody["first"], method))
            cells = [by_quotas(method, found) for found in faces.values()]
            cells = None if cells[0] is None else np.concatenate(cells)
            judges.add(judge_rows(worlds, everybody, method, cells))
        measured = set(fairness.rows.query("world == @name")["method"])
        contact_sheet(maker, measured, options.out / f"faces_{name}.png")


if __name__ == "__main__":
    main()
