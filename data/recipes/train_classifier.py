"""Train the attribute classifier on faces balanced over attribute cells, then calibrate it."""

import json

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.metrics import confusion_matrix
from training import batch_indices, parser, to_unit_range, train

from fairgen_utils._files import write_json
from fairgen_utils.datasets import read_faces
from fairgen_utils.models.classifier import FaceClassifier


def cell_weights(labels, names):
    """One sampling weight per face, so that every observed combination of `names` counts alike."""
    cells = np.stack([labels[name] for name in names], 1)
    _, cell, counts = np.unique(cells, axis=0, return_inverse=True, return_counts=True)
    # a floor for tiny cells: a handful of faces must not fill a whole share of each batch
    weights = 1 / np.maximum(counts, 50)
    return torch.as_tensor(weights[cell])


def augment(pixels, generator):
    """Mirror half of the faces; shift, brighten and blur a little, as generated faces vary."""
    n = len(pixels)
    mirror = torch.rand(n, 1, 1, 1, generator=generator) < 0.5
    pixels = torch.where(mirror, pixels.flip(3), pixels)
    dy, dx = torch.randint(-3, 4, (2,), generator=generator).tolist()
    pixels = torch.roll(F.pad(pixels, (3, 3, 3, 3), "replicate"), (dy, dx), (2, 3))
    pixels = pixels[..., 3:-3, 3:-3]
    blurred = F.avg_pool2d(F.pad(pixels, (1, 1, 1, 1), "replicate"), 3, 1)
    amount = torch.rand(n, 1, 1, 1, generator=generator)
    gain = 1 + 0.15 * torch.randn(n, 1, 1, 1, generator=generator)
    shift = 0.08 * torch.randn(n, 3, 1, 1, generator=generator)
    return ((pixels + amount * (blurred - pixels)) * gain + shift).clamp(-1, 1)


def predict(model, pixels):
    """Logits of every attribute for many faces."""
    device = model.heads[next(iter(model.heads))].weight.device
    with torch.inference_mode():
        batches = [model(batch.to(device))[1] for batch in pixels.split(250)]
    return {name: torch.cat([b[name].cpu() for b in batches]) for name in batches[0]}


def fit_temperature(logits, labels):
    """The divisor of the logits that minimises the negative log-likelihood of `labels`."""
    grid = torch.linspace(0.3, 5, 200)
    losses = torch.stack([F.cross_entropy(logits / t, labels) for t in grid])
    return round(grid[losses.argmin()].item(), 3)


def expected_calibration_error(logits, labels, bins=10):
    """Mean distance of confidence from accuracy over equal-width bins (Guo et al., 2017)."""
    confidence, predicted = logits.softmax(1).max(1)
    correct = (predicted == labels).double()
    which = (confidence * bins).long().clamp(max=bins - 1)
    gaps = [
        (which == b).double().mean() * (confidence[which == b].mean() - correct[which == b].mean())
        for b in which.unique()
    ]
    return torch.stack(gaps).abs().sum().item()


def main():
    arguments = parser(__doc__, steps=2500, batch_size=128, learning_rate=2e-3)
    arguments.add_argument("--heldout", default="heldout", help="split to calibrate and judge on")
    arguments.add_argument("--balance", nargs="+", default=["gender", "race"])
    arguments.add_argument("--channels", nargs="+", type=int, default=[32, 64, 128, 192])
    arguments.add_argument(
        "--init",
        help="classifier folder to start from instead of random weights; with --steps 0 it is "
        "calibrated and judged anew and learns nothing",
    )
    options = arguments.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    faces = read_faces(options.faces, options.split)
    pixels = to_unit_range(faces.images)
    labels = {name: torch.as_tensor(values) for name, values in faces.labels.items()}
    weights = cell_weights(faces.labels, options.balance)
    groups = {name: list(names) for name, names in faces.attributes.items()}
    if options.init:
        classifier = FaceClassifier.from_pretrained(options.init).float()
    else:
        classifier = FaceClassifier(groups, options.channels)
    classifier = classifier.to(options.device, memory_format=torch.channels_last)

    def loss_of_step(step):
        index, generator = batch_indices(
            len(pixels), options.batch_size, step, options.seed, weights
        )
        batch = augment(pixels[index], generator).to(options.device)
        classifier.train()
        with torch.autocast(options.device, torch.bfloat16):
            _, logits = classifier(batch)
        return sum(
            F.cross_entropy(logits[name].float(), labels[name][index].to(options.device))
            for name in groups
        )

    average = train(classifier, loss_of_step, options).float().eval()
    judge(average, read_faces(options.faces, options.heldout), options.run)


def judge(classifier, heldout, run):
    """Calibrate on one half of the held-out faces, report on the other, save both."""
    half = len(heldout) // 2
    order = torch.as_tensor(np.random.default_rng(0).permutation(len(heldout)))
    logits = predict(classifier, to_unit_range(heldout.images)[order])
    report, temperatures = {"n": len(heldout) - half}, {}
    for name, groups in heldout.attributes.items():
        truth = torch.as_tensor(heldout.labels[name])[order]
        temperatures[name] = fit_temperature(logits[name][:half], truth[:half])
        scores, truth = logits[name][half:] / temperatures[name], truth[half:]
        matrix = confusion_matrix(truth, scores.argmax(1), labels=range(len(groups)))
        recall = matrix.diagonal() / matrix.sum(1)
        report[name] = {
            "accuracy": round(float(matrix.diagonal().sum() / matrix.sum()), 4),
            "balanced_accuracy": round(float(recall.mean()), 4),
            "recall": dict(zip(groups, recall.round(4).tolist(), strict=True)),
            "confusion": matrix.tolist(),
            "calibration_error": round(expected_calibration_error(scores, truth), 4),
        }
    classifier.register_to_config(temperatures=temperatures)
    classifier.half().save_pretrained(run / "classifier")
    write_json(run / "report.json", report)
    print(json.dumps({k: v["accuracy"] for k, v in report.items() if k != "n"}))


if __name__ == "__main__":
    main()
