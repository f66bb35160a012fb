"""Rules that nobody here wrote: one function for each thing that compiled steps have to get right."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import uniopt


class Slots(NamedTuple):
    count: Any
    m: Any
    n: Any


def init(xp: Any, p: Any) -> dict[str, Any]:
    return {"m": 0.5 * p, "n": xp.astype(xp.zeros_like(p), xp.int32)}


def numbered(xp: Any, g: Any, dtype: Any) -> Any:
    """Return the position of each element."""
    return xp.reshape(xp.arange(math.prod(g.shape), dtype=dtype), g.shape)


Rule = Callable[..., Any]

# Every element by itself: the same bits.
ELEMENTWISE: dict[str, Rule] = {
    "integers that no float64 holds": lambda xp, g, s: (
        g * xp.astype((xp.astype(s.n, xp.int64) + (xp.astype(0 * xp.max(g), xp.int64) + (2**53 + 1))) & 3, g.dtype),
        s,
    ),
    "powers": lambda xp, g, s: (xp.pow(xp.abs(g), 0.75) + g**3 - xp.abs(s.m) ** -0.5 + (g * g + 1) ** 0.5, s),
    "a power of a number": lambda xp, g, s: (g + 0.5**s.m, s),
    "exponentials": lambda xp, g, s: (xp.exp(g) - xp.expm1(g) + xp.log(xp.abs(g) + 1) * xp.log1p(xp.abs(s.m)), s),
    "logarithms": lambda xp, g, s: (xp.log2(xp.abs(g) + 1) + xp.log10(xp.abs(g) + 2) + xp.logaddexp(g, s.m), s),
    "trigonometry": lambda xp, g, s: (xp.sin(g) + xp.cos(s.m) * xp.tan(g) + xp.atan2(g, s.m) + xp.hypot(g, s.m), s),
    "hyperbolas": lambda xp, g, s: (xp.tanh(g) + xp.sinh(s.m) - xp.asinh(g) + xp.acosh(xp.cosh(g)), s),
    "inverses": lambda xp, g, s: (xp.atan(g) + xp.asin(xp.tanh(g)) + xp.acos(xp.tanh(g)) + xp.reciprocal(g + 9), s),
    "clip": lambda xp, g, s: (xp.clip(g, -0.5, 0.25) + xp.clip(s.m, min=0.0) - xp.clip(g, max=0.5), s),
    "clip by arrays": lambda xp, g, s: (xp.clip(g, -xp.abs(s.m), xp.abs(s.m)), s),
    "where": lambda xp, g, s: (xp.where((g > 0) & (s.m <= 0.25) | xp.isnan(g), -g, xp.where(g == s.m, 0.5, s.m)), s),
    "where of numbers": lambda xp, g, s: (xp.where(g < 0, xp.ones_like(g), 2.0) * g, s),
    "logic": lambda xp, g, s: (
        xp.astype(xp.logical_xor(g > 0, s.m >= 0) & ~(g != s.m) | xp.logical_not(xp.isfinite(g)), g.dtype),
        s,
    ),
    "rounding": lambda xp, g, s: (xp.floor(4 * g) + xp.ceil(s.m) - xp.round(8 * g) + xp.trunc(3 * g) + xp.sign(g), s),
    "signs": lambda xp, g, s: (xp.copysign(s.m, g) + xp.where(xp.signbit(g), 1.0, xp.positive(g)) - abs(g), s),
    "divisions": lambda xp, g, s: (g % 0.375 + g // 0.25 + xp.remainder(s.m, xp.abs(g) + 0.1) + 1 / (g + 9), s),
    "neighbours": lambda xp, g, s: (
        xp.nextafter(g, s.m) * xp.finfo(g.dtype).eps + xp.finfo(g.dtype).smallest_normal,
        s,
    ),
    "numbered elements": lambda xp, g, s: (
        g * xp.astype(numbered(xp, g, xp.int32) % 7, g.dtype),
        s._replace(n=s.n + numbered(xp, g, xp.int32)),
    ),
    "numbers from and by": lambda xp, g, s: (
        g + xp.astype(xp.reshape(xp.arange(9, 9 - 3 * math.prod(g.shape), -3), g.shape), g.dtype) * 0.125,
        s._replace(n=xp.reshape(xp.arange(-5, 2 * math.prod(g.shape) - 5, 2, dtype=xp.int32), g.shape)),
    ),
    "numbered columns": lambda xp, g, s: (
        g + xp.arange(g.shape[-1], dtype=g.dtype) + xp.take(g, xp.arange(g.shape[-1]), axis=-1) if g.ndim else g,
        s,
    ),
    "a sum of numbers": lambda xp, g, s: (g + xp.sum(xp.astype(xp.arange(1, 4), g.dtype)), s),
    "numbers of 64 bits": lambda xp, g, s: (g + xp.astype(numbered(xp, g, xp.int64) + 2**33, g.dtype), s),
    "integers": lambda xp, g, s: (g, s._replace(n=xp.sign(s.n - 3) + (s.n + 7) // (s.n - 3) + (11 - s.n) % (s.n - 1))),
    "truths": lambda xp, g, s: (
        xp.where(xp.where(g > s.m, g > 0, s.m > 0) == (g != 0), g, -g) * xp.astype(xp.signbit(s.m), g.dtype)
        + xp.where((g > 0) == 2, 1.0, 0.5) * xp.where((g > 0) != True, s.m, 3.0),  # noqa: E712  # of each element
        s,
    ),
    "counters": lambda xp, g, s: (
        g / (1 + s.n),
        s._replace(n=xp.where(g > 0, s.n + 1, s.n * 3 % 7 - (s.n << 1) // 5), m=s.m * xp.astype(s.n & 1, g.dtype)),
    ),
    "integers of 64 bits": lambda xp, g, s: (
        g * xp.astype(xp.astype(s.n, xp.int64) + 2**40 > 2**40, g.dtype),
        s._replace(n=xp.astype((xp.astype(s.n, xp.int64) + 2**31 + 5) % 1000, xp.int32)),
    ),
    "another precision": lambda xp, g, s: (xp.astype(xp.astype(g, xp.float64) / 3, g.dtype) * s.m, s),
    "constants": lambda xp, g, s: (g * math.pi + xp.pi * s.m - xp.e + xp.full_like(g, 0.1) * xp.asarray(0.25), s),
    "constants of 16 bits": lambda xp, g, s: (g + xp.astype(xp.full(g.shape, 0.1, dtype=xp.float16), g.dtype), s),
    "whole numbers": lambda xp, g, s: (g * xp.astype(xp.full_like(s.n, 1.5), g.dtype), s),
    "a negative zero": lambda xp, g, s: (xp.copysign(g, -xp.zeros_like(g)), s),
    "ranges": lambda xp, g, s: (
        g * xp.astype(xp.sum(xp.arange(0.5, 4.5)) + xp.arange(5, -5, -2)[1] + xp.arange(3.0)[2], g.dtype),
        s,
    ),
    "with a dtype of their own": lambda xp, g, s: (
        g + xp.astype(xp.linspace(0.0, 1.0, 5, dtype=xp.float32)[1] + xp.eye(2, dtype=xp.float64)[0, 0], g.dtype),
        s,
    ),
    "infinities": lambda xp, g, s: (xp.minimum(g, xp.inf) + xp.maximum(s.m, -xp.inf) + xp.where(g > 9, xp.nan, g), s),
    "nothing": lambda xp, g, s: (xp.zeros_like(g), s),
    "the state as it was": lambda xp, g, s: (s.m, s),
    "the state exchanged": lambda xp, g, s: (s.m, s._replace(m=g)),
    "real numbers": lambda xp, g, s: (xp.real(xp.conj(g) * s.m), s),
    "the same thing twice": lambda xp, g, s: (g * g + g * g, s._replace(m=g * g)),
    "views": lambda xp, g, s: (xp.reshape(xp.reshape(g, (-1,)), g.shape) + xp.permute_dims(g, tuple(range(g.ndim))), s),
    "transposed": lambda xp, g, s: (g + (g.mT).mT if g.ndim > 1 else g, s),
    "flipped": lambda xp, g, s: (g - xp.flip(s.m), s),
    "slices": lambda xp, g, s: (g - g[..., :1] + s.m[..., -1:] if g.ndim else g, s),
    "extrema": lambda xp, g, s: (g - xp.max(g) + xp.min(s.m), s),
    "extrema of an axis": lambda xp, g, s: (g - xp.max(g, axis=-1, keepdims=True) if g.ndim else g, s),
    "any and all": lambda xp, g, s: (xp.where(xp.any(g > 2) | xp.all(s.m > -1, axis=-1, keepdims=True), g, -g), s)
    if g.ndim
    else (g, s),
    "counts of elements": lambda xp, g, s: (g * xp.astype(xp.sum(xp.astype(g > 0, xp.int32)), g.dtype), s),
    "sorted": lambda xp, g, s: (xp.sort(g, axis=-1) + xp.astype(xp.argsort(s.m, axis=-1), g.dtype) if g.ndim else g, s),
    "positions": lambda xp, g, s: (g + xp.astype(xp.argmax(g), g.dtype), s),
    "moved elements": lambda xp, g, s: (
        xp.roll(g, 1) + xp.squeeze(xp.expand_dims(xp.tril(g) if g.ndim > 1 else g, axis=0), axis=0),
        s,
    ),
    "joined": lambda xp, g, s: (xp.concat([g[..., 1:], g[..., :1]], axis=-1) if g.ndim else g, s),
    "taken": lambda xp, g, s: (xp.take(g, xp.zeros_like(xp.arange(g.shape[-1])), axis=-1) if g.ndim else g, s),
}  # fmt: skip

# Libraries differ in the dtypes of these; compiled steps have NumPy's everywhere.
PROMOTING: dict[str, Rule] = {
    "constants of another precision": lambda xp, g, s: (
        xp.astype(xp.full_like(xp.astype(g, xp.float32), 0.1) + xp.astype(s.m, xp.float64), g.dtype)
        + xp.astype(xp.asarray(0.1, dtype=xp.float64) * xp.astype(xp.max(g), xp.float32), g.dtype)
        + xp.astype(xp.where(g > 0, xp.asarray(0.1, dtype=xp.float64), xp.astype(g, xp.float32)), g.dtype),
        s,
    ),
    "powers of integers": lambda xp, g, s: (
        xp.astype((70_000 + s.n) ** 2.0 / 2**30 + (s.n + 3) ** 1.0 + s.n**0.5 + (s.n + 1) ** 2, g.dtype),
        s._replace(n=s.n + 1),
    ),
    "sums of small integers": lambda xp, g, s: (
        g * (2 if xp.sum(xp.astype(xp.abs(g) * 50, xp.uint8)).dtype == xp.uint64 else 3),
        s,
    ),
}

# An element depends on others: within 2 ulp of the leaf's largest value.
REDUCING: dict[str, Rule] = {
    "a norm": lambda xp, g, s: (g / (1 + xp.sqrt(xp.sum(g * g))), s),
    "sums over axes": lambda xp, g, s: (g - xp.mean(g, axis=-1, keepdims=True) * xp.sum(g, axis=0) if g.ndim else g, s),
    "centred": lambda xp, g, s: ((g - xp.mean(g)) / xp.sqrt(xp.mean((g - xp.mean(g)) ** 2) + 1), s),
    "a deviation": lambda xp, g, s: (g / (xp.std(g) + 1) + xp.var(g, axis=0), s) if g.ndim else (g, s),
    "a product": lambda xp, g, s: (g * xp.prod(xp.tanh(s.m)), s),
    "a norm of a norm": lambda xp, g, s: (
        g / (1 + xp.sum((g / (1 + xp.sum(g * g))) ** 2)),
        s._replace(m=g * xp.sum(s.m)),
    ),
    "a running sum": lambda xp, g, s: (xp.cumulative_sum(g, axis=-1) if g.ndim else g, s),
    "a matrix product": lambda xp, g, s: (g @ (g.mT @ s.m) if g.ndim == 2 else g, s),
    "a dot product": lambda xp, g, s: (g * xp.vecdot(g, s.m)[..., None] if g.ndim else g, s),
    "a softmax": lambda xp, g, s: (xp.exp(g - xp.max(g)) / xp.sum(xp.exp(g - xp.max(g))), s),
}  # fmt: skip


def tree_of(make: Any) -> Any:
    return {"matrix": make(9, 7).T, "scalar": make(), "vector": [make(37), make(1)], "empty": make(0, 4)}


def transformation(rule: Rule) -> uniopt.GradientTransformation:
    def named(xp: Any, g: Any, s: Any) -> Any:
        update, after = rule(xp, g, s)
        return -0.125 * update, after

    return uniopt.leafwise(Slots, init, named)
