"""Exercises: checks that say what is wrong with an answer, and never what would be right."""

from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from fairgen_utils.judge import manifold_scores
from fairgen_utils.measure import fairness_discrepancy, noise_floor, shares


def _say(number, problem):
    print(f"Exercise {number}: {problem or 'correct.'}")


def _check_number(number, answer, diagnose):
    """Say what `diagnose(value)` finds wrong with an answer that should be one finite number."""
    if answer is None or answer is ...:
        return _say(number, "not answered yet. Replace the three dots.")
    try:
        value = float(answer)
    except (TypeError, ValueError):
        return _say(number, f"one number is wanted, found {type(answer).__name__}: {answer!r:.60}")
    if not np.isfinite(value):
        return _say(number, f"a finite number is wanted, found {value}.")
    _say(number, diagnose(value))


def _check_function(number, function, arguments, diagnose):
    """Say what `diagnose(call)` finds wrong with a function that returns finite numbers."""
    try:
        result = function(*arguments)
        if result is None or result is ...:
            return _say(number, "not answered yet. Replace the three dots.")
        if not np.all(np.isfinite(np.asarray(result, float))):
            return _say(number, f"for {arguments} it returns {result}, which isn't finite.")
        problem = diagnose(lambda *a: np.asarray(function(*a), float))
    except Exception as error:  # a learner's code may raise anything; the course goes on
        problem = f"your code raised {type(error).__name__}: {error}"
    _say(number, problem)


def _results():
    folder = Path(__file__).resolve().parents[2] / "data" / "results"
    return pd.read_csv(folder / "fairness.csv")


def _joined(function):
    """The function with its several results in one flat array, or None where there are none."""

    def call(*arguments):
        parts = function(*arguments)
        if parts is None or parts is ...:
            return None
        return np.concatenate([np.ravel(part) for part in parts])

    return call


def check_female_share(answer):
    """Exercise 0.1: the share of women where 216 of 300 faces are male."""

    def diagnose(value):
        if np.isclose(value, 0.72):
            return "that is the share of male faces."
        if np.isclose(value, 84):
            return "that is how many; a share is a part of the whole."
        if np.isclose(value, 28):
            return "that is in percent; give a share between 0 and 1."
        if not np.isclose(value, 0.28):
            return f"{value:g} isn't the part of 300 that is left when 216 are taken away."

    _check_number("0.1", answer, diagnose)


def check_rare_share(answer):
    """Exercise 1.1: the rare group's share after 6 DDIM steps, as a number in [0, 1]."""

    def diagnose(value):
        if value > 1:
            return "that looks like a percentage or a count; give a share between 0 and 1."
        if value > 0.6:
            return "that is the share of the large group; which place has the rare one?"
        if value > 0.1:
            return "that is the share of the small group; which place has the rare one?"
        # 5 steps give 0.035 and 8 give 0.045; draws of 10,000 differ by 0.004
        if value > 0.047:
            return "so many only come with more steps. How many stops has your list of timesteps?"
        if value < 0.030:
            return "so few only come with fewer steps. How many stops has your list of timesteps?"

    _check_number("1.1", answer, diagnose)


def check_melting_alpha(melting_alpha):
    """Exercise 1.2: `melting_alpha(m, s)`, where two noised groups stop showing two humps."""

    def diagnose(call):
        cases = [(2.0, 0.5), (1.0, 0.2), (3.0, 1.0)]
        found = np.array([call(m, s) for m, s in cases])
        m, s = np.array(cases).T
        # what is meant: half the distance of the noised means equals the noised deviation
        gap = np.sqrt(np.clip(found, 0, 1)) * m - np.sqrt(np.clip(found, 0, 1) * (s**2 - 1) + 1)
        if np.allclose(gap, 0, atol=1e-6):
            return None
        if np.any((found <= 0) | (found >= 1)):
            return f"for m, s = {cases[0]} it gives {found[0]:.3f}; it must lie between 0 and 1."
        mistakes = {
            "that is the square root of it: means shrink by the root, variances by the whole.": (
                1 / np.sqrt(1 + m**2 - s**2)
            ),
            "the noisy groups have their own spread too, besides the noise.": 1 / (1 + m**2),
            "the groups' own spread shrinks with the signal; yours keeps its size.": (
                (1 + s**2) / (1 + m**2)
            ),
            "how far apart are -m and +m?": 4 / (4 + m**2 - 4 * s**2),
        }
        for words, wrong in mistakes.items():
            if np.allclose(found, wrong, atol=1e-6):
                return words
        side = "still show two humps" if gap[0] > 0 else "have long been one"
        return f"at your value for m, s = {cases[0]}, the groups {side}."

    _check_function("1.2", melting_alpha, (2.0, 0.5), diagnose)


