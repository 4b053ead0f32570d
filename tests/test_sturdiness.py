"""Bad input is refused where it enters; what is killed goes on; nothing is half-written.

Hundreds of generated bad inputs: each must be refused by the course's own code, with a message that
names the argument, and must leave nothing behind. Kills of training and of measuring: the run ends
as an unbroken one. (Those of `generate` are in test_command_line.py.)
"""

import argparse
import io
import json
import multiprocessing
import os
import pickle
import random
import re
import shutil
import tempfile
import time
import traceback
import zipfile
from contextlib import redirect_stderr
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

import fairgen_utils
from fairgen_utils import audit, datasets, fairness, generate, localize, quality, uncertainty
from fairgen_utils.__main__ import main
from fairgen_utils.dashboard import Settings
from fairgen_utils.demo import parse_target
from fairgen_utils.own_world import own_world
from fairgen_utils.peers import choose_evenly
from fairgen_utils.shards import plan
from fairgen_utils.subspace import LowFrequencyMixture
from fairgen_utils.worlds import load_world

ROOT = Path(__file__).resolve().parent.parent
OURS = Path(fairgen_utils.__file__).parent
KINDS = (ValueError, TypeError, OSError, ImportError)
EACH, LEAST = 30, 300  # bad inputs of every kind below, and in all
tried = []


def refused(call, word):
    """Assert that a call is refused kindly: by us, with a message that names what is wrong."""
    tried.append(word)
    try:
        made = call()
    except KINDS as error:
        innermost = Path(traceback.extract_tb(error.__traceback__)[-1].filename)
        assert OURS in innermost.parents, f"raised in {innermost}: {error!r}"
        assert re.search(word, str(error)), f"{word!r} is not in {str(error)!r}"
    else:
        raise AssertionError(f"accepted, and returned {made!r}")


def listing(folder):
    return {path: path.stat().st_size for path in folder.rglob("*")}


# --- what is bad ---------------------------------------------------------------------------------

counts = st.one_of(
    st.integers(-5, 0), st.floats(-3, 3).filter(lambda x: x != int(x)), st.just("3"), st.just(None)
)
fractions = st.sampled_from([-0.1, 1.1, float("nan"), float("inf"), -float("inf")])
attributes = st.one_of(
    st.text(max_size=8).filter(lambda s: not set(s.split(",")) <= {"gender", "ancestry", "smile"}),
    st.sampled_from(["gender,gender", "gender,", ",", "Gender ", "gender;ancestry"]),
)
timesteps = st.one_of(
    st.integers(-2000, -1), st.integers(1000, 5000), st.sampled_from([0.5, "500", None, np.nan])
)


@st.composite
def labels(draw):
    """No labels of 3 groups."""
    return draw(
        st.one_of(
            st.just([]),
            st.lists(st.sampled_from([0.0, 1.5, np.nan]), min_size=1, max_size=5),
            st.lists(st.integers(3, 99), min_size=1, max_size=5),
            st.lists(st.integers(-99, -1), min_size=1, max_size=5),
            st.lists(st.text(max_size=3), min_size=1, max_size=3),
            st.just(np.zeros((2, 3), int)),
            st.just(1),
            st.just(None),
        )
    )


@st.composite
def shares(draw):
    """No shares of 3 groups, nor of any other number."""
    spoiled = np.array([0.2, 0.3, 0.5])
    spoiled[draw(st.integers(0, 2))] = draw(st.sampled_from([np.nan, np.inf, -0.2, 0.9, 7.0]))
    return draw(st.sampled_from([spoiled, [], ["a", "b", "c"], "half", 2 * np.ones(3), 1.0]))


@st.composite
def latents(draw):
    """No latents of shape (n, 4, 8, 8)."""
    spoiled = np.ones((3, 4, 8, 8), np.float32)
    spoiled[draw(st.integers(0, 2)), 0, 0, 0] = draw(st.sampled_from([np.nan, np.inf, -np.inf]))
    return draw(
        st.sampled_from(
            [spoiled, np.zeros((0, 4, 8, 8)), np.zeros(()), np.ones(5), "latents", [["a"]], None]
        )
    )


