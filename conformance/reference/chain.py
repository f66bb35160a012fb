"""Transformations one after another."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from uniopt.conformance.reference.adam import adamw
from uniopt.conformance.reference.clip import clip_by_global_norm
from uniopt.conformance.reference.leaf import Leaf
from uniopt.conformance.reference.scalars import norm
from uniopt.conformance.reference.steps import Gradient, Gradients, elements


def clipped_adamw(
    params: list[Leaf], gradients: Gradients, *, max_norm: float, **of_adamw: Any
) -> Iterator[list[Leaf]]:
    """AdamW of gradients that are scaled down to a norm."""

    def clipped(gradient: Gradient) -> Gradient:
        c = clip_by_global_norm(norm(g for _, _, g in elements(params, gradient)), max_norm=max_norm)
        return [None if g is None else Leaf(g.shape, [c * x for x in g.values]) for g in gradient]

    return adamw(params, (clipped(gradient) for gradient in gradients), **of_adamw)
