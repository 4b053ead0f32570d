"""What nbval leaves out when it compares, and how long each notebook takes.

Slowness is no error: `make times` writes the seconds beside the course's promise, for a reader.
"""

import csv
import os
from collections import defaultdict
from pathlib import Path

import pytest

# what the course promises on two cores that do nothing else
NOTEBOOK_SECONDS = 180
COURSE_SECONDS = 12 * 60
SOLUTIONS_SECONDS = 8 * 60

spent = defaultdict(float)
failed = set()


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


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter, config):
    terminalreporter.section("seconds a notebook, and what the course promises")
    rows = times(spent)
    for name, took, promised in rows:
        terminalreporter.line(f"{took:6.0f} {promised:6.0f}  {name}")
    path = config.getoption("--times")
    if path and failed:
        terminalreporter.line(f"{path} is not written: {', '.join(sorted(failed))} failed")
    elif path:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        with path.open("w", newline="", encoding="utf-8") as file:
            table = csv.writer(file, lineterminator="\n")
            table.writerow(["notebook", "seconds", "promised", "cores"])
            table.writerows([name, round(took), promised, cores] for name, took, promised in rows)
