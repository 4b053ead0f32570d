"""Lint the course: what a chapter promises its readers, and no tool for code would miss.

    python tests/lint_course.py [--strict]

Prints one line a problem, ``path, cell: what is wrong``, and exits with 1 if there is one. Habits
are advice: they are counted, and are problems with ``--strict`` only.
"""

import argparse
import ast
import re
import sys
from collections import Counter
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "notebooks"))
from comparator import reason_of, widened  # noqa: E402

LINES, MEGABYTES, WORDS = 20, 3, 5  # a cell on a screen, a notebook in git, an alternative text
# a word in quotation marks is spoken about, and equations are solved for something
CLAIMS = re.compile(r"(?<![\"'])\b(debiased|unbiased|solved(?! for))\b(?![\"'])", re.IGNORECASE)
WRITING = re.compile(
    r"\.(to_csv|to_json|to_parquet|savefig|write_text|write_bytes|mkdir|save|save_pretrained)\("
    r"|open\([^)]*['\"][wax]"
)
LICENCES = (
    *("MIT License", "CC BY 4.0", "CC0 1.0", "UTKFace", "CelebA"),
    "non-commercial research use only",
)


# --- rules for every notebook: (where, what is wrong) for each problem ----------------------------


def code_of(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def name_of(cell):
    return f"cell {cell.get('id', '?')}"


def text_of(notebook):
    return [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]


def was_run_once_from_top_to_bottom(notebook, path):
    counts = [cell.execution_count for cell in code_of(notebook) if cell.source]
    if counts != list(range(1, len(counts) + 1)):
        yield "", "was not run once from top to bottom in a fresh kernel"


def keeps_no_trace_of_the_machine(notebook, path):
    # a title is what a page made of the notebook is called in the browser
    if extra := set(notebook.metadata) - {"kernelspec", "language_info", "title"}:
        yield "", f"its metadata hold {sorted(extra)}"
    if notebook.metadata.get("kernelspec", {}).get("name") != "python3":
        yield "", "asks for a kernel that is not everybody's python3"
    for cell in notebook.cells:
        if extra := set(cell.metadata) - {"tags", "reason"}:
            yield name_of(cell), f"its metadata hold {sorted(extra)}"
        for output in cell.get("outputs", []):
            if any("widget" in kind for kind in output.get("data", {})):
                yield name_of(cell), "keeps a widget, which is nothing without its kernel"
            if output.get("name") == "stderr":
                yield name_of(cell), "keeps what went to stderr"
            if output.output_type == "error":
                yield name_of(cell), f"ends in a {output.ename}"


def is_small(notebook, path):
    if path.stat().st_size >= MEGABYTES * 2**20:
        yield "", f"is larger than {MEGABYTES} MiB"


def cells_fit_on_a_screen(notebook, path):
    for cell in code_of(notebook):
        if (lines := len(cell.source.splitlines())) > LINES:
            yield name_of(cell), f"has {lines} lines; {LINES} fit on a screen"


def writes_no_file(notebook, path):
    for cell in code_of(notebook):
        if found := WRITING.search(cell.source):
            yield name_of(cell), f"writes a file ({found[0]}...), so that order begins to matter"


def pictures_have_words(notebook, path):
    for cell in code_of(notebook):
        for output in cell.get("outputs", []):
            for kind in ("image/png", "image/svg+xml"):
                if kind in output.get("data", {}):
                    alt = output.metadata.get(kind, {}).get("alt", "")
                    if len(alt.split()) < WORDS:
                        yield name_of(cell), f"a picture's alternative text is {alt!r}"


def lenient_cells_say_why(notebook, path):
    for cell in code_of(notebook):
        try:
            widened(cell)
            if re.search(r"NBVAL_(IGNORE|SKIP)", cell.source):
                reason_of(cell)
        except ValueError as problem:
            yield name_of(cell), str(problem)


def links_lead_somewhere(notebook, path):
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            for problem in lost_links(cell.source, path):
                yield name_of(cell), problem


def claims_no_cure(notebook, path):
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            for problem in claims_in(cell.source):
                yield name_of(cell), problem


# --- rules for the chapters -----------------------------------------------------------------------


def bullets(text):
    return len(re.findall(r"^- ", text, re.MULTILINE))


def opens_with_what_it_promises(notebook, path):
    opening = text_of(notebook)[0]
    if not re.match(rf"# {int(path.name[:2])}\. \w", opening):
        yield "first cell", f"no title of the form '# {int(path.name[:2])}. Words'"
    for part in (
        "**After this notebook you can**",
        "**Time** ",
        "**Before you start**",
        "**The question.** ",
    ):
        if part not in opening:
            yield "first cell", f"{part!r} is missing"
    if not 3 <= bullets(opening) <= 6:
        yield "first cell", f"has {bullets(opening)} goals; three to six can be kept in mind"


def closes_with_what_was_done(notebook, path):
    texts = text_of(notebook)
    headings = [text.splitlines()[0] for text in texts if text]
    recap = next((text for text in texts if "## What you did" in text), None)
    if recap is None:
        yield "", "no '## What you did'"
    elif bullets(recap.split("## What you did")[1]) != bullets(texts[0]):
        yield "", "'## What you did' has not one point for each goal"
    if "## Exercises" not in headings:
        yield "", "no '## Exercises'"
    if headings[-1] != "## Going further":
        yield "last cell", "is not '## Going further'"
    if not re.search("arXiv|doi", texts[-1]):
        yield "last cell", "names no paper (arXiv or doi)"


def asks(notebook, path):
    text = "\n".join(text_of(notebook))
    if path.name.startswith("00"):
        return  # a welcome
    if "> **Predict.**" not in text:
        yield "", "asks for no prediction"
    if (found := len(re.findall(r"^\*\*Exercise \d+\.\d+: ", text, re.MULTILINE))) < 3:
        yield "", f"has {found} exercises; three are wanted"


# --- rules for pages and code ---------------------------------------------------------------------


def claims_in(text):
    for found in CLAIMS.finditer(text):
        around = " ".join(text[max(0, found.start() - 30) : found.end() + 30].split())
        yield f"claims a cure: ...{around}..."


def lost_links(text, path):
    for target in re.findall(r"\]\(([^)#\s]+)[^)\s]*\)", text):
        if "://" not in target and not (path.parent / target).exists():
            yield f"its link leads nowhere: {target}"


def of_a_page(path):
    text = path.read_text(encoding="utf-8")
    yield from claims_in(text)
    yield from lost_links(text, path)


def of_a_module(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    yield from claims_in(ast.get_docstring(tree) or "")


def of_the_whole(root):
    chapters = {path.name for path in (root / "notebooks").glob("[0-9]*.ipynb")}
    solved = {path.name for path in (root / "notebooks" / "solutions").glob("*.ipynb")}
    if not chapters:
        yield "notebooks", "no chapter is there"
    for name in sorted(chapters ^ solved):
        yield f"notebooks/{name}", "a chapter and its solutions need each other"
    for terms in LICENCES:
        if terms not in (root / "LICENSE").read_text(encoding="utf-8"):
            yield "LICENSE", f"does not state {terms!r}"
    teaching = root / "notebooks" / "teaching"
    index = (teaching / "README.md").read_text(encoding="utf-8")
    for path in sorted(teaching.iterdir()):
        shown = path.suffix in (".md", ".py", ".ipynb") and path.name != "README.md"
        if shown and path.name not in index:
            yield "notebooks/teaching/README.md", f"does not name {path.name}"
    coursework = (teaching / "coursework_4_weeks.md").read_text(encoding="utf-8")
    points = sum(int(found) for found in re.findall(r"^\| (\d+) \|", coursework, re.MULTILINE))
    if points != 100:
        yield "notebooks/teaching/coursework_4_weeks.md", f"has {points} points to give, not 100"
    misconceptions = (teaching / "misconceptions.md").read_text(encoding="utf-8")
    for entry in re.split(r"^## ", misconceptions, flags=re.MULTILINE)[1:]:
        if not re.search(r"Notebooks? \d|\(\.\./\d\d_", entry):
            title = entry.splitlines()[0]
            yield "notebooks/teaching/misconceptions.md", f"no cell shakes {title!r}"


# --- advice ---------------------------------------------------------------------------------------


def prints_a_number_where_there_is_one(notebook, path):
    for cell in code_of(notebook):
        for output in cell.get("outputs", []):
            text = output.get("text") or output.get("data", {}).get("text/plain", "")
            for line in text.splitlines():
                if re.search(r"\b(True|False)\b", line) and not re.search(r"\d", line):
                    yield name_of(cell), f"prints {line.strip()!r} and no number"


NOTEBOOK_RULES = (
    was_run_once_from_top_to_bottom,
    keeps_no_trace_of_the_machine,
    is_small,
    cells_fit_on_a_screen,
    writes_no_file,
    pictures_have_words,
    lenient_cells_say_why,
    links_lead_somewhere,
    claims_no_cure,
)
CHAPTER_RULES = (opens_with_what_it_promises, closes_with_what_was_done, asks)
ADVICE = (prints_a_number_where_there_is_one,)


def lint_notebook(path, rules):
    """Sentences about a notebook, where each of the rules is broken."""
    notebook = nbformat.read(path, as_version=4)
    for rule in rules:
        for where, what in rule(notebook, path):
            yield f"{where}: {what}" if where else what


def lint(root=ROOT):
    """Problems and advice of a whole course: two lists of sentences."""
    problems = [f"{where}: {what}" for where, what in of_the_whole(root)]
    advice = []

    def note(path, found, into):
        into.extend(f"{path.relative_to(root).as_posix()}, {what}" for what in found)

    hidden = (".ipynb_checkpoints", ".venv", "outputs", "runs")
    for path in sorted((root / "notebooks").rglob("*.ipynb")):
        if ".ipynb_checkpoints" in path.parts:
            continue
        chapter = path.parent == root / "notebooks"
        note(path, lint_notebook(path, NOTEBOOK_RULES), problems)
        note(path, lint_notebook(path, CHAPTER_RULES if chapter else ()), problems)
        note(path, lint_notebook(path, ADVICE), advice)
    for path in sorted(root.rglob("*.md")):
        if not {*hidden} & {*path.relative_to(root).parts}:
            note(path, of_a_page(path), problems)
    for path in sorted((root / "fairgen_utils").rglob("*.py")):
        note(path, of_a_module(path), problems)
    return problems, advice


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--strict", action="store_true", help="advice counts as a problem")
    options = parser.parse_args(arguments)
    problems, advice = lint()
    for line in [*problems, *advice]:
        print(line)
    habits = Counter(line.partition(",")[0] for line in advice)
    print(f"{len(problems)} problems, {len(advice)} pieces of advice on {len(habits)} notebooks")
    return 1 if problems or (options.strict and advice) else 0


if __name__ == "__main__":
    sys.exit(main())
