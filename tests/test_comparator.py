"""A notebook's committed numbers: rounding passes, a change does not, nobody looks away unsaid."""

import re
import shutil
import subprocess
import sys

import nbformat
import pytest
from browser import ROOT
from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(ROOT / "notebooks"))
from comparator import differences, widened  # noqa: E402

sys.path.remove(str(ROOT / "notebooks"))


def cell(*tags, source="print(1)", **metadata):
    return nbformat.v4.new_code_cell(source, metadata={"tags": list(tags), **metadata})


def asked(tag):
    return widened(cell(tag, reason="drawn anew each time"))


# --- what passes ---------------------------------------------------------------------------------

ROUNDING = [
    ("FD 0.207", "FD 0.208"),
    ("FD .207", "FD .206"),
    ("a change of -0.00", "a change of 0.00"),
    ("+0.31 to -0.02", "+0.32 to -0.03"),
    ("0.02 to 0.05", "0.02 to 0.06"),
    ("[0.02, 0.05], N = 4,800", "[0.03, 0.04], N = 4,800"),
    ("0.02-0.05", "0.02-0.06"),
    ("0.31 ± 0.02", "0.30 ± 0.03"),
    ("about 54 % of them, 7% of all", "about 55 % of them, 8% of all"),
    ("54 per cent", "53 per cent"),
    ("12.5 %", "12.4 %"),
    ("9.99e-05", "1.00e-04"),
    ("off by 1e-16", "off by 3.3e-17"),
    ("0.12345678901234567", "0.12345671"),
    ("0.3", "0.30000000000000004"),
    ("1,204 of 2000 faces", "1,203 of 2000 faces"),
    ("took 12.4 minutes", "took 12.5 minutes"),
    ("        fd\n0   9.99\n1  -1.20", "         fd\n0   10.00\n1   -1.20"),
    ("| plain | 0.99 |\n|-------|------|", "| plain | 1.00 |\n|-------|-------|"),
    ("<td>0.31</td>", "<td>0.32</td>"),
    ("[0.1 0.2]", "[ 0.1 -0.0]".replace("-0.0", "0.3")),
]


@pytest.mark.parametrize(("committed", "found"), ROUNDING)
def test_rounding_the_other_way_passes(committed, found):
    assert not differences(committed, found)
    assert not differences(found, committed)


@given(st.floats(-1e6, 1e6), st.integers(1, 6))
def test_a_number_off_by_float_noise_passes_in_every_format(value, digits):
    noisy = value * (1 + 1e-6)
    for form in (f".{digits}f", f".{digits}e", f"+.{digits}f", f".{digits}%"):
        assert not differences(f"x = {value:{form}}", f"x = {noisy:{form}}")
    assert not differences(f"x = {value!r}", f"x = {noisy!r}")


# --- what does not -------------------------------------------------------------------------------

CHANGES = [
    ("FD 0.207", "FD 0.209"),
    ("FD .207", "FD .197"),
    ("a change of 0.31", "a change of -0.31"),
    ("0.02 to 0.05", "0.02 to 0.07"),
    ("0.02-0.05", "0.02-0.07"),
    ("54 %", "56 %"),
    ("54", "55"),
    ("6 of 6 groups", "5 of 6 groups"),
    ("18 cells: 5.", "18 cells: 6."),
    ("N = 4,800", "N = 4,802"),
    ("216 of 300", "213 of 300"),
    ("1.0e-05", "1.2e-05"),
    ("1.0e-05", "1.0e-06"),
    ("13:05", "13:06"),
    ("True", "False"),
    ("0.31", "nan"),
    ("0.31 better", "0.31 worse"),
    ("0.31", "0.31 and 0.40"),
    ("torch 2.1.3", "torch 2.1.4"),
    ("fp16", "fp32"),
    ("64x64", "64x32"),
    ("plain 0.31\nfair 0.12", "fair 0.31\nplain 0.12"),
    ("plain 0.31\nfair 0.12", "plain 0.31 fair 0.12"),
    ("        fd\n0   0.31\n1   0.12", "        fd\n0   0.31\n1   0.15"),
    ("        fd\n0   0.31", "        kl\n0   0.31"),
    ("<td>0.31</td>", "<td>0.35</td>"),
    ("Exercise 1.1: correct.", "Exercise 1.1: not answered yet."),
    ("", "0.31"),
]


@pytest.mark.parametrize(("committed", "found"), CHANGES)
def test_a_change_is_named(committed, found):
    assert differences(committed, found)
    assert differences(found, committed)


@given(st.floats(-1e6, 1e6), st.integers(0, 6), st.floats(2.01, 1e6), st.sampled_from([-1, 1]))
def test_a_number_off_by_more_than_two_units_never_passes(value, digits, units, sign):
    step = units * 10.0**-digits + 3e-5 * abs(value)
    changed = value + sign * step
    assert differences(f"x = {value:.{digits}f}.", f"x = {changed:.{digits}f}.")


def test_every_changed_number_is_listed_with_what_it_may_differ_by():
    said = differences("a 0.31, b 0.50, c 7", "a 0.35, b 0.50, c 8")
    assert said == [
        "0.31 became 0.35; it may differ by 0.010",
        "7 became 8; it may differ by 0",
    ]


# --- cells that ask for more ---------------------------------------------------------------------


def test_a_cell_may_ask_for_more_by_an_amount_or_a_part():
    assert not differences("0.31, 7 faces", "0.33, 7 faces", asked("tolerance:0.02"))
    assert differences("0.31, 7 faces", "0.34, 7 faces", asked("tolerance:0.02"))
    assert not differences("230 faces/s", "250 faces/s", asked("tolerance:10%"))
    assert differences("230 faces/s", "260 faces/s", asked("tolerance:10%"))
    assert differences("230 faces/s", "230 faces/h", asked("tolerance:10%"))


