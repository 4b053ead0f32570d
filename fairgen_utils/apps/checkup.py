"""Checkup: is this machine ready for the course? `python -m fairgen_utils.checkup` says."""

import importlib
import os
import platform
import shutil
import sys
from importlib.metadata import PackageNotFoundError, version

from fairgen_utils.load import load_world

PACKAGES = (
    "torch",
    "diffusers",
    "scikit-learn",
    "torchmetrics",
    "fairlearn",
    "numpy",
    "matplotlib",
    "ipywidgets",
)


IMPORT_NAMES = {"scikit-learn": "sklearn"}


GIGABYTE = 2**30


def checkup(root=None):
    """Check versions, device, weights, memory and disk.

    Parameters
    ----------
    root : path-like, optional
        Folder of the worlds; the course's own ``data/`` when omitted.

    Returns
    -------
    list of tuple (bool, str)
        For every check, whether it passed, and what was found; if it failed, also what to do.
    """
    checks = [(True, f"Python {platform.python_version()}")]
    checks += [*map(_package, PACKAGES), _device()]
    checks += [_world(name, root) for name in ("heads", "utkface")]
    return checks + [_memory(), _disk()]


def _package(name):
    try:
        found = f"{name} {version(name)}"
        importlib.import_module(IMPORT_NAMES.get(name, name))
    except PackageNotFoundError:
        return False, f"{name} is not installed: run `make test`, or see README, Two commands"
    except Exception as error:  # a broken build raises whatever it likes
        return False, f"{name} does not import ({error}): install it again"
    return True, found


def _device():
    device = importlib.import_module("torch").cuda
    if device.is_available():
        return True, f"GPU {device.get_device_name()}; the course runs on the CPU all the same"
    return True, f"no CUDA GPU, and none needed: {os.cpu_count()} CPU cores"


def _world(name, root):
    try:
        load_world(name, root=root)
    except (OSError, ValueError) as error:
        return False, f"world {name}: {error}"
    return True, f"world {name}: every file is there, checksums agree"


def _memory():
    try:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / GIGABYTE
    except (AttributeError, ValueError, OSError):  # Windows and macOS don't tell
        return True, "free memory: this system does not tell; the course needs about 3 GB"
    if free < 3:
        return False, f"{free:.1f} GB of memory free: close other programs, 3 GB are needed"
    return True, f"{free:.1f} GB of memory free"


def _disk():
    free = shutil.disk_usage(".").free / GIGABYTE
    if free < 1:
        return False, f"{free:.1f} GB of disk free: make room, 1 GB is needed"
    return True, f"{free:.1f} GB of disk free"


def main():
    checks = checkup()
    for passed, found in checks:
        print("ok  " if passed else "FIX ", found)
    sys.exit(not all(passed for passed, _ in checks))


if __name__ == "__main__":
    main()
