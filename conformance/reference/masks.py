"""Leaves that are treated each in its own way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from uniopt.conformance.reference.leaf import Leaf
from uniopt.conformance.reference.steps import Gradients, Mask, Rate, at, elements, leaves, selects, values, zeros


def masked(
    params: list[Leaf], gradients: Gradients, *, learning_rate: Rate, decay: float, mask: Mask
) -> Iterator[list[Leaf]]:
    """Descend along a decaying sum where the mask is True, m <- g + mu m, and along g elsewhere."""
    p, m = values(params), zeros(params)
    for n, gradient in enumerate(gradients):
        lr = at(learning_rate, n)
        for k, i, g in elements(params, gradient):
            m[k][i] = g + decay * m[k][i]
            p[k][i] -= lr * (m[k][i] if selects(mask, k) else g)
        yield leaves(params, p)


def partition(
    params: list[Leaf], gradients: Gradients, *, learning_rates: dict[str, float], labels: Sequence[str], decay: float
) -> Iterator[list[Leaf]]:
    """Descend along a decaying sum, m <- g + mu m, at the rate of the leaf's label."""
    p, m = values(params), zeros(params)
    for gradient in gradients:
        for k, i, g in elements(params, gradient):
            m[k][i] = g + decay * m[k][i]
            p[k][i] -= learning_rates[labels[k]] * m[k][i]
        yield leaves(params, p)


def freeze(params: list[Leaf], gradients: Gradients, *, learning_rate: Rate, mask: Mask) -> Iterator[list[Leaf]]:
    """Gradient descent of the leaves where the mask is False; the others stay."""
    p = values(params)
    for n, gradient in enumerate(gradients):
        lr = at(learning_rate, n)
        for k, i, g in elements(params, gradient):
            p[k][i] -= 0.0 if selects(mask, k) else lr * g
        yield leaves(params, p)


def selective_transform(
    params: list[Leaf], gradients: Gradients, *, learning_rate: Rate, freeze_mask: Mask
) -> Iterator[list[Leaf]]:
    """As `freeze`, which is what an optimizer is that is given the other leaves alone."""
    return freeze(params, gradients, learning_rate=learning_rate, mask=freeze_mask)
