"""Generate many faces with many processes: shards that resume, and are merged at the end.

On one machine or several, each process takes every so-manieth shard. A shard's seed depends on its
number alone, so the faces are the same whoever makes them, and a killed run goes on where it was.

    torchrun --standalone --nproc-per-node 2 -m fairgen_utils.apps.shards --faces 50000 --out faces

does it on the processor of one machine; `accelerate launch` in place of `torchrun` and its option
on one machine with GPUs or, after `accelerate config`, on many that share a folder.

Three jobs run one after the other, each in shards: the pool in which attributes are localized
(`own_world` only; shipped worlds bring theirs), the pilot that weights are fitted on, the faces.
"""

import argparse
import csv
import importlib
import io
import json
import os
import time
import zipfile
import zlib
from pathlib import Path

import diffusers
import numpy as np
import pandas as pd
import torch
from accelerate import PartialState
from PIL import Image
from tqdm import tqdm

from fairgen_utils._checks import check_count, check_target
from fairgen_utils.apps.demo import parse_target
from fairgen_utils.generate import (
    decode,
    latent_shape,
    sample_localized,
    sample_plain,
    start_timestep,
)
from fairgen_utils.load import World, load_world
from fairgen_utils.localize import component_table, localized_mixture, solve_weights
from fairgen_utils.models.own_world import OwnWorld

PILOT_SEED, FACES_SEED = 1, 2  # of the three jobs; the pool has its world's own


def processes():
    """Who else is at work: accelerate's state, told to look for other processes on a CPU, too."""
    return PartialState(cpu=not torch.cuda.is_available())


def run_shards(job, n, make, folder, shard_size, state=None):
    """Make the shards of one job that are not there yet, together with the other processes.

    Parameters
    ----------
    job : str
        Files are called ``JOB_00000.npz`` and so on.
    n : int
        Faces in all.
    make : callable
        ``make(count, shard)`` returns the arrays of a shard with `count` faces, by name. It must
        take its random numbers from `shard`, the shard's number, alone.
    folder : Path
    shard_size : int
    state : accelerate.PartialState, optional

    Returns
    -------
    list of Path
        All shards of the job, in order. Every process returns once all of them are made.
    """
    state = state or processes()
    counts = [min(shard_size, n - start) for start in range(0, n, shard_size)]
    paths = [folder / f"{job}_{shard:05}.npz" for shard in range(len(counts))]
    mine = range(state.process_index, len(counts), state.num_processes)
    look = {"desc": job, "unit": "face", "smoothing": 0, "disable": state.process_index > 0}
    bar = tqdm(total=sum(counts[shard] for shard in mine), **look)  # the first process's own part
    for shard in mine:
        if not paths[shard].exists():
            # written beside and renamed: a kill leaves either a whole shard or none
            temporary = folder / f".{job}_{shard:05}.{os.getpid()}.tmp"
            with temporary.open("wb") as file:
                np.savez(file, **make(counts[shard], shard))
            os.replace(temporary, paths[shard])
        bar.update(counts[shard])
    bar.close()
    state.wait_for_everyone()
    absent = [path.name for path in paths if not path.exists()]
    if absent:
        raise RuntimeError(f"folder: {folder} lacks {absent[:3]}; did another process stop?")
    return paths


def join(paths, name):
    """One array of all shards of a job, along the faces."""
    return np.concatenate([read_shard(path)[name] for path in paths])


def read_shard(path):
    """The arrays of a shard, by name; ValueError if it is damaged."""
    try:
        with np.load(path) as stored:
            return dict(stored)
    except (ValueError, EOFError, OSError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path} is damaged ({error}); delete it, and it is made again") from None


