"""The teacher's pack: a line per machine, slides that fit, pages that lead somewhere."""

import re
import shutil
import sys

import nbformat
import pandas as pd
import pytest
from browser import ROOT, open_browser

TEACHING = ROOT / "notebooks" / "teaching"
NOTEBOOKS = (ROOT / "notebooks").glob("[0-9]*.ipynb")


@pytest.fixture(autouse=True)
def scripts_on_path(monkeypatch):
    monkeypatch.syspath_prepend(str(TEACHING))


# --- the class check -----------------------------------------------------------------------------


def test_a_ready_machine_says_so_in_one_line(capsys):
    from class_check import LINE, main

    assert main(["--name", "Ada | Lovelace"]) == 0
    said = capsys.readouterr().out
    assert said.count("\n") == 1
    verdict, name, seconds, found = LINE.match(said.strip()).groups()
    assert verdict == "ok" and name == "Ada / Lovelace" and float(seconds) > 0
    for told in ("cores", "Python", "torch", "scikit-learn", "world heads", "checksums", "disk"):
        assert told in found, told


def test_a_damaged_world_is_a_problem_with_a_way_out(tmp_path, monkeypatch):
    from class_check import check_line

    for variable in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(variable, str(tmp_path))

    for world in ("heads", "utkface", "celeba"):
        shutil.copytree(ROOT / "data" / world, tmp_path / world)
    weights = next((tmp_path / "heads").rglob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-9])
    ready, line = check_line("Bo", root=tmp_path)
    assert not ready and line.startswith("PROBLEM | Bo | - s |")
    assert weights.name in line and "git" in line and "\n" not in line
    assert str(tmp_path) not in line and "Python" in line.split(" | ")[-1]


def test_a_missing_package_is_a_problem_and_no_traceback(monkeypatch):
    from class_check import check_line

    monkeypatch.setitem(sys.modules, "fairgen_utils.apps.checkup", None)
    ready, line = check_line()
    assert not ready and line.startswith("PROBLEM") and "Two commands" in line


def test_each_of_several_problems_is_counted_for_itself(monkeypatch):
    from class_check import check_line, summary

    from fairgen_utils.apps import checkup

    monkeypatch.setattr(checkup, "PACKAGES", ("numpy", "no-such-package", "nor-this"))
    _, line = check_line("Bo")
    said = summary([line, line.replace("Bo", "Cy").replace("nor-this", "numpy")])
    assert "0 of 2 machines are ready" in said
    assert "2 x no-such-package is not installed" in said and "(Bo, Cy)" in said
    assert "1 x nor-this is not installed" in said


def test_a_class_is_summed_up_from_its_lines():
    from class_check import summary

    said = summary(
        [
            "Hello, here is mine:",
            "> ok | Ada | 0.4 s | Python 3.11.7; torch 2.13.0",
            "ok | Bo | 3.2 s | Python 3.12.1; torch 2.13.0",
            "PROBLEM | Cy | - s | 0.3 GB of disk free: make room, 1 GB is needed | Linux",
            "PROBLEM | Di | - s | 0.4 GB of disk free: make room, 1 GB is needed | Linux",
            "",
        ]
    )
    assert "2 of 4 machines are ready" in said and "Slowest: Bo, 3.2 s" in said
    assert "2 x 0.3 GB of disk free: make room, 1 GB is needed (Cy, Di)" in said
    assert "could not be read: 1" in said


@pytest.mark.parametrize(
    "lines", [[], ["hello"], ["ok"], ["ok | x | fast | y"], ["ok | x | 1.2.3 s | y"]]
)
def test_lines_that_are_none_are_no_class(lines):
    from class_check import summary

    assert "No line here" in summary(lines)


def test_a_time_that_is_lacking_is_no_crash():
    from class_check import summary

    assert summary(["ok | Ada | - s | Linux"]) == "1 of 1 machines are ready."


