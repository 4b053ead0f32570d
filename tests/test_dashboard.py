"""The dashboard: the same settings make the same faces everywhere, and it says what it does."""

import io
import json
import re
import zipfile

import numpy as np
import pandas as pd
import pytest
from kills import HANG
from PIL import Image

from fairgen_utils.apps.dashboard import Dashboard, Settings, Studio, look, main
from fairgen_utils.apps.dashboard.export import archive_of, files_of, pair_sheet
from fairgen_utils.apps.dashboard.settings import EDIT, METHODS
from fairgen_utils.apps.order import Order
from fairgen_utils.judge import audit_fairness

UNEVEN = Settings("tiny", "guided", "gender", (0.25, 0.75), 100, 3)


@pytest.fixture(scope="module")
def studio(worlds_root):
    return Studio(worlds_root)


@pytest.fixture
def page(worlds_root):
    page = Dashboard("tiny", worlds_root)
    page.controls.n.value = 100
    return page


def changed(**changes):
    return Settings(**{**vars(UNEVEN), **changes})


def last(studio, settings):
    return list(studio.batches(settings))[-1].run


def press(page):
    page.generate()
    page.thread.join(HANG)
    assert not page.busy


@pytest.mark.parametrize("method", METHODS)
def test_faces_are_those_that_the_command_line_makes_of_the_same_order(studio, method):
    settings = changed(method=method)
    run = last(studio, settings)
    world = studio.world("tiny")
    order = Order(world, "gender", (0.25, 0.75), 100, 3, method)
    wanted = order.sampler(progress=False).draw(100, 3, progress=False)
    plain = order.plain().sampler().draw(100, 3, progress=False)
    assert (run.made.images == wanted.images).all() and (run.plain.images == plain.images).all()
    assert (run.made.predictions.labels["gender"] == wanted.predictions.labels["gender"]).all()
    assert (last(studio, changed(method=method, seed=4)).plain.images != plain.images).any()


def test_faces_arrive_in_batches_of_both_kinds(worlds_root):
    steps = list(Studio(worlds_root).batches(UNEVEN))
    assert [step.job for step in steps] == ["mixture", *["faces"] * 4]
    assert [step.done for step in steps] == [0, 0, 64, 64, 100]
    assert [len(step.run) for step in steps if step.run] == [64, 100]
    assert {step.wanted for step in steps} == {100}


def test_mixture_and_pilot_are_made_once_for_all_targets(worlds_root):
    studio = Studio(worlds_root)
    settings = changed(method="localized")

    def jobs(**changes):
        steps = studio.batches(Settings(**{**vars(settings), **changes}))
        return {step.job for step in steps}

    assert jobs() == {"mixture", "pilot", "faces"}
    assert jobs(target=(0.5, 0.5)) == {"faces"}
    assert jobs(seed=4) == {"pilot", "faces"}


def test_plain_faces_are_drawn_once_for_all_targets(worlds_root, monkeypatch):
    studio = Studio(worlds_root)
    first = last(studio, UNEVEN)
    drawn = []
    monkeypatch.setattr(
        "fairgen_utils.apps.dashboard.studio.Sampler",
        lambda world: drawn.append(world) or pytest.fail("plain faces were drawn again"),
    )
    again = last(studio, changed(target=(0.5, 0.5)))
    assert (first.plain.images == again.plain.images).all()
    fewer = last(studio, changed(n=70))
    assert (fewer.plain.images == first.plain.images[:70]).all() and len(fewer) == 70


