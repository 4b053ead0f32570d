"""What nbval leaves out when it compares, and how long a notebook and the whole course may take."""

from collections import defaultdict

import pytest

# The course promises about 90 seconds a notebook on two cores; a slower or busier machine gets
# twice that before it is an error.
NOTEBOOK_SECONDS = 180
COURSE_SECONDS = 12 * 60
SOLUTIONS_SECONDS = 8 * 60

spent = defaultdict(float)


def over_budget(seconds):
    """Sentences about what took too long, from seconds by notebook path."""
    course = {name: took for name, took in seconds.items() if "solutions/" not in name}
    solutions = sum(seconds.values()) - sum(course.values())
    problems = [
        f"{name} took {took:.0f} s; a notebook has {NOTEBOOK_SECONDS} s"
        for name, took in seconds.items()
        if took > NOTEBOOK_SECONDS
    ]
    totals = (
        ("the course", sum(course.values()), COURSE_SECONDS),
        ("its solutions", solutions, SOLUTIONS_SECONDS),
    )
    return problems + [
        f"{name} took {took:.0f} s together; budget: {budget} s"
        for name, took, budget in totals
        if took > budget
    ]


def pytest_collectstart(collector):
    # progress bars go to stderr, widgets are numbered anew: both differ between any two runs
    if hasattr(collector, "skip_compare"):
        collector.skip_compare += ("stderr", "application/vnd.jupyter.widget-view+json")


def pytest_runtest_logreport(report):
    spent[report.location[0]] += report.duration


def pytest_sessionfinish(session, exitstatus):
    if over_budget(spent) and not exitstatus:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter):
    terminalreporter.section("seconds a notebook")
    for name, took in sorted(spent.items()):
        terminalreporter.line(f"{took:6.0f}  {name}")
    for problem in over_budget(spent):
        terminalreporter.line(f"TOO SLOW: {problem}", red=True)
