"""The transformations that limit, scale or center gradients, as naive loops: p <- p - lr u with the u of each.

They are written as those of `uniopt.conformance.reference` are, and share no code with the library.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from itertools import product
from typing import Any

from uniopt.conformance.reference.leaf import Leaf
from uniopt.conformance.reference.scalars import maximum, minimum, root_mean_square
from uniopt.conformance.reference.steps import Gradients, leaves, present, values

from tests.mutation.loops import RATE

Values = list[float]
Direction = Callable[..., Values]
Hyper = Mapping[str, Any]


def of_a_leaf(direction: Direction) -> Callable[..., Iterator[list[Leaf]]]:
    """Return the descent along ``direction(leaf, p, g, **hyper)``, of one leaf after another."""

    def descend(params: list[Leaf], gradients: Gradients, **hyper: Any) -> Iterator[list[Leaf]]:
        p = values(params)
        for gradient in gradients:
            for k, g in present(params, gradient):
                u = direction(params[k], p[k], g, **hyper)
                p[k] = [x - RATE * y for x, y in zip(p[k], u, strict=True)]
            yield leaves(params, p)

    return descend


def of_the_tree(factor: Callable[..., float]) -> Callable[..., Iterator[list[Leaf]]]:
    """Return the descent by ``factor(norm, **hyper)`` times the gradient, with the norm of all leaves together."""

    def descend(params: list[Leaf], gradients: Gradients, **hyper: float) -> Iterator[list[Leaf]]:
        p = values(params)
        for gradient in gradients:
            there = list(present(params, gradient))
            c = factor(norm_of([x for _, g in there for x in g]), **hyper)
            for k, g in there:
                p[k] = [x - RATE * c * y for x, y in zip(p[k], g, strict=True)]
            yield leaves(params, p)

    return descend


def norm_of(xs: Values) -> float:
    return math.sqrt(math.fsum(x * x for x in xs))


def clipped(leaf: Leaf, p: Values, g: Values, *, max_delta: float) -> Values:
    """u = min(max(g, -d), d)."""
    return [minimum(maximum(x, -max_delta), max_delta) for x in g]


def clipped_block(leaf: Leaf, p: Values, g: Values, *, threshold: float) -> Values:
    """u = g / max(1, rms(g) / d)."""
    return [x / maximum(1.0, root_mean_square(g) / threshold) for x in g]


def scaled_by_norm(leaf: Leaf, p: Values, g: Values, *, min_scale: float = 1e-3) -> Values:
    """u = g max(|p|, s)."""
    return [x * maximum(norm_of(p), min_scale) for x in g]


def nothing(leaf: Leaf, p: Values, g: Values) -> Values:
    """u = 0."""
    return [0.0 for _ in g]


def centered(leaf: Leaf, p: Values, g: Values) -> Values:
    """u = g - mean(g), over all axes but the first, from rank 2 on."""
    if len(leaf.shape) < 2 or not g:
        return g
    row = len(g) // leaf.shape[0]
    return [x - math.fsum(g[i // row * row : (i // row + 1) * row]) / row for i, x in enumerate(g)]


def adapted(leaf: Leaf, p: Values, g: Values, *, clipping: float, eps: float = 1e-3, axis: Any = None) -> Values:
    """u = g c / max(|g|, 1e-6) where |g| >= c = l max(|p|, eps), with the norms of the elements' units."""
    shape = leaf.shape
    if axis is not None:
        axes = [a % len(shape) for a in ([axis] if isinstance(axis, int) else axis)]
    elif sum(n != 1 for n in shape) <= 1:
        axes = list(range(len(shape)))
    else:
        axes = [0] if len(shape) <= 3 else list(range(len(shape) - 1))
    unit = [tuple(x for a, x in enumerate(index) if a not in axes) for index in product(*map(range, shape))]
    u = []
    for x, own in zip(g, unit, strict=True):
        g_norm, p_norm = (norm_of([y for y, other in zip(ys, unit, strict=True) if other == own]) for ys in (g, p))
        limit = clipping * maximum(p_norm, eps)
        u.append(x if g_norm < limit else x * limit / maximum(g_norm, 1e-6))
    return u


def within(norm: float, *, max_norm: float) -> float:
    """u = g min(1, c / |g|)."""
    return 1.0 if norm <= max_norm else max_norm / norm


def normal(norm: float) -> float:
    """u = g / |g|."""
    return 1.0 if norm == 0 else 1 / norm


def of_length(norm: float, *, scale_factor: float = 1.0, eps: float = 1e-6) -> float:
    """u = s g / (|g| + eps)."""
    return 1.0 if norm + eps == 0 else scale_factor / (norm + eps)


def references() -> Iterator[tuple[str, Callable[..., Iterator[list[Leaf]]], dict[str, Hyper]]]:
    """Yield the name of each transformation, its loops, and settings of it."""
    yield "clip", of_a_leaf(clipped), {"half": {"max_delta": 0.5}, "two": {"max_delta": 2.0}}
    yield "clip_by_block_rms", of_a_leaf(clipped_block), {"half": {"threshold": 0.5}, "one": {"threshold": 1.0}}
    yield "scale_by_param_block_norm", of_a_leaf(scaled_by_norm), {"default": {}, "floor": {"min_scale": 2.0}}
    yield "set_to_zero", of_a_leaf(nothing), {"default": {}}
    yield "centralize", of_a_leaf(centered), {"default": {}}
    yield (
        "adaptive_grad_clip",
        of_a_leaf(adapted),
        {"default": {"clipping": 0.5}, "eps": {"clipping": 0.25, "eps": 1.5}, "short": {"clipping": 1e-9, "eps": 0.5}},
    )
    yield (
        "clip_by_global_norm",
        of_the_tree(within),
        {"three": {"max_norm": 3.0}, "six": {"max_norm": 6.0}, "nothing": {"max_norm": 0.0}},
    )
    yield "normalize", of_the_tree(normal), {"default": {}}
    yield (
        "normalize_by_update_norm",
        of_the_tree(of_length),
        {"default": {}, "all": {"scale_factor": -2.0, "eps": 0.5}, "bare": {"eps": 0.0}},
    )