def test_one_face_is_guided_to_every_group_from_its_own_noise(studio):
    run = last(studio, UNEVEN)
    moved = studio.same_face(run, 70)
    assert moved.components.tolist() == [0, 1] and len(moved) == 2
    order = Order(studio.world("tiny"), "gender", None, 100, 3)
    wanted = order.sampler().same_face(3, 70, [0, 1])
    assert (moved.images == wanted.images).all()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"method": "magic"}, "method"),
        ({"method": "plain"}, "method"),
        ({"target": (0.5, 0.6)}, "target"),
        ({"target": (0.5,)}, "target"),
        ({"attribute": "height"}, "attribute"),
        ({"n": 0}, "n:"),
        ({"n": 1001}, "python -m fairgen_utils generate"),
        ({"world": "moon"}, "moon"),
    ],
)
def test_settings_that_cannot_be_run_are_refused_before_anything_is_made(studio, change, said):
    with pytest.raises(ValueError, match=said):
        next(studio.batches(changed(**change)))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"world": "tiny"}', '{"target": 3}'])
def test_a_damaged_settings_file_is_named(tmp_path, text):
    (tmp_path / "settings.json").write_text(text)
    with pytest.raises(ValueError, match=r"settings\.json holds no settings"):
        Settings.read(tmp_path / "settings.json")


# --- exports ------------------------------------------------------------------------------------


def test_the_export_holds_pairs_labels_and_settings_that_make_them_again(studio, tmp_path):
    run = last(studio, UNEVEN)
    archive = zipfile.ZipFile(io.BytesIO(archive_of(run)))
    table = pd.read_csv(archive.open("labels.csv"))
    for name, sample in (("plain", run.plain), ("guided", run.made)):
        rows = table[table["method"] == name]
        read = np.stack([np.asarray(Image.open(archive.open(file))) for file in rows["file"]])
        assert (read == sample.images).all()
        labels = np.take(["female", "male"], sample.predictions.labels["gender"])
        assert (rows["gender"].to_numpy() == labels).all()
    led = table.loc[table["method"] == "guided", "led_to"].value_counts()
    assert led["male"] == 75 and led["female"] == 25
    archive.extract("settings.json", tmp_path)
    settings = Settings.read(tmp_path / "settings.json")
    assert settings == UNEVEN
    assert (last(studio, settings).made.images == run.made.images).all()


def test_every_export_says_what_the_faces_are(studio):
    files = files_of(last(studio, UNEVEN))
    note = files["README.txt"]
    assert EDIT in note and "tiny, guided by a mixture, seed 3" in note
    assert "female 25 %, male 75 %" in note and "noise floor" in note
    localized = files_of(last(studio, changed(method="localized")))
    assert "no pairs" in localized["README.txt"] and "edited" not in localized["README.txt"]
    assert "led_to" not in localized["labels.csv"]


