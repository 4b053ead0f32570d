"""Count malformed faces blind: shuffled faces on sheets, a person's marks, a tally.

    python data/recipes/count_malformed.py draw --run runs/malformed \\
        --faces before=OLD.npz after=NEW.npz real=REAL.npz
    python data/recipes/count_malformed.py tally --run runs/malformed --world heads \\
        --marks 3 17 42

`draw` takes the first faces of each file's `images` (as make_faces.py keeps them), shuffles all of
them and writes numbered sheets. Look at these, and at nothing else: which face comes from where
lies in order.csv. Mark a face that a small photograph (or rendered head) could not look like: eyes
that are missing or melt, a face torn or doubled, parts where none belong. Hair and background do
not count. `tally` writes how many of each kind were marked, to malformed.csv.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw
from tables import Table

from fairgen_utils._files import write_whole
from fairgen_utils.measure import share_intervals

COLUMNS, ROWS, SIDE, LINE = 6, 4, 192, 20  # of a sheet; pixels of a face and of its number


def named_path(text):
    """``before=faces.npz`` -> ("before", Path)."""
    name, _, path = text.partition("=")
    if not path or not Path(path).is_file():
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=FILE with a file that is there")
    return name, Path(path)


def sheet(faces, first):
    """Numbered faces, enlarged."""
    paper = Image.new("RGB", (COLUMNS * SIDE, ROWS * (SIDE + LINE)), "white")
    pen = ImageDraw.Draw(paper)
    for place, face in enumerate(faces):
        corner = place % COLUMNS * SIDE, place // COLUMNS * (SIDE + LINE)
        pen.text((corner[0] + 4, corner[1] + 2), str(first + place), fill="black", font_size=16)
        large = Image.fromarray(face).resize((SIDE - 4, SIDE - 4), Image.Resampling.BICUBIC)
        paper.paste(large, (corner[0], corner[1] + LINE))
    return paper


def draw(options):
    """Write the sheets and, apart from them, what is on them."""
    faces, kinds = [], []
    for kind, path in options.faces:
        with np.load(path) as stored:
            faces.append(stored["images"][: options.n])
        kinds += [kind] * len(faces[-1])
    order = np.random.default_rng(options.seed).permutation(len(kinds))
    faces, kinds = np.concatenate(faces)[order], np.array(kinds)[order]
    options.run.mkdir(parents=True, exist_ok=True)
    table = pd.DataFrame({"face": range(1, 1 + len(kinds)), "kind": kinds})
    write_whole(options.run / "order.csv", table.to_csv(index=False))
    for first in range(0, len(faces), COLUMNS * ROWS):
        paper = sheet(faces[first : first + COLUMNS * ROWS], first + 1)
        paper.save(options.run / f"sheet_{1 + first // (COLUMNS * ROWS)}.png")


def tally(options):
    """How many faces of each kind were marked, with 95 % intervals."""
    order = pd.read_csv(options.run / "order.csv").set_index("face")["kind"]
    if unknown := sorted(set(options.marks) - set(order.index)):
        raise SystemExit(f"--marks: no face has the number {unknown[0]}; 1 to {len(order)} do")
    marked = order.index.isin(options.marks)
    rows = []
    for kind in sorted(order.unique()):
        these = marked[order == kind].astype(int)
        low, high = share_intervals(these, 2)[1]
        row = {"world": options.world, "faces": kind, "n": len(these), "malformed": these.mean()}
        rows.append(row | {"malformed_low": low, "malformed_high": high})
    Table(options.out / "malformed.csv", ["world", "faces"]).add(rows)
    print(pd.DataFrame(rows).to_string(index=False))


def main():
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parts = arguments.add_subparsers(required=True)
    drawing = parts.add_parser("draw", help="write sheets of shuffled faces")
    drawing.add_argument("--faces", nargs="+", type=named_path, required=True, help="NAME=FILE")
    drawing.add_argument("--n", type=int, default=100, help="faces of each file")
    drawing.add_argument("--seed", type=int, default=0, help="of the shuffling")
    drawing.set_defaults(work=draw)
    counting = parts.add_parser("tally", help="count the marks")
    counting.add_argument("--world", required=True)
    counting.add_argument("--marks", nargs="*", type=int, required=True, help="malformed faces")
    counting.add_argument("--out", type=Path, default=Path("data/results"))
    counting.set_defaults(work=tally)
    for part in (drawing, counting):
        part.add_argument("--run", type=Path, required=True, help="folder of the sheets")
    options = arguments.parse_args()
    options.work(options)


if __name__ == "__main__":
    main()
