"""Measure everything about a world anew: every study, in the one order that works.

    python data/recipes/measure_everything.py --world heads
    python data/recipes/measure_everything.py --world utkface --utkface UTKFace.zip

For a world whose weights have changed (`build_world.py` drops what was measured before). Each
study is a script of its own and keeps what it has measured, so a run that was stopped goes on.
The strength of guidance is chosen first, by the brightness of real faces among others, since every
guided face depends on it; pages and the benchmark, which wants a machine to itself, come last. Two
worlds can be measured side by side, one on each core: OMP_NUM_THREADS=1 taskset --cpu-list 0 ...
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

from make_faces import ALL
from sources import add_sources, heldout_of, source_of
from study_downstream import TASKS
from tables import OURS

from fairgen_utils.load import load_world

RECIPES = Path(__file__).resolve().parent
# the slow embedding sees what the pages ask it about
EMBEDDED = ("plain", "overshoot", "guided", "guided_pilot", "guided_goals", "guided_goals_pilot")


def studies(world, source, options):
    """The scripts and their arguments, in order."""
    this, these = ["--world", world.name], ["--worlds", world.name]
    real = ["--photographs", source, "--heldout", heldout_of(world.name)]
    photographs = [f"--{world.name}", source] if source != world.folder else []
    rivals = [method for method in ALL if method not in OURS]
    yield "study_brightness.py", [*this, *real, "--methods"]
    yield "study_guidance.py", [*these, "--only", "--choose"]
    for methods, seeds in ((OURS, options.seeds), (rivals, options.rival_seeds)):
        some = [*these, "--methods", *methods, "--seeds", *seeds, *["--public"] * options.public]
        yield "measure_worlds.py", [*some, *photographs]
    yield "draw_pairs.py", these
    yield "study_groups.py", these
    yield "measure_differences.py", these
    # where means are moved far, what less would do
    factors = [factor for factor in (0.4, 0.8, 1.2) if 1 < world.extrapolation > factor]
    yield "study_brightness.py", [*this, *real, "--factors", *factors]
    yield "study_memorization.py", [*this, *real]
    asked = [*these, *photographs, "--judged", options.judged]
    yield "measure_embedding.py", [*asked, "--methods", *EMBEDDED]
    if world.name in TASKS:
        yield "study_downstream.py", [*this, *real]
    yield "study_sampler.py", [*this, "--photographs", source]
    yield "study_guidance.py", these
    yield "measure_ablations.py", these


def main():
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--world", required=True)
    add_sources(arguments)
    arguments.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    arguments.add_argument(
        "--rival-seeds", type=int, nargs="+", default=[0, 1, 2], help="of methods not our own"
    )
    arguments.add_argument(
        "--judged", type=int, default=2000, help="faces a seed that the slow embedding sees"
    )
    arguments.add_argument(
        "--public", action="store_true", help="ask a public network too (the extra `judges`)"
    )
    arguments.add_argument("--from-step", type=int, default=1, help="leave out those before")
    options = arguments.parse_args()
    world = load_world(options.world)
    source = source_of(world, options)
    if source is None:
        arguments.error(f"--{world.name}: pass the folder or zip of the world's real faces")
    steps = list(studies(world, source, options))
    for number, (script, extra) in enumerate(steps, 1):
        if number < options.from_step:
            continue
        print(f"[{number}/{len(steps)}] {script} {' '.join(map(str, extra))}", flush=True)
        started = time.perf_counter()
        done = subprocess.run([sys.executable, RECIPES / script, *map(str, extra)])
        if done.returncode:
            sys.exit(f"{script} failed; once mended, the same command goes on from there")
        print(f"    {time.perf_counter() - started:.0f} s", flush=True)
    print("next: write_tables.py, and bench.py --out data/results/speed.csv on a quiet machine")


if __name__ == "__main__":
    main()