def read_record(path):
    """What a JSON file of a run says; ValueError if it is damaged."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}); delete its folder and start over") from None
    if not isinstance(record, dict):
        raise ValueError(f"{path} is damaged: no record of a run; delete its folder and start over")
    return record


def generate_sharded(
    world, attribute, target, n, folder, seed=0, per_component=60, shard_size=250, plain=False
):
    """Fair faces of a world, in shards: pool, pilot, faces. Safe to kill and to start again.

    Parameters
    ----------
    world : World or OwnWorld
    attribute : str
        Joined by commas: ``"gender,ancestry"``.
    target : array_like, shape (n_groups,)
    n : int
    folder : path
        Made if missing. Shards stay in it until you delete them.
    seed : int
    per_component : int
        Pilot faces of each component.
    shard_size : int
    plain : bool
        Plain sampling instead: no pool, no pilot.

    Returns
    -------
    list of Path
        Shards with ``images``, uint8, and one ``label_NAME`` for each attribute.

    Raises
    ------
    ValueError
        If an argument is amiss, the folder holds a run with other settings, or a file in it is
        damaged.
    """
    target = check_order(world, attribute, target, n, seed, per_component, shard_size)
    state, folder = processes(), Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    _settle(
        folder / "settings.json",
        {
            "world": world.name,
            "attribute": attribute,
            "target": target.tolist(),
            "n": n,
            "seed": seed,
            "per_component": per_component,
            "shard_size": shard_size,
            "method": "plain" if plain else "localized",
            "timestep": world.timestep,
            "overshoot": world.overshoot,
            "num_inference_steps": world.num_inference_steps,
            "torch": torch.__version__,
            "diffusers": diffusers.__version__,
        },
        state,
    )

    def shard_of(mixture, weights, part):
        return lambda count, shard: _make(world, mixture, weights, count, (seed, part, shard))

    if plain:
        return run_shards("faces", n, shard_of(None, None, FACES_SEED), folder, shard_size, state)
    if isinstance(world, OwnWorld):
        _share_pool(world, folder, shard_size, state)
    mixture = localized_mixture(world, attribute).overshoot(world.overshoot)
    k = len(mixture.weights_)
    even = shard_of(mixture, np.full(k, 1 / k), PILOT_SEED)
    paths = run_shards("pilot", k * per_component, even, folder, shard_size, state)
    labels = {name: join(paths, f"label_{name}") for name in world.attributes}
    groups = len(world.groups(attribute))
    table = component_table(join(paths, "components"), world.joint(labels, attribute), k, groups)
    weights = solve_weights(table, target, world.confusion(attribute))
    faces = shard_of(mixture, weights, FACES_SEED)
    return run_shards("faces", n, faces, folder, shard_size, state)


def check_order(world, attribute, target, n, seed, per_component, shard_size):
    """Refuse what cannot be made, before a folder is; the target as an array otherwise."""
    for count in (n, shard_size, per_component):
        check_count(count, "n, shard_size, per_component")
    check_count(seed, "seed", least=0)
    return check_target(target, len(world.groups(attribute)))


def plan(world, n, components, per_component=60, timed=16):
    """What a run will cost, from a few faces made here and now: before hours are spent.

    Parameters
    ----------
    world : World or OwnWorld
    n : int
        Faces wanted.
    components : int
        Gaussians of the mixture, one for each attribute cell.
    per_component : int
        Pilot faces of each.
    timed : int
        Faces that are generated to take the time.

    Returns
    -------
    pandas.DataFrame
        A row for each job: ``faces``, network ``calls`` a face, ``hours`` for one process like
        this one, and ``gigabytes`` of shards on disk. Those of the pool must fit in memory, too:
        the mixture is fitted to all of it.
    """
    check_count(n, "n")
    steps, shape = world.num_inference_steps, latent_shape(world.pipeline)
    timestep, index = start_timestep(world.pipeline, world.timestep, steps)
    full = sample_plain(world.pipeline, timed, 0, steps, progress=False)  # warms up, too
    started = time.perf_counter()
    sample_plain(world.pipeline, timed, 0, steps, progress=False)
    per_call = (time.perf_counter() - started) / timed / steps
    started = time.perf_counter()
    images = decode(world.pipeline, full, progress=False)
    world.classify(images)
    finish = (time.perf_counter() - started) / timed
    jobs = {"pilot": (components * per_component, steps - index), "faces": (n, steps - index)}
    if isinstance(world, OwnWorld):
        jobs = {"pool": (world.pool_size, steps)} | jobs
    rows = []
    for job, (faces, calls) in jobs.items():
        bytes_each = 2 * np.prod(shape) if job == "pool" else images[0].nbytes
        rows.append(
            {
                "job": job,
                "faces": faces,
                "calls": calls,
                "hours": faces * (calls * per_call + finish) / 3600,
                "gigabytes": faces * bytes_each / 1e9,
            }
        )
    return pd.DataFrame(rows).set_index("job")


def merge(paths, out, attributes):
    """One archive of pictures and one table of labels, a shard in memory at a time.

    Parameters
    ----------
    paths : list of Path
        Shards of the faces, in order.
    out : Path
        Folder for ``faces.zip`` (PNG) and ``labels.csv`` (file, group of each attribute).
    attributes : dict of str to sequence of str

    Returns
    -------
    int
        How many faces.
    """
    archive_path, table_path = out / "faces.zip", out / "labels.csv"
    archive_part, table_part = (path.with_suffix(".part") for path in (archive_path, table_path))
    number = 0
    with (
        zipfile.ZipFile(archive_part, "w", zipfile.ZIP_STORED) as archive,
        table_part.open("w", newline="", encoding="utf-8") as table,
    ):
        rows = csv.writer(table)
        rows.writerow(["file", *attributes])
        for path in tqdm(paths, desc="merging", unit="shard", delay=1):
            stored = read_shard(path)
            images = stored["images"]
            labels = {name: stored[f"label_{name}"] for name in attributes}
            for i, image in enumerate(images):
                file = f"{number:06}.png"
                content = io.BytesIO()
                Image.fromarray(image).save(content, "PNG")
                archive.writestr(zipfile.ZipInfo(file), content.getvalue())
                rows.writerow([file, *(attributes[name][labels[name][i]] for name in attributes)])
                number += 1
    os.replace(archive_part, archive_path)
    os.replace(table_part, table_path)
    return number


def _make(world, mixture, weights, count, key):
    seed = int(np.random.SeedSequence(key).generate_state(1)[0])
    steps = world.num_inference_steps
    if mixture is None:
        latents = sample_plain(world.pipeline, count, seed, steps, progress=False)
        components = np.zeros(count, np.int64)
    else:
        latents, components = sample_localized(
            world.pipeline, mixture, count, world.timestep, seed, weights, steps, progress=False
        )
    images = decode(world.pipeline, latents, progress=False)
    labels = world.classify(images).labels
    arrays = {"images": images, "components": components}
    return arrays | {f"label_{name}": values for name, values in labels.items()}


def _share_pool(world, folder, shard_size, state):
    def make(count, shard):
        seed = int(np.random.SeedSequence((world.seed, shard)).generate_state(1)[0])
        steps = world.num_inference_steps
        latents = sample_plain(world.pipeline, count, seed, steps, progress=False)
        labels = world.classify(decode(world.pipeline, latents, progress=False)).labels
        arrays = {"latents": latents.astype(np.float16)}
        return arrays | {f"label_{name}": values for name, values in labels.items()}

    paths = run_shards("pool", world.pool_size, make, folder, shard_size, state)
    labels = {name: join(paths, f"label_{name}") for name in world.attributes}
    world.set_pool(join(paths, "latents"), labels)


def _settle(path, settings, state):
    """Write the settings of a new run; refuse to mix shards of two different ones."""
    if state.is_main_process and not path.exists():
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps(settings, indent=1) + "\n")
        os.replace(temporary, path)
    state.wait_for_everyone()
    found = read_record(path)
    different = {key: found.get(key) for key in settings if found.get(key) != settings[key]}
    if different:
        raise ValueError(
            f"folder: {path.parent} holds a run with other settings ({different}); choose another "
            "folder, or delete this one to start over"
        )


def world_of(name, device, dtype):
    """A shipped world by name, or whatever ``module:function`` returns."""
    if ":" not in name:
        return load_world(name, device=device, dtype=dtype)
    module, _, function = name.partition(":")
    try:
        made = getattr(importlib.import_module(module), function)()
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"world: {name} cannot be called ({error})") from error
    if not isinstance(made, World):
        raise ValueError(f"world: {name} returned {type(made).__name__}; return a world")
    return made


def main(arguments=None):
    parser = argparse.ArgumentParser(
        prog="python -m fairgen_utils.apps.shards",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--world",
        default="heads",
        help="heads, utkface, or module:function of your own that returns a world (default: heads)",
    )
    parser.add_argument("--target", help="as in the demo: gender,ancestry or gender=0.3,0.7")
    # not --n: torchrun would take that for an option of its own
    parser.add_argument("--faces", type=int, default=1000, help="how many (default: 1000)")
    parser.add_argument("--out", type=Path, required=True, help="folder; resumed if begun")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pilot", type=int, default=60, help="pilot faces per component")
    parser.add_argument("--shard-size", type=int, default=250, help="faces in a shard")
    parser.add_argument("--plain", action="store_true", help="plain sampling, for comparison")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    options = parser.parse_args(arguments)
    state = processes()
    try:
        world = world_of(options.world, state.device, getattr(torch, options.dtype))
        attribute, target = parse_target(world, options.target or world.target)
        paths = generate_sharded(
            world,
            attribute,
            target,
            options.faces,
            options.out,
            options.seed,
            options.pilot,
            options.shard_size,
            options.plain,
        )
    except (ValueError, OSError) as error:
        parser.exit(2, f"{error}\n")
    if state.is_main_process:
        n = merge(paths, options.out, world.attributes)
        print(f"{n} faces: {options.out / 'faces.zip'}, {options.out / 'labels.csv'}")


if __name__ == "__main__":
    main()
