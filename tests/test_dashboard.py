"""The dashboard: the same settings make the same faces, a cancelled run leaves it usable."""

import io
import json
import os
import socket
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from browser import ROOT, open_browser
from kills import HANG
from PIL import Image

from fairgen_utils.apps import dashboard
from fairgen_utils.apps.dashboard import Dashboard, Settings, Studio, export

PLAIN, EVEN, PILOT, OUTWARD = dashboard.METHODS
UNEVEN = Settings("tiny", PILOT, "gender", (0.25, 0.75), 30, 3)


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    monkeypatch.setattr(dashboard, "BATCH", 12)
    monkeypatch.setattr(dashboard, "PILOT_FACES", 10)


@pytest.fixture
def page(worlds_root):
    page = Dashboard("tiny", worlds_root)
    page.n.min, page.n.value = 1, 30
    return page


def press(page):
    page.generate()
    page.thread.join(HANG)
    assert not page.thread.is_alive()


def last(studio, settings):
    return list(studio.batches(settings))[-1][-1]


@pytest.mark.parametrize("method", dashboard.METHODS)
def test_faces_arrive_in_batches_and_are_the_same_for_the_same_settings(worlds_root, method):
    settings = Settings("tiny", method, "gender", (0.25, 0.75), 30, 3)
    steps = [(job, done, wanted) for job, done, wanted, _ in Studio(worlds_root).batches(settings)]
    faces = [("faces", 12, 30), ("faces", 24, 30), ("faces", 30, 30)]
    pilot = [("pilot", 12, 20), ("pilot", 20, 20)]
    assert steps == (pilot if method in (PILOT, OUTWARD) else []) + faces
    once, again = (last(Studio(worlds_root), settings) for _ in range(2))
    assert len(once) == len(once.predictions.labels["gender"]) == 30
    assert (once.images == again.images).all()
    other = last(Studio(worlds_root), Settings(**{**vars(settings), "seed": 4}))
    assert (once.images != other.images).any()


def test_no_face_is_made_twice(worlds_root):
    images = last(Studio(worlds_root), Settings("tiny", PLAIN, "gender", (0.5, 0.5), 30, 0)).images
    assert len(np.unique(images.reshape(30, -1), axis=0)) == 30


def test_the_pilot_is_made_once_for_all_targets_and_anew_for_another_seed(worlds_root):
    studio = Studio(worlds_root)
    last(studio, UNEVEN)

    def jobs(**changes):
        return {job for job, *_ in studio.batches(Settings(**{**vars(UNEVEN), **changes}))}

    assert jobs(target=(0.5, 0.5)) == {"faces"}
    assert jobs(seed=4) == jobs(method=OUTWARD) == {"pilot", "faces"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"method": "magic"}, "method"),
        ({"target": (0.5, 0.6)}, "target"),
        ({"target": (0.5,)}, "target"),
        ({"attribute": "height"}, "attribute"),
        ({"n": 0}, "n:"),
        ({"n": 1001}, "python -m fairgen_utils generate"),
        ({"world": "moon"}, "moon"),
    ],
)
def test_settings_that_cannot_be_run_are_refused_before_anything_is_made(worlds_root, change, said):
    with pytest.raises(ValueError, match=said):
        next(Studio(worlds_root).batches(Settings(**{**vars(UNEVEN), **change})))


def test_the_export_holds_faces_labels_and_settings_that_make_them_again(worlds_root, tmp_path):
    studio = Studio(worlds_root)
    sample = last(studio, UNEVEN)
    archive = zipfile.ZipFile(io.BytesIO(export(studio.world("tiny"), UNEVEN, sample)))
    table = pd.read_csv(archive.open("labels.csv"))
    read = np.stack([np.asarray(Image.open(archive.open(file))) for file in table["file"]])
    assert (read == sample.images).all()
    assert (
        table["gender"] == np.take(["female", "male"], sample.predictions.labels["gender"])
    ).all()
    sheet = Image.open(archive.open("contact_sheet.png"))
    assert sheet.size == (20 * 64, 2 * 64)
    archive.extract("settings.json", tmp_path)
    settings = Settings.read(tmp_path / "settings.json")
    assert settings == UNEVEN
    assert (last(Studio(worlds_root), settings).images == sample.images).all()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"world": "tiny"}', '{"target": 3}'])
def test_a_damaged_settings_file_is_named(tmp_path, text):
    (tmp_path / "settings.json").write_text(text)
    with pytest.raises(ValueError, match=r"settings\.json holds no settings"):
        Settings.read(tmp_path / "settings.json")


def test_pressing_generate_shows_faces_bars_and_numbers(page):
    assert "Ready" in page.status.value
    page.method.value = PLAIN
    press(page)
    assert "Done: 30 faces" in page.status.value and page.progress.value == 30
    assert "plain" in page.numbers.value and "localized" not in page.numbers.value
    page.method.value = PILOT
    press(page)
    # plain faces stay, to be compared with
    assert "plain" in page.numbers.value and "localized" in page.numbers.value
    assert page.faces.value.startswith("<img alt=") and page.bars.value.startswith("<img alt=")
    assert not page.start.disabled and page.stop.disabled
    page._export(None)
    assert page.links.value.count("download=") == 2