def test_lines_are_collected_from_several_files_and_those_of_windows(tmp_path, capsys):
    from class_check import main

    (tmp_path / "a.txt").write_text("ok | Ada | 0.4 s | Linux\n", encoding="utf-8")
    (tmp_path / "b.txt").write_text("ok | Žofia | 0.9 s | Windows\r\n", encoding="utf-16")
    (tmp_path / "c.txt").write_bytes(b"\x00\xc3( no text \xff")
    files = [str(tmp_path / name) for name in ("a.txt", "b.txt", "c.txt")]
    assert main(["--collect", *files]) == 0
    said = capsys.readouterr().out
    assert "2 of 2 machines" in said and "Žofia, 0.9 s" in said and "not be read: 1" in said


def test_a_file_that_is_missing_is_said(capsys):
    from class_check import main

    with pytest.raises(SystemExit) as stopped:
        main(["--collect", "nowhere.txt"])
    assert stopped.value.code == 2 and "nowhere.txt" in capsys.readouterr().err


# --- slides --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def slides(tmp_path_factory):
    sys.path.insert(0, str(TEACHING))
    from make_slides import write_slides

    sys.path.remove(str(TEACHING))
    out = tmp_path_factory.mktemp("slides")
    return {
        name: write_slides(ROOT / "notebooks" / f"{name}.ipynb", out)
        for name in ("03_measuring_bias", "06_fair_generation")
    }


def test_slides_hold_every_figure_with_its_words_and_no_exercise(slides):
    for name, path in slides.items():
        page = path.read_text(encoding="utf-8")
        notebook = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", 4)
        stop = next(i for i, c in enumerate(notebook.cells) if c.source.startswith("## Exercises"))
        outputs = [out for cell in notebook.cells[:stop] for out in cell.get("outputs", [])]
        wanted = [
            out.metadata["image/png"]["alt"]
            for out in outputs
            if "image/png" in out.get("data", {})
        ]
        shown = re.findall(r'<img alt="([^"]*)"', page)
        assert len(shown) == len(wanted) and all(len(alt.split()) >= 5 for alt in shown)
        for unwanted in ("course.check", "Traceback", "NBVAL"):
            assert unwanted not in page


def test_slides_load_nothing_from_the_network(slides):
    for path in slides.values():
        page = path.read_text(encoding="utf-8")
        assert not re.findall(r'(?:src|<link [^>]*href)="https?://[^"]*"|@import|url\(http', page)


def test_a_question_to_predict_stands_before_its_answer():
    from make_slides import pages_of

    pages = pages_of("# Heading\n\n> **Predict.** More or less?\n\nLess, because.")
    assert pages == ["# Heading\n\n> **Predict.** More or less?", "Less, because."]


def test_a_list_that_is_too_long_for_a_slide_goes_on_on_the_next():
    from make_slides import LETTERS, pages_of

    items = [f"- {letter * 300}" for letter in "abcd"]
    pages = pages_of("\n".join(items))
    assert len(pages) == 2 and all(len(page) <= LETTERS for page in pages)
    assert [item for item in items if item in "\n".join(pages)] == items


