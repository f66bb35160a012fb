"""The suite catches what tests of convergence let pass: each fault is planted in an optimizer, and must be found."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

import pytest
from uniopt.conformance import ConformanceError, Record, Selection, check
from uniopt.conformance.reference import OPTIMIZERS

import uniopt
from uniopt import GradientTransformation, numerics

ON_NUMPY = Selection(backends=["numpy"], against=["reference"], quick=True)
RATE = {"default": {"learning_rate": 0.125}}


def found(make: Callable[..., Any], like: str, **hyper: Any) -> str:
    """Return what the suite says about an optimizer that should be like another."""
    settings = {"chosen": {"learning_rate": 0.125, **hyper}}
    with pytest.raises(ConformanceError) as raised:
        check(make, OPTIMIZERS[like], settings, ON_NUMPY)
    return str(raised.value)


def passes(make: Callable[..., Any], like: str, **hyper: Any) -> Record:
    return check(make, OPTIMIZERS[like], {"chosen": {"learning_rate": 0.125, **hyper}}, ON_NUMPY)


def wrapped(tx: GradientTransformation, update: Any) -> GradientTransformation:
    """Return `tx` with another update function, which is given `tx` first."""
    return GradientTransformation(tx.init, partial(update, tx))


def halved_rate(learning_rate: float, **hyper: Any) -> GradientTransformation:
    return uniopt.adam(learning_rate / 2, **hyper)


def swapped_momenta(b1: float = 0.9, b2: float = 0.999, **hyper: Any) -> GradientTransformation:
    return uniopt.adam(b1=b2, b2=b1, **hyper)


def epsilon_inside(eps: float = 1e-8, **hyper: Any) -> GradientTransformation:
    return uniopt.adam(eps=0.0, eps_root=eps, **hyper)


def without_nesterov(**hyper: Any) -> GradientTransformation:
    return uniopt.nadam(**{**hyper, "nesterov": False})


def without_maximum(**hyper: Any) -> GradientTransformation:
    return uniopt.adam(**hyper)


def flipped_decay(learning_rate: float, weight_decay: float = 1e-4, **hyper: Any) -> GradientTransformation:
    return uniopt.chain(
        uniopt.scale_by_adam(**hyper),
        uniopt.add_decayed_weights(0.0),
        uniopt.stateless(_Grow(weight_decay)),
        uniopt.scale_by_learning_rate(learning_rate),
    )


class _Grow:
    """Adds the decay with the wrong sign."""

    def __init__(self, weight_decay: float) -> None:
        self.weight_decay = weight_decay

    def __call__(self, updates: Any, params: Any) -> Any:
        return uniopt.tree.map(lambda u, p: u - self.weight_decay * p, updates, params)


def coupled_decay(learning_rate: float, weight_decay: float = 1e-4, **hyper: Any) -> GradientTransformation:
    return uniopt.chain(uniopt.add_decayed_weights(weight_decay), uniopt.adam(learning_rate, **hyper))


def state_slips(**hyper: Any) -> GradientTransformation:
    return wrapped(uniopt.sgd(**hyper), _slip)


def _slip(tx: GradientTransformation, updates: Any, state: Any, params: Any = None) -> Any:
    updates, (trace, rest) = tx.update(updates, state, params)
    xp = uniopt.backends.backend_of(uniopt.tree.leaves(trace)[0]).xp
    return updates, (uniopt.tree.map(lambda x: xp.astype(x, xp.float32), trace), rest)


def writes_to_gradients(**hyper: Any) -> GradientTransformation:
    return wrapped(uniopt.sgd(**hyper), _write)


def _write(tx: GradientTransformation, updates: Any, state: Any, params: Any = None) -> Any:
    result = tx.update(updates, state, params)
    for g in uniopt.tree.leaves(updates):
        g[...] = 0.5 * g
    return result


def updates_slip(**hyper: Any) -> GradientTransformation:
    return wrapped(uniopt.sgd(**hyper), _narrow)


def _narrow(tx: GradientTransformation, updates: Any, state: Any, params: Any = None) -> Any:
    updates, state = tx.update(updates, state, params)
    xp = uniopt.backends.backend_of(uniopt.tree.leaves(updates)[0]).xp
    return uniopt.tree.map(lambda x: xp.astype(x, xp.float32), updates), state


def remembers(**hyper: Any) -> GradientTransformation:
    return wrapped(uniopt.sgd(**hyper), _Memory())


def retraces(**hyper: Any) -> GradientTransformation:
    tx = uniopt.sgd(**hyper)
    return GradientTransformation(partial(_begin, tx), partial(_grow, tx))


def _begin(tx: GradientTransformation, params: Any) -> Any:
    return tx.init(params), ()


def _grow(tx: GradientTransformation, updates: Any, state: Any, params: Any = None) -> Any:
    inner, history = state
    updates, inner = tx.update(updates, inner, params)
    return updates, (inner, (*history, updates))


class _Memory:
    """Keeps a count outside the state, so that a run which is resumed starts it anew."""

    def __init__(self) -> None:
        self.steps = 0

    def __call__(self, tx: GradientTransformation, updates: Any, state: Any, params: Any = None) -> Any:
        self.steps += 1
        updates, state = tx.update(updates, state, params)
        return uniopt.tree.map(lambda u: u / self.steps, updates), state


@pytest.mark.parametrize(
    ("make", "like", "hyper"),
    [
        (halved_rate, "adam", {}),
        (swapped_momenta, "adam", {}),
        (epsilon_inside, "adam", {"eps": 0.125}),
        (without_nesterov, "nadam", {}),
        (without_maximum, "amsgrad", {}),
        (flipped_decay, "adamw", {}),
        (coupled_decay, "adamw", {}),
    ],
)
def test_wrong_numbers_are_found(make: Callable[..., Any], like: str, hyper: dict[str, Any]) -> None:
    passes(getattr(uniopt, like), like, **hyper)
    message = found(make, like, **hyper)
    assert "against reference: first in step" in message
    assert f"FAIL  {make.__name__}/chosen/brief/numpy/cpu/float64/eager" in message
    assert f"FAIL  {make.__name__}/chosen/brief/numpy/cpu/float32/eager" in message


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("bias_correction", lambda xp, t, decay, ahead=0: 1.0),
        ("bias_correction", lambda xp, t, decay, ahead=0: -xp.expm1((t + ahead + 1) * math.log(decay))),
        ("increment", lambda xp, count: count + 2),
        ("increment", lambda xp, count: count),
        ("abs_squared", lambda xp, x: xp.abs(x)),
    ],
    ids=["no correction", "correction one step ahead", "count by two", "stale count", "not squared"],
)
def test_wrong_arithmetic_is_found(monkeypatch: pytest.MonkeyPatch, name: str, fault: Callable[..., Any]) -> None:
    passes(uniopt.adam, "adam")
    for module in (numerics, import_module("uniopt.optimizers.adam")):
        if hasattr(module, name):
            monkeypatch.setattr(module, name, fault)
    assert "against reference: first in step" in found(uniopt.adam, "adam")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (state_slips, "state: state"),
        (writes_to_gradients, "inputs: written to in step 1"),
        (updates_slip, "leaves: updates"),
        (remembers, "resume: differs from the uninterrupted run in step 3"),
    ],
)
def test_broken_properties_are_found(make: Callable[..., Any], message: str) -> None:
    assert message in found(make, "sgd", momentum=0.5)


def test_a_program_that_is_compiled_again_is_found() -> None:
    pytest.importorskip("jax", reason="the libraries with a fast compiler are JAX and MLX")
    selection = Selection(backends=["jax"], dtypes=["float32"], modes=["traced"], against=["numpy"], quick=True)
    check(uniopt.sgd, None, RATE, selection)
    with pytest.raises(ConformanceError, match="4 compilations for 4 steps"):
        check(retraces, None, RATE, selection)


def test_an_error_is_a_failure() -> None:
    message = found(uniopt.adam, "adam", b1=1.5)
    assert "HyperparameterError: b1 is 1.5" in message
