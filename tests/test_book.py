"""The website: every page is there, leads somewhere, needs no network, anybody can read it."""

import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from urllib.parse import unquote, urlsplit

import pytest
from browser import ROOT, open_browser

pytestmark = pytest.mark.slow  # the whole website is made first

CHAPTERS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
# pages of every kind: the first, figures, wide tables, folded solutions, math, results
SCANNED = (
    "notebooks/index",
    "notebooks/00_start_here",
    "notebooks/05_gmm_localization",
    "notebooks/07_is_it_any_good",
    "notebooks/solutions/03_measuring_bias",
    "notebooks/glossary",
    "README",
    "data/utkface/README",
)


class Page(HTMLParser):
    """What a page links to, loads and shows."""

    def __init__(self, path):
        super().__init__()
        self.links, self.loads, self.pictures, self.ids = [], [], [], set()
        self.text = path.read_text(encoding="utf-8")
        self.feed(self.text)

    def handle_starttag(self, tag, pairs):
        attributes = dict(pairs)
        self.ids.add(attributes.get("id"))
        if tag == "a" and "href" in attributes:
            self.links.append(attributes["href"])
        if tag in ("script", "img", "iframe"):
            self.loads.append(attributes.get("src") or "")
        if tag == "link" and attributes.get("rel") in ("stylesheet", "preload", "icon"):
            self.loads.append(attributes["href"])
        if tag == "img":
            self.pictures.append(attributes)


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    out = tmp_path_factory.mktemp("book")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-c", "notebooks"]
    command += ["-d", str(out / "cache"), ".", str(out / "html")]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    return out / "html"


@pytest.fixture(scope="module")
def pages(book):
    found = [path for path in book.rglob("*.html") if "_static" not in path.parts]
    return {path: Page(path) for path in found}


def test_every_notebook_and_its_solutions_are_there(book):
    for chapter in CHAPTERS:
        assert (book / "notebooks" / f"{chapter.stem}.html").is_file()
        assert (book / "notebooks" / "solutions" / f"{chapter.stem}.html").is_file()
    assert "notebooks/index.html" in (book / "index.html").read_text()


def test_no_page_shows_a_traceback(pages):
    assert not [path.name for path, page in pages.items() if "Traceback (most recent" in page.text]


def test_every_link_leads_to_a_page_and_place_that_exist(pages):
    lost = []
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.exists() or (
                parts.fragment and target in pages and parts.fragment not in pages[target].ids
            ):
                lost.append((path.name, link))
    assert not lost


def test_a_page_loads_nothing_from_the_network(pages):
    loaded = [(path.name, load) for path, page in pages.items() for load in page.loads]
    assert loaded and not [found for found in loaded if urlsplit(found[1]).netloc]


def test_every_picture_says_what_it_shows(pages):
    mute = [
        (path.name, picture.get("src"))
        for path, page in pages.items()
        for picture in page.pictures
        if len((picture.get("alt") or "").split()) < 5
    ]
    assert not mute


def test_formulas_are_drawn_and_not_spelled(pages):
    formulas = [
        formula for page in pages.values() for formula in re.findall("<math.*?</math>", page.text)
    ]
    assert len(formulas) > 50
    for formula in formulas:
        words = "".join(ElementTree.fromstring(formula).itertext())
        assert "\\" not in words, words


def test_solutions_are_folded(pages, book):
    page = pages[book / "notebooks" / "solutions" / "03_measuring_bias.html"]
    cells = len(re.findall(r'class="cell [^"]*docutils', page.text))
    assert 0 < cells == page.text.count("Show the code")


@pytest.fixture(scope="module")
def browser():
    with open_browser() as opened:
        yield opened


@pytest.mark.parametrize("mode", ["light", "dark"])
@pytest.mark.browser
def test_axe_finds_nothing_serious(book, browser, mode):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    context = browser.new_context(color_scheme=mode)
    serious = []
    for name in SCANNED:
        page = context.new_page()
        page.goto((book / f"{name}.html").as_uri())
        for found in axe.run(page).response["violations"]:
            if found["impact"] in ("serious", "critical"):
                places = [place["html"][:120] for place in found["nodes"][:3]]
                serious.append((name, found["id"], len(found["nodes"]), places))
        page.close()
    assert not serious, "\n".join(map(str, serious))


@pytest.mark.browser
def test_on_a_telephone_no_page_is_wider_than_the_screen(book, browser):
    page = browser.new_context(viewport={"width": 390, "height": 844}).new_page()
    for name in SCANNED:
        page.goto((book / f"{name}.html").as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, name


@pytest.mark.browser
def test_the_search_finds_the_notebook_that_explains_a_word(book, browser):
    page = browser.new_page()
    page.goto((book / "search.html").as_uri() + "?q=responsibilities")
    page.wait_for_selector("text=5. Localizing attributes with Gaussian mixtures")


@pytest.mark.browser
def test_light_and_dark_differ(book, browser):
    shades = set()
    for mode in ("light", "dark"):
        page = browser.new_context(color_scheme=mode).new_page()
        page.goto((book / "notebooks" / "index.html").as_uri())
        shades.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert len(shades) == 2