def test_the_sheet_shows_every_pair_one_above_the_other(studio):
    run = last(studio, UNEVEN)
    sheet = pair_sheet(run)
    side = 64
    top = len(sheet) - 5 * (2 * side + side // 4)  # five rows of twenty pairs below the sentences
    for pair in (0, 19, 20, 99):
        row, column = divmod(pair, 20)
        y, x = top + row * (2 * side + side // 4), column * side
        assert (sheet[y : y + side, x : x + side] == run.plain.images[pair]).all()
        assert (sheet[y + side : y + 2 * side, x : x + side] == run.made.images[pair]).all()
    assert (sheet[:top] < 128).any()  # something is written there


def test_names_of_exported_files_tell_world_method_attributes_seed_and_number(page):
    page.controls.method.value = "localized"
    press(page)
    page.save.click()
    names = re.findall(r'download="([^"]*)"', page.links.value)
    assert names == [f"tiny_localized_gender-ancestry_seed0_n100{end}" for end in (".png", ".zip")]


def test_exported_settings_make_the_same_faces_from_the_command_line(tmp_path):
    settings = Settings("heads", "guided", "gender", (0.5, 0.5), 6, 0)
    run = last(Studio(), settings)
    (tmp_path / "settings.json").write_text(settings.text)
    command = [str(tmp_path / "settings.json"), "--out", str(tmp_path / "again")]
    main(command)
    for name, sample in (("plain", run.plain), ("guided", run.made)):
        files = sorted((tmp_path / "again" / name).iterdir())
        read = np.stack([np.asarray(Image.open(file)) for file in files])
        assert (read == sample.images).all()
    made = json.loads((tmp_path / "again" / "provenance.json").read_text())
    assert made["world"] == "heads" and made["versions"] and made["method"] == "guided"
    with pytest.raises(SystemExit) as stopped:  # never over what is there
        main(command)
    assert stopped.value.code == 2


# --- the page's widgets -------------------------------------------------------------------------


def test_pressing_generate_shows_pairs_numbers_and_whose_they_are(page):
    assert "Ready: tiny" in page.status.value and "Guess first" in page.heading.value
    press(page)
    assert re.search(r"Done: 100 faces by each method, \d+ s in all", page.status.value)
    assert "tiny, guided by a mixture, seed 0" in page.heading.value
    assert "the same seeds" in page.heading.value
    assert page.style.value.count("background-image") == look.SHOWN
    assert page.numbers.value.count("<b>floor 0.") == 2 and page.bars.value.startswith("<img alt=")
    assert "are read as another group" in page.table.value
    assert not page.start.disabled and page.stop.disabled and not page.save.disabled


def test_the_status_says_what_is_being_made_at_every_moment(page, monkeypatch):
    said = []
    monkeypatch.setattr(Dashboard, "say", lambda self, text, *rest: said.append(text))
    page.controls.method.value = "localized"
    press(page)
    told = [re.sub(r" \d+ s .*", "", text) for text in said]
    assert told[0] == "Starting ..." and told[1].startswith("Fitting the mixture of gender and")
    assert told[2].startswith("Pilot, which finds the weights, once: 0 of 360 faces")
    assert told[3].startswith("Pilot, which finds the weights, once: 64 of 360 faces")
    assert "0 of 100 faces, plain and started from a mixture." in told
    assert "64 of 100 faces, plain and started from a mixture." in told
    assert told[-1] == "Done: 100 faces by each method,"


def test_another_world_clears_what_is_on_show_and_can_not_be_exported(page):
    press(page)
    page.ask(0)
    page.thread.join(HANG)
    assert page.one.value
    page.turn_world()
    shown = (page.numbers, page.bars, page.table, page.one, page.links, page.style)
    assert not [part.value for part in shown if part.value]
    assert page.pairs.layout.display == "none" and page.save.disabled and page.run is None


def test_nothing_can_be_exported_before_there_is_something(page):
    assert page.save.disabled and page.stop.disabled and not page.start.disabled


def test_a_cancelled_run_keeps_what_was_made_and_the_next_one_runs(page):
    page.controls.n.value = 1000
    page.table.observe(lambda change: page.cancel(), "value")  # once the first batch is shown
    press(page)
    assert "Stopped early: 64 faces" in page.status.value
    assert not page.start.disabled and page.stop.disabled
    page.save.click()
    assert "_n64." in page.links.value  # the settings of an export name the faces it has
    page.table.unobserve_all()
    page.controls.n.value = 100
    press(page)
    assert "Done: 100 faces" in page.status.value


def test_pressing_a_face_shows_it_in_every_group_and_says_what_that_is(page):
    press(page)
    page.pairs.children[2].click()
    page.thread.join(HANG)
    assert "an edit, not what a person" in page.one.value
    assert page.one.value.count("<figure") == 7  # plain, and two genders by three ancestries
    assert f"Face {page.first + 2} in every" in page.one.value
    assert "Done: 100" in page.status.value  # said again, once the face is there


def test_a_face_pressed_during_a_run_is_answered_during_the_run(page):
    page.controls.n.value = 200
    # once the first batch is shown
    page.table.observe(lambda change: page.ask(0) if len(page.run) == 64 else None, "value")
    press(page)
    assert "Face 0 in every" in page.one.value and "Done: 200" in page.status.value


def test_pressing_the_same_face_again_puts_it_away(page):
    press(page)
    for shown in (True, False, True):
        page.ask(1)
        page.thread.join(HANG)
        assert bool(page.one.value) == shown


def test_a_face_of_another_seed_is_on_show_no_more(page, monkeypatch):
    press(page)
    page.ask(1)
    page.thread.join(HANG)
    page.controls.seed.value, batches = 5, page.studio.batches

    def touched(settings):
        for step in batches(settings):
            if step.run is not None and len(step.run) == 64:
                page.ask(2)  # while the other seed's first batch is made
            yield step

    monkeypatch.setattr(page.studio, "batches", touched)
    press(page)
    assert page.run.settings.seed == 5 and not page.one.value


def test_guided_faces_have_the_floor_of_their_quotas(studio):
    run = last(studio, UNEVEN)
    given = {"cells": run.made.components}
    asked = run.made.predictions, "gender", np.array(UNEVEN.target)
    assert run.fairness["guided"] == audit_fairness(run.world, *asked, **given)
    assert run.fairness["guided"]["fd_floor95"] < run.fairness["plain"]["fd_floor95"]


def test_many_cells_stand_in_a_row_for_each_gender(worlds_root):
    studio = Studio(worlds_root)
    run = last(studio, changed(attribute="gender,ancestry,smile", target=(1 / 12,) * 12))
    page = look.every_group(run, 0, studio.same_face(run, 0))
    assert "repeat(7, 104px)" in page and "grid-row: 1 / span 2" in page
    assert page.count("<figure") == 13  # the plain one, left of two rows of six


def test_other_faces_of_the_run_can_be_looked_at(page):
    press(page)
    start = page.first
    page.more.click()
    assert page.first == (start + look.SHOWN) % 100
    assert f"face {page.first} of seed 0" in page.pairs.children[0].tooltip


def test_sliders_set_the_target_and_show_it(page):
    controls = page.controls
    controls.attributes.children[1].value = False
    controls.sliders["gender"][0].value, controls.sliders["gender"][1].value = 20, 60
    settings = controls.settings()
    assert settings.attribute == "gender" and settings.target == (0.25, 0.75)
    rows = [row.children for row in controls.targets.children]
    assert [share.value for _, share in rows] == ["25 %", "75 %"]
    assert controls.fold.description.endswith("shares: gender")
    controls.attributes.children[1].value = True
    joint = controls.settings()
    assert joint.attribute == "gender,ancestry" and sum(joint.target) == pytest.approx(1)
    np.testing.assert_allclose(np.reshape(joint.target, (2, 3)).sum(1), (0.25, 0.75))


def test_combinations_are_folded_away_until_asked_for(page):
    controls = page.controls
    assert controls.choice.layout.display == "none"
    assert controls.fold.description.endswith("shares: gender, ancestry, even")
    controls.fold.value = True
    assert controls.choice.layout.display == ""


def test_bad_choices_are_said_and_start_nothing(page):
    for slider in page.controls.sliders["gender"]:
        slider.value = 0
    page.generate()
    assert "All shares of gender are zero" in page.status.value and page.thread is None
    for box in page.controls.attributes.children:
        box.value = False
    page.generate()
    assert "Tick at least one attribute" in page.status.value and page.thread is None


def test_an_error_in_the_background_is_said(page, monkeypatch):
    def breaks(self, settings):
        raise OSError("the disk <is> full")
        yield

    monkeypatch.setattr(Studio, "batches", breaks)
    press(page)
    assert "This failed. OSError: the disk &lt;is&gt; full" in page.status.value
    assert not page.start.disabled


def test_an_error_of_loading_a_world_is_said(page, monkeypatch):
    def breaks(self, name):
        raise OSError(f"{name} is damaged")

    monkeypatch.setattr(Studio, "world", breaks)
    page.turn_world()
    assert "This failed. OSError: tiny is damaged" in page.status.value
    page.generate()
    assert "This failed. OSError: tiny is damaged" in page.status.value
