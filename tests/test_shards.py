"""Each test is named after the promise it keeps."""

import io
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from kills import HANG, forks, killed_at
from PIL import Image
from tiny_world import ATTRIBUTES, make_world

from fairgen_utils.apps.shards import generate_sharded, join, main, merge, plan

HERE = Path(__file__).parent
RUN = ["-m", "fairgen_utils.apps.shards", "--world", "tiny_world:make_world", "--shard-size", "20"]
RUN += ["--pilot", "10"]
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


def environment():
    return os.environ | {"PYTHONPATH": str(HERE), "OMP_NUM_THREADS": "1"}


def run(*arguments):
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=HANG)


def contents(folder):
    with zipfile.ZipFile(folder / "faces.zip") as archive:
        pictures = {name: archive.read(name) for name in archive.namelist()}
    return pictures, (folder / "labels.csv").read_text()


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    """What one process makes without being disturbed."""
    folder = tmp_path_factory.mktemp("unbroken")
    paths = generate_sharded(make_world(), "tone", [0.5, 0.5], 70, folder, 0, 10, 20)
    assert merge(paths, folder, ATTRIBUTES) == 70
    return folder


def test_shards_hold_the_faces_that_were_asked_for(unbroken):
    paths = sorted(unbroken.glob("faces_*.npz"))
    assert [len(join([path], "images")) for path in paths] == [20, 20, 20, 10]
    pictures, _ = contents(unbroken)
    table = pd.read_csv(unbroken / "labels.csv")
    assert table["file"].tolist() == sorted(pictures)
    assert len(set(pictures.values())) == 70  # no face twice
    # uniform target, N = 70: three standard errors
    assert (table["tone"] == "bright").mean() == pytest.approx(0.5, abs=0.18)
    for row in table.itertuples():
        picture = np.array(Image.open(io.BytesIO(pictures[row.file])))
        assert (picture.mean() > 127.5) == (row.tone == "bright")


def test_two_processes_make_the_faces_that_one_makes(unbroken, tmp_path):
    result = run(*TORCHRUN, *RUN, "--faces", 70, "--out", tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("70 faces") == 1  # merged once
    assert contents(tmp_path) == contents(unbroken)


@forks
def test_a_killed_run_goes_on_where_it_was(unbroken, tmp_path):
    def work(folder):
        main([*RUN[2:], "--faces", "70", "--out", str(folder)])

    _, moments = killed_at(work, tmp_path / "whole")
    assert contents(tmp_path / "whole") == contents(unbroken)
    for moment in np.linspace(2, moments, 5).astype(int):
        folder = tmp_path / str(moment)
        killed, _ = killed_at(work, folder, moment)
        assert killed
        left = {path: path.stat().st_mtime_ns for path in folder.glob("*.npz")}
        assert not killed_at(work, folder)[0]
        assert {path: path.stat().st_mtime_ns for path in left} == left  # none made twice
        assert contents(folder) == contents(unbroken)
    assert left


def test_a_lost_shard_is_made_again_and_alone(unbroken, tmp_path):
    paths = generate_sharded(make_world(), "tone", [0.5, 0.5], 70, tmp_path, 0, 10, 20)
    before = {path: path.stat().st_mtime_ns for path in paths}
    paths[1].unlink()
    (tmp_path / ".faces_00001.1.tmp").write_bytes(b"half a shard")
    again = generate_sharded(make_world(), "tone", [0.5, 0.5], 70, tmp_path, 0, 10, 20)
    changed = [path for path in again if path.stat().st_mtime_ns != before[path]]
    assert changed == [paths[1]]
    merge(again, tmp_path, ATTRIBUTES)
    assert contents(tmp_path) == contents(unbroken)


def test_another_seed_makes_other_faces_of_the_same_data(unbroken, tmp_path):
    paths = generate_sharded(make_world(), "tone", [0.5, 0.5], 20, tmp_path, 1, 10, 20)
    first = join(sorted(unbroken.glob("faces_*.npz"))[:1], "images")
    assert not np.array_equal(join(paths, "images"), first)


def test_plain_faces_need_neither_pool_nor_pilot(tmp_path):
    paths = generate_sharded(make_world(), "tone", [0.5, 0.5], 40, tmp_path, plain=True)
    assert [path.name for path in tmp_path.glob("*.npz")] == ["faces_00000.npz"]
    assert join(paths, "label_tone").mean() < 0.45  # as skewed as the data


def test_a_folder_with_another_run_is_left_alone(unbroken):
    before = sorted((path.name, path.stat().st_mtime_ns) for path in unbroken.iterdir())
    with pytest.raises(ValueError, match=r"^folder: .*other settings \({'n': 70}\)"):
        generate_sharded(make_world(), "tone", [0.5, 0.5], 80, unbroken, 0, 10, 20)
    assert before == sorted((path.name, path.stat().st_mtime_ns) for path in unbroken.iterdir())


def test_settings_say_how_the_faces_were_made(unbroken):
    settings = json.loads((unbroken / "settings.json").read_text())
    assert settings["attribute"] == "tone" and settings["seed"] == 0
    assert {"torch", "diffusers", "timestep", "num_inference_steps"} <= set(settings)


def test_a_plan_counts_faces_calls_and_bytes():
    world = make_world(pool_size=500)
    costs = plan(world, n=1000, components=2, per_component=30)
    assert costs["faces"].to_dict() == {"pool": 500, "pilot": 60, "faces": 1000}
    # the pool takes the whole schedule; what starts at three tenths of signal, about a third of it
    assert costs.loc["pool", "calls"] == 100
    assert 20 < costs.loc["faces", "calls"] == costs.loc["pilot", "calls"] < 50
    assert costs.loc["faces", "gigabytes"] == pytest.approx(1000 * 16 * 16 * 3 / 1e9)
    per_face = costs["hours"] / costs["faces"]
    assert per_face["faces"] == pytest.approx(per_face["pilot"])
    assert 0 < per_face["faces"] < per_face["pool"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--faces", "0"), "n, shard_size"),
        (("--shard-size", "0"), "n, shard_size"),
        (("--target", "race"), "attribute: found 'race'"),
        (("--world", "nobody"), "name: there is no world 'nobody'"),
        (("--world", "tiny_world:nothing"), "world: tiny_world:nothing cannot be called"),
        (("--world", "tiny_world:exact_pipeline"), "returned DDPMPipeline; return a world"),
    ],
)
def test_bad_input_is_refused_in_one_line(arguments, said, tmp_path, capsys):
    given = ["--world", "tiny_world:make_world", "--out", str(tmp_path / "out"), *arguments]
    with pytest.raises(SystemExit) as stop:
        main(given)
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
    assert not list(tmp_path.glob("out/*.npz"))
