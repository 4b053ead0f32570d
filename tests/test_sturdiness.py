"""Bad options and folders that cannot be written to are refused, and nothing is left behind."""

import ctypes
import functools
import io
import json
import os
import shutil
import tempfile
from contextlib import redirect_stderr
from pathlib import Path

import pytest
from bad_inputs import CALM, listing
from hypothesis import given, settings
from hypothesis import strategies as st
from kills import FORK, HANG, forks, start
from PIL import Image

from fairgen_utils._files import write_whole
from fairgen_utils.apps import dashboard, order, shards
from fairgen_utils.apps.command_line import main
from fairgen_utils.apps.dashboard import Studio
from fairgen_utils.load import load_world


@pytest.fixture(scope="module")
def world(worlds_root):
    return load_world("tiny", worlds_root)


# --- the command line ----------------------------------------------------------------------------

OWN = ["--world", "tiny_world:make_world"]
COMMANDS = {
    "generate": (main, ["generate", *OWN, "--n", "4"]),
    "measure": (main, ["measure", "nowhere", *OWN]),
    "shards": (main, ["shards", *OWN, "--faces", "4"]),
    "demo": (main, ["demo", "--world", "tiny", "--n", "40"]),
    "dashboard": (dashboard.main, ["nowhere.json"]),
}
EVERYWHERE = [["--world", "moon"], ["--colour", "red"], ["--world"]]
MAKING = [
    *(["--target", "height"], ["--target", "tone=1,1"], ["--target", "tone=0.5"]),
    *(["--target", "joint:"], ["--pilot", "0"], ["--pilot", "-2"], ["--pilot", "1.5"]),
    *(["--seed", "x"], ["--seed", "-1"]),
]
SHARDED = [
    *(["--world", "tiny_world:nothing"], ["--world", ":"], ["--world", "json:loads"]),
    *(["--world", "tiny_world:ATTRIBUTES"], ["--dtype", "int8"]),
]
OPTIONS = {
    "generate": [*EVERYWHERE, *MAKING, *SHARDED, ["--n", "0"], ["--n", "-3"], ["--n", "many"]],
    "measure": [[], *EVERYWHERE, *SHARDED[:4]],
    "shards": [*EVERYWHERE, *MAKING, *SHARDED, ["--faces", "0"], ["--shard-size", "0"]],
    "demo": [*EVERYWHERE, *MAKING, ["--n", "23"], ["--n", "many"]],
    "dashboard": [[], ["--world", "tiny"], ["twice.json"]],
}


@pytest.fixture
def tiny_worlds(monkeypatch, worlds_root):
    """The commands find a world called tiny, and `tiny_world` can be imported."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    monkeypatch.setattr(order, "load_world", functools.partial(load_world, root=worlds_root))
    monkeypatch.setattr(dashboard.export, "Studio", lambda: Studio(worlds_root))


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_refuses_bad_options_and_writes_nothing(tiny_worlds, tmp_path, capsys, command):
    run, arguments = COMMANDS[command]

    @settings(**CALM)
    @given(st.sampled_from(OPTIONS[command]))
    def check(bad):
        with pytest.raises(SystemExit) as stopped:
            run([*arguments, "--out", str(tmp_path / "out"), *bad])
        assert stopped.value.code == 2
        said = capsys.readouterr().err.strip().splitlines()[-1]
        # argparse names the option; we, the argument or the file
        named = [word.strip("-") for word in bad] + ["attribute"] * ("--target" in bad)
        named = named or ["nowhere"]
        assert any(word in said for word in named), said
        # `measure` has its folder made before minutes of work
        assert not [path for path in tmp_path.rglob("*") if path.is_file()]
        assert command == "measure" or not (tmp_path / "out").exists()

    check()


# --- folders that cannot be written to ------------------------------------------------------------


@pytest.fixture
def shelf(worlds_root):
    """A folder that may be read and not written to, with a picture, beside readable worlds."""
    folder = Path(tempfile.mkdtemp())
    shutil.copytree(worlds_root, folder / "data")
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755)
    shelf = folder / "shelf"
    (shelf / "begun").mkdir(parents=True)
    Image.new("RGB", (64, 64)).save(shelf / "face.png")
    settings = {"world": "tiny", "method": "guided", "attribute": "gender"}
    settings |= {"target": [0.5, 0.5], "n": 4, "seed": 0}
    (shelf / "settings.json").write_text(json.dumps(settings))
    for path in (shelf / "begun", shelf):
        path.chmod(0o555)
    yield shelf
    for path in (shelf, shelf / "begun"):
        path.chmod(0o755)
    shutil.rmtree(folder)


def without_powers(call):
    """How a call ended and what it said, in a process that may only do what files' modes allow."""

    def work(pipe):
        if os.geteuid() == 0:  # root still, so that a private home can be read, with no capability
            version, none = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
            assert ctypes.CDLL(None).capset(version, none) == 0
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
    process = start(work, childs)
    childs.close()  # the child's own is the last one: if it dies without a word, that is heard
    try:
        assert mine.poll(HANG), f"not done after {HANG} s"
        return mine.recv()
    except EOFError:
        return "no answer", ""
    finally:
        process.kill()
        process.join()


@forks
@pytest.mark.parametrize("folder", ["new", "begun"])
@pytest.mark.parametrize("command", COMMANDS)
def test_a_folder_that_cannot_be_written_is_named_and_left_alone(
    shelf, tiny_worlds, monkeypatch, command, folder
):
    run, arguments = COMMANDS[command]
    files = {"nowhere": str(shelf), "nowhere.json": str(shelf / "settings.json")}
    readable = shelf.parent / "data"
    monkeypatch.setattr(order, "load_world", functools.partial(load_world, root=readable))
    monkeypatch.setattr(dashboard.export, "Studio", lambda: Studio(readable))
    before = listing(shelf)
    line = [files.get(word, word) for word in arguments] + ["--out", str(shelf / folder)]
    status, said = without_powers(lambda: run(line))
    assert status == 2, (status, said)
    assert str(shelf / folder) in said and "Traceback" not in said
    assert listing(shelf) == before


@forks
@pytest.mark.parametrize("what", ["table", "faces", "report", "pictures"])
def test_what_writes_a_file_names_one_that_it_cannot_write(shelf, recipes, world, what):
    from make_faces import FaceMaker
    from tables import Table

    write = {
        "table": lambda: Table(shelf / "rows.csv", ["seed"]).add([{"seed": 1}]),
        "faces": lambda: FaceMaker(world, 2, shelf).faces("plain", 0),
        "report": lambda: write_whole(shelf / "demo.html", "a page"),
        "pictures": lambda: shards.merge([], shelf, world.attributes),
    }[what]
    before = listing(shelf)
    status, _ = without_powers(write)
    assert "denied" in str(status) and str(shelf) in status
    assert listing(shelf) == before
