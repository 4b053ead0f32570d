"""What the tests of shares draw from: hypothesis strategies, and the tolerance of rounding."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

# A busy machine must not turn a slow example into a failure.
settings.register_profile("course", deadline=None)
settings.load_profile("course")

ROUNDING = 1e-9  # far above float64 rounding of sums over at most 18 shares


@st.composite
def share_vectors(draw, n_groups=None, min_groups=2):
    n_groups = n_groups or draw(st.integers(min_groups, 18))
    counts = draw(arrays(int, n_groups, elements=st.integers(0, 1000)))
    counts[draw(st.integers(0, n_groups - 1))] += 1
    return counts / counts.sum()


@st.composite
def shares_with_target(draw):
    shares = draw(share_vectors())
    return shares, draw(share_vectors(n_groups=len(shares)))
