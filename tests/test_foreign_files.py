"""Files from elsewhere: each is read as a viewer would show it, or refused by its name.

Each entry of a table is one kind of file that people have; all are made up here.
"""

import io
import os
import pickle
import re
import struct
import zipfile
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_up import (
    BLUE,
    GREEN,
    GREY,
    RED,
    SIDE,
    archive,
    encoded,
    flag,
    folder,
    png,
    profile,
    tiff,
    turned,
)
from PIL import Image, ImageFile

from fairgen_utils.datasets import (
    near_duplicates,
    perceptual_hash,
    read_faces,
    read_pictures,
    read_utkface,
)

FLAG = encoded(flag(), "PNG")
QUARTERS = (RED, GREEN, BLUE, GREY)
LOSSY = 6  # levels that a JPEG of quality 95 may move the middle of a quarter


def quarters(image):
    """The colours in the middle of the four quarters of a picture."""
    height, width = image.shape[:2]
    places = [(height // 4 + y * height // 2, width // 4 + x * width // 2) for y, x in CORNERS]
    return [tuple(int(v) for v in image[place]) for place in places]


CORNERS = ((0, 0), (0, 1), (1, 0), (1, 1))


def grey_levels(levels):
    """What a viewer shows of four grey quarters."""
    return [(level,) * 3 for level in levels]


def four(values, dtype=int):
    """Four quarters of one channel."""
    first = np.repeat(np.repeat(np.array(values, dtype).reshape(2, 2), SIDE // 2, 0), SIDE // 2, 1)
    return first


def stored(orientation, form, **options):
    picture, exif = turned(orientation)
    return encoded(picture, form, exif=exif, **options)


def with_alpha(colour_below):
    """The flag, its first quarter wholly transparent over a colour that nobody sees."""
    picture = flag().convert("RGBA")
    picture.paste((*colour_below, 0), (0, 0, SIDE // 2, SIDE // 2))
    return picture


def unused_alpha():
    picture = flag()
    picture.putalpha(0)
    return picture


def palette():
    picture = flag().convert("P", palette=Image.Palette.ADAPTIVE, colors=4)
    assert picture.mode == "P"
    return picture


WHITE = (255, 255, 255)
HALF_RED = tuple(round((255 + level) / 2) for level in RED)
OPAQUE = png(np.dstack([np.asarray(flag()).astype(int) * 257, np.full((SIDE, SIDE), 32768)]), 16, 6)
ADOBE = profile(
    ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457)), 2.2
)


def adobe_in_srgb(colour):
    """By the formulas: gamma, primaries of one to XYZ to those of the other, its curve."""
    linear = (np.array(colour) / 255) ** 2.19921875
    to_xyz = np.array([[0.60974, 0.20528, 0.14919], [0.31111, 0.62567, 0.06322]])
    to_xyz = np.vstack([to_xyz, [0.01947, 0.06087, 0.74457]])
    from_xyz = np.array(
        [
            [3.1338561, -1.6168667, -0.4906146],
            [-0.9787684, 1.9161415, 0.0334540],
            [0.0719453, -0.2289914, 1.4052427],
        ]
    )
    linear = (from_xyz @ to_xyz @ linear).clip(0, 1)
    curved = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return tuple((255 * curved).round().astype(int))


def within(width, height):
    """The flag in the middle of a black picture."""
    picture = Image.new("RGB", (width, height))
    picture.paste(flag(), ((width - SIDE) // 2, (height - SIDE) // 2))
    return picture


HEIC = b"\0\0\0\x18ftypheic" + bytes(99)
JP2 = b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(99)
AVIF = b"\0\0\0\x1cftypavif" + bytes(99)
EXIF_NONE = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01" + bytes(8)


# file's name and bytes, what a viewer shows in the four quarters, levels of tolerance
SHOWN = {
    **{f"a JPEG held as {i}": ("a.jpg", stored(i, "JPEG", quality=95), QUARTERS, LOSSY)
       for i in range(2, 9)},
    "a PNG with orientation 3": ("a.png", stored(3, "PNG"), QUARTERS, 0),
    "a WebP with orientation 5": ("a.webp", stored(5, "WEBP", lossless=True), QUARTERS, 0),
    "a TIFF with orientation 8": ("a.tif", stored(8, "TIFF"), QUARTERS, 0),
    "an orientation of 0, as some scanners write": (
        "a.jpg",
        encoded(flag(), "JPEG", quality=95, exif=EXIF_NONE), QUARTERS, LOSSY,
    ),
    "EXIF that is noise": (
        "a.jpg", encoded(flag(), "JPEG", quality=95, exif=b"Exif\0\0" + bytes(range(200))),
        QUARTERS, LOSSY,
    ),
    "16 bits of grey, PNG": (
        "a.png", png(four([0, 20000, 40000, 65535]), 16, 0), grey_levels([0, 78, 156, 255]), 1,
    ),
    "16 bits of grey, TIFF": (
        "a.tif", encoded(Image.fromarray(four([0, 20000, 40000, 65535], "u2")), "TIFF"),
        grey_levels([0, 78, 156, 255]), 1,
    ),
    "16 bits of grey with a transparent level": (
        "a.png",
        png(four([0, 20000, 40000, 65535]), 16, 0, (b"tRNS", struct.pack(">H", 20000))),
        grey_levels([0, 255, 156, 255]), 1,
    ),
    "12 bits of grey, TIFF": (
        "a.tif", tiff(four([0, 1250, 2500, 4095]), 12, 1), grey_levels([0, 78, 156, 255]), 1,
    ),
    "16 bits of grey, TIFF, whose nought is white": (
        "a.tif", tiff(four([65535, 45535, 25535, 0]), 16, 0), grey_levels([0, 78, 156, 255]), 1,
    ),
    "16 bits a colour": ("a.png", png(np.asarray(flag()).astype(int) * 257, 16, 2), QUARTERS, 0),
    "16 bits a colour, half transparent": (
        "a.png", OPAQUE, [tuple(round((255 + v) / 2) for v in c) for c in QUARTERS], 1,
    ),
    "one bit, black and white": ("a.png", png(four([0, 1, 1, 0]), 1, 0),
                                 grey_levels([0, 255, 255, 0]), 0),
    "two bits of grey": ("a.png", png(four([0, 1, 2, 3]), 2, 0),
                         grey_levels([0, 85, 170, 255]), 0),
    "four bits of grey": ("a.png", png(four([0, 5, 10, 15]), 4, 0),
                          grey_levels([0, 85, 170, 255]), 0),
    "grey, JPEG": ("a.jpg", encoded(Image.fromarray(four([9, 99, 160, 250], "u1")), "JPEG"),
                   grey_levels([9, 99, 160, 250]), 2),
    "a palette": ("a.png", encoded(palette(), "PNG"), QUARTERS, 0),
    "a palette, GIF": ("a.gif", encoded(palette(), "GIF"), QUARTERS, 0),
    "a palette, BMP": ("a.bmp", encoded(palette(), "BMP"), QUARTERS, 0),
    "a palette with a transparent colour": (
        "a.png", encoded(palette(), "PNG", transparency=palette().getpixel((0, 0))),
        (WHITE, GREEN, BLUE, GREY), 0,
    ),
    "a palette with degrees of transparency": (
        "a.png",
        png(four([0, 1, 2, 3]), 8, 3, (b"PLTE", bytes(sum(QUARTERS, ()))), (b"tRNS", bytes([128]))),
        (HALF_RED, GREEN, BLUE, GREY), 1,
    ),
    "transparent over black": ("a.png", encoded(with_alpha((0, 0, 0)), "PNG"),
                               (WHITE, GREEN, BLUE, GREY), 0),
    "transparent over a hidden face": ("a.webp", encoded(with_alpha(BLUE), "WEBP", lossless=True,
                                                         exact=True),
                                       (WHITE, GREEN, BLUE, GREY), 0),
    "a transparent colour, RGB": (
        "a.png", png(np.asarray(flag()), 8, 2, (b"tRNS", struct.pack(">3H", *GREEN))),
        (RED, WHITE, BLUE, GREY), 0,
    ),
    "grey and transparent": (
        "a.png", png(np.dstack([four([0, 90, 180, 240]), four([0, 255, 255, 128])]), 8, 4),
        grey_levels([255, 90, 180, 247]), 1,
    ),
    "CMYK of a printer": (
        "a.jpg", encoded(flag().convert("CMYK"), "JPEG", quality=95), QUARTERS, LOSSY,
    ),
    "CMYK, TIFF": ("a.tif", encoded(flag().convert("CMYK"), "TIFF"), QUARTERS, 0),
    "a palette with a transparent colour, GIF": (
        "a.gif", encoded(palette(), "GIF", transparency=palette().getpixel((0, 0))),
        (WHITE, GREEN, BLUE, GREY), 0,
    ),
    "a fourth channel of noughts that nobody uses, BMP": (
        "a.bmp", encoded(unused_alpha(), "BMP"), QUARTERS, 0,
    ),
    "transparent, TIFF": (
        "a.tif", encoded(with_alpha(BLUE), "TIFF"), (WHITE, GREEN, BLUE, GREY), 0),
    "packed by LZW, TIFF": (
        "a.tif", encoded(flag(), "TIFF", compression="tiff_lzw"), QUARTERS, 0),
    "a JPEG in a TIFF": (
        "a.tif", encoded(flag(), "TIFF", compression="jpeg", quality=95), QUARTERS, LOSSY),
    "a JPEG that holds red, green and blue": (
        "a.jpg", encoded(flag(), "JPEG", quality=95, keep_rgb=True), QUARTERS, LOSSY),
    "a JPEG with a quarter of the colours": (
        "a.jpg", encoded(flag(), "JPEG", quality=95, subsampling="4:1:1"), QUARTERS, LOSSY),
    "upright, with the camera's note left in XMP": (
        "a.jpg",
        encoded(flag(), "JPEG", quality=95, xmp=b'<rdf:Description tiff:Orientation="6"/>'),
        QUARTERS, LOSSY,
    ),
    "a wider colour space": (
        "a.png", encoded(flag(), "PNG", icc_profile=ADOBE), [*map(adobe_in_srgb, QUARTERS)], 2,
    ),
    "a colour profile that is noise": (
        "a.png", encoded(flag(), "PNG", icc_profile=b"no profile at all" * 9), QUARTERS, 0,
    ),
    "a profile for grey in a picture in colour": (
        "a.png", encoded(flag(), "PNG", icc_profile=ADOBE.replace(b"RGB ", b"GRAY")), QUARTERS, 0,
    ),
    "a telephone's, with a second picture inside": (
        "a.jpg",
        encoded(flag(), "MPO", save_all=True, append_images=[Image.new("RGB", (8, 8))], quality=95),
        QUARTERS, LOSSY,
    ),
    "progressive": ("a.jpg", encoded(flag(), "JPEG", quality=95, progressive=True),
                    QUARTERS, LOSSY),
    "a PNG called .jpg": ("a.jpg", FLAG, QUARTERS, 0),
    "a JPEG called .png": ("a.png", encoded(flag(), "JPEG", quality=95), QUARTERS, LOSSY),
    "capital letters": ("A.JPG", encoded(flag(), "JPEG", quality=95), QUARTERS, LOSSY),
    ".jfif, as Windows saves from browsers": (
        "a.jfif", encoded(flag(), "JPEG", quality=95), QUARTERS, LOSSY),
    "a name in Greek with a blank": ("πρόσωπο 1.png", FLAG, QUARTERS, 0),
    "a name with a line break": ("a\nb.png", FLAG, QUARTERS, 0),
    "larger": ("a.png", encoded(flag(640, 640), "PNG"), QUARTERS, 0),
    "smaller": ("a.png", encoded(flag(16, 16), "PNG"), QUARTERS, 1),
    "a single pixel": ("a.png", encoded(Image.new("RGB", (1, 1), RED), "PNG"), [RED] * 4, 0),
    "a line": ("a.png", encoded(Image.new("RGB", (1, 5000), RED), "PNG"), [RED] * 4, 0),
    "wide: its middle, not squeezed": ("a.png", encoded(within(300, 64), "PNG"), QUARTERS, 0),
    "high: its middle, not squeezed": ("a.png", encoded(within(64, 301), "PNG"), QUARTERS, 0),
    "a JPEG with something after its end": (
        "a.jpg", encoded(flag(), "JPEG", quality=95) + b"sound of a motion picture" * 99,
        QUARTERS, LOSSY,
    ),
}


@pytest.mark.parametrize("kind", SHOWN)
@pytest.mark.parametrize("where", ["folder", "zip"])
def test_a_picture_is_read_as_a_viewer_shows_it(tmp_path, kind, where):
    name, content, shown, tolerance = SHOWN[kind]
    if where == "folder":
        path = folder(tmp_path / "faces", {name: content})
    else:
        path = archive(tmp_path / "faces.zip", [(name, content)])
    found = quarters(read_pictures(path)[0])
    np.testing.assert_allclose(found, shown, atol=tolerance)


def tiff_of(mode):
    return encoded(Image.new(mode, (8, 8)), "TIFF")


def bomb_of_text():
    """A PNG whose comment unpacks to five million letters."""
    text = b"Comment\0\0" + zlib.compress(bytes(5_000_000), 9)
    return png(four([0, 1, 2, 3]), 8, 0, (b"zTXt", text))


TWO = {"save_all": True, "append_images": [Image.new("RGB", (SIDE, SIDE))]}
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/etc) run\n"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"

# file's name and bytes, and what is said of it
REFUSED = {
    "an animated GIF": ("a.gif", encoded(flag(), "GIF", **TWO), "animated"),
    "an animated WebP": ("a.webp", encoded(flag(), "WEBP", **TWO), "animated"),
    "a TIFF of two pages": ("a.tif", encoded(flag(), "TIFF", **TWO), "several pages"),
    "an animated PNG": ("a.png", encoded(flag(), "PNG", **TWO), "animated"),
    "lightness and two colours": ("a.tif", tiff_of("LAB"), "kind 'LAB'"),
    "a JPEG 2000 called .jpg": ("a.jpg", JP2, "no picture of a kind"),
    "a telephone's AVIF called .jpg": ("a.jpg", AVIF, "no picture of a kind"),
    "an icon called .png": ("a.png", encoded(flag(), "ICO"), "no picture of a kind"),
    "a JPEG without its last bytes": ("a.jpg", encoded(flag(), "JPEG")[:-2], "damaged"),
    "a line of 60 million pixels": (
        "a.png", png(np.zeros((1, 60_000_000), "u1"), 8, 0), "60000000 x 1 pixels, more than"),
    "floats": ("a.tif", tiff_of("F"), "kind 'F'"),
    "integers of 32 bits": ("a.tif", tiff_of("I"), "kind 'I'"),
    "a telephone's HEIC called .jpg": ("a.jpg", HEIC, "no picture of a kind"),
    "a program for printers called .jpg": ("a.jpg", EPS, "no picture of a kind"),
    "an SVG called .png": ("a.png", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "a web page"),
    "an error page called .jpg": ("a.jpg", b"<!DOCTYPE html><h1>403</h1>", "a web page"),
    "a placeholder of Git LFS": ("a.png", POINTER, "git lfs pull"),
    "a zip called .png": ("a.png", b"PK\x03\x04" + bytes(99), "is damaged"),
    "nothing": ("a.png", b"", "is empty"),
    "a comment that would fill the memory": ("a.png", bomb_of_text(), "damaged"),
    "a JPEG of which half came": ("a.jpg", encoded(flag(), "JPEG")[:700], "damaged"),
    "a PNG with a flipped bit": ("a.png", FLAG[:60] + bytes([FLAG[60] ^ 1]) + FLAG[61:], "damaged"),
    "a width of nought": ("a.png", png(np.zeros((1, 0)), 8, 0), "damaged"),
}


@pytest.mark.parametrize("kind", REFUSED)
@pytest.mark.parametrize("lenient", [False, True])
def test_a_picture_that_no_viewer_shows_alike_is_refused_by_name(
    tmp_path, monkeypatch, kind, lenient
):
    # other libraries set this for the whole process; half a picture would pass, the rest grey
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", lenient)
    name, content, said = REFUSED[kind]
    pictures = read_pictures(folder(tmp_path / "faces", {"0.png": FLAG, name: content}))
    with pytest.raises(ValueError, match=f"^{name} .*{said}"):
        pictures[:]
    assert quarters(pictures[0]) == [*QUARTERS]  # the others can be read
    assert ImageFile.LOAD_TRUNCATED_IMAGES == lenient


# --- folders --------------------------------------------------------------------------------------

# what lies beside 0.png and b/1.png, the reason it is skipped, and whether that is worth a warning
BESIDE = {
    "Jupyter's copies": (".ipynb_checkpoints/0-checkpoint.png", "left by a tool", True),
    "Jupyter's copies, below": ("b/.ipynb_checkpoints/1-checkpoint.png", "left by a tool", True),
    "macOS's forks": ("__MACOSX/._0.png", "left by a tool", True),
    "macOS's notes": ("b/.DS_Store", "left by a tool", False),
    "Windows' thumbnails": ("b/Thumbs.db", "left by a tool", False),
    "Windows' looks": ("desktop.ini", "left by a tool", False),
    "a Synology's thumbnails": ("@eaDir/0.png/SYNOPHOTO_THUMB_M.png", "left by a tool", True),
    "a Linux desktop's thumbnails": (".thumbnails/0.png", "left by a tool", True),
    "a bin": (".Trash-1000/files/2.png", "left by a tool", True),
    "Windows' bin": ("$RECYCLE.BIN/2.png", "left by a tool", True),
    "git's": (".git/HEAD", "left by a tool", False),
    "a telephone's HEIC": ("2.HEIC", "kind of picture that is not read", True),
    "a camera's raw": ("2.cr2", "kind of picture that is not read", True),
    "a JPEG 2000": ("2.jp2", "kind of picture that is not read", True),
    "an archive with more": ("more.zip", "unpack it first", True),
    "a tar with more": ("b/more.tar.gz", "unpack it first", True),
    "half a download": ("2.png.crdownload", "no picture", False),
    "a lock of an office": (".~lock.0.png#", "left by a tool", False),
    "a table": ("labels.csv", "no picture", False),
    "a note": ("README", "no picture", False),
}


@pytest.mark.parametrize("kind", BESIDE)
@pytest.mark.parametrize("where", ["folder", "zip"])
def test_what_lies_beside_pictures_does_not_count_and_is_listed(tmp_path, recwarn, kind, where):
    name, why, worth = BESIDE[kind]
    files = {"0.png": FLAG, "b/1.png": FLAG, name: FLAG}
    if where == "folder":
        path = folder(tmp_path / "faces", files)
    else:
        path = archive(tmp_path / "faces.zip", files.items())
    pictures = read_pictures(path)
    assert pictures.names == ["0.png", "b/1.png"] and len(pictures[:]) == 2
    assert list(pictures.skipped.values()) == [[name]] and why in next(iter(pictures.skipped))
    told = [str(warning.message) for warning in recwarn]
    assert len(told) == worth and all(f" 1 files of {path} " in message for message in told)
    assert all(name in message for message in told)


def test_many_that_are_skipped_are_counted_and_the_first_are_named(tmp_path):
    files = {f"__MACOSX/._{i}.png": b"" for i in range(9)} | {"0.png": FLAG}
    with pytest.warns(UserWarning, match=r"9 files .*\._0.png, .*\._4.png \.\.\.$"):
        assert len(read_pictures(archive(tmp_path / "faces.zip", files.items()))) == 1


def test_folders_on_another_disk_are_followed_and_circles_are_not(tmp_path):
    folder(tmp_path / "disk", {"1.png": FLAG})
    faces = folder(tmp_path / "faces", {"0.png": FLAG, "b/2.png": FLAG})
    (faces / "linked").symlink_to(tmp_path / "disk")
    (faces / "again").symlink_to(tmp_path / "disk")
    (faces / "b" / "round").symlink_to(faces)
    (faces / "nowhere.png").symlink_to(tmp_path / "gone.png")
    os.mkfifo(faces / "pipe.png")
    with pytest.warns(UserWarning, match="2 files .*nowhere.png, pipe.png"):
        pictures = read_pictures(faces)
    assert pictures.names == ["0.png", "again/1.png", "b/2.png", "linked/1.png"]
    assert len(pictures[:]) == 4


def test_a_name_that_is_no_text_is_read(tmp_path):
    (tmp_path / os.fsdecode(b"caf\xe9.png")).write_bytes(FLAG)
    assert quarters(read_pictures(tmp_path)[0]) == [*QUARTERS]


@pytest.mark.parametrize(
    "names", [("\xe4.png", "a\u0308.png"), ("A.png", "a.png"), ("-n.png", "~$n.png")]
)
def test_names_that_some_systems_take_for_one_are_two_in_an_archive(tmp_path, names):
    path = archive(tmp_path / "faces.zip", [(name, FLAG) for name in names])
    assert sorted(read_pictures(path).names) == sorted(names)
    assert len(read_pictures(path)[:]) == 2


def test_fairface_with_columns_in_another_order_is_read(tmp_path):
    rows = "White,Male,20-29,train/1.jpg\nWhite,Female,40-49,train/2.jpg\n"
    path = folder(tmp_path / "faces", fairface("race,gender,age,file\n" + rows))
    faces = read_faces(path, "train")
    assert faces.labels["gender"].tolist() == [1, 0] and faces.labels["age"].tolist() == [0, 1]


def test_a_folder_unpacked_without_regard_to_windows_names_is_read(tmp_path):
    (tmp_path / "b\\1.png").write_bytes(FLAG)
    assert read_pictures(tmp_path).names == ["b/1.png"]


# what is there, and what is said of it
NOTHING = {
    "only a download": ({"archive.zip": b"PK"}, "unpack archive.zip first"),
    "only HEIC": ({"1.heic": HEIC, "2.HEIC": HEIC}, "it holds .HEIC, .heic"),
    "only text": ({"a.txt": b"", "LICENSE": b""}, "it holds .txt, LICENSE"),
    "nothing": ({}, "holds no picture such as"),
    "only what tools leave": ({".cache/0.png": FLAG}, "holds no picture such as"),
}


@pytest.mark.parametrize("kind", NOTHING)
def test_a_folder_without_pictures_says_what_it_holds(tmp_path, kind):
    files, said = NOTHING[kind]
    folder(tmp_path / "faces", files).mkdir(exist_ok=True)
    with pytest.raises(FileNotFoundError, match=f"^path: .*{said}"):
        read_pictures(tmp_path / "faces")


NOWHERE = [None, "", 7, b"faces", "https://example.org/faces.zip", "~/no such"]


@pytest.mark.parametrize("path", NOWHERE)
def test_what_is_no_path_is_refused_by_name(path):
    with pytest.raises((ValueError, FileNotFoundError), match="^path: .*give a folder or zip"):
        read_pictures(path)


# --- archives -------------------------------------------------------------------------------------

def marked(number):
    """The flag with a dot in its border: no two are the same."""
    picture = flag()
    picture.paste("black", (8 * number, 0, 8 * number + 8, 8))
    return encoded(picture, "JPEG", quality=95)


PEOPLE = enumerate([(20, 0), (45, 1), (70, 2), (33, 3), (51, 0)])
UTK = {
    f"UTKFace/{age}_0_{race}_2017011218000000{i}.jpg.chip.jpg": marked(i)
    for i, (age, race) in PEOPLE
}
LONG = {"compress_type": zipfile.ZIP_DEFLATED}


def patched(path, **fields):
    """Other numbers in the two heads of a zip's only member."""
    content = bytearray(path.read_bytes())
    central = content.rindex(b"PK\x01\x02")
    for field, value in fields.items():
        for start, offset in ((0, {"flags": 6, "method": 8}[field]), (central, None)):
            offset = offset or {"flags": 8, "method": 10}[field]
            struct.pack_into("<H", content, start + offset, value)
    path.write_bytes(bytes(content))
    return path


def windows(path):
    return archive(path, [(name.replace("/", "\\"), content) for name, content in UTK.items()])


def twice(path):
    first = next(iter(UTK))
    return archive(path, [(first, b"old"), *UTK.items()])


def self_extracting(path):
    archive(path, UTK.items())
    path.write_bytes(b"MZ" + bytes(4000) + path.read_bytes())
    return path


def with_folders(path):
    return archive(path, [("UTKFace/", b""), *UTK.items()])


def commented(path):
    archive(path, UTK.items())
    with zipfile.ZipFile(path, "a") as made:
        made.comment = b"for PK, with love" * 99
    return path


def large(path):
    with zipfile.ZipFile(path, "w") as made:
        for name, content in UTK.items():
            with made.open(name, "w", force_zip64=True) as member:
                member.write(content)
    return path


class Pipe(io.BytesIO):
    """What can be written to, and not gone back in: sizes follow what they are of."""

    def seekable(self):
        return False

    def seek(self, *place):
        raise io.UnsupportedOperation

    tell = seek


def piped(path):
    written = Pipe()
    archive(written, UTK.items())
    path.write_bytes(written.getvalue())
    return path


def linked(path):
    path.symlink_to(archive(path.with_name("elsewhere.zip"), UTK.items()))
    return path


def padded(path):
    path.write_bytes(path.read_bytes() + bytes(5000))
    return path


READ = {
    "made on Windows": windows,
    "with a name twice, the last one good": twice,
    "that unpacks itself": self_extracting,
    "with entries for folders": with_folders,
    "with a comment": commented,
    "as large ones are (zip64)": large,
    "written to a pipe": piped,
    "linked to": linked,
    "cut out of a larger file": lambda path: padded(archive(path, UTK.items())),
    "with names from here": lambda path: archive(path, [(f"./{n}", c) for n, c in UTK.items()]),
    "packed by deflate": lambda path: archive(path, UTK.items(), **LONG),
    "packed by bzip2": lambda path: archive(path, UTK.items(), compress_type=zipfile.ZIP_BZIP2),
    "packed by lzma": lambda path: archive(path, UTK.items(), compress_type=zipfile.ZIP_LZMA),
}


@pytest.mark.parametrize("kind", READ)
@pytest.mark.filterwarnings("ignore:path. 1 files")
def test_an_archive_is_read_wherever_it_was_made(tmp_path, kind):
    faces = read_utkface(READ[kind](tmp_path / "faces.zip"), "train", heldout_percent=0)
    assert len(faces) == len(UTK)
    assert sorted(faces.labels["age"]) == [0, 0, 1, 1, 2]
    for image in faces.images:
        np.testing.assert_allclose(quarters(image), QUARTERS, atol=LOSSY)


def one(path, content=FLAG, **options):
    return archive(path, [("0.png", content)], **options)


def raw(content):
    def make(path):
        path.write_bytes(content)
        return path

    return make


def link(path):
    with zipfile.ZipFile(path, "w") as made:
        member = zipfile.ZipInfo("0.png")
        member.external_attr = 0o120777 << 16
        made.writestr(member, "/etc/hostname")
    return path


def pipe(path):
    os.mkfifo(path)
    return path


CLOSED = {
    "with a password": (lambda path: patched(one(path), flags=1), "0.png is locked"),
    "packed by deflate64": (lambda path: patched(one(path), method=9), "0.png is packed in a way"),
    "locked by AES": (lambda path: patched(one(path), flags=1, method=99), "0.png is locked"),
    "with a member that would fill the memory": (
        lambda path: one(path, bytes(100_000_001), **LONG), "0.png unpacks to more than 100 MB"),
    "from the root": (lambda path: archive(path, [("/0.png", FLAG)]), "outside itself"),
    "from a drive": (lambda path: archive(path, [("C:\\0.png", FLAG)]), "outside itself"),
    "from a server": (lambda path: archive(path, [("\\\\s\\0.png", FLAG)]), "outside itself"),
    "from above": (lambda path: archive(path, [("a\\..\\..\\0.png", FLAG)]), "outside itself"),
    "cut short": (lambda path: raw(one(path).read_bytes()[:-30])(path), "damaged.*cut short"),
    "with a zip in it": (lambda path: archive(path, [("in.zip", b"PK")]), "unpack in.zip first"),
    "of arrays": (lambda path: archive(path, [("images.npy", b"")]), "it holds .npy"),
    "one part of several": (raw(b"PK\x07\x08PK" + bytes(99)), "no zip archive"),
    "a table of columns (parquet)": (raw(b"PAR1" + bytes(99)), "no zip archive"),
    "with nothing in it": (lambda path: archive(path, []), "holds no picture"),
    "with a link": (link, "holds no picture"),
    "empty": (raw(b""), "is damaged: it is empty"),
    "gzipped": (raw(b"\x1f\x8b" + bytes(600)), "is a gzipped archive: unpack it"),
    "by 7z": (raw(b"7z\xbc\xaf\x27\x1c" + bytes(600)), "is a 7z archive"),
    "by rar": (raw(b"Rar!\x1a\x07" + bytes(600)), "is a rar archive"),
    "a tar": (raw(bytes(257) + b"ustar" + bytes(600)), "is a tar archive"),
    "a page about quotas": (raw(b"\n<!DOCTYPE html><title>Quota"), "is a web page"),
    "a placeholder of Git LFS": (raw(POINTER), "git lfs pull"),
    "a picture": (raw(FLAG), "is a picture: give the folder"),
    "a table": (raw(b"file,age\n"), "no zip archive"),
    "a pipe": (pipe, "neither a folder nor a file"),
}


@pytest.mark.parametrize("kind", CLOSED)
@pytest.mark.filterwarnings("ignore:path. 1 files")
def test_an_archive_that_cannot_be_read_says_why(tmp_path, kind):
    make, said = CLOSED[kind]
    with pytest.raises((ValueError, FileNotFoundError), match=said):
        read_pictures(make(tmp_path / "faces.zip"))[:]
    assert [path.name for path in tmp_path.iterdir()] == ["faces.zip"]


CALM = {"deadline": None, "derandomize": True, "database": None,
        "suppress_health_check": list(HealthCheck)}


@pytest.mark.slow
@settings(max_examples=60, **CALM)
@given(st.data())
def test_a_flipped_bit_anywhere_is_named_or_harmless_in_either_split(tmp_path, data):
    path = archive(tmp_path / "faces.zip", UTK.items())
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(bytes(content))
    for split in ("train", "heldout"):
        try:
            faces = read_utkface(path, split, heldout_percent=50)
        except ValueError as error:
            assert str(path) in str(error)
        else:
            for image in faces.images:
                np.testing.assert_allclose(quarters(image), QUARTERS, atol=LOSSY)


def test_an_archive_is_opened_once(tmp_path, monkeypatch):
    path = archive(tmp_path / "faces.zip", {f"{i}.png": FLAG for i in range(9)}.items())
    opened, real = [], zipfile.ZipFile

    class Counted(real):
        def __init__(self, *arguments, **options):
            opened.append(arguments)
            super().__init__(*arguments, **options)

    monkeypatch.setattr(zipfile, "ZipFile", Counted)
    pictures = read_pictures(path)
    for start in range(0, 9, 3):
        assert len(pictures[start : start + 3]) == 3
    assert len(opened) == 1


def test_pictures_can_be_sent_to_other_processes(tmp_path):
    path = archive(tmp_path / "faces.zip", [("0.png", FLAG)])
    pictures = pickle.loads(pickle.dumps(read_pictures(path)))
    assert quarters(pictures[0]) == [*QUARTERS]


# --- tables and names ----------------------------------------------------------------------------

COLUMNS = "Bald Black_Hair Blond_Hair Brown_Hair Eyeglasses Gray_Hair Male Smiling Young".split()
ATTRIBUTES = f"3\n{' '.join(COLUMNS)}\n" + "".join(
    f"00000{i}.jpg {' '.join(['-1'] * 8)} {sign}\n" for i, sign in ((1, 1), (2, -1), (3, 1))
)
PARTS = "000001.jpg 0\n000002.jpg 0\n000003.jpg 0\n"
FAIR = "file,age,gender,race\ntrain/1.jpg,20-29,Male,White\ntrain/2.jpg,40-49,Female,Black\n"


def celeba(told=ATTRIBUTES, parts=PARTS, kinds=("txt", "txt"), **more):
    """CelebA of three pictures; bytes are written as they are, text as UTF-8."""
    files = {f"list_attr_celeba.{kinds[0]}": told, f"list_eval_partition.{kinds[1]}": parts}
    files |= {f"img_align_celeba/00000{i}.jpg": FLAG for i in (1, 2, 3)} | more.pop("files", {})
    return {name: t if isinstance(t, bytes) else t.encode() for name, t in files.items()}


def comma_parted(text, first="image_id"):
    lines = [",".join(line.split()) for line in text.splitlines()]
    return "\n".join([f"{first},{lines[0]}", *lines[1:]]) + "\n"


def fairface(told=FAIR, **files):
    pictures = {f"train/{i}.jpg": FLAG for i in (1, 2)}
    return {"fairface_label_train.csv": told.encode(), **pictures, **files.pop("files", {})}


def quoted(text):
    return re.sub(r"[^,\n]+", r'"\g<0>"', text)


def numbered(text):
    head, *rows = text.splitlines()
    return "\n".join([f",{head}", *(f"{i},{row}" for i, row in enumerate(rows))]) + "\n"


KAGGLE = comma_parted(ATTRIBUTES.split("\n", 1)[1])
KAGGLE_PARTS = comma_parted("partition\n" + PARTS)
CSV = ("csv", "csv")
YOUNG = [1, 0, 1]

# tables that say the same in other ways
SAME = {
    "as it comes": celeba(),
    "as Kaggle has it": celeba(KAGGLE, KAGGLE_PARTS, CSV),
    "with a mark by Excel": celeba(("\ufeff" + KAGGLE).encode(), KAGGLE_PARTS, CSV),
    "with Windows' ends of lines": celeba(ATTRIBUTES.replace("\n", "\r\n")),
    "with an old Mac's ends of lines": celeba(ATTRIBUTES.replace("\n", "\r")),
    "with tabs": celeba(ATTRIBUTES.replace(" ", "\t")),
    "with plus signs": celeba(ATTRIBUTES.replace(" 1\n", " +1\n")),
    "with blanks after commas": celeba(KAGGLE.replace(",", ", "), KAGGLE_PARTS, CSV),
    "with everything in quotes": celeba(quoted(KAGGLE), KAGGLE_PARTS, CSV),
    "with row numbers by pandas": celeba(numbered(KAGGLE), numbered(KAGGLE_PARTS), CSV),
    "with blank lines at the end": celeba(ATTRIBUTES + "\n\n", PARTS + "\n"),
    "without the number of rows": celeba(ATTRIBUTES.split("\n", 1)[1]),
    "with a name for the files": celeba(ATTRIBUTES.replace("Bald", "image_id Bald", 1)),
    "with parts as a table": celeba(parts=KAGGLE_PARTS, kinds=("txt", "csv")),
    "with parts in another order": celeba(parts="".join(PARTS.splitlines(True)[::-1])),
    "unpacked one folder deeper": {f"celeba/{name}": c for name, c in celeba().items()},
    "with pictures two folders deep, as Kaggle has them": {
        name.replace("img_align", "img_align_celeba/img_align"): c for name, c in celeba().items()
    },
    "with the same table in two folders": celeba(
        files={"a/list_eval_partition.txt": PARTS, "b/list_eval_partition.txt": PARTS}
    ),
}


@pytest.mark.parametrize("kind", SAME)
@pytest.mark.parametrize("where", ["folder", "zip"])
def test_a_table_is_read_whoever_saved_it(tmp_path, kind, where):
    if where == "folder":
        path = folder(tmp_path / "faces", SAME[kind])
    else:
        path = archive(tmp_path / "faces.zip", SAME[kind].items())
    faces = read_faces(path, "train")
    told = dict(zip(faces.images.names, faces.labels["age"].tolist(), strict=True))
    assert [told[name] for name in sorted(told)] == YOUNG
    assert faces.attributes["age"] == ("not young", "young")


ROWS = ATTRIBUTES.splitlines(True)
CUT = "".join(ROWS)[:-8]
# files of a data set, and what is said of it
WRONG = {
    "a row twice": (celeba("4\n" + "".join([*ROWS[1:], ROWS[3]])), "several rows for 000002.jpg"),
    "a row of parts twice": (celeba(parts=PARTS + "000002.jpg 1\n"), "several rows for 000002.jpg"),
    "rows fewer than it says": (celeba("".join(ROWS[:-1])), "tells of 3 rows, and it has 2"),
    "a row cut off": (celeba(CUT), "the row of 000003.jpg is cut off"),
    "no rows": (celeba("".join(ROWS[:2])), "malformed"),
    "a picture without a part": (
        celeba(parts="000001.jpg 0\n000002.jpg 0\n"),
        "list_eval_partition in .* has no row for 1 pictures .*000003"),
    "a part that there isn't": (celeba(parts=PARTS.replace("3.jpg 0", "3.jpg 3")),
                                "^list_eval_partition: found .3"),
    "a part that is missing": (celeba(parts=PARTS.replace("1.jpg 0", "1.jpg")), "malformed"),
    "noughts for no": (celeba(ATTRIBUTES.replace("-1", "0")), "^Male: found .0"),
    "true and false": (
        celeba(KAGGLE.replace("-1", "False").replace(",1", ",True"), KAGGLE_PARTS, CSV),
        "^Male: found .*False"),
    "semicolons": (celeba(KAGGLE.replace(",", ";"), KAGGLE_PARTS, CSV), "has no column .*found"),
    "UTF-16 by PowerShell": (celeba(ATTRIBUTES.encode("utf-16")), "no text in UTF-8"),
    "a comma after every row": (
        celeba(KAGGLE.replace("\n", ",\n").replace("Young,", "Young"), KAGGLE_PARTS, CSV),
        "different numbers of columns"),
    "a table of another folder": (
        {**{f"a/{n}": c for n, c in celeba().items()},
         "b/list_attr_celeba.txt": ATTRIBUTES.replace(" 1\n", " -1\n").encode()},
        "different files called list_attr_celeba.txt, in a/ and b/"),
    "an Excel file": (celeba(b"PK\x03\x04\xff\xfe", KAGGLE_PARTS, CSV), "no text in UTF-8"),
    "FairFace's row twice": (fairface(FAIR + "train/1.jpg,60-69,Male,Asian\n"),
                             "several rows for train/1.jpg"),
    "FairFace's row twice, its file last": (
        fairface("race,gender,age,file\n" + "White,Male,20-29,train/1.jpg\n" * 2),
        "several rows for train/1.jpg"),
    "FairFace with a comma too many": (
        fairface(FAIR.replace("Black", "Black,x")), "malformed: .*line 3"),
    "FairFace without a race": (fairface(FAIR.replace("White", "")), "^race: found .nan"),
    "FairFace in Excel's own words": (
        fairface(FAIR.replace("20-29", "20.29")), "age: found .*20.29"),
    "FairFace in small letters": (fairface(FAIR.replace("Male", "male")), "^gender: found .*male"),
    "a remark before the table": (celeba("# of 2015\n" + ATTRIBUTES), "different numbers of colu"),
    "a table whose end was never written": (
        celeba(ATTRIBUTES.encode()[:-40] + bytes(40)), "tells of 3 rows, and it has 2"),
    "Latin letters of a byte": (celeba(ATTRIBUTES.replace("Bald", "H\xe4r").encode("latin-1")),
                                "no text in UTF-8"),
    "a column twice": (celeba(ATTRIBUTES.replace("Black_Hair", "Bald")), "no column .'Black_Hair"),
    "FairFace with two margins": (
        {"fairface_label_train.csv": FAIR.encode(),
         **{f"margin{m}/train/1.jpg": encoded(flag(m, m), "PNG") for m in (25, 125)}},
        "different files called train/1.jpg, in margin125/ and margin25/"),
    "FairFace of children": (fairface(FAIR.replace("20-29", "3-9").replace("40-49", "0-2")),
                             "^split: .* no adult"),
    "FairFace by columns of row numbers": (
        fairface("file,age,gender,race\n0,train/1.jpg,20-29,Male,White\n"),
        "different numbers of columns"),
}


@pytest.mark.parametrize("kind", WRONG)
@pytest.mark.parametrize("where", ["folder", "zip"])
def test_labels_that_would_not_be_those_of_the_pictures_are_refused(tmp_path, kind, where):
    files, said = WRONG[kind]
    if where == "folder":
        path = folder(tmp_path / "faces", files)
    else:
        path = archive(tmp_path / "faces.zip", files.items())
    with pytest.raises(ValueError, match=said):
        read_faces(path, "train")


@pytest.mark.parametrize("files", [celeba, fairface])
def test_pictures_without_a_row_are_counted_and_named(tmp_path, files):
    inside = "img_align_celeba" if files is celeba else "train"
    path = folder(tmp_path / "faces", files(files={f"{inside}/9{i}.jpg": FLAG for i in range(7)}))
    said = rf"7 files .*without a row .*{inside}/90.jpg.* \.\.\.$"
    with pytest.warns(UserWarning, match=said):
        faces = read_faces(path, "train")
    assert len(faces) == len(faces.images[:]) == len(faces.labels["age"]) < 7
    assert sum(len(names) for names in faces.skipped.values()) == 7


DATE = "20170112180000"
# names in an archive, and those that are read of them
NAMES = {
    "two folders with the same faces": (
        [f"UTKFace/20_0_0_{DATE}1.jpg.chip.jpg", f"crop_part1/20_0_0_{DATE}1.jpg.chip.jpg"], [0]),
    "faces before and after they were cut": (
        [f"UTKFace/20_0_0_{DATE}1.jpg.chip.jpg", f"part1/20_0_0_{DATE}1.jpg"], [0]),
    "faces after and before they were cut": (
        [f"a/20_0_0_{DATE}1.jpg", f"b/20_0_0_{DATE}1.jpg.chip.jpg"], [1]),
    "an age of no man": ([f"999_0_0_{DATE}1.jpg", f"21_0_0_{DATE}2.jpg"], [1]),
    "an age before birth": ([f"-20_0_0_{DATE}1.jpg", f"21_0_0_{DATE}2.jpg"], [1]),
    "an age with a plus": ([f"+20_0_0_{DATE}1.jpg", f"21_0_0_{DATE}2.jpg"], [1]),
    "an age in other digits": ([f"٢٠_0_0_{DATE}1.jpg", f"21_0_0_{DATE}2.jpg"], [1]),
    "a gender that isn't told": ([f"20__0_{DATE}1.jpg", f"21_0_0_{DATE}2.jpg"], [1]),
    "the oldest woman": ([f"116_1_0_{DATE}1.jpg", f"21_0_0_{DATE}2.jpg"], [0, 1]),
    "capital letters": ([f"20_0_0_{DATE}1.JPG.CHIP.JPG", f"21_0_0_{DATE}2.jpg"], [0, 1]),
    "a copy by a browser": (
        [f"20_0_0_{DATE}1.jpg.chip.jpg", f"20_0_0_{DATE}1.jpg.chip (1).jpg"], [0]),
    "names of other programs": (["IMG_2017_01_12.jpg", "1.jpg", f"21_0_0_{DATE}2.jpg"], [2]),
}


@pytest.mark.parametrize("kind", NAMES)
@pytest.mark.filterwarnings("ignore:path. . pictures .* named like")
def test_each_face_of_utkface_is_read_once_and_only_with_labels(tmp_path, kind):
    names, read = NAMES[kind]
    path = archive(tmp_path / "faces.zip", [(name, marked(i)) for i, name in enumerate(names)])
    faces = read_utkface(path, "train", heldout_percent=0)
    dots = [int(np.argmin(image[2, 4::8].sum(1))) for image in faces.images]
    assert dots == read
    told = sum(len(skipped) for skipped in faces.skipped.values())
    assert told + len(faces) == len(names)  # whatever is skipped is listed


# --- the same photograph, saved once more ---------------------------------------------------------

RNG = np.random.default_rng(3)


def scene(seed, size=SIDE):
    """A smooth picture like no other: a few waves of random direction and colour."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] / size
    waves = [
        np.cos(2 * np.pi * (a * x + b * y + c))[..., None] * rng.normal(size=3)
        for a, b, c in zip(*rng.uniform(-6, 6, (2, 12)), rng.uniform(size=12), strict=True)
    ]
    return (128 + 18 * sum(waves)).clip(0, 255).astype(np.uint8)


def saved(pixels, quality):
    stream = io.BytesIO(encoded(Image.fromarray(pixels), "JPEG", quality=quality))
    return np.asarray(Image.open(stream))


def brighter(pixels):
    return (1.15 * pixels + 10).clip(0, 255).astype(np.uint8)


def smaller(pixels):
    return np.asarray(Image.fromarray(pixels).resize((48, 48), Image.Resampling.LANCZOS))


AGAIN = {
    "saved with less quality": lambda pixels: saved(pixels, 60),
    "brighter": brighter,
    "in grey": lambda p: np.asarray(Image.fromarray(p).convert("L").convert("RGB")),
    "smaller": smaller,
    "smaller, brighter and saved": lambda pixels: saved(brighter(smaller(pixels)), 70),
}


@pytest.mark.parametrize("kind", AGAIN)
def test_near_duplicates_are_found_and_nothing_else(kind):
    ours = np.stack([scene(i) for i in range(40)])
    theirs = np.stack([AGAIN[kind](scene(i)) for i in (7, 31, 5, 99, 98)])
    assert near_duplicates(ours, theirs).tolist() == [[5, 2], [7, 0], [31, 1]]


def test_the_hash_of_noise_differs_in_half_its_bits():
    one, other = perceptual_hash(RNG.integers(0, 256, (2, 64, 64, 3), np.uint8))
    # 255 fair coins: three standard deviations are 24
    assert (one != other).sum() == pytest.approx(127, abs=24)
    assert one.sum() == pytest.approx(127, abs=1)  # above their median


@pytest.mark.parametrize("shape", [(3, 64, 64), (2, 8, 8, 3), (2, 64, 64, 4)])
def test_what_has_no_hash_is_refused(shape):
    with pytest.raises(ValueError, match="^images"):
        perceptual_hash(np.zeros(shape, np.uint8))


def test_held_out_faces_like_one_in_training_are_left_out_when_asked(tmp_path):
    files = {}
    for i in range(60):
        files[f"20_0_0_{DATE}{i}.jpg"] = encoded(Image.fromarray(scene(i)), "PNG")
    path = archive(tmp_path / "faces.zip", files.items())
    train, heldout = (read_utkface(path, split, 30) for split in ("train", "heldout"))
    twins = [Image.fromarray(saved(image, 75)) for image in train.images[:40]]
    for i, twin in enumerate(twins):
        files[f"33_0_0_{DATE}{i}.jpg"] = encoded(twin, "PNG")
    path = archive(tmp_path / "faces.zip", files.items())
    everything = read_utkface(path, "heldout", 30)
    kept = read_utkface(path, "heldout", 30, drop_near_duplicates=True)
    left_out = len(everything) - len(kept)
    assert left_out == sum(len(names) for why, names in kept.skipped.items() if "like" in why) > 4
    assert len(kept) >= len(heldout) - 2 and len(kept.labels["age"]) == len(kept)
    assert len(near_duplicates(kept.images, read_utkface(path, "train", 30).images)) == 0