def check_ancestral_step(ancestral_step):
    """Exercise 1.3: `ancestral_step(x, clean, a, b, fresh)`, a draw of an earlier noisy point."""

    def diagnose(call):
        a, b = 0.3, 0.5
        # the step is linear, so one probe an argument gives its factors
        of_x = call(np.array([1.0]), np.zeros(1), a, b, np.zeros(1))[0]
        of_clean = call(np.zeros(1), np.array([1.0]), a, b, np.zeros(1))[0]
        of_fresh = call(np.zeros(1), np.zeros(1), a, b, np.array([1.0]))[0]
        if np.isclose(of_fresh, 0):
            return "no fresh noise comes in: that is a deterministic step."
        # x = sqrt(a) clean + sqrt(1 - a) noise must become sqrt(b) clean + sqrt(1 - b) noise
        left_over = (1 - b) - of_x**2 * (1 - a)
        if np.isclose(of_fresh, left_over):
            return "the fresh noise is scaled by the variance. What scales a draw?"
        if np.isclose(of_fresh, np.sqrt(1 - b)):
            return "all the noise of the earlier timestep is fresh, but x already carries some."
        if not np.isclose(of_x * np.sqrt(a) + of_clean, np.sqrt(b)):
            return "the mean is off: without noise, the step should lead to sqrt(b) * clean."
        if not np.isclose(of_fresh**2, left_over):
            return "the variance is off: with x's own noise, it must come to 1 - b."
        if not np.isclose(of_x, np.sqrt(a / b) * (1 - b) / (1 - a)):
            return "the shares of x and clean in the mean are off; compare each with the formula."

    ones = np.ones(2)
    _check_function("1.3", ancestral_step, (ones, ones, 0.3, 0.5, ones), diagnose)


def check_compression(times_fewer_numbers, times_fewer_bits):
    """Exercise 2.1: how much smaller an 8x8x16 latent is than a 64x64 picture in colour."""

    def numbers(value):
        if np.isclose(value, 4):
            return "a picture has three colours."
        if np.isclose(value, 1 / 12):
            return "that says how many times larger; turn it round."
        if np.isclose(value, 192):
            return "a latent has 16 channels."
        if not np.isclose(value, 12):
            return f"{value:g} isn't the quotient of the two counts; print the shapes of both."

    def bits(value):
        if np.isclose(value, 2 * times_fewer_numbers):
            return "a latent number takes more bits than a pixel value, not fewer."
        if np.isclose(value, times_fewer_numbers):
            return "that would be so if both took the same number of bits."
        if not np.isclose(value, 6):
            return f"{value:g} isn't the quotient of the two sizes in bits."

    _check_number("2.1, numbers", times_fewer_numbers, numbers)
    _check_number("2.1, bits", times_fewer_bits, bits)


def check_noise_from_velocity(noise_from_velocity):
    """Exercise 2.2: `noise_from_velocity(x, v, a)` for velocity prediction."""

    def diagnose(call):
        a = 0.3
        of_x, of_v = call(1.0, 0.0, a), call(0.0, 1.0, a)
        if np.isclose(of_x, np.sqrt(a)) and np.isclose(of_v, -np.sqrt(1 - a)):
            return "that is the clean latent. What is the noise?"
        if np.isclose(of_x, np.sqrt(a)) and np.isclose(of_v, np.sqrt(1 - a)):
            return "signal and noise have changed places: at a = 1, x holds no noise at all."
        if np.isclose(of_x, 1 - a) and np.isclose(of_v, a):
            return "a and 1 - a are the squares of the factors."
        if np.isclose(of_x, np.sqrt(1 - a)) and np.isclose(of_v, -np.sqrt(a)):
            return "check the sign of v: it points from the clean latent to the noise."
        if not (np.isclose(of_x, np.sqrt(1 - a)) and np.isclose(of_v, np.sqrt(a))):
            clean, noise = 2.0, -1.0
            x = np.sqrt(a) * clean + np.sqrt(1 - a) * noise
            found = call(x, np.sqrt(a) * noise - np.sqrt(1 - a) * clean, a)
            return f"with x0 = 2, noise = -1 and a = 0.3, yours finds a noise of {found:.2f}."

    _check_function("2.2", noise_from_velocity, (1.0, 0.5, 0.3), diagnose)


def check_error_of_guess(error_of_guess, latents):
    """Exercise 2.3: `error_of_guess(latents, noise, timestep)`, a mean squared error."""
    noise = np.random.default_rng(0).standard_normal(latents.shape).astype(np.float32)

    def diagnose(call):
        low, middle, high = (call(latents, noise, t) for t in (50, 500, 990))
        if np.ndim(low):
            return f"one number is wanted, found shape {low.shape}; take the mean over everything."
        if np.isclose(low, high, rtol=0.1):
            return "the error hardly depends on the timestep; is the latent noised to it?"
        if low > high:
            return "it falls with the timestep. Is that the error of the guess, or of the velocity?"
        # at timestep 990 the best guess is the average face, whose error is the latents' variance
        if not 0.4 * latents.var() < high < 1.6 * latents.var():
            return (
                f"at timestep 990 it is {high:.2f}; guessing an average face is nearer than that."
            )
        if low > 0.04:
            return f"at timestep 50 it is {low:.2f}, which is much. Squared before the mean?"
        if not low < middle < high:
            return "it should grow from timestep 50 to 500 to 990."

    _check_function("2.3", error_of_guess, (latents, noise, 500), diagnose)


