"""Notebook 0: start here."""

from fairgen_utils.course._checking import check_number, verdict


def check_female_share(answer):
    """Exercise 0.1: the share of women where 216 of 300 faces are male."""
    mistakes = [
        (0.72, "that is the share of male faces."),
        (84, "that is how many; a share is a part of the whole."),
        (28, "that is in percent; give a share between 0 and 1."),
    ]

    def diagnose(value):
        otherwise = f"{value:g} isn't the part of 300 that is left when 216 are taken away."
        return verdict(value, 0.28, mistakes, otherwise)

    check_number("0.1", answer, diagnose)
