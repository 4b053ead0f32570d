"""Files: written whole or not at all, with what made them beside them."""

import hashlib
import io
import json
import os
import platform
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
from PIL import Image

# faces depend on these; another patch of Python draws the same ones
_MADE_WITH = ("torch", "diffusers", "numpy")
_NAMED = 3  # differing settings that a message names; a world made anew differs in every file


def data_folder():
    """The repository's ``data/``: beside the package, or in a folder above the current one.

    Raises
    ------
    FileNotFoundError
        If it is in neither place: an installed package is code alone.
    """
    here = Path.cwd()
    for place in (Path(__file__).resolve().parents[1], here, *here.parents):
        if any(place.glob("data/*/world.json")):
            return place / "data"
    raise FileNotFoundError(
        f"the worlds are neither beside the package nor above {here}: clone the whole repository, "
        "then install it with 'pip install -e .' in its folder, or work in a folder inside of it"
    )


@contextmanager
def whole_file(path):
    """A place to write to, which becomes `path` once all is written: a kill leaves old or new.

    Parameters
    ----------
    path : path-like
        Its folder must exist.

    Yields
    ------
    Path
        Beside `path`, since only there a file can be renamed in one go; gone if writing fails.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename == str(temporary):
            error.filename = str(path)  # the name that whoever reads the message knows
        raise


def sweep(folder):
    """Remove what killed processes left half written; call it only where none is at work."""
    for path in Path(folder).glob(".*.tmp"):
        path.unlink(missing_ok=True)


def write_whole(path, content):
    """Write bytes, or text as UTF-8, to a file: whole or not at all."""
    with whole_file(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


def write_json(path, record):
    """Write a dict to a JSON file; arrays become lists."""
    write_whole(path, json.dumps(_plain(record), indent=1, ensure_ascii=False) + "\n")


def write_arrays(path, **arrays):
    """Write arrays, by name, to an npz file that `numpy.load` opens."""
    with whole_file(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)


def as_png(image):
    """The bytes of a PNG file: `image` of shape (height, width, 3), uint8."""
    buffer = io.BytesIO()
    Image.fromarray(np.asarray(image)).save(buffer, "PNG")
    return buffer.getvalue()


def write_picture(path, image):
    """Write an image, shape (height, width, 3), uint8, to a PNG file."""
    write_whole(path, as_png(image))


def write_pictures(folder, images, first=0):
    """Write images to ``000000.png`` and so on, numbered from `first`.

    Returns
    -------
    list of str
        The files' names.
    """
    names = [f"{first + i:06}.png" for i in range(len(images))]
    for name, image in zip(names, images, strict=True):
        write_picture(Path(folder) / name, image)
    return names


def read_json(path):
    """The dict that `write_json` wrote; ValueError if the file is damaged."""
    try:
        record = json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}); delete it to start over") from None
    if not isinstance(record, dict):
        raise ValueError(f"{path} is damaged (it holds no record); delete it to start over")
    return record


def fingerprint(world, settings):
    """Everything that faces depend on; those of another fingerprint are other faces.

    Parameters
    ----------
    world : World
    settings : dict
        Method, seed and so on; `Sampler.settings` holds a sampler's own.

    Returns
    -------
    dict
        What JSON can hold: ``world``, ``checksums`` of its files, the settings by name,
        ``precision``, ``device`` (its kind) and ``versions``.
    """
    pipeline = world.pipeline
    network = getattr(pipeline, "unet", pipeline)
    made_with = {name: version(name) for name in _MADE_WITH}
    return _plain(
        {"world": world.name, "checksums": getattr(world, "checksums", None) or _weights(network)}
        | settings
        | {"precision": str(getattr(network, "dtype", "unknown")).removeprefix("torch.")}
        | {"device": getattr(getattr(pipeline, "device", None), "type", "cpu")}
        | {"versions": made_with}
    )


def provenance(world, settings):
    """What a file of faces says of itself: its `fingerprint`, and what no face depends on."""
    try:
        own = version("fairgen-course")
    except PackageNotFoundError:  # run from a folder, not installed
        own = "not installed"
    return fingerprint(world, settings) | {
        "python": platform.python_version(),
        "fairgen_utils": own,
        "labels": "read by the world's classifier; perceived categories, not people's identities",
    }


def check_same(found, wanted, where):
    """Refuse to mix faces that were made in different ways.

    Parameters
    ----------
    found, wanted : dict
        `fingerprint` of what is there, and of what is to be made. More keys in `found` are fine.
    where : str
        Begins the message: ``"out: faces"``.

    Raises
    ------
    ValueError
        If they differ; it names the settings, with both values.
    """
    found, wanted = _plain(found), _plain(wanted)
    different = [key for key in wanted if found.get(key) != wanted[key]]
    if not different:
        return
    if "attribute" in different:  # then the target has other groups, and tells nothing
        different = [key for key in different if key != "target"]
    found = _flat({key: found[key] for key in different if key in found})
    wanted = _flat({key: wanted[key] for key in different})
    names = [name for name in wanted | found if found.get(name) != wanted.get(name)]
    told = [f"{n} is {_short(found, n)} there, {_short(wanted, n)} here" for n in names[:_NAMED]]
    more = f"; and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    raise ValueError(
        f"{where} holds what other settings made: {'; '.join(told)}{more}. Give the settings it "
        "was made with, or another place; or delete it to start over"
    )


def _plain(record):
    return json.loads(json.dumps(record, default=lambda value: value.tolist()))


def _flat(record, prefix=""):
    """Nested dicts and lists as one dict: ``versions.torch``, ``target[0]``."""
    flat = {}
    for key, value in record.items():
        if isinstance(value, list):
            flat |= _flat({f"{key}[{i}]": entry for i, entry in enumerate(value)}, prefix)
        elif isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _short(record, name):
    """A value for a message; of a checksum, the beginning tells enough."""
    if name not in record:
        return "not told"
    value = record[name]
    return value[:8] if isinstance(value, str) and len(value) == 64 else repr(value)


def _weights(network):
    """Checksum of a network that comes from no folder of ours."""
    if not hasattr(network, "state_dict"):
        return None
    digest = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(tensor.detach().float().cpu().numpy()))
    return {"generator": digest.hexdigest()}
