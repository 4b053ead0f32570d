"""Notebook 9: real faces."""

import numpy as np

from fairgen_utils.course._checking import (
    check_function,
    check_number,
    mistaken,
    results,
    verdict,
)


def check_reduction(answer):
    """Exercise 9.1: the part of plain sampling's discrepancy that is gone, in [0, 1]."""
    table = results("fairness")
    table = table.query("world == 'utkface' and attribute == 'gender,race'")
    fd = table.groupby("method")["fd_corrected"].mean()
    plain, left = fd["plain"], fd["localized_pilot"]
    mistakes = [
        (left / plain, "that is the part that is left."),
        (plain - left, "that is the difference; which part of plain sampling's is it?"),
    ]

    def diagnose(value):
        if value > 1:
            return "give a part between 0 and 1, not per cent."
        otherwise = f"{value:.3f} isn't it. Are world, attribute and column the right ones?"
        return verdict(value, 1 - left / plain, mistakes, otherwise, atol=0.002)

    check_number("9.1", answer, diagnose)


def check_true_share(true_share):
    """Exercise 9.2: `true_share(q, recall, false)` of group A."""
    q, recall, false = 0.5, 0.9, 0.2
    mistakes = [
        (q / recall, "that divides by the recall alone; faces of B are called A, too."),
        (q - false, "the false ones are taken out; of what is the rest a part?"),
        (
            q * recall + (1 - q) * false,
            "that is the share expected to be reported, if q were the true one.",
        ),
        (
            (q - false) / recall,
            "the false ones are taken out, but the rest is divided by the recall alone.",
        ),
    ]

    def diagnose(call):
        found = call(q, recall, false)
        otherwise = f"for a report of {q}, recall {recall}, false {false} it gives {found:.3g}."
        return verdict(found, (q - false) / (recall - false), mistakes, otherwise)

    check_function("9.2", true_share, (0.4, 0.8, 0.1), diagnose)


def check_faces_to_plan(faces_to_plan):
    """Exercise 9.3: `faces_to_plan(half, recall, false)`, a number of faces."""
    half, recall, false = 0.02, 0.8, 0.1
    perfect = (1.96 / half) ** 2 * 0.25
    wanted = perfect / (recall - false) ** 2
    mistakes = [
        (perfect, "that is for a perfect classifier."),
        (
            perfect / (recall - false),
            "a share that is divided by a number has its variance divided by the square.",
        ),
        (
            wanted / 4,
            "the interval reaches `half` to either side; all of it is twice as wide.",
        ),
        (wanted / 1.96**2, "that is one standard error; 95 % take 1.96 of them."),
        (
            np.sqrt(wanted),
            "a standard error falls with the root of n; square what you have.",
        ),
    ]

    def diagnose(call):
        found = call(half, recall, false)
        if wanted - 1e-6 <= found <= 1.01 * wanted + 1:
            return None
        otherwise = f"{found:.0f} faces are more than needed."
        if found < wanted:
            otherwise = f"{found:.0f} faces are too few, if the true share is the worst one."
        # a mistake's number may have been rounded up
        return mistaken(found, mistakes, otherwise, rtol=0.005, atol=1)

    check_function("9.3", faces_to_plan, (0.05, 0.9, 0.1), diagnose)
