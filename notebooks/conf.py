"""The website of the notebooks: `make book` builds it, and opening it needs no network.

Pages are the committed notebooks with the outputs they were committed with; nothing is run. The
sources are the repository's own files where they lie, so links between them lead to each other.
"""

import json
import re
import tomllib
from pathlib import Path

from docutils.nodes import SkipNode
from latex2mathml.converter import convert

ROOT = Path(__file__).resolve().parent.parent
CHAPTER = re.compile(r"notebooks/\d\d_\w+")

project = "Bias in face generators"
author = "the course's authors"
version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
copyright = "text CC BY 4.0, code MIT"  # Sphinx's name for the line at the bottom
language = "en"

extensions = ["myst_nb", "sphinx_copybutton"]
root_doc = "notebooks/index"
include_patterns = ["README.md", "data/*/*.md", "notebooks/**.md", "notebooks/**.ipynb"]
exclude_patterns = ["**/.ipynb_checkpoints", "**/templates"]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "off"
nb_merge_streams = True
nb_code_prompt_show = "Show the code"
nb_code_prompt_hide = "Hide the code"

html_theme = "sphinx_book_theme"
html_title = project
html_math_renderer = "mathml"
html_copy_source = False
html_show_sphinx = False
html_theme_options = {
    "show_toc_level": 2,
    "use_download_button": False,
    "use_fullscreen_button": False,
    "show_navbar_depth": 1,
    "navbar_persistent": [],
}
html_context = {"default_mode": "auto"}
html_static_path = ["_static"]
html_css_files = ["book.css"]


def prepare(app, docname, source):
    """What a page has more than its file: alternative texts, folded solutions, their place."""
    if not (ROOT / f"{docname}.ipynb").exists():
        return
    notebook = json.loads(source[0])
    for cell in notebook["cells"]:
        for output in cell.get("outputs", []):
            picture = output.get("metadata", {}).get("image/png", {})
            if "alt" in picture:
                cell["metadata"]["mystnb"] = {"image": {"alt": picture["alt"]}}
            for kind, lines in output.get("data", {}).items():
                if kind in ("text/html", "text/markdown"):  # links between notebooks
                    output["data"][kind] = [
                        re.sub(r"\b(\d\d_\w+)\.ipynb", r"\1.html", line) for line in lines
                    ]
        if docname.startswith("notebooks/solutions/") and cell["cell_type"] == "code":
            cell["metadata"]["tags"] = [*cell["metadata"].get("tags", []), "hide-input"]
    if CHAPTER.fullmatch(docname):
        # under its chapter in the table of contents, and folded there
        place = f"```{{toctree}}\n:hidden:\nsolutions/{Path(docname).name}\n```"
        cell = {"cell_type": "markdown", "id": "solutions", "metadata": {}, "source": place}
        notebook["cells"].insert(1, cell)
    source[0] = json.dumps(notebook)


# MathML is drawn by the browser itself: no script from the network, and screen readers know it
def inline_math(self, node):
    self.body.append(convert(node.astext()))
    raise SkipNode


def block_math(self, node):
    self.body.append(f'<div class="math">{convert(node.astext(), display="block")}</div>')
    raise SkipNode


def finish(app, error):
    """The first page where a visitor looks for it; names and focus that the theme forgets."""
    if error:
        return
    out = Path(app.outdir)
    for path in out.rglob("*.html"):
        page = path.read_text(encoding="utf-8")
        named = page.replace("<summary><span", '<summary aria-label="Pages below"><span')
        # wide tables scroll: from the keyboard, too
        path.write_text(
            re.sub(r'<table (?=(border="\d" )?class=)', '<table tabindex="0" ', named),
            encoding="utf-8",
        )
    target = f"{root_doc}.html"
    (out / "index.html").write_text(
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{project}</title>'
        f'<meta http-equiv="refresh" content="0; url={target}"></head>'
        f'<body><a href="{target}">{project}</a></body></html>\n'
    )


def setup(app):
    app.connect("source-read", prepare)
    app.connect("build-finished", finish)
    app.add_html_math_renderer("mathml", (inline_math, None), (block_math, None))