def check_faces_needed(answer):
    """Exercise 3.1: N at which the noise floor of two groups falls below 0.02."""

    def diagnose(value):
        if value < 2:
            return "a number of faces is wanted."
        floor = noise_floor(int(value), n_groups=2, quantile=0.95, seed=0)
        if floor > 0.0208:
            return f"with {value:g} faces the floor is still {floor:.3f}."
        if floor < 0.0192:
            return f"that is more than needed: with {value:g} faces the floor is {floor:.4f}."

    _check_number("3.1", answer, diagnose)


def check_published_fd(reported, right):
    """Exercise 3.2: what a script that skips empty groups reports of a collapsed generator."""

    def of_script(value):
        if np.isclose(value, np.sqrt(0.5), atol=1e-3):
            return "that is what it should report. What does `counts` hold when all labels are 1?"
        if np.isclose(value, 0):
            return "its target is 1 / n_groups, and n_groups is 2 whatever is found."
        if not np.isclose(value, 0.5, atol=1e-3):
            return "run the script on `np.ones(100, int)`."

    def truth(value):
        if np.isclose(value, 0.5, atol=1e-3):
            return "that leaves out the group that never occurs; it is off by a half, too."
        if np.isclose(value, 1):
            return "two differences of a half: squared, added, and then?"
        if not np.isclose(value, np.sqrt(0.5), atol=1e-3):
            return "the shares are 0 and 1, the target is a half each; FD is their distance."

    _check_number("3.2, reported", reported, of_script)
    _check_number("3.2, right", right, truth)


def check_repaired_fd(repaired_fd):
    """Exercise 3.2: `repaired_fd(labels, n_groups)`, with empty groups counted."""

    def diagnose(call):
        for labels, k in (([1] * 20, 2), ([0, 0, 1, 3], 5), ([0, 1, 2] * 4, 3)):
            labels = np.array(labels)
            found, wanted = call(labels, k), fairness_discrepancy(shares(labels, k))
            if not np.isclose(found, wanted):
                missing = k - len(set(labels.tolist()))
                return f"with {missing} of {k} groups empty it gives {found:.3f}: not yet."

    _check_function("3.2, repaired", repaired_fd, (np.array([0, 1, 1]), 2), diagnose)


def check_largest_fd(largest_fd):
    """Exercise 3.3: `largest_fd(k)` for k groups and an even target."""

    def diagnose(call):
        k = np.array([2, 3, 7])
        found = np.array([call(n) for n in k])
        if np.allclose(found, (k - 1) / k):
            return "FD is a distance, so a root is missing."
        if np.allclose(found, 1 - 1 / k) or np.allclose(found, np.sqrt(2)):
            return "the target is even, so it lies as far from every corner; how far?"
        wanted = [fairness_discrepancy(np.eye(n)[0]) for n in k]
        if not np.allclose(found, wanted):
            return (
                f"for {k[0]} groups it gives {found[0]:.3f}; a generator of one group has another."
            )

    _check_function("3.3", largest_fd, (2,), diagnose)


def check_control_probe(answer):
    """Exercise 4.1: test accuracy of a probe of shuffled gender labels."""

    def diagnose(value):
        if value > 1:
            return "a balanced accuracy lies between 0 and 1."
        if value > 0.75:
            return "that high? Tested on the faces it was fitted on, or not shuffled?"
        # 600 test faces: four standard errors are about 0.09 with uneven groups
        if not 0.4 < value < 0.6:
            return "without information a probe guesses; what does guessing get with two groups?"

    _check_number("4.1", answer, diagnose)


def check_noisy_distance(noisy_distance):
    """Exercise 4.2: `noisy_distance(d, a)`, in noisy standard deviations."""

    def diagnose(call):
        d, a = 3.0, 0.25
        found = call(d, a)
        if np.isclose(found, d * a):
            return "means shrink by the root."
        if np.isclose(found, d * np.sqrt(a) / np.sqrt(1 - a)):
            return "the noisy spread isn't the noise alone; the clean spread is in it, too."
        if np.isclose(found, d * np.sqrt(a) / np.sqrt(a)):
            return "the spread doesn't only shrink with the signal: noise comes in."
        if np.isclose(found, d * np.sqrt(a) / (np.sqrt(a) + np.sqrt(1 - a))):
            return "standard deviations don't add; variances do."
        if not np.isclose(found, d * np.sqrt(a) / np.sqrt(a + 1 - a)):
            return f"for d = 3 and a = 0.25 it gives {found:.3f}; compute mean and variance apart."

    _check_function("4.2", noisy_distance, (2.0, 0.5), diagnose)


