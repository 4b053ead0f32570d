"""Damaged files are refused by name, run no code, and are left alone."""

import hashlib
import json
import os
import pickle
import random
import re
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from bad_inputs import CALM, listing, refused
from data_sets import celeba, fairface, heads, photographs
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from fairgen_utils import datasets
from fairgen_utils.apps import shards
from fairgen_utils.apps.dashboard import Settings
from fairgen_utils.apps.dataset import make_dataset
from fairgen_utils.apps.order import Order
from fairgen_utils.apps.shards import generate_sharded
from fairgen_utils.datasets.celeba import CELEBA_COLUMNS
from fairgen_utils.load import load_world
from fairgen_utils.models.own_world import own_world


@pytest.fixture(scope="module")
def world(worlds_root):
    return load_world("tiny", worlds_root)


damages = st.tuples(st.sampled_from(["cut", "flip", "empty", "text"]), st.integers(0, 2**31))
unflipped = damages.filter(lambda how: how[0] != "flip")  # a flipped bit may be a legal value


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


def refuses_damaged(make, read, word, kinds=damages):
    """Assert that `read(path)` refuses the damaged file that `make()` gave, and leaves it alone."""

    @settings(**CALM)
    @given(kinds)
    def check(how):
        path = make()
        damage(path, *how)
        before = listing(path.parent)
        refused(f"{path.name} read by {read}", how, lambda how: read(path), word)
        assert listing(path.parent) == before

    check()


@pytest.mark.parametrize(
    "file",
    [
        "world.json",
        "generator/unet/diffusion_pytorch_model.safetensors",
        "classifier/diffusion_pytorch_model.safetensors",
        "generator/model_index.json",
        "latents.npz",
        "reference.npz",
    ],
)
def test_a_world_with_a_damaged_file_is_refused_by_name(worlds_root, tmp_path, file):
    kinds = unflipped if file == "world.json" else damages  # the one file without a checksum
    root = shutil.copytree(worlds_root, tmp_path / "data")

    def make():
        return Path(shutil.copy(worlds_root / "tiny" / file, root / "tiny" / file))

    refuses_damaged(make, lambda path: load_world("tiny", root), f".*{Path(file).name}", kinds)


@pytest.mark.parametrize("missing", ["sha256", "attributes", "extrapolation", "strength", None])
def test_a_card_that_does_not_tell_all_is_refused(own_root, missing):
    path = own_root / "tiny" / "world.json"
    card = json.loads(path.read_text())
    path.write_text(json.dumps({k: card[k] for k in card if k != missing} if missing else [card]))
    refused("world.json without", missing, lambda _: load_world("tiny", own_root), ".*world.json")


class Trap:
    """A pickle of it makes a folder when it is opened."""

    def __init__(self, place):
        self.place = place

    def __reduce__(self):
        return os.mkdir, (str(self.place),)


@pytest.mark.parametrize("network", ["generator/unet", "generator/vqvae", "classifier"])
@pytest.mark.parametrize("content", ["trap", "tensors"])
def test_weights_are_read_from_safetensors_alone(own_root, tmp_path, network, content):
    """A pickle is not opened, whatever its name, what it holds and what the card says of it."""
    folder, card_path = own_root / "tiny" / network, own_root / "tiny" / "world.json"
    weights, sprung = folder / "diffusion_pytorch_model.safetensors", tmp_path / "sprung"
    pickled, card = folder / "diffusion_pytorch_model.bin", json.loads(card_path.read_text())
    if content == "trap":
        pickled.write_bytes(pickle.dumps(Trap(sprung)))
    else:
        torch.save(load_file(weights), pickled)
    load_world("tiny", own_root)  # beside the weights it's nobody's business
    weights.write_bytes(pickled.read_bytes())
    key = f"{content} for {network}"
    refused(key, "in place", lambda _: load_world("tiny", own_root), ".*safetensors is damaged")
    file = weights.relative_to(own_root / "tiny").as_posix()
    card["sha256"][file] = hashlib.sha256(weights.read_bytes()).hexdigest()
    card_path.write_text(json.dumps(card))
    refused(key, "in the card", lambda _: load_world("tiny", own_root), ".*from safetensors")
    weights.unlink()
    del card["sha256"][file]
    card_path.write_text(json.dumps(card))
    refused(key, "alone", lambda _: load_world("tiny", own_root), ".*from safetensors")
    assert not sprung.exists()


