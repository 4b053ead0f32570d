"""Does a second judge see what the first one sees? Writes judges.csv.

The world's classifier labels the latents that attributes are localized by, and then grades the
faces. Whatever pleases it without changing the face would look like fairness. So a second one, of
another depth, other initial weights and another order of the same training faces, grades the same
generated faces, corrected by its own confusion matrix. It was trained with train_classifier.py
--channels 24 48 96 160 224 --seed 7 --steps 1500, and no method ever sees it.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from measure_worlds import Ladder, Table, even
from train_classifier import predict
from training import to_unit_range

from fairgen_utils.audit import generate
from fairgen_utils.classifier import FaceClassifier
from fairgen_utils.datasets import read_faces
from fairgen_utils.fairness import fairness_discrepancy, shares
from fairgen_utils.uncertainty import (
    bootstrap_interval,
    confusion_rates,
    correct_shares,
    noise_floor,
)
from fairgen_utils.worlds import load_world


def labels_of(judge, images):
    """The second judge's most probable groups."""
    return {k: v.argmax(1).numpy() for k, v in predict(judge, to_unit_range(images)).items()}


def graded(world, labels, confusion, attribute):
    """Corrected discrepancy from an even split, with interval and floor."""
    found = world.joint(labels, attribute)
    k, target = len(world.groups(attribute)), even(world, attribute)

    def discrepancy(drawn):
        return fairness_discrepancy(correct_shares(drawn, confusion), target)

    low, high = bootstrap_interval(found, discrepancy, k)
    return {
        "fd_corrected": discrepancy(shares(found, k)),
        "fd_corrected_low": low,
        "fd_corrected_high": high,
        "fd_floor95": noise_floor(len(found), target, k, confusion, quantile=0.95),
    }


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--world", default="utkface")
    arguments.add_argument("--faces", type=Path, required=True, help="UTKFace zip")
    arguments.add_argument("--judge", type=Path, required=True, help="the second classifier")
    arguments.add_argument("--n", type=int, default=2000, help="generated faces of each method")
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--out", type=Path, default=Path("data/results/judges.csv"))
    options = arguments.parse_args()
    world = load_world(options.world, dtype=torch.bfloat16)
    judge = FaceClassifier.from_pretrained(options.judge).float().eval()
    heldout = read_faces(options.faces, "heldout")
    real = {"first": world.classify(heldout.images).labels}
    real["second"] = labels_of(judge, heldout.images)
    table = Table(options.out, ["world", "method", "attribute", "judge"])
    ladder = Ladder(world, options.n)
    attributes = [*world.cell_attributes, world.target]
    for method in ("real", "plain", "localized_pilot", "overshoot", "goals"):
        if method == "real":
            found = real
        else:
            plain = method == "plain"
            how = () if plain else (ladder.mixture(method), ladder.weights(method))
            images = generate(world, options.n, 110_000 + options.seed, *how)
            found = {"first": images.predictions.labels, "second": labels_of(judge, images.images)}
        rows = []
        for attribute in attributes:
            first, second = (world.joint(found[who], attribute) for who in ("first", "second"))
            for who in ("first", "second"):
                k = len(world.groups(attribute))
                true, read = (world.joint(x, attribute) for x in (heldout.labels, real[who]))
                row = {"world": world.name, "method": method, "attribute": attribute}
                row |= {"judge": who, "n": len(first), "agreement": np.mean(first == second)}
                if method == "real":
                    row["accuracy"] = np.mean(true == read)
                else:
                    confusion = confusion_rates(true, read, k)
                    row |= graded(world, found[who], confusion, attribute)
                rows.append(row)
        table.add(rows)
        print(pd.DataFrame(rows).to_string())


if __name__ == "__main__":
    main()
