"""Do generated faces make a classifier fairer? Writes downstream.csv.

The second half of the published method's claim: a classifier trained on skewed real faces plus
generated ones, pseudo-labelled, errs more evenly than one trained on the real faces alone. The
same small network is trained on real faces alone; on the same with every group weighted alike,
which needs no generator; with as many plain, fair, or further real faces added. Every seed draws
its own real faces, generated faces and first weights, and all methods share them.

In CelebA two things go with gender that need not: blond hair and glasses. They get rows of their
own, with how much more of them there is among women than among men in the training set
(`trained_gap`), and how much more than there is a classifier says of the test set
(`exaggeration`).
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from fairlearn.metrics import MetricFrame, equalized_odds_difference
from make_faces import FaceMaker
from sklearn.metrics import accuracy_score
from tables import Table
from tqdm import tqdm
from train_classifier import predict
from training import batch_indices, to_unit_range

from fairgen_utils.datasets import read_faces
from fairgen_utils.load import load_world
from fairgen_utils.models.classifier import FaceClassifier

REAL, ADDED = 1000, 1000
STEPS, BATCH, CHANNELS = 300, 64, (16, 32, 64, 96)
# what is learnt, and by which groups errors are compared
TASKS = {
    "heads": {"smile": "gender,ancestry", "glasses": "gender,ancestry", "gender": "ancestry"},
    "utkface": {"gender": "race"},
    "celeba": {"smile": "gender,age", "glasses": "gender,age", "hair": "gender,age"},
}
# yes or no, what goes with gender in the training set: attribute and group
CONFOUNDED = {
    "celeba": {"blond and gender": ("hair", "blond"), "glasses and gender": ("glasses", "glasses")},
}
UNCLEAR = {"hair": 4}  # nothing is learnt from these, and nobody is tested on them


def training_sets(world, training, generated, seed):
    """Images, labels and weights of every method, from one seed's draw of faces."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(training))
    few, more = order[:REAL], order[REAL : REAL + ADDED]
    images = training.images[few]
    labels = {name: training.labels[name][few] for name in world.attributes}
    cells = world.joint(labels, ",".join(world.cell_attributes[:2]))
    alike = (1 / np.bincount(cells))[cells]
    ones = np.ones(REAL)
    yield "alone", images, labels, ones
    yield "weights", images, labels, REAL * alike / alike.sum()
    added = {"more_real": (training.images[more], {k: training.labels[k][more] for k in labels})}
    for name, (faces, said) in generated.items():
        chosen = rng.choice(len(faces), ADDED, replace=False)
        added[name] = faces[chosen], {k: said[k][chosen] for k in labels}
    for name, (faces, said) in added.items():
        both = {k: np.concatenate([labels[k], said[k]]) for k in labels}
        yield name, np.concatenate([images, faces]), both, np.ones(REAL + ADDED)


def fit(images, labels, weights, groups, seed):
    """The small classifier, trained for the same number of steps whatever it is given."""
    torch.manual_seed(seed)
    model = FaceClassifier(groups, CHANNELS).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), 2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=STEPS)
    pixels, weights = to_unit_range(images), torch.as_tensor(weights, dtype=torch.float32)
    labels = {name: torch.as_tensor(labels[name]) for name in groups}
    model.train()
    for step in range(STEPS):
        index, _ = batch_indices(len(pixels), BATCH, step, seed)
        batch = pixels[index].contiguous(memory_format=torch.channels_last)
        if step % 2:
            batch = batch.flip(3)
        with torch.autocast("cpu", torch.bfloat16):
            _, logits = model(batch)
        losses = [
            F.cross_entropy(
                logits[name].float(),
                labels[name][index],
                reduction="none",
                ignore_index=UNCLEAR.get(name, -100),
            )
            for name in groups
        ]
        loss = (sum(losses) * weights[index]).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model.eval()


