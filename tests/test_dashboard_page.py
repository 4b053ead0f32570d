"""The dashboard in a browser: projected, touched while it runs, by keyboard, without a network."""

import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import nbformat
import pytest
from browser import ROOT, open_browser
from kills import HANG

PAGE = ROOT / "notebooks" / "teaching" / "dashboard.ipynb"
PATIENCE = 300_000  # milliseconds: a busy machine takes long to start a kernel
SCREENS = [(1440, 900), (1920, 1080)]

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def address(worlds_root, tmp_path_factory):
    """The notebook's page, served as `make dashboard` does, with the tests' small world."""
    notebook = nbformat.read(PAGE, 4)
    notebook.cells[1].source = notebook.cells[1].source.replace(
        "Dashboard()", f"Dashboard('tiny', {str(worlds_root)!r})"
    )
    copy = tmp_path_factory.mktemp("page") / "dashboard.ipynb"
    nbformat.write(notebook, copy)
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    serve = f"from pathlib import Path; from fairgen_utils.apps.dashboard import export; \
export.PAGE = Path({str(copy)!r}); export.serve({port}, browser=False)"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    python = [sys.executable, "-c", serve]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    server = subprocess.Popen(python, env=environment, start_new_session=True, **quiet)
    for _ in range(600):
        with socket.socket() as knock:
            if knock.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.5)
    yield f"http://127.0.0.1:{port}"
    os.killpg(server.pid, signal.SIGTERM)
    server.wait(HANG)


@pytest.fixture(scope="module")
def browser():
    with open_browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def asked():
    """Addresses that the page asked for."""
    return []


@pytest.fixture(scope="module")
def page(address, browser, asked):
    """One visit for all tests: a kernel takes its time. Each test brings it to a state it needs."""
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.set_default_timeout(PATIENCE)
    page.on("request", lambda request: asked.append(request.url))
    page.goto(address, wait_until="commit")  # it loads for as long as a kernel starts
    page.wait_for_selector("text=Ready: tiny")
    return page


def faces_wanted(page, n, seed):
    """Set both by keyboard: sliders in steps of 50, from 200."""
    page.get_by_label("seed", exact=True).fill(str(seed))
    page.get_by_label("seed", exact=True).press("Enter")
    handle = page.get_by_role("slider", name="faces")
    handle.focus()
    for _ in range(40):
        now = int(handle.get_attribute("aria-valuetext"))
        if now == n:
            return
        handle.press("ArrowRight" if now < n else "ArrowLeft")
        page.wait_for_function(
            "([handle, before]) => handle.getAttribute('aria-valuetext') !== before",
            arg=[handle.element_handle(), str(now)],
        )


def finish(page, n):
    page.click("button:has-text('Generate')")
    page.wait_for_selector(f"text=/Done: {n} faces/")


def colours_drawn(page):
    """Pixels of plain orange and of the method's blue in the picture of shares."""
    return page.locator("img[alt^='Shares']").evaluate(
        """async (image) => {
          await image.decode();
          const canvas = document.createElement("canvas");
          [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
          const context = canvas.getContext("2d");
          context.drawImage(image, 0, 0);
          const pixels = context.getImageData(0, 0, canvas.width, canvas.height).data;
          const count = [0, 0];
          for (let i = 0; i < pixels.length; i += 4) {
            if (pixels[i] === 0xd5 && pixels[i + 1] === 0x5e) count[0] += 1;
            if (pixels[i] === 0 && pixels[i + 1] === 0x72) count[1] += 1;
          }
          return count;
        }"""
    )


def test_messages_during_a_run_leave_the_charts_whole(page):
    faces_wanted(page, 500, 1)
    page.get_by_role("button", name="shares:").click()
    page.click("button:has-text('Generate')")
    handle = page.get_by_role("slider", name="share of female")
    sent = 0
    while page.get_by_text("Done: 500 faces").count() == 0:
        handle.press("ArrowRight" if sent % 2 else "ArrowLeft")
        sent += 1
        if page.locator("img[alt^='Shares']").count():
            assert min(colours_drawn(page)) > 500
        assert "This failed" not in page.locator("[role=status]").inner_text()
    assert sent > 3 and min(colours_drawn(page)) > 500
    if sent % 2:
        handle.press("ArrowRight")  # back to where it was
    page.wait_for_selector("text=/shares: gender, ancestry, even/")
    page.get_by_role("button", name="shares:").click()


