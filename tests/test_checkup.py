"""The checkup says `ok` on this machine, and what to do where something is wrong."""

import shutil
from importlib.metadata import PackageNotFoundError

import pytest

from fairgen_utils.apps import checkup
from fairgen_utils.load import load_world


def failures(**arguments):
    return [found for passed, found in checkup.checkup(**arguments) if not passed]


def test_course_machine_passes_every_check_of_software_and_weights():
    # memory and disk are the machine's, not ours
    assert not [found for found in failures() if "free" not in found]


def test_missing_package_is_named_with_a_remedy(monkeypatch):
    def version(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(checkup, "version", version)
    found = failures()
    for name in checkup.PACKAGES:
        assert any(line.startswith(f"{name} is not installed: run") for line in found)


def test_damaged_world_is_named(tmp_path):
    for name in ("heads", "utkface"):
        folder = load_world(name).folder
        (tmp_path / name).mkdir()
        shutil.copy(folder / "world.json", tmp_path / name)
    assert sum(line.startswith("world ") for line in failures(root=tmp_path)) == 2


@pytest.mark.parametrize(("free", "said"), [(0.5, "make room"), (5, None)])
def test_full_disk_is_noticed(free, said, monkeypatch):
    usage = shutil._ntuple_diskusage(10, 5, int(free * checkup.GIGABYTE))
    monkeypatch.setattr(checkup.shutil, "disk_usage", lambda path: usage)
    lines = [line for line in failures() if "disk" in line]
    assert bool(lines) == bool(said) and all(said in line for line in lines)


def test_command_exits_with_the_verdict(monkeypatch, capsys):
    for checks, code in (([(True, "fine")], 0), ([(True, "fine"), (False, "bad: mend it")], 1)):
        monkeypatch.setattr(checkup, "checkup", lambda checks=checks: checks)
        with pytest.raises(SystemExit) as stop:
            checkup.main()
        assert stop.value.code == code
    assert "FIX  bad: mend it" in capsys.readouterr().out
