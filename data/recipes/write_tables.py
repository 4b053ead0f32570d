"""Write the tables into README.md, cards and the teacher's pack, from data/results/ alone.

Each table lives between two comments, ``<!-- table NAME -->`` and ``<!-- end -->``; everything
between them is replaced. With --check nothing is written, and the exit status is 1 when a page
says something else than the results do.
"""

import argparse
import re
import sys
from pathlib import Path

from findings import findings_table
from tables_of_methods import (
    brightness_table,
    differences_table,
    embedding_table,
    groups_table,
    judges_table,
    lecture_table,
    methods_table,
    shares_table,
)
from tables_of_studies import (
    ablations_table,
    confounds_table,
    coverage_table,
    downstream_table,
    guidance_table,
    memorization_table,
    others_table,
    overshoot_table,
    strangers_table,
)
from tables_of_worlds import (
    classifier_table,
    dashboard_table,
    labels_table,
    newcomer_table,
    speed_table,
    training_table,
)

from fairgen_utils._files import write_whole

BLOCK = re.compile(r"(<!-- table (\w+) (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)

TABLES = {
    "findings": findings_table,
    "methods": methods_table,
    "speed": speed_table,
    "differences": differences_table,
    "coverage": coverage_table,
    "ablations": ablations_table,
    "guidance": guidance_table,
    "embedding": embedding_table,
    "downstream": downstream_table,
    "confounds": confounds_table,
    "overshoot": overshoot_table,
    "groups": groups_table,
    "lecture": lecture_table,
    "judges": judges_table,
    "newcomer": newcomer_table,
    "dashboard": dashboard_table,
    "others": others_table,
    "shares": shares_table,
    "classifier": classifier_table,
    "training": training_table,
    "labels": labels_table,
    "memorization": memorization_table,
    "brightness": brightness_table,
    "strangers": strangers_table,
}


def rewrite(text, results):
    """The page with every table block made anew."""
    return BLOCK.sub(lambda m: m[1] + TABLES[m[2]](results, m[3]) + m[4], text)


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--check", action="store_true", help="write nothing, only compare")
    options = arguments.parse_args()
    root = Path(__file__).resolve().parents[2]
    stale = []
    pages = sorted([*root.glob("data/*/README.md"), *root.glob("notebooks/teaching/*.md")])
    for page in [root / "README.md", *pages]:
        text = page.read_text(encoding="utf-8")
        fresh = rewrite(text, root / "data" / "results")
        if fresh != text:
            stale.append(page.relative_to(root))
            if not options.check:
                write_whole(page, fresh)
    if stale:
        print("differs from data/results:" if options.check else "rewritten:", *stale)
    sys.exit(bool(options.check and stale))


if __name__ == "__main__":
    main()
