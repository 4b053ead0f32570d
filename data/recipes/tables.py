"""Result tables: CSV files that grow row by row, so that a killed measurement can go on."""

import numpy as np
import pandas as pd

from fairgen_utils._files import write_whole


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
