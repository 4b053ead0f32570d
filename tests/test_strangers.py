"""Each test is named after the promise it keeps. Of the recipes that audit a stranger's faces."""

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from fairgen_utils.models.one_step import OneStep
from fairgen_utils.models.own_world import own_world
from fairgen_utils.models.style_gan import as_utkface

RECIPES = Path(__file__).resolve().parent.parent / "data" / "recipes"
GROUPS = {"gender": ("female", "male"), "race": ("White", "Black", "Asian", "Indian")}


class Painter(OneStep):
    """Paints the first two values of a latent as red and green; red is gender, green is race."""

    latent_shape = (3,)
    image_size = 32
    mean = np.float32(0.5)
    made = 0

    def draw(self, n, seed):
        latents = np.random.default_rng(seed).random((n, 3), np.float32)
        latents[:, 1] **= 2  # the first race is the commonest
        return latents

    def truncate(self, styles, psi):
        return self.mean + np.float32(psi) * (styles - self.mean)

    def decode(self, latents, progress=True):
        self.made += len(latents)
        colours = (255 * np.clip(latents, 0, 1)).astype(np.uint8)
        return np.broadcast_to(colours[:, None, None], (len(colours), 32, 32, 3)).copy()


def by_colour(images):
    red, green = images[:, 16, 16, 0] / 256, images[:, 16, 16, 1] / 256
    return {
        "gender": np.eye(2)[(red > 0.5).astype(int)],
        "race": np.eye(4)[(4 * green).astype(int)],
    }


@pytest.fixture
def study(monkeypatch):
    monkeypatch.syspath_prepend(str(RECIPES))
    import study_strangers

    return study_strangers


@pytest.fixture
def painter():
    return Painter()


@pytest.fixture
def world(painter):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # there are no labelled faces
        return own_world(painter, by_colour, GROUPS)


def test_faces_are_made_once_and_found_again(study, painter, tmp_path):
    styles = painter.draw(130, 0)
    faces = study.Faces(tmp_path, painter)("plain", styles)
    assert painter.made == 130 and (faces == painter.decode(styles)).all()
    again = study.Faces(tmp_path, painter)("plain", styles)
    assert painter.made == 260 and (again == faces).all()  # the second 130 were this test's own


def test_faces_of_other_styles_are_not_taken_for_ours(study, painter, tmp_path):
    study.Faces(tmp_path, painter)("plain", painter.draw(20, 0))
    with pytest.raises(ValueError, match="holds other faces"):
        study.Faces(tmp_path, painter)("plain", painter.draw(20, 1))


def test_moves_fill_every_quota_and_leave_all_others_as_they_were(study, painter, world, tmp_path):
    faces = study.Faces(tmp_path, painter)
    pool, styles = painter.draw(400, 1), painter.draw(160, 2)
    cells = world.joint(by_labels(world, painter.decode(pool)), study.TARGET)
    plain = faces("plain", painter.truncate(styles, study.EVENED_AT))
    present = world.joint(by_labels(world, plain), study.TARGET)
    moved, wanted = study.moved_faces(world, faces, painter, styles, plain, pool, cells)
    assert np.bincount(wanted, minlength=8).tolist() == [20] * 8
    stay = wanted == present
    assert stay.sum() == np.minimum(np.bincount(present, minlength=8), 20).sum()
    for images in moved.values():
        assert (images[stay] == plain[stay]).all()
        assert (images[~stay] != plain[~stay]).any((1, 2, 3)).all()
    # groups are halves and quarters of one plane here: a single step arrives, to a few at the edge
    arrived = world.joint(by_labels(world, moved[1.0]), study.TARGET) == wanted
    assert arrived[~stay].mean() > 0.9


def by_labels(world, images):
    return world.classify(as_utkface(images)).labels


def test_faces_drawn_anew_are_recognised_as_often_as_real_ones_or_as_near_as_tried(
    study, painter, world, tmp_path
):
    faces = study.Faces(tmp_path, painter)
    pool = painter.draw(400, 1)
    cells = world.joint(by_labels(world, painter.decode(pool)), study.TARGET)
    pilots, drawn = study.sampled(world, faces, pool, cells, 60, seed=3)
    rates = {
        factor: (world.joint(by_labels(world, images), study.TARGET) == groups).mean()
        for factor, (images, groups) in pilots.items()
    }
    ((factor, (images, groups)),) = drawn.items()
    # this world's judge never errs, so the best is the one that is recognised most
    assert factor == max(rates, key=rates.get) and len(images) == len(groups) == 60


def test_the_table_has_shares_that_sum_to_one_and_a_floor_beside_each_discrepancy(
    study, painter, world, tmp_path
):
    rows = study.Rows()
    images = as_utkface(painter.decode(painter.draw(100, 0)))
    study.judged(rows, {"first": world}, images, "plain", 0.7, wanted=np.zeros(100, int))
    rows.save(tmp_path / "strangers.csv")
    table = pd.read_csv(tmp_path / "strangers.csv")
    shares = table.query("measure == 'share'")
    sums = shares.groupby("attribute")["value"].sum().to_dict()
    assert sums == pytest.approx({"gender": 1, "race": 1, "gender,race": 1}, abs=0.001)
    assert (shares["low"] <= shares["value"]).all() and (shares["value"] <= shares["high"]).all()
    measures = set(table.loc[table["attribute"] == "gender,race", "measure"])
    assert measures >= {"fd", "floor", "fd corrected", "floor corrected", "in the wanted group"}


def test_the_frame_is_found_where_it_was_cut(study):
    import frame_strangers

    rng = np.random.default_rng(0)
    scene = np.kron(rng.random((16, 16)), np.ones((16, 16)))[..., None].repeat(3, 2) * 255
    photograph = frame_strangers.mean_of_square(scene, 48, 32, 160)
    found = frame_strangers.correlations(scene, photograph, 8).nlargest(1, "correlation").iloc[0]
    near = frame_strangers.correlations(scene, photograph, 1, (48, 32, 160), 2)
    best = near.nlargest(1, "correlation").iloc[0]
    assert abs(found[["top", "left", "size"]].to_numpy() - (48, 32, 160)).max() <= 8
    assert best[["top", "left", "size"]].tolist() == [48, 32, 160]


def test_figures_show_every_group_that_was_moved_to_at_128_pixels_a_face_or_more(
    study, painter, world, tmp_path
):
    before = painter.decode(painter.draw(16, 0))
    wanted = np.arange(16) % 8
    moved = {strength: 255 - before for strength in study.STRENGTHS}
    study.pictures(tmp_path, world, [before] * 3, before, moved, wanted)
    for name, columns in (("strangers_truncation", 6), ("strangers_pairs", 8)):
        with Image.open(tmp_path / f"{name}.jpg") as picture:
            assert picture.width >= 128 * columns
