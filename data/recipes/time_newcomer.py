"""Time a newcomer's way: clone, set up, first fair face, the demo. Writes newcomer.csv.

    python data/recipes/time_newcomer.py

Everything happens in an empty temporary folder with an empty virtual environment. What downloading
takes depends on the network and is part of set-up; give the machine nothing else to do meanwhile.
"""

import argparse
import os
import platform
import subprocess
import tempfile
import time
from pathlib import Path

import pandas as pd

from fairgen_utils._files import write_whole

ROOT = Path(__file__).resolve().parents[2]
FIRST = "-m fairgen_utils generate --target gender --n 1 --out first"


def main():
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--out", type=Path, default=ROOT / "data/results/newcomer.csv")
    options = arguments.parse_args()
    out, rows = options.out.resolve(), []
    with tempfile.TemporaryDirectory() as folder:
        course = Path(folder) / "course"
        steps = {
            "clone": ["git", "clone", "--quiet", str(ROOT), str(course)],
            "set-up": ["make", "-C", str(course), ".venv/ready"],
            "first fair face": [str(course / ".venv/bin/python"), *FIRST.split()],
            "demo, N = 500 per method": ["make", "-C", str(course), "demo"],
        }
        for step, command in steps.items():
            print(step, flush=True)
            where = course if course.exists() else folder
            started = time.perf_counter()
            subprocess.run(command, cwd=where, check=True, stdout=subprocess.DEVNULL)
            rows.append({"step": step, "seconds": time.perf_counter() - started})
    table = pd.DataFrame(rows)
    table["seconds_so_far"] = table["seconds"].cumsum()
    table["cores"], table["python"] = os.cpu_count(), platform.python_version()
    write_whole(out, table.round(1).to_csv(index=False, lineterminator="\n"))
    print(table.round(1).to_string(index=False))


if __name__ == "__main__":
    main()
