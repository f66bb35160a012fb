"""Optimizers that are not given every gradient: several at once, only finite ones, or those of some steps."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

from uniopt.conformance.reference.adam import adam, adamw
from uniopt.conformance.reference.leaf import Leaf
from uniopt.conformance.reference.sgd import sgd
from uniopt.conformance.reference.steps import Gradient, Gradients, Rate, at, elements, leaves, values, zeros


def apply_every(params: list[Leaf], gradients: Gradients, *, learning_rate: Rate, k: int) -> Iterator[list[Leaf]]:
    """Descend every k steps by the sum of the last k gradients, as in optax."""
    p, total = values(params), zeros(params)
    for n, gradient in enumerate(gradients):
        lr = at(learning_rate, n)
        for leaf, i, g in elements(params, gradient):
            total[leaf][i] = g + (total[leaf][i] if n % k > 0 else 0.0)
            p[leaf][i] -= lr * total[leaf][i] if n % k == k - 1 else 0.0
        yield leaves(params, p)


def injected(params: list[Leaf], gradients: Gradients, **hyper: Any) -> Iterator[list[Leaf]]:
    """AdamW, or `apply_every` where there is a `k`."""
    return apply_every(params, gradients, **hyper) if "k" in hyper else adamw(params, gradients, **hyper)


def multi_steps(
    params: list[Leaf],
    gradients: Gradients,
    *,
    every_k_schedule: int | Callable[[int], int],
    use_grad_mean: bool = True,
    skip_not_finite: bool = False,
    **of_adam: Any,
) -> Iterator[list[Leaf]]:
    """Adam by the mean, or the sum, of k gradients: of the n-th, counted from 0, a <- a + (g - a) / (n + 1), or a + g.

    k may be a function of the number of updates. What is not finite is left out if it is to be skipped. A leaf that has
    no gradient adds nothing to its mean; one that has none in the last of the k is not updated.
    """
    given: list[Gradient] = []
    path, p = adam(params, given, **of_adam), list(params)
    a, n = zeros(params), 0
    for gradient in gradients:
        if not (skip_not_finite and not is_finite(params, gradient)):
            for k, i, g in elements(params, gradient):
                a[k][i] += (g - a[k][i]) / (n + 1) if use_grad_mean else g
            n += 1
            if n == at(every_k_schedule, len(given)):
                means = leaves(params, a)
                given.append([None if g is None else means[k] for k, g in enumerate(gradient)])
                p, a, n = next(path), zeros(params), 0
        yield p


def apply_if_finite(
    params: list[Leaf], gradients: Gradients, *, max_consecutive_errors: int, **of_adam: Any
) -> Iterator[list[Leaf]]:
    """Adam on the gradients that are finite, and on those after max_consecutive_errors in a row that are not."""
    given: list[Gradient] = []
    path, p = adam(params, given, **of_adam), list(params)
    in_a_row = 0
    for gradient in gradients:
        in_a_row = 0 if is_finite(params, gradient) else in_a_row + 1
        if in_a_row == 0 or in_a_row > max_consecutive_errors:
            given.append(gradient)
            p = next(path)
        yield p


def conditionally_mask(
    params: list[Leaf], gradients: Gradients, *, should_transform_fn: Callable[[int], bool], **of_sgd: Any
) -> Iterator[list[Leaf]]:
    """Gradient descent with momentum, in the steps that are chosen by their count from 0."""
    given: list[Gradient] = []
    path, p = sgd(params, given, **of_sgd), list(params)
    for n, gradient in enumerate(gradients):
        if should_transform_fn(n):
            given.append(gradient)
            p = next(path)
        yield p


def conditionally_transform(
    params: list[Leaf],
    gradients: Gradients,
    *,
    learning_rate: Rate,
    should_transform_fn: Callable[[int], bool],
    decay: float,
) -> Iterator[list[Leaf]]:
    """Descend along a decaying sum of the gradients of the chosen steps in these, and along g in the others."""
    p, m = values(params), zeros(params)
    for n, gradient in enumerate(gradients):
        lr = at(learning_rate, n)
        for k, i, g in elements(params, gradient):
            if should_transform_fn(n):
                m[k][i] = g + decay * m[k][i]
                p[k][i] -= lr * m[k][i]
            else:
                p[k][i] -= lr * g
        yield leaves(params, p)


def is_finite(params: list[Leaf], gradient: Gradient) -> bool:
    """Return whether every element of a gradient is finite."""
    return all(math.isfinite(g) for _, _, g in elements(params, gradient))
