"""How an answer is looked at: what may be handed in, what is said about it, one loop of mistakes.

A check calls `check_number` or `check_function` with a `diagnose` that says what is wrong in one
sentence, or None. Whatever a learner hands in, the course goes on: a check never raises.
"""

import numpy as np
import pandas as pd

from fairgen_utils._files import data_folder

LARGEST = 1e15  # far beyond every right answer, and its square is still a finite number
UNANSWERED = "not answered yet. Replace the three dots."


class Problem(Exception):
    """What is wrong with an answer, in a sentence for the learner."""


def results(table):
    """A table of the course's results: ``"fairness"``."""
    return pd.read_csv(data_folder() / "results" / f"{table}.csv")


def say(number, problem):
    """Print the verdict on exercise `number`: a problem, or None where there is none."""
    print(f"Exercise {number}: {problem or 'correct.'}")


def unanswered(answer):
    return answer is None or answer is ...


def shown(value, words=repr):
    """A value's type and its words, in one short line."""
    try:
        return f"{type(value).__name__}: {' '.join(words(value).split()):.100}"
    except Exception:  # a learner's class may have a repr that raises
        return type(value).__name__


def numbers_of(answer):
    """The answer as an array of finite floats, of any shape; a Problem where it isn't one."""
    try:
        values = np.asarray(answer)
        # text that float() would read is no number, nor is a lone True
        if values.dtype.kind not in "iufO" + "b" * bool(values.ndim):
            raise TypeError
        values = values.astype(float)
    except Exception:  # arrays of ragged lists, of text, of tensors that want a gradient
        raise Problem(f"numbers are wanted, found {shown(answer)}.") from None
    if not np.isfinite(values).all():
        raise Problem(f"finite numbers are wanted, found {shown(answer)}.")
    if np.any(abs(values) > LARGEST):
        raise Problem(f"that is far too large to be right: {shown(answer)}.")
    return values


def number_of(answer):
    """The answer as one finite float; a Problem where it isn't one."""
    values = numbers_of(answer)
    if values.ndim:
        raise Problem(f"one number is wanted, found shape {values.shape}.")
    return float(values)


def check_number(number, answer, diagnose):
    """Say what ``diagnose(value)`` finds wrong with an answer that should be one number.

    Parameters
    ----------
    number : str, of the exercise
    answer : anything
    diagnose : callable, from a finite float, at most `LARGEST`, to a sentence or None
    """
    if unanswered(answer):
        return say(number, UNANSWERED)
    try:
        problem = diagnose(number_of(answer))
    except Problem as found:
        problem = str(found)
    say(number, problem)


def check_function(number, function, example, diagnose, shape=()):
    """Say what ``diagnose(call)`` finds wrong with a learner's function.

    Parameters
    ----------
    number : str, of the exercise
    function : anything
    example : tuple
        Arguments of a first call, which tells whether there is an answer at all.
    diagnose : callable
        From ``call``, which is the function with what it returns made an array of finite floats
        of the wanted shape, to a sentence or None.
    shape : tuple, or callable from the arguments to one
        Of what the function must return; one number when omitted.
    """

    def call(*arguments):
        # a function that works in place must not change what the next call gets
        copies = [a.copy() if isinstance(a, np.ndarray) else a for a in arguments]
        try:
            result = function(*copies)
        except Problem:
            raise
        except Exception as error:  # a learner's code may raise anything
            raise Problem(f"your code raised {shown(error, str)}") from None
        if unanswered(result):
            raise Problem(UNANSWERED)
        values = numbers_of(result)
        wanted = shape(*arguments) if callable(shape) else shape
        if values.shape != wanted:
            kind = f"an array of shape {wanted} is" if wanted else "one number is"
            kind = f"{wanted[0]} numbers are" if len(wanted) == 1 else kind
            raise Problem(f"{kind} wanted, found shape {values.shape}.")
        return values

    if unanswered(function):
        return say(number, UNANSWERED)
    if not callable(function):
        return say(number, f"a function is wanted, found {shown(function)}.")
    try:
        call(*example)
        problem = diagnose(call)
    except Problem as found:
        problem = str(found)
    say(number, problem)


def same_shape(first, *others):
    """A `shape` for `check_function`: that of the function's first argument."""
    return np.shape(first)


def verdict(found, right, mistakes, otherwise, **tolerance):
    """What to say of a value, or of an array, that should be `right`: None where it is.

    Parameters
    ----------
    found, right : float or ndarray
    mistakes, otherwise, **tolerance : as in `mistaken`
    """
    if _alike(found, right, **tolerance):
        return None
    return mistaken(found, mistakes, otherwise, **tolerance)


def mistaken(found, mistakes, otherwise, **tolerance):
    """What to say of a value, or of an array, that is wrong.

    Parameters
    ----------
    found : float or ndarray
    mistakes : iterable of (float or ndarray, str)
        What a known mistake leads to, and what to say of it; the first that fits is said.
    otherwise : str, where none fits
    **tolerance : rtol and atol of `numpy.allclose`
    """
    for wrong, words in mistakes:
        if _alike(found, wrong, **tolerance):
            return words
    return otherwise


def _alike(found, value, **tolerance):
    return np.shape(found) == np.shape(value) and np.allclose(found, value, **tolerance)
