"""The demo shows plain faces and the same ones guided; its page fits a telephone."""

import json
import re

import numpy as np
import pytest
from browser import open_browser
from PIL import Image
from tiny_world import make_world

from fairgen_utils.apps import demo, order, report
from fairgen_utils.apps.command_line import main
from fairgen_utils.apps.order import Order
from fairgen_utils.load import load_world


@pytest.fixture(autouse=True)
def tiny_worlds(worlds_root, monkeypatch):
    def tiny(name, **given):
        return load_world(name, worlds_root, **given)

    monkeypatch.setattr(order, "load_world", tiny)


def written_by(folder, *arguments):
    assert main(["demo", "--world", "tiny", "--n", "24", "--out", str(folder), *arguments]) == 0
    return {path.name: path for path in folder.iterdir()}


def test_the_demo_writes_picture_report_and_record(tmp_path, capsys):
    written = written_by(tmp_path / "out")
    assert set(written) == {"demo_tiny.png", "demo_tiny.html", "demo_tiny.json"}
    record = json.loads(written["demo_tiny.json"].read_text())
    assert record["attribute"] == "gender,ancestry" and record["method"] == "guided"
    assert record["versions"]["torch"] and len(record["checksums"]) > 3
    assert [row["method"] for row in record["measured"]] == ["plain", "guided"]
    said = capsys.readouterr()
    assert "noise floor" in said.out and "Each pair is one face twice" in said.out
    assert Image.open(written["demo_tiny.png"]).width > 1000


def test_a_page_has_nothing_outside_it_and_every_picture_has_words(tmp_path):
    page = written_by(tmp_path / "out")["demo_tiny.html"].read_text(encoding="utf-8")
    assert not re.search(r'(?:src|href)="(?!data:)', page) and "<script" not in page
    alts = re.findall(r'<img[^>]*alt="([^"]*)"', page)
    assert len(alts) == page.count("<img") == report.SHOWN + 1 and all(alts)


def test_faces_that_are_no_pairs_are_not_called_so(tmp_path):
    written = written_by(tmp_path / "out", "--method", "localized", "--pilot", "2")
    page = written["demo_tiny.html"].read_text(encoding="utf-8")
    assert "They are no pairs" in page and "one face twice" not in page
    assert "a pilot of 12 faces" in page  # two for each of six components


def test_the_sentence_counts_the_faces_that_are_read_otherwise():
    world = make_world()
    samples, _ = demo.run(Order(world, "tone", None, 70), progress=False)
    before, after = (sample.predictions.labels["tone"] for sample in samples.values())
    said = demo.sentences_of(Order(world, "tone", None, 70), samples, {"seconds": 1, "faces": 0})
    changed = np.sum(before != after)
    assert changed > 0 and f"Of 70 faces, {changed} are read as another group" in said["which"]


def test_looks_are_those_of_each_groups_faces():
    world = make_world()
    asked = Order(world, "tone", None, 70)
    samples, _ = demo.run(asked, progress=False)
    looks = demo.looks_of(asked, samples).set_index("group")
    for g, group in enumerate(("dark", "bright")):
        for place, sample in enumerate(samples.values()):
            own = sample.images[sample.predictions.labels["tone"] == g]
            assert looks.loc[group, "faces"].split(" to ")[place] == str(len(own))
            # pictures of one brightness all over, plus noise: the middle is as bright as the rest
            told = float(looks.loc[group, "brightness"].split(" to ")[place])
            assert told == pytest.approx(own.mean(), abs=3)


def test_a_world_without_real_faces_gets_its_numbers_all_the_same():
    with pytest.warns(UserWarning, match="labelled"):
        world = make_world(labelled=None)
    asked = Order(world, "tone", None, 64)
    table = demo.table_of(asked, demo.run(asked, progress=False)[0])
    assert table["Frechet distance"].tolist() == ["unknown", "unknown"]


def test_a_figure_that_fails_costs_no_number(tmp_path, monkeypatch, capsys):
    def fails(*arguments):
        raise RuntimeError("no such font")

    monkeypatch.setattr(demo, "before_after", fails)
    monkeypatch.setattr(report.show, "share_bars", fails)
    written = written_by(tmp_path / "out")
    assert set(written) == {"demo_tiny.html", "demo_tiny.json"}
    assert "female, plain: " in written["demo_tiny.html"].read_text(encoding="utf-8")
    said = capsys.readouterr()
    assert "was not drawn (RuntimeError: no such font)" in said.err and "FD" in said.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--world", "moon"], "no world 'moon'"),
        (["--target", "height"], "'height'"),
        (["--target", "gender=30,70"], "0.3,0.7"),
        (["--n", "0"], "n: 0; pass"),
        (["--n", "23"], "n: found 23"),
        (["--pilot", "0"], "pilot: 0; pass"),
        (["--method", "plain"], "generate --method plain"),
        (["--method", "localized", "--strength", "2"], "strength: localized sampling has none"),
        (["--strength", "-1"], "strength: found -1"),
        (["--strength", "nan"], "strength: found nan"),
    ],
)
def test_the_demo_refuses_in_one_line_and_writes_nothing(tmp_path, capsys, arguments, said):
    with pytest.raises(SystemExit) as stopped:
        written_by(tmp_path / "out", *arguments)
    message = capsys.readouterr().err
    assert stopped.value.code == 2
    assert said in message and message.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.browser
def test_the_page_fits_a_telephone_and_a_dark_room(tmp_path):
    page = written_by(tmp_path / "out")["demo_tiny.html"]
    with open_browser() as browser:
        for scheme in ("light", "dark"):
            look = {"viewport": {"width": 390, "height": 844}, "color_scheme": scheme}
            telephone = browser.new_page(**look)
            telephone.goto(page.as_uri())
            # a scroll bar may take some of it
            assert telephone.evaluate("document.documentElement.scrollWidth") <= 390
            faces = telephone.locator(".faces img").all()
            assert min(face.bounding_box()["width"] for face in faces) >= 96
            letters = "e => parseFloat(getComputedStyle(e).fontSize)"
            told = telephone.locator("p, td, th, figcaption, h1, h2").all()
            assert min(element.evaluate(letters) for element in told) >= 13
            # text and ground are as far apart as WCAG asks for small letters; pictures are as made
            ink, ground = (
                telephone.evaluate(f"getComputedStyle(document.body).{which}")
                for which in ("color", "backgroundColor")
            )
            assert contrast(ink, ground) > 7
            assert (luminance(ground) < 0.1) == (scheme == "dark")
            filters = "() => [...document.images].map(i => getComputedStyle(i).filter)"
            assert set(telephone.evaluate(filters)) == {"none"}


def luminance(colour):
    """Relative luminance of "rgb(r, g, b)", as WCAG 2.2 defines it."""
    parts = np.array([int(part) for part in re.findall(r"\d+", colour)[:3]]) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def contrast(one, other):
    dark, light = sorted([luminance(one), luminance(other)])
    return (light + 0.05) / (dark + 0.05)
