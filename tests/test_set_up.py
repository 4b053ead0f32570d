"""A newcomer's first command: what stops it is told in a sentence, and it starts over."""

import errno
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from kills import HANG

ROOT = Path(__file__).resolve().parent.parent
# a project that pip installs without a network: its own build backend makes an empty package
PROJECT = """[project]
name = "tiny-course"
version = "1"
optional-dependencies = {test = [], browser = []}
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
"""
BACKEND = '''
import zipfile

def build_editable(folder, config_settings=None, metadata_directory=None):
    return wheel(folder, "tiny_course")

def wheel(folder, name):
    path = f"{folder}/{name}-1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        info = f"{name}-1.dist-info"
        extras = "Provides-Extra: test\\nProvides-Extra: browser\\n"
        head = f"Metadata-Version: 2.1\\nName: {name}\\nVersion: 1\\n"
        archive.writestr(f"{info}/METADATA", head + extras)
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\\nTag: py3-none-any\\n")
        archive.writestr(f"{info}/RECORD", "")
        archive.writestr(f"{name}.py", "")
    return path.rpartition("/")[2]
'''
needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


@pytest.fixture
def folder(tmp_path):
    """A course of no size, in a folder whose name has blanks and umlauts."""
    folder = tmp_path / "mein Kurs äöü ß"
    (folder / ".ci").mkdir(parents=True)
    shutil.copy(ROOT / ".ci" / "set_up.py", folder / ".ci")
    shutil.copy(ROOT / "Makefile", folder)
    (folder / "pyproject.toml").write_text(PROJECT)
    (folder / "backend.py").write_text(BACKEND)
    namespace = {}
    exec(BACKEND, namespace)
    namespace["wheel"](str(folder), "torch")
    return folder


@pytest.fixture
def script(folder):
    """The set-up as a module, so that its machine can be made a poorer one."""
    spec = importlib.util.spec_from_file_location("set_up", folder / ".ci" / "set_up.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def make(folder, *arguments, **variables):
    variables = {"PYTHON": sys.executable, "TORCH": "torch-1-py3-none-any.whl"} | variables
    given = [f"{name}={value}" for name, value in variables.items()]
    offline = os.environ | {"PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull}
    look = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(["make", *arguments, *given], cwd=folder, env=offline, **look)


def said(process):
    return process.communicate(timeout=HANG)[0]


@pytest.mark.slow
@needs_make
def test_two_makes_at_once_set_up_once_in_a_folder_with_blanks_and_umlauts(folder):
    both = [make(folder, ".venv/ready") for _ in range(2)]
    told = [said(process) for process in both]
    assert [process.returncode for process in both] == [0, 0], told
    assert sum("another set-up is at work here; waiting" in text for text in told) == 1
    installed = re.compile("Successfully installed tiny.course-1")
    assert sum(installed.search(text) is not None for text in told) == 1, told
    inside = folder / ".venv" / "bin" / "python"
    assert subprocess.run([inside, "-c", "import torch, tiny_course"]).returncode == 0
    assert "up to date" in said(make(folder, ".venv/ready"))


@pytest.mark.slow
@needs_make
def test_a_set_up_that_fails_says_so_and_starts_over(folder):
    failed = make(folder, ".venv/ready", TORCH="no-such-torch==1")
    text = said(failed)
    assert failed.returncode and "The same command starts over" in text and "Traceback" not in text
    assert not (folder / ".venv" / "ready").exists()
    again = make(folder, ".venv/ready")
    assert "starts over" not in said(again) and again.returncode == 0


@needs_make
def test_a_python_that_is_not_there_is_named(folder):
    process = make(folder, "demo", PYTHON="python9.99")
    assert "PYTHON=python9.99: there is no such program; install" in said(process)
    assert process.returncode


def test_an_old_python_is_told_which_one_to_take(script):
    with pytest.raises(script.Stopped, match=r"PYTHON=py: found Python 3.9.2, .* 3.11 or newer"):
        script.check("py", (3, 9, 2))


def test_a_python_without_venv_is_told_what_to_install(script, folder, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ensurepip", None)
    with pytest.raises(SystemExit, match="install them first: apt install python3-venv"):
        script.main([])
    assert not (folder / ".venv").exists()


def test_too_small_a_disk_is_told_before_anything_is_fetched(script, folder, monkeypatch):
    usage = SimpleNamespace(free=int(1.5e9))
    monkeypatch.setattr(script.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(SystemExit, match="1.5 GB of disk are free here, set-up takes up to 3 GB"):
        script.main([])
    assert not (folder / ".venv").exists()


def test_a_folder_that_cannot_be_written_to_is_told_to_be_copied(script, folder, monkeypatch):
    def forbidden(*arguments):
        raise OSError(errno.EROFS, "Read-only file system", str(folder / ".venv.lock"))

    monkeypatch.setattr(script, "open", forbidden, raising=False)
    with pytest.raises(SystemExit, match="cannot be written to .Read-only .*copy it to where"):
        script.main([])


def test_a_disk_that_fills_up_on_the_way_is_named(script, folder, monkeypatch):
    left = iter([9e9, 5e6])  # before, and when pip gives up
    monkeypatch.setattr(
        script.shutil, "disk_usage", lambda path: SimpleNamespace(free=int(next(left)))
    )
    monkeypatch.setattr(script.subprocess, "call", lambda *given, **options: 1)
    with pytest.raises(SystemExit, match="set-up stopped: the disk is full. Make room"):
        script.main([])
    assert not (folder / ".venv" / "ready").exists()


def test_a_newer_project_updates_what_is_there(script, folder, monkeypatch):
    ready = folder / ".venv" / "ready"
    ready.parent.mkdir()
    ready.write_text("")
    os.utime(ready, (1, 1))
    called = []
    monkeypatch.setattr(
        script.subprocess, "call", lambda command, cwd: called.append(command) or 0
    )
    script.main([])
    assert not [command for command in called if "venv" in command]
    assert len(called) == 2 and ready.stat().st_mtime > 1
    script.main([])  # now there is nothing to do
    assert len(called) == 2
