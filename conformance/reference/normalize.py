"""Gradients that are scaled, or whose mean, length or size is taken out."""

from __future__ import annotations

import math

from uniopt.conformance.reference.scalars import sign


def centralize(shape: tuple[int, ...], p: list[float], g: list[float]) -> list[float]:
    """u = g - mean(g), the mean over all axes but the first; g itself with fewer than two axes.

    Yong et al., "Gradient centralization", ECCV 2020, arXiv:2004.01461, equation 1.
    """
    if len(shape) < 2 or not g:
        return g
    row = len(g) // shape[0]
    means = [math.fsum(g[i : i + row]) / row for i in range(0, len(g), row)]
    return [x - means[i // row] for i, x in enumerate(g)]


def normalize(g_norm: float) -> float:
    """u = g / |g|; zeros stay zeros (optax makes NaN of them)."""
    return 1 / g_norm if g_norm != 0 else 0.0


def normalize_by_update_norm(g_norm: float, *, scale_factor: float = 1.0, eps: float = 1e-6) -> float:
    """u = s g / (|g| + eps), as in optax; zeros stay zeros."""
    return scale_factor / (g_norm + eps) if g_norm + eps != 0 else 0.0


def scale_by_sign(shape: tuple[int, ...], p: list[float], g: list[float]) -> list[float]:
    """u = sign(g), with sign(0) = 0."""
    return [sign(x) for x in g]


def scale(shape: tuple[int, ...], p: list[float], g: list[float], *, step_size: float) -> list[float]:
    """u = s g."""
    return [step_size * x for x in g]


def set_to_zero(shape: tuple[int, ...], p: list[float], g: list[float]) -> list[float]:
    """u = 0."""
    return [0.0 for _ in g]
