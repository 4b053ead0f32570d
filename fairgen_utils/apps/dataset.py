"""Datasets: the faces of an order in a folder, with their labels and where they came from."""

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
from filelock import FileLock, Timeout
from tqdm import tqdm

from fairgen_utils._files import (
    check_same,
    fingerprint,
    provenance,
    read_json,
    sweep,
    write_json,
    write_pictures,
    write_whole,
)
from fairgen_utils.apps.order import announce, read_order
from fairgen_utils.apps.shards import generate_sharded, read_shard
from fairgen_utils.models.pipeline import best_device

SHARD_SIZE = 64  # faces that a kill can cost
OURS = {"images", "pairs", "labels.csv", "shards", "plain_shards", "provenance.json", ".lock"}


def make_dataset(order, out, shard_size=SHARD_SIZE, pairs=False):
    """Faces in a folder: ``images/``, ``labels.csv``, ``provenance.json``, in that order.

    Shards are kept in ``shards/`` until all three are there, so that a killed run goes on.

    Parameters
    ----------
    order : Order
    out : path
        New, or the folder of the same run begun before.
    shard_size : int
        As in `shards.generate_sharded`.
    pairs : bool
        Also ``pairs/``: each face as plain sampling makes it, on the left, and guided, on the
        right. The table then says in ``plain_NAME`` what the classifier reads on the left.

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
    check_pairs(order, pairs)
    out = Path(out)
    if out.exists():
        found = {path.name for path in out.iterdir() if not path.name.endswith(".tmp")}
        if strange := sorted(found - OURS):
            raise ValueError(f"out: {out} already holds {strange[:3]}; choose a new folder")
    out.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(out / ".lock", timeout=0):
            return _make_dataset(order, out, shard_size, pairs)
    except Timeout:
        raise ValueError(f"out: another run is at work in {out}; wait for it") from None


def check_pairs(order, pairs):
    """Pairs start from the same noise, which only guided faces share with plain ones."""
    if pairs and order.method != "guided":
        raise ValueError(
            f"pairs: {order.method} faces have no plain counterpart; pairs go with method guided"
        )


def _make_dataset(order, out, shard_size, pairs):
    for folder in (out, out / "images", out / "pairs"):
        sweep(folder)
    record, settings = out / "provenance.json", order.settings | {"pairs": pairs}
    if record.exists():
        made = read_json(record)
        check_same(made, fingerprint(order.world, settings), f"out: {out}")
    else:
        shards = [generate_sharded(order, out / "shards", shard_size)]
        if pairs:
            shards.append(generate_sharded(order.plain(), out / "plain_shards", shard_size))
        digest = _write_images(shards, out, order.world.attributes)
        told = {"groups": list(order.world.groups(order.attribute))}
        table = hashlib.sha256((out / "labels.csv").read_bytes()).hexdigest()
        told["sha256"] = {"images": digest, "labels.csv": table}
        made = provenance(order.world, settings) | told
        write_json(record, made)
    for folder in ("shards", "plain_shards"):  # a kill may have come just before
        shutil.rmtree(out / folder, ignore_errors=True)
    return made


def _write_images(shards, out, attributes):
    """Pictures and their table; the digest of all pictures' files in order."""
    digest, tables, number = hashlib.sha256(), [], 0
    (out / "images").mkdir(exist_ok=True)
    parts = list(zip(*shards, strict=True))
    for paths in tqdm(parts, desc="writing pictures", unit="shard", delay=2):
        stored = read_shard(paths[0])
        files = write_pictures(out / "images", stored["images"], number)
        for file in files:
            digest.update((out / "images" / file).read_bytes())
        columns = {"file": files} | _labels(stored, attributes)
        if len(paths) > 1:
            plain = read_shard(paths[1])
            (out / "pairs").mkdir(exist_ok=True)
            both = np.concatenate([plain["images"], stored["images"]], axis=2)
            write_pictures(out / "pairs", both, number)
            columns |= _labels(plain, attributes, "plain_")
        tables.append(pd.DataFrame(columns))
        number += len(files)
    write_whole(out / "labels.csv", pd.concat(tables).to_csv(index=False, lineterminator="\n"))
    return digest.hexdigest()


def _labels(stored, attributes, prefix=""):
    return {
        f"{prefix}{name}": np.take(groups, stored[f"label_{name}"])
        for name, groups in attributes.items()
    }


def command(options):
    """`python -m fairgen_utils generate`."""
    device = options.device or ("cpu" if ":" in options.world else best_device())
    order = read_order(options, options.n, device, options.dtype)
    check_pairs(order, options.pairs)
    if not (options.out / "provenance.json").exists():
        announce(order, *[order.plain()] * options.pairs)
    made = make_dataset(order, options.out, pairs=options.pairs)
    table = pd.read_csv(options.out / "labels.csv", keep_default_na=False)
    for name in order.attribute:
        counts = table[name].value_counts()
        told = [f"{group} {counts.get(group, 0)}" for group in order.world.attributes[name]]
        print(f"{name}: {', '.join(told)}")
    print(f"{made['n']} faces as the classifier reads them: {options.out / 'images'}")
    if options.pairs:
        print(f"plain and guided, left and right: {options.out / 'pairs'}")