@st.composite
def pictures(draw):
    """No pictures of shape (n, 64, 64, 3), uint8."""
    shape = draw(
        st.sampled_from([(64, 64, 3), (0, 64, 64, 3), (2, 64, 64), (2, 64, 64, 4), (2, 3, 64, 64)])
    )
    kind = draw(st.sampled_from([np.float32, np.int64, np.uint8]))
    if draw(st.booleans()):
        shape, kind = (2, 64, 64, 3), draw(st.sampled_from([np.float32, np.int64, bool]))
    return draw(st.sampled_from([np.zeros(shape, kind), "picture.png", None, []]))


@st.composite
def features(draw):
    spoiled = np.eye(6)
    spoiled[draw(st.integers(0, 5)), draw(st.integers(0, 5))] = draw(
        st.sampled_from([np.nan, np.inf])
    )
    return draw(st.sampled_from([spoiled, np.ones(6), np.ones((1, 6)), np.ones((2, 2, 2)), "x"]))


@st.composite
def confusions(draw):
    """No confusion matrix of 3 groups."""
    spoiled = np.eye(3)
    spoiled[draw(st.integers(0, 2)), draw(st.integers(0, 2))] = draw(
        st.sampled_from([np.nan, -0.5, 0.5, 2.0])
    )
    blind = np.full((3, 3), 1 / 3)
    return draw(st.sampled_from([spoiled, blind, np.eye(2), np.eye(3)[:2], "x", []]))


THIRDS = np.full(3, 1 / 3)
LABELS = np.array([0, 1, 2, 1])
LATENTS = np.random.default_rng(0).standard_normal((40, 4, 8, 8)).astype(np.float32)
FITTED = localize.LatentMixture(2).fit(LATENTS)
LOW = LowFrequencyMixture(1).fit(LATENTS)

# what is called with a bad value, where the value comes from, and the word that must be said
ALONE = {
    "shares": (lambda bad: fairness.shares(bad, 3), labels(), "labels"),
    "shares, groups": (lambda bad: fairness.shares(LABELS, bad), counts, "n_groups"),
    "joint_labels": (lambda bad: fairness.joint_labels([LABELS, bad], (3, 3)), labels(), "labels"),
    "fairness_discrepancy": (fairness.fairness_discrepancy, shares(), "shares"),
    "fd, target": (lambda bad: fairness.fairness_discrepancy(THIRDS, bad), shares(), "target"),
    "kl_divergence": (fairness.kl_divergence, shares(), "shares"),
    "normalized_entropy": (fairness.normalized_entropy, shares(), "shares"),
    "share_intervals": (lambda bad: uncertainty.share_intervals(bad, 3), labels(), "labels"),
    "confidence": (
        lambda bad: uncertainty.share_intervals(LABELS, 3, bad),
        st.one_of(fractions, st.sampled_from([0, 1])),
        "confidence",
    ),
    "noise_floor, n": (lambda bad: uncertainty.noise_floor(bad, 3), counts, "n"),
    "noise_floor, groups": (
        lambda bad: uncertainty.noise_floor(50, n_groups=bad),
        counts,
        "n_groups",
    ),
    "confusion_rates": (lambda bad: uncertainty.confusion_rates(bad, LABELS, 3), labels(), "true"),
    "correct_shares": (
        lambda bad: uncertainty.correct_shares(bad, np.eye(3)),
        shares(),
        "measured",
    ),
    "correct_shares, confusion": (
        lambda bad: uncertainty.correct_shares(THIRDS, bad),
        confusions(),
        "confusion",
    ),
    "amplification": (
        lambda bad: uncertainty.amplification(LABELS, bad),
        shares(),
        "training",
    ),
    "fit": (lambda bad: localize.LatentMixture().fit(bad), latents(), "latents"),
    "fit, cells": (
        lambda bad: localize.LatentMixture().fit(LATENTS[:4], bad),
        labels().filter(lambda bad: bad is not None and not _whole(bad)),
        "cells",
    ),
    "n_components": (
        lambda bad: localize.LatentMixture(bad).fit(LATENTS),
        counts,
        "n_components",
    ),
    "predict_proba": (FITTED.predict_proba, latents(), "latents"),
    "push_forward": (FITTED.push_forward, fractions, "alpha_cumprod"),
    "overshoot": (
        FITTED.overshoot,
        st.sampled_from([-1, -0.1, np.nan, np.inf, "far", None]),
        "factor",
    ),
    "mixture.sample": (lambda bad: FITTED.sample(bad, 0), counts, "n"),
    "mixture.sample, weights": (
        lambda bad: FITTED.sample(5, 0, bad),
        shares().filter(lambda bad: bad is not None),
        "weights",
    ),
    "low frequencies, fit": (lambda bad: LowFrequencyMixture().fit(bad), latents(), "latents"),
    "low frequencies, block": (
        lambda bad: LowFrequencyMixture(block=bad).fit(LATENTS),
        st.one_of(counts, st.sampled_from([1, 3, 5, 16])),
        "block",
    ),
    "low frequencies, sample": (lambda bad: LOW.sample(bad, 0), counts, "n"),
    "component_table": (
        lambda bad: localize.component_table([0, 1, 0, 1], bad, 2, 3),
        labels(),
        "labels",
    ),
    "solve_weights, table": (
        lambda bad: localize.solve_weights(bad, THIRDS),
        st.sampled_from(
            [[], np.zeros((2, 3)), [[1, -1, 2]], [[np.nan, 1, 1]], [[np.inf, 1, 1]], "x", [1, 2, 3]]
        ),
        "table",
    ),
    "solve_weights, target": (
        lambda bad: localize.solve_weights(np.ones((2, 3)), bad),
        shares(),
        "target",
    ),
    "solve_weights, confusion": (
        lambda bad: localize.solve_weights(np.ones((2, 3)), THIRDS, bad),
        confusions().filter(lambda bad: np.shape(bad) != (3, 3) or not np.allclose(bad, 1 / 3)),
        "confusion",
    ),
    "frechet_distance": (
        lambda bad: quality.frechet_distance(bad, np.zeros(6), np.eye(6)),
        features(),
        "features",
    ),
    "kernel_distance": (
        lambda bad: quality.kernel_distance(bad, np.eye(6)),
        features(),
        "features",
    ),
    "manifold_scores": (
        lambda bad: quality.manifold_scores(np.eye(6), bad, 2),
        features(),
        "reference",
    ),
    "detail": (
        quality.detail,
        pictures().filter(lambda bad: np.shape(bad)[1:] != (3, 64, 64)),
        "images",
    ),
    "choose_evenly": (
        lambda bad: choose_evenly(np.full((6, 3), 1 / 3), bad, 3, 0),
        shares(),
        "target",
    ),
    "choose_evenly, n": (
        lambda bad: choose_evenly(np.full((6, 3), 1 / 3), THIRDS, bad, 0),
        st.one_of(counts, st.integers(7, 99)),
        "n",
    ),
    "reject": (lambda bad: audit.reject(LABELS, bad, 3, 0), shares(), "target"),
}


