"""Make a dataset of faces with the shares you choose, or measure the shares of any folder of faces.

    python -m fairgen_utils generate --target gender,ancestry --n 5000 --out faces
    python -m fairgen_utils measure faces/images

`generate` writes images/, labels.csv and provenance.json. Stop it when you like: the same command
goes on where it was. `measure` reads pictures, and changes nothing in their folder.
"""

import argparse
import hashlib
import json
import os
import platform
import shutil
import sys
from pathlib import Path

import diffusers
import numpy as np
import pandas as pd
import torch
from filelock import FileLock, Timeout
from PIL import Image
from tqdm import tqdm

from fairgen_utils import show
from fairgen_utils.apps.demo import make_folder, parse_target
from fairgen_utils.apps.shards import (
    check_order,
    generate_sharded,
    read_record,
    read_shard,
    world_of,
)
from fairgen_utils.datasets import read_pictures
from fairgen_utils.judge import audit_fairness
from fairgen_utils.load import Predictions, best_device
from fairgen_utils.measure import correct_shares, share_intervals, shares

CHUNK = 2000  # pictures in memory at a time


WORLD_HELP = "heads, utkface, or module:function of yours that returns a world (default: heads)"


def make_dataset(world, attribute, target, n, out, seed=0, per_component=60, shard_size=250):
    """Fair faces in a folder: ``images/``, ``labels.csv``, ``provenance.json``, in that order.

    Shards are kept in ``shards/`` until all three are there, so that a killed run goes on.

    Parameters
    ----------
    world : World or OwnWorld
    attribute : str
        Joined by commas: ``"gender,ancestry"``.
    target : array_like, shape (n_groups,)
    n : int
    out : path
        New, or the folder of the same run begun before.
    seed, per_component, shard_size : int
        As in `shards.generate_sharded`.

    Returns
    -------
    dict
        What ``provenance.json`` holds: settings, versions, SHA-256 of the table and of the
        pictures' files one after the other.

    Raises
    ------
    ValueError
        If an argument is amiss, the folder holds something else or a damaged file, or another run
        is at work in it.
    """
    target = check_order(world, attribute, target, n, seed, per_component, shard_size)
    out = Path(out)
    ours = {"images", "labels.csv", "labels.csv.part", "shards", "provenance.json", ".lock"}
    if out.exists() and (found := sorted({path.name for path in out.iterdir()} - ours)):
        raise ValueError(f"out: {out} already holds {found[:3]}; choose a new folder")
    out.mkdir(parents=True, exist_ok=True)
    wanted = {
        "world": world.name,
        "attribute": attribute,
        "target": target.tolist(),
        "n": n,
        "seed": seed,
        "per_component": per_component,
        "shard_size": shard_size,
    }
    try:
        with FileLock(out / ".lock", timeout=0):
            return _make_dataset(world, wanted, out)
    except Timeout:
        raise ValueError(f"out: another run is at work in {out}; wait for it") from None


def _make_dataset(world, wanted, out):
    record = out / "provenance.json"
    if record.exists():
        made = read_record(record)
        different = {key: made.get(key) for key in wanted if made.get(key) != wanted[key]}
        if different:
            raise ValueError(f"out: {out} holds another dataset ({different}); choose a new folder")
        shutil.rmtree(out / "shards", ignore_errors=True)  # a kill may have come just before
        return made
    settings = {key: value for key, value in wanted.items() if key != "world"}
    paths = generate_sharded(world, folder=out / "shards", **settings)
    digest = _write_images(paths, out, world.attributes)
    made = wanted | {
        "groups": list(world.groups(wanted["attribute"])),
        "timestep": world.timestep,
        "overshoot": world.overshoot,
        "num_inference_steps": world.num_inference_steps,
        "labels": "read by the world's classifier; perceived categories, not people's identities",
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "diffusers": diffusers.__version__,
        },
        "sha256": {
            "images": digest,
            "labels.csv": hashlib.sha256((out / "labels.csv").read_bytes()).hexdigest(),
        },
    }
    _write_whole(record, (json.dumps(made, indent=1) + "\n").encode())
    shutil.rmtree(out / "shards")
    return made


def _write_images(paths, out, attributes):
    """Pictures and their table; the digest of all pictures' files in order."""
    folder, digest, number, tables = out / "images", hashlib.sha256(), 0, []
    folder.mkdir(exist_ok=True)
    for path in tqdm(paths, desc="writing pictures", unit="shard", delay=2):
        stored = read_shard(path)
        images = stored["images"]
        labels = {name: np.take(attributes[name], stored[f"label_{name}"]) for name in attributes}
        files = [f"{number + i:06}.png" for i in range(len(images))]
        for file, image in zip(files, images, strict=True):
            Image.fromarray(image).save(folder / file)
            digest.update((folder / file).read_bytes())
        tables.append(pd.DataFrame({"file": files} | labels))
        number += len(images)
    part = out / "labels.csv.part"
    pd.concat(tables).to_csv(part, index=False)
    os.replace(part, out / "labels.csv")
    return digest.hexdigest()


