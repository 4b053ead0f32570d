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

from fairgen_utils.apps.command_line import main
from fairgen_utils.apps.order import Order, plan
from fairgen_utils.apps.shards import generate_sharded, join, merge

HERE = Path(__file__).parent
N = 140  # two batches and a bit
RUN = ["-m", "fairgen_utils", "shards", "--world", "tiny_world:make_world", "--shard-size", "64"]
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


def environment():
    return os.environ | {"PYTHONPATH": str(HERE), "OMP_NUM_THREADS": "1"}


def run(*arguments):
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=HANG)


def order(n=N, **given):
    return Order(make_world(), "tone", [0.5, 0.5], n, **given)


def contents(folder):
    with zipfile.ZipFile(folder / "faces.zip") as archive:
        pictures = {name: archive.read(name) for name in archive.namelist()}
    return pictures, (folder / "labels.csv").read_text()


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    """What one process makes without being disturbed."""
    folder = tmp_path_factory.mktemp("unbroken")
    paths = generate_sharded(order(), folder, 64)
    assert merge(paths, folder, ATTRIBUTES) == N
    return folder


def test_shards_hold_the_faces_that_were_asked_for(unbroken):
    paths = sorted(unbroken.glob("faces_*.npz"))
    assert [len(join([path], "images")) for path in paths] == [64, 64, 12]
    pictures, _ = contents(unbroken)
    table = pd.read_csv(unbroken / "labels.csv")
    assert table["file"].tolist() == sorted(pictures)
    assert len(set(pictures.values())) == N  # no face twice
    # even quotas; the classifier may read a face at the border as another group
    assert (table["tone"] == "bright").mean() == pytest.approx(0.5, abs=0.1)
    for row in table.itertuples():
        picture = np.array(Image.open(io.BytesIO(pictures[row.file])))
        assert (picture.mean() > 127.5) == (row.tone == "bright")


@pytest.mark.slow
def test_two_processes_make_the_faces_that_one_makes(unbroken, tmp_path):
    result = run(*TORCHRUN, *RUN, "--faces", N, "--out", tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count(f"{N} faces:") == 1  # merged once
    (made, labels), (expected, wanted) = contents(tmp_path), contents(unbroken)
    assert labels == wanted and made.keys() == expected.keys()
    for name in made:  # other threads sum in another order: a grey level, here and there
        pair = [np.array(Image.open(io.BytesIO(files[name])), int) for files in (made, expected)]
        assert abs(pair[0] - pair[1]).max() <= 1


@forks
@pytest.mark.slow
def test_a_killed_run_goes_on_where_it_was(unbroken, tmp_path):
    def work(folder):
        main([*RUN[2:], "--faces", str(N), "--out", str(folder)])

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
    paths = generate_sharded(order(), tmp_path, 64)
    before = {path: path.stat().st_mtime_ns for path in paths}
    paths[1].unlink()
    (tmp_path / ".faces_00001.1.tmp").write_bytes(b"half a shard")
    again = generate_sharded(order(), tmp_path, 64)
    changed = [path for path in again if path.stat().st_mtime_ns != before[path]]
    assert changed == [paths[1]]
    merge(again, tmp_path, ATTRIBUTES)
    assert contents(tmp_path) == contents(unbroken)


def test_another_seed_makes_other_faces_of_the_same_data(unbroken, tmp_path):
    paths = generate_sharded(order(64, seed=1), tmp_path, 64)
    first = join(sorted(unbroken.glob("faces_*.npz"))[:1], "images")
    assert not np.array_equal(join(paths, "images"), first)


def test_plain_faces_need_neither_pool_nor_pilot(tmp_path):
    paths = generate_sharded(order(64, method="plain"), tmp_path)
    assert [path.name for path in tmp_path.glob("*.npz")] == ["faces_00000.npz"]
    assert join(paths, "label_tone").mean() < 0.45  # as skewed as the data


def test_a_pilot_is_made_in_shards_where_weights_are_fitted(tmp_path):
    paths = generate_sharded(order(64, method="localized", per_component=50), tmp_path, 64)
    pilot = [len(join([path], "images")) for path in sorted(tmp_path.glob("pilot_*.npz"))]
    assert pilot == [64, 36]
    # even, N = 64: three standard errors
    assert join(paths, "label_tone").mean() == pytest.approx(0.5, abs=0.19)


def test_a_folder_with_another_run_is_left_alone(unbroken):
    before = sorted((path.name, path.stat().st_mtime_ns) for path in unbroken.iterdir())
    with pytest.raises(ValueError, match=rf"^folder: .*other settings made: n is {N} there, 80"):
        generate_sharded(order(80), unbroken, 64)
    assert before == sorted((path.name, path.stat().st_mtime_ns) for path in unbroken.iterdir())


def test_settings_say_how_the_faces_were_made(unbroken):
    settings = json.loads((unbroken / "settings.json").read_text())
    assert settings["attribute"] == "tone" and settings["seed"] == 0
    assert {"precision", "device", "strength", "num_inference_steps"} <= set(settings)
    assert {"torch", "diffusers", "numpy"} <= set(settings["versions"])


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"pool_size": 201}, "pool_size is 200 there, 201 here"),
        ({"seed": 1}, "pool_seed is 0 there, 1 here"),
        ({"num_inference_steps": 99}, "num_inference_steps is 100 there, 99 here"),
    ],
)
def test_a_world_made_in_another_way_is_refused_by_name(changed, named, unbroken):
    with pytest.raises(ValueError, match=named):
        generate_sharded(Order(make_world(**changed), "tone", None, N), unbroken, 64)


