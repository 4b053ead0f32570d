"""Each test is named after the promise it keeps."""

import hashlib
import io
import zipfile

import pandas as pd
import pytest
from PIL import Image

from fairgen_utils.datasets import (
    HEADS_ATTRIBUTES,
    UTKFACE_ATTRIBUTES,
    read_faces,
    read_heads,
    read_utkface,
)

# The grey level of a JPEG this plain survives compression to within a level or two.
JPEG = 2


def picture(level, size=64, kind="JPEG"):
    """A plain grey picture: its level tells which file it came from."""
    stream = io.BytesIO()
    Image.new("RGB", (size, size), (level,) * 3).save(stream, kind)
    return stream.getvalue()


def utk_name(age, gender, race, number):
    return f"{age}_{gender}_{race}_{number:017d}.jpg.chip.jpg"


def is_heldout(name, percent=10):
    # The rule of the documentation, written out again.
    return int.from_bytes(hashlib.sha256(name.encode()).digest(), "big") % 100 < percent


def name_on(side, age=30, gender=0, race=0, start=0):
    """The first name from `start` on that falls on the wanted side of the split."""
    names = (utk_name(age, gender, race, number) for number in range(start, start + 10_000))
    return next(name for name in names if is_heldout(name) == (side == "heldout"))


def write(path, files):
    """Write {name: bytes} as a zip archive or, without that suffix, as a folder."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in files.items():
                archive.writestr(name, content)
    else:
        for name, content in files.items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(content)
    return path


def levels(faces):
    return [int(level) for level in faces.images.mean((1, 2, 3)).round()]


# UTKFace


@pytest.mark.parametrize("where", ["utk.zip", "utk"])
def test_labels_and_pixels_come_from_the_same_file(tmp_path, where):
    cases = {  # name: gender, race, age, grey level
        name_on("train", 25, gender=0, race=0): ("male", "White", "young", 40),
        name_on("train", 45, gender=1, race=1): ("female", "Black", "middle", 90),
        name_on("train", 70, gender=0, race=2): ("male", "Asian", "older", 140),
        name_on("train", 45, gender=1, race=3): ("female", "Indian", "middle", 190),
    }
    files = {f"UTKFace/{name}": picture(level) for name, (*_, level) in cases.items()}
    faces = read_utkface(write(tmp_path / where, files), "train")
    told = {
        tuple(groups[faces.labels[name][i]] for name, groups in UTKFACE_ATTRIBUTES.items()): level
        for i, level in enumerate(levels(faces))
    }
    wanted = {tuple(labels): pytest.approx(level, abs=JPEG) for *labels, level in cases.values()}
    assert told == wanted


@pytest.mark.parametrize(
    ("age", "group"), [(18, "young"), (34, "young"), (35, "middle"), (59, "middle"), (60, "older")]
)
def test_age_groups_begin_at_35_and_60(tmp_path, age, group):
    path = write(tmp_path / "utk.zip", {name_on("train", age): picture(100)})
    faces = read_utkface(path, "train")
    assert UTKFACE_ATTRIBUTES["age"][faces.labels["age"][0]] == group


@pytest.mark.parametrize(
    "name",
    [
        name_on("train", 17),
        name_on("train", race=4),
        "30_0_20170117.jpg.chip.jpg",  # race was never written: it happens in UTKFace
        "30_2_0_20170117.jpg.chip.jpg",
        "30_0_5_20170117.jpg.chip.jpg",
        "30_0_0_0_20170117.jpg.chip.jpg",
        "thirty_0_0_20170117.jpg.chip.jpg",
        "__MACOSX/._30_0_0_20170117.jpg.chip.jpg",
        "readme.jpg",
    ],
)
def test_minors_others_and_unreadable_names_are_left_out(tmp_path, name):
    files = {name: picture(10), name_on("train", start=500): picture(200)}
    faces = read_utkface(write(tmp_path / "utk.zip", files), "train")
    assert levels(faces) == [pytest.approx(200, abs=JPEG)]


def test_the_split_depends_on_the_names_alone(tmp_path):
    # The same names over other pixels, in another folder and order, fall on the same sides.
    names = [utk_name(30, 0, 0, number) for number in range(60)]
    wanted = sorted(30 + i for i, name in enumerate(names) if is_heldout(name))
    assert wanted  # otherwise this shows nothing
    there = {f"UTKFace/{name}": picture(30 + i, kind="PNG") for i, name in enumerate(names)}
    here = {name: picture(30 + i, kind="PNG") for i, name in reversed(list(enumerate(names)))}
    for number, files in enumerate((there, here)):
        path = write(tmp_path / f"utk{number}.zip", files)
        assert sorted(levels(read_utkface(path, "heldout"))) == wanted


def test_the_splits_are_disjoint_and_together_everything(tmp_path):
    files = {utk_name(30, 0, 0, i): picture(i, kind="PNG") for i in range(100)}
    path = write(tmp_path / "utk.zip", files)
    train, heldout = (levels(read_utkface(path, split)) for split in ("train", "heldout"))
    assert sorted(train + heldout) == list(range(100))


def test_duplicates_are_read_once(tmp_path):
    first, second = name_on("train"), name_on("train", start=500)
    other = name_on("train", start=1000)
    files = {first: picture(10), second: picture(10), other: picture(200)}
    faces = read_utkface(write(tmp_path / "utk.zip", files), "train")
    assert levels(faces) == [pytest.approx(10, abs=JPEG), pytest.approx(200, abs=JPEG)]
    assert {len(labels) for labels in faces.labels.values()} == {2}


def test_a_photograph_seen_in_training_is_never_held_out(tmp_path):
    twin = picture(50)
    files = {
        name_on("train"): twin,
        name_on("heldout"): twin,
        name_on("heldout", start=5000): picture(200),
    }
    path = write(tmp_path / "utk.zip", files)
    assert levels(read_utkface(path, "train")) == [pytest.approx(50, abs=JPEG)]
    assert levels(read_utkface(path, "heldout")) == [pytest.approx(200, abs=JPEG)]


def test_photographs_of_other_sizes_are_resized_whole(tmp_path):
    # Half black, half white: a crop would lose the border between them.
    stream = io.BytesIO()
    photograph = Image.new("RGB", (200, 200))
    photograph.paste((255, 255, 255), (100, 0, 200, 200))
    photograph.save(stream, "PNG")
    faces = read_utkface(
        write(tmp_path / "utk.zip", {name_on("train"): stream.getvalue()}), "train"
    )
    assert faces.images.shape == (1, 64, 64, 3)
    assert not faces.images[0, :, :28].any()
    assert (faces.images[0, :, -28:] == 255).all()


# Heads


def heads_table(n=4):
    return pd.DataFrame(
        {
            "file": [f"{i:05d}.jpg" for i in range(n)],
            "gender": ["female", "male"] * (n // 2),
            "ancestry": ["african", "asian", "european", "african"][:n],
            "age": ["young", "middle", "older", "young"][:n],
            "smile": [0, 1, 1, 0][:n],
            "glasses": [1, 0, 1, 0][:n],
        }
    )


def write_heads(folder, table, without=()):
    folder.mkdir(exist_ok=True)
    table.to_csv(folder / "train.csv", index=False)
    files = {
        name: picture(30 + 50 * i) for i, name in enumerate(table["file"]) if name not in without
    }
    write(folder / "train.zip", files)
    return folder


def test_heads_labels_are_those_of_their_table(tmp_path):
    # Rows in another order than the archive: the name ties them, not the position.
    table = heads_table()
    folder = write_heads(tmp_path / "heads", table)
    shuffled = table.iloc[[2, 0, 3, 1]]
    shuffled.to_csv(folder / "train.csv", index=False)
    faces = read_heads(folder, "train")
    assert levels(faces) == [pytest.approx(30 + 50 * i, abs=JPEG) for i in (2, 0, 3, 1)]
    for name, groups in HEADS_ATTRIBUTES.items():
        told = [groups[label] for label in faces.labels[name]]
        wanted = shuffled[name].tolist()
        if name in ("smile", "glasses"):
            wanted = [groups[flag] for flag in wanted]
        assert told == wanted


def test_read_faces_knows_heads_from_utkface(tmp_path):
    heads = write_heads(tmp_path / "heads", heads_table())
    utkface = write(tmp_path / "utk", {name_on("train"): picture(100)})
    assert read_faces(heads, "train").attributes == HEADS_ATTRIBUTES
    assert read_faces(utkface, "train").attributes == UTKFACE_ATTRIBUTES


def test_the_number_of_faces_is_their_length(tmp_path):
    assert len(read_heads(write_heads(tmp_path / "heads", heads_table()), "train")) == 4


# Missing and malformed files: each error names the thing


@pytest.mark.parametrize("file", ["train.zip", "train.csv"])
def test_a_missing_file_of_a_split_is_named(tmp_path, file):
    folder = write_heads(tmp_path / "heads", heads_table())
    (folder / file).unlink()
    with pytest.raises(FileNotFoundError, match=f"^split: .*{file} is missing"):
        read_heads(folder, "train")


@pytest.mark.parametrize(
    ("column", "value"),
    [("ancestry", "martian"), ("ancestry", None), ("smile", 2), ("glasses", None)],
)
def test_a_label_outside_the_known_groups_is_refused(tmp_path, column, value):
    table = heads_table().astype(object)
    table.loc[1, column] = value
    folder = write_heads(tmp_path / "heads", table)
    with pytest.raises(ValueError, match=f"^{column}: found"):
        read_heads(folder, "train")


def test_a_picture_missing_from_the_archive_is_named(tmp_path):
    folder = write_heads(tmp_path / "heads", heads_table(), without=["00002.jpg"])
    with pytest.raises(ValueError, match=r"^split: .*train.zip lacks \['00002.jpg'\]"):
        read_heads(folder, "train")


def test_a_column_missing_from_the_table_is_named(tmp_path):
    folder = write_heads(tmp_path / "heads", heads_table().drop(columns="age"))
    with pytest.raises(ValueError, match=r"^split: .*train.csv has no column \['age'\]"):
        read_heads(folder, "train")


def test_an_archive_cut_short_is_named(tmp_path):
    heads = write_heads(tmp_path / "heads", heads_table())
    utkface = write(tmp_path / "utk.zip", {name_on("train"): picture(100)})
    for path, folder in ((heads / "train.zip", heads), (utkface, utkface)):
        path.write_bytes(path.read_bytes()[:-30])
        with pytest.raises(ValueError, match=f"{path} is damaged"):
            read_faces(folder, "train")


def test_a_missing_utkface_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=f"^path: {tmp_path}/nowhere.zip"):
        read_utkface(tmp_path / "nowhere.zip", "train")


def test_a_folder_without_utkface_names_is_refused(tmp_path):
    with pytest.raises(ValueError, match="^path: no file"):
        read_utkface(write(tmp_path / "holidays", {"beach.jpg": picture(9)}), "train")


@pytest.mark.parametrize("split", ["test", "reference", ""])
def test_an_unknown_utkface_split_is_refused(tmp_path, split):
    with pytest.raises(ValueError, match="^split: .*'train' or 'heldout'"):
        read_utkface(tmp_path, split)


@pytest.mark.parametrize(
    ("name", "split"), [(name_on("train"), "heldout"), (name_on("train", 12), "train")]
)
def test_a_split_without_faces_is_refused(tmp_path, name, split):
    path = write(tmp_path / "utk.zip", {name: picture(100)})
    with pytest.raises(ValueError, match=f"^split: .*'{split}'"):
        read_utkface(path, split)
