"""The face embedding is dlib's, refuses what it cannot use, and remembers what it saw."""

import sys
from pathlib import Path

import numpy as np
import pytest

from fairgen_utils.datasets import read_heads
from fairgen_utils.models.embedding import FRAMES, FaceEmbedding, distances, same_person

ROOT = Path(__file__).resolve().parent.parent
WHY = "the extra `judges` is not installed: no weights of the face embedding"


@pytest.fixture(scope="module")
def embedding():
    pytest.importorskip("face_recognition_models", reason=WHY)
    return FaceEmbedding("heads")


@pytest.fixture(scope="module")
def heads():
    return read_heads(ROOT / "data" / "heads", "reference")


def test_embeddings_are_those_of_dlib_itself(embedding, heads):
    dlib = pytest.importorskip("dlib", reason="dlib-bin, of the extra `judges`, is not installed")
    models = pytest.importorskip("face_recognition_models", reason=WHY)
    theirs = dlib.face_recognition_model_v1(models.face_recognition_model_location())
    # pictures of the network's own size, so that no resizing stands between the two
    chips = np.repeat(np.repeat(heads.images[:4], 3, 1), 3, 2)[:, 21:171, 21:171]
    expected = theirs.compute_face_descriptor([np.ascontiguousarray(chip) for chip in chips])
    found = FaceEmbedding((1, 0.5, 0.5))(chips)
    assert found.shape == (4, 128) and found.dtype == np.float32
    # single precision through 29 convolutions; two of these faces are about .5 apart
    np.testing.assert_allclose(found, np.array(expected), atol=1e-5)


def test_the_frame_of_heads_is_the_one_that_dlib_cuts_by_landmarks(heads):
    dlib = pytest.importorskip("dlib", reason="dlib-bin, of the extra `judges`, is not installed")
    models = pytest.importorskip("face_recognition_models", reason=WHY)
    find = dlib.get_frontal_face_detector()
    mark = dlib.shape_predictor(models.pose_predictor_five_point_model_location())
    frames = []
    for image in np.repeat(np.repeat(heads.images[:30], 4, 1), 4, 2):
        found = find(image)
        if len(found) == 1:
            chip = dlib.get_face_chip_details(mark(image, found[0]), 150, 0.25).rect
            centre = chip.dcenter()
            frames.append([chip.width() / 256, centre.x / 256, centre.y / 256])
    assert len(frames) > 20
    # poses vary: one head's own frame is some .03 from the mean of all, to either side
    np.testing.assert_allclose(np.mean(frames, 0), FRAMES["heads"], atol=0.05)


def test_a_frame_shows_the_square_that_it_names(embedding, heads):
    images = heads.images[:2]
    inner = FaceEmbedding((0.5, 0.5, 0.5))(images)
    cut = FaceEmbedding((1, 0.5, 0.5))(images[:, 16:48, 16:48])
    # the cut picture lacks the neighbours that the outermost pixels are interpolated from
    assert distances(inner, cut).max() < 0.1
    shifted = FaceEmbedding((0.5, 0.5, 0.75))(images)
    assert distances(inner, shifted).min() > 0.2


def test_a_face_is_one_person_with_itself_flipped_and_not_with_another(embedding, heads):
    faces = embedding(heads.images[:200])
    flipped = embedding(heads.images[:200, :, ::-1])
    mirrored, strangers = distances(faces, flipped), distances(faces, np.roll(faces, 1, axis=0))
    assert same_person(faces, flipped).mean() > 0.95
    # a mirrored face nears itself more than all but a few strangers do
    assert np.mean(mirrored < np.median(strangers)) > 0.95
    with pytest.raises(ValueError, match=r"b: found shape \(3, 128\) beside \(200, 128\)"):
        distances(faces, faces[:3])
    with pytest.raises(ValueError, match="threshold: found 0"):
        same_person(faces, flipped, 0)


def test_batches_and_chunks_do_not_change_an_embedding(embedding, heads, monkeypatch):
    together = embedding(heads.images[:20])
    monkeypatch.setattr("fairgen_utils.models.embedding.CHUNK", 7)
    np.testing.assert_allclose(embedding(heads.images[:20]), together, atol=1e-5)


def test_a_face_met_before_is_read_from_the_cache_and_another_is_not(
    embedding, heads, tmp_path, monkeypatch
):
    cached = FaceEmbedding("heads", cache=tmp_path / "new")
    first = cached(heads.images[:3])
    monkeypatch.setattr(cached, "network", None)  # from here on, only the cache can answer
    np.testing.assert_array_equal(cached(heads.images[:3]), first)
    changed = heads.images[:3].copy()
    changed[0, 0, 0, 0] ^= 1
    with pytest.raises(AttributeError):
        cached(changed)
    other = FaceEmbedding("utkface", cache=tmp_path / "new")
    assert distances(other(heads.images[:3]), first).min() > 0.1
    assert not list((tmp_path / "new").glob("*.tmp"))


@pytest.mark.parametrize("frame", ["faces", (1, 0.5), (0, 0.5, 0.5), (1, float("nan"), 0.5)])
def test_an_unknown_frame_is_refused(frame):
    with pytest.raises(ValueError, match="frame: found"):
        FaceEmbedding(frame)


def test_pictures_of_another_kind_are_refused(embedding):
    for images in (np.zeros((2, 64, 64, 3)), np.zeros((64, 64, 3), np.uint8)):
        with pytest.raises(ValueError, match="images: found"):
            embedding(images)


def test_without_its_package_the_embedding_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "face_recognition_models", None)
    with pytest.raises(ImportError, match=r"\[judges\]"):
        FaceEmbedding()


def test_other_weights_than_those_measured_are_refused(monkeypatch, tmp_path):
    (tmp_path / "models").mkdir()
    file = tmp_path / "models" / "dlib_face_recognition_resnet_model_v1.dat"
    file.write_bytes(b"something else")
    monkeypatch.setattr("fairgen_utils.models.embedding.files", lambda package: tmp_path)
    with pytest.raises(ValueError, match="not the file measured here"):
        FaceEmbedding()