def _whole(bad):
    """Four whole numbers of any sign: cells may be numbered as one likes."""
    bad = np.asarray(bad)
    return bad.shape == (4,) and np.issubdtype(bad.dtype, np.integer)


CALM = {
    "max_examples": EACH,
    "derandomize": True,
    "deadline": None,
    "database": None,
    "suppress_health_check": list(HealthCheck),
}


@pytest.mark.parametrize("name", ALONE)
def test_a_function_refuses_bad_values(name):
    call, values, word = ALONE[name]

    @settings(**CALM)
    @given(values)
    def check(bad):
        refused(lambda: call(bad), word)

    check()


# what needs a world: name -> what is called with the world and a bad value
WITH_WORLD = {
    "groups": (lambda world, bad: world.groups(bad), attributes, "attribute"),
    "confusion": (lambda world, bad: world.confusion(bad), attributes, "attribute"),
    "training_shares": (lambda world, bad: world.training_shares(bad), attributes, "attribute"),
    "classify": (lambda world, bad: world.classify(bad), pictures(), "images"),
    "sample_plain": (
        lambda world, bad: generate.sample_plain(world.pipeline, bad, 0, 2),
        counts,
        "n",
    ),
    "steps": (
        lambda world, bad: generate.sample_plain(world.pipeline, 2, 0, bad),
        counts,
        "num_inference_steps",
    ),
    "sample_localized": (
        lambda world, bad: generate.sample_localized(world.pipeline, FITTED, 2, bad, 0),
        timesteps,
        "timestep",
    ),
    "decode": (lambda world, bad: generate.decode(world.pipeline, bad), latents(), "latents"),
    "encode": (
        lambda world, bad: generate.encode(world.pipeline, bad),
        pictures().filter(lambda bad: np.shape(bad)[1:] != (3, 64, 64)),
        "images",
    ),
    "denoise": (
        lambda world, bad: generate.denoise(world.pipeline, bad, 500, 5, 0),
        latents(),
        "latents",
    ),
    "invert": (lambda world, bad: generate.invert(world.pipeline, bad, 2), latents(), "latents"),
    "generate": (lambda world, bad: audit.generate(world, bad, 0), counts, "n"),
    "localized_mixture": (
        lambda world, bad: audit.localized_mixture(world, bad),
        attributes,
        "attribute",
    ),
    "parse_target": (
        lambda world, bad: parse_target(world, f"gender={bad}"),
        st.sampled_from(
            ["0.5", "1,1", "a,b", "0.5,0.6", "-1,2", "nan,1", "inf,0", "0.5,,0.5", "="]
        ),
        "target",
    ),
    "parse_target, attribute": (
        parse_target,
        attributes.filter(lambda s: "=" not in s),
        "attribute",
    ),
    "plan": (lambda world, bad: plan(world, bad, 4), counts, "n"),
    "own_world": (
        lambda world, bad: own_world(world.pipeline, bad, {"tone": ("dark", "bright")}),
        st.sampled_from([None, 3, "classifier", []]),
        "classifier",
    ),
    "own_world, attributes": (
        lambda world, bad: own_world(world.pipeline, lambda images: {}, bad),
        st.sampled_from([{}, {"tone": ()}, {"tone": ("one",)}, {"a": ("x", "y"), "b": ("z",)}]),
        "attributes",
    ),
    "own_world, generator": (
        lambda world, bad: own_world(bad, lambda images: {}, {"tone": ("dark", "bright")}),
        st.sampled_from([None, 3, [], torch.nn.Linear(1, 1)]),
        "generator",
    ),
}


