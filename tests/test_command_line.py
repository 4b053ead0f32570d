"""Each test is named after the promise it keeps."""

import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from filelock import FileLock
from kills import HANG, forks, killed_again_and_again, killed_at
from PIL import Image
from tiny_world import make_world

from fairgen_utils.apps.command_line import main, make_dataset, measure_folder
from fairgen_utils.datasets import read_pictures

HERE = Path(__file__).parent
TINY = ["--world", "tiny_world:make_world"]
GENERATE = ["generate", *TINY, "--n", "70", "--pilot", "10"]
KILLS = 20


def environment():
    return os.environ | {"PYTHONPATH": str(HERE), "OMP_NUM_THREADS": "1"}


def run(*arguments):
    command = [sys.executable, "-m", "fairgen_utils", *map(str, arguments)]
    return subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=HANG)


def contents(folder):
    """Every file of a dataset, with what it holds."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli") / "faces"
    result = run(*GENERATE, "--out", folder)
    assert result.returncode == 0, result.stderr
    return folder


def test_a_dataset_has_its_pictures_labels_and_provenance(unbroken):
    table = pd.read_csv(unbroken / "labels.csv")
    assert table["file"].tolist() == sorted(path.name for path in (unbroken / "images").iterdir())
    assert len(table) == 70
    pictures = [(unbroken / "images" / file).read_bytes() for file in table["file"]]
    assert len(set(pictures)) == 70  # no face twice
    made = json.loads((unbroken / "provenance.json").read_text())
    assert made["sha256"]["images"] == hashlib.sha256(b"".join(pictures)).hexdigest()
    told = hashlib.sha256((unbroken / "labels.csv").read_bytes()).hexdigest()
    assert made["sha256"]["labels.csv"] == told
    assert not (unbroken / "shards").exists()
    for row in table.itertuples():
        mean = np.array(Image.open(unbroken / "images" / row.file)).mean()
        assert (mean > 127.5) == (row.tone == "bright")


@forks
def test_runs_killed_at_random_moments_end_as_an_unbroken_one(unbroken, tmp_path):
    """Twenty kills; when a run gets done in between, the next one begins another dataset."""

    def work(folder):
        main([*GENERATE, "--out", str(folder)])

    def folders(number):
        return tmp_path / f"faces{number}"

    def look(folder):
        return (folder / "shards").exists()

    midway, last = killed_again_and_again(work, KILLS, folders, 0, look)
    assert midway > KILLS // 3
    for number in range(last + 1):
        assert killed_at(work, folders(number))[0] is False  # some were killed while tidying up
        assert contents(folders(number)) == contents(unbroken)


def test_the_same_command_again_changes_nothing(unbroken):
    before = {path: path.stat().st_mtime_ns for path in unbroken.rglob("*.png")}
    assert run(*GENERATE, "--out", unbroken).returncode == 0
    assert before == {path: path.stat().st_mtime_ns for path in unbroken.rglob("*.png")}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seed", "1"], "another dataset"),
        (["--target", "colour"], "colour"),
        (["--target", "tone=0.9,0.9"], "sum to 1"),
        (["--world", "no_such_module:world"], "no_such_module"),
        (["--world", "nowhere"], "nowhere"),
    ],
)
def test_generate_refuses_kindly(unbroken, tmp_path, arguments, message):
    folder = tmp_path / "faces"
    shutil.copytree(unbroken, folder)
    result = run(*GENERATE, *arguments, "--out", folder)
    assert result.returncode == 2
    assert message in result.stderr and "Traceback" not in result.stderr
    assert contents(folder) == contents(unbroken)


def test_generate_keeps_out_of_a_folder_with_other_things(tmp_path):
    (tmp_path / "thesis.docx").write_text("mine")
    with pytest.raises(ValueError, match="thesis.docx"):
        make_dataset(make_world(), "tone", [0.5, 0.5], 20, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.docx"]


def test_two_runs_at_once_keep_out_of_each_others_way(tmp_path):
    with FileLock(tmp_path / ".lock"):
        with pytest.raises(ValueError, match="another run is at work"):
            make_dataset(make_world(), "tone", [0.5, 0.5], 20, tmp_path)
    assert make_dataset(make_world(), "tone", [0.5, 0.5], 20, tmp_path, 0, 10)["n"] == 20


def test_a_file_where_the_folder_should_be_is_an_error_and_stays(tmp_path, capsys):
    place = tmp_path / "faces"
    place.write_text("mine")
    with pytest.raises(SystemExit) as stop:
        main(["measure", str(HERE), *TINY, "--out", str(place)])
    assert stop.value.code == 2
    assert str(place) in capsys.readouterr().err and place.read_text() == "mine"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_is_told_and_leaves_no_table(tmp_path):
    (tmp_path / "labels.csv.part").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        make_dataset(make_world(), "tone", [0.5, 0.5], 20, tmp_path, 0, 10)
    assert not (tmp_path / "labels.csv").exists()
    assert not (tmp_path / "provenance.json").exists()
    (tmp_path / "labels.csv.part").unlink()
    assert make_dataset(make_world(), "tone", [0.5, 0.5], 20, tmp_path, 0, 10)["n"] == 20


def test_measured_shares_are_those_of_the_table(unbroken):
    table = pd.read_csv(unbroken / "labels.csv")
    measured, fairness = measure_folder(make_world(), unbroken / "images")
    wanted = table["tone"].value_counts(normalize=True)
    assert measured.set_index("group")["share"].to_dict() == pytest.approx(wanted.to_dict())
    inside = (measured["low"] <= measured["share"]) & (measured["share"] <= measured["high"])
    assert inside.all() and (measured["n"] == 70).all() and fairness["n"].tolist() == [70]


def test_measure_prints_shares_and_draws_them(unbroken, tmp_path):
    result = run("measure", unbroken / "images", *TINY, "--out", tmp_path)
    assert result.returncode == 0, result.stderr
    assert "bright" in result.stdout and "fd_corrected" in result.stdout
    assert Image.open(tmp_path / "shares.png").width > 300
    assert set(pd.read_csv(tmp_path / "shares.csv")["group"]) == {"dark", "bright"}


# --- pictures from strangers ---------------------------------------------------------------------


def encoded(picture, form, **options):
    stream = io.BytesIO()
    picture.save(stream, form, **options)
    return stream.getvalue()


GREY = Image.new("RGB", (40, 40), (120, 120, 120))
HOSTILE = {
    "truncated.png": (encoded(Image.effect_noise((40, 40), 90), "PNG")[:900], "damaged"),
    "truncated.jpg": (encoded(GREY, "JPEG")[:300], "damaged"),
    "text.png": (b"not a picture", "damaged"),
    "empty.png": (b"", "damaged"),
    "huge.png": (encoded(Image.new("L", (8000, 8000)), "PNG"), "pixels"),
    "cmyk.jpg": (encoded(Image.new("CMYK", (40, 40)), "JPEG"), "CMYK"),
    "animated.png": (
        encoded(GREY, "PNG", save_all=True, append_images=[Image.new("RGB", (40, 40))]),
        "animated",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("zipped", [False, True])
def test_a_strangers_picture_is_refused_by_name(name, zipped, tmp_path):
    content, reason = HOSTILE[name]
    if zipped:
        path = tmp_path / "faces.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(name, content)
    else:
        path = tmp_path
        (path / name).write_bytes(content)
    with pytest.raises(ValueError, match=name) as error:
        read_pictures(path)[:]
    assert reason in str(error.value)


@pytest.mark.parametrize("name", ["../out.png", "a/../../out.png", "/etc/out.png"])
def test_an_archive_that_points_outside_itself_is_not_read(name, tmp_path):
    path = tmp_path / "faces.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name, encoded(GREY, "PNG"))
    with pytest.raises(ValueError, match="outside itself"):
        read_pictures(path)
    assert [found.name for found in tmp_path.iterdir()] == ["faces.zip"]


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path):
    path = tmp_path / "faces.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("bomb.png", "w") as member:
            for _ in range(101):
                member.write(bytes(1_000_000))
    assert path.stat().st_size < 1_000_000
    with pytest.raises(ValueError, match="bomb.png unpacks to more than 100 MB"):
        read_pictures(path)[:]


def test_a_folder_without_pictures_is_told(tmp_path):
    (tmp_path / "notes.txt").write_text("none here")
    with pytest.raises(FileNotFoundError, match="holds no"):
        read_pictures(tmp_path)