def measure_folder(world, path):
    """Shares of every attribute among the pictures of a folder or zip, by the classifier's word.

    Parameters
    ----------
    world : World
        Its classifier reads the pictures, each cut to a square and scaled; they should show faces
        as close as the world's own.
    path : path

    Returns
    -------
    shares : pandas.DataFrame
        A row for each group: ``attribute``, ``group``, ``n``, ``share``, 95 % interval ``low``,
        ``high``, and ``corrected`` for the classifier's errors on the world's own faces.
    fairness : pandas.DataFrame
        A row for each attribute, as `audit.audit_fairness` against even shares.
    """
    pictures, found = read_pictures(path), []
    for start in tqdm(range(0, len(pictures), CHUNK), desc="classifying", delay=2):
        found.append(world.classify(pictures[start : start + CHUNK]).labels)
    labels = {name: np.concatenate([part[name] for part in found]) for name in world.attributes}
    rows, audits = [], []
    for name, groups in world.attributes.items():
        measured, k = shares(labels[name], len(groups)), len(groups)
        corrected = correct_shares(measured, world.confusion(name))
        ends = share_intervals(labels[name], k)
        for g, group in enumerate(groups):
            row = {"attribute": name, "group": group, "n": len(pictures), "share": measured[g]}
            rows.append(row | {"low": ends[g, 0], "high": ends[g, 1], "corrected": corrected[g]})
        audits.append(
            {"attribute": name} | audit_fairness(world, Predictions(labels, {}, None), name)
        )
    return pd.DataFrame(rows), pd.DataFrame(audits)


def _write_whole(path, content):
    """Written beside and renamed: a kill leaves either the old file or the new one."""
    path.with_suffix(".part").write_bytes(content)
    os.replace(path.with_suffix(".part"), path)


def _generate(options):
    device = options.device or best_device()
    world = world_of(options.world, device, getattr(torch, options.dtype))
    attribute, target = parse_target(world, options.target or world.target)
    world.confusion(attribute)  # before hours of work: can the classifier tell them apart?
    made = make_dataset(
        world, attribute, target, options.n, options.out, options.seed, options.pilot
    )
    table = pd.read_csv(options.out / "labels.csv", keep_default_na=False)
    for name in world.names(attribute):
        counts = table[name].value_counts()
        print(
            f"{name}: "
            + ", ".join(f"{group} {counts.get(group, 0)}" for group in world.groups(name))
        )
    print(f"{made['n']} faces as the classifier reads them: {options.out / 'images'}")


def _measure(options):
    world = world_of(options.world, "cpu", torch.float32)
    make_folder(options.out)
    table, fairness = measure_folder(world, options.folder)
    panels, alt = [], []
    for name, rows in table.groupby("attribute", sort=False):
        groups = rows["group"].tolist()
        series = {"measured": (show.FAIR, rows["share"], rows[["low", "high"]].to_numpy())}
        panels.append((name, groups, series, np.full(len(groups), 1 / len(groups))))
        alt += [f"{row.group} {row.share:.2f}" for row in rows.itertuples()]
    figure = show.share_panels(panels, f"{options.folder.name}: {table['n'].iloc[0]} pictures")
    path = options.out / "shares.png"
    _write_whole(path, show.picture(figure, "Shares: " + ", ".join(alt)).data)
    _write_whole(options.out / "shares.csv", table.round(5).to_csv(index=False).encode())
    print(table.round(3).to_string(index=False), end="\n\n")
    columns = ["attribute", "fd_corrected", "fd_corrected_low", "fd_corrected_high", "fd_floor95"]
    print(fairness[columns].round(3).to_string(index=False))
    print(
        "\nFD: distance from even shares, corrected for the classifier's errors on the world's own "
        "faces; on other pictures it errs more. Labels are what it perceives, not identities.\n"
        f"{path}\n{options.out / 'shares.csv'}"
    )


def main(arguments=None):
    """Read the command line; exit status 2 for bad input, 130 when interrupted."""
    look = {"formatter_class": argparse.RawDescriptionHelpFormatter, "allow_abbrev": False}
    parser = argparse.ArgumentParser(prog="python -m fairgen_utils", description=__doc__, **look)
    commands = parser.add_subparsers(title="commands", required=True)
    make = commands.add_parser("generate", help="faces with shares of your choice", **look)
    make.add_argument("--world", default="heads", help=WORLD_HELP)
    make.add_argument(
        "--target",
        help="attributes to even out jointly (gender,ancestry), or shares in the order of the "
        "world's groups (gender=0.3,0.7); default: the world's own target",
    )
    make.add_argument("--n", type=int, default=1000, help="how many faces (default: 1000)")
    make.add_argument("--out", type=Path, required=True, help="new folder, or one begun before")
    make.add_argument("--seed", type=int, default=0, help="same seed, same faces (default: 0)")
    make.add_argument("--pilot", type=int, default=60, help="pilot faces per component")
    make.add_argument("--device", help="cuda, mps or cpu (default: the fastest that is there)")
    make.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    make.set_defaults(run=_generate)
    read = commands.add_parser("measure", help="shares in a folder or zip of pictures", **look)
    read.add_argument("folder", type=Path, help="pictures: .jpg, .jpeg, .png; folders inside, too")
    read.add_argument("--world", default="heads", help=WORLD_HELP)
    read.add_argument("--out", type=Path, default=Path("outputs"), help="default: outputs/")
    read.set_defaults(run=_measure)
    options = parser.parse_args(arguments)
    try:
        options.run(options)
    except (ValueError, OSError) as error:
        parser.exit(2, f"{error}\n")
    except KeyboardInterrupt:
        parser.exit(130, "interrupted; generate goes on where it was if given again\n")


if __name__ == "__main__":
    sys.exit(main())
