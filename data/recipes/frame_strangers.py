"""Which square of a stranger's face do our judges know? Writes strangers_frame.csv.

Judges trained on UTKFace expect its crop. Of all squares of the generated pictures, this finds
the one whose mean face correlates most with the mean photograph, so no judge has a say in what it
is shown; how sure the judge then is, is written beside it.
"""

import argparse

import numpy as np
import pandas as pd
from PIL import Image
from study_strangers import EVENED_AT, RESULTS, Faces
from tqdm.auto import tqdm

from fairgen_utils.datasets import read_utkface
from fairgen_utils.load import load_world
from fairgen_utils.models.style_gan import StyleGAN

SIDE = 64  # pixels that the judges take


def mean_of_square(mean_face, top, left, size):
    """The square of a mean face, resized as the faces themselves would be."""
    square = Image.fromarray(mean_face.astype(np.uint8)).crop((left, top, left + size, top + size))
    return np.asarray(square.resize((SIDE, SIDE), Image.Resampling.LANCZOS), float)


def correlations(mean_face, mean_photograph, step, around=None, reach=None):
    """Correlation of grey mean faces, for every square on a grid."""
    side = len(mean_face)
    wanted = mean_photograph.mean(2).ravel()
    sizes = range(side // 3, side + 1, step)
    tops = lefts = range(0, side, step)
    if around is not None:
        tops, lefts, sizes = (range(v - reach, v + reach + 1, step) for v in around)
    rows = []
    for size in tqdm(sizes, "sizes"):
        for top in tops:
            for left in lefts:
                if min(top, left) < 0 or max(top, left) + size > side:
                    continue
                square = mean_of_square(mean_face, top, left, size).mean(2).ravel()
                rows.append((top, left, size, np.corrcoef(square, wanted)[0, 1]))
    return pd.DataFrame(rows, columns=["top", "left", "size", "correlation"])


def judged(world, faces, top, left, size):
    """How sure the judge is of each attribute, on faces cut that way."""
    cut = np.stack(
        [
            Image.fromarray(face)
            .crop((left, top, left + size, top + size))
            .resize((SIDE, SIDE), Image.Resampling.LANCZOS)
            for face in faces
        ]
    )
    found = world.classify(cut).probabilities
    return {f"sure_{name}": values.max(1).mean() for name, values in found.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gan", required=True, help="folder of the unzipped wheel")
    parser.add_argument("--photographs", required=True, help="archive or folder of UTKFace")
    parser.add_argument("--work", required=True, help="folder of study_strangers.py's faces")
    parser.add_argument("--n", type=int, default=300)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--out", default=RESULTS / "strangers_frame.csv")
    options = parser.parse_args()
    photographs = read_utkface(options.photographs, "train").images
    generator = StyleGAN(options.gan, psi=1.0)
    styles = generator.truncate(generator.draw(options.n, options.seed), EVENED_AT)
    faces = Faces(options.work, generator)(f"plain_{EVENED_AT}", styles)
    search(faces, photographs.mean(0, dtype=float), load_world("utkface"), options.out)


def search(faces, mean_photograph, world, out):
    """Coarse grid, then fine around its best; the best and its neighbours are written."""
    mean_face = faces.mean(0, dtype=float)
    best = correlations(mean_face, mean_photograph, 8).nlargest(1, "correlation")
    around = best[["top", "left", "size"]].to_numpy(int)[0]
    fine = correlations(mean_face, mean_photograph, 2, around, 8)
    found = fine.nlargest(1, "correlation").iloc[0]
    top, left, size = (int(found[key]) for key in ("top", "left", "size"))
    centre = np.array([top + size / 2, left + size / 2])
    rows = []
    for scale in (0.8, 0.9, 1, 1.1, 1.2):  # the same middle, wider and narrower
        side = round(scale * size)
        corner = np.clip((centre - side / 2).round().astype(int), 0, len(mean_face) - side)
        square = mean_of_square(mean_face, *corner, side).mean(2).ravel()
        alike = np.corrcoef(square, mean_photograph.mean(2).ravel())[0, 1]
        rows.append(
            {"n": len(faces), "of": len(mean_face), "top": corner[0], "left": corner[1]}
            | {"size": side, "correlation": alike, "best": int(scale == 1)}
            | judged(world, faces, *corner, side)
        )
    pd.DataFrame(rows).round(4).to_csv(out, index=False)
    return top, left, size


if __name__ == "__main__":
    main()
