"""The website of the notebooks: `make book` builds it, and opening it needs no network.

Pages are the committed notebooks with the outputs they were committed with; nothing is run. The
sources are the repository's own files where they lie, so links between them lead to each other.
"""

import base64
import json
import re
import tomllib
import unicodedata
from pathlib import Path

from docutils.nodes import SkipNode, TextElement, math_block, raw, section, title
from latex2mathml.converter import convert

ROOT = Path(__file__).resolve().parent.parent
EXERCISE = re.compile(r"\*\*Exercise (\d+\.\d+)")
SPHINX_SEARCH = "searchtools|language_data|searchindex"
SEARCH = '<script src="_static/texts.js"></script><script src="_static/search.js"></script>'

# one name for the site, README's
project = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")
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
    """What a page has more than its file: alternative texts, folded solutions, links to them."""
    if not (ROOT / f"{docname}.ipynb").exists():
        return
    notebook = json.loads(source[0])
    notebook["metadata"].pop("widgets", None)  # a page has no kernel, and its frames turn without
    solved = docname.startswith("notebooks/solutions/")
    for cell in notebook["cells"]:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            data.pop("application/vnd.jupyter.widget-view+json", None)
            picture = output.get("metadata", {}).get("image/png", {})
            if "text/html" in data:  # sliders that turn, beside a picture that doesn't
                data.pop("image/png", None)
            elif "alt" in picture:
                cell["metadata"]["mystnb"] = {"image": {"alt": picture["alt"]}}
            for kind, lines in data.items():
                if kind in ("text/html", "text/markdown"):  # links between notebooks
                    data[kind] = [
                        re.sub(r"\b(\d\d_\w+)\.ipynb", r"\1.html", line) for line in lines
                    ]
        if solved and cell["cell_type"] == "code":
            cell["metadata"]["tags"] = [*cell["metadata"].get("tags", []), "hide-input"]
        text = "".join(cell["source"])
        exercise = EXERCISE.match(text)
        if exercise and cell["cell_type"] == "markdown":
            label = f"solution-{exercise[1].replace('.', '-')}"
            link = f"[Worked solution of {exercise[1]}](#{label})"
            cell["source"] = f"({label})=\n{text}" if solved else f"{text}\n\n{link}"
    if solved:
        # reached from their exercises: "Next" leads from chapter to chapter
        notebook["metadata"]["orphan"] = True
    source[0] = json.dumps(notebook)


# MathML is drawn by the browser itself: no script from the network, and screen readers know it
def mathml(latex, display="inline"):
    """A formula; script letters as themselves, since browsers don't know `mathvariant`."""

    def letter(found):
        kind, name = found[1], f"{'CAPITAL' if found[2].isupper() else 'SMALL'} {found[2].upper()}"
        for alphabet in (f"MATHEMATICAL {kind.upper()}", kind.upper()):  # a few are older
            try:
                return f'<mi mathvariant="normal">{unicodedata.lookup(f"{alphabet} {name}")}</mi>'
            except KeyError:
                pass
        return found[0]

    drawn = convert(latex, display=display)
    drawn = re.sub(r'<mi mathvariant="(script|double-struck|bold)">(\w)</mi>', letter, drawn)
    drawn = drawn.replace("<mi>&#x0007E;</mi>", "<mo>&#x0223C;</mo>")
    # bars as high as the line, as in TeX, and a little room around names of functions
    bars = r"<mo>(&#x0(?:2016|2223|2225|007C);)</mo>"
    drawn = re.sub(bars, r'<mo stretchy="false">\1</mo>', drawn)
    return re.sub(
        r"<mi>(arg|det|exp|ln|log|tr)</mi>(?=(<mo[^>]*>(?:&#x00028;|\())?)",
        lambda found: f'<mo lspace=".17em" rspace="{"0" if found[2] else ".17em"}">{found[1]}</mo>',
        drawn,
    )


def inline_math(self, node):
    self.body.append(mathml(node.astext()))
    raise SkipNode


def block_math(self, node):
    self.body.append(f'<div class="math" tabindex="0">{mathml(node.astext(), "block")}</div>')
    raise SkipNode


def texts_of(doctree, docname, name):
    """The text of every section, for the search: [page, heading, address, text]."""
    texts = []
    for part in doctree.findall(section):
        blocks = [
            node.astext()
            for child in part.children
            if not isinstance(child, section | title)
            for node in child.findall(TextElement)
            if not isinstance(node, math_block | raw) and not isinstance(node.parent, TextElement)
        ]
        text = re.sub(r"\s+", " ", " ".join(blocks))
        address = f"{docname}.html#{part['ids'][0]}"
        texts.append([name, part.next_node(title).astext(), address, text])
    return texts


def finish(app, error):
    """The first page where a visitor looks for it; names and focus that the theme forgets."""
    if error:
        return
    out = Path(app.outdir)
    for path in out.rglob("*.html"):
        page = path.read_text(encoding="utf-8")
        page = page.replace("<summary><span", '<summary aria-label="Pages below"><span')
        # wide tables scroll: from the keyboard, too
        page = re.sub(r'<table (?=(border="\d" )?class=)', '<table tabindex="0" ', page)
        # a click on a figure shows it as large as it was drawn; Sphinx links some of them
        page = re.sub(
            r'(?<!">)(<img [^>]*src="((?:\.\./)*_images/[^"]*)"[^>]*>)',
            r'<a class="image-reference" href="\2">\1</a>',
            page,
        )
        if path.name == "search.html":  # Sphinx's own has excerpts only from a server
            page = re.sub(f"<script [^>]*({SPHINX_SEARCH})[^>]*></script>", "", page)
            page = page.replace("</body>", f"{SEARCH}</body>")
        path.write_text(page, encoding="utf-8")
    texts = [
        part
        for name in sorted(app.env.found_docs)
        for part in texts_of(app.env.get_doctree(name), name, app.env.titles[name].astext())
    ]
    (out / "_static" / "texts.js").write_text(f"const texts = {json.dumps(texts)};\n")
    # inside the sheet: a browser that reads from a folder may refuse a font in a file of its own
    sheet, font = out / "_static" / "book.css", out / "_static" / "course_math.woff2"
    inside = f"data:font/woff2;base64,{base64.b64encode(font.read_bytes()).decode()}"
    sheet.write_text(sheet.read_text(encoding="utf-8").replace(font.name, inside), encoding="utf-8")
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
