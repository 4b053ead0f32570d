"""Write the exercises of every notebook from its worked solution, so that the two cannot drift.

A solution notebook is the source. Its cells tagged `exercise` go to the end of the notebook of the
same name, before "Going further"; what stands between the lines `# your answer` and
`# end of your answer` becomes `...`. With `--check`, nothing is written: a difference is an error.
"""

import argparse
import ast
import re
import textwrap
from pathlib import Path

import nbformat

HERE = Path(__file__).resolve().parent
ANSWER = re.compile(
    r"^( *)# your answer\n(.*?)^ *# end of your answer\n?", re.DOTALL | re.MULTILINE
)


def blank(source):
    """A cell's source with each answer as a stub: names still to be given, or a value to return."""
    while match := ANSWER.search(source):
        indent, answer = match.groups()
        after = source[match.end() :]
        body = ast.parse("def f():\n" + textwrap.indent(textwrap.dedent(answer), " ")).body[0].body
        if any(isinstance(node, ast.Return) for node in body):
            stub = f"{indent}return ...  # your answer\n"
        else:
            # only names that the rest of the cell asks for: the others are steps on the way
            targets = [t for node in body if isinstance(node, ast.Assign) for t in node.targets]
            names = [n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)]
            wanted = [name for name in names if re.search(rf"\b{name}\b", after)]
            stub = "".join(f"{indent}{name} = ...  # your answer\n" for name in wanted)
        source = source[: match.start()] + stub + after
    return source


def exercises_of(solution):
    """The exercise cells of a solution notebook, with the answers taken out."""
    cells = []
    for cell in solution.cells:
        if "exercise" not in cell.metadata.get("tags", []):
            continue
        make = nbformat.v4.new_code_cell
        if cell.cell_type == "markdown":
            make = nbformat.v4.new_markdown_cell
        source = blank(cell.source + "\n").rstrip("\n")
        cells.append(make(source, id=f"exercise-{len(cells):02d}", metadata={"tags": ["exercise"]}))
    return cells


def with_exercises(notebook, cells):
    """The notebook's cells, its old exercises replaced; unchanged ones keep their outputs."""
    old = {c.source: c for c in notebook.cells if "exercise" in c.metadata.get("tags", [])}
    kept = [c for c in notebook.cells if "exercise" not in c.metadata.get("tags", [])]
    place = next(i for i, c in enumerate(kept) if c.source.startswith("## Going further"))
    tag = {"metadata": {"tags": ["exercise"]}}
    words = "## Exercises\n\nWorked solutions are in `solutions/`, under this notebook's name."
    opening = [
        nbformat.v4.new_markdown_cell(words, id="exercises", **tag),
        nbformat.v4.new_code_cell("from fairgen_utils import course", id="checks", **tag),
    ]
    new = [old.get(cell.source, cell) for cell in opening + cells]
    return kept[:place] + new + kept[place:]


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument(
        "--check", action="store_true", help="write nothing, fail if one differs"
    )
    options = arguments.parse_args()
    for path in sorted((HERE / "solutions").glob("*.ipynb")):
        notebook = nbformat.read(HERE / path.name, as_version=4)
        cells = with_exercises(notebook, exercises_of(nbformat.read(path, as_version=4)))
        if [c.source for c in cells] == [c.source for c in notebook.cells]:
            continue
        if options.check:
            raise SystemExit(f"{path.name}: the exercises differ; run notebooks/make_exercises.py")
        notebook.cells = cells
        nbformat.write(notebook, HERE / path.name)
        print(f"{path.name}: exercises written; run the notebook again")


if __name__ == "__main__":
    main()