def check_balanced_accuracy(balanced_accuracy):
    """Exercise 4.3: `balanced_accuracy(truth, predicted)`, the mean of the groups' recalls."""

    def diagnose(call):
        truth, predicted = np.array([0] * 8 + [1] * 2), np.array([0] * 8 + [0, 1])
        found = call(truth, predicted)
        if np.ndim(found):
            return f"one number is wanted, found shape {found.shape}."
        if np.isclose(found, 0.9):
            return "that is plain accuracy: the larger group counts for more."
        if np.isclose(found, (8 / 9 + 1) / 2):
            return "look at a group's members by truth, not at those called so."
        if not np.isclose(found, 0.75):
            return f"of 8 recognised of 8, and 1 of 2, it makes {found:.3f}."
        if not np.isclose(call(np.array([0, 2, 2]), np.array([0, 2, 0])), 0.75):
            return "it counts a group that doesn't occur."

    zeros = np.array([0, 0, 1])
    _check_function("4.3", balanced_accuracy, (zeros, zeros), diagnose)


def check_purity(purity):
    """Exercise 5.1: `purity(table)`, the share of faces in their component's main group."""

    def diagnose(call):
        table = np.array([[90.0, 10.0], [5.0, 5.0]])  # column maxima would give 100 of 110
        found = call(table)
        if np.ndim(found):
            return "one number for the whole table is wanted; yours gives one a component."
        if np.isclose(found, 0.7):
            return "that is the mean over components: a small one counts as much as a large one."
        if np.isclose(found, 95):
            return "that counts faces; a share is wanted."
        if np.isclose(found, 100 / 110):
            return "the largest entry is sought in each row, over the groups."
        if not np.isclose(found, 95 / 110):
            return (
                f"of [[90, 10], [5, 5]] it makes {found:.3f}; how many of 110 are in a main group?"
            )

    _check_function("5.1", purity, (np.array([[3.0, 1.0], [2.0, 2.0]]),), diagnose)


def check_push_on(push_on):
    """Exercise 5.2: `push_on(mean, covariance, b)`, noising what is already noisy."""

    def diagnose(call):
        mean, covariance, a, b = np.array([1.0, -2.0]), np.diag([0.5, 2.0]), 0.6, 0.3
        at_a = np.sqrt(a) * mean, a * covariance + (1 - a) * np.eye(2)
        found = call(*at_a, b)
        found_mean, found_covariance = found[:2], found[2:].reshape(2, 2)
        if np.allclose(found_mean, b * at_a[0]):
            return "the mean is scaled by b; variances are scaled by b, values by its root."
        if not np.allclose(found_mean, np.sqrt(a * b) * mean):
            return "the mean is off: pushing the clean one to ab at once gives another."
        if np.allclose(found_covariance, b * at_a[1]):
            return "the covariance only shrinks; where is the new noise?"
        if np.allclose(found_covariance, b * at_a[1] + (1 - a * b) * np.eye(2)):
            return "too much noise: a part of it was there before you came."
        if not np.allclose(found_covariance, a * b * covariance + (1 - a * b) * np.eye(2)):
            return "the covariance is off: pushing the clean one to ab at once gives another."

    _check_function("5.2", _joined(push_on), (np.zeros(2), np.eye(2), 0.5), diagnose)


def check_bic(bic):
    """Exercise 5.3: `bic(log_likelihood, n, k, d)` of a mixture with full covariances."""
    likelihood, n, k, d = -5000.0, 800, 5, 4

    def diagnose(call):
        found = call(likelihood, n, k, d)
        if np.ndim(found):
            return f"one number is wanted, found shape {found.shape}."
        parameters = (k - 1) + k * d + k * d * (d + 1) / 2

        def charged(count):
            return -2 * likelihood + count * np.log(n)

        mistakes = {
            "the signs: a better fit must lower it, more parameters must raise it.": (
                2 * likelihood + parameters * np.log(n),
                2 * likelihood - parameters * np.log(n),
                -2 * likelihood - parameters * np.log(n),
            ),
            "that is AIC: its charge doesn't grow with the number of faces.": (
                -2 * likelihood + 2 * parameters,
            ),
            "the last weight is not free: they sum to one.": (charged(parameters + 1),),
            "the weights are missing among the parameters.": (charged(parameters - k + 1),),
            "a covariance is symmetric: not all of its d * d numbers are free.": (
                charged(k - 1 + k * d + k * d * d),
                charged(k + k * d + k * d * d),
            ),
            "those are diagonal covariances; full ones have more numbers.": (
                charged(k - 1 + 2 * k * d),
                charged(k + 2 * k * d),
            ),
            "the likelihood counts twice in BIC.": (-likelihood + parameters * np.log(n),),
        }
        for words, wrong in mistakes.items():
            if np.isclose(found, wrong).any():
                return words
        if not np.isclose(found, charged(parameters)):
            return f"for k = {k} and d = {d} it charges {found + 2 * likelihood:.1f}: not yet."

    _check_function("5.3", bic, (likelihood, n, k, d), diagnose)


