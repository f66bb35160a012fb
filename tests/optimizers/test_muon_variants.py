"""Muon as torch, mlx, keras and optax compute it: chains of uniopt's parts against the real ones, over 50 steps.

All in float64. The bounds are shares of the distance that a leaf moves: what was measured, rounded up.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import jax
import keras
import mlx.core as mx
import mlx.optimizers
import numpy as np
import optax.contrib
import pytest
import torch
from uniopt.conformance.reference import OPTIMIZERS
from uniopt.conformance.reference.leaf import Leaf

import uniopt
from tests.conftest import float64, require
from uniopt import GradientTransformation, MuonDimensionNumbers
from uniopt.errors import HyperparameterError, UnsupportedDtypeError
from uniopt.typing import Tree

STEPS = 50
RATE = 2.0**-6
BETA = 0.75
MATRICES = {"square": (4, 4), "tall": (6, 4), "wide": (3, 5)}
ALL = {**MATRICES, "kernel": (2, 6, 3), "scalar": (), "vector": (5,)}

Walk = list[dict[str, Any]]


def problem(shapes: dict[str, tuple[int, ...]]) -> tuple[dict[str, Any], Walk]:
    """Return parameters and the gradients of each step."""
    rng = np.random.default_rng(3)

    def draw(size: float) -> dict[str, Any]:
        return {name: np.asarray(size * rng.standard_normal(shape)) for name, shape in shapes.items()}

    return draw(1.0), [draw(10.0 ** rng.uniform(-2, 1)) for _ in range(STEPS)]


def walk(tx: GradientTransformation, start: dict[str, Any], stream: Walk, library: str = "numpy") -> Walk:
    """Return the parameters after each of uniopt's steps on a library."""
    backend = require(library)

    def put(values: Tree) -> Tree:
        return uniopt.tree.map(lambda x: backend.from_numpy(x, "float64"), values)

    found = []
    with float64(library):
        params = put(start)
        state = tx.init(params)
        for gradient in stream:
            updates, state = tx.update(put(gradient), state, params)
            params = uniopt.apply_updates(params, updates)
            found.append(uniopt.tree.map(backend.to_numpy, params))
    return found


def assert_close(found: Walk, expected: Walk, start: dict[str, Any], bound: float) -> None:
    for name, first in start.items():
        moved = max(np.max(np.abs(theirs[name] - first)) for theirs in expected)
        apart = max(np.max(np.abs(ours[name] - theirs[name])) for ours, theirs in zip(found, expected, strict=True))
        assert apart <= bound * moved, f"{name}: {apart / moved:.1e} of what it moves, expected {bound:.0e} at most"


def rule(**switches: Any) -> GradientTransformation:
    """Return Muon's rule as all but optax write it."""
    return uniopt.scale_by_muon(**{"beta": BETA, "eps": 1e-7, "bias_correction": False, **switches})


def by_rank(at_least_two: GradientTransformation, less: GradientTransformation) -> GradientTransformation:
    """Return one transformation for matrices, and another for vectors and scalars."""
    return uniopt.partition(
        {"matrices": at_least_two, "others": less},
        lambda params: uniopt.tree.map(lambda p: "matrices" if p.ndim > 1 else "others", params),
    )


def torch_walk(start: dict[str, Any], stream: Walk, **options: Any) -> Walk:
    params = {name: torch.nn.Parameter(torch.tensor(x)) for name, x in start.items()}
    optimizer = torch.optim.Muon(params.values(), lr=RATE, momentum=BETA, **options)
    found = []
    for gradient in stream:
        for name, p in params.items():
            p.grad = torch.tensor(gradient[name])
        optimizer.step()
        found.append({name: p.detach().numpy().copy() for name, p in params.items()})
    return found


@pytest.mark.parametrize("library", ["torch", "numpy", "jax", "mlx"])
@pytest.mark.parametrize(
    ("options", "switches", "bound"),
    [
        pytest.param({}, {}, 1e-13, id="default"),
        pytest.param({"nesterov": False, "ns_steps": 3}, {"nesterov": False, "ns_steps": 3}, 1e-13, id="plain"),
        # torch sums in float32 before it rounds to bfloat16; here one of those roundings falls the other way.
        pytest.param({"eps": 8.0}, {"eps": 8.0}, 3e-5, id="clamped"),
        pytest.param({"adjust_lr_fn": "match_rms_adamw", "weight_decay": 0.5}, {}, 1e-13, id="match_rms_adamw"),
    ],
)
def test_torch(options: dict[str, Any], switches: dict[str, Any], bound: float, library: str) -> None:
    start, stream = problem(MATRICES)
    outputs_first = MuonDimensionNumbers(reduction_axis=1, output_axis=0)
    tx = uniopt.chain(
        rule(clamp_norm=True, ns_dtype="bfloat16", **switches),
        uniopt.scale_by_shape(outputs_first, consistent_rms=0.2 if "adjust_lr_fn" in options else None),
        uniopt.add_decayed_weights(options.get("weight_decay", 0.1)),
        uniopt.scale_by_learning_rate(RATE),
    )
    assert_close(walk(tx, start, stream, library), torch_walk(start, stream, **options), start, bound)


