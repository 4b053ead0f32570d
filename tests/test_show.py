"""Figures: pictures with words, sheets of faces, knobs that turn."""

import base64
import html
import io
import json
import re

import matplotlib.pyplot as plt
import numpy as np
import PIL.Image
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from fairgen_utils import _frames, show


def drawing(calls):
    def draw(ax, steps, level):
        calls.append((steps, level))
        if steps == 8:
            raise ValueError("eight is <not> drawn")
        ax.plot([0, steps], [0, level])

    return draw


def knobs(calls):
    return show.knobs(
        drawing(calls), "A line that rises.", (2, 1), steps=(1, 3, 9, 1), level=(0.0, 0.5, 1.0, 0.1)
    )


def test_knobs_draw_lowest_default_and_highest_as_one_picture_for_slides():
    calls = []
    data, words = knobs(calls)._repr_mimebundle_()
    assert calls[-3:] == [(1, 0.0), (3, 0.5), (9, 1.0)]
    assert base64.b64decode(data["image/png"]).startswith(b"\x89PNG")
    assert words["image/png"]["alt"] == "A line that rises."


def test_knobs_carry_frames_of_every_combination_for_pages_without_a_kernel():
    page = knobs([])._repr_mimebundle_()[0]["text/html"]
    stops = [json.loads(html.unescape(text)) for text in re.findall(r'data-values="(.*?)"', page)]
    assert stops[0][0] == "1" and stops[0][-1] == "9" and "3" in stops[0]
    assert stops[1][0] == "0" and stops[1][-1] == "1" and "0.5" in stops[1]
    frames = json.loads(re.search(r"frames = (\[.*?\])", page)[1])
    assert len(frames) == len(stops[0]) * len(stops[1]) and len(set(frames)) > len(frames) / 2
    assert len(page) < 200_000
    # the one on show before anybody turns anything is the default's
    shown = frames[stops[0].index("3") * len(stops[1]) + stops[1].index("0.5")]
    assert f'src="data:image/webp;base64,{shown}"' in page


def test_a_slider_s_figure_is_as_large_with_a_kernel_as_without():
    knobs = show.knobs(lambda ax, a: ax.plot([0, a]), "A line.", (4, 3), a=(1, 2, 3, 1))
    wide = round(4 * show.SLIDER_DPI)
    assert f"width:{wide}px" in knobs.figure.value
    assert f'style="max-width:{wide}px"' in knobs._repr_mimebundle_()[0]["text/html"]


def test_frames_of_noise_still_fit_into_a_notebook():
    pictures = list(np.random.default_rng(0).integers(0, 255, (21, 240, 420, 3), dtype=np.uint8))
    values = _frames.grid({"timestep": (0, 600, 990, 10)})
    page = _frames.slider_page(pictures, values, {"timestep": 600}, "Noise.")
    assert len(values["timestep"]) == 21 and 600 in values["timestep"]
    assert len(page) < 400_000


def test_frames_of_many_points_keep_their_size_and_their_lines():
    def draw(ax, components, timestep):
        rng = np.random.default_rng(components)
        ax.plot(*rng.normal(size=(2, 1500)), ".", ms=3, color="0.8")
        ax.plot([-3, 3], [0, timestep / 300], color=show.FAIR, lw=2)
        ax.set(xlim=(-4, 4), ylim=(-4, 4))

    sliders = {"components": (1, 4, 12, 1), "timestep": (0, 250, 900, 50)}
    page = show.knobs(draw, "Points and a line.", **sliders)._repr_mimebundle_()[0]["text/html"]
    shown = PIL.Image.open(io.BytesIO(base64.b64decode(re.search('webp;base64,([^"]+)', page)[1])))
    assert shown.width > 400 and len(page) < 400_000
    # the line's own blue is there, unblurred
    wanted = np.array([int(show.FAIR[i : i + 2], 16) for i in (1, 3, 5)])
    near = np.abs(np.asarray(shown.convert("RGB")).astype(int) - wanted).max(axis=2) < 12
    assert near.sum() > 200


def test_words_of_a_slider_cannot_end_its_script():
    picture = np.zeros((4, 4, 3), np.uint8)
    page = _frames.slider_page([picture], {"n": [1]}, {"n": 1}, "a </script><b> & \"c\"")
    assert page.count("</script>") == 1 and page.endswith("</script></div>")


def test_words_and_frames_of_a_slider_keep_out_of_each_other(monkeypatch):
    monkeypatch.setattr(_frames, "_webp", lambda *arguments: "FRAMES/ALT")
    page = _frames.slider_page([np.zeros((4, 4, 3), np.uint8)], {"n": [1]}, {"n": 1}, "ALT, FRAMES")
    assert 'frames = ["FRAMES/ALT"], alt = "ALT, FRAMES";' in page


