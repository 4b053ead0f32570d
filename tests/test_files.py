"""Each test is named after the promise it keeps."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from kills import HANG
from PIL import Image
from tiny_world import make_world

from fairgen_utils import _files
from fairgen_utils._files import (
    check_same,
    data_folder,
    fingerprint,
    provenance,
    read_json,
    whole_file,
    write_arrays,
    write_json,
    write_picture,
    write_pictures,
    write_whole,
)

ROOT = Path(__file__).resolve().parent.parent


def test_what_is_written_is_read_again(tmp_path):
    write_whole(tmp_path / "text", "Größe\n")
    write_whole(tmp_path / "bytes", b"\x00\xff")
    write_arrays(tmp_path / "a.npz", faces=np.arange(6).reshape(2, 3), seed=np.array(3))
    write_json(tmp_path / "a.json", {"target": np.array([0.25, 0.75]), "cells": ("a", "ß")})
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    write_picture(tmp_path / "a.png", image)
    assert (tmp_path / "text").read_bytes() == "Größe\n".encode()
    assert (tmp_path / "bytes").read_bytes() == b"\x00\xff"
    with np.load(tmp_path / "a.npz") as stored:
        assert stored["faces"].tolist() == [[0, 1, 2], [3, 4, 5]] and stored["seed"] == 3
    assert read_json(tmp_path / "a.json") == {"target": [0.25, 0.75], "cells": ["a", "ß"]}
    assert np.array_equal(np.asarray(Image.open(tmp_path / "a.png")), image)


def test_pictures_are_numbered_in_order(tmp_path):
    images = np.arange(3, dtype=np.uint8)[:, None, None, None] * np.ones((1, 4, 4, 3), np.uint8)
    assert write_pictures(tmp_path, images, first=9) == ["000009.png", "000010.png", "000011.png"]
    assert [np.asarray(Image.open(path)).max() for path in sorted(tmp_path.iterdir())] == [0, 1, 2]


@pytest.mark.parametrize("old", [None, b"old"])
def test_a_failure_midway_leaves_the_old_file_and_nothing_beside_it(tmp_path, old):
    path = tmp_path / "file"
    if old is not None:
        path.write_bytes(old)
    with pytest.raises(RuntimeError):
        with whole_file(path) as temporary:
            temporary.write_bytes(b"half")
            raise RuntimeError
    assert [found.name for found in tmp_path.iterdir()] == (["file"] if old else [])
    assert old is None or path.read_bytes() == old


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_keeps_the_old_file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    (tmp_path / f".file.{os.getpid()}.tmp").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        write_whole(path, b"new" * 10_000)
    assert [found.name for found in tmp_path.iterdir()] == ["file"]
    assert path.read_bytes() == b"old"


def test_an_error_names_the_file_that_was_asked_for(tmp_path):
    path = tmp_path / "missing" / "file.json"
    with pytest.raises(FileNotFoundError) as caught:
        write_json(path, {})
    assert str(path) in str(caught.value) and ".tmp" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[1]"])
def test_a_damaged_record_is_refused_by_name(tmp_path, content):
    (tmp_path / "r.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"r\.json is damaged"):
        read_json(tmp_path / "r.json")


SETTINGS = {"method": "plain", "seed": 0, "target": [0.5, 0.5]}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"seed": 1}, "seed is 0 there, 1 here"),
        ({"method": "guided"}, "method is 'plain' there, 'guided' here"),
        ({"target": [0.5, 0.25, 0.25]}, r"target\[1\] is 0.5 there, 0.25 here"),
        ({"strength": 4.0}, "strength is not told there, 4.0 here"),
        ({"target": []}, r"target\[0\] is 0.5 there, not told here"),
    ],
)
def test_a_setting_that_differs_is_named_with_both_values(change, named):
    check_same(SETTINGS | {"note": "more is fine"}, SETTINGS, "out: faces")
    with pytest.raises(ValueError, match=rf"^out: faces holds what other settings made: {named}"):
        check_same(SETTINGS, SETTINGS | change, "out: faces")


def test_other_groups_are_told_by_their_names_and_not_by_their_shares():
    made, wanted = ({"attribute": a, "target": [1 / n] * n} for a, n in (("race", 18), ("age", 2)))
    with pytest.raises(ValueError) as caught:
        check_same(made, wanted, "out: faces")
    assert "attribute is 'race' there, 'age' here. Give" in str(caught.value)


def test_a_world_made_anew_is_told_in_a_line_not_in_a_page():
    files = {"checksums": {f"file{i}": f"{i:064}" for i in range(18)}}
    other = {"checksums": {f"file{i}": f"{i:a>64}" for i in range(18)}}
    with pytest.raises(ValueError) as caught:
        check_same(files, other, "out: faces")
    assert "checksums.file0 is 00000000 there, aaaaaaaa here" in str(caught.value)
    assert "and 15 more" in str(caught.value) and len(str(caught.value)) < 400


def test_a_fingerprint_survives_its_file(tmp_path):
    wanted = fingerprint(make_world(), SETTINGS | {"cells": ("a", "b"), "n": np.int64(3)})
    write_json(tmp_path / "f.json", wanted)
    check_same(read_json(tmp_path / "f.json"), wanted, "out")


def test_fingerprints_tell_weights_precision_and_settings_apart():
    world = make_world()
    first = fingerprint(world, SETTINGS)
    assert first == fingerprint(make_world(), SETTINGS)
    assert first["precision"] == "float32" and first["device"] == "cpu"
    assert first["versions"]["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert fingerprint(world, SETTINGS | {"seed": 1}) != first
    world.pipeline.to(torch.bfloat16)
    assert fingerprint(world, SETTINGS)["precision"] == "bfloat16"
    world.pipeline.to(torch.float32)
    with torch.no_grad():
        world.pipeline.unet.unused.add_(1)
    with pytest.raises(ValueError, match=r"checksums\.generator is \w{8} there, \w{8} here"):
        check_same(first, fingerprint(world, SETTINGS), "out")


def test_a_shipped_worlds_checksums_are_its_files():
    pipeline = SimpleNamespace(device=torch.device("cpu"))
    world = SimpleNamespace(name="heads", checksums={"latents.npz": "ab"}, pipeline=pipeline)
    assert fingerprint(world, {})["checksums"] == {"latents.npz": "ab"}


def test_provenance_says_what_labels_are_and_holds_the_fingerprint():
    world = make_world()
    told = provenance(world, SETTINGS)
    check_same(told, fingerprint(world, SETTINGS), "out")
    assert "perceived" in told["labels"] and json.dumps(told)


@pytest.mark.parametrize("deep", ["", "notebooks", "notebooks/mine/and deeper"])
def test_worlds_are_found_above_the_folder_one_works_in(deep, tmp_path, monkeypatch):
    monkeypatch.setattr(_files, "__file__", str(tmp_path / "site" / "fairgen_utils" / "_files.py"))
    (tmp_path / "course" / "data" / "heads").mkdir(parents=True)
    (tmp_path / "course" / "data" / "heads" / "world.json").write_text("{}")
    (tmp_path / "course" / deep).mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir(tmp_path / "course" / deep)
    assert data_folder().resolve() == (tmp_path / "course" / "data").resolve()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match="clone the whole repository, then install it"):
        data_folder()


@pytest.mark.slow
def test_an_installed_package_is_whole_and_says_where_its_worlds_are(tmp_path):
    """`pip install .`, not editable: code alone, and a notebook that lies elsewhere."""
    given = ["--no-deps", "--no-build-isolation", "--no-index", "--target", str(tmp_path / "site")]
    left_out = shutil.ignore_patterns("data", "notebooks", ".git", "runs", "outputs", ".venv")
    source = shutil.copytree(ROOT, tmp_path / "source", ignore=left_out)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", *given, str(source)]
    subprocess.run(pip, check=True, timeout=HANG)
    package = ROOT / "fairgen_utils"
    ours = {path.relative_to(package) for path in package.rglob("*") if path.is_file()}
    ours = {path for path in ours if "__pycache__" not in path.parts}
    assert all((tmp_path / "site" / "fairgen_utils" / path).is_file() for path in ours)
    code = "import fairgen_utils; print(fairgen_utils.load_world('heads').folder)"
    look = {"env": os.environ | {"PYTHONPATH": str(tmp_path / "site")}, "timeout": HANG}
    look |= {"capture_output": True, "text": True}
    elsewhere = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, **look)
    assert "then install it with 'pip install -e .' in its folder" in elsewhere.stderr
    inside = subprocess.run([sys.executable, "-c", code], cwd=ROOT / "notebooks", **look)
    assert Path(inside.stdout.strip()) == ROOT / "data" / "heads"


def test_writing_files_needs_no_torch():
    code = "import sys, fairgen_utils._files; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