def mlx_walk(start: dict[str, Any], stream: Walk, **options: Any) -> Walk:
    optimizer = mlx.optimizers.Muon(RATE, momentum=BETA, **options)
    params, found = {name: mx.array(x, dtype=mx.float64) for name, x in start.items()}, []
    for gradient in stream:
        params = optimizer.apply_gradients(
            {name: mx.array(x, dtype=mx.float64) for name, x in gradient.items()}, params
        )
        found.append({name: np.array(x) for name, x in params.items()})
    return found


def outputs_first_flattened(params: Tree) -> Tree:
    """Return the dimension numbers of leaves whose first axis is the outputs' and all others are the inputs'."""
    return uniopt.tree.map(lambda p: MuonDimensionNumbers(tuple(range(1, p.ndim)), 0), params)


@pytest.mark.parametrize("library", ["mlx", "numpy"])
@pytest.mark.parametrize(
    "options",
    [{}, {"nesterov": False, "weight_decay": 0.5}, {"weight_decay": 0.0, "ns_steps": 3}],
    ids=["default", "plain", "no decay"],
)
def test_mlx(options: dict[str, Any], library: str) -> None:
    start, stream = problem(ALL)
    nesterov = options.get("nesterov", True)
    matrices = uniopt.chain(
        rule(nesterov=nesterov, ns_steps=options.get("ns_steps", 5), weight_dimension_numbers=outputs_first_flattened),
        # Of a kernel, mlx takes all axes for the matrix, but only the last two for the factor.
        uniopt.scale_by_shape(MuonDimensionNumbers(reduction_axis=-1, output_axis=-2)),
    )
    momentum = uniopt.chain(uniopt.trace(BETA, nesterov), uniopt.scale(1 - BETA))
    tx = uniopt.chain(
        uniopt.add_decayed_weights(options.get("weight_decay", 0.01)),
        by_rank(matrices, momentum),
        uniopt.scale_by_learning_rate(RATE),
    )
    # mlx holds the coefficients of its steps in float32.
    assert_close(walk(tx, start, stream, library), mlx_walk(start, stream, **options), start, 5e-7)


def keras_walk(start: dict[str, Any], stream: Walk, **options: Any) -> Walk:
    variables = {name: keras.Variable(x.copy(), dtype="float64") for name, x in start.items()}
    optimizer = keras.optimizers.Muon(learning_rate=RATE, momentum=BETA, **options)
    found = []
    for gradient in stream:
        optimizer.apply([keras.ops.convert_to_tensor(gradient[name]) for name in variables], list(variables.values()))
        found.append({name: x.value.detach().numpy().copy() for name, x in variables.items()})
    return found


@pytest.mark.parametrize("library", ["torch", "numpy"])
@pytest.mark.parametrize(
    "options", [{}, {"nesterov": False, "rms_rate": None, "weight_decay": 0.5}], ids=["default", "plain"]
)
def test_keras(options: dict[str, Any], library: str) -> None:
    start, stream = problem({name: shape for name, shape in ALL.items() if name != "kernel"})
    rms_rate = options.get("rms_rate", 0.2)
    matrices = uniopt.chain(
        rule(average_gradients=False, nesterov=options.get("nesterov", True)),
        uniopt.identity() if rms_rate is None else uniopt.scale_by_shape(consistent_rms=rms_rate),
        uniopt.add_decayed_weights(options.get("weight_decay", 0.004)),
        uniopt.scale_by_learning_rate(RATE),
    )
    # An epsilon of 0, because keras adds it before the bias correction of its AdamW.
    tx = by_rank(matrices, uniopt.adamw(RATE, eps=0.0, weight_decay=0.004))
    # keras holds the learning rate and the decays in float32.
    assert_close(walk(tx, start, stream, library), keras_walk(start, stream, epsilon=0.0, **options), start, 1e-7)


def optax_walk(start: dict[str, Any], stream: Walk, tx: Any) -> Walk:
    found = []
    with jax.enable_x64(True):
        params = jax.tree.map(jax.numpy.asarray, start)
        state, update = tx.init(params), jax.jit(tx.update)
        for gradient in stream:
            updates, state = update(jax.tree.map(jax.numpy.asarray, gradient), state, params)
            params = optax.apply_updates(params, updates)
            found.append({name: np.asarray(x) for name, x in params.items()})
    return found


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({}, id="default"),
        pytest.param({"preconditioning": "spectral", "eps": 0.25, "consistent_rms": 0.2}, id="spectral"),
        pytest.param({"preconditioning": "spectral", "adaptive": True, "nesterov": False}, id="adaptive"),
    ],
)
def test_optax_with_several_matrices_in_a_leaf(options: dict[str, Any]) -> None:
    start, stream = problem({name: shape for name, shape in ALL.items() if len(shape) > 1})

    def numbered(numbers: Any) -> dict[str, Any]:
        kernel = numbers(reduction_axis=(2, 0), output_axis=1)
        return {"square": numbers(), "tall": numbers(1, 0), "wide": numbers(), "kernel": kernel}

    ours = uniopt.muon(RATE, beta=BETA, muon_weight_dimension_numbers=numbered(MuonDimensionNumbers), **options)
    theirs = optax.contrib.muon(
        RATE, beta=BETA, muon_weight_dimension_numbers=numbered(optax.contrib.MuonDimensionNumbers), **options
    )
    assert_close(walk(ours, start, stream), optax_walk(start, stream, theirs), start, 1e-12)