def check_two_components(weight_of_first, lowest, highest):
    """Exercise 6.1: weights and reach of two components with shares 0.9 and 0.4 of group A."""

    def weight(value):
        if np.isclose(value, 0.8):
            return "that is how often the second one must be drawn."
        if np.isclose(value, 0.5):
            return "even weights give 65 % of group A."
        if not 0 <= value <= 1:
            return "a weight lies between 0 and 1."
        if not np.isclose(value, 0.2, atol=1e-6):
            return f"with that, {0.9 * value + 0.4 * (1 - value):.0%} of the faces are of group A."

    def reach(value, at):
        if value in (0, 1):
            return "no component makes such faces, so no mixture of them does."
        if not np.isclose(value, at):
            return "draw one component only, then the other only. What lies between?"

    _check_number("6.1, weight", weight_of_first, weight)
    _check_number("6.1, lowest", lowest, lambda value: reach(value, 0.4))
    _check_number("6.1, highest", highest, lambda value: reach(value, 0.9))


def check_promised_fd(promised_fd):
    """Exercise 6.2: `promised_fd(rng)`, what weights fitted on a tiny pilot promise."""

    def mean_of(rng):
        first = promised_fd(rng)
        if first is None or first is ...:
            return None
        return np.mean([first] + [promised_fd(rng) for _ in range(49)])

    def diagnose(call):
        found = call(np.random.default_rng(0))
        if found > 0.2:
            return f"{found:.2f} is the truth of these components, not what fitted weights promise."
        if found > 0.03:
            return (
                f"{found:.2f}: fitted weights promise less. Do yours come from this pilot's rows?"
            )

    _check_function("6.2", mean_of, (np.random.default_rng(0),), diagnose)


def check_keep_probability(keep_probability):
    """Exercise 6.3: `keep_probability(shares, target)` of rejection sampling, per group."""

    def diagnose(call):
        made, target = np.array([0.6, 0.3, 0.1]), np.array([0.5, 0.25, 0.25])
        found = call(made, target)
        if found.shape != (3,):
            return f"one probability a group is wanted, found shape {found.shape}."
        if found.max() > 1 + 1e-9 or found.min() < 0:
            return f"{found.round(2)} aren't probabilities."
        kept = made * found
        if np.allclose(kept / kept.sum(), target):
            return None if np.isclose(found.max(), 1) else "right shares, but too many thrown away."
        ratio = made / target
        if np.allclose(found, ratio / ratio.max()) or np.allclose(found, made / made.max()):
            return "frequent groups are kept most often; it should be the other way round."
        return f"the kept faces would have shares {(kept / kept.sum()).round(2)}, not the target's."

    halves = np.array([0.5, 0.5])
    _check_function("6.3", keep_probability, (halves, halves), diagnose)


def check_times_cheaper(answer):
    """Exercise 7.1: calls per kept face, rejection over localized, from the results' table."""
    heads = _results().query("world == 'heads'")
    calls = heads.groupby("method")["calls"].mean()
    wanted = calls["rejection"] / calls["overshoot"]

    def diagnose(value):
        if np.isclose(value, 1 / wanted, rtol=0.02):
            return "that is the other way round: how many times more does rejection need?"
        if np.isclose(value, calls["rejection"] / calls["plain"], rtol=0.02):
            return "that is against plain sampling, which is not evened out."
        if np.isclose(value, calls["rejection"] - calls["overshoot"], rtol=0.02):
            return "that is a difference; how many times?"
        if not np.isclose(value, wanted, rtol=0.02):
            return f"{value:.3g} isn't the quotient of the two means. Only rows of the heads?"

    _check_number("7.1", answer, diagnose)


def check_frechet_1d(frechet_1d):
    """Exercise 7.2: `frechet_1d(m1, s1, m2, s2)`, squared, of two Gaussians on a line."""

    def diagnose(call):
        m1, s1, m2, s2 = 1.0, 2.0, 4.0, 0.5
        found, wanted = call(m1, s1, m2, s2), 9 + 1.5**2
        if np.isclose(found, np.sqrt(wanted)):
            return "that is its root; this notebook leaves it squared."
        if np.isclose(found, 9 + (s1**2 - s2**2) ** 2):
            return "differences of standard deviations count, not of variances."
        if np.isclose(found, 9 + s1**2 + s2**2):
            return "the last term of the trace is missing."
        if np.isclose(found, 9):
            return "two crowds with one mean can still differ."
        if not np.isclose(found, wanted):
            return f"for N(1, 2^2) and N(4, 0.5^2) it gives {found:.2f}."

    _check_function("7.2", frechet_1d, (0.0, 1.0, 1.0, 1.0), diagnose)


