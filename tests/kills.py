"""Kills at moments of the work, not of the clock: a busy machine meets the same as an idle one.

What a kill leaves behind changes only when a file does. So a process is killed just before its
so-manieth change of a folder: a file opened for writing, renamed or removed, a folder made. Before
a renaming, every other kill also cuts the file short, as one in the middle of writing would.
"""

import multiprocessing
import os
import random
import signal
import sys

import pytest
import torch

HANG = 15 * 60  # seconds: for what never ends; no machine is that slow

# a child that has imported everything already; only where the system can do that
FORK = multiprocessing.get_context("fork") if hasattr(os, "fork") else None
forks = pytest.mark.skipif(FORK is None, reason="this system has no fork")


def start(work, *arguments):
    """A process of its own for `work(*arguments)`, with one thread."""

    def alone():
        torch.set_num_threads(1)
        work(*arguments)

    process = FORK.Process(target=alone)
    process.start()
    return process


def changed(event, details, folder):
    """Whether an audit event (docs.python.org/3/library/audit_events.html) changes the folder."""
    if event == "open":
        path, mode, flags = details
        if not flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) or isinstance(path, int):
            return False
        paths = [path]
    elif event in ("os.rename", "os.link", "os.symlink"):
        paths = details[:2]
    elif event in ("os.remove", "os.rmdir", "os.mkdir", "os.truncate"):
        if event in ("os.remove", "os.rmdir") and details[1] != -1:
            return True  # of a tree that is being removed: the path is relative to its folder
        paths = details[:1]
    else:
        return False
    inside = str(folder) + os.sep
    return any(os.path.abspath(os.fspath(p)).startswith(inside) for p in paths if p is not None)


def killed_at(work, folder, moment=None, rng=None):
    """Run `work(folder)` in a process of its own, killed before its `moment`-th change of `folder`.

    Returns
    -------
    killed : bool
        False if it was done before.
    changes : int
    """
    changes = FORK.Value("i", 0)

    def hook(event, details):
        if os.getpid() != mine or not changed(event, details, folder):
            return
        changes.value += 1
        if changes.value == moment:
            if event == "os.rename" and rng and rng.random() < 0.5 and os.path.isfile(details[0]):
                os.truncate(details[0], rng.randrange(os.path.getsize(details[0]) or 1))
            os.kill(os.getpid(), signal.SIGKILL)

    mine = None

    def watched():
        nonlocal mine
        mine = os.getpid()
        sys.addaudithook(hook)
        work(folder)

    process = start(watched)
    process.join(HANG)
    if process.exitcode is None:
        process.kill()
        raise AssertionError(f"not done after {HANG} s")
    assert process.exitcode in (0, -signal.SIGKILL), process.exitcode
    return process.exitcode != 0, changes.value


def killed_again_and_again(work, kills, folders, seed, look):
    """Start `work(folder)`, kill it at a random moment, start it again, until it is done.

    Then comes the next folder, until there were `kills` of them. The first is never killed.

    Parameters
    ----------
    look : callable
        ``look(folder)`` checks what a kill has left, and says whether it was in the middle.

    Returns
    -------
    midway, last : int
        How many kills hit work half done, and the last folder's number.
    """
    rng, done, midway, number = random.Random(seed), 0, 0, 1
    killed, moments = killed_at(work, folders(0))
    assert not killed and moments > 1
    for _ in range(10 * kills):
        killed, _ = killed_at(work, folders(number), rng.randint(1, moments), rng)
        if not killed:
            number += 1
            continue
        done += 1
        midway += look(folders(number))
        if done == kills:
            break
    assert done == kills
    assert not killed_at(work, folders(number))[0]
    return midway, number
