"""The website: every page is there, leads somewhere, needs no network, anybody can read it."""

import json
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from urllib.parse import unquote, urlsplit

import nbformat
import pytest
from browser import ROOT, open_browser

from fairgen_utils import show

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
    "data/celeba/README",
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


def build(folder, out):
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-c", "notebooks"]
    command += ["-d", str(out / "cache"), ".", str(out / "html")]
    built = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    return out / "html"


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    return build(ROOT, tmp_path_factory.mktemp("book"))


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


def test_the_site_has_one_name(pages, book):
    name = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")
    first = pages[book / "notebooks" / "index.html"].text
    assert re.search(r"<h1>(.*?)<", first)[1] == name
    titles = {path: re.search(r"<title>(.*?)</title>", page.text) for path, page in pages.items()}
    assert not [path for path, title in titles.items() if not title[1].endswith(name)]


def test_next_leads_from_chapter_to_chapter_and_past_no_solution(pages, book):
    place, walked = book / "notebooks" / "00_start_here.html", []
    while place.stem[:2].isdigit():
        walked.append(place.stem)
        forward = re.search(r'class="right-next"\s+href="([^"]*)"', pages[place].text)
        place = (place.parent / forward[1]).resolve()
    assert walked == [chapter.stem for chapter in CHAPTERS]


def test_every_exercise_leads_to_its_own_solution(pages, book):
    for chapter in CHAPTERS:
        cells = json.loads(chapter.read_text(encoding="utf-8"))["cells"]
        text = "\n".join("".join(cell["source"]) for cell in cells)
        asked = re.findall(r"^\*\*Exercise (\d+)\.(\d+)", text, re.MULTILINE)
        page = pages[book / "notebooks" / f"{chapter.stem}.html"]
        solved = [f"solutions/{chapter.stem}.html#solution-{a}-{b}" for a, b in asked]
        assert [link for link in page.links if "#solution-" in link] == solved


def test_every_figure_of_a_notebook_opens_at_full_size(pages):
    for path, page in pages.items():
        figure = r'<img [^>]*src="((?:\.\./)*_images/[^"]*)"'
        opened = re.findall(rf'<a [^>]*href="([^"]*)">\s*{figure}', page.text)
        assert len(opened) == len(re.findall(figure, page.text)), path.name
        assert not [pair for pair in opened if pair[0] != pair[1]], path.name


@pytest.fixture(scope="module")
def browser():
    with open_browser() as opened:
        yield opened


@pytest.mark.browser
@pytest.mark.parametrize("mode", ["light", "dark"])
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
        narrow = page.eval_on_selector_all(
            ".cell_output img:not(.knobs img)",
            "all => all.filter(one => one.width < Math.min(one.naturalWidth, 620)).length",
        )
        assert narrow == 0, f"{name}: letters of {narrow} figures can't be read; let them scroll"


@pytest.mark.browser
@pytest.mark.parametrize(
    ("words", "first"),
    [
        ("noise floor", "3. Measuring bias"),
        ("skin tone", "11. Limits and responsibility"),
        ("Gaussian mixture", "5. Localizing attributes with Gaussian mixtures"),
    ],
)
def test_the_search_in_a_folder_ranks_pages_and_shows_what_they_say(book, browser, words, first):
    page = browser.new_page()
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
    page.goto((book / "search.html").as_uri() + f"?q={words.replace(' ', '+')}")
    results = page.locator("#search-results li")
    assert first in results.first.inner_text()
    marked = " ".join(results.first.locator("mark").all_inner_texts()).lower()
    assert all(word.lower() in marked for word in words.split())
    assert results.count() > 3 and not errors
    results.first.locator("a").click()
    assert page.locator("h1").first.inner_text().startswith(first)


@pytest.mark.browser
def test_a_search_for_what_is_nowhere_says_so(book, browser):
    page = browser.new_page()
    page.goto((book / "search.html").as_uri() + "?q=xyzzy+%22<quux>")
    assert "No page says anything" in page.locator("#search-results").inner_text()


@pytest.mark.browser
def test_pictures_are_as_bright_in_the_dark_as_in_the_light(book, browser):
    page = browser.new_context(color_scheme="dark").new_page()
    for name in ("notebooks/index", "notebooks/06_fair_generation", "README"):
        page.goto((book / f"{name}.html").as_uri())
        filters = page.eval_on_selector_all(
            ".bd-content img", "found => found.map(image => getComputedStyle(image).filter)"
        )
        assert filters and set(filters) == {"none"}, name


