"""Can "Others", UTKFace's residual race label, be told from pixels? Writes others.csv.

Trains a classifier with five groups of race, every combination of gender and race drawn equally
often, and reports for each group: recall on held-out photographs, how often it is named there, and
how often among plain and fair faces of the utkface world, whose generator never saw the fifth.
"""

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from sklearn.metrics import confusion_matrix
from train_classifier import augment, cell_weights, predict
from training import batch_indices, parser, to_unit_range, train

from fairgen_utils.datasets import read_utkface
from fairgen_utils.generate import Sampler, recommended_sampler
from fairgen_utils.load import load_world
from fairgen_utils.localize import fit_weights, localize_mixture
from fairgen_utils.measure import share_intervals
from fairgen_utils.models.classifier import FaceClassifier


def fit(options):
    """A classifier with a fifth group, trained as the shipped one is."""
    faces = read_utkface(options.faces, "train", others=True)
    pixels = to_unit_range(faces.images)
    labels = {name: torch.as_tensor(values) for name, values in faces.labels.items()}
    weights = cell_weights(faces.labels, ["gender", "race"])
    classifier = FaceClassifier({name: list(groups) for name, groups in faces.attributes.items()})
    classifier = classifier.to(memory_format=torch.channels_last)

    def loss_of_step(step):
        index, generator = batch_indices(
            len(pixels), options.batch_size, step, options.seed, weights
        )
        classifier.train()
        with torch.autocast("cpu", torch.bfloat16):
            _, logits = classifier(augment(pixels[index], generator))
        return sum(F.cross_entropy(logits[k].float(), labels[k][index]) for k in labels)

    return train(classifier, loss_of_step, options).float().eval()


def generated(world, n):
    """Plain faces, and faces with an even share of every gender and race."""
    target = np.full(len(world.groups(world.target)), 1 / len(world.groups(world.target)))
    mixture = localize_mixture(world, world.target).extrapolate_means(world.extrapolation)
    sampler = Sampler(world, start=mixture)
    weights, _, _ = fit_weights(sampler, world.target, target, 200, seed=90_000)
    yield "plain sampling", Sampler(world).draw(n, 90_001).images
    yield "localized, overshoot", sampler.with_weights(weights).draw(n, 90_002).images
    yield "guided", recommended_sampler(world).draw(n, 90_001).images


def main():
    arguments = parser(__doc__, steps=1500, batch_size=128, learning_rate=2e-3)
    arguments.add_argument("--n", type=int, default=2000, help="generated faces of each kind")
    arguments.add_argument("--out", default="../results/others.csv")
    arguments.add_argument("--train-only", action="store_true")
    options = arguments.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    classifier = fit(options)
    if options.train_only:
        return
    heldout = read_utkface(options.faces, "heldout", others=True)
    groups = heldout.attributes["race"]
    named = predict(classifier, to_unit_range(heldout.images))["race"].argmax(1).numpy()
    matrix = confusion_matrix(heldout.labels["race"], named, labels=range(len(groups)))
    rows = [
        {"faces": "held-out photographs", "group": group, "n": int(matrix.sum())}
        | {"true": matrix[g].sum() / matrix.sum(), "recall": matrix[g, g] / matrix[g].sum()}
        | interval
        for g, (group, interval) in enumerate(zip(groups, shares(named, groups), strict=True))
    ]
    for kind, images in generated(load_world("utkface", dtype=torch.bfloat16), options.n):
        named = predict(classifier, to_unit_range(images))["race"].argmax(1).numpy()
        rows += [
            {"faces": kind, "group": group, "n": len(named)} | interval
            for group, interval in zip(groups, shares(named, groups), strict=True)
        ]
    pd.DataFrame(rows).round(4).to_csv(options.out, index=False)


def shares(named, groups):
    """How often each group is named, with its 95 % interval."""
    intervals = share_intervals(named, len(groups))
    return [
        {"named": np.mean(named == g), "named_low": low, "named_high": high}
        for g, (low, high) in enumerate(intervals)
    ]


if __name__ == "__main__":
    main()