def check_recall(recall):
    """Exercise 7.3: `recall(made, real, k)` by balls around the generated points."""
    # drawn so that precision, recall and coverage differ
    rng = np.random.default_rng(2)
    made, real = rng.normal(0, 1, (40, 2)), rng.normal(1, 1.5, (60, 2))

    def diagnose(call):
        found, scores = call(made, real, 3), manifold_scores(made, real, 3)
        if np.ndim(found):
            return f"one number is wanted, found shape {found.shape}."
        others = {
            "that is precision: the balls are around the wrong points.": scores["precision"],
            "that is coverage: the balls are around the real points.": scores["coverage"],
            "your balls reach one neighbour short; a point is not its own neighbour.": (
                manifold_scores(made, real, 2)["recall"]
            ),
        }
        for words, wrong in others.items():
            if np.isclose(found, wrong) and not np.isclose(wrong, scores["recall"]):
                return words
        if not np.isclose(found, scores["recall"]):
            return f"for 40 generated and 60 real points it gives {found:.3f}: not yet."

    _check_function("7.3", recall, (made, real, 3), diagnose)


def check_balancing_weights(balancing_weights):
    """Exercise 8.1: `balancing_weights(groups)`, one weight an example; they sum to its length."""
    groups = np.repeat([0, 1, 2], [2, 3, 15])[np.random.default_rng(0).permutation(20)]
    counts = np.bincount(groups)

    def diagnose(call):
        found = call(groups)
        if found.shape != groups.shape:
            return f"one weight for each of {len(groups)} examples is wanted, found {found.shape}."
        of_groups = np.bincount(groups, found)
        if of_groups[2] > 1.01 * of_groups[0] and found[groups == 2][0] > found[groups == 0][0]:
            return "the frequent group's members weigh more than the rare one's."
        if np.allclose(found, found[0]):
            return "all examples weigh alike, so the groups still count as their sizes."
        if not np.allclose(of_groups, of_groups[0]):
            return f"groups of {counts.tolist()} examples count {np.round(of_groups, 2).tolist()}."
        if not np.isclose(found.sum(), len(groups)):
            return f"the groups count alike, but all weights sum to {found.sum():g}."

    _check_function("8.1", balancing_weights, (groups,), diagnose)


def check_paired_interval(paired_interval):
    """Exercise 8.2: `paired_interval(before, after)`, returning mean, low and high."""
    rng = np.random.default_rng(1)
    before = rng.normal(0.75, 0.03, 8)
    after = before + rng.normal(0.02, 0.01, 8)

    def diagnose(call):
        found = call(before, after)
        if found.shape != (3,):
            return f"three numbers are wanted, found shape {found.shape}."
        difference = after - before
        mean, error = difference.mean(), difference.std(ddof=1) / np.sqrt(8)
        if np.isclose(found[0], -mean):
            return "the sign is turned around: a rise is a positive change."
        if not np.isclose(found[0], mean):
            return f"the mean change should be near {mean:.1g}; yours is {found[0]:.3g}."
        half = (found[2] - found[1]) / 2
        t = stats.t.ppf(0.975, 7)
        unpaired = np.hypot(stats.sem(before), stats.sem(after))
        mistakes = {
            "that is 1.96 standard errors; eight values know their spread less well than that.": (
                stats.norm.ppf(0.975) * error
            ),
            "that is the spread of the differences, not of their mean.": t * error * np.sqrt(8),
            "that treats the two as independent; the same training sets are in both.": t * unpaired,
            "that standard deviation divides by n; it was estimated with its own mean.": (
                t * error * np.sqrt(7 / 8)
            ),
            "that quantile leaves 5 % on each side.": stats.t.ppf(0.95, 7) * error,
            "that quantile has one degree of freedom too many.": stats.t.ppf(0.975, 8) * error,
        }
        for words, wrong in mistakes.items():
            if np.isclose(half, wrong, rtol=1e-6):
                return words
        if not np.isclose(half, t * error, rtol=1e-4) or not np.isclose(found[1], mean - half):
            return "the mean is right; its interval isn't."

    _check_function("8.2", _joined(paired_interval), (before, after), diagnose)


def check_equalised_odds(equalised_odds):
    """Exercise 8.3: `equalised_odds(y_true, y_pred, groups)`, as fairlearn computes it."""
    rng = np.random.default_rng(2)
    y_true, groups = rng.integers(0, 2, 90), rng.integers(0, 3, 90)
    y_pred = np.where(rng.random(90) < 0.6 + 0.1 * groups, y_true, rng.integers(0, 2, 90))

    def diagnose(call):
        found = call(y_true, y_pred, groups)
        if np.ndim(found):
            return f"one number is wanted, found shape {found.shape}."

        def gap(truth):
            return np.ptp([y_pred[(groups == g) & (y_true == truth)].mean() for g in range(3)])

        right = [(y_pred == y_true)[groups == g].mean() for g in range(3)]
        mistakes = {
            "that is the gap in accuracy; take the two kinds of error apart.": np.ptp(right),
            "that is the gap in the share called 1, whatever the true label.": np.ptp(
                [y_pred[groups == g].mean() for g in range(3)]
            ),
            "that is the sum of both gaps.": gap(0) + gap(1),
            "that is the mean of both gaps.": (gap(0) + gap(1)) / 2,
            "that is the smaller of the two gaps.": min(gap(0), gap(1)),
        }
        for words, wrong in mistakes.items():
            if np.isclose(found, wrong):
                return words
        if not np.isclose(found, max(gap(0), gap(1))):
            return f"for 90 faces of three groups it gives {found:.3f}: not yet."

    _check_function("8.3", equalised_odds, (y_true, y_pred, groups), diagnose)


