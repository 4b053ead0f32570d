"""Figures: pictures with words, sheets of faces, knobs that turn."""

import base64
import re

import numpy as np
import pytest

from fairgen_utils import show


def drawing(calls):
    def draw(ax, steps, level):
        calls.append((steps, level))
        if steps == 7:
            raise ValueError("seven is <not> drawn")
        ax.plot([0, steps], [0, level])

    return draw


def knobs(calls):
    return show.knobs(
        drawing(calls), "A line that rises.", (2, 1), steps=(1, 3, 9, 1), level=(0.0, 0.5, 1.0, 0.1)
    )


def test_knobs_draw_lowest_default_and_highest_before_anybody_turns_them():
    calls = []
    knobs(calls)
    assert calls[:3] == [(1, 0.0), (3, 0.5), (9, 1.0)]


def test_turning_a_knob_draws_anew_with_words_for_those_who_do_not_see():
    calls = []
    found = knobs(calls)
    before = found.figure.value
    found.sliders["steps"].value = 8
    assert calls[-1] == (8, 0.5) and found.figure.value != before
    assert "A line that rises." in found.figure.value and "8" in found.figure.value
    png = re.search("base64,([^\"]+)", found.figure.value)[1]
    assert base64.b64decode(png).startswith(b"\x89PNG")


def test_a_value_that_cannot_be_drawn_says_so_and_the_next_one_works():
    found = knobs([])
    found.sliders["steps"].value = 7
    assert "seven is &lt;not&gt; drawn" in found.figure.value
    found.sliders["steps"].value = 8
    assert "<img" in found.figure.value


def test_knobs_tell_a_page_without_kernel_what_they_are():
    assert "run this cell" in repr(knobs([])) and "steps" in repr(knobs([]))


def test_knobs_refuse_a_default_outside_their_ends():
    with pytest.raises(ValueError, match="steps: the default 12"):
        show.knobs(drawing([]), "", steps=(1, 12, 9, 1))


def test_face_sheet_keeps_reading_order():
    images = np.zeros((4, 2, 2, 3), np.uint8)
    images[:] = np.arange(4)[:, None, None, None]
    sheet = show.face_sheet(images, 2)
    assert sheet[::2, ::2, 0].tolist() == [[0, 1], [2, 3]]


def test_face_sheet_refuses_too_few_faces():
    with pytest.raises(ValueError, match="at least 3"):
        show.face_sheet(np.zeros((2, 4, 4, 3), np.uint8), 3)
