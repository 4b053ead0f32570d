"""Assemble a world: trained parts in, a folder that load_world reads out.

Writes NAME/generator, NAME/classifier, latents.npz (where attributes are localized),
reference.npz (what quality is judged against) and, last, world.json with everybody's checksum.
"""

import argparse
import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from diffusers import DiffusionPipeline
from training import joined_log

from fairgen_utils._files import write_whole
from fairgen_utils.datasets import read_faces
from fairgen_utils.generate import Sampler
from fairgen_utils.judge import balanced_moments
from fairgen_utils.load import ShippedWorld
from fairgen_utils.models.classifier import FaceClassifier
from fairgen_utils.models.diffusion import decode, encode

# tables of data/results with rows about a world that a new build makes void
MEASURED = (
    "fairness",
    "shares",
    "timesteps",
    "overshoot",
    "guidance",
    "certainty",
    "embedding",
    "embedding_groups",
    "embedding_pairs",
    "groups",
    "group_changes",
    "differences",
    "judges",
    "ablations",
    "brightness",
    "downstream",
    "components",
    "speed",
    "memorization",
    "sampler",
)


def columns(labels):
    """Labels by attribute -> one int8 column per attribute."""
    return np.stack(list(labels.values()), 1).astype(np.int8)


def write_training_results(name, runs, results):
    """Training logs of the three parts and the classifier's report, as results of the course."""
    results.mkdir(parents=True, exist_ok=True)
    path, rows = results / f"{name}_training.csv", []
    shipped = pd.read_csv(path) if path.exists() else pd.DataFrame({"part": []})
    for part in ("autoencoder", "diffusion", "classifier"):
        # a part that was trained on from the shipped one has its log there
        earlier = shipped[shipped["part"] == part].drop(columns=["world", "part"], errors="ignore")
        earlier = [row.dropna().to_dict() for _, row in earlier.iterrows()]
        joined = joined_log(runs / part, earlier)
        rows += [{"world": name, "part": part, **row} for row in joined]
    log = pd.DataFrame(rows).convert_dtypes()  # whole numbers stay whole beside gaps
    write_whole(path, log.to_csv(index=False, lineterminator="\n"))
    shutil.copy(runs / "classifier" / "report.json", results / f"{name}_classifier.json")


def forget_origin(folder):
    """Drop the path that each part was loaded from, which diffusers writes into its config."""
    for path in folder.rglob("config.json"):
        config = json.loads(path.read_text())
        config.pop("_name_or_path", None)
        path.write_text(json.dumps(config, indent=2) + "\n")


def forget_measurements(name, results):
    """Drop what was measured on an earlier build of the world; what is about people stays."""
    for file in MEASURED:
        path = results / f"{file}.csv"
        if path.exists():
            table = pd.read_csv(path)
            stays = table["world"] != name
            if "method" in table:
                stays |= table["method"] == "people"
            table[stays].to_csv(path, index=False)


def files_of(folder, part):
    """The files of a part, as paths relative to the world's folder."""
    found = sorted(path for path in (folder / part).rglob("*") if path.is_file())
    return [path.relative_to(folder).as_posix() for path in found]


