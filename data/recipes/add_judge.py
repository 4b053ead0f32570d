"""Add a second judge to a built world: another classifier, which no method ever sees.

    python data/recipes/add_judge.py --world data/heads --judge RUN/classifier \\
        --faces data/heads --reference reference

The judge is a folder that train_classifier.py wrote. It goes to WORLD/judge, with what it says of
the held-out faces, and world.json gets the checksums.
"""

import argparse
import json
import shutil
from pathlib import Path

from build_world import checksum, files_of, forget_origin, write_reference

from fairgen_utils._files import write_json
from fairgen_utils.datasets import read_faces
from fairgen_utils.load import load_world


def main():
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--world", type=Path, required=True, help="for example data/heads")
    arguments.add_argument("--judge", type=Path, required=True, help="the second classifier")
    arguments.add_argument("--faces", type=Path, required=True, help="heads folder or UTKFace zip")
    arguments.add_argument("--reference", default="heldout", help="held-out split to judge by")
    arguments.add_argument("--photographs", action="store_true", help="keep statistics only")
    options = arguments.parse_args()
    world = load_world(options.world.name, root=options.world.parent)
    folder = options.world / "judge"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(options.judge, folder)
    forget_origin(folder)
    heldout = read_faces(options.faces, options.reference)
    write_reference(world.second_judge(), heldout, folder / "reference.npz", options.photographs)
    path = options.world / "world.json"
    description = json.loads(path.read_text())
    sums = {k: v for k, v in description["sha256"].items() if not k.startswith("judge/")}
    sums |= {file: checksum(options.world / file) for file in files_of(options.world, "judge")}
    description["sha256"] = sums
    write_json(path, description)


if __name__ == "__main__":
    main()