def check_reduction(answer):
    """Exercise 9.1: the part of plain sampling's discrepancy that is gone, in [0, 1]."""
    table = _results().query("world == 'utkface' and attribute == 'gender,race'")
    plain, left = (
        table.loc[table["method"] == method, "fd_corrected"].mean()
        for method in ("plain", "localized_pilot")
    )

    def diagnose(value):
        if np.isclose(value, 1 - left / plain, atol=0.002):
            return None
        if value > 1:
            return "give a part between 0 and 1, not per cent."
        if np.isclose(value, left / plain, atol=0.002):
            return "that is the part that is left."
        if np.isclose(value, plain - left, atol=0.002):
            return "that is the difference; which part of plain sampling's is it?"
        return f"{value:.3f} isn't it. Are world, attribute and column the right ones?"

    _check_number("9.1", answer, diagnose)


def check_true_share(true_share):
    """Exercise 9.2: `true_share(q, recall, false)` of group A."""

    def diagnose(call):
        q, recall, false = 0.5, 0.9, 0.2
        found = call(q, recall, false)
        mistakes = {
            "that divides by the recall alone; faces of B are called A, too.": q / recall,
            "the false ones are taken out; of what is the rest a part?": q - false,
            "that is the share expected to be reported, if q were the true one.": (
                q * recall + (1 - q) * false
            ),
            "the false ones are taken out, but the rest is divided by the recall alone.": (
                (q - false) / recall
            ),
        }
        for words, wrong in mistakes.items():
            if np.isclose(found, wrong):
                return words
        if not np.isclose(found, (q - false) / (recall - false)):
            return f"for a report of {q}, recall {recall}, false {false} it gives {found:.3f}."

    _check_function("9.2", true_share, (0.4, 0.8, 0.1), diagnose)


def check_faces_to_plan(faces_to_plan):
    """Exercise 9.3: `faces_to_plan(half, recall, false)`, a number of faces."""

    def diagnose(call):
        half, recall, false = 0.02, 0.8, 0.1
        found = call(half, recall, false)
        perfect = (1.96 / half) ** 2 * 0.25
        wanted = perfect / (recall - false) ** 2
        mistakes = {
            "that is for a perfect classifier.": perfect,
            "a share that is divided by a number has its variance divided by the square.": (
                perfect / (recall - false)
            ),
            "the interval reaches `half` to either side; all of it is twice as wide.": wanted / 4,
            "that is one standard error; 95 % take 1.96 of them.": wanted / 1.96**2,
            "a standard error falls with the root of n; square what you have.": np.sqrt(wanted),
        }
        for words, wrong in mistakes.items():
            if abs(found - wrong) <= 1 + 0.005 * wrong:
                return words
        if found < wanted - 1e-6:
            return f"{found:.0f} faces are too few, if the true share is the worst one."
        if found > 1.01 * wanted + 1:
            return f"{found:.0f} faces are more than needed."

    _check_function("9.3", faces_to_plan, (0.05, 0.9, 0.1), diagnose)


def check_covariance_gigabytes(covariance_gigabytes):
    """Exercise 10.1: `covariance_gigabytes(shape)` of one full covariance in float32."""

    def diagnose(call):
        shape = (3, 64, 64)
        found, features = call(shape), np.prod(shape)
        mistakes = {
            "that is one latent; a covariance has a row and a column for each value.": (
                4 * features / 1e9
            ),
            "that is how many numbers; each takes four bytes.": features**2 / 1e9,
            "float32 takes four bytes, not eight.": 8 * features**2 / 1e9,
            "a gigabyte is 10^9 bytes.": 4 * features**2 / 1e6,
            "a latent has channels, too.": 4 * (64 * 64) ** 2 / 1e9,
        }
        for words, wrong in mistakes.items():
            if np.isclose(found, wrong):
                return words
        if not np.isclose(found, 4 * features**2 / 1e9, rtol=0.1):
            return f"for shape {shape} it gives {found:.3g}."

    _check_function("10.1", covariance_gigabytes, ((16, 8, 8),), diagnose)