def test_slider_handles_have_names_and_the_value_on_the_screen(page):
    page.get_by_role("button", name="shares:").click()
    female, male = (page.get_by_role("slider", name=f"share of {g}") for g in ("female", "male"))
    for handle in (male, female):
        handle.focus()
    for _ in range(5):
        female.press("ArrowRight")
    rows = page.locator(".fairgen .widget-hbox:has(> .share)")
    for place, (handle, wanted) in enumerate(((female, "52 %"), (male, "48 %"))):  # 55 to 50
        page.wait_for_function(
            """([handle, share, wanted]) => share.textContent.trim() === wanted
              && handle.getAttribute('aria-valuetext') === wanted""",
            arg=[
                *(handle.element_handle(), rows.nth(place).locator(".share").element_handle()),
                wanted,
            ],
        )
    faces = page.get_by_role("slider", name="faces")
    readout = page.locator(".widget-slider:has-text('faces') .widget-readout").first
    assert faces.get_attribute("aria-valuetext") == readout.inner_text().strip()
    for _ in range(5):
        female.press("ArrowLeft")
    page.wait_for_selector("text=/shares: gender, ancestry, even/")
    page.get_by_role("button", name="shares:").click()


@pytest.mark.parametrize("screen", SCREENS, ids=str)
def test_what_matters_is_large_and_above_the_fold(page, screen):
    if page.locator(".large").count() == 0:
        finish(page, 200)
    width, height = screen
    page.set_viewport_size({"width": width, "height": height})
    page.evaluate("scrollTo(0, 0)")
    page.wait_for_function(f"innerWidth === {width} && innerHeight === {height}")
    page.wait_for_function(  # as wide as the screen, once the page is laid out anew
        """Math.max(...[...document.querySelectorAll(".pair")]
          .map((pair) => pair.getBoundingClientRect().right)) > innerWidth - 40"""
    )
    boxes = page.locator(".pair").evaluate_all("all => all.map(one => one.getBoundingClientRect())")
    assert len(boxes) == 10
    for box in boxes:
        assert box["width"] >= 96 and box["height"] >= 2 * box["width"]
    last = [page.locator(part).bounding_box() for part in (".large", "img[alt^='Shares']")]
    assert max(box["y"] + box["height"] for box in last) <= height
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    small = page.evaluate(
        """[...document.querySelectorAll(".fairgen *")]
          .filter((node) => [...node.childNodes].some((c) => c.nodeType === 3 && c.data.trim()))
          .filter((node) => node.checkVisibility() && !["STYLE", "OPTION"].includes(node.tagName))
          .filter((node) => parseFloat(getComputedStyle(node).fontSize) < 18)
          .map((node) => node.outerHTML.slice(0, 90))"""
    )
    assert not small
    number = page.locator(".large td").first.evaluate("td => getComputedStyle(td).fontSize")
    assert float(number.removesuffix("px")) >= 40
    letters = page.locator("img[alt^='Shares']").bounding_box()["width"] / 7.8 / 100
    assert letters * 18 >= 17  # what was drawn as 18 pixels of a figure 7.8 inches wide


