"""How nbval compares a notebook's outputs, how long each notebook takes and how much memory.

Slowness is no error: `make times` writes the seconds beside the course's promise, for a reader.
"""

import csv
import os
import platform
import re
from collections import defaultdict
from pathlib import Path

import nbval.plugin
import pytest
from comparator import differences, reason_of, widened

# what the course promises on two cores that do nothing else
NOTEBOOK_SECONDS = 180
COURSE_SECONDS = 12 * 60
SOLUTIONS_SECONDS = 8 * 60

spent, held = defaultdict(float), defaultdict(float)
failed = set()
lenient = []


def cores():
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def machine():
    """What this computer calls its processor."""
    told = Path("/proc/cpuinfo")
    lines = told.read_text(encoding="utf-8").splitlines() if told.exists() else []
    named = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()


def times(seconds):
    """Rows of notebook, seconds and what the course promises, from seconds by notebook path."""
    course = {name: took for name, took in seconds.items() if "solutions/" not in name}
    solutions = sum(seconds.values()) - sum(course.values())
    each = [(name, took, NOTEBOOK_SECONDS) for name, took in sorted(seconds.items())]
    return [
        *each,
        ("all notebooks of the course", sum(course.values()), COURSE_SECONDS),
        ("all solutions", solutions, SOLUTIONS_SECONDS),
    ]


def peak(process):
    """Gigabytes that a process has held at most; 0 where the system does not say (not Linux)."""
    try:
        told = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0.0
    return int(re.search(r"VmHWM:\s*(\d+) kB", told)[1]) / 1e6


class Output(str):
    """A text output that equals another when only rounding lies between them."""

    tolerance = None

    def __eq__(self, other):
        return not differences(str(self), str(other), self.tolerance)

    def __ne__(self, other):
        return not self == other

    __hash__ = str.__hash__


class Cell(nbval.plugin.IPyNbCell):
    """nbval's test of a cell, with numbers compared as numbers."""

    tolerance = None

    def runtest(self):
        try:
            self.tolerance = widened(self.cell)
            if self.tolerance:
                self.user_properties.append(("lenient", self.tolerance.words))
            if not self.options["check"] or self.options["skip"]:
                self.user_properties.append(("lenient", f"not compared: {reason_of(self.cell)}"))
        except ValueError as problem:
            self.raise_cell_error(str(problem))
        try:
            super().runtest()
        finally:
            gigabytes = peak(self.parent.kernel.km.provisioner.pid)
            self.user_properties.append(("gigabytes", gigabytes))

    def sanitize(self, s):
        s = super().sanitize(s)
        if isinstance(s, str):
            s = Output(s)
            s.tolerance = self.tolerance
        return s

    def format_output_compare(self, key, left, right):
        if isinstance(left, str):
            self.comparison_traceback += differences(str(left), str(right), self.tolerance)
        super().format_output_compare(key, left, right)


def pytest_configure(config):
    # notebooks side by side share the cores; threads of both on each would wait for one another
    if beside := os.environ.get("PYTEST_XDIST_WORKER_COUNT"):
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores() // int(beside))))


def pytest_itemcollected(item):
    if type(item) is nbval.plugin.IPyNbCell:
        item.__class__ = Cell  # nbval makes its cells itself, and asks nobody of which class


def pytest_addoption(parser):
    parser.addoption("--times", type=Path, help="write each notebook's seconds to this table")


def pytest_collectstart(collector):
    # progress bars go to stderr, widgets are numbered anew: both differ between any two runs
    if hasattr(collector, "skip_compare"):
        collector.skip_compare += ("stderr", "application/vnd.jupyter.widget-view+json")


def pytest_runtest_logreport(report):
    spent[report.location[0]] += report.duration
    if report.failed:
        failed.add(report.location[0])
    if report.when == "call":
        for name, value in report.user_properties:
            if name == "gigabytes":
                held[report.location[0]] = max(held[report.location[0]], value)
        lenient.extend(
            f"{report.location[2]}: {words}"
            for name, words in report.user_properties
            if name == "lenient"
        )


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter, config):
    terminalreporter.section("a notebook's seconds, what the course promises, gigabytes of memory")
    rows = [(*row, held.get(row[0], max(held.values(), default=0))) for row in times(spent)]
    for name, took, promised, gigabytes in rows:
        terminalreporter.line(f"{took:6.0f} {promised:6.0f} {gigabytes:6.2f}  {name}")
    if lenient:
        terminalreporter.section("cells that are compared less strictly, and why")
        for line in sorted(lenient):
            terminalreporter.line(line)
    path = config.getoption("--times")
    if path and failed:
        terminalreporter.line(f"{path} is not written: {', '.join(sorted(failed))} failed")
    elif path:
        with path.open("w", newline="", encoding="utf-8") as file:
            table = csv.writer(file, lineterminator="\n")
            head = ["notebook", "seconds", "promised", "gigabytes", "threads", "cores", "machine"]
            where = os.environ.get("OMP_NUM_THREADS") or cores(), cores(), machine()
            table.writerow(head)
            for name, took, promised, gigabytes in rows:
                table.writerow([name, round(took), promised, f"{gigabytes:.2f}", *where])
