"""Make slides from the notebooks: one HTML file each, which needs no network and no kernel.

    python notebooks/teaching/make_slides.py                       # every notebook
    python notebooks/teaching/make_slides.py 03_measuring_bias     # one of them

Headings begin a new column of slides (arrow right), what belongs to them lies below (arrow down).
Of a cell that draws, its figure is shown, with its caption if both fit; of another, what it
printed, and its code only below the text that explains it. A question to predict ends its slide,
so that the room can answer before the next one does. Exercises are left out. The speaker's notes
(key s) have all code, and what will come out after each question.
"""

import argparse
import base64
import importlib.util
import math
import re
import struct
from pathlib import Path

import nbformat
from jinja2 import DictLoader
from latex2mathml.converter import convert
from nbconvert import SlidesExporter
from nbconvert.filters import strip_ansi

NOTEBOOKS = Path(__file__).resolve().parent.parent
LETTERS, LINES = 650, 16  # of text, of code: what fits on a slide
HEIGHT = 640  # pixels of a slide that may be filled
TEXT_LETTERS, TEXT_LINE = 80, 40  # of a line of text: how many letters, how many pixels high
CODE_LETTERS, CODE_LINE = 90, 29
WIDTH, FIGURE = 1250, 480  # of a figure: how wide it is shown, and how high at most
PREDICT = "> **Predict.**"
MATH = re.compile(r"\$\$(.+?)\$\$|(?<![\\$])\$([^$]+?)\$", re.DOTALL)

# nbconvert's page fetches scripts and styles from the network; this one has them inside
TEMPLATE = """{%- extends 'reveal/index.html.j2' -%}
{%- block html_head_js -%}{%- endblock -%}
{%- block html_head_js_mathjax -%}{%- endblock -%}
{%- block html_head_css -%}<style>{{ resources.slides.style }}</style>{%- endblock -%}
{%- block footer_js -%}<script>{{ resources.slides.script }}</script>
<script>Reveal.initialize({plugins: [RevealNotes], hash: true, slideNumber: true,
  width: 1280, height: 720, center: false, transition: "none", margin: 0.02})</script>
{%- endblock -%}
"""
STYLE = """
.reveal .slides section { text-align: left; height: 700px; overflow-y: auto; padding-top: 30px }
.reveal .slides section.stack { overflow: visible; padding: 0 }
.reveal h1, .reveal h2, .reveal h3 { text-transform: none; margin: .3em 0 .6em }
.reveal h1 { font-size: 2em } .reveal h2 { font-size: 1.6em }
.reveal .jp-RenderedHTMLCommon, .reveal p, .reveal li { font-size: 28px; line-height: 1.4 }
.reveal table { font-size: 20px } .reveal .highlight { margin: 0; width: 100%; overflow: hidden }
.reveal pre { font-size: 22px !important; line-height: 1.3; white-space: pre-wrap !important;
  overflow-wrap: anywhere; word-break: normal !important; box-shadow: none; width: 100%;
  margin: 0; box-sizing: border-box }
.reveal img { width: 100%; max-height: 480px; object-fit: contain; display: block; margin: 0 }
.reveal blockquote { width: 90%; font-size: 34px; box-shadow: none; border-left: 6px solid #0072B2;
  padding: .3em 1em }
.jp-InputPrompt, .jp-OutputPrompt, .jp-Collapser, .anchor-link { display: none }
"""


def with_mathml(text):
    """Formulas as MathML, which browsers draw by themselves."""
    return MATH.sub(
        lambda found: convert(found[1], display="block") if found[1] else convert(found[2]), text
    )


def pages_of(text):
    """A text in parts that fit on a slide, cut between paragraphs; questions stand alone."""
    pages = [[]]
    blocks = re.split(r"\n\s*\n", text)
    lists = [re.split(r"\n(?=- )", b) if len(b) > LETTERS else [b] for b in blocks]
    for block in (item for items in lists for item in items):
        alone = block.startswith(PREDICT)
        full = len("".join(pages[-1])) + len(block) > LETTERS
        heading = len(pages[-1]) == 1 and pages[-1][0].startswith("#")
        if pages[-1] and ((alone and not heading) or full or block.startswith("#")):
            pages.append([])
        pages[-1].append(block)
        if alone:
            pages.append([])
    return ["\n\n".join(page) for page in pages if page]