@pytest.fixture(scope="module")
def world(worlds_root):
    return load_world("tiny", worlds_root)


@pytest.mark.parametrize("name", WITH_WORLD)
def test_what_takes_a_world_refuses_bad_values(world, name):
    call, values, word = WITH_WORLD[name]

    @settings(**CALM)
    @given(values)
    def check(bad):
        refused(lambda: call(world, bad), word)

    check()


# --- damaged files -------------------------------------------------------------------------------

damages = st.tuples(st.sampled_from(["cut", "flip", "empty", "text"]), st.integers(0, 2**31))


def damage(path, how, seed):
    content = bytearray(path.read_bytes())
    place = random.Random(seed).randrange(len(content))
    if how == "cut":
        content = content[:place]
    elif how == "flip":
        content[place] ^= 0xFF
    else:
        content = b"" if how == "empty" else b"<html>404: not found</html>"
    path.write_bytes(bytes(content))


@pytest.mark.parametrize(
    "file",
    [
        "generator/unet/diffusion_pytorch_model.safetensors",
        "classifier/diffusion_pytorch_model.safetensors",
        "generator/model_index.json",
        "latents.npz",
        "reference.npz",
    ],
)
def test_a_world_with_a_damaged_file_is_refused_by_name(worlds_root, tmp_path_factory, file):
    @settings(**CALM)
    @given(damages)
    def check(how):
        root = shutil.copytree(worlds_root, tmp_path_factory.mktemp("damaged") / "data")
        damage(root / "tiny" / file, *how)
        before = listing(root)
        refused(lambda: load_world("tiny", root), re.escape(Path(file).name))
        assert listing(root) == before

    check()


def test_weights_are_read_from_safetensors_alone(worlds_root, tmp_path):
    """A pickle that would run code when opened is never opened, whatever it is called."""
    root = shutil.copytree(worlds_root, tmp_path / "data")
    fired = tmp_path / "fired"

    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(fired),)

    weights = root / "tiny" / "classifier" / "diffusion_pytorch_model.safetensors"
    for name in ("diffusion_pytorch_model.bin", "pytorch_model.bin", "model.pt"):
        weights.with_name(name).write_bytes(pickle.dumps(Trap()))
    load_world(
        "tiny", root
    )  # with the weights beside it, what else lies there is nobody's business
    weights.write_bytes(pickle.dumps(Trap()))
    refused(lambda: load_world("tiny", root), "safetensors")
    weights.unlink()
    refused(lambda: load_world("tiny", root), "safetensors")
    assert not fired.exists()