def judge(true, predicted, groups):
    """Accuracy, over all and where it is worst; of two answers, the equalised-odds difference."""
    frame = MetricFrame(
        metrics=accuracy_score, y_true=true, y_pred=predicted, sensitive_features=groups
    )
    odds = np.nan
    if len(np.unique(true)) == 2:
        odds = equalized_odds_difference(true, predicted, sensitive_features=groups)
    sizes = pd.crosstab(groups, true).to_numpy()  # a cell that nobody is in counts as 0
    return {
        "accuracy": frame.overall,
        "worst_group": frame.group_min(),
        "gap": frame.difference(),
        "equalized_odds": odds,
        "worst": frame.by_group.idxmin(),
        "tested": len(true),
        "smallest_cell": sizes.min(),
    }


def task_rows(world, logits, test):
    """Errors at every task, compared between its groups."""
    for task, sensitive in TASKS[world.name].items():
        clear = test.labels[task] != UNCLEAR.get(task, -1)
        groups = np.array(world.groups(sensitive))[world.joint(test.labels, sensitive)]
        predicted = logits[task].argmax(1).numpy()
        yield {"task": task} | judge(test.labels[task][clear], predicted[clear], groups[clear])


def confounded_rows(world, logits, test, labels):
    """Errors between genders at what goes with gender, and how much more it goes with it."""
    for task, (attribute, group) in CONFOUNDED.get(world.name, {}).items():
        group = world.attributes[attribute].index(group)
        groups = np.array(world.attributes["gender"])[test.labels["gender"]]
        true = (test.labels[attribute] == group).astype(int)
        clear = test.labels[attribute] != UNCLEAR.get(attribute, -1)
        true, groups = true[clear], groups[clear]
        predicted = (logits[attribute].argmax(1).numpy() == group)[clear].astype(int)
        known = labels[attribute] != UNCLEAR.get(attribute, -1)
        taught = (labels[attribute] == group)[known]
        female = labels["gender"][known] == world.attributes["gender"].index("female")
        yield {"task": task} | judge(true, predicted, groups) | {
            "trained_gap": taught[female].mean() - taught[~female].mean(),
            "exaggeration": between(predicted - true, groups),
        }


def between(values, genders):
    """Mean among women less mean among men."""
    return values[genders == "female"].mean() - values[genders == "male"].mean()


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--world", required=True, choices=sorted(TASKS))
    arguments.add_argument("--photographs", type=Path, required=True, help="data/heads or a zip")
    arguments.add_argument("--heldout", default="heldout", help="split to test on")
    arguments.add_argument("--faces", type=Path, default=Path("runs/faces"))
    arguments.add_argument("--n", type=int, default=2000, help="faces in each file of --faces")
    arguments.add_argument("--seeds", type=int, default=5)
    arguments.add_argument("--out", type=Path, default=Path("data/results/downstream.csv"))
    options = arguments.parse_args()
    world = load_world(options.world)
    maker = FaceMaker(load_world(options.world, dtype=torch.bfloat16), options.n, options.faces)
    generated = {}
    for name, method in (("plain", "plain"), ("fair", "overshoot"), ("guided", "guided")):
        images = np.concatenate([maker.faces(method, seed).images for seed in range(3)])
        generated[name] = images, world.classify(images).labels
    training = read_faces(options.photographs, "train")
    test = read_faces(options.photographs, options.heldout)
    pixels, tasks = to_unit_range(test.images), TASKS[options.world]
    groups = {task: list(world.attributes[task])[: UNCLEAR.get(task)] for task in tasks}
    table = Table(options.out, ["world", "task", "method", "seed"])
    for seed in tqdm(range(options.seeds), desc="seeds"):
        for name, images, labels, weights in training_sets(world, training, generated, seed):
            which = {"world": world.name, "method": name, "seed": seed}
            if all(table.has(task=task, **which) for task in tasks):
                continue
            logits = predict(fit(images, labels, weights, groups, seed), pixels)
            rows = [
                *task_rows(world, logits, test),
                *confounded_rows(world, logits, test, labels),
            ]
            table.add([{**which, "n": len(images), **row} for row in rows])


if __name__ == "__main__":
    main()
