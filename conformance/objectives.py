"""Objectives, with gradients derived by hand: where a step leads decides which gradient comes next.

Value and gradient are computed in NumPy float64 from what a library has made of the parameters, so that libraries
differ by what an optimizer does alone. Each is scaled such that steps of 1/8 in every element, and gradient descent at
a rate of 1/8, stay where the objective is smooth: what rounding leaves then grows by little from step to step.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from uniopt.conformance import digits
from uniopt.conformance.problems import SEED, Problem, Values

from uniopt.typing import Tree


def quadratic(p: Tree) -> tuple[float, Tree]:
    """Return f = sum of a (p - c)^2 / 2, with curvatures a from 1/64 to 4 in each leaf, and centres c = 1/2."""
    curvatures = {name: np.geomspace(1 / 64, 4.0, x.size).reshape(x.shape) for name, x in p.items()}
    slopes = {name: a * (p[name] - 0.5) for name, a in curvatures.items()}
    return sum(float(np.sum(slope * (p[name] - 0.5))) / 2 for name, slope in slopes.items()), slopes


def rosenbrock(p: Tree) -> tuple[float, Tree]:
    """Return f = sum of (100 (x_{i+1} - x_i^2)^2 + (1 - x_i)^2) / 1024 along a vector.

    H. H. Rosenbrock, "An automatic method for finding the greatest or least value of a function", 1960.
    """
    x = p["x"]
    bend, rest = x[1:] - x[:-1] ** 2, 1.0 - x[:-1]
    slope = np.zeros_like(x)
    slope[:-1] = -400.0 * x[:-1] * bend - 2.0 * rest
    slope[1:] += 200.0 * bend
    return float(np.sum(100.0 * bend**2 + rest**2)) / 1024, {"x": slope / 1024}


def logistic_regression(p: Tree) -> tuple[float, Tree]:
    """Return the mean cross-entropy of softmax(x W + b) on the digits. Pixels that are always 0 have no slope."""
    value, residual = _cross_entropy(IMAGES @ p["weights"] + p["bias"])
    return value, {"weights": IMAGES.T @ residual, "bias": np.sum(residual, axis=0)}


def network(p: Tree) -> tuple[float, Tree]:
    """Return the mean cross-entropy of softmax(tanh(x W1 / 8 + b1) W2 + b2) on the digits."""
    images = IMAGES / 8
    hidden = np.tanh(images @ p["in"]["weights"] + p["in"]["bias"])
    value, residual = _cross_entropy(hidden @ p["out"]["weights"] + p["out"]["bias"])
    back = (residual @ p["out"]["weights"].T) * (1.0 - hidden**2)
    return value, {
        "in": {"weights": images.T @ back, "bias": np.sum(back, axis=0)},
        "out": {"weights": hidden.T @ residual, "bias": np.sum(residual, axis=0)},
    }


def factorization(p: Tree) -> tuple[float, Tree]:
    """Return f = |L R^T - M|^2 / 16 for a matrix M of rank 2."""
    residual = (p["left"] @ p["right"].T - PRODUCT) / 8
    return float(np.sum(residual**2)) * 4, {"left": residual @ p["right"], "right": residual.T @ p["left"]}


def saddle(p: Tree) -> tuple[float, Tree]:
    """Return f = sum of (x^2 - y^2) / 2 + y^4 / 4, from close to the saddle y = 0."""
    x, y = p["x"], p["y"]
    return float(np.sum(x**2 - y**2) / 2 + np.sum(y**4) / 4), {"x": x, "y": y**3 - y}


def _cross_entropy(logits: Values) -> tuple[float, Values]:
    """Return the mean cross-entropy of the digits, and its derivative with respect to the logits."""
    shifted = logits - np.max(logits, axis=1, keepdims=True)
    log_probabilities = shifted - np.log(np.sum(np.exp(shifted), axis=1, keepdims=True))
    residual = (np.exp(log_probabilities) - LABELS) / len(LABELS)
    return -float(np.sum(LABELS * log_probabilities)) / len(LABELS), residual


def _problems() -> list[Problem]:
    rng = np.random.default_rng(SEED)

    def draw(*shape: int, scale: float = 1.0) -> Any:
        return np.asarray(scale * rng.standard_normal(shape))

    def layer(inputs: int, outputs: int) -> Tree:
        return {"weights": draw(inputs, outputs, scale=0.25), "bias": draw(outputs, scale=0.25)}

    return [
        Problem("quadratic", {"scalar": draw(), "vector": draw(7), "kernel": draw(2, 3, 2, 2)}, objective=quadratic),
        Problem("rosenbrock", {"x": np.asarray([-1.2, 1.0, -0.5, 0.8, 1.3])}, objective=rosenbrock),
        Problem("logistic_regression", layer(64, 10), objective=logistic_regression),
        Problem("network", {"in": layer(64, 8), "out": layer(8, 10)}, objective=network),
        Problem("factorization", {"left": draw(6, 2), "right": draw(4, 2)}, objective=factorization),
        Problem("saddle", {"x": draw(4), "y": draw(4, scale=1e-3)}, objective=saddle),
    ]


IMAGES, LABELS = digits.load()
PRODUCT = np.outer([1.0, -0.5, 0.25, 2.0, -1.0, 0.5], [1.0, 2.0, -1.0, 0.5]) + np.outer(
    [0.5, 1.0, -1.0, 0.0, 0.25, 2.0], [0.25, -1.0, 0.5, 1.0]
)
"""A matrix of rank 2."""

OBJECTIVES = {problem.name: problem for problem in _problems()}