def photographs(folder):
    """A zip of three pictures as UTKFace names them."""
    path = folder / "UTKFace.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for i, name in enumerate(["20_0_0", "40_1_1", "70_0_2"]):
            Image.new("RGB", (8, 8), (40 * i, 9, 9)).save(folder / "one.jpg")
            archive.write(folder / "one.jpg", f"{name}_2017010917000000{i}.jpg.chip.jpg")
    return path


@pytest.mark.parametrize(
    "reader", [datasets.read_pictures, lambda p: datasets.read_utkface(p, "train")]
)
def test_damaged_archives_are_refused_and_left_alone(tmp_path_factory, reader):
    @settings(**CALM)
    @given(damages.filter(lambda how: how[0] != "flip"))
    def check(how):
        folder = tmp_path_factory.mktemp("zip")
        path = photographs(folder)
        damage(path, *how)
        before = listing(folder)
        refused(lambda: reader(path), "path|UTKFace")
        assert listing(folder) == before

    check()


def test_text_that_is_no_settings_is_refused(tmp_path):
    @settings(**CALM)
    @given(st.text(max_size=40))
    def check(text):
        (tmp_path / "settings.json").write_text(text, encoding="utf-8")
        refused(lambda: Settings.read(tmp_path / "settings.json"), "settings.json")

    check()


arguments = st.sampled_from(
    [
        ["--n", "0"],
        ["--n", "-3"],
        ["--n", "many"],
        ["--pilot", "0"],
        ["--target", "height"],
        ["--target", "tone=1,1"],
        ["--target", "tone=0.5"],
        ["--target", "joint:"],
        ["--world", "moon"],
        ["--world", "tiny_world:nothing"],
        ["--world", ":"],
        ["--dtype", "int8"],
        ["--seed", "x"],
    ]
)


def test_the_command_line_refuses_bad_options_and_writes_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))

    @settings(**CALM)
    @given(arguments)
    def check(bad):
        tried.append("option")
        command = ["generate", "--world", "tiny_world:make_world", "--n", "4", "--pilot", "2"]
        with pytest.raises(SystemExit) as stopped:
            main([*command, "--out", str(tmp_path / "faces"), *bad])
        assert stopped.value.code == 2
        said = capsys.readouterr().err
        assert "Traceback" not in said and len(said.split()) > 3
        assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.name != ".lock"]

    check()


def test_three_hundred_bad_inputs_were_tried():
    assert len(tried) >= LEAST


# --- kills ---------------------------------------------------------------------------------------

KILLS = 10  # of each of the two below
FORK = multiprocessing.get_context("fork")  # a child that has imported everything already


@pytest.fixture
def recipes(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "data" / "recipes"))


def train_a_line(folder, steps=1500):
    from training import batch_indices, train

    torch.set_num_threads(1)
    options = argparse.Namespace(run=folder, steps=steps, learning_rate=0.1, device="cpu")
    x = torch.linspace(-1, 1, 50)[:, None]
    torch.manual_seed(0)
    model = torch.nn.Linear(1, 1)

    def loss_of_step(step):
        index, _ = batch_indices(50, 8, step, seed=0)
        return ((model(x[index]) - 3 * x[index]) ** 2).mean()

    train(model, loss_of_step, options, checkpoint_seconds=0.02, log_every=10)


def trained(folder):
    """What a finished training left: logged steps, the last step, weights and their averages."""
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    state = torch.load(folder / "checkpoint.pt", weights_only=True)
    weights = [
        value.item()
        for part in ("model", "average")
        for value in state[part].values()
        if value.numel() == 1
    ]
    return [row["step"] for row in rows], state["step"], weights


def killed_again_and_again(work, finished, folders, seed):
    """Start `work(folder)`, kill it at a random moment, start it again.

    A folder that got finished makes place for the next one; the first is never killed.

    Returns
    -------
    kills, midway, last : int
        How many kills hit, how many of them something half done, and the last folder's number.
    """
    rng, kills, midway = random.Random(seed), 0, 0

    def start(number):
        process = FORK.Process(target=work, args=(folders(number),))
        process.start()
        return process

    started = time.perf_counter()
    whole = start(0)
    whole.join()
    assert whole.exitcode == 0
    seconds, number = time.perf_counter() - started, 1
    while kills < KILLS:
        process = start(number)
        process.join(rng.uniform(0.05, 0.6) * seconds)
        if process.is_alive():
            process.kill()
            process.join()
            kills += 1
            midway += folders(number).exists() and not finished(folders(number))
        number += finished(folders(number))
        assert number < 5 * KILLS
    start(number).join()
    return kills, midway, number


