"""Generate many faces with many processes: shards that resume, and are merged at the end.

On one machine or several, each process takes every so-manieth shard. A shard is whole batches of
the one `Sampler`, whose random numbers depend on a batch's place alone: so the faces are the same
whoever makes them, the same as in the demo, and a killed run goes on where it was.

    torchrun --standalone --nproc-per-node 2 -m fairgen_utils shards --faces 50000 --out faces

does it on the processor of one machine; `accelerate launch` in place of `torchrun` and its option
on one machine with GPUs or, after `accelerate config`, on many that share a folder.

Up to three jobs run one after the other, each in shards: the pool in which attributes are localized
(`own_world` only; shipped worlds bring theirs), the pilot (method localized only), the faces.
"""

import csv
import hashlib
import zipfile
import zlib
from pathlib import Path

import numpy as np
import torch
from accelerate import PartialState
from tqdm import tqdm

from fairgen_utils._checks import check_count
from fairgen_utils._files import (
    as_png,
    check_same,
    fingerprint,
    read_json,
    whole_file,
    write_arrays,
    write_json,
)
from fairgen_utils.apps.order import PILOT_SEED, announce, even, read_order
from fairgen_utils.generate import Sampler
from fairgen_utils.localize import component_table, solve_weights
from fairgen_utils.models.diffusion import decode
from fairgen_utils.models.own_world import OwnWorld

SHARD_SIZE = 256


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
        ``make(count, shard, on_batch)`` returns the arrays of a shard with `count` faces, by name,
        and calls ``on_batch(faces)`` as they come. It must take its random numbers from `shard`,
        the shard's number, alone.
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
    made = sum(counts[shard] for shard in mine if paths[shard].exists())
    look = {"desc": job, "unit": "face", "initial": made, "disable": state.process_index > 0}
    # the first process's own part
    with tqdm(total=sum(counts[shard] for shard in mine), **look) as bar:
        for shard in mine:
            if not paths[shard].exists():
                write_arrays(paths[shard], **make(counts[shard], shard, bar.update))
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


def generate_sharded(order, folder, shard_size=SHARD_SIZE):
    """The faces of an order, in shards. Safe to kill and to start again.

    Parameters
    ----------
    order : Order
    folder : path
        Made if missing. Shards stay in it until you delete them.
    shard_size : int
        A multiple of the sampler's batches, 64: a shard holds whole ones.

    Returns
    -------
    list of Path
        Shards with ``images``, uint8, one ``label_NAME`` for each attribute and, of faces that
        were led to cells or started from components, ``components``.

    Raises
    ------
    ValueError
        If an argument is amiss, the folder holds a run with other settings, or a file in it is
        damaged.
    """
    check_shard_size(order.world, shard_size)
    state, folder = processes(), Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    settings = fingerprint(order.world, order.settings | {"shard_size": shard_size})
    _settle(folder / "settings.json", settings, state)
    if isinstance(order.world, OwnWorld) and order.method != "plain":
        if order.world.pool is None:
            _share_pool(order.world, folder, shard_size, state)
        latents = np.ascontiguousarray(order.world.pool[0])  # somebody may have brought their own
        _settle(folder / "pool.json", {"pool": hashlib.sha256(latents).hexdigest()}, state)
    sampler = order.unfitted()
    if order.method == "localized":
        sampler = _fit_to_pilot(order, sampler, folder, shard_size, state)
    make = _shard_of(sampler, order.seed, shard_size)
    return run_shards("faces", order.n, make, folder, shard_size, state)


def check_shard_size(world, shard_size):
    """A shard holds whole batches: those alone are the same whoever makes them."""
    batch = Sampler(world).batch_size
    if check_count(shard_size, "shard_size") % batch:
        raise ValueError(
            f"shard_size: found {shard_size}; give a multiple of {batch}, the faces of a batch"
        )


