"""Read: a folder or a zip archive from anywhere, the same way and with the same care.

Nothing is ever unpacked. What tools leave in folders is not there for a reader, and is listed.
"""

import os
import re
import stat
import struct
import zipfile
import zlib
from collections import defaultdict
from pathlib import Path, PurePosixPath

# what is refused unread, so that a stranger's file cannot fill the memory
MOST_BYTES = 100_000_000

# what systems and tools leave in folders, beside whatever begins with a dot; in lower case
LEFTOVERS = {
    *("__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "__pycache__", "lost+found"),
    *("@eadir", "#recycle", "$recycle.bin", "system volume information"),
}

# what a file is that should have been a zip archive, by its first bytes
UNPACK = "unpack it, and give the folder"
KINDS = {
    b"PK\x03\x04": "is damaged, such as a zip archive that was cut short: fetch it again",
    b"\x1f\x8b": f"is a gzipped archive: {UNPACK}",
    b"BZh": f"is an archive packed with bzip2: {UNPACK}",
    b"\xfd7zXZ": f"is an archive packed with xz: {UNPACK}",
    b"7z\xbc\xaf\x27\x1c": f"is a 7z archive: {UNPACK}",
    b"Rar!": f"is a rar archive: {UNPACK}",
    b"version https://git-lfs": "is a placeholder of Git LFS: `git lfs pull` fetches the file",
    b"<": "is a web page: the download may want to be confirmed in a browser",
}

BROKEN = (
    *(OSError, EOFError, ValueError, RuntimeError, OverflowError, MemoryError),
    *(zipfile.BadZipFile, zlib.error, struct.error, IndexError),
)


class Archive:
    """The files of a folder or zip archive, opened once and read when asked for.

    Parameters
    ----------
    path : path
    what : str
        What is wanted there, for the message if `path` does not exist.

    Attributes
    ----------
    path : Path
    names : list of str
        Files, with "/" between folders wherever the archive was made, sorted.
    skipped : dict of str to list of str
        Files that are not among `names`, by the reason.

    Raises
    ------
    FileNotFoundError
        If `path` does not exist.
    ValueError
        If `path` is no folder or zip archive, is damaged, or names files outside itself.
    OSError
        If `path`, or a folder in it, must not be read.
    """

    def __init__(self, path, what="a folder or zip archive"):
        self.path, self.what = _existing(path, what), what
        self._opened_by = None
        self._open()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def close(self):
        if self._opened_by and self._zip:
            self._zip.close()
        self._opened_by = None

    def __getstate__(self):
        return {"path": self.path, "what": self.what}

    def __setstate__(self, state):
        self.__init__(**state)

    def read(self, name):
        """The bytes of a file; ValueError by its name if it is damaged, too large or locked."""
        self._open()
        found = self._found[name]
        try:
            size = found.file_size if self._zip else found.stat().st_size
            if size <= MOST_BYTES:
                return self._zip.read(found) if self._zip else found.read_bytes()
            why = f"unpacks to more than {MOST_BYTES // 10**6} MB; leave it out of {self.path}"
        except BROKEN as error:
            why = f"is damaged or must not be read ({error}); fetch {self.path} again"
            if self._zip and found.flag_bits & 1:
                why = f"is locked with a password; unpack {self.path} and give the folder"
            elif isinstance(error, NotImplementedError):  # a compression unknown to zipfile
                why = f"is packed in a way unknown here ({error}); unpack {self.path} yourself"
        raise ValueError(f"{name} {why}")

    def root_of(self, file):
        """What precedes a file's name: "", "some/where/", or None if it isn't there.

        The shortest counts; ValueError if several are as short and hold different files.
        """
        roots = [n.removesuffix(file) for n in self.names if f"/{n}".endswith(f"/{file}")]
        if not roots:
            return None
        least = min(root.count("/") for root in roots)
        roots = [root for root in roots if root.count("/") == least]
        if len({self.read(root + file) for root in roots}) > 1:
            raise ValueError(
                f"path: {self.path} holds different files called {file}, in {' and '.join(roots)}; "
                "give the folder of one"
            )
        return roots[0]

    def _open(self):
        """Open; once more in another process, since two cannot share a place in one file."""
        if self._opened_by == os.getpid():
            return
        if not self.path.is_dir() and not self.path.is_file():
            raise ValueError(f"path: {self.path} is neither a folder nor a file; give {self.what}")
        self._zip, self.skipped = None, defaultdict(list)
        self._found = self._walk() if self.path.is_dir() else self._list()
        self.names, self._opened_by = sorted(self._found), os.getpid()
        self.skipped = {why: sorted(names) for why, names in self.skipped.items()}

    def _walk(self):
        found, chains = {}, {}

        def forbidden(error):
            raise OSError(f"path: {error.filename} must not be read ({error.strerror})") from None

        # followed: large data sets are often linked to another disk
        for folder, folders, files in os.walk(self.path, onerror=forbidden, followlinks=True):
            above, real = chains.get(os.path.dirname(folder), ()), os.path.realpath(folder)
            if real in above:  # a link back to where we come from
                folders.clear()
                continue
            chains[folder] = (*above, real)
            for file in files:
                path = Path(folder, file)
                name = path.relative_to(self.path).as_posix().replace("\\", "/")
                if not path.is_file():
                    self.skipped["not a file, or a link to nowhere"].append(name)
                elif self._keep(name):
                    found[name] = path
        return found

    def _list(self):
        found = {}
        try:
            self._zip = zipfile.ZipFile(self.path)
            members = [m for m in self._zip.infolist() if not m.is_dir()]
        except BROKEN as error:
            raise ValueError(f"path: {self.path} {_unopened(self.path, error)}") from None
        for member in members:
            # made on Windows, some have "\" between folders
            name = member.filename.replace("\\", "/")
            parts = PurePosixPath(name).parts
            # these would leave the folder when unpacked: they betray a hostile archive
            if name.startswith("/") or ".." in parts or re.match("[A-Za-z]:", name):
                raise ValueError(
                    f"path: {self.path} holds {member.filename!r}, outside itself; not read"
                )
            if not parts or name.endswith("/"):
                continue
            if stat.S_ISLNK(member.external_attr >> 16):
                self.skipped["not a file, or a link to nowhere"].append(name)
            elif self._keep(name):
                if name in found:  # as unpacking would, the last one counts
                    self.skipped["stored once more under the same name"].append(name)
                found[name] = member
        return found

    def _keep(self, name):
        parts = PurePosixPath(name.lower()).parts
        left = any(part.startswith(".") or part in LEFTOVERS for part in parts)
        if left:
            self.skipped["hidden, or left by a tool"].append(name)
        return not left


def _existing(path, what):
    if not isinstance(path, (str, os.PathLike)) or not str(path):
        raise ValueError(f"path: found {path!r}; give {what}")
    path = Path(path).expanduser()
    if not path.exists():
        raise FileNotFoundError(f"path: {path} does not exist; give {what}")
    return path


def _unopened(path, error):
    """Why a file could not be opened as a zip archive, and what to do."""
    try:
        with path.open("rb") as file:
            start = file.read(512)
    except OSError as forbidden:
        return f"must not be read ({forbidden.strerror})"
    if start.startswith((b"\xff\xd8\xff", b"\x89PNG")):
        return "is a picture: give the folder that holds it"
    return kind_of(start) or f"is damaged or no zip archive ({error}); fetch it again"


def kind_of(start):
    """What a file is by its first bytes, and what to do with it; None if that isn't known."""
    if not start:
        return "is damaged: it is empty; fetch it again"
    if start[257:262] == b"ustar":
        return f"is a tar archive: {UNPACK}"
    return next((kind for magic, kind in KINDS.items() if start.lstrip().startswith(magic)), None)


def listed(names, most=5):
    """The first of many names, for a message."""
    return f"{', '.join(map(str, names[:most]))}{' ...' if len(names) > most else ''}"
