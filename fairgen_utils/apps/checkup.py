"""Checkup: is this machine ready for the course? `python -m fairgen_utils checkup` says.

Only Python's own modules are imported here, so that it can say so on a bare machine.
"""

import importlib
import os
import pathlib
import platform
import shutil
import sys
from importlib.metadata import PackageNotFoundError, version

PACKAGES = (
    *("torch", "diffusers", "safetensors", "accelerate", "scikit-learn", "scipy", "numpy"),
    *("fairlearn", "pandas", "pillow", "matplotlib", "seaborn", "jupyterlab"),
    *("ipywidgets", "ipython", "tqdm", "filelock"),
)
IMPORT_NAMES = {"scikit-learn": "sklearn", "pillow": "PIL", "ipython": "IPython"}
WORLDS = ("heads", "utkface", "celeba")
PYTHON = (3, 11)
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
    return list(_checks(root))


def _checks(root=None):
    yield _python()
    packages = []
    for name in PACKAGES:
        packages.append(_package(name))
        yield packages[-1]
    yield _device()
    ready = all(passed for passed, _ in packages)
    for name in WORLDS:
        yield _world(name, root) if ready else (
            False,
            f"world {name}: not looked at, since that takes the packages: install them first",
        )
    yield _memory()
    yield _disk()


def _python():
    found = f"Python {platform.python_version()}"
    if sys.version_info >= PYTHON:
        return True, found
    return False, f"{found} is too old: install Python {'.'.join(map(str, PYTHON))} or newer"


def _package(name):
    try:
        found = f"{name} {version(name)}"
        importlib.import_module(IMPORT_NAMES.get(name, name))
    except PackageNotFoundError:
        return False, f"{name} is not installed: see README, Two commands, or run pip install -e ."
    except Exception as error:  # a broken build raises whatever it likes
        return False, f"{name} does not import ({error}): install it again"
    return True, found


def _device():
    cores = f"{os.cpu_count()} CPU cores"
    try:
        device = importlib.import_module("torch").cuda
        if device.is_available():
            return True, f"GPU {device.get_device_name()}; the course runs on the CPU all the same"
    except Exception:  # the line about torch says what is wrong with it
        return True, f"{cores}; whether there is a GPU, torch would tell"
    return True, f"no CUDA GPU, and none needed: {cores}"


def _world(name, root):
    try:
        importlib.import_module("fairgen_utils.load").load_world(name, root=root)
    except (OSError, ValueError) as error:
        return False, f"world {name}: {error}"
    return True, f"world {name}: every file is there, checksums agree"


def _memory():
    # available, not free: what files are cached in is given back when it is asked for
    try:
        lines = pathlib.Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
        told = dict(line.split(":") for line in lines)["MemAvailable"]
        free = int(told.split()[0]) * 1024 / GIGABYTE
    except (OSError, KeyError, ValueError):  # Windows and macOS don't tell
        return True, "free memory: this system does not tell; the course needs about 3 GB"
    if free < 3:
        return False, f"{free:.1f} GB of memory free: close other programs, 3 GB are needed"
    return True, f"{free:.1f} GB of memory free"


def _disk():
    free = shutil.disk_usage(".").free / GIGABYTE
    if free < 1:
        return False, f"{free:.1f} GB of disk free: make room, 1 GB is needed"
    return True, f"{free:.1f} GB of disk free"


def command(options=None):
    """Print each check as soon as it is made; 1 if one failed, 0 otherwise."""
    ready = True
    for passed, found in _checks():
        print("ok  " if passed else "FIX ", found, flush=True)
        ready = ready and passed
    return 0 if ready else 1
