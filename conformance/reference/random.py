"""Threefry-2x32 with 20 rounds in Python integers, and the numbers drawn from it.

Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011. A key is two 32-bit words, and so is a counter.
"""

from __future__ import annotations

import math
from typing import TypeAlias

Words: TypeAlias = tuple[int, int]

_WORD = 2**32
_PARITY = 0x1BD11BDA  # the upper half of Skein's 64-bit constant
_ROTATIONS = [13, 15, 26, 6, 17, 29, 16, 24]


def threefry(key: Words, counter: Words) -> Words:
    """Return the block of a counter under a key."""
    ks = [key[0], key[1], _PARITY ^ key[0] ^ key[1]]
    x0 = (counter[0] + ks[0]) % _WORD
    x1 = (counter[1] + ks[1]) % _WORD
    for r in range(20):
        x0 = (x0 + x1) % _WORD
        d = _ROTATIONS[r % 8]
        x1 = (x1 * 2**d) % _WORD + x1 // 2 ** (32 - d)  # rotated to the left by d bits
        x1 = x1 ^ x0
        if r % 4 == 3:  # after every fourth round the key goes in again
            s = r // 4 + 1
            x0 = (x0 + ks[s % 3]) % _WORD
            x1 = (x1 + ks[(s + 1) % 3] + s) % _WORD
    return x0, x1


def key_of(seed: int) -> Words:
    """Return the key of a seed in [0, 2**64): its high word, then its low word."""
    return seed // _WORD, seed % _WORD


def fold_in(key: Words, data: int) -> Words:
    """Return the key that follows from a key and a number in [0, 2**32)."""
    return threefry(key, (0, data))


def uniform(word: int) -> float:
    """Return the number in (0, 1) of a word: the middle of one of 2**23 equal intervals, by its upper 23 bits."""
    return (word // 2**9 + 0.5) / 2**23


def normal(key: Words, i: int, stream: int) -> float:
    """Return standard normal number i of a stream: sqrt(-2 log u0) cos(2 pi u1) (Box and Muller 1958)."""
    word0, word1 = threefry(key, (i, stream))
    return math.sqrt(-2 * math.log(uniform(word0))) * math.cos(2 * math.pi * uniform(word1))
