"""Data sets as their makers hand them out, a few faces each."""

import io
import itertools
import zipfile

import numpy as np
import pandas as pd
from PIL import Image

from fairgen_utils import datasets
from fairgen_utils.datasets.celeba import CELEBA_HAIR


def photographs(folder):
    """A zip of three pictures as UTKFace names them."""
    path = folder / "UTKFace.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for i, name in enumerate(["20_0_0", "40_1_1", "70_0_2"]):
            content = io.BytesIO()
            Image.new("RGB", (8, 8), (40 * i, 9, 9)).save(content, "JPEG")
            archive.writestr(f"{name}_2017010917000000{i}.jpg.chip.jpg", content.getvalue())
    return path


def heads(folder, n=24, split="train", seed=0):
    """Rendered heads as noise: an archive of pictures and its table."""
    rng = np.random.default_rng(seed)
    files = [f"{i:05}.png" for i in range(n)]
    groups = list(itertools.product(*datasets.HEADS_ATTRIBUTES.values()))
    rows = [groups[i * len(groups) // n] for i in range(n)]
    table = pd.DataFrame(rows, columns=list(datasets.HEADS_ATTRIBUTES))
    table.insert(0, "file", files)
    table.to_csv(folder / f"{split}.csv", index=False)
    with zipfile.ZipFile(folder / f"{split}.zip", "w") as archive:
        for file in files:
            content = io.BytesIO()
            Image.fromarray(rng.integers(0, 256, (64, 64, 3), np.uint8)).save(content, "PNG")
            archive.writestr(file, content.getvalue())
    return folder / f"{split}.csv"


def fairface(folder):
    lines = ["file,age,gender,race"]
    for i, race in enumerate(datasets.FAIRFACE_ATTRIBUTES["race"]):
        lines.append(f"train/{i}.jpg,20-29,{('Male', 'Female')[i % 2]},{race}")
        (folder / "train").mkdir(exist_ok=True)
        Image.new("RGB", (8, 8)).save(folder / "train" / f"{i}.jpg")
    (folder / "fairface_label_train.csv").write_text("\n".join(lines) + "\n")
    return folder / "fairface_label_train.csv"


def celeba(folder):
    columns = [*CELEBA_HAIR, "Eyeglasses", "Male", "Smiling", "Young"]
    lines = ["5", " ".join(columns)]
    for i in range(5):
        lines.append(f"{i:06}.jpg {' -1' * (len(columns) - 1)} {-1 if i % 2 else ' 1'}")
        (folder / "img_align_celeba").mkdir(exist_ok=True)
        Image.new("RGB", (8, 8)).save(folder / "img_align_celeba" / f"{i:06}.jpg")
    (folder / "list_eval_partition.txt").write_text("".join(f"{i:06}.jpg 0\n" for i in range(5)))
    (folder / "list_attr_celeba.txt").write_text("\n".join(lines) + "\n")
    return folder / "list_attr_celeba.txt"