def slides_of(notebook):
    """The notebook as slides, without exercises and without code that only draws."""
    slides = nbformat.v4.new_notebook(metadata=notebook.metadata)
    used = 0  # pixels of the current slide
    parts = _parts(notebook)
    for place, (cell, joins, told) in enumerate(parts):
        joined = joins and used + _height(cell) <= HEIGHT
        if cell.cell_type == "code" and cell.source and not joined:
            # nobody reads code that stands alone: it goes to the notes, what it printed stays
            told, cell.source = _told(cell.source), ""
            cell.metadata["transient"] = {"remove_source": True}
        if cell.cell_type == "markdown" or cell.outputs or cell.source:
            tall = _height(cell)
            used = tall + (used if joined else 0)
            kind = "-" if joined else "subslide"
            if cell.cell_type == "markdown":
                kind = "slide" if cell.source.startswith("#") else kind
                told = told or _answer(cell.source, parts[place + 1 :])
                cell.source = with_mathml(cell.source)
            cell.metadata["slideshow"] = {"slide_type": kind}
            slides.cells.append(cell)
        if told and slides.cells:
            notes = nbformat.v4.new_markdown_cell(told)
            notes.metadata["slideshow"] = {"slide_type": "notes"}
            slides.cells.append(notes)
    return slides


def _told(source):
    """Code, as the speaker's notes have it."""
    return f"```python\n{source}\n```"


def _answer(question, rest):
    """For the notes of a slide that asks: the text that follows it, which says what came out."""
    if PREDICT not in question:
        return ""
    texts = (cell.source for cell, _, _ in rest if cell.cell_type == "markdown")
    return with_mathml("What comes out: " + next(texts, "see the next slide."))


def _parts(notebook):
    """What the slides show, in order, whether each may share the slide before, and its notes."""
    parts = []
    figure = None  # the place after the last figure, as long as no text came between
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            if cell.source.startswith("## Exercises"):
                break
            pages = [nbformat.v4.new_markdown_cell(page) for page in pages_of(cell.source)]
            below = parts and parts[-1][0].cell_type == "code"
            if figure and pages[0].source.startswith("*") and not pages[0].source.startswith("**"):
                parts.insert(figure, (pages.pop(0), True, ""))  # a caption stays with its figure
                below = below and figure == len(parts) - 1
            for page in pages:
                new = page.source.startswith("#") or PREDICT in page.source
                parts.append((page, bool(below and not new), ""))
                below = False
            figure = None
            continue
        pictures = [out for out in cell.outputs if "image/png" in out.get("data", {})]
        for picture in pictures:
            # nbconvert looks for the alternative text one level higher
            picture.metadata["alt"] = picture.metadata.get("image/png", {}).get("alt", "")
            picture.data = {"image/png": picture.data["image/png"]}
            picture.metadata.pop("image/png", None)
            shown = nbformat.v4.new_code_cell("", outputs=[picture])
            shown.metadata["transient"] = {"remove_source": True}
            parts.append((shown, False, _told(cell.source)))
            figure = len(parts)
        if not pictures:
            fits = len(cell.source.splitlines()) <= LINES
            parts.append((_code(cell), fits and bool(parts) and _introduces(parts[-1]), ""))
    return parts


def _introduces(part):
    """Whether code may follow on the slide: below a text that begins it and asks nothing."""
    cell, joins, _ = part
    return cell.cell_type == "markdown" and not joins and PREDICT not in cell.source


