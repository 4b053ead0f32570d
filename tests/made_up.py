"""Files as strangers have them, made up: pictures of every kind, data sets in every state."""

import io
import struct
import warnings
import zipfile
import zlib

import numpy as np
from PIL import Image

# what a viewer shows: four quarters of different colours, so that a turn or a shift shows
RED, GREEN, BLUE, GREY = (200, 40, 40), (40, 180, 60), (50, 60, 190), (150, 150, 150)
SIDE = 64


def flag(width=SIDE, height=SIDE):
    """The picture that is meant, whatever the file it is in."""
    pixels = np.empty((height, width, 3), np.uint8)
    top, left = height // 2, width // 2
    pixels[:top, :left], pixels[:top, left:] = RED, GREEN
    pixels[top:, :left], pixels[top:, left:] = BLUE, GREY
    return Image.fromarray(pixels)


def encoded(picture, form, **options):
    stream = io.BytesIO()
    picture.save(stream, form, **options)
    return stream.getvalue()


def turned(orientation):
    """The flag as a camera held otherwise stores it, with the note that puts it right."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    kinds = Image.Transpose
    stored = {
        2: kinds.FLIP_LEFT_RIGHT,
        3: kinds.ROTATE_180,
        4: kinds.FLIP_TOP_BOTTOM,
        5: kinds.TRANSPOSE,
        6: kinds.ROTATE_90,
        7: kinds.TRANSVERSE,
        8: kinds.ROTATE_270,
    }[orientation]
    return flag().transpose(stored), exif


def png(values, depth, kind, *chunks):
    """A PNG file written by hand: `values`, shape (height, width[, channels]), of `depth` bits.

    `kind`: 0 grey, 2 RGB, 3 palette, 4 grey and alpha, 6 RGB and alpha.
    """
    values = np.asarray(values)
    height, width = values.shape[:2]
    rows = values.reshape(height, -1)
    if depth == 16:
        packed = [row.astype(">u2").tobytes() for row in rows]
    elif depth == 8:
        packed = [row.astype("u1").tobytes() for row in rows]
    else:
        bits = (rows[..., None] >> np.arange(depth - 1, -1, -1)) & 1
        packed = [np.packbits(row).tobytes() for row in bits.reshape(height, -1)]
    data = zlib.compress(b"".join(b"\0" + row for row in packed))
    head = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    parts = [(b"IHDR", head), *chunks, (b"IDAT", data), (b"IEND", b"")]
    made = b"\x89PNG\r\n\x1a\n"
    for name, content in parts:
        check = struct.pack(">I", zlib.crc32(name + content))
        made += struct.pack(">I", len(content)) + name + content + check
    return made


def tiff(values, depth, white):
    """A TIFF file of grey written by hand; `white` is 0 or 1: whether the least value is white."""
    values = np.asarray(values)
    height, width = values.shape
    bits = (values.ravel()[:, None] >> np.arange(depth - 1, -1, -1)) & 1
    data = values.astype("<u2").tobytes() if depth == 16 else np.packbits(bits).tobytes()
    tags = {256: width, 257: height, 258: depth, 259: 1, 262: white, 273: 8, 277: 1, 278: height}
    tags[279] = len(data)
    made = b"II*\0" + struct.pack("<I", 8 + len(data)) + data + struct.pack("<H", len(tags))
    return made + b"".join(struct.pack("<HHII", tag, 4, 1, n) for tag, n in tags.items()) + bytes(4)


def profile(primaries, gamma, white=(0.9642, 1.0, 0.8249)):
    """An ICC profile of three primaries, given in CIE XYZ (D50), and one gamma."""

    def xyz(values):
        return b"XYZ \0\0\0\0" + b"".join(struct.pack(">i", round(v * 65536)) for v in values)

    name = b"desc\0\0\0\0" + struct.pack(">I", 5) + b"wide\0" + bytes(78)
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"
    tags = {b"desc": name, b"wtpt": xyz(white), b"cprt": b"text\0\0\0\0none\0\0\0\0"}
    tags |= {tag: xyz(p) for tag, p in zip((b"rXYZ", b"gXYZ", b"bXYZ"), primaries, strict=True)}
    tags |= {tag: curve for tag in (b"rTRC", b"gTRC", b"bTRC")}
    table, body, start = b"", b"", 128 + 4 + 12 * len(tags)
    for tag, content in tags.items():
        content += bytes(-len(content) % 4)
        table += tag + struct.pack(">II", start + len(body), len(content))
        body += content
    size = start + len(body)
    head = struct.pack(">I4sI4s4s4s", size, b"lcms", 0x02400000, b"mntr", b"RGB ", b"XYZ ")
    head += struct.pack(">6H", 2020, 1, 1, 0, 0, 0) + b"acsp" + bytes(28)
    head += b"".join(struct.pack(">i", round(v * 65536)) for v in white) + bytes(48)
    return head + struct.pack(">I", len(tags)) + table + body


def archive(path, files, **options):
    """Write [(name, bytes)] as a zip archive, names as they are: also twice, or with "\\"."""
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w") as made:
        warnings.simplefilter("ignore")  # of names that are there twice
        for name, content in files:
            member = zipfile.ZipInfo("x")
            member.filename = name
            made.writestr(member, content, **options)
    return path


def folder(path, files):
    """Write {name: bytes} as a folder."""
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path
