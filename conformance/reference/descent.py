"""Descending along what a transformation makes of the gradients, without a memory of the steps before."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

from uniopt.conformance.reference.leaf import Leaf
from uniopt.conformance.reference.scalars import norm
from uniopt.conformance.reference.steps import Gradients, Rate, at, leaves, present, values

Descent: TypeAlias = Callable[..., Iterator[list[Leaf]]]


def along(direction: Callable[..., list[float]]) -> Descent:
    """Return the descent p <- p - lr u with u = direction(shape, p, g, **hyper), one leaf after another."""

    def descend(params: list[Leaf], gradients: Gradients, *, learning_rate: Rate, **hyper: Any) -> Iterator[list[Leaf]]:
        p = values(params)
        for n, gradient in enumerate(gradients):
            lr = at(learning_rate, n)
            for k, g in present(params, gradient):
                u = direction(params[k].shape, p[k], g, **hyper)
                p[k] = [x - lr * y for x, y in zip(p[k], u, strict=True)]
            yield leaves(params, p)

    return descend


def along_scaled(factor: Callable[..., float]) -> Descent:
    """Return the descent p <- p - lr c g with c = factor(|g|, **hyper), and |g| the norm of all leaves together."""

    def descend(params: list[Leaf], gradients: Gradients, *, learning_rate: Rate, **hyper: Any) -> Iterator[list[Leaf]]:
        p = values(params)
        for n, gradient in enumerate(gradients):
            lr = at(learning_rate, n)
            given = list(present(params, gradient))
            c = factor(norm(x for _, g in given for x in g), **hyper)
            for k, g in given:
                p[k] = [x - lr * c * y for x, y in zip(p[k], g, strict=True)]
            yield leaves(params, p)

    return descend
