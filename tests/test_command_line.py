"""Each test is named after the promise it keeps."""

import contextlib
import hashlib
import io
import json
import os
import re
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
from tiny_world import SIZE, by_brightness, make_world

from fairgen_utils import _files
from fairgen_utils.apps import dataset
from fairgen_utils.apps import folder as folders_of_pictures
from fairgen_utils.apps.command_line import CODES, COMMANDS, main
from fairgen_utils.apps.dashboard import export
from fairgen_utils.apps.dataset import make_dataset
from fairgen_utils.apps.demo import run as run_demo
from fairgen_utils.apps.folder import measure_folder
from fairgen_utils.apps.order import Order
from fairgen_utils.apps.shards import generate_sharded, join
from fairgen_utils.datasets import read_pictures
from fairgen_utils.load import load_world

HERE = Path(__file__).parent
TINY = ["--world", "tiny_world:make_world"]
N = 70  # a batch and a bit
GENERATE = ["generate", *TINY, "--n", str(N)]
KILLS = 20


def environment():
    return os.environ | {"PYTHONPATH": str(HERE), "OMP_NUM_THREADS": "1"}


def order(n=20, **given):
    return Order(make_world(), "tone", [0.5, 0.5], n, **given)


def contents(folder):
    """Every file of a dataset, with what it holds."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli") / "faces"
    assert main([*GENERATE, "--out", str(folder)]) == 0
    return folder


def test_a_dataset_has_its_pictures_labels_and_provenance(unbroken):
    table = pd.read_csv(unbroken / "labels.csv")
    assert table["file"].tolist() == sorted(path.name for path in (unbroken / "images").iterdir())
    assert len(table) == N
    pictures = [(unbroken / "images" / file).read_bytes() for file in table["file"]]
    assert len(set(pictures)) == N  # no face twice
    made = json.loads((unbroken / "provenance.json").read_text(encoding="utf-8"))
    assert made["method"] == "guided" and made["seed"] == 0 and made["precision"] == "float32"
    assert {"torch", "diffusers", "numpy"} <= made["versions"].keys() and made["checksums"]
    assert made["sha256"]["images"] == hashlib.sha256(b"".join(pictures)).hexdigest()
    told = hashlib.sha256((unbroken / "labels.csv").read_bytes()).hexdigest()
    assert made["sha256"]["labels.csv"] == told
    assert not (unbroken / "shards").exists()
    for row in table.itertuples():
        mean = np.array(Image.open(unbroken / "images" / row.file)).mean()
        assert (mean > 127.5) == (row.tone == "bright")


@forks
@pytest.mark.slow
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
    assert main([*GENERATE, "--out", str(unbroken)]) == 0
    assert before == {path: path.stat().st_mtime_ns for path in unbroken.rglob("*.png")}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seed", "1"], "seed is 0 there, 1 here"),
        (["--strength", "2"], "strength is 4.0 there, 2.0 here"),
        (["--pairs"], "pairs is False there, True here"),
        (["--method", "plain"], "method is 'guided' there, 'plain' here"),
        (["--target", "colour"], "colour"),
        (["--target", "tone=0.9,0.9"], "sum to 1"),
        (["--world", "no_such_module:world"], "no_such_module"),
        (["--world", "nowhere"], "nowhere"),
    ],
)
def test_generate_refuses_kindly(unbroken, tmp_path, capsys, arguments, message):
    folder = tmp_path / "faces"
    shutil.copytree(unbroken, folder)
    with pytest.raises(SystemExit) as stopped:
        main([*GENERATE, *arguments, "--out", str(folder)])
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err.splitlines()[-1]
    assert contents(folder) == contents(unbroken)


def test_generate_keeps_out_of_a_folder_with_other_things(tmp_path):
    (tmp_path / "thesis.docx").write_text("mine")
    with pytest.raises(ValueError, match="thesis.docx"):
        make_dataset(order(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.docx"]


def test_two_runs_at_once_keep_out_of_each_others_way(tmp_path):
    with FileLock(tmp_path / ".lock"):
        with pytest.raises(ValueError, match="another run is at work"):
            make_dataset(order(), tmp_path)
    assert make_dataset(order(), tmp_path)["n"] == 20


def test_a_file_where_the_folder_should_be_is_an_error_and_stays(tmp_path, capsys):
    place = tmp_path / "faces"
    place.write_text("mine")
    with pytest.raises(SystemExit) as stop:
        main(["measure", str(HERE), *TINY, "--out", str(place)])
    assert stop.value.code == 2
    assert str(place) in capsys.readouterr().err and place.read_text() == "mine"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_is_told_and_leaves_no_table(tmp_path, monkeypatch):
    def write_on_full_disk(path, content):
        path.with_name(f".{path.name}.{os.getpid()}.tmp").symlink_to("/dev/full")
        _files.write_whole(path, content)

    with monkeypatch.context() as full:
        full.setattr(dataset, "write_whole", write_on_full_disk)
        with pytest.raises(OSError, match="No space left"):
            make_dataset(order(), tmp_path)
    assert not (tmp_path / "labels.csv").exists()
    assert not (tmp_path / "provenance.json").exists()
    assert make_dataset(order(), tmp_path)["n"] == 20


def test_measured_shares_are_those_of_the_table(unbroken):
    table = pd.read_csv(unbroken / "labels.csv")
    measured, fairness = measure_folder(make_world(), unbroken / "images")
    wanted = table["tone"].value_counts(normalize=True)
    assert measured.set_index("group")["share"].to_dict() == pytest.approx(wanted.to_dict())
    inside = (measured["low"] <= measured["share"]) & (measured["share"] <= measured["high"])
    assert inside.all() and (measured["n"] == N).all() and fairness["n"].tolist() == [N]


def test_measure_prints_shares_and_draws_them(unbroken, tmp_path, capsys):
    assert main(["measure", str(unbroken / "images"), *TINY, "--out", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "bright" in said and "fd_corrected" in said
    assert Image.open(tmp_path / "shares.png").width > 300
    assert set(pd.read_csv(tmp_path / "shares.csv")["group"]) == {"dark", "bright"}


def test_measure_reports_the_joint_cells_asked_for(worlds_root, tmp_path):
    world = load_world("tiny", worlds_root)
    rng = np.random.default_rng(0)
    for i in range(12):
        noise = rng.integers(0, 256, (64, 64, 3), np.uint8)
        Image.fromarray(noise).save(tmp_path / f"{i:02}.png")
    table, fairness = measure_folder(world, tmp_path, ["smile,gender"])
    assert fairness["attribute"].tolist() == ["gender", "ancestry", "smile", "smile,gender"]
    cells = table[table["attribute"] == "smile,gender"]
    assert cells["group"].tolist() == [
        *("neutral female", "neutral male", "smiling female", "smiling male"),
    ]
    assert cells["share"].sum() == pytest.approx(1)
    # the margin of the cells is the share of the single attribute
    single = table[table["attribute"] == "smile"].set_index("group")["share"]
    assert cells["share"][:2].sum() == pytest.approx(single["neutral"])
    default = measure_folder(world, tmp_path)[1]["attribute"].tolist()
    assert default[-1] == "gender,ancestry"  # the world's own target
    with pytest.raises(ValueError, match="height"):
        measure_folder(world, tmp_path, ["gender,height"])


def test_pictures_are_read_at_the_worlds_own_size(tmp_path):
    Image.new("RGB", (90, 60), (200, 200, 200)).save(tmp_path / "a.png")
    seen = []

    def classify(images):
        seen.append(images.shape)
        return by_brightness(images)

    world = make_world()
    world.classifier = classify
    measure_folder(world, tmp_path)
    assert (1, SIZE, SIZE, 3) in seen


# --- every door ----------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["guided", "plain", "localized"])
def test_the_same_order_gives_the_same_faces_through_every_door(method, tmp_path):
    given = {"method": method, "seed": 3, "per_component": 5}
    images = order(N, **given).sampler(progress=False).draw(N, 3, progress=False).images
    assert np.array_equal(run_demo(order(N, **given), progress=False)[0][method].images, images)
    paths = generate_sharded(order(N, **given), tmp_path / "shards", shard_size=64)
    assert np.array_equal(join(paths, "images"), images)
    make_dataset(order(N, **given), tmp_path / "faces")
    stored = sorted((tmp_path / "faces" / "images").iterdir())
    assert np.array_equal([np.asarray(Image.open(path)) for path in stored], images)


def test_pairs_stand_side_by_side(tmp_path):
    made = make_dataset(order(70), tmp_path, pairs=True)
    assert made["pairs"] is True and not (tmp_path / "plain_shards").exists()
    plain = order(70, method="plain").sampler().draw(70, 0, progress=False)
    guided = order(70).sampler().draw(70, 0, progress=False)
    pairs = [np.asarray(Image.open(path)) for path in sorted((tmp_path / "pairs").iterdir())]
    assert np.array_equal([pair[:, :SIZE] for pair in pairs], plain.images)
    assert np.array_equal([pair[:, SIZE:] for pair in pairs], guided.images)
    table, groups = pd.read_csv(tmp_path / "labels.csv"), np.array(["dark", "bright"])
    assert table["plain_tone"].tolist() == groups[plain.predictions.labels["tone"]].tolist()
    assert table["tone"].tolist() == groups[guided.predictions.labels["tone"]].tolist()


def test_faces_without_a_plain_counterpart_are_no_pairs(tmp_path):
    with pytest.raises(ValueError, match="^pairs: localized faces have no plain counterpart"):
        make_dataset(order(method="localized"), tmp_path / "faces", pairs=True)
    assert not (tmp_path / "faces").exists()


@pytest.mark.parametrize("n", [8, N])
def test_what_takes_time_is_told_before_it_starts(n, capsys, tmp_path):
    asked = ["generate", *TINY, "--n", str(n), "--method", "localized"]
    assert main([*asked, "--out", str(tmp_path / "faces")]) == 0
    said = capsys.readouterr().err
    for told in ("200 plain faces first: no latents", "120 pilot faces first", f"{n} faces, loc"):
        assert re.search(rf"^{told}.*: about \d", said, re.MULTILINE)
        assert said.index(told) < said.index("pool: ")


def test_a_few_guided_faces_need_no_others_first(worlds_root, tmp_path):
    world = load_world("tiny", worlds_root)
    generate_sharded(Order(world, world.target, None, 8), tmp_path)
    assert [path.name for path in tmp_path.glob("*.npz")] == ["faces_00000.npz"]


def test_the_bar_moves_with_every_batch(tmp_path, monkeypatch):
    moved = []

    class Bar(contextlib.nullcontext):
        def __enter__(self):
            return self

        def update(self, n):
            moved.append(n)

    monkeypatch.setattr("fairgen_utils.apps.shards.tqdm", lambda **look: Bar())
    generate_sharded(order(200, method="plain"), tmp_path, shard_size=256)
    assert moved == [64, 64, 64, 8]


# --- work that is done stays done ----------------------------------------------------------------


def measured(folder, out, **given):
    command = [sys.executable, "-m", "fairgen_utils", "measure", folder, *TINY, "--out", out]
    return subprocess.run(list(map(str, command)), **given)


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "utf-16"])
def test_a_terminal_that_lacks_letters_costs_nothing(encoding, unbroken, tmp_path):
    folder = tmp_path / "Gesichter \N{SNOWMAN}"  # a letter that the first two lack
    folder.mkdir()
    shutil.copy(next((unbroken / "images").iterdir()), folder)
    result = measured(
        *(folder, tmp_path / "out \N{SNOWMAN}"),
        env=environment() | {"PYTHONIOENCODING": encoding},
        capture_output=True,
        timeout=HANG,
    )
    assert result.returncode == 0, result.stderr
    assert "bright" in result.stdout.decode(encoding)
    assert "Traceback" not in result.stderr.decode(encoding)
    assert {path.name for path in (tmp_path / "out \N{SNOWMAN}").iterdir()} == {
        *("shares.png", "shares.csv"),
    }


@pytest.mark.skipif(os.name == "nt", reason="pipes close in another way there")
@pytest.mark.slow
@pytest.mark.parametrize("both", [False, True])
def test_a_pipe_that_closes_costs_nothing(both, unbroken, tmp_path):
    reader, writer = os.pipe()
    os.close(reader)
    errors = subprocess.STDOUT if both else subprocess.PIPE
    given = {"env": environment(), "timeout": HANG, "stdout": writer, "stderr": errors}
    result = measured(unbroken / "images", tmp_path / "out", **given)
    os.close(writer)
    assert result.returncode == 0 and not result.stderr
    assert (tmp_path / "out" / "shares.csv").exists()


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_log_that_cannot_be_written_costs_nothing(unbroken, tmp_path):
    with open("/dev/full", "w") as full:
        given = {"env": environment(), "timeout": HANG, "stdout": full, "stderr": full}
        assert measured(unbroken / "images", tmp_path / "out", **given).returncode == 0
    assert (tmp_path / "out" / "shares.csv").exists()


def test_a_figure_that_fails_costs_nothing(unbroken, tmp_path, monkeypatch, capsys):
    def fails(*arguments):
        raise RuntimeError("no such font")

    monkeypatch.setattr(folders_of_pictures.show, "share_bars", fails)
    assert main(["measure", str(unbroken / "images"), *TINY, "--out", str(tmp_path)]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["shares.csv"]
    assert "was not drawn (RuntimeError: no such font)" in capsys.readouterr().err


# --- help and exit codes -------------------------------------------------------------------------


def test_help_names_every_command_and_every_exit_code(capsys):
    for arguments in ([], *([name] for name in COMMANDS if name != "bench")):
        with pytest.raises(SystemExit) as stopped:
            main([*arguments, "--help"])
        said = capsys.readouterr().out
        assert stopped.value.code == 0 and CODES.strip() in said
        if arguments:
            assert COMMANDS[arguments[0]][1] in " ".join(said.split())
        else:
            assert all(re.search(rf"^    {name}\b", said, re.MULTILINE) for name in COMMANDS)


def test_an_interrupted_run_says_how_to_go_on(tmp_path, monkeypatch, capsys):
    def interrupted(*arguments, **given):
        raise KeyboardInterrupt

    monkeypatch.setattr("fairgen_utils.apps.dataset.make_dataset", interrupted)
    with pytest.raises(SystemExit) as stopped:
        main([*GENERATE, "--out", str(tmp_path / "faces")])
    assert stopped.value.code == 130
    assert "the same command goes on where it was" in capsys.readouterr().err


def test_words_that_a_shell_parted_at_commas_are_joined_or_explained(tmp_path, capsys):
    """PowerShell hands over gender,ancestry as two words."""
    with pytest.raises(SystemExit):
        main(["generate", *TINY, "--target", "tone=30", "70", "--out", str(tmp_path / "faces")])
    assert "as shares: 0.3,0.7" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stopped:
        main(["measure", "faces", "--attributes", "gender", "race"])
    assert stopped.value.code == 2
    assert 'quote them: "gender,ancestry"' in capsys.readouterr().err


def test_bench_and_dashboard_say_where_to_find_what_an_installed_package_lacks(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(_files, "__file__", str(tmp_path / "a" / "_files.py"))
    monkeypatch.setattr(export, "PAGE", tmp_path / "dashboard.ipynb")
    monkeypatch.chdir(tmp_path)
    for name, said in (("bench", "clone the whole repository"), ("dashboard", "Clone it")):
        with pytest.raises(SystemExit) as stopped:
            main([name])
        assert stopped.value.code == 2
        assert said in capsys.readouterr().err


@pytest.mark.slow
def test_bench_hands_its_options_to_the_recipe(capfd):
    assert main(["bench", "--help"]) == 0
    assert "--rounds" in capfd.readouterr().out


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
