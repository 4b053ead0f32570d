"""A class's machines, a line each: who is ready for the course, and what the others must do.

Everybody runs it and sends the line it prints; the line holds no name unless `--name` gives one:

    python notebooks/teaching/class_check.py --name "Ada"

The teacher puts the lines into a file and asks for a summary:

    python notebooks/teaching/class_check.py --collect lines.txt
"""

import argparse
import re
import sys
import time
from collections import Counter
from pathlib import Path

FACES = 8  # enough to tell a slow machine from a fast one
LINE = re.compile(r"^(ok|PROBLEM) +\| *([^|]*?) *\| *([\d.]+|-) s *\| *(.*)$")


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
        ``ok | name | seconds for eight faces | what was found``, or ``PROBLEM`` and what to do.
    """
    problems, found, seconds = [], [], None
    try:
        from fairgen_utils.checkup import checkup

        checks = checkup(root)
        found = [text for passed, text in checks if passed]
        problems = [text for passed, text in checks if not passed]
        if not problems:
            from fairgen_utils.generate import sample_plain
            from fairgen_utils.worlds import load_world

            loaded = load_world(world, root)
            started = time.perf_counter()
            sample_plain(loaded.pipeline, FACES, 0, loaded.num_inference_steps, progress=False)
            seconds = time.perf_counter() - started
    except Exception as error:  # whatever it is, a line says it: a class has no time for tracebacks
        problems.append(f"{type(error).__name__}: {error}; follow README, Two commands")
    took = "-" if seconds is None else f"{seconds:.1f}"
    words = "; ".join(problems or [text.split(":")[0] for text in found])
    line = f"{'PROBLEM' if problems else 'ok'} | {name} | {took} s | {words}"
    return not problems, re.sub(r"\s+", " ", line)


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
    problems = Counter(machine[3] for machine in machines if machine[0] == "PROBLEM")
    for words, count in problems.most_common():
        who = ", ".join(m[1] for m in machines if m[3] == words and m[0] == "PROBLEM")
        said.append(f"{count} x {words} ({who})")
    if ready:
        slowest = max(ready, key=lambda machine: float(machine[2]))
        said.append(f"Slowest: {slowest[1]}, {slowest[2]} s for {FACES} faces.")
    if odd := len(read) - len(machines):
        said.append(f"Lines that could not be read: {odd}.")
    return "\n".join(said)


def main(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--name", default="-", help="shown in the line (default: none)")
    parser.add_argument("--collect", help="file of lines to sum up; - reads what is typed or piped")
    options = parser.parse_args(arguments)
    if options.collect:
        try:
            text = sys.stdin.read() if options.collect == "-" else Path(options.collect).read_text()
        except (OSError, UnicodeDecodeError) as error:
            parser.exit(2, f"--collect: {options.collect} cannot be read ({error})\n")
        print(summary(text.splitlines()))
        return 0
    ready, line = check_line(options.name.replace("|", "/"))
    print(line)
    return 0 if ready else 1


if __name__ == "__main__":
    sys.exit(main())