def checksum(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_reference(world, heldout, path, photographs):
    """What faces are judged against: held-out labels, what the classifier says, its features.

    Of photographs only statistics are kept: of all, every cell of the target weighted alike, and
    of every group, weighted alike within it.
    """
    predicted = world.classify(heldout.images, progress=True)
    features, cells = predicted.features, world.joint(heldout.labels, world.target)
    mean, covariance = balanced_moments(features, cells)
    reference = {
        "labels": columns(heldout.labels),
        "predicted": columns(predicted.labels),
        "mean": mean,
        "covariance": covariance,
        "n": len(heldout),
    }
    if not photographs:
        reference["features"] = features.astype(np.float16)
    else:
        for name in world.cell_attributes:
            members = [heldout.labels[name] == g for g in range(len(world.attributes[name]))]
            of_groups = [balanced_moments(features[m], cells[m]) for m in members]
            means, covariances = (np.array(part) for part in zip(*of_groups, strict=True))
            reference[f"{name}_mean"] = means
            reference[f"{name}_covariance"] = covariances.astype(np.float32)
    np.savez_compressed(path, **reference)


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--name", required=True)
    arguments.add_argument("--faces", type=Path, required=True, help="heads folder or UTKFace zip")
    arguments.add_argument(
        "--runs", type=Path, required=True, help="holds autoencoder/, diffusion/, classifier/"
    )
    arguments.add_argument("--out", type=Path, required=True, help="for example data/heads")
    arguments.add_argument("--results", type=Path, default=Path("data/results"))
    arguments.add_argument("--reference", default="heldout", help="held-out split to judge by")
    arguments.add_argument("--cells", nargs="+", default=["gender", "race", "age"])
    arguments.add_argument("--target", default="gender,race", help="evened out by default")
    arguments.add_argument("--timestep", type=int, default=489)
    arguments.add_argument(
        "--extrapolation", type=float, default=0.0, help="see overshoot.csv"
    )
    arguments.add_argument("--num-inference-steps", type=int, default=15)
    arguments.add_argument(
        "--photographs",
        action="store_true",
        help="the faces may not be published: latents come from generated faces, the reference "
        "is kept as statistics only",
    )
    arguments.add_argument("--pool", type=int, default=6000, help="generated faces to localize in")
    arguments.add_argument(
        "--dtype", choices=("float32", "bfloat16"), default="float32", help="of the generator"
    )
    arguments.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = arguments.parse_args()

    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "world.json").unlink(missing_ok=True)  # no world until every part is in place
    sources = {
        "generator": options.runs / "diffusion" / "generator",
        "classifier": options.runs / "classifier" / "classifier",
    }
    for part, source in sources.items():
        shutil.rmtree(options.out / part, ignore_errors=True)
        shutil.copytree(source, options.out / part)
        forget_origin(options.out / part)
    write_training_results(options.name, options.runs, options.results)
    forget_measurements(options.name, options.results)
    # the half-precision weights that are shipped, not those that were trained
    pipeline = DiffusionPipeline.from_pretrained(sources["generator"])
    pipeline = pipeline.to(getattr(torch, options.dtype))
    classifier = FaceClassifier.from_pretrained(sources["classifier"]).float().eval()
    train = read_faces(options.faces, "train")
    counts = np.zeros([len(train.attributes[name]) for name in options.cells], int)
    np.add.at(counts, tuple(train.labels[name] for name in options.cells), 1)
    world = ShippedWorld(
        name=options.name,
        folder=options.out,
        attributes=train.attributes,
        cell_attributes=tuple(options.cells),
        train_counts=counts,
        pipeline=pipeline.to(options.device),
        classifier=classifier.to(options.device),
        target=tuple(options.target.split(",")),
        timestep=options.timestep,
        num_inference_steps=options.num_inference_steps,
        extrapolation=options.extrapolation,
    )

    if options.photographs:
        # as the generator makes them, none left out: a selection would hand labels to the methods
        # that must do without
        latents, _ = Sampler(world).latents(options.pool, 1_000_000)
        images = decode(pipeline, latents)
    else:
        images, latents = train.images, encode(pipeline, train.images)
    labels = columns(world.classify(images, progress=True).labels)
    np.savez_compressed(
        options.out / "latents.npz", latents=latents.astype(np.float16), labels=labels
    )

    heldout = read_faces(options.faces, options.reference)
    write_reference(world, heldout, options.out / "reference.npz", options.photographs)

    files = [f"{n}.{kind}" for n in ("train", "reference") for kind in ("zip", "csv")]
    files = [f for f in files if (options.out / f).is_file()] + ["latents.npz", "reference.npz"]
    files += files_of(options.out, "generator") + files_of(options.out, "classifier")
    description = {
        "name": options.name,
        "attributes": train.attributes,
        "cell_attributes": options.cells,
        "train_counts": counts.tolist(),
        "target": options.target,
        "timestep": options.timestep,
        "num_inference_steps": options.num_inference_steps,
        "extrapolation": options.extrapolation,
        # until study_guidance.py --choose has measured better ones; of 15 steps even in log-SNR
        "strength": 4.0,
        "first_guided_step": 5,
        "sha256": {f: checksum(options.out / f) for f in files},
    }
    (options.out / "world.json").write_text(json.dumps(description, indent=1) + "\n")


if __name__ == "__main__":
    main()