def reference_walk(start: dict[str, Any], stream: Walk, **hyper: Any) -> Walk:
    def plain(values: dict[str, Any]) -> list[Leaf]:
        return [Leaf(x.shape, x.ravel().tolist()) for x in values.values()]

    def arrays(leaves: list[Leaf]) -> dict[str, Any]:
        return {name: np.reshape(leaf.values, leaf.shape) for name, leaf in zip(start, leaves, strict=True)}

    steps: Iterator[list[Leaf]] = OPTIMIZERS["muon"](plain(start), map(plain, stream), learning_rate=RATE, **hyper)
    return [arrays(leaves) for leaves in steps]


@pytest.mark.parametrize(
    "switches",
    [
        {"bias_correction": False},
        {"average_gradients": False, "eps": 1.0},
        {"average_gradients": False, "bias_correction": False, "nesterov": False},
        {"clamp_norm": True, "eps": 4.0},
        {"clamp_norm": True, "eps": 2.0, "preconditioning": "spectral"},
        {"preconditioning": "spectral", "eps": 0.5},
        # Not bfloat16, to which libraries round float64 by way of float32, that is, twice.
        {"ns_dtype": "float16"},
        {"ns_dtype": "float16", "preconditioning": "aol"},
    ],
    ids=str,
)
def test_the_reference_with_every_switch(switches: dict[str, Any]) -> None:
    start, stream = problem(MATRICES)
    tx = uniopt.chain(
        uniopt.scale_by_muon(beta=BETA, **switches), uniopt.scale_by_shape(), uniopt.scale_by_learning_rate(RATE)
    )
    assert_close(walk(tx, start, stream), reference_walk(start, stream, beta=BETA, **switches), start, 1e-12)


@pytest.mark.parametrize("least", [1.0, 1.0 - 1e-9, 1.0 - 1e-6, 0.5, 1e-8], ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_spectral_norm_of_any_spectrum(least: float, dtype: str) -> None:
    """With Newton-Schulz steps that change nothing, a matrix is divided by its largest singular value."""
    rng = np.random.default_rng(5)
    left, right = (np.linalg.qr(rng.standard_normal((n, 20)))[0] for n in (20, 30))
    x = (left * np.linspace(1.0, least, 20)) @ right.T
    tx = uniopt.scale_by_muon((1.0, 0.0, 0.0), 1, 0.0, 0.0, nesterov=False, preconditioning="spectral")
    grads = np.asarray(x, dtype)
    found = tx.update(grads, tx.init(grads))[0]
    assert np.linalg.norm(found - x, 2) <= 4 * np.finfo(dtype).eps + 20 / (4 * math.e * 2**30)


def test_zero_matrices_have_a_spectral_norm_of_zero() -> None:
    tx = uniopt.scale_by_muon(preconditioning="spectral")
    grads = np.zeros((2, 3), np.float32)
    assert np.array_equal(tx.update(grads, tx.init(grads))[0], grads)


def test_rounding_to_a_dtype_that_the_library_lacks() -> None:
    backend = require("array_api_strict")
    grads = backend.from_numpy(np.ones((2, 3)), "float32")
    tx = uniopt.scale_by_muon(ns_dtype="bfloat16")
    with pytest.raises(UnsupportedDtypeError, match="array_api_strict has no dtype 'bfloat16'"):
        tx.update(grads, tx.init(grads))


def test_complex_matrices_are_not_rounded() -> None:
    grads = {"w": np.ones((2, 3), np.complex64)}
    tx = uniopt.scale_by_muon(ns_dtype="bfloat16")
    with pytest.raises(HyperparameterError, match=r"At updates\['w'\]: ns_dtype is bfloat16"):
        tx.update(grads, tx.init(grads))


def test_rounding_to_a_complex_dtype() -> None:
    with pytest.raises(HyperparameterError, match="ns_dtype is 'complex64', expected a real dtype"):
        uniopt.scale_by_muon(ns_dtype="complex64")


def test_unknown_preconditioning() -> None:
    with pytest.raises(HyperparameterError, match="preconditioning is 'nuclear', expected one of frobenius, spectral"):
        uniopt.scale_by_muon(preconditioning="nuclear")
