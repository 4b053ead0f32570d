"""Notebook 11: limits and responsibility."""

import re

import numpy as np
import pandas as pd

from fairgen_utils.course._checking import (
    UNANSWERED,
    check_function,
    check_number,
    say,
    shown,
    unanswered,
    verdict,
)

CARD_ENTRIES = (
    "intended use",
    "not for",
    "training data",
    "categories",
    "measurements",
    "limits",
    "who is not served",
)


def check_share_of_women(answer, training):
    """Exercise 11.1: women with long hair, a bob or a bun, where all 18 cells are even."""
    needed = {"gender", "ancestry", "age", "hair_style"}
    if not isinstance(training, pd.DataFrame) or not needed <= set(training):
        return say("11.1", "the second argument should be `training`, the table of heads.")
    women = training[training["gender"] == "female"]
    styles = ["long", "bob", "bun"]
    chosen = women["hair_style"].isin(styles)
    # by hand: the mean over cells of each cell's own share
    wanted = chosen.groupby([women["ancestry"], women["age"]]).mean().mean()

    def diagnose(value):
        if not 0 <= value <= 1:
            return "a share lies between 0 and 1."
        if np.isclose(value, wanted, atol=1e-6):
            return None
        if np.isclose(value, chosen.mean(), atol=1e-6):
            return "that is the share without weights."
        if np.isclose(value, training["hair_style"].isin(styles).mean(), atol=0.01):
            return "that is of all heads; the question is about the women."
        if np.isclose(value, wanted / 2, atol=0.02):
            return "that is a share of everybody; divide by the women's weight, not by all."
        return f"{value:.3f} isn't it. Does every one of the women's 9 cells count alike?"

    check_number("11.1", answer, diagnose)


def check_rise_of_reported_share(rise_of_reported_share):
    """Exercise 11.2: `rise_of_reported_share(p, recall_a, false_a, d)`."""
    p, recall, false, d = 0.2, 0.9, 0.05, 0.1
    mistakes = [
        (d, "only faces that are not of group A are affected."),
        (p * d, "that would be so if the faces of group A were affected; it is the others."),
        (
            p * recall + (1 - p) * (false + d),
            "that is the reported share itself; by how much did it rise?",
        ),
    ]

    def diagnose(call):
        found = call(p, recall, false, d)
        otherwise = f"with p = {p} and d = {d} it gives {found:.3g}; subtract the share before."
        return verdict(found, (1 - p) * d, mistakes, otherwise)

    check_function("11.2", rise_of_reported_share, (0.5, 0.9, 0.1, 0.1), diagnose)


def check_model_card(model_card):
    """Exercise 11.3: a dict with a sentence for each of `CARD_ENTRIES`."""
    say("11.3", UNANSWERED if unanswered(model_card) else _problem_of(model_card))


def _problem_of(card):
    if not isinstance(card, dict):
        return f"a dict is wanted, found {shown(card)}."
    if missing := [entry for entry in CARD_ENTRIES if entry not in card]:
        return f"these entries are missing: {', '.join(missing)}."
    for entry in CARD_ENTRIES:
        text = card[entry]
        if not isinstance(text, str):
            return f"{entry!r} should be text, found {shown(text)}."
        if len(text.split()) < 5:
            return f"{entry!r} says {text!r}; a reader needs a sentence."
        if any(claim in text.lower() for claim in ("unbias", "debias", "bias-free", "is fair")):
            return f"{entry!r} claims a cure; say what was measured instead."
    if not re.search(r"\d", card["measurements"]):
        return "'measurements' names no number."
    if not re.search(r"\bn\s*=\s*\d", card["measurements"], re.IGNORECASE):
        return "'measurements' has a number but not its N."
    return None