def test_a_cancelled_run_keeps_what_was_made_and_the_next_one_runs(page, monkeypatch):
    page.n.value = 1000
    shown = Dashboard._show

    def show_then_cancel(self):
        shown(self)
        self.cancel()

    monkeypatch.setattr(Dashboard, "_show", show_then_cancel)
    press(page)
    assert "Stopped early: 12 faces" in page.status.value
    assert not page.start.disabled and page.stop.disabled
    page._export(None)
    assert "_n12" in page.links.value  # the settings of an export name the faces it has
    monkeypatch.undo()
    page.n.value = 24
    press(page)
    assert "Done: 24 faces" in page.status.value


def test_cancelling_during_the_pilot_leaves_the_old_faces_on_show(page, monkeypatch):
    page.method.value = PLAIN
    press(page)
    old = page.sample
    page.method.value = PILOT
    said = Dashboard._say

    def say_then_cancel(self, text):
        said(self, text)
        if text.startswith("Pilot"):
            self._stop.set()

    monkeypatch.setattr(Dashboard, "_say", say_then_cancel)
    press(page)
    assert "Stopped early: 0 faces" in page.status.value
    assert page.sample is old and page.settings.method == PLAIN


def test_sliders_set_the_target_and_show_it(page):
    page.attributes.children[1].value = False
    page.sliders["gender"][0].value, page.sliders["gender"][1].value = 20, 60
    assert page.chosen().attribute == "gender" and page.chosen().target == (0.25, 0.75)
    assert [share.value for _, share in (row.children for row in page.targets.children)] == [
        "25 %",
        "75 %",
    ]
    page.attributes.children[1].value = True
    joint = page.chosen()
    assert joint.attribute == "gender,ancestry" and sum(joint.target) == pytest.approx(1)
    np.testing.assert_allclose(np.reshape(joint.target, (2, 3)).sum(1), (0.25, 0.75))


def test_bad_choices_are_said_and_start_nothing(page):
    for slider in page.sliders["gender"]:
        slider.value = 0
    page.generate()
    assert "All shares of gender are zero" in page.status.value and page.thread is None
    for box in page.attributes.children:
        box.value = False
    page.generate()
    assert "Tick at least one attribute" in page.status.value and page.thread is None
    page._export(None)
    assert "Nothing to export yet" in page.links.value


def test_an_error_in_the_background_is_said(page, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("no memory <left>")

    monkeypatch.setattr(dashboard, "generate", fail)
    press(page)
    assert "This failed. RuntimeError: no memory &lt;left&gt;" in page.status.value
    assert not page.start.disabled


def test_exported_settings_make_the_same_faces_from_the_command_line(tmp_path):
    studio = Studio()
    settings = Settings("heads", EVEN, "gender", (0.5, 0.5), 13, 0)
    sample = last(studio, settings)
    (tmp_path / "settings.json").write_text(json.dumps(vars(settings)))
    command = [str(tmp_path / "settings.json"), "--out", str(tmp_path / "again")]
    dashboard.main(command)
    files = sorted((tmp_path / "again" / "faces").iterdir())
    read = np.stack([np.asarray(Image.open(file)) for file in files])
    assert (read == sample.images).all()
    with pytest.raises(SystemExit) as stopped:  # never over what is there
        dashboard.main(command)
    assert stopped.value.code == 2


# --- in a browser --------------------------------------------------------------------------------


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@pytest.fixture(scope="module")
def address():
    port = free_port()
    notebook = ROOT / "notebooks" / "teaching" / "dashboard.ipynb"
    command = [sys.executable, "-m", "voila", str(notebook), "--no-browser", f"--port={port}"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    server = subprocess.Popen(command, env={**os.environ, "HF_HUB_OFFLINE": "1"}, **quiet)
    for _ in range(2 * HANG):
        assert server.poll() is None
        with socket.socket() as knock:
            if knock.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.5)
    yield f"http://127.0.0.1:{port}"
    server.terminate()
    server.wait(HANG)


def test_in_a_browser_press_wait_read_cancel_and_export(address, tmp_path):
    with open_browser() as browser:
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(1000 * HANG)
        page.goto(address)
        page.wait_for_selector("text=Ready. Guess first")
        page.click("button:has-text('Generate')")
        page.wait_for_selector("text=/Done: 200 faces/")
        cells = page.locator("table.numbers td").all_inner_texts()
        assert cells[0] == "200" and 0.2 < float(cells[1]) < 0.6
        # cancelled while it makes more faces, the page goes on working
        page.get_by_label("seed").fill("1")
        page.get_by_label("seed").press("Enter")
        page.click("button:has-text('Generate')")
        page.wait_for_selector("text=/of 200 faces/")
        page.click("button:has-text('Cancel')")
        page.wait_for_selector("text=/Stopped early: \\d+ faces/")
        page.click("button:has-text('Export')")
        with page.expect_download() as download:
            page.click("text=everything (zip")
        archive = zipfile.ZipFile(Path(download.value.path()))
        made = json.loads(archive.read("settings.json"))
        assert made["seed"] == 1 and 0 < made["n"] < 200
        assert len([name for name in archive.namelist() if name.startswith("faces/")]) == made["n"]
        assert page.locator("button:has-text('Generate')").is_enabled()
