"""Nearly orthogonal matrices by Newton-Schulz steps, which need matrix products alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from uniopt import hyperparameters, tree
from uniopt.errors import HyperparameterError
from uniopt.numerics import abs_squared, is_complex, nonzero
from uniopt.typing import Array, Scalar, Tree

Coefficients = tuple[float, float, float]

_SQUARINGS = 30

PRESETS: dict[str, tuple[Coefficients, ...] | Coefficients] = {
    "standard": (3.4445, -4.7750, 2.0315),
    # Ahn et al., "Dion: distributed orthonormalized updates", 2025, arXiv:2504.05295.
    "dion": (
        (4.0848, -6.8946, 2.9270),
        (3.9505, -6.3029, 2.6377),
        (3.7418, -5.5913, 2.3037),
        (2.8769, -3.1427, 1.2046),
        (2.8366, -3.0525, 1.2012),
    ),
}


class MuonDimensionNumbers:
    """Which axes of a parameter are the rows and the columns of its matrix; the others number the matrices.

    Parameters
    ----------
    reduction_axis
        The axis or axes of the inputs, which are the rows.
    output_axis
        The axis or axes of the outputs, which are the columns.
    """

    # Not a NamedTuple: a tree of them would fall apart into numbers.
    __slots__ = ("output_axis", "reduction_axis")

    def __init__(self, reduction_axis: int | Sequence[int] = 0, output_axis: int | Sequence[int] = 1) -> None:
        self.reduction_axis = _axes("reduction_axis", reduction_axis)
        self.output_axis = _axes("output_axis", output_axis)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MuonDimensionNumbers) and hash(self) == hash(other)

    def __hash__(self) -> int:
        return hash((self.reduction_axis, self.output_axis))

    def __repr__(self) -> str:
        return f"MuonDimensionNumbers(reduction_axis={self.reduction_axis}, output_axis={self.output_axis})"

    def permutation(self, ndim: int) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
        """Return the axes that number the matrices, their rows and their columns."""
        rows = tuple(axis % ndim for axis in self.reduction_axis) if ndim > 1 else ()
        columns = tuple(axis % ndim for axis in self.output_axis) if ndim > 1 else ()
        given = (*self.reduction_axis, *self.output_axis)
        if ndim < 2 or any(not -ndim <= axis < ndim for axis in given) or len({*rows, *columns}) != len(given):
            raise HyperparameterError(
                f"{self!r} does not fit a parameter of rank {ndim}; "
                "expected rank 2 or more, and axes that it has and that differ."
            )
        return tuple(axis for axis in range(ndim) if axis not in (*rows, *columns)), rows, columns

    def fans(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """Return the numbers of rows and columns."""
        _, rows, columns = self.permutation(len(shape))
        # Lists, because torch.compile takes no generator here.
        return math.prod([shape[axis] for axis in rows]), math.prod([shape[axis] for axis in columns])


def dimension_numbers(params: Tree, *, numbers: Any) -> Tree:
    """Return the dimension numbers of each leaf, None for those that are no matrices."""
    if numbers is None:
        return tree.map(lambda p: MuonDimensionNumbers() if p.ndim == 2 else None, params)
    return numbers(params) if tree.is_function(numbers) else numbers


def matrix_labels(params: Tree, *, numbers: Any) -> Tree:
    """Return ``"muon"`` for each leaf that has dimension numbers, and ``"adam"`` for the others."""
    found = tree.broadcast(dimension_numbers(params, numbers=numbers), params, what="muon_weight_dimension_numbers")
    structure = tree.flatten(params)[1]
    for i, x in enumerate(found):
        if not isinstance(x, MuonDimensionNumbers | None):
            raise HyperparameterError(
                f"The muon_weight_dimension_numbers for {tree.paths(structure, 'params')[i]} are {x!r}, expected "
                "MuonDimensionNumbers(...), or None for a parameter of AdamW."
            )
    return tree.unflatten(structure, ["adam" if x is None else "muon" for x in found])


def coefficient_table(ns_coeffs: Any, ns_steps: int) -> tuple[Coefficients, ...]:
    """Return the coefficients of each step, from one triple, one for each step, or the name of a preset."""
    if isinstance(ns_coeffs, str):
        ns_coeffs = PRESETS[hyperparameters.one_of("ns_coeffs", ns_coeffs, list(PRESETS))]
    given = ns_coeffs.tolist() if hasattr(ns_coeffs, "tolist") else ns_coeffs
    listed = list(given) if isinstance(given, Sequence) else []
    rows = listed if any(isinstance(row, Sequence) for row in listed) else [listed] * ns_steps
    if not 0 < len(rows) <= ns_steps or not all(isinstance(row, Sequence) and len(row) == 3 for row in rows):
        raise HyperparameterError(
            f"ns_coeffs is {ns_coeffs!r}, expected 3 numbers, or at most ns_steps={ns_steps} times 3 numbers."
        )
    numbers = [[hyperparameters.number("ns_coeffs", x) for x in row] for row in rows]
    return tuple((float(a), float(b), float(c)) for a, b, c in numbers)


def orthogonalized(
    xp: Any,
    g: Array,
    numbers: MuonDimensionNumbers,
    table: Sequence[Coefficients],
    preconditioning: str,
    eps: Scalar,
    clamp_norm: bool,
    ns_dtype: Any,
) -> Array:
    r"""Return nearly :math:`U V^\top` of each matrix :math:`U \Sigma V^\top` of `g`.

    With :math:`A = X X^\top`, each step is :math:`X \leftarrow a X + (b A + c A A) X`. The matrices are first divided
    by their Frobenius or spectral norm plus `eps`, with `clamp_norm` by nothing less than `eps`; ``"aol"`` and
    ``"schatten"`` divide by less. With `ns_dtype`, all matrices and the norms are rounded to it.
    """

    if ns_dtype is not None and is_complex(g):
        raise HyperparameterError(
            f"ns_dtype is {ns_dtype}, to which complex numbers cannot be rounded. Leave ns_dtype out."
        )

    def rounded(y: Array) -> Array:
        return y if ns_dtype is None else xp.astype(xp.astype(y, ns_dtype), y.dtype)

    batch, rows, columns = numbers.permutation(g.ndim)
    order = batch + rows + columns
    ordered = xp.permute_dims(g, order)
    height, width = numbers.fans(g.shape)
    x = xp.reshape(ordered, (-1, height, width))
    x = xp.matrix_transpose(x) if height > width else x
    x = rounded(x)
    x = rounded(x / rounded(_divisor(xp, x, preconditioning, eps, clamp_norm)))
    for a, b, c in table:
        square = rounded(xp.matmul(x, _adjoint(xp, x)))
        polynomial = rounded(b * square + c * xp.matmul(square, square))
        x = rounded(a * x + xp.matmul(polynomial, x))
    x = xp.matrix_transpose(x) if height > width else x
    inverse = tuple(order.index(axis) for axis in range(g.ndim))
    return xp.permute_dims(xp.reshape(x, ordered.shape), inverse)


def _divisor(xp: Any, x: Array, preconditioning: str, eps: Scalar, clamp_norm: bool) -> Array:
    if preconditioning in ("frobenius", "spectral"):
        norm = _frobenius(xp, x) if preconditioning == "frobenius" else _largest_singular_value(xp, x)
        return nonzero(xp, xp.maximum(norm, eps) if clamp_norm else norm + eps, eps)
    square = xp.matmul(x, _adjoint(xp, x))
    if preconditioning == "aol":  # Prach and Lampert, "Almost-orthogonal layers", ECCV 2022
        return xp.sqrt(xp.maximum(xp.sum(xp.abs(square), axis=-1, keepdims=True), 1e-8))
    return xp.sqrt(xp.maximum(_frobenius(xp, square), 1e-8))


def _frobenius(xp: Any, x: Array) -> Array:
    return xp.sqrt(_squares(xp, x))


def _largest_singular_value(xp: Any, x: Array) -> Array:
    """Return the root of the largest eigenvalue of ``x @ x^H``, as the Rayleigh quotient of a high power of it.

    With a power of ``2**k``, singular values that lie within ``2**-k`` of the largest still count; for n rows, the
    result is too small by at most ``n / (4 * e * 2**k)`` of itself.
    """
    length = _frobenius(xp, x)
    unit = x / nonzero(xp, length)
    square = xp.matmul(unit, _adjoint(xp, unit))
    power = square
    for _ in range(_SQUARINGS):
        power = xp.matmul(power, power) / nonzero(xp, _squares(xp, power))  # of trace 1
    image = xp.matmul(square, power)
    product = xp.real(xp.conj(power) * image) if is_complex(x) else power * image
    quotient = xp.sum(product, axis=(-2, -1), keepdims=True) / nonzero(xp, _squares(xp, power))
    return length * xp.sqrt(quotient)


def _squares(xp: Any, x: Array) -> Array:
    return xp.sum(abs_squared(xp, x), axis=(-2, -1), keepdims=True)


def _adjoint(xp: Any, x: Array) -> Array:
    return xp.matrix_transpose(xp.conj(x) if is_complex(x) else x)


def _axes(name: str, value: int | Sequence[int]) -> tuple[int, ...]:
    axes = hyperparameters.axes(name, value)
    if axes is None:
        raise HyperparameterError(f"{name} is None, expected an integer or several of them.")
    return axes
