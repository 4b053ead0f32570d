"""Notebook 2: meet the generator."""

import numpy as np

from fairgen_utils.course._checking import (
    Problem,
    check_function,
    check_number,
    numbers_of,
    say,
    verdict,
)


def check_compression(times_fewer_numbers, times_fewer_bits):
    """Exercise 2.1: how much smaller an 8x8x16 latent is than a 64x64 picture in colour."""

    def numbers(value):
        mistakes = [
            (4, "a picture has three colours."),
            (1 / 12, "that says how many times larger; turn it round."),
            (192, "a latent has channels, too."),
        ]
        otherwise = f"{value:g} isn't the quotient of the two counts; print the shapes of both."
        return verdict(value, 12, mistakes, otherwise)

    def bits(value):
        mistakes = [
            (24, "a latent number takes more bits than a pixel value, not fewer."),
            (12, "that would be so if both took the same number of bits."),
            (1 / 6, "that says how many times larger; turn it round."),
        ]
        otherwise = f"{value:g} isn't the quotient of the two sizes in bits."
        return verdict(value, 6, mistakes, otherwise)

    check_number("2.1, numbers", times_fewer_numbers, numbers)
    check_number("2.1, bits", times_fewer_bits, bits)


def check_noise_from_velocity(noise_from_velocity):
    """Exercise 2.2: `noise_from_velocity(x, v, a)` for velocity prediction."""

    def diagnose(call):
        a = 0.3
        signal, noise = np.sqrt(a), np.sqrt(1 - a)
        mistakes = [
            ([signal, -noise], "that is the clean latent. What is the noise?"),
            (
                [signal, noise],
                "signal and noise have changed places: at a = 1, x holds no noise at all.",
            ),
            ([1 - a, a], "a and 1 - a are the squares of the factors."),
            ([noise, -signal], "check the sign of v: it points from clean latent to noise."),
        ]
        x, v = signal * 2 - noise, -signal - noise * 2
        example = float(call(x, v, a))
        otherwise = f"with x0 = 2, noise = -1 and a = 0.3, yours finds a noise of {example:.3g}."
        found = [call(1.0, 0.0, a), call(0.0, 1.0, a)]
        return verdict(found, [noise, signal], mistakes, otherwise)

    check_function("2.2", noise_from_velocity, (1.0, 0.5, 0.3), diagnose)


def check_error_of_guess(error_of_guess, latents):
    """Exercise 2.3: `error_of_guess(latents, noise, timestep)`, a mean squared error."""
    try:
        spread = numbers_of(latents).var()
        noise = np.random.default_rng(0).standard_normal(np.shape(latents)).astype(np.float32)
        if not spread:
            raise Problem("those don't differ.")
    except Problem as found:
        return say("2.3", f"the second argument should be the notebook's latents: {found}")

    def diagnose(call):
        low, middle, high = (call(latents, noise, t) for t in (50, 500, 990))
        if np.isclose(low, high, rtol=0.1):
            return "the error hardly depends on the timestep; is the latent noised to it?"
        if low > high:
            return "it falls with the timestep. Is that the error of the guess, or of the velocity?"
        # at timestep 990 the best guess is the average face, whose error is the latents' variance
        if not 0.4 * spread < high < 1.6 * spread:
            return (
                f"at timestep 990 it is {high:.2f}; guessing an average face is nearer than that."
            )
        if low > 0.04:
            return f"at timestep 50 it is {low:.2f}, which is much. Squared before the mean?"
        if not low < middle < high:
            return "it should grow from timestep 50 to 500 to 990."

    check_function("2.3", error_of_guess, (latents, noise, 500), diagnose)
