"""Steps relative to the size of the parameters of the leaf."""

from __future__ import annotations

from uniopt.conformance.reference.scalars import maximum, norm, root_mean_square


def scale_by_param_block_norm(
    shape: tuple[int, ...], p: list[float], g: list[float], *, min_scale: float = 1e-3
) -> list[float]:
    """u = g max(|p|, s), as in optax."""
    return [x * maximum(norm(p), min_scale) for x in g]


def scale_by_param_block_rms(
    shape: tuple[int, ...], p: list[float], g: list[float], *, min_scale: float = 1e-3
) -> list[float]:
    """u = g max(rms(p), s).

    Shazeer and Stern, "Adafactor", ICML 2018, arXiv:1804.04235, section 8.
    """
    return [x * maximum(root_mean_square(p), min_scale) for x in g]


def scale_by_trust_ratio(
    shape: tuple[int, ...],
    p: list[float],
    g: list[float],
    *,
    min_norm: float = 0.0,
    trust_coefficient: float = 1.0,
    eps: float = 0.0,
) -> list[float]:
    """u = g c |p| / (|g| + eps), both norms at least min_norm; u = g where either is 0.

    You et al., "Large batch optimization for deep learning", ICLR 2020, arXiv:1904.00962, algorithm 2 with phi(z) = z.
    The coefficient, eps and the least norm are optax's.
    """
    p_norm, g_norm = maximum(norm(p), min_norm), maximum(norm(g), min_norm)
    if p_norm == 0 or g_norm == 0:
        return g
    return [trust_coefficient * p_norm / (g_norm + eps) * x for x in g]