def _settle(path, settings, state):
    """Write the settings of a new run; refuse to mix shards of two different ones."""
    if state.is_main_process and not path.exists():
        write_json(path, settings)
    state.wait_for_everyone()
    check_same(read_json(path), settings, f"folder: {path.parent}")


def _shard_of(sampler, seed, shard_size):
    def make(count, shard, on_batch):
        done = 0

        def moved(now, n):
            nonlocal done
            on_batch(now - done)
            done = now

        first = shard * shard_size // sampler.batch_size
        look = {"progress": False, "on_batch": moved, "first_batch": first}
        sample = sampler.draw(count, seed, **look)
        arrays = {"images": sample.images}
        if sample.components is not None:
            arrays["components"] = sample.components
        labels = sample.predictions.labels.items()
        return arrays | {f"label_{name}": values for name, values in labels}

    return make


def _fit_to_pilot(order, sampler, folder, shard_size, state):
    """The sampler with weights fitted to a pilot; as `localize.fit_weights` does, in shards."""
    world, k = order.world, len(sampler.weights)
    pilot = _shard_of(sampler.with_weights(even(k)), PILOT_SEED + order.seed, shard_size)
    paths = run_shards("pilot", k * order.per_component, pilot, folder, shard_size, state)
    labels = {name: join(paths, f"label_{name}") for name in world.attributes}
    groups = len(world.groups(order.attribute))
    labels = world.joint(labels, order.attribute)
    table = component_table(join(paths, "components"), labels, k, groups)
    weights = solve_weights(table, order.target, world.confusion(order.attribute))
    return sampler.with_weights(weights, preparation=sampler.nfe * len(labels))


def _share_pool(world, folder, shard_size, state):
    """The world's pool, made in shards: the same as it would make alone."""
    sampler = Sampler(world)

    def make(count, shard, on_batch):
        parts, size = [], sampler.batch_size
        for start in range(0, count, size):
            first, n = (shard * shard_size + start) // size, min(size, count - start)
            look = {"progress": False, "first_batch": first}
            parts.append(sampler.latents(n, world.seed, **look)[0].astype(np.float16))
            on_batch(n)
        latents = np.concatenate(parts)
        labels = world.classify(decode(world.pipeline, latents, progress=False)).labels
        return {"latents": latents} | {f"label_{name}": values for name, values in labels.items()}

    paths = run_shards("pool", world.pool_size, make, folder, shard_size, state)
    labels = {name: join(paths, f"label_{name}") for name in world.attributes}
    world.set_pool(join(paths, "latents"), labels)


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
    number = 0
    with whole_file(out / "labels.csv") as table_path, whole_file(out / "faces.zip") as zip_path:
        with (
            zipfile.ZipFile(zip_path, "w", zipfile.ZIP_STORED) as archive,
            table_path.open("w", newline="", encoding="utf-8") as table,
        ):
            rows = csv.writer(table)
            rows.writerow(["file", *attributes])
            for path in tqdm(paths, desc="merging", unit="shard", delay=1):
                stored = read_shard(path)
                labels = {name: stored[f"label_{name}"] for name in attributes}
                for i, image in enumerate(stored["images"]):
                    file = f"{number:06}.png"
                    # a ZipInfo has a constant date: the same faces make the same file
                    archive.writestr(zipfile.ZipInfo(file), as_png(image))
                    names = (groups[labels[name][i]] for name, groups in attributes.items())
                    rows.writerow([file, *names])
                    number += 1
    return number


def command(options):
    """`python -m fairgen_utils shards`."""
    state = processes()
    order = read_order(options, options.faces, state.device, options.dtype)
    check_shard_size(order.world, options.shard_size)
    if state.is_main_process:
        announce(order, processes=state.num_processes)
    paths = generate_sharded(order, options.out, options.shard_size)
    if state.is_main_process:
        n = merge(paths, options.out, order.world.attributes)
        print(f"{n} faces: {options.out / 'faces.zip'}, {options.out / 'labels.csv'}")