def test_no_words_are_cut_off_and_none_run_into_others(page):
    page.set_viewport_size({"width": 1440, "height": 900})
    if page.locator(".large").count() == 0:
        finish(page, 200)
    page.click("button:has-text('Export')")
    page.wait_for_selector("text=everything (zip)")
    fold = page.get_by_role("button", name="shares:")
    # a world with more attributes than this one, all of them ticked
    fold.evaluate("b => { b.textContent = b.textContent.replace('even', 'age, smile, glasses') }")
    cut = page.locator(".fairgen button:visible").evaluate_all(
        """all => all
          .filter((b) => b.scrollWidth > b.clientWidth || b.scrollHeight > b.offsetHeight)
          .map((b) => b.textContent)"""
    )
    assert not cut
    ends = page.locator(".fairgen > .widget-vbox").first.evaluate(
        """(column) => {
          const words = document.createTreeWalker(column, NodeFilter.SHOW_TEXT), ends = [];
          const range = document.createRange();
          while (words.nextNode()) {
            range.selectNodeContents(words.currentNode);
            ends.push(...[...range.getClientRects()].map((place) => place.right));
          }
          return ends;
        }"""
    )
    assert max(ends) + 8 <= page.locator(".pairs").bounding_box()["x"]
    fold.evaluate("b => { b.textContent = b.textContent.replace('age, smile, glasses', 'even') }")


def test_names_of_methods_are_not_cut_off(page):
    page.set_viewport_size({"width": 1440, "height": 900})
    room = page.get_by_label("method").evaluate(
        """(select) => {
          const context = document.createElement("canvas").getContext("2d");
          context.font = getComputedStyle(select).font;
          const wide = [...select.options].map((o) => context.measureText(o.text).width);
          return select.clientWidth - Math.max(...wide);
        }"""
    )
    assert room >= 24  # the arrow and some air


def test_pressing_a_face_shows_it_in_every_group(page):
    if page.locator(".large").count() == 0:
        finish(page, 200)
    page.locator(".pair").nth(3).click()
    page.wait_for_selector(".cells figure:nth-child(7)")
    assert "an edit, not what a person" in page.locator(".fairgen").inner_text()
    sides = page.locator(".cells img").evaluate_all("all => all.map(image => image.width)")
    assert len(sides) == 7 and min(sides) >= 96
    strip = page.locator(".cells").bounding_box()
    assert strip["y"] + strip["height"] <= 900


def test_axe_finds_nothing_serious(page):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    if page.locator(".large").count() == 0:
        finish(page, 200)
    page.get_by_role("button", name="shares:").click()
    found = [
        (one["id"], [place["html"][:120] for place in one["nodes"][:3]])
        for one in axe.run(page).response["violations"]
        if one["impact"] in ("serious", "critical")
    ]
    page.get_by_role("button", name="shares:").click()
    assert not found


def test_the_page_asks_nobody_but_its_own_server_and_has_a_title(page, asked):
    assert page.title() == "The bias dashboard"
    elsewhere = [url for url in asked if not url.startswith(("http://127.0.0.1", "data:", "blob:"))]
    assert len(asked) > 3 and not elsewhere


def test_by_keyboard_alone_from_start_to_export(address, browser):
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.set_default_timeout(PATIENCE)
    page.goto(address, wait_until="commit")  # it loads for as long as a kernel starts
    page.wait_for_selector("text=Ready: tiny")
    assert page.locator("button:has-text('Export')").is_disabled()

    def tab_to(words):
        for _ in range(60):
            page.keyboard.press("Tab")
            if words in page.evaluate("document.activeElement.textContent"):
                return
        pytest.fail(f"{words} was not reached by Tab")

    tab_to("Generate")
    page.keyboard.press("Enter")
    page.wait_for_selector("text=/Done: 200 faces/")
    page.wait_for_selector("button:has-text('Export'):enabled")
    tab_to("Export")
    page.keyboard.press("Enter")
    page.wait_for_selector("text=everything (zip")
    tab_to("everything (zip")
    with page.expect_download() as download:
        page.keyboard.press("Enter")
    assert download.value.suggested_filename == "tiny_guided_gender-ancestry_seed0_n200.zip"
    archive = zipfile.ZipFile(io.BytesIO(Path(download.value.path()).read_bytes()))
    made = json.loads(archive.read("settings.json"))
    assert made["seed"] == 0 and made["n"] == 200 and made["method"] == "guided"
    assert len([name for name in archive.namelist() if name.startswith("guided/")]) == 200
    page.close()
