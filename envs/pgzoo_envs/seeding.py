"""What NumPy's generators draw first, for many seeds at once.

An environment that is reset with a seed makes a generator of it, in about 10 µs: a quarter of what
a step of eighty CartPoles takes. Here the same numbers come out of array operations for all seeds
together: the seed is spread over 256 bits as ``np.random.SeedSequence`` does it (O'Neill 2015,
"Developing a seed_seq alternative"), and these start a PCG64 generator (O'Neill 2014, PCG XSL RR
128/64). NumPy promises to keep both streams as they are.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

DRAWS = 4

_POOL = 4
_LEFT, _RIGHT, _16 = (np.uint32(n) for n in (0xCA01F9DD, 0x4973F715, 16))
_1, _11, _32, _58, _63 = (np.uint64(n) for n in (1, 11, 32, 58, 63))
_LOW_HALF = np.uint64(0xFFFFFFFF)
_PCG_FACTOR = (2549297995355413924 << 64) + 4865540595714422341


def _powers(first: int, factor: int, count: int, bits: int) -> list[int]:
    return [first * pow(factor, i, 1 << bits) % (1 << bits) for i in range(count)]


def _column(numbers: list[int], kind: type[np.unsignedinteger]) -> NDArray:
    return np.array(numbers, kind)[:, None]


def _hash_constants(first: int, factor: int, uses: list[list[int]]) -> list[tuple[NDArray, ...]]:
    """The n-th use of the hash takes the n-th power for its xor and the next as its factor."""
    powers = _powers(first, factor, max(map(max, uses)) + 2, 32)
    return [
        tuple(_column([powers[n + after] for n in use], np.uint32) for after in (0, 1))
        for use in uses
    ]


def _wide(rows: list[list[int]]) -> tuple[NDArray, NDArray]:
    """128-bit numbers as high and low 64 bits, with a last axis for the seeds."""
    high, low = ([[n >> shift & (1 << 64) - 1 for n in row] for row in rows] for shift in (64, 0))
    return np.array(high, np.uint64)[..., None], np.array(low, np.uint64)[..., None]


# Each word of the pool is mixed into the three others; its own place is a dummy.
_FILLING = [list(range(_POOL))]
_STIRRING = [[4 + 3 * i + j - (j > i) for j in range(_POOL)] for i in range(_POOL)]
_FILL, *_STIR = _hash_constants(0x43B0D7E5, 0x931E8875, _FILLING + _STIRRING)
(_DRAW,) = _hash_constants(0x8B51F9DD, 0x58F38DED, [list(range(2 * _POOL))])

# The state behind the k-th number is M^(k+2) · start + (1 + M + … + M^(k+2)) · increment.
_STEPS = _powers(1, _PCG_FACTOR, DRAWS + 2, 128)
_FACTORS = _wide([_STEPS[2:], [sum(_STEPS[: k + 3]) % (1 << 128) for k in range(DRAWS)]])


def first_random(seeds: NDArray[np.int64]) -> NDArray[np.float64]:
    """``np.random.default_rng(seed).random(4)`` for each seed.

    Args:
        seeds: non-negative, ``[n]``.

    Returns:
        numbers in [0, 1), ``[n, 4]``.
    """
    words = _spread(seeds).astype(np.uint64)
    high, low = (words[::2] | words[1::2] << _32).reshape(2, 2, 1, -1).swapaxes(0, 1)
    high[1] = high[1] << _1 | low[1] >> _63
    low[1] = low[1] << _1 | _1
    high, low = _product(high, low, *_FACTORS)
    low_sum = low[0] + low[1]
    high_sum = high[0] + high[1] + (low_sum < low[1])
    mixed, turn = high_sum ^ low_sum, high_sum >> _58
    rotated = mixed >> turn | mixed << (-turn & _63)
    return ((rotated >> _11) * 2.0**-53).T


def _spread(seeds: NDArray[np.int64]) -> NDArray[np.uint32]:
    """``np.random.SeedSequence(seed).generate_state(8)`` for each seed, ``[8, n]``."""
    words = np.zeros((_POOL, len(seeds)), np.uint32)
    words[0], words[1] = seeds & 0xFFFFFFFF, seeds >> 32
    pool = _hash(words, *_FILL)
    for i, constants in enumerate(_STIR):
        stirred = _LEFT * pool - _RIGHT * _hash(pool[i], *constants)
        stirred ^= stirred >> _16
        stirred[i] = pool[i]
        pool = stirred
    return _hash(np.concatenate([pool, pool]), *_DRAW)


def _hash(values: NDArray, mask: NDArray, factor: NDArray) -> NDArray[np.uint32]:
    hashed = (values ^ mask) * factor
    hashed ^= hashed >> _16
    return hashed


def _product(
    high: NDArray, low: NDArray, other_high: NDArray, other_low: NDArray
) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Product modulo 2^128 of numbers given, and returned, as two halves."""
    a, b = low >> _32, low & _LOW_HALF
    c, d = other_low >> _32, other_low & _LOW_HALF
    middle, other_middle = a * d, b * c
    carry = (b * d >> _32) + (middle & _LOW_HALF) + (other_middle & _LOW_HALF)
    above = a * c + (middle >> _32) + (other_middle >> _32) + (carry >> _32)
    return above + high * other_low + low * other_high, low * other_low