def test_killed_trainings_end_with_the_weights_of_an_unbroken_one(tmp_path, recipes):
    def folders(number):
        return tmp_path / f"run{number}"

    def finished(folder):
        path = folder / "checkpoint.pt"
        return path.exists() and torch.load(path, weights_only=True)["step"] == 1500

    kills, midway, last = killed_again_and_again(train_a_line, finished, folders, seed=0)
    assert kills == KILLS and midway > KILLS // 2
    unbroken = trained(folders(0))
    assert unbroken[0] == list(range(10, 1501, 10))
    for number in range(1, last + 1):
        assert trained(folders(number)) == unbroken


def test_killed_measurements_end_with_the_rows_and_faces_of_an_unbroken_one(
    tmp_path, recipes, world
):
    from make_faces import FaceMaker
    from tables import Table

    def folders(number):
        return tmp_path / f"results{number}"

    def measure(folder):
        torch.set_num_threads(1)
        table = Table(folder / "means.csv", ["method", "seed"])
        maker = FaceMaker(world, 20, folder)
        for seed in range(12):
            if not table.has(method="plain", seed=seed):
                images = maker.faces("plain", seed).images
                table.add([{"method": "plain", "seed": seed, "mean": images.mean()}])

    def finished(folder):
        path = folder / "means.csv"
        return path.exists() and len(pd.read_csv(path)) == 12

    kills, midway, last = killed_again_and_again(measure, finished, folders, seed=1)
    assert kills == KILLS and midway > KILLS // 2
    unbroken = (folders(0) / "means.csv").read_bytes()
    for number in range(1, last + 1):
        assert (folders(number) / "means.csv").read_bytes() == unbroken
        for seed in range(12):
            name = f"tiny/plain_{seed}.npz"
            with np.load(folders(0) / name) as one, np.load(folders(number) / name) as other:
                assert (one["images"] == other["images"]).all()


# --- folders that cannot be written to ------------------------------------------------------------


@pytest.fixture
def shelf():
    """A folder that may be read and not written to, with one picture in it."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    shelf = folder / "shelf"
    (shelf / "begun").mkdir(parents=True)
    Image.new("RGB", (64, 64)).save(shelf / "face.png")
    for path in (shelf / "begun", shelf):
        path.chmod(0o555)
    yield shelf
    for path in (shelf, shelf / "begun"):
        path.chmod(0o755)
    shutil.rmtree(folder)


def as_nobody(call):
    """How a call ended and what it said, in a process that is not root's."""

    def work(pipe):
        if os.geteuid() == 0:
            os.setuid(65534)
        said, status = io.StringIO(), 0
        with redirect_stderr(said):
            try:
                call()
            except SystemExit as stopped:
                status = stopped.code
            except OSError as error:
                status = str(error)
        pipe.send((status, said.getvalue()))

    mine, childs = FORK.Pipe()
    process = FORK.Process(target=work, args=(childs,))
    process.start()
    answer = mine.recv() if mine.poll(60) else ("no answer", "")
    process.join()
    return answer


@pytest.mark.parametrize("folder", ["new", "begun"])
@pytest.mark.parametrize("command", ["generate", "measure"])
def test_a_folder_that_cannot_be_written_is_named_and_left_alone(
    shelf, monkeypatch, command, folder
):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    options = {
        "generate": ["--world", "tiny_world:make_world", "--n", "4", "--pilot", "2"],
        "measure": [str(shelf), "--world", "tiny_world:make_world"],
    }
    before = listing(shelf)
    line = [command, *options[command], "--out", str(shelf / folder)]
    status, said = as_nobody(lambda: main(line))
    assert status == 2, said
    assert str(shelf) in said and "Traceback" not in said
    assert listing(shelf) == before


def test_a_table_that_cannot_be_written_stays_as_it_was(shelf, recipes):
    from tables import Table

    before = listing(shelf)
    status, _ = as_nobody(lambda: Table(shelf / "rows.csv", ["seed"]).add([{"seed": 1}]))
    assert "rows" in status and "denied" in status
    assert listing(shelf) == before
