r"""Random numbers that are the same on every library and device: a counter-based generator in integer arithmetic.

Threefry-2x32 with 20 rounds (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011). A key is an int32
array of two words; a value depends on the key and on its own position alone, so that nothing is ever advanced. The
32-bit words are held as int32 in two's complement, because torch has no arithmetic on unsigned types and JAX without
x64 no 64-bit integers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from uniopt.backends import registry
from uniopt.errors import HyperparameterError
from uniopt.numerics import is_complex
from uniopt.typing import Array

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = 0x1BD11BDA


def key(seed: int | Sequence[int], like: Array) -> Array:
    """Return a key made from a seed.

    Parameters
    ----------
    seed
        An integer below 2**64, or two words below 2**32.
    like
        An array of the library, on the device, where the key shall live.

    Returns
    -------
    Array
        int32, shape (2,).

    Raises
    ------
    HyperparameterError
        If the seed is neither.
    """
    backend = registry.backend_of(like)
    return backend.asarray([_signed(word) for word in seed_words(seed)], dtype=backend.xp.int32, like=like)


def seed_words(seed: int | Sequence[int]) -> tuple[int, int]:
    """Return a seed as two words below 2**32; HyperparameterError if it is none."""
    if hasattr(seed, "__index__"):
        words: Sequence[int] = (int(seed) >> 32, int(seed) & 0xFFFFFFFF)
    else:
        words = seed if isinstance(seed, Sequence) else ()
    if len(words) != 2 or not all(hasattr(word, "__index__") and 0 <= word < 2**32 for word in words):
        raise HyperparameterError(
            f"The seed is {seed!r}, expected an integer in [0, 2**64) or two words in [0, 2**32)."
        )
    return int(words[0]), int(words[1])


def fold_in(rng_key: Array, data: Array | int) -> Array:
    """Return another key that follows from a key and a number, such as a step count.

    Parameters
    ----------
    rng_key
        int32, shape (2,).
    data
        A Python integer below 2**32, or a 0-d int32 array.
    """
    backend = registry.backend_of(rng_key)
    xp = backend.xp
    zero = xp.zeros_like(rng_key[:1])
    low = zero + (_signed(data) if isinstance(data, int) else data)
    return xp.concat(threefry(xp, rng_key, zero, low))


def split(rng_key: Array, num: int = 2) -> list[Array]:
    """Return `num` keys that follow from a key."""
    return [fold_in(rng_key, i) for i in range(num)]


def bits(rng_key: Array, like: Array, stream: int = 0) -> Array:
    """Return 32 random bits for each element of `like`, as int32.

    Parameters
    ----------
    rng_key
        int32, shape (2,).
    like
        Gives the shape and the place (device, sharding) of the result, not the dtype.
    stream
        Tells arrays drawn with one key apart, such as the leaves of a tree.
    """
    return _words(rng_key, like, stream)[0]


def uniform(rng_key: Array, like: Array, stream: int = 0) -> Array:
    """Return numbers uniform in (0, 1), odd multiples of 2**-24, in the floating-point dtype of `like`."""
    backend = registry.backend_of(like)
    return _uniform(backend, bits(rng_key, like, stream), like.dtype)


def normal(rng_key: Array, like: Array, stream: int = 0) -> Array:
    """Return standard normal numbers for each element of `like`, in its floating-point dtype.

    By the Box-Muller transform, in float64 where the device has it, so that libraries differ by rounding only; the
    largest value is 5.8. Complex numbers have variance 1: 1/2 in each part.
    """
    backend = registry.backend_of(like)
    xp = backend.xp
    wide = backend.dtype("float64" if backend.has_float64(like) else "float32")
    first, second = _words(rng_key, like, stream)
    radius = xp.sqrt(-2.0 * xp.log(_uniform(backend, first, wide)))
    cosine, sine = _cosine_and_sine(xp, _uniform(backend, second, wide))
    if is_complex(like):
        radius = radius * math.sqrt(0.5)
        return backend.astype(radius * cosine, like.dtype) + 1j * backend.astype(radius * sine, like.dtype)
    return backend.astype(radius * cosine, like.dtype)


def threefry(xp: Any, rng_key: Array, x0: Array, x1: Array) -> tuple[Array, Array]:
    """Return the two words that Threefry-2x32-20 makes of the counter words `x0`, `x1`.

    Parameters
    ----------
    xp
        Array API namespace of the arrays.
    rng_key
        int32, shape (2,).
    x0, x1
        int32 arrays of one shape, not 0-d (NumPy warns of overflow in scalars, not in arrays).
    """
    k0, k1 = rng_key[0], rng_key[1]
    schedule = (k0, k1, k0 ^ k1 ^ _PARITY)
    x0, x1 = x0 + k0, x1 + k1
    for group in range(5):
        for distance in _ROTATIONS[group % 2]:
            x0 = x0 + x1
            x1 = _rotate_left(xp, x1, distance) ^ x0
        x0 = x0 + schedule[(group + 1) % 3]
        x1 = x1 + schedule[(group + 2) % 3] + (group + 1)
    return x0, x1


def _rotate_left(xp: Any, x: Array, distance: int) -> Array:
    # A right shift of int32 copies the sign bit, so the bits that come round are masked. Functions, not operators:
    # << and >> leave a DTensor as it is.
    low = xp.bitwise_right_shift(x, 32 - distance) & ((1 << distance) - 1)
    return xp.bitwise_left_shift(x, distance) | low


def _words(rng_key: Array, like: Array, stream: int) -> tuple[Array, Array]:
    backend = registry.backend_of(like)
    xp = backend.xp
    size = math.prod(like.shape)
    index = xp.reshape(xp.arange(size, dtype=xp.int32), like.shape or (1,))
    index = backend.place(index, like)
    here = backend.place(rng_key, like)
    words = threefry(xp, here, index, xp.zeros_like(index) + _signed(stream))
    first, second = (xp.reshape(word, like.shape) for word in words)
    return first, second


def _uniform(backend: Any, word: Array, dtype: Any) -> Array:
    # 23 bits and a half: the most that float32 holds exactly, so that every library has the same value.
    top = backend.astype(backend.xp.bitwise_right_shift(word, 9) & 0x7FFFFF, backend.dtype("float32"))
    return backend.astype((top + 0.5) * 2.0**-23, dtype)


def _cosine_and_sine(xp: Any, turns: Array) -> tuple[Array, Array]:
    """Return cosine and sine of an angle given in turns, in [0, 1).

    By quarter turns, which are exact: near the zeros of the cosine, an angle that has been rounded is off by thousands
    of ulp.
    """
    quarters = 4.0 * turns
    nearest = xp.floor(quarters + 0.5)
    rest = (quarters - nearest) * (0.5 * math.pi)
    cosine, sine = xp.cos(rest), xp.sin(rest)
    sideways = (nearest == 1.0) | (nearest == 3.0)
    x, y = xp.where(sideways, sine, cosine), xp.where(sideways, cosine, sine)
    return xp.where((nearest == 1.0) | (nearest == 2.0), -x, x), xp.where((nearest == 2.0) | (nearest == 3.0), -y, y)


def _signed(word: int) -> int:
    return word - 2**32 if word >= 2**31 else word
