"""Wrapped optimizers beside naive loops over Python floats."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import uniopt
from uniopt import tree

START = [1.5, -2.0, 0.75]
STREAM = [
    [0.5, -1.0, 2.0],
    [-0.25, 3.0, 1.0],
    [1.0, 1.0, -0.5],
    [2.0, -0.5, 0.25],
    [0.75, 0.25, -1.5],
    [-1.0, 2.0, 0.5],
]
RATE, MU = 0.125, 0.5


def lookahead_follows_loops(period: int, alpha: float, reset: bool) -> None:
    """Momentum inside; one array, whose slow half starts elsewhere."""
    tx = uniopt.lookahead(uniopt.sgd(RATE, momentum=MU), period, alpha, reset)
    slow, fast, m = [x + 1.0 for x in START], list(START), [0.0] * 3
    params = uniopt.LookaheadParams(np.asarray(fast), np.asarray(slow))
    state = tx.init(params)
    for n, g in enumerate(STREAM, start=1):
        updates, state = tx.update(np.asarray(g), state, params)
        params = uniopt.apply_updates(params, updates)
        m = [MU * a + b for a, b in zip(m, g, strict=True)]
        fast = [p - RATE * a for p, a in zip(fast, m, strict=True)]
        if n % period == 0:
            slow = [s + alpha * (f - s) for s, f in zip(slow, fast, strict=True)]
            fast, m = list(slow), [0.0] * 3 if reset else m
        np.testing.assert_allclose(params, (fast, slow), rtol=1e-13, atol=1e-14)
        np.testing.assert_allclose(state.fast_state[0].trace, m, rtol=1e-13)
        assert int(state.steps_since_sync) == n % period
        assert updates.slow.shape == (3,)
    tx = uniopt.lookahead(uniopt.schedule_free_sgd(RATE), period, alpha, True)
    params = uniopt.LookaheadParams.init_synced(np.asarray(START))
    state = tx.init(params)
    for g in STREAM[:period]:
        updates, state = tx.update(np.asarray(g), state, params)
        params = uniopt.apply_updates(params, updates)
    np.testing.assert_allclose(state.fast_state.z, params.fast, rtol=1e-14)


def sam_follows_loops(period: int, reset: bool) -> None:
    """Momentum in both optimizers."""
    tx = uniopt.sam(uniopt.sgd(RATE, momentum=MU), uniopt.sgd(0.25, momentum=0.75), period, reset_state=reset)
    params = np.asarray(START)
    state = tx.init(params)
    p, start, m, a = list(START), list(START), [0.0] * 3, [0.0] * 3
    for n, g in enumerate(STREAM):
        updates, state = tx.update(np.asarray(g), state, params)
        params = params + updates
        if n % period == 0:
            start = list(p)
        if n % period == period - 1:
            m = [MU * x + y for x, y in zip(m, g, strict=True)]
            p = [x - RATE * y for x, y in zip(start, m, strict=True)]
            a = [0.0] * 3 if reset else a
        else:
            a = [0.75 * x + y for x, y in zip(a, g, strict=True)]
            p = [x + 0.25 * y for x, y in zip(p, a, strict=True)]
        np.testing.assert_allclose(params, p, rtol=1e-13)
        np.testing.assert_allclose(state.cache, start, rtol=1e-13)
        np.testing.assert_allclose(state.opt_state[0].trace, m, rtol=1e-13)
        np.testing.assert_allclose(state.adv_state[0].trace, a, rtol=1e-13)
        assert int(state.steps_since_sync) == (n + 1) % period


def opaque_sam_follows_loops(period: int, reset: bool) -> None:
    """The gradients of the climb are those of an objective."""

    def slope(params: Any, i: int) -> Any:
        return 0.5 * params + 0.125 * i

    tx = uniopt.sam(uniopt.sgd(RATE), uniopt.sgd(0.25, momentum=0.75), period, reset, True)
    params, p, a = np.asarray(START), list(START), [0.0] * 3
    state = tx.init(params)
    assert state.cache is None
    for given in STREAM:
        updates, state = tx.update(np.asarray(given), state, params, grad_fn=slope)
        params = params + updates
        up, g = list(p), given
        for i in range(period - 1):
            a = [0.75 * x + y for x, y in zip(a, g, strict=True)]
            up = [x + 0.25 * y for x, y in zip(up, a, strict=True)]
            g = [0.5 * x + 0.125 * i for x in up]
        p, a = [x - RATE * y for x, y in zip(p, g, strict=True)], [0.0] * 3 if reset else a
        np.testing.assert_allclose(params, p, rtol=1e-13)
        np.testing.assert_allclose(state.adv_state[0].trace, a, rtol=1e-13)


def schedule_free_follows_loops(b1: float, power: float, warmup: int | None) -> None:
    """All three sequences; the base optimizer's schedule counts from 0, that of the weights from 1."""
    tx = uniopt.schedule_free_sgd(RATE, warmup, b1, 0.5, power)
    params = np.asarray(START)
    state = tx.init(params)
    x, y, z, total, largest = list(START), list(START), list(START), 0.0, 0.0

    def rate(n: int) -> float:
        return RATE if warmup is None else RATE * min(n, warmup) / warmup

    for n, g in enumerate(STREAM):
        updates, state = tx.update(np.asarray(g), state, params)
        params = params + updates
        z = [a - rate(n) * (b + 0.5 * c) for a, b, c in zip(z, g, y, strict=True)]
        largest = max(largest, rate(n + 1))
        total += largest**power
        c = largest**power / total
        x = [(1 - c) * a + c * b for a, b in zip(x, z, strict=True)]
        y = [b1 * a + (1 - b1) * b for a, b in zip(x, z, strict=True)]
        np.testing.assert_allclose(params, y, rtol=1e-13)
        np.testing.assert_allclose(state.z, z, rtol=1e-13)
        np.testing.assert_allclose(uniopt.schedule_free_eval_params(state, params), x, rtol=1e-12)
        np.testing.assert_allclose((state.b1, state.weight_sum, state.max_lr), (b1, total, largest), rtol=1e-14)
        assert int(state.step_count) == n + 2


