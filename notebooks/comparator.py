"""Compare what a cell printed with what is committed: text to the letter, numbers as numbers.

Two honest runs differ a little: another processor or another number of threads adds in another
order, and then the last printed digit of a number may round the other way. Everything else is a
change. So a number may differ by

- one unit of its last printed digit, plus what adding in another order does to a long printed one;
- one, where it is a whole number of 100 and more (faces near a boundary are counted on either
  side), or of per cent. Smaller whole numbers count what was chosen (groups, steps): none.

A cell whose numbers may differ by more says so in a tag, with a reason: see `widened`.
"""

import re
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

# adding float32 in another order; what is nothing but rounding
RELATIVE, NOTHING = Decimal("1e-5"), Decimal("1e-12")
LARGE = 100  # whole numbers from here on may be counts of faces

_TOKEN = re.compile(
    r"""
    (?<![\w.])\d+(?:\.\d+){2,}[\w.+]*          # a version, 1.2.3: text
    |
    (?P<number>
      (?:(?<![\w.)\]}%])[-+\u2212])?           # a sign, unless it stands between two numbers
      (?<![\w.])                               # no digits of a name, such as fp16
      (?: (?: \d{1,3}(?:,\d{3})+(?![\d,]) | \d+ ) (?:\.\d+)? | \.\d+ )
      (?:[eE][-+]?\d+)?
    )
    (?P<percent>[ ]?(?:%|per[ ]cent))?
    """,
    re.VERBOSE,
)


@dataclass(frozen=True)
class Tolerance:
    """By how much a cell's numbers may differ: by a number, or by a part of the committed one."""

    amount: Decimal
    relative: bool
    reason: str

    @property
    def words(self):
        size = f"{100 * self.amount:g} %" if self.relative else f"{self.amount:g}"
        return f"numbers may differ by {size}: {self.reason}"


@dataclass(frozen=True)
class Number:
    """A printed number: its value, the unit of its last digit, and how it was written."""

    text: str
    value: Decimal
    unit: Decimal
    whole: bool
    percent: bool


def numbers_and_text(output):
    """The numbers of a text output, and what stands around them without its alignment."""
    numbers, text, end = [], [], 0
    for token in _TOKEN.finditer(output):
        if token["number"] is None:
            continue
        written = token["number"]
        value = Decimal(written.replace(",", "").replace("\u2212", "-"))
        whole = not re.search(r"[.eE]", written)
        unit = Decimal(1).scaleb(value.as_tuple().exponent)
        numbers.append(Number(written, value, unit, whole, bool(token["percent"])))
        text.append(output[end : token.start("number")])
        end = token.end("number")
    text.append(output[end:])
    # columns are as wide as their widest number: blanks and rules of a table may differ in length
    text = [re.sub(r"([-=\u2500]){3,}", r"\1\1\1", re.sub(r"[ \t]+", " ", part)) for part in text]
    return numbers, [part.strip(" ") for part in text]


def may_differ_by(committed, found, tolerance=None):
    """By how much a number that was found may differ from the committed one."""
    unit = min(committed.unit, found.unit)  # 0.3 may be 0.300 with its zeros left out
    size = max(abs(committed.value), abs(found.value))
    if not (committed.whole and found.whole):
        allowed = unit + RELATIVE * size + NOTHING
    else:
        allowed = unit if size >= LARGE or committed.percent else Decimal(0)
    if tolerance is None:
        return allowed
    scale = abs(committed.value) if tolerance.relative else 1
    return max(allowed, tolerance.amount * scale)


def differences(committed, found, tolerance=None):
    """What changed between two text outputs, a sentence each; none where only rounding did.

    Parameters
    ----------
    committed, found : str
    tolerance : Tolerance, optional, the cell's own
    """
    if committed == found:
        return []
    numbers, text = numbers_and_text(committed)
    new_numbers, new_text = numbers_and_text(found)
    changes = []
    if len(numbers) != len(new_numbers):
        changes.append(f"there were {len(numbers)} numbers, now there are {len(new_numbers)}")
    for old, new in zip(text, new_text, strict=False):
        if old != new:
            changes.append(f"the text {shortened(old)} became {shortened(new)}")
    if changes:
        return changes
    for old, new in zip(numbers, new_numbers, strict=True):
        allowed = may_differ_by(old, new, tolerance)
        if abs(old.value - new.value) > allowed:
            changes.append(f"{old.text} became {new.text}; it may differ by {allowed:.2g}")
    return changes


def shortened(text):
    return repr(text) if len(text) <= 60 else f"{text[:30]!r} ... {text[-30:]!r}"


def widened(cell):
    """The tolerance that a cell asks for, or None.

    A tag ``tolerance:0.02`` lets every number of the cell's outputs differ by 0.02,
    ``tolerance:5%`` by a twentieth of the committed one. The reason stands in the cell's metadata
    (``"reason": "..."``) or in a comment (``# reason: ...``).

    Raises
    ------
    ValueError
        If there are two such tags, if one can't be read or would let everything pass, or if the
        reason lacks.
    """
    tags = [tag for tag in cell["metadata"].get("tags", []) if tag.startswith("tolerance")]
    if not tags:
        return None
    if len(tags) > 1:
        raise ValueError(f"tags: found {tags}; one tolerance holds for the whole cell")
    written = tags[0].partition(":")[2]
    relative = written.endswith("%")
    try:
        amount = Decimal(written.removesuffix("%")) / (100 if relative else 1)
    except InvalidOperation:
        amount = Decimal(0)
    if not (amount.is_finite() and amount > 0) or (relative and amount > Decimal("0.5")):
        raise ValueError(
            f"tags: found {tags[0]!r}; write tolerance:0.02, or tolerance:5% up to half"
        )
    return Tolerance(amount, relative, reason_of(cell))


def reason_of(cell):
    """Why a cell's outputs are compared less strictly; a ValueError where it doesn't say."""
    comment = re.search(r"^# reason: (.+)$", cell["source"], re.MULTILINE)
    reason = cell["metadata"].get("reason") or (comment[1] if comment else "")
    if len(reason.split()) < 3:
        raise ValueError(
            "reason: a cell that isn't compared strictly says why, in at least three words; write "
            f"'# reason: ...' into it, or \"reason\" into its metadata; found {reason!r}"
        )
    return reason