def _code(cell):
    """A code cell as a slide shows it, without what is meant for the tests."""
    source = re.sub(r"\A# NBVAL.*\n(#.*\n)?", "", cell.source)
    code = nbformat.v4.new_code_cell(source, outputs=[_short(output) for output in cell.outputs])
    if any("text/markdown" in output.get("data", {}) for output in cell.outputs):
        code.metadata["transient"] = {"remove_source": True}  # it wrote a text; that is the slide
    return code


def _height(cell):
    """About how many pixels high a cell will be."""
    if cell.cell_type == "markdown":
        total = 0
        for block in re.split(r"\n\s*\n|\n(?=- )", cell.source):
            shown = re.sub(r"\(http.*?\)|\(\.\..*?\)|[$*]", "", block)  # no addresses, no marks
            tall = TEXT_LINE * math.ceil(len(shown) / TEXT_LETTERS)
            total += 12 + max(tall, 100 * block.startswith("#"), 80 * ("$$" in block))
        return total
    figures = [out.data["image/png"] for out in cell.outputs if "image/png" in out.get("data", {})]
    if figures:
        # a PNG says its width and height in bytes 16 to 24
        width, height = struct.unpack(">II", base64.b64decode(figures[0][:64])[16:24])
        return min(FIGURE, WIDTH * height / width)
    printed = "".join(_printed(out) for out in cell.outputs)
    lines = [*cell.source.splitlines(), *printed.splitlines()]
    return 40 + CODE_LINE * sum(math.ceil(len(line) / CODE_LETTERS) or 1 for line in lines)


def _printed(output):
    return output.get("text") or output.get("data", {}).get("text/plain", "")


def _short(output):
    """An output of at most as many lines as a slide holds."""
    if output.output_type == "stream":
        lines = strip_ansi(output.text).splitlines()
        if len(lines) > LINES:
            output.text = "\n".join([*lines[: LINES - 1], "..."])
    return output


def reveal():
    """reveal.js and its styles, from the package `sphinx-revealjs`, which carries them."""
    found = importlib.util.find_spec("sphinx_revealjs")
    if found is None:
        raise SystemExit("sphinx-revealjs is not installed: run `make test`, or see README")
    folder = Path(found.origin).parent / "_static" / "revealjs" / "dist"
    sheets = [folder / "reset.css", folder / "reveal.css", folder / "theme" / "white.css"]
    # a theme may ask the network for its fonts; the system's will do
    style = re.sub(r"@import url\([^)]*\);?", "", "".join(s.read_text("utf-8") for s in sheets))
    scripts = [folder / "reveal.js", folder.parent / "plugin" / "notes" / "notes.js"]
    script = "\n".join(path.read_text("utf-8") for path in scripts)
    return {"style": style + STYLE, "script": script}


def write_slides(path, out):
    """Slides of a notebook, as OUT/NAME.html."""
    exporter = SlidesExporter(
        extra_loaders=[DictLoader({"slides.html.j2": TEMPLATE})], template_file="slides.html.j2"
    )
    exporter.exclude_input_prompt = exporter.exclude_output_prompt = True
    page, _ = exporter.from_notebook_node(
        slides_of(nbformat.read(path, 4)),
        {"slides": reveal(), "metadata": {"name": path.stem}},
    )
    page = re.sub(r'<link [^>]*href="https?:[^>]*>', "", page)
    target = out / f"{path.stem}.html"
    target.write_text(page, encoding="utf-8")
    return target


def main(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", help="such as 03_measuring_bias; default: all")
    parser.add_argument("--out", type=Path, default=NOTEBOOKS.parent / "outputs" / "slides")
    options = parser.parse_args(arguments)
    known = {path.stem: path for path in sorted(NOTEBOOKS.glob("[0-9]*.ipynb"))}
    names = [Path(name).stem for name in options.names] or list(known)
    if unknown := sorted(set(names) - set(known)):
        parser.error(f"there is no notebook {unknown}; found {list(known)}")
    options.out.mkdir(parents=True, exist_ok=True)
    for name in names:
        print(write_slides(known[name], options.out))


if __name__ == "__main__":
    main()
