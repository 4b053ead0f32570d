"""The checkup says `ok` on this machine, and what to do where something is wrong."""

import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from types import SimpleNamespace

import pytest

from fairgen_utils.apps import checkup
from fairgen_utils.load import load_world

ROOT = Path(__file__).resolve().parent.parent
# a Python that finds nothing but its own modules and the course: isolated, and without `site`
BARE = [sys.executable, "-I", "-S", "-c"]
RUN = "import runpy, sys; sys.path.insert(0, sys.argv[1]); sys.argv[1:] = sys.argv[2:]; "
RUN += "runpy.run_module('fairgen_utils', run_name='__main__')"


def bare(*arguments):
    """The command line on a machine where no package is installed."""
    command = [*BARE, RUN, str(ROOT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=900)


def failures(**arguments):
    return [found for passed, found in checkup.checkup(**arguments) if not passed]


def test_course_machine_passes_every_check_of_software_and_weights():
    # memory and disk are the machine's, not ours
    assert not [found for found in failures() if "free" not in found]


def test_a_bare_machine_is_told_every_package_it_lacks():
    result = bare("checkup")
    assert result.returncode == 1 and not result.stderr
    lines = result.stdout.splitlines()
    for name in checkup.PACKAGES:
        assert any(line.startswith(f"FIX  {name} is not installed: see README") for line in lines)
    assert lines[0].startswith("ok   Python 3.")
    for world in checkup.WORLDS:
        assert any(line.startswith(f"FIX  world {world}: not looked at") for line in lines)


@pytest.mark.parametrize("arguments", [["demo"], ["measure", "faces"], ["generate", "--out", "x"]])
def test_a_command_that_lacks_its_packages_points_to_the_checkup(arguments):
    result = bare(*arguments)
    assert result.returncode == 2
    assert result.stderr.startswith("No module named") and result.stderr.count("\n") == 1
    assert "python -m fairgen_utils checkup" in result.stderr


def test_help_needs_no_package():
    result = bare("generate", "--help")
    assert result.returncode == 0 and "--target" in result.stdout and "example:" in result.stdout


def test_missing_package_is_named_with_a_remedy(monkeypatch):
    def version(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(checkup, "version", version)
    found = failures()
    for name in checkup.PACKAGES:
        assert any(line.startswith(f"{name} is not installed: see README") for line in found)


def test_a_package_that_does_not_import_is_named(monkeypatch):
    monkeypatch.setattr(checkup, "PACKAGES", ("numpy",))
    monkeypatch.setitem(sys.modules, "numpy", None)  # installed, and its import fails
    assert any(line.startswith("numpy does not import") for line in failures())


def test_an_old_python_is_named(monkeypatch):
    monkeypatch.setattr(checkup, "PYTHON", (99, 0))
    assert any("is too old: install Python 99.0 or newer" in line for line in failures())


def test_damaged_world_is_named(tmp_path):
    for name in checkup.WORLDS:
        folder = load_world(name).folder
        (tmp_path / name).mkdir()
        shutil.copy(folder / "world.json", tmp_path / name)
    found = [line for line in failures(root=tmp_path) if line.startswith("world ")]
    assert len(found) == len(checkup.WORLDS)


@pytest.mark.parametrize(("free", "said"), [(0.5, "make room"), (5, None)])
def test_full_disk_is_noticed(free, said, monkeypatch):
    usage = SimpleNamespace(free=int(free * checkup.GIGABYTE))
    monkeypatch.setattr(checkup.shutil, "disk_usage", lambda path: usage)
    lines = [line for line in failures() if "disk" in line]
    assert bool(lines) == bool(said) and all(said in line for line in lines)


@pytest.mark.parametrize("passed", [True, False])
def test_command_exits_with_the_verdict(passed, monkeypatch, capsys):
    found = [(True, "fine"), (passed, "bad: mend it")]
    monkeypatch.setattr(checkup, "_checks", lambda root=None: iter(found))
    assert checkup.command() == (0 if passed else 1)
    assert ("FIX  bad: mend it" in capsys.readouterr().out) == (not passed)