@pytest.mark.parametrize("name", sorted(path.stem for path in NOTEBOOKS))
def test_a_question_to_predict_ends_its_slide(name):
    from make_slides import PREDICT, slides_of

    cells = slides_of(nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", 4)).cells
    kinds = [cell.metadata["slideshow"]["slide_type"] for cell in cells]
    for place, cell in enumerate(cells):
        if PREDICT in cell.source:
            assert kinds[place + 1] == "notes", "the speaker isn't told what comes out"
            assert kinds[place + 2] != "-", cell.source
        if cell.cell_type == "code" and cell.source:
            assert kinds[place] == "-", "code stands alone on its slide"


def test_a_caption_stays_with_its_figure_when_code_came_between():
    from make_slides import slides_of

    wide = "iVBORw0KGgoAAAANSUhEUgAABAAAAAEA"  # the beginning of a PNG, 1024 by 256 pixels
    shown = nbformat.v4.new_output("display_data", {"image/png": wide})
    new_code, new_text = nbformat.v4.new_code_cell, nbformat.v4.new_markdown_cell
    drawn, printed = new_code("draw()", outputs=[shown]), new_code("print(1)")
    notebook = nbformat.v4.new_notebook(cells=[drawn, printed, new_text("*Grey: real heads.*")])
    figure, drawing, caption, code = slides_of(notebook).cells
    assert figure.outputs and caption.source == "*Grey: real heads.*"
    assert "draw()" in drawing.source and "print(1)" in code.source
    cells = (figure, drawing, caption, code)
    kinds = [cell.metadata["slideshow"]["slide_type"] for cell in cells]
    assert kinds == ["subslide", "notes", "-", "notes"]


def test_formulas_become_mathml_and_prices_stay():
    from make_slides import with_mathml

    assert with_mathml("the share $n_g / N$").count("<math") == 1
    assert with_mathml("costs 5$ a day") == "costs 5$ a day"


def test_an_unknown_notebook_is_refused(capsys):
    from make_slides import main

    with pytest.raises(SystemExit):
        main(["99_nowhere"])
    assert "99_nowhere" in capsys.readouterr().err


@pytest.mark.browser
def test_in_a_browser_every_slide_shows_something_and_few_need_scrolling(slides):
    with open_browser() as browser:
        page = browser.new_page(viewport={"width": 1280, "height": 720})
        for path in slides.values():
            page.goto(path.as_uri())
            page.wait_for_function("window.Reveal && Reveal.isReady()")
            found = page.evaluate(
                """() => Reveal.getSlides().map(slide => {
                     const at = Reveal.getIndices(slide); Reveal.slide(at.h, at.v);
                     const cut = [...slide.querySelectorAll('pre, .highlight')].filter(
                       block => block.scrollWidth > block.clientWidth + 2);
                     return [slide.innerText.trim().length + slide.querySelectorAll('img').length,
                             slide.scrollHeight - slide.clientHeight, cut.length] })"""
            )
            assert len(found) > 20 and all(content for content, _, _ in found)
            assert sum(over > 4 for _, over, _ in found) <= 2
            assert not sum(cut for _, _, cut in found)


# --- pages ---------------------------------------------------------------------------------------

PAGES = sorted(TEACHING.glob("*.md"))


def measured():
    """What stands in the results, by (world, method) and then by judge: joint discrepancies."""
    results = ROOT / "data" / "results"
    fairness = pd.read_csv(results / "fairness.csv")
    judges = pd.read_csv(results / "judges.csv")
    joint = {"heads": "gender,ancestry,age", "utkface": "gender,race", "celeba": "gender,age"}
    own = fairness[fairness["attribute"] == fairness["world"].map(joint)]
    others = judges[judges["attribute"] == judges["world"].map(joint)]
    found = own.groupby(["world", "method"])[["fd_corrected", "nfe"]].mean()
    for judge in ("first", "second", "probe"):
        by_judge = others[others["judge"] == judge].set_index(["world", "method"])
        found[judge] = by_judge["fd_corrected"]
    return found, own["fd_floor95"].round(3)


def test_discrepancies_in_the_pages_are_measured_ones():
    found, floors = measured()
    components = pd.read_csv(ROOT / "data" / "results" / "components.csv")
    more = components.groupby(["world", "kind", "components"])["fd_corrected"].mean()
    gender = pd.read_csv(ROOT / "data" / "results" / "fairness.csv").query("attribute == 'gender'")
    gender = gender.groupby(["world", "method"])["fd_corrected"].mean()
    known = [found[column] for column in ("fd_corrected", "first", "second", "probe")]
    known = set(pd.concat([*known, floors, more, gender]).round(3).dropna())
    for page in PAGES:
        written = re.findall(r"(?<![\d.])\.\d{3}(?!\d)", page.read_text(encoding="utf-8"))
        assert not [number for number in written if float(number) not in known], page.name
