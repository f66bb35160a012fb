"""Gradients that are limited: each element, each leaf, each unit of a layer."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

from uniopt.conformance.reference.scalars import maximum, minimum, norm, root_mean_square


def clip(shape: tuple[int, ...], p: list[float], g: list[float], *, max_delta: float) -> list[float]:
    """u = min(max(g, -d), d), as in optax."""
    return [minimum(maximum(x, -max_delta), max_delta) for x in g]


def clip_by_block_rms(shape: tuple[int, ...], p: list[float], g: list[float], *, threshold: float) -> list[float]:
    """u = g / max(1, rms(g) / d).

    Shazeer and Stern, "Adafactor", ICML 2018, arXiv:1804.04235, section 6.
    """
    return [x / maximum(1.0, root_mean_square(g) / threshold) for x in g]


def clip_by_global_norm(g_norm: float, *, max_norm: float) -> float:
    """u = g min(1, c / |g|).

    Pascanu et al., "On the difficulty of training recurrent neural networks", ICML 2013, arXiv:1211.5063, algorithm 1.
    """
    return 1.0 if g_norm <= max_norm else max_norm / g_norm


def adaptive_grad_clip(
    shape: tuple[int, ...],
    p: list[float],
    g: list[float],
    *,
    clipping: float,
    eps: float = 1e-3,
    axis: int | Sequence[int] | None = None,
) -> list[float]:
    """u = g c / max(|g|, 1e-6) where |g| >= c = clipping max(|p|, eps), with the norms of the unit of each element.

    Brock et al., "High-performance large-scale image recognition without normalization", ICML 2021, arXiv:2102.06171,
    section 4. Which axes a norm is taken over without `axis`, and the least norm of a gradient, are optax's.
    """
    if axis is not None:
        axes = [a % len(shape) for a in ([axis] if isinstance(axis, int) else axis)]
    elif sum(size != 1 for size in shape) <= 1:
        axes = list(range(len(shape)))
    else:
        axes = [0] if len(shape) <= 3 else list(range(len(shape) - 1))
    units = [tuple(j for a, j in enumerate(index) if a not in axes) for index in product(*map(range, shape))]
    u = []
    for x, unit in zip(g, units, strict=True):
        g_norm, p_norm = (norm(y for y, other in zip(ys, units, strict=True) if other == unit) for ys in (g, p))
        limit = clipping * maximum(p_norm, eps)
        u.append(x if g_norm < limit else x * limit / maximum(g_norm, 1e-6))
    return u