def mechanize_follows_loops(decay: float, eps: float, s_init: float, count: int) -> None:
    """With momentum inside, and complex numbers as two reals."""
    tx = uniopt.mechanize(uniopt.sgd(RATE, momentum=MU), decay, eps, s_init, count)
    for split in (False, True):
        start = [*START, 0.5]

        def given(values: list[float], split: bool = split) -> Any:
            x = np.asarray(values)
            return {"a": x[:2] + 1j * x[2:]} if split else {"a": x[:3], "b": x[3]}

        params = given(start)
        state = tx.init(tree.map(np.zeros_like, params))  # it begins with the first update
        np.testing.assert_array_equal(state.s, np.full(count, s_init))
        p, mu = list(start), [0.0] * 4
        r, m, v, s = ([x] * count for x in (0.0, 0.0, 0.0, s_init))
        for h4 in STREAM:
            g = [*h4, 0.25]
            updates, state = tx.update(given(g), state, params)
            params = uniopt.apply_updates(params, updates)
            mu = [MU * a + b for a, b in zip(mu, g, strict=True)]
            scale = math.fsum(s)
            norms = [math.sqrt(math.fsum(x * x for x in xs)) for xs in (g, p)]
            delta = [(a - b) / (scale + eps) for a, b in zip(start, p, strict=True)]
            full = [a + decay * scale * norms[0] / (norms[1] + eps) * b for a, b in zip(g, p, strict=True)]
            h = math.fsum(a * b for a, b in zip(full, delta, strict=True))
            for i in range(count):
                beta = 1 - 10.0 ** -(i + 1)
                clipped = min(max(h, -m[i]), m[i])
                r[i], m[i] = beta * r[i] + clipped * s[i], max(beta * m[i], abs(h) + eps)
                v[i] = beta**2 * v[i] + h * h
                s[i] = (s_init / count * m[i] + max(r[i], 0.0)) / (math.sqrt(v[i]) + eps)
            after = math.fsum(s)
            p = [a - after * (d + RATE * u) for a, d, u in zip(start, delta, mu, strict=True)]
            for found, expected in ((state.r, r), (state.m, m), (state.v, v), (state.s, s)):
                np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-14)
            for x, y in zip(tree.leaves(params), tree.leaves(given(p)), strict=True):
                np.testing.assert_allclose(x, y, rtol=1e-10)
