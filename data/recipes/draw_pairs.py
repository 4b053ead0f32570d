"""Draw plain faces above faces from the same noise, guided: pairs_NAME.png in data/results/.

The first faces of the first seed, none chosen. Where the classifier's word changed, both words are
written below the faces. Faces come from make_faces.py, which makes those that are missing.
"""

import argparse
import textwrap
from pathlib import Path

import numpy as np
import torch
from make_faces import FaceMaker
from sources import WORLDS

from fairgen_utils import show
from fairgen_utils._files import write_whole
from fairgen_utils.load import load_world

PAIRS, COLUMNS = 12, 6
LETTERS = 13  # as wide as a face


def pairs_figure(plain, guided, words):
    """Twelve pairs in two double rows; `words`: of each changed pair, before and after."""
    rows = {}
    for start in range(0, PAIRS, COLUMNS):
        part, which = slice(start, start + COLUMNS), f"faces {start + 1} to {start + COLUMNS}"
        rows[f"Plain sampling, {which}"] = plain[part]
        rows[f"Guided, from the same noise, {which}"] = guided[part]
    figure = show.face_rows(rows, width=11)
    words = {pair: [textwrap.fill(word, LETTERS) for word in both] for pair, both in words.items()}
    lines = max((word.count("\n") + 1 for both in words.values() for word in both), default=0)
    width, height = figure.get_size_inches()
    figure.set_size_inches(width, height + (0.08 + 0.22 * lines) * len(rows))
    axes = np.reshape(figure.axes, (-1, 2, COLUMNS))
    for pair, both in words.items():
        double_row, column = divmod(pair, COLUMNS)
        for ax, word, colour in zip(
            axes[double_row, :, column], both, (show.PLAIN, show.FAIR), strict=True
        ):
            ax.set_xlabel(word, fontsize=14, color=colour, weight="bold")
            for spine in ax.spines.values():
                spine.set(visible=True, color=colour, linewidth=3)
    return figure


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--worlds", nargs="+", default=WORLDS)
    arguments.add_argument("--n", type=int, default=2000, help="faces in each file of --faces")
    arguments.add_argument("--faces", type=Path, default=Path("runs/faces"))
    arguments.add_argument("--out", type=Path, default=Path("data/results"))
    options = arguments.parse_args()
    for name in options.worlds:
        world = load_world(name, dtype=torch.bfloat16)
        maker = FaceMaker(world, options.n, options.faces)
        plain, guided = (maker.faces(m, 0).images[:PAIRS] for m in ("plain", "guided"))
        before, after = (world.classify(images).labels for images in (plain, guided))
        groups = world.groups(world.target)
        said = zip(*(world.joint(labels, world.target) for labels in (before, after)), strict=True)
        words = {i: (groups[a], groups[b]) for i, (a, b) in enumerate(said) if a != b}
        moved = [f"face {i + 1} from {a} to {b}" for i, (a, b) in words.items()]
        figure = pairs_figure(plain, guided, words)
        picture = show.picture(figure, f"Twelve pairs of {name} faces; {', '.join(moved)}.")
        write_whole(options.out / f"pairs_{name}.png", picture.data)
        print(f"{name}: {'; '.join(moved)}")


if __name__ == "__main__":
    main()