def test_a_generator_of_ones_own_runs_no_code_either(own_root, tmp_path):
    """Some on the hub have no safetensors; pickles of theirs are read as tensors and no more."""
    unet, sprung = own_root / "tiny" / "generator" / "unet", tmp_path / "sprung"
    (unet / "diffusion_pytorch_model.safetensors").unlink()
    (unet / "diffusion_pytorch_model.bin").write_bytes(pickle.dumps(Trap(sprung)))
    generator = own_root / "tiny" / "generator"
    refused(
        "own pickle",
        "unet",
        lambda _: own_world(generator, lambda images: {}, {"tone": ("dark", "bright")}),
        "generator",
    )
    assert not sprung.exists()


@pytest.mark.parametrize(
    "read", [datasets.read_pictures, lambda path: datasets.read_utkface(path, "train")]
)
def test_damaged_archives_are_refused_and_left_alone(tmp_path, read):
    refuses_damaged(lambda: photographs(tmp_path), read, "path", unflipped)


def test_a_flipped_bit_in_a_picture_of_an_archive_is_found(tmp_path):
    @settings(**CALM)
    @given(st.integers(0, 2), st.integers(0, 500))
    def check(member, place):
        path = photographs(tmp_path)
        with zipfile.ZipFile(path) as archive:
            found = archive.infolist()[member]
        start = found.header_offset + 30 + len(found.filename)  # of the picture itself
        content = bytearray(path.read_bytes())
        content[start + place % found.compress_size] ^= 0xFF
        path.write_bytes(bytes(content))
        refused(
            "flipped picture",
            (member, place % found.compress_size),
            lambda _: datasets.read_pictures(path)[:],
            re.escape(found.filename),
        )

    check()


@pytest.mark.parametrize(
    ("make", "read", "words"),
    [
        (heads, datasets.read_heads, ["split", *datasets.HEADS_ATTRIBUTES]),
        (fairface, datasets.read_fairface, ["path", *datasets.FAIRFACE_ATTRIBUTES]),
        (celeba, datasets.read_celeba, ["path", *CELEBA_COLUMNS.values()]),
    ],
)
def test_a_table_that_is_cut_off_in_a_row_is_refused(tmp_path, make, read, words):
    path = make(tmp_path)
    read(tmp_path, "train")  # whole, it is read
    whole = path.read_text()
    inside = [i for i in range(1, len(whole)) if "\n" not in whole[i - 1 : i + 1]]

    @settings(**CALM)
    @given(st.one_of(st.sampled_from(inside), st.just(0)))
    def check(place):
        path.write_text(whole[:place])
        before = listing(tmp_path)
        refused(path.name, place, lambda _: read(tmp_path, "train"), "|".join(words))
        assert listing(tmp_path) == before

    check()


def test_a_table_without_the_last_of_its_faces_is_refused(tmp_path):
    """A whole row lost shows only against the archive."""
    path = heads(tmp_path)
    path.write_text("\n".join(path.read_text().splitlines()[:-1]) + "\n")
    refused("train.csv", "last row", lambda _: datasets.read_heads(tmp_path, "train"), "split")


def shard(folder):
    np.savez(folder / "faces_00000.npz", images=np.zeros((2, 8, 8, 3), np.uint8))
    return folder / "faces_00000.npz"


def test_a_damaged_shard_is_refused_by_name(tmp_path):
    def read(path):
        return shards.join([path], "images")

    refuses_damaged(lambda: shard(tmp_path), read, ".*faces_00000.npz", unflipped)


@pytest.mark.parametrize("file", ["settings.json", "provenance.json"])
def test_a_damaged_record_of_a_run_is_refused_by_name(world, tmp_path, file):
    def make():
        (tmp_path / file).write_text(json.dumps({"world": "tiny", "n": 4}))
        return tmp_path / file

    def read(path):
        make = generate_sharded if file == "settings.json" else make_dataset
        return make(Order(world, "gender", None, 4), tmp_path)

    if file == "provenance.json":
        (tmp_path / ".lock").touch()  # it takes one, and leaves it
    refuses_damaged(make, read, f".*{file}", unflipped)


def test_text_that_is_no_settings_is_refused(tmp_path):
    @settings(**CALM)
    @given(st.text(max_size=40))
    def check(text):
        (tmp_path / "settings.json").write_text(text, encoding="utf-8")
        refused("settings", text, lambda _: Settings.read(tmp_path / "settings.json"), "path")

    check()
