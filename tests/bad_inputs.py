"""Bad values of every kind that functions take, drawn by hypothesis, and what a kind refusal is."""

import re
import traceback
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck
from hypothesis import strategies as st

import fairgen_utils
from fairgen_utils.models.low_frequency import LowFrequencyMixture
from fairgen_utils.models.mixture import LatentMixture

OURS = Path(fairgen_utils.__file__).parent
EACH = 30  # at most so many bad inputs of every kind below


def refused(what, bad, call, word):
    """Assert that `call(bad)` is refused kindly: by us, in a message that begins with `word`."""
    try:
        made = call(bad)
    except (ValueError, OSError) as error:
        innermost = Path(traceback.extract_tb(error.__traceback__)[-1].filename)
        assert OURS in innermost.parents, f"raised in {innermost}: {error!r}"
        assert re.match(rf"({word})\b", str(error)), f"{word!r} does not begin {str(error)!r}"
    else:
        raise AssertionError(f"{what} accepted {bad!r} and returned {made!r}")


def listing(folder):
    """Every file of a folder, with what it holds."""
    return {path: path.is_file() and path.read_bytes() for path in folder.rglob("*")}


counts = st.one_of(
    st.integers(-5, 0), st.floats(-3, 3).filter(lambda x: x != int(x)), st.just("3"), st.just(None)
)
seeds = st.one_of(st.integers(-5, -1), st.sampled_from([0.5, "1", None]))
fractions = st.sampled_from([-0.1, 1.1, float("nan"), float("inf"), -float("inf")])
attributes = st.one_of(
    st.text(max_size=8).filter(lambda s: not set(s.split(",")) <= {"gender", "ancestry", "smile"}),
    st.sampled_from(["gender,gender", "gender,", ",", "Gender ", "gender;ancestry"]),
)
timesteps = st.one_of(
    st.integers(-2000, -1), st.integers(1000, 5000), st.sampled_from([0.5, "500", None, np.nan])
)


@st.composite
def labels(draw):
    """No labels of 3 groups."""
    return draw(
        st.one_of(
            st.just([]),
            st.lists(st.sampled_from([0.0, 1.5, np.nan]), min_size=1, max_size=5),
            st.lists(st.integers(3, 99), min_size=1, max_size=5),
            st.lists(st.integers(-99, -1), min_size=1, max_size=5),
            st.lists(st.text(max_size=3), min_size=1, max_size=3),
            st.just(np.zeros((2, 3), int)),
            st.just(1),
            st.just(None),
        )
    )


@st.composite
def shares(draw):
    """No shares of 3 groups, nor of any other number."""
    spoiled = np.array([0.2, 0.3, 0.5])
    spoiled[draw(st.integers(0, 2))] = draw(st.sampled_from([np.nan, np.inf, -0.2, 0.9, 7.0]))
    return draw(st.sampled_from([spoiled, [], ["a", "b", "c"], "half", 2 * np.ones(3), 1.0]))


@st.composite
def latents(draw):
    """No latents of shape (n, 4, 8, 8)."""
    spoiled = np.ones((3, 4, 8, 8), np.float32)
    spoiled[draw(st.integers(0, 2)), 0, 0, 0] = draw(st.sampled_from([np.nan, np.inf, -np.inf]))
    return draw(
        st.sampled_from(
            [spoiled, np.zeros((0, 4, 8, 8)), np.zeros(()), np.ones(5), "latents", [["a"]], None]
        )
    )


@st.composite
def pictures(draw):
    """No pictures of shape (n, 64, 64, 3), uint8."""
    shape = draw(
        st.sampled_from([(64, 64, 3), (0, 64, 64, 3), (2, 64, 64), (2, 64, 64, 4), (2, 3, 64, 64)])
    )
    kind = draw(st.sampled_from([np.float32, np.int64, np.uint8]))
    if draw(st.booleans()):
        shape, kind = (2, 64, 64, 3), draw(st.sampled_from([np.float32, np.int64, bool]))
    return draw(st.sampled_from([np.zeros(shape, kind), "picture.png", None, []]))


@st.composite
def features(draw):
    spoiled = np.eye(6)
    spoiled[draw(st.integers(0, 5)), draw(st.integers(0, 5))] = draw(
        st.sampled_from([np.nan, np.inf])
    )
    return draw(st.sampled_from([spoiled, np.ones(6), np.ones((1, 6)), np.ones((2, 2, 2)), "x"]))


@st.composite
def confusions(draw):
    """No confusion matrix of 3 groups."""
    spoiled = np.eye(3)
    spoiled[draw(st.integers(0, 2)), draw(st.integers(0, 2))] = draw(
        st.sampled_from([np.nan, -0.5, 0.5, 2.0])
    )
    blind = np.full((3, 3), 1 / 3)
    return draw(st.sampled_from([spoiled, blind, np.eye(2), np.eye(3)[:2], "x", []]))


THIRDS = np.full(3, 1 / 3)
LABELS = np.array([0, 1, 2, 1])
LATENTS = np.random.default_rng(0).standard_normal((40, 4, 8, 8)).astype(np.float32)
FITTED = LatentMixture(2).fit(LATENTS)
LOW = LowFrequencyMixture(1).fit(LATENTS)
TIED = LatentMixture(covariance_type="tied").fit(LATENTS, np.arange(40) % 3)

# what is called with a bad value, where the value comes from, and the word that must be said


CALM = {
    "max_examples": EACH,
    "derandomize": True,
    "deadline": None,
    "database": None,
    "suppress_health_check": list(HealthCheck),
}
