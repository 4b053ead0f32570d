"""Notebook 0: start here."""

import numpy as np

from fairgen_utils.course._checking import check_number, say, verdict


def _labels(given):
    """One array of labels, or of several as long as one another; None where it is none."""
    try:
        found = np.asarray(given)
    except Exception:  # whatever a learner hands in, the course goes on
        return None
    return found if found.dtype.kind in "iu" and found.size else None


def check_called_female(answer, labels):
    """Exercise 0.1: how many of the first 24 faces have the label 0, female."""
    labels = _labels(labels)
    if labels is None or labels.ndim != 1 or len(labels) < 24:
        return say("0.1", "the second argument should be `labels`, a number for each face.")
    women = np.sum(labels[:24] == 0)
    mistakes = [
        (24 - women, "those are the men: which number stands for female?"),
        (np.sum(labels == 0), "that is of all faces; the question is about the first 24."),
        (women / 24, "that is a share; how many faces are it?"),
    ]

    def diagnose(value):
        otherwise = f"{value:g} isn't it. (Your own count may well be another one.)"
        return verdict(value, women, mistakes, otherwise)

    check_number("0.1", answer, diagnose)


def check_classifier_error(answer, heldout):
    """Exercise 0.2: the share of held-out heads whose age is read wrongly."""
    both = _labels(heldout)
    if both is None or both.ndim != 2 or len(both) != 2:
        return say("0.2", "the second argument should be `(true, said)`, two arrays of labels.")
    true, found = both
    wrong = np.mean(true != found)
    mistakes = [
        (1 - wrong, "that is how often it is right."),
        (np.sum(true != found), "that is how many heads; what share of them is it?"),
        (100 * wrong, "that is in per cent; give a share between 0 and 1."),
    ]

    def diagnose(value):
        otherwise = f"{value:g} isn't it. In how many heads do `true` and `said` differ?"
        return verdict(value, wrong, mistakes, otherwise)

    check_number("0.2", answer, diagnose)
