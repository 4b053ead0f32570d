"""Result tables: CSV files that grow row by row, so that a killed measurement can go on; and how
pages show them.
"""

import numpy as np
import pandas as pd

from fairgen_utils._files import write_whole

METHODS = {
    "plain": "plain sampling",
    "rejection": "rejection sampling with the classifier",
    "uniform": "(a) components uniform, the published recipe",
    "table": "(b) weights fitted to the table of training latents",
    "pilot": "(c) weights fitted to a pilot of generated faces",
    "localized": "(d) one Gaussian per attribute cell, uniform",
    "localized_pilot": "(d) the same, weights fitted to a pilot",
    "overshoot": "(e) the same, means moved outward first",
    "goals": "(f) as (e), cells by age as well, even age a second goal",
    "guided": "guidance by the mixture",
    "guided_pilot": "the same, quotas trimmed by a pilot",
    "guided_goals": "guidance to cells by age as well, no pilot",
    "guided_goals_pilot": "the same, quotas trimmed by a pilot of both goals",
    "kmeans": "K-means clusters for components, weights as in (c)",
    "clean": "a mixture per cell in clean latent space, decoded as it is",
    "inverted": "one Gaussian per cell over latents inverted to pure noise",
    "on_the_fly": "a pool of four times as many, thinned half-way",
    "bottleneck": "distribution guidance on the bottleneck",
    "guidance": "classifier guidance on the predicted image",
}
# the methods whose groups and judges a card goes into
OURS = (
    *("plain", "localized_pilot", "overshoot", "goals"),
    *("guided", "guided_pilot", "guided_goals", "guided_goals_pilot"),
)

JUDGES = ("first", "second", "probe", "public")


class Table:
    """A CSV file that grows row by row and knows which rows it has.

    `keys` are the columns that tell rows apart; `text` names those that stay words even where
    they look like numbers.
    """

    def __init__(self, path, keys, text=()):
        self.path, self.keys, self.types = path, keys, dict.fromkeys(text, str)
        self._read()

    def _read(self):
        found = self.path.exists()
        empty = pd.DataFrame(columns=self.keys)
        self.rows = pd.read_csv(self.path, dtype=self.types) if found else empty

    def has(self, **values):
        if self.rows.empty:
            return False
        return bool(np.all([self.rows[k] == v for k, v in values.items()], axis=0).any())

    def add(self, rows):
        if not rows:
            return
        new = pd.DataFrame(rows)
        self._read()  # another measurement may have added rows of its own
        # an empty table has no column types to keep, and would turn whole numbers into fractions
        self.rows = new if self.rows.empty else pd.concat([self.rows, new], ignore_index=True)
        self.rows = self.rows.drop_duplicates(self.keys, keep="last").sort_values(self.keys)
        write_whole(self.path, self.rows.round(5).to_csv(index=False, lineterminator="\n"))


def markdown(header, rows, text=1):
    """A Markdown table; the first `text` columns are words, the others numbers."""
    lines = [header, ["---"] * text + ["---:"] * (len(header) - text), *rows]
    return "".join("| " + " | ".join(map(str, line)) + " |\n" for line in lines)


def with_interval(row, name="fd_corrected", digits=3):
    """A number and its interval, as pages show them."""
    value, low, high = (f"{row[key]:.{digits}f}" for key in (name, f"{name}_low", f"{name}_high"))
    return f"{value} ({low} to {high})"
