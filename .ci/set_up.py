"""Set up the course in .venv, which `make` does before anything else; .venv/ready marks the end.

Without that mark .venv is built from scratch, so a set-up that was stopped leaves nothing
half-installed; with it, a newer pyproject.toml only updates .venv. Two at once: one waits.
"""

# Nothing newer than Python 3.6 knows is used before the version is checked.

import argparse
import errno
import os
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager

LEAST = (3, 11)
ROOM = 3  # GB that packages and pip's own unpacking take, with a torch for the CPU
FULL = 0.1  # GB: less than that left, and it was the disk that stopped pip
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


class Stopped(Exception):
    """Why there is no set-up, in a sentence that says what to do."""


def check(python, version=sys.version_info):
    """Refuse a Python with which it would fail after minutes."""
    if version < LEAST:
        found, least = (".".join(str(part) for part in v[:3]) for v in (version, LEAST))
        raise Stopped(
            f"PYTHON={python}: found Python {found}, the course needs {least} or newer; name one: "
            "make PYTHON=python3.12 ..."
        )
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError:
        raise Stopped(
            f"PYTHON={python}: cannot make virtual environments; on Debian and Ubuntu install them "
            "first: apt install python3-venv"
        ) from None


@contextmanager
def alone(path):
    """Wait until no other set-up is at work here; a killed one does not count."""
    with open(path, "w") as file:
        waited = False
        while not lock(file):
            if not waited:
                print("another set-up is at work here; waiting for it", flush=True)
            waited = True
            time.sleep(0.5)
        yield


def lock(file):
    """Whether this process has the file to itself now; the system lets go of it at our end."""
    try:
        if os.name == "nt":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def is_ready(ready, project):
    """Whether a set-up came to its end after the project's requirements last changed."""
    return os.path.exists(ready) and os.path.getmtime(ready) >= os.path.getmtime(project)


def run(root, *command):
    """Run a command in the course's folder; Stopped if it fails."""
    try:
        status = subprocess.call(command, cwd=root)
    except OSError as error:
        raise Stopped(f"set-up stopped ({error}); the same command starts over") from None
    if status == 0:
        return
    if shutil.disk_usage(root).free < FULL * 1e9:
        raise Stopped(
            f"set-up stopped: the disk is full. Make room, up to {ROOM} GB, then give the same "
            "command again: it starts over"
        )
    raise Stopped(
        "set-up stopped: the lines above say why (without a network, packages cannot be fetched). "
        "The same command starts over"
    )


def set_up(root, torch, index, python=sys.executable):
    """Build or update .venv."""
    place = os.path.join(root, ".venv")
    ready, project = os.path.join(place, "ready"), os.path.join(root, "pyproject.toml")
    with alone(os.path.join(root, ".venv.lock")):
        if is_ready(ready, project):
            return  # somebody else has just done it
        check(python)
        if not os.path.exists(ready):
            free = shutil.disk_usage(root).free / 1e9
            if free < ROOM:
                raise Stopped(
                    f"{free:.1f} GB of disk are free here, set-up takes up to {ROOM} GB; make "
                    "room, then give the same command again"
                )
            run(root, python, "-m", "venv", "--clear", place)
        else:
            os.remove(ready)
        inside = ("Scripts", "python.exe") if os.name == "nt" else ("bin", "python")
        pip = (os.path.join(place, *inside), "-m", "pip", "install")
        pip += ("--disable-pip-version-check",)
        run(root, *pip, *(["--index-url", index] if index else []), torch)
        run(root, *pip, "--editable", ".[test,browser]")
        with open(ready, "w"):
            os.utime(ready)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--torch", default="torch", help="what pip installs first")
    parser.add_argument("--index", default="", help="address of torch's package index")
    options = parser.parse_args(arguments)
    try:
        set_up(ROOT, options.torch, options.index)
    except Stopped as error:
        sys.exit(str(error))
    except OSError as error:
        if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
            sys.exit(f"{ROOT} cannot be written to ({error.strerror}); copy it to where you may")
        sys.exit(f"set-up stopped ({error}); the same command starts over")
    except KeyboardInterrupt:
        sys.exit("interrupted; the same command starts over")


if __name__ == "__main__":
    main()