def check_detail_left(detail_left):
    """Exercise 10.2: `detail_left(x, block)`, what block means leave of pictures."""

    def diagnose(call):
        x = np.random.default_rng(0).standard_normal((3, 2, 8, 8))
        found = np.asarray(call(x, 4))
        if found.shape != x.shape:
            return f"it has shape {found.shape}; as much is left as there was: {x.shape}."
        means = x.reshape(3, 2, 2, 4, 2, 4).mean((3, 5)).repeat(4, 2).repeat(4, 3)
        if np.allclose(found, means):
            return "those are the means; what do they leave?"
        if np.allclose(found, x - x.mean((2, 3), keepdims=True)):
            return "every block has a mean of its own."
        if np.allclose(found, means - x):
            return "the sign is turned round."
        if not np.allclose(found, x - means):
            return "the mean of some block of what is left isn't zero, or too much is gone."

    _check_function("10.2", detail_left, (np.ones((1, 1, 4, 4)), 2), diagnose)


def check_shards_to_do(shards_to_do):
    """Exercise 10.3: `shards_to_do(n_shards, rank, processes, done)`, a list of numbers."""

    def diagnose(call):
        plan = [list(call(10, rank, 3, {1, 5})) for rank in range(3)]
        everything = sorted(shard for mine in plan for shard in mine)
        if {1, 5} & set(everything):
            return "a shard that is done is made again."
        if len(set(everything)) < len(everything):
            return f"shards {_twice(everything)} are made by two processes."
        if everything != [0, 2, 3, 4, 6, 7, 8, 9]:
            missing = sorted({0, 2, 3, 4, 6, 7, 8, 9} - set(everything))
            return f"shards {missing} are made by nobody, or one is made that isn't there."
        if max(map(len, plan)) - min(map(len, plan)) > 2:
            return "one process has nearly all the work."
        if [list(call(10, rank, 3, {1, 5, 0})) for rank in (1, 2)] != plan[1:]:
            return (
                "while the processes start, others finish shards: which are whose must not depend "
                "on what is done, or two may take the same."
            )

    _check_function("10.3", shards_to_do, (4, 0, 2, set()), diagnose)


def _twice(numbers):
    return sorted({number for number in numbers if numbers.count(number) > 1})


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
    women = training[training["gender"] == "female"]
    chosen = women["hair_style"].isin(["long", "bob", "bun"])
    # by hand: the mean over cells of each cell's own share
    wanted = chosen.groupby([women["ancestry"], women["age"]]).mean().mean()

    def diagnose(value):
        if value > 1:
            return "a share lies between 0 and 1."
        if np.isclose(value, wanted, atol=1e-6):
            return None
        if np.isclose(value, chosen.mean(), atol=1e-6):
            return "that is the share without weights."
        if np.isclose(value, training["hair_style"].isin(["long", "bob", "bun"]).mean(), atol=0.01):
            return "that is of all heads; the question is about the women."
        if np.isclose(value, wanted / 2, atol=0.02):
            return "that is a share of everybody; divide by the women's weight, not by all."
        return f"{value:.3f} isn't it. Does every one of the women's 9 cells count alike?"

    _check_number("11.1", answer, diagnose)


def check_rise_of_reported_share(rise_of_reported_share):
    """Exercise 11.2: `rise_of_reported_share(p, recall_a, false_a, d)`."""

    def diagnose(call):
        p, recall, false, d = 0.2, 0.9, 0.05, 0.1
        found = call(p, recall, false, d)
        if np.isclose(found, d):
            return "only faces that are not of group A are affected."
        if np.isclose(found, p * d):
            return "that would be so if the faces of group A were affected; it is the others."
        if np.isclose(found, p * recall + (1 - p) * (false + d)):
            return "that is the reported share itself; by how much did it rise?"
        if not np.isclose(found, (1 - p) * d):
            return f"with p = {p} and d = {d} it gives {found:.3f}; subtract the share before."

    _check_function("11.2", rise_of_reported_share, (0.5, 0.9, 0.1, 0.1), diagnose)


def check_model_card(model_card):
    """Exercise 11.3: a dict with a sentence for each of `CARD_ENTRIES`."""
    if model_card is None or model_card is ...:
        return _say("11.3", "not answered yet. Replace the three dots.")
    if not isinstance(model_card, dict):
        return _say("11.3", f"a dict is wanted, found {type(model_card).__name__}.")
    missing = [entry for entry in CARD_ENTRIES if entry not in model_card]
    if missing:
        return _say("11.3", f"these entries are missing: {', '.join(missing)}.")
    for entry in CARD_ENTRIES:
        text = str(model_card[entry])
        if len(text.split()) < 5:
            return _say("11.3", f"{entry!r} says {text!r}; a reader needs a sentence.")
        if any(claim in text.lower() for claim in ("unbias", "debias", "bias-free", "is fair")):
            return _say("11.3", f"{entry!r} claims a cure; say what was measured instead.")
    if not any(character.isdigit() for character in str(model_card["measurements"])):
        return _say("11.3", "'measurements' names no number.")
    if "n =" not in str(model_card["measurements"]).lower():
        return _say("11.3", "'measurements' has a number but not its N.")
    _say("11.3", None)
