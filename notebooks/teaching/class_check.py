"""A class's machines, a line each: who is ready for the course, and what the others must do.

Everybody runs it and sends the line it prints; the line holds no name unless `--name` gives one:

    python notebooks/teaching/class_check.py --name "Ada"

The teacher puts the lines into one file or several and asks for a summary:

    python notebooks/teaching/class_check.py --collect lines.txt
"""

import argparse
import os
import platform
import re
import sys
import time
from collections import defaultdict
from pathlib import Path

FACES = 8  # enough to tell a slow machine from a fast one
BETWEEN = " // "  # of several problems; the checks' own words have commas and semicolons
LINE = re.compile(r"^(ok|PROBLEM) *\| *([^|]*?) *\| *(\d+(?:\.\d+)?|-) s *\| *([^|]*[^| ])")


def check_line(name="-", world="heads", root=None):
    """What one machine has to say, as one line.

    Parameters
    ----------
    name : str
    world : str
        Whose faces are made, to take the time.
    root : path, optional
        The folder that holds the worlds, as in `load_world`.

    Returns
    -------
    ready : bool
    line : str
        ``ok | name | seconds for eight faces | what was found``, or
        ``PROBLEM | name | - s | what to do | what was found``.
    """
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    problems, found, seconds = [], [f"Python {platform.python_version()}"], None
    try:
        from fairgen_utils.apps.checkup import checkup

        checks = checkup(root)
        found = [text for passed, text in checks if passed]
        problems = [text for passed, text in checks if not passed]
        if not problems:
            from fairgen_utils.generate import Sampler
            from fairgen_utils.load import load_world

            loaded = load_world(world, root)
            started = time.perf_counter()
            Sampler(loaded).draw(FACES, 0, progress=False)
            seconds = time.perf_counter() - started
    except Exception as error:  # whatever it is, a line says it: a class has no time for tracebacks
        advice = "use the course's own Python (.venv), or follow README, Two commands"
        problems.append(f"{type(error).__name__}: {error}; {advice}")
    took = "-" if seconds is None else f"{seconds:.1f}"
    parts = ["PROBLEM" if problems else "ok", name, f"{took} s"]
    parts += [BETWEEN.join(problems)] * bool(problems) + ["; ".join([machine, *found])]
    line = " | ".join(re.sub(r"\s+", " ", part.replace("|", "/")) for part in parts)
    home = os.path.expanduser("~")  # its name may be the owner's; of a container it may be "/"
    return not problems, line.replace(home, "~") if len(home) > 1 else line


def summary(lines):
    """A class in a few sentences, from the lines of its machines.

    Lines that are none (greetings, signatures) are counted and left out.
    """
    read = [LINE.match(line.strip().lstrip("> ")) for line in lines if line.strip()]
    machines = [found.groups() for found in read if found]
    if not machines:
        return "No line here is this script's; collect those that begin with ok or PROBLEM."
    ready = [machine for machine in machines if machine[0] == "ok"]
    said = [f"{len(ready)} of {len(machines)} machines are ready."]
    problems = defaultdict(list)
    for verdict, name, _, words in machines:
        for problem in words.split(BETWEEN) if verdict == "PROBLEM" else ():
            # 0.3 GB free and 0.4 GB free are the same problem
            problems[re.sub(r"\d+(\.\d+)?", "#", problem)].append((name, problem))
    for alike in sorted(problems.values(), key=len, reverse=True):
        said.append(f"{len(alike)} x {alike[0][1]} ({', '.join(name for name, _ in alike)})")
    if timed := [machine for machine in ready if machine[2] != "-"]:
        slowest = max(timed, key=lambda machine: float(machine[2]))
        said.append(f"Slowest: {slowest[1]}, {slowest[2]} s for {FACES} faces.")
    if odd := len(read) - len(machines):
        said.append(f"Lines that could not be read: {odd}.")
    return "\n".join(said)


def read_lines(source):
    """The lines of a file, or of what is piped in where the source is ``-``.

    What Windows PowerShell redirects to a file is UTF-16.
    """
    raw = sys.stdin.buffer.read() if source == "-" else Path(source).read_bytes()
    encoding = "utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    return raw.decode(encoding, errors="replace").splitlines()


def main(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--name", default="-", help="shown in the line (default: none)")
    parser.add_argument(
        "--collect", nargs="+", metavar="FILE", help="sum up the lines of files; - reads a pipe"
    )
    options = parser.parse_args(arguments)
    if options.collect:
        try:
            lines = [line for source in options.collect for line in read_lines(source)]
        except OSError as error:
            parser.exit(2, f"--collect: a file cannot be read ({error})\n")
        print(summary(lines))
        return 0
    ready, line = check_line(options.name)
    print(line)
    return 0 if ready else 1


if __name__ == "__main__":
    sys.stdout.reconfigure(errors="replace")  # a terminal may lack the letters of a name
    sys.exit(main())
