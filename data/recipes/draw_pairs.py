"""Draw plain faces above the same faces guided: pairs_NAME.png in data/results/.

The first faces of the first seed, none chosen. Faces come from make_faces.py, which makes those
that are missing.
"""

import argparse
from pathlib import Path

import torch
from make_faces import FaceMaker

from fairgen_utils import show
from fairgen_utils._files import write_whole
from fairgen_utils.load import load_world

PAIRS, COLUMNS = 12, 6


def pairs_figure(plain, guided):
    """Twelve pairs in two double rows."""
    rows = {}
    for start in range(0, PAIRS, COLUMNS):
        part = slice(start, start + COLUMNS)
        rows[f"Plain sampling, faces {start + 1} to {start + COLUMNS}"] = plain[part]
        rows[f"The same faces {start + 1} to {start + COLUMNS}, guided"] = guided[part]
    return show.face_rows(rows, width=11)


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--worlds", nargs="+", default=["heads", "utkface"])
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
        moved = [
            f"face {i + 1} from {groups[a]} to {groups[b]}"
            for i, (a, b) in enumerate(
                zip(*(world.joint(said, world.target) for said in (before, after)), strict=True)
            )
            if a != b
        ]
        figure = pairs_figure(plain, guided)
        picture = show.picture(figure, f"Twelve pairs of {name} faces; {', '.join(moved)}.")
        write_whole(options.out / f"pairs_{name}.png", picture.data)
        print(f"{name}: {'; '.join(moved)}")


if __name__ == "__main__":
    main()
