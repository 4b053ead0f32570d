"""The linter of the course: silent about a good chapter, and each rule hears its own fault."""

import base64

import lint_course
import nbformat
import pytest

MARKDOWN, CODE = nbformat.v4.new_markdown_cell, nbformat.v4.new_code_cell
GOALS = "\n".join(f"- do this, number {i}" for i in range(3))


def chapter():
    """A chapter as the contributing guide wants it."""
    picture = nbformat.v4.new_output("display_data", {"image/png": base64.b64encode(b"x").decode()})
    picture.metadata = {"image/png": {"alt": "Two bars, the left one higher."}}
    text = "FD 0.31, above its floor: True\n"
    printed = nbformat.v4.new_output("stream", name="stdout", text=text)
    exercises = [MARKDOWN(f"**Exercise 3.{i}: derive.** Why?") for i in (1, 2, 3)]
    promised = "**After this notebook you can**\n\n{}\n\n**Time** 20 minutes **Before you start** 2"
    notebook = nbformat.v4.new_notebook(
        cells=[
            MARKDOWN(f"# 3. Bars\n\n{promised.format(GOALS)}\n\n**The question.** How many?"),
            MARKDOWN("> **Predict.** More or less?\n\nSee [the next](04.ipynb) one."),
            CODE("draw()", execution_count=1, outputs=[picture]),
            CODE("print(fd)", execution_count=2, outputs=[printed]),
            MARKDOWN(f"## What you did\n\n{GOALS}"),
            MARKDOWN("## Exercises"),
            *exercises,
            MARKDOWN("## Going further\n\nA paper, arXiv 2312.14976."),
        ]
    )
    notebook.metadata = {"kernelspec": {"name": "python3"}, "language_info": {}}
    return notebook


def problems(notebook, folder, rules=lint_course.NOTEBOOK_RULES + lint_course.CHAPTER_RULES):
    (folder / "04.ipynb").touch()
    nbformat.write(notebook, folder / "03_bars.ipynb")
    return list(lint_course.lint_notebook(folder / "03_bars.ipynb", rules))


def test_a_good_chapter_has_no_problem_and_needs_no_advice(tmp_path):
    assert not problems(chapter(), tmp_path)
    assert not problems(chapter(), tmp_path, lint_course.ADVICE)


def edited(cell, old, new):
    def edit(notebook):
        assert old in notebook.cells[cell].source
        notebook.cells[cell].source = notebook.cells[cell].source.replace(old, new)

    return edit


def without_words(notebook):
    notebook.cells[2].outputs[0].metadata["image/png"]["alt"] = "Bars"


def with_error(notebook):
    error = nbformat.v4.new_output("error", ename="KeyError", evalue="x", traceback=[])
    notebook.cells[3].outputs.append(error)


def with_widget(notebook):
    widget = {"application/vnd.jupyter.widget-view+json": {}}
    notebook.cells[3].outputs.append(nbformat.v4.new_output("display_data", widget))


def with_warning(notebook):
    notebook.cells[3].outputs.append(nbformat.v4.new_output("stream", name="stderr", text="hm"))


def with_much(notebook):
    notebook.cells[3].outputs.append(
        nbformat.v4.new_output("stream", name="stdout", text="x" * 4 * 2**20)
    )


def appended(source):
    return lambda notebook: notebook.cells.append(CODE(source, execution_count=3))


FAULTS = [
    (lambda notebook: notebook.cells[3].update(execution_count=7), "once from top to bottom"),
    (lambda notebook: notebook.metadata["kernelspec"].update(name="mine"), "everybody's python3"),
    (lambda notebook: notebook.metadata.update(widgets={}), "['widgets']"),
    (lambda notebook: notebook.cells[3].metadata.update(collapsed=True), "['collapsed']"),
    (with_error, "ends in a KeyError"),
    (with_widget, "keeps a widget"),
    (with_warning, "stderr"),
    (with_much, "larger than 3 MiB"),
    (without_words, "alternative text is 'Bars'"),
    (appended("\n".join(["x = 1"] * 21)), "has 21 lines"),
    (appended("table.to_csv('x.csv')"), "writes a file"),
    (appended("# NBVAL_IGNORE_OUTPUT\n# why not\nx"), "reason"),
    (lambda notebook: notebook.cells[3].metadata.update(tags=["tolerance:0.1"]), "reason"),
    (edited(1, "04.ipynb", "05.ipynb"), "nowhere: 05.ipynb"),
    (edited(1, "More", "Is it debiased"), "claims a cure"),
    (edited(0, "# 3.", "# 4."), "no title"),
    (edited(0, "**The question.** ", ""), "'**The question.** ' is missing"),
    (edited(0, GOALS, "- one"), "1 goals"),
    (edited(4, GOALS, "- one"), "one point for each goal"),
    (edited(4, "What you did", "Then"), "no '## What you did'"),
    (edited(5, "Exercises", "More"), "no '## Exercises'"),
    (edited(9, "Going further", "Books"), "is not '## Going further'"),
    (edited(9, "arXiv", "number"), "names no paper"),
    (edited(1, "Predict", "Guess"), "asks for no prediction"),
    (edited(6, "3.1", "one"), "has 2 exercises"),
]


@pytest.mark.parametrize(("fault", "said"), FAULTS)
def test_a_fault_is_named(fault, said, tmp_path):
    notebook = chapter()
    fault(notebook)
    assert any(said in problem for problem in problems(notebook, tmp_path))


def test_a_lone_true_is_advised_against(tmp_path):
    notebook = chapter()
    notebook.cells[3].outputs[0].text = "FD is above its floor: True\n"
    (said,) = problems(notebook, tmp_path, lint_course.ADVICE)
    assert "no number" in said


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("A generator, debiased.", 1),
        ('Never say "unbiased", nor "solved".', 0),
        ("We solved for a, and it is still biased.", 0),
        ("[here](03_bars.ipynb), [there](https://example.org), [nowhere](lost.md#part)", 1),
    ],
)
def test_a_page_is_read_for_claims_and_lost_links(text, found, tmp_path):
    (tmp_path / "03_bars.ipynb").touch()
    (tmp_path / "page.md").write_text(text, encoding="utf-8")
    assert len(list(lint_course.of_a_page(tmp_path / "page.md"))) == found


def test_the_command_counts_problems_and_advice(monkeypatch, capsys):
    for problem, advice, strict, code in (
        ([], ["a.ipynb, x"], [], 0),
        ([], ["a.ipynb, x"], ["--strict"], 1),
        (["a.ipynb, y"], [], [], 1),
        ([], [], ["--strict"], 0),
    ):
        monkeypatch.setattr(lint_course, "lint", lambda found=(problem, advice): found)
        assert lint_course.main(strict) == code
    assert "1 problems, 0 pieces of advice on 0 notebooks" in capsys.readouterr().out
