"""Settings: everything that determines a run's faces, and how a page and its exports say it."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from fairgen_utils._checks import check_count
from fairgen_utils.apps.order import Order

MOST = 1000  # more pairs than this make a page slow; the command line makes any number
METHODS = {"guided": "guided by a mixture", "localized": "started from a mixture"}
EDIT = (
    "Each lower face is the upper one edited by what the mixture knows of groups. It isn't what a "
    "person would look like who belonged to another group, for there is no person."
)
OTHERS = (
    "The lower faces start from the mixture part of the way down: others than the upper ones, no "
    "pairs."
)
PERCEIVED = "Groups are what a classifier perceives in pixels, in somebody's categories."


@dataclass(frozen=True)
class Settings:
    """Everything that determines a run's faces.

    Attributes
    ----------
    world : str
    method : str
        A key of `METHODS`.
    attribute : str
        Joined by commas: ``"gender,ancestry"``.
    target : tuple of float
        Share wanted of every group of `attribute`, in the order of ``world.groups(attribute)``.
    n : int
        Faces of plain sampling, and of the method: at most `MOST`.
    seed : int
    """

    world: str
    method: str
    attribute: str
    target: tuple
    n: int
    seed: int

    @classmethod
    def read(cls, path):
        """The settings that an export holds.

        Raises
        ------
        ValueError
            If the file is damaged, or no such settings.
        """
        try:
            stored = json.loads(Path(path).read_text(encoding="utf-8"))
            return cls(**{**stored, "target": tuple(stored["target"])})
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(f"path: {path} holds no settings of a run ({error!r})") from None

    def order(self, world):
        """The order that the command line would make of them.

        Raises
        ------
        ValueError
            If they cannot be run.
        """
        if self.method not in METHODS:
            raise ValueError(
                f"method: found {self.method!r}; choose from {', '.join(METHODS)}: plain faces are "
                "shown beside either"
            )
        if check_count(self.n, "n") > MOST:
            raise ValueError(
                f"n: found {self.n}; at most {MOST} fit a page, "
                "'python -m fairgen_utils generate' makes any number"
            )
        return Order(world, self.attribute, self.target, self.n, self.seed, self.method)

    @property
    def text(self):
        """What ``settings.json`` holds."""
        return json.dumps(asdict(self), indent=1) + "\n"

    @property
    def stem(self):
        """The beginning of the names of files: what is in them, without opening them."""
        joined = self.attribute.replace(",", "-")
        return f"{self.world}_{self.method}_{joined}_seed{self.seed}_n{self.n}"

    @property
    def pairs(self):
        """Whether the method's faces are the plain ones, changed."""
        return self.method == "guided"

    @property
    def joint(self):
        """The attributes as words: ``"gender and ancestry"``."""
        *others, last = self.attribute.split(",")
        return f"{', '.join(others)} and {last}" if others else last

    def said(self, world):
        """World, method, seed and target in a line."""
        groups = world.groups(self.attribute)
        wanted = "even"
        if not np.allclose(self.target, 1 / len(groups)):
            shares = zip(groups, self.target, strict=True)
            wanted = ", ".join(f"{group} {100 * share:.0f} %" for group, share in shares)
        return (
            f"{self.world}, {METHODS[self.method]}, seed {self.seed}. "
            f"Wanted of {self.joint}: {wanted}."
        )