def test_latents_that_somebody_brought_are_used_and_told_apart(unbroken, tmp_path):
    world = make_world()
    paths = sorted(unbroken.glob("pool_*.npz"))
    latents, labels = join(paths, "latents"), {"tone": join(paths, "label_tone")}
    world.set_pool(latents, labels)
    generate_sharded(Order(world, "tone", None, 64), tmp_path, 64)
    assert not list(tmp_path.glob("pool_*.npz"))
    world.set_pool(latents[1:], {"tone": labels["tone"][1:]})
    with pytest.raises(ValueError, match="pool is [0-9a-f]{8} there, [0-9a-f]{8} here"):
        generate_sharded(Order(world, "tone", None, 64), tmp_path, 64)


def test_a_pool_made_in_shards_is_the_one_that_a_world_makes_alone(unbroken):
    alone = make_world()
    latents, labels = alone.latents()
    paths = sorted(unbroken.glob("pool_*.npz"))
    assert np.array_equal(join(paths, "latents"), latents)
    assert np.array_equal(join(paths, "label_tone"), labels["tone"])


def test_a_plan_counts_faces_calls_and_bytes():
    world = make_world(pool_size=500)
    costs = plan(world, 1000, method="localized", per_component=30)
    assert costs["faces"].to_dict() == {"pool": 500, "pilot": 60, "faces": 1000}
    # the pool takes the whole schedule; what starts at three tenths of signal, about a third of it
    assert costs.loc["pool", "nfe"] == 100
    assert 20 < costs.loc["faces", "nfe"] == costs.loc["pilot", "nfe"] < 50
    guided, plain = plan(world, 1000), plan(world, 1000, method="plain")
    assert guided["nfe"].to_dict() == {"pool": 100, "faces": 100}
    assert plain["nfe"].to_dict() == {"faces": 100}
    assert costs.loc["faces", "gigabytes"] == pytest.approx(1000 * 16 * 16 * 3 / 1e9)
    per_face = costs["hours"] / costs["faces"]
    assert per_face["faces"] == pytest.approx(per_face["pilot"])
    assert 0 < per_face["faces"] < per_face["pool"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--faces", "0"), "n: 0; pass"),
        (("--shard-size", "0"), "shard_size: 0; pass"),
        (("--shard-size", "100"), "shard_size: found 100; give a multiple of 64"),
        (("--dtype", "bfloat16"), "dtype: tiny_world:make_world makes its world itself"),
        (("--target", "race"), "attribute: found 'race'"),
        (("--world", "nobody"), "name: there is no world 'nobody'"),
        (("--world", "tiny_world:nothing"), "world: tiny_world:nothing cannot be called"),
        (("--world", "tiny_world:exact_pipeline"), "returned DDPMPipeline; return a world"),
    ],
)
def test_bad_input_is_refused_in_one_line(arguments, said, tmp_path, capsys):
    given = ["--world", "tiny_world:make_world", "--out", str(tmp_path / "out")]
    with pytest.raises(SystemExit) as stop:
        main(["shards", *given, "--faces", "20", *arguments])
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
    assert not list(tmp_path.glob("out/*.npz"))