@pytest.mark.browser
def test_formulas_stand_in_the_middle_in_letters_that_come_with_the_page(book, browser):
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.goto((book / "notebooks" / "06_fair_generation.html").as_uri())
    page.evaluate("document.fonts.ready")
    fonts = page.evaluate("[...document.fonts].map(font => [font.family, font.status])")
    assert ["Course Math", "loaded"] in [[name.strip('"'), status] for name, status in fonts]
    rooms = page.evaluate(
        """[...document.querySelectorAll("div.math")].map(block => {
          const outer = block.getBoundingClientRect();
          const inner = document.createRange();
          inner.selectNodeContents(block.querySelector("math"));
          const drawn = inner.getBoundingClientRect();
          return [drawn.left - outer.left, outer.right - drawn.right];
        })"""
    )
    assert rooms and all(abs(left - right) < 20 for left, right in rooms), rooms


@pytest.mark.browser
def test_a_wide_table_scrolls_and_shows_that_it_does(book, browser):
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.goto((book / "data" / "results" / "README.html").as_uri())
    bars = page.eval_on_selector_all(
        ".bd-article table",
        """tables => tables.filter(table => table.scrollWidth > table.clientWidth)
          .map(table => table.offsetHeight - table.clientHeight)""",
    )
    assert bars and min(bars) >= 8


# --- knobs that turn without a kernel -----------------------------------------------------------


@pytest.fixture(scope="module")
def knobs():
    """A notebook whose one output is a figure with two knobs, as it is committed."""

    def draw(ax, steps, level):
        ax.plot([0, steps], [0, level])
        ax.set(xlim=(0, 9), ylim=(0, 1))

    sliders = {"steps": (1, 3, 9, 2), "level": (0.0, 0.5, 1.0, 0.5)}
    widget = show.knobs(draw, "A line that rises.", (3, 2), **sliders)
    data, words = widget._repr_mimebundle_()
    data = {kind: text for kind, text in data.items() if "widget" not in kind}
    output = nbformat.v4.new_output("execute_result", data, metadata=words, execution_count=1)
    cells = [
        nbformat.v4.new_markdown_cell("# Knobs"),
        nbformat.v4.new_code_cell("knobs", outputs=[output], execution_count=1),
    ]
    metadata = {"language_info": {"name": "python"}}
    return nbformat.v4.new_notebook(cells=cells, metadata=metadata)


@pytest.fixture(scope="module", params=["book", "viewer"])
def turning(request, knobs, tmp_path_factory, browser):
    """The knobs' page, in the book and as notebook viewers convert it."""
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "book":
        shutil.copytree(ROOT / "notebooks" / "_static", folder / "notebooks" / "_static")
        for file in ("README.md", "pyproject.toml", "notebooks/conf.py"):
            shutil.copy(ROOT / file, folder / file)
        (folder / "README.md").write_text("# A name\n\nOne page.\n")
        index = "# Home\n\n```{toctree}\n01_knobs\n../README\n```\n"
        (folder / "notebooks" / "index.md").write_text(index)
        nbformat.write(knobs, folder / "notebooks" / "01_knobs.ipynb")
        target = build(folder, folder / "out") / "notebooks" / "01_knobs.html"
    else:
        exporter = pytest.importorskip("nbconvert").HTMLExporter()
        target = folder / "knobs.html"
        target.write_text(exporter.from_notebook_node(knobs)[0], encoding="utf-8")
    page = browser.new_page()
    page.goto(target.as_uri(), wait_until="domcontentloaded")
    yield page
    page.close()


@pytest.mark.browser
def test_knobs_turn_by_keyboard_and_say_where_they_stand(turning):
    image, slider = turning.locator(".knobs img"), turning.get_by_label("level")
    assert image.count() == turning.locator(".knobs").count() == 1
    assert turning.locator(".cell_output img, .jp-OutputArea img").count() == 1
    before, said = image.get_attribute("src"), image.get_attribute("alt")
    assert "steps 3, level 0.5" in said and slider.get_attribute("aria-valuetext") == "0.5"
    slider.focus()
    slider.press("ArrowRight")
    assert image.get_attribute("src") != before
    assert image.get_attribute("alt") == "A line that rises. Here for steps 3, level 1."
    assert slider.get_attribute("aria-valuetext") == "1"
    assert turning.locator(".knobs output").nth(1).inner_text() == "1"
    assert image.evaluate("image => image.decode().then(() => image.naturalWidth)") > 200
    slider.press("ArrowLeft")
    assert image.get_attribute("src") == before


@pytest.mark.browser
def test_light_and_dark_differ(book, browser):
    shades = set()
    for mode in ("light", "dark"):
        page = browser.new_context(color_scheme=mode).new_page()
        page.goto((book / "notebooks" / "index.html").as_uri())
        shades.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert len(shades) == 2
