"""What is killed goes on: a run that was broken off ends as an unbroken one.

Trainings and measurements; those of `generate` are in test_command_line.py.
"""

import functools
import json
import random
import sys

import numpy as np
import pytest
import torch
from data_sets import heads
from diffusers import UNet2DModel
from kills import forks, killed_again_and_again, killed_at

from fairgen_utils.load import load_world

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def world(worlds_root):
    return load_world("tiny", worlds_root)


KILLS = {"classifier": 5, "diffusion": 5, "measurements": 10}


def train_classifier(folder, faces):
    """The recipe as it is run, with a tiny network, and checkpoints and log much more often."""
    import train_classifier as recipe

    often = {"checkpoint_seconds": 0.1, "log_every": 2}
    recipe.train = functools.partial(recipe.train, **often)
    sys.argv = ["train_classifier.py", "--faces", str(faces), "--run", str(folder)]
    sys.argv += ["--heldout", "reference", "--balance", "gender", "--channels", "4", "8"]
    sys.argv += ["--steps", "200", "--batch-size", "8", "--device", "cpu"]
    recipe.main()


def train_diffusion(folder, faces, world):
    """As above; every 20 steps the weights are judged, and the best are kept."""
    import train_diffusion as recipe

    recipe.build = lambda layers: UNet2DModel.from_config(world.pipeline.unet.config)
    often = {"checkpoint_seconds": 0.1, "log_every": 2}
    recipe.train = functools.partial(recipe.train, **often)
    sys.argv = ["train_diffusion.py", "--faces", str(faces), "--run", str(folder)]
    sys.argv += ["--autoencoder", str(world.folder / "generator" / "vqvae")]
    sys.argv += ["--classifier", str(world.folder / "classifier"), "--heldout", "reference"]
    sys.argv += ["--faces-judged", "8", "--steps", "60", "--batch-size", "8", "--device", "cpu"]
    recipe.main()


def trained(folder):
    """What a finished training left: the steps of its log, and the networks to the last bit."""
    steps = [json.loads(row)["step"] for row in (folder / "log.jsonl").read_text().splitlines()]
    networks = sorted(folder.rglob("*.safetensors"))
    assert networks
    return steps, [(path.relative_to(folder), path.read_bytes()) for path in networks]


@forks
@pytest.mark.parametrize("recipe", ["classifier", "diffusion"])
def test_killed_trainings_end_with_the_weights_of_an_unbroken_one(tmp_path, recipes, world, recipe):
    heads(tmp_path)
    heads(tmp_path, split="reference", seed=1)
    last_step, log_every = {"classifier": (200, 2), "diffusion": (60, 2)}[recipe]

    def folders(number):
        return tmp_path / f"run{number}"

    def work(folder):
        if recipe == "classifier":
            train_classifier(folder, tmp_path)
        else:
            train_diffusion(folder, tmp_path, world)

    def look(folder):
        path = folder / "checkpoint.pt"
        step = torch.load(path, weights_only=True)["step"] if path.exists() else 0
        return 0 < step < last_step

    midway, last = killed_again_and_again(work, KILLS[recipe], folders, 0, look)
    assert midway > 1
    unbroken = trained(folders(0))
    assert unbroken[0] == list(range(log_every, last_step + 1, log_every))
    for number in range(1, last + 1):
        assert trained(folders(number)) == unbroken


def test_a_line_that_a_kill_cut_off_and_later_ones_leave_the_log(tmp_path, recipes):
    from training import forget_rows

    log = tmp_path / "log.jsonl"
    log.write_text('{"step": 10}\n{"step": 20}\n{"step": 30}\n{"ste')
    forget_rows(log, 20)
    assert log.read_text() == '{"step": 10}\n{"step": 20}\n'


@forks
def test_killed_measurements_end_with_the_rows_and_faces_of_an_unbroken_one(
    tmp_path, recipes, world
):
    from make_faces import FaceMaker
    from tables import Table

    def folders(number):
        return tmp_path / f"results{number}"

    def measure(folder):
        table = Table(folder / "means.csv", ["method", "seed"])
        maker = FaceMaker(world, 20, folder)
        for seed in range(12):
            if not table.has(method="plain", seed=seed):
                images = maker.faces("plain", seed).images
                table.add([{"method": "plain", "seed": seed, "mean": images.mean()}])

    def look(folder):
        """At no moment is a row or a face's archive there in part."""
        for path in folder.rglob("*.npz"):
            with np.load(path) as stored:
                assert len(stored["images"]) == 20
        path = folder / "means.csv"
        rows = path.read_text().splitlines(keepends=True) if path.exists() else []
        whole = (folders(0) / "means.csv").read_text().splitlines(keepends=True)
        assert rows == whole[: len(rows)]
        return 1 < len(rows) < len(whole)

    midway, last = killed_again_and_again(measure, KILLS["measurements"], folders, 1, look)
    assert midway > 1
    unbroken = (folders(0) / "means.csv").read_bytes()
    assert len(unbroken.splitlines()) == 13
    for number in range(1, last + 1):
        assert (folders(number) / "means.csv").read_bytes() == unbroken
        for seed in range(12):
            name = f"tiny/plain_{seed}.npz"
            with np.load(folders(0) / name) as one, np.load(folders(number) / name) as other:
                assert all((one[k] == other[k]).all() for k in one if k != "seconds")


@forks
def test_a_kill_at_any_moment_leaves_the_table_of_before_or_after(tmp_path, recipes):
    from tables import Table

    def add(folder):
        Table(folder / "rows.csv", ["seed"]).add([{"seed": 2, "mean": 0.25}])

    left, killed, rng = [], True, random.Random(0)
    while killed:
        folder = tmp_path / str(len(left))
        folder.mkdir()
        Table(folder / "rows.csv", ["seed"]).add([{"seed": 1, "mean": 0.5}])
        killed, moments = killed_at(add, folder, len(left) + 1, rng)
        left.append(Table(folder / "rows.csv", ["seed"]).rows["seed"].tolist())
    # opened, then renamed: at least two moments, and the last run was not killed
    assert len(left) == moments + 1 > 2
    assert left[0] == [1] and left[-1] == [1, 2] and all(rows in ([1], [1, 2]) for rows in left)
