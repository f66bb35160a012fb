"""Muon: momentum made orthogonal, for matrices; AdamW for the rest."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import product
from typing import TypeAlias

from uniopt.conformance.reference.adam import AdamDirection
from uniopt.conformance.reference.leaf import Leaf
from uniopt.conformance.reference.scalars import maximum, norm
from uniopt.conformance.reference.steps import Gradients, Mask, Rate, at, leaves, present, selects, values, zeros

Matrix: TypeAlias = list[list[float]]
Coefficients: TypeAlias = tuple[float, float, float]
Axes: TypeAlias = int | Sequence[int]
DimensionNumbers: TypeAlias = tuple[Axes, Axes]  # the axes that number the rows, and those that number the columns

COEFFICIENTS: dict[str, Coefficients | tuple[Coefficients, ...]] = {
    "standard": (3.4445, -4.7750, 2.0315),
    # From the code of Ahn et al., "Dion: distributed orthonormalized updates", 2025, arXiv:2504.05295.
    "dion": (
        (4.0848, -6.8946, 2.9270),
        (3.9505, -6.3029, 2.6377),
        (3.7418, -5.5913, 2.3037),
        (2.8769, -3.1427, 1.2046),
        (2.8366, -3.0525, 1.2012),
    ),
}

SIGNIFICANT_BITS = {"bfloat16": 8, "float16": 11, "float32": 24}


def muon(
    params: list[Leaf],
    gradients: Gradients,
    *,
    learning_rate: Rate,
    ns_coeffs: Coefficients | Sequence[Coefficients] | str = (3.4445, -4.7750, 2.0315),
    ns_steps: int = 5,
    beta: float = 0.95,
    eps: float = 1e-8,
    weight_decay: Rate = 0.0,
    weight_decay_mask: Mask = None,
    nesterov: bool = True,
    adaptive: bool = False,
    preconditioning: str = "frobenius",
    adam_b1: float = 0.9,
    adam_b2: float = 0.999,
    adam_eps_root: float = 0.0,
    adam_weight_decay: Rate = 0.0,
    adam_learning_rate: Rate | None = None,
    muon_weight_dimension_numbers: Sequence[DimensionNumbers | None] | None = None,
    consistent_rms: float | None = None,
    bias_correction: bool = True,
    average_gradients: bool = True,
    clamp_norm: bool = False,
    ns_dtype: str | None = None,
) -> Iterator[list[Leaf]]:
    """Muon: m <- beta m + (1 - beta) g;  o = `orthogonalized`(m^);  p <- p - lr (c o + wd p).

    m^ = m / (1 - beta^t), with Nesterov beta m / (1 - beta^(t+1)) + (1 - beta) g / (1 - beta^t). adaptive:
    o <- <m^, o> o, over the whole leaf. c = sqrt(max(1, columns / rows)), with consistent_rms
    c = sqrt(max(rows, columns)) consistent_rms.

    Without bias_correction m^ = m, with Nesterov beta m + (1 - beta) g. Without average_gradients (1 - beta) is 1
    everywhere but in the bias correction.

    Without dimension numbers every leaf of rank 2 is such a matrix; with them (one entry a leaf) every leaf that has
    an entry is one, or several: what the rows and columns leave over numbers the matrices. All other leaves follow
    AdamW, with `nesterov`, the same eps, and the learning rate unless they have their own.

    Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024, kellerjordan.github.io/posts/muon;
    adaptive: Bernstein and Newhouse, "Old optimizer, new norm", 2024, arXiv:2409.20325; consistent_rms: Liu et al.,
    "Muon is scalable for LLM training", 2025, arXiv:2502.16982. From optax.contrib come the averaged m with bias
    correction (in the post m <- beta m + g), rows as inputs and columns as outputs in c, and wd inside lr.
    """
    p, m = values(params), zeros(params)
    numbers = _dimension_numbers(params, muon_weight_dimension_numbers)
    coefficients = _coefficients(ns_coeffs, ns_steps)
    direction = AdamDirection(params, adam_b1, adam_b2, eps, adam_eps_root, nesterov)
    for t, gradient in enumerate(gradients, start=1):
        lr, decay = at(learning_rate, t - 1), at(weight_decay, t - 1)
        adam_lr = lr if adam_learning_rate is None else at(adam_learning_rate, t - 1)
        adam_wd = at(adam_weight_decay, t - 1)
        for k, g in present(params, gradient):
            number = numbers[k]
            if number is None:
                p[k] = [x - adam_lr * (direction(k, i, g[i], t) + adam_wd * x) for i, x in enumerate(p[k])]
                continue
            if not g:
                continue
            share = 1 - beta if average_gradients else 1.0
            now, ahead = (1 - beta**t, 1 - beta ** (t + 1)) if bias_correction else (1.0, 1.0)
            m[k] = [beta * x + share * y for x, y in zip(m[k], g, strict=True)]
            m_hat = [x / now for x in m[k]]
            if nesterov:
                m_hat = [beta * x / ahead + share * y / now for x, y in zip(m[k], g, strict=True)]
            matrices = _positions(params[k].shape, *number)
            o = [0.0] * len(g)
            for matrix in matrices:
                picked = [[m_hat[i] for i in row] for row in matrix]
                result = orthogonalized(picked, coefficients, preconditioning, eps, clamp_norm, ns_dtype)
                for row, result_row in zip(matrix, result, strict=True):
                    for i, x in zip(row, result_row, strict=True):
                        o[i] = x
            if adaptive:
                inner = sum(x * y for x, y in zip(m_hat, o, strict=True))
                o = [inner * x for x in o]
            rows, columns = len(matrices[0]), len(matrices[0][0])
            c = math.sqrt(max(1.0, columns / rows))
            if consistent_rms is not None:
                c = math.sqrt(max(rows, columns)) * consistent_rms
            wd = decay if selects(weight_decay_mask, k) else 0.0
            p[k] = [x - lr * (c * y + wd * x) for x, y in zip(p[k], o, strict=True)]
        yield leaves(params, p)


def orthogonalized(
    x: Matrix,
    coefficients: Sequence[Coefficients],
    preconditioning: str,
    eps: float,
    clamp_norm: bool = False,
    ns_dtype: str | None = None,
) -> Matrix:
    """Return nearly U V^T of x = U S V^T, by Newton-Schulz steps: A = X X^T;  X <- a X + (b A + c A A) X.

    A matrix with more rows than columns is transposed for it. X is first divided by

    - "frobenius": its Frobenius norm + eps;
    - "spectral": its largest singular value + eps;
    - "aol": each row by the root of the sum of |A| over the row of A, at least 1e-8 (Prach and Lampert, "Almost-
      orthogonal layers", ECCV 2022; Boissin et al., "Turbo-Muon", 2025);
    - "schatten": the root of the Frobenius norm of A, at least 1e-8, which is its Schatten 4-norm.

    clamp_norm: the norm is at least eps, which is not added. ns_dtype: x, the divisor, each X, A and b A + c A A are
    rounded to this dtype. Both are torch's.
    """
    if len(x) > len(x[0]):
        args = (coefficients, preconditioning, eps, clamp_norm, ns_dtype)
        return _transposed(orthogonalized(_transposed(x), *args))

    def rounded(y: float) -> float:
        return y if ns_dtype is None else _rounded(y, SIGNIFICANT_BITS[ns_dtype])

    def with_eps(y: float) -> float:
        return maximum(y, eps) if clamp_norm else y + eps

    x = [[rounded(y) for y in row] for row in x]
    square = _product(x, _transposed(x))
    if preconditioning == "frobenius":
        divisors = [with_eps(norm(y for row in x for y in row))] * len(x)
    elif preconditioning == "spectral":
        divisors = [with_eps(_largest_singular_value(x))] * len(x)
    elif preconditioning == "aol":
        divisors = [math.sqrt(max(sum(abs(y) for y in row), 1e-8)) for row in square]
    elif preconditioning == "schatten":
        divisors = [math.sqrt(max(norm(y for row in square for y in row), 1e-8))] * len(x)
    else:
        raise ValueError(f"The preconditioning is {preconditioning!r}.")
    x = [[rounded(y / rounded(divisor)) for y in row] for row, divisor in zip(x, divisors, strict=True)]
    for a, b, c in coefficients:
        square = [[rounded(y) for y in row] for row in _product(x, _transposed(x))]
        fourth = _product(square, square)
        polynomial = [
            [rounded(b * y + c * z) for y, z in zip(ys, zs, strict=True)] for ys, zs in zip(square, fourth, strict=True)
        ]
        change = _product(polynomial, x)
        x = [[rounded(a * y + z) for y, z in zip(ys, zs, strict=True)] for ys, zs in zip(x, change, strict=True)]
    return x


def _coefficients(ns_coeffs: Coefficients | Sequence[Coefficients] | str, ns_steps: int) -> list[Coefficients]:
    """Return the coefficients of each step; a table of them has its own number of steps."""
    chosen = COEFFICIENTS[ns_coeffs] if isinstance(ns_coeffs, str) else ns_coeffs
    table = [row for row in chosen if not isinstance(row, int | float)]
    if table:
        return table
    a, b, c = (float(x) for x in chosen if isinstance(x, int | float))
    return [(a, b, c)] * ns_steps


def _dimension_numbers(
    params: Sequence[Leaf], given: Sequence[DimensionNumbers | None] | None
) -> list[DimensionNumbers | None]:
    if given is not None:
        return list(given)
    return [(0, 1) if len(leaf.shape) == 2 else None for leaf in params]


def _positions(shape: tuple[int, ...], row_axes: Axes, column_axes: Axes) -> list[list[list[int]]]:
    """Return for each matrix in an array of this shape the row-major positions of its elements."""
    rows, columns = ([axis % len(shape) for axis in _listed(axes)] for axes in (row_axes, column_axes))
    batch = [axis for axis in range(len(shape)) if axis not in rows and axis not in columns]
    strides = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]

    def offsets(axes: list[int]) -> list[int]:
        indices = product(*(range(shape[axis]) for axis in axes))
        return [sum(j * strides[axis] for j, axis in zip(index, axes, strict=True)) for index in indices]

    return [[[b + r + c for c in offsets(columns)] for r in offsets(rows)] for b in offsets(batch)]


def _listed(axes: Axes) -> list[int]:
    return [axes] if isinstance(axes, int) else list(axes)


def _product(x: Matrix, y: Matrix) -> Matrix:
    return [[sum(a * b for a, b in zip(row, column, strict=True)) for column in zip(*y, strict=True)] for row in x]


def _transposed(x: Matrix) -> Matrix:
    return [list(column) for column in zip(*x, strict=True)]


def _rounded(x: float, bits: int) -> float:
    """Return the nearest number of so many significant bits, the even one of two; exponents have no bounds here."""
    if not math.isfinite(x):
        return x
    fraction, exponent = math.frexp(x)
    return math.ldexp(round(math.ldexp(fraction, bits)), exponent - bits)


def _largest_singular_value(x: Matrix) -> float:
    """Return the largest singular value: rotate pairs of rows until all are orthogonal (Hestenes 1958)."""
    rows = [list(row) for row in x]
    rotated = True
    while rotated:
        rotated = False
        for i in range(len(rows)):
            for j in range(i + 1, len(rows)):
                inner = sum(a * b for a, b in zip(rows[i], rows[j], strict=True))
                if abs(inner) <= 1e-15 * norm(rows[i]) * norm(rows[j]):
                    continue
                rotated = True
                angle = math.atan2(2 * inner, norm(rows[i]) ** 2 - norm(rows[j]) ** 2) / 2
                c, s = math.cos(angle), math.sin(angle)
                rows[i], rows[j] = (
                    [c * a + s * b for a, b in zip(rows[i], rows[j], strict=True)],
                    [c * b - s * a for a, b in zip(rows[i], rows[j], strict=True)],
                )
    return max(norm(row) for row in rows)