def test_the_smallest_tolerance_takes_nothing_away():
    assert not differences("0.31", "0.32", asked("tolerance:0.0001"))


def test_a_reason_stands_in_the_metadata_or_in_a_comment():
    assert widened(cell("exercise")) is None
    assert asked("tolerance:0.02").reason == "drawn anew each time"
    commented = cell("tolerance:0.02", source="# reason: speed of this machine\nx")
    assert widened(commented).reason == "speed of this machine"


@pytest.mark.parametrize(
    ("tags", "metadata", "said"),
    [
        (["tolerance:0.02"], {}, "reason"),
        (["tolerance:0.02"], {"reason": "because"}, "three words"),
        *[
            ([tag], {"reason": "drawn anew each time"}, "write tolerance:0.02")
            for tag in ("tolerance", "tolerance:", "tolerance:much", "tolerance:0", "tolerance:-1")
        ],
        *[
            ([tag], {"reason": "drawn anew each time"}, "write tolerance:0.02")
            for tag in ("tolerance:inf", "tolerance:nan", "tolerance:90%", "tolerance:2 points")
        ],
        (["tolerance:0.1", "tolerance:0.2"], {"reason": "drawn anew each time"}, "one tolerance"),
    ],
)
def test_a_tolerance_without_a_reason_or_a_number_is_refused(tags, metadata, said):
    with pytest.raises(ValueError, match=said):
        widened(cell(*tags, **metadata))


# --- the course's own outputs --------------------------------------------------------------------

# a notebook, what one of its cells printed, and what a wrong change would have made of it
MUTATIONS = {
    "a larger FD": ("00_*", r"(plain +0)\.\d", r"\1.9"),
    "another sample": ("07_*", r"N = \d+", "N = 17"),
    "a share of another size": ("08_*", r"(plain faces: 0)\.\d", r"\1.0"),
    "a sign that turned": ("08_*", r"(gender, gap, weights +)-", r"\1+"),
    "a floor that fell": ("09_*", r"(race .*floor 0)\.\d\d", r"\1.01"),
    "an interval that lost its end": ("01_*", r" to (0\.\d+)\)", r" to 0.999)"),
}


def printed(name):
    """Cells of a committed notebook, each with what it printed."""
    (path,) = (ROOT / "notebooks").glob(f"{name}.ipynb")
    for made in nbformat.read(path, as_version=4).cells:
        text = "".join(o.get("text", "") for o in made.get("outputs", []))
        if text:
            yield made, text


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_a_changed_number_of_a_notebook_is_caught_whatever_its_cell_allows(mutation):
    name, pattern, becomes = MUTATIONS[mutation]
    cells = [(made, text) for made, text in printed(name) if re.search(pattern, text)]
    assert cells, f"no cell of {name} prints {pattern}"
    for made, text in cells[:1]:
        changed = re.sub(pattern, becomes, text, count=1)
        assert changed != text
        assert differences(text, changed, widened(made))
        assert not differences(text, text, widened(made))


# --- as nbval runs it ----------------------------------------------------------------------------


def run(folder, *cells):
    """Test a notebook as the course's are tested: (source, committed output, tags, metadata)."""
    notebook = nbformat.v4.new_notebook()
    for number, (source, committed, tags, metadata) in enumerate(cells, 1):
        new = cell(*tags, source=source, **metadata)
        new.execution_count = number
        new.outputs = [nbformat.v4.new_output("stream", name="stdout", text=committed)]
        notebook.cells.append(new)
    nbformat.write(notebook, folder / "numbers.ipynb")
    for name in ("conftest.py", "comparator.py"):
        shutil.copy(ROOT / "notebooks" / name, folder)
    command = [sys.executable, "-m", "pytest", "--nbval", "--nbval-current-env", "--color=no", "."]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


@pytest.mark.slow
def test_nbval_lets_rounding_pass_and_no_changed_number(tmp_path):
    why = {"reason": "drawn anew each time"}
    result = run(
        tmp_path,
        ("print('FD', 0.312)", "FD 0.311\n", [], {}),
        ("print('FD', 0.35)", "FD 0.31\n", [], {}),
        ("print('FD', 0.35)", "FD 0.31\n", ["tolerance:0.05"], why),
        ("print('FD', 0.35)", "FD 0.31\n", ["tolerance:0.05"], {}),
        ("# NBVAL_IGNORE_OUTPUT\nprint(2)", "1\n", [], {}),
        ("# NBVAL_IGNORE_OUTPUT\nprint(2)", "1\n", [], why),
        ("print(True)", "False\n", [], {}),
        (
            "import pandas as pd\nprint(pd.DataFrame({'fd': [0.31, 10.0]}))",
            "     fd\n0  0.32\n1  9.99\n",
            [],
            {},
        ),
        ("print(pd.DataFrame({'fd': [0.31, 0.5]}))", "     fd\n0  0.31\n1  0.35\n", [], {}),
    )
    failed = set(re.findall(r"^FAILED .*::(Cell \d+)", result.stdout, re.MULTILINE))
    assert failed == {f"Cell {number}" for number in (1, 3, 4, 6, 8)}, result.stdout
    assert "0.31 became 0.35; it may differ by 0.010" in result.stdout
    assert "Cell 2: numbers may differ by 0.05: drawn anew each time" in result.stdout
    assert "Cell 5: not compared: drawn anew each time" in result.stdout
