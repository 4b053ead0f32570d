"""Export: a run's faces as files, and the same faces again from their settings."""

import argparse
import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw, ImageFont
from tqdm import tqdm

from fairgen_utils import show
from fairgen_utils._files import as_png, provenance, write_json, write_whole
from fairgen_utils.apps.dashboard.settings import EDIT, METHODS, OTHERS, PERCEIVED, Settings
from fairgen_utils.apps.dashboard.studio import Studio

HERE = Path(__file__).resolve().parent
PAGE = HERE.parents[2] / "notebooks" / "teaching" / "dashboard.ipynb"
COLUMNS, LETTERS = 20, 20  # of a sheet: pairs in a row, pixels


def notes_of(run):
    """What must be known of a run's faces, in sentences."""
    distances = "; ".join(
        f"{name} {row['fd_corrected']:.3f}, noise floor {row['fd_floor95']:.3f}"
        for name, row in run.fairness.items()
    )
    return [
        f"{len(run)} faces. {run.settings.said(run.world)}",
        f"Distance from the wanted shares (FD, corrected): {distances}.",
        f"Above: plain sampling. Below: {METHODS[run.settings.method]}"
        f"{', the same seeds' if run.settings.pairs else ''}.",
        EDIT if run.settings.pairs else OTHERS,
        PERCEIVED,
    ]


def pair_sheet(run):
    """Plain faces, each above the method's face of the same seed, under a few sentences.

    Returns
    -------
    ndarray, shape (height, width, 3), uint8
    """
    side, n = run.plain.images.shape[1], len(run)
    columns = min(COLUMNS, n)
    rows = -(-n // columns)
    blank = np.full((rows * columns - n, *run.plain.images.shape[1:]), 255, np.uint8)
    gap = np.full((side // 4, columns * side, 3), 255, np.uint8)
    sheets = []
    above, below = (np.concatenate([s.images, blank]) for s in (run.plain, run.made))
    for row in range(rows):
        these = slice(row * columns, (row + 1) * columns)
        sheets += [show.face_sheet(part[these], columns) for part in (above, below)] + [gap]
    return np.concatenate([_written(notes_of(run), max(columns * side, 640)), _wide(sheets)])


def _written(sentences, width):
    """Sentences as a picture, broken into lines."""
    font = ImageFont.load_default(LETTERS)
    lines = [""]
    for sentence in sentences:
        for word in sentence.split():
            longer = f"{lines[-1]} {word}".strip()
            if font.getlength(longer) > width - 20:
                lines.append(word)
            else:
                lines[-1] = longer
        lines.append("")
    lines, tall = lines[:-1], round(1.4 * LETTERS)
    picture = Image.new("RGB", (width, tall * len(lines) + LETTERS), "white")
    draw = ImageDraw.Draw(picture)
    for place, line in enumerate(lines):
        draw.text((10, 10 + tall * place), line, "black", font)
    return np.asarray(picture)


def _wide(sheets):
    """Sheets one below the other, at least as wide as the sentences above them."""
    sheet = np.concatenate(sheets)
    missing = max(0, 640 - sheet.shape[1])
    return np.pad(sheet, ((0, 0), (0, missing), (0, 0)), constant_values=255)


def files_of(run):
    """Everything that an export holds, by name: bytes or text.

    ``plain/00000.png`` and so on, and the same under the method's name; ``labels.csv`` (face,
    method, group of each attribute as the classifier reads it, cell it was led to); ``pairs.png``;
    ``settings.json``, ``provenance.json`` and ``README.txt``.
    """
    world, files, tables = run.world, {}, []
    groups = np.array(world.groups(run.settings.attribute))
    for name, sample in run.samples.items():
        paths = [f"{name}/{i:05}.png" for i in range(len(sample))]
        files |= {path: as_png(image) for path, image in zip(paths, sample.images, strict=True)}
        table = pd.DataFrame({"file": paths, "face": range(len(sample)), "method": name})
        for attribute, own in world.attributes.items():
            table[attribute] = np.take(own, sample.predictions.labels[attribute])
        if sample.components is not None and run.settings.pairs:
            table["led_to"] = groups[sample.components]
        tables.append(table)
    files["labels.csv"] = pd.concat(tables).to_csv(index=False)
    files["pairs.png"] = as_png(pair_sheet(run))
    files["settings.json"] = run.settings.text
    files["README.txt"] = "\n".join(notes_of(run)) + "\n"
    return files


def archive_of(run):
    """An export as one zip file: bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files_of(run).items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return buffer.getvalue()


def write_export(run, folder):
    """An export's files in a folder, with their provenance."""
    for name, content in files_of(run).items():
        (folder / name).parent.mkdir(exist_ok=True)
        write_whole(folder / name, content)
    write_json(folder / "provenance.json", provenance(run.world, vars(run.settings)))


def serve(port=None, browser=True):
    """Open the page in a browser; it is served until Ctrl-C."""
    if not PAGE.is_file():
        raise FileNotFoundError(
            f"{PAGE} is not there: this command needs the course's repository. Clone it, and "
            "install it with 'pip install -e .' in its folder"
        )
    # our own template asks nothing of the network and is as wide as the screen
    paths = os.pathsep.join(filter(None, [str(HERE / "jupyter"), os.environ.get("JUPYTER_PATH")]))
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "JUPYTER_PATH": paths}
    command = [sys.executable, "-m", "voila", str(PAGE), "--template=room"]
    command += [f"--port={port}"] if port else []
    command += [] if browser else ["--no-browser"]
    return subprocess.run(command, env=environment).returncode


def main(arguments=None):
    """`python -m fairgen_utils dashboard`: the page, or an export's faces made again."""
    parser = argparse.ArgumentParser(
        prog="python -m fairgen_utils dashboard",
        description="Open the bias dashboard: choose shares, press a button, watch faces and their "
        "numbers arrive. Or, with settings.json of one of its exports, make the same faces again.",
        allow_abbrev=False,
    )
    parser.add_argument("settings", type=Path, nargs="?", help="settings.json of an export")
    parser.add_argument("--out", type=Path, help="a new folder for the faces made again")
    parser.add_argument("--port", type=int, help="of the page (default: a free one)")
    parser.add_argument("--no-browser", action="store_true", help="open no browser")
    options = parser.parse_args(arguments)
    if (options.settings is None) != (options.out is None):
        parser.error("give both settings.json and --out to make faces again; neither for the page")
    if options.settings is None:
        return serve(options.port, not options.no_browser)
    studio = Studio()
    try:
        settings = Settings.read(options.settings)
        studio.check(settings)
        options.out.mkdir(parents=True)
    except (ValueError, OSError) as error:
        parser.exit(2, f"{error}\n")
    bar = None
    for step in studio.batches(settings):
        if bar is None or bar.desc != step.job:
            bar = tqdm(total=step.wanted, desc=step.job, unit="face")
        bar.update(step.done - bar.n)
    bar.close()
    write_export(step.run, options.out)
    print(f"{len(step.run)} faces by each method: {options.out}")
    return 0