@pytest.mark.parametrize("inches", [4.2, 7, 15])
def test_no_letter_is_smaller_than_eleven_pixels_where_the_page_is_790_wide(inches):
    fig = Figure(figsize=(inches, 4), layout="constrained")
    ax = fig.subplots()
    ax.bar(["a", "b"], [1, 2], label="bars")
    ax.tick_params(labelsize=5)
    ax.legend(fontsize="xx-small", title="t", title_fontsize=4)
    ax.text(0, 1, "note", fontsize=6)
    show.picture(fig, "Two bars.")
    pixels = [text.get_fontsize() / 72 * 790 / inches for text in fig.findobj(Text)]
    assert min(pixels) == pytest.approx(11, abs=0.01) or min(pixels) > 11


@pytest.mark.parametrize("n", [4, 6, 9])
def test_captions_of_neighbouring_faces_do_not_run_into_each_other(n):
    faces = np.zeros((n, 8, 8, 3), np.uint8)
    fig = show.face_rows({"plain": faces, "guided": faces}, ["female european middle"] * n)
    show.picture(fig, "Black faces with long names.", 790)
    fig.draw_without_rendering()
    boxes = [ax.xaxis.label.get_window_extent() for ax in fig.axes[-n:]]
    assert all(one.x1 < other.x0 for one, other in zip(boxes, boxes[1:], strict=False))
    assert min(box.y0 for box in boxes) >= 0 and boxes[0].height > 0


def test_each_row_of_faces_has_its_own_words_and_words_for_no_row_are_refused():
    rows = {name: np.zeros((2, 4, 4, 3), np.uint8) for name in ("plain", "guided")}
    words = {"plain": ["one", "two"], "guided": ["three", "four"]}
    fig = show.face_rows(rows, words)
    assert [ax.get_xlabel() for ax in fig.axes] == ["one", "two", "three", "four"]
    fig = show.face_rows(rows, words["plain"])
    assert [ax.get_xlabel() for ax in fig.axes] == ["", "", "one", "two"]
    for wrong in ({"fair": ["one", "two"]}, {"plain": ["one"]}, ["one"]):
        with pytest.raises(ValueError, match="captions: found"):
            show.face_rows(rows, wrong)


def test_figures_for_threads_are_none_of_pyplots():
    panels = [("gender", ["female", "male"], {"plain": (show.PLAIN, [0.3, 0.7], None)}, [0.5, 0.5])]
    faces = np.zeros((40, 4, 4, 3), np.uint8)
    before = plt.get_fignums()
    figures = [show.face_rows({"plain": faces}), show.before_after(faces, faces, panels)]
    knobs([])
    assert plt.get_fignums() == before  # the inline backend would draw and close them
    assert not [figure for figure in figures if figure.canvas.manager]


def test_turning_a_knob_draws_anew_with_words_for_those_who_do_not_see():
    calls = []
    found = knobs(calls)
    before = found.figure.value
    found.sliders["steps"].value = 7
    assert calls[-1] == (7, 0.5) and found.figure.value != before
    assert "A line that rises." in found.figure.value and "7" in found.figure.value
    png = re.search("base64,([^\"]+)", found.figure.value)[1]
    assert base64.b64decode(png).startswith(b"\x89PNG")


def test_a_value_that_cannot_be_drawn_says_so_and_the_next_one_works():
    found = knobs([])
    found.sliders["steps"].value = 8
    assert "eight is &lt;not&gt; drawn" in found.figure.value
    found.sliders["steps"].value = 7
    assert "<img" in found.figure.value


def test_knobs_tell_a_page_without_kernel_what_they_are():
    assert "run this cell" in repr(knobs([])) and "steps" in repr(knobs([]))


def test_knobs_refuse_a_default_outside_their_ends():
    with pytest.raises(ValueError, match="steps: .*default lies between the ends"):
        show.knobs(drawing([]), "", steps=(1, 12, 9, 1))


def test_knobs_refuse_more_sliders_than_frames_can_serve():
    with pytest.raises(ValueError, match="sliders: found 4"):
        show.knobs(drawing([]), "", **{name: (0, 1, 2, 1) for name in "abcd"})


def test_face_sheet_keeps_reading_order():
    images = np.zeros((4, 2, 2, 3), np.uint8)
    images[:] = np.arange(4)[:, None, None, None]
    sheet = show.face_sheet(images, 2)
    assert sheet[::2, ::2, 0].tolist() == [[0, 1], [2, 3]]


def test_face_sheet_refuses_too_few_faces():
    with pytest.raises(ValueError, match="at least 3"):
        show.face_sheet(np.zeros((2, 4, 4, 3), np.uint8), 3)
