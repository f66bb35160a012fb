"""optax in the middle of a run: to torch, from torch, and through uniopt back to optax."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import uniopt
from tests.conftest import float64
from tests.porting.runs import TorchRun, error, gradients_of, optax_run, start_of, uniopt_run
from tests.porting.test_torch import transposed
from uniopt import porting
from uniopt.errors import PortingError
from uniopt.porting.description import describe

optax = pytest.importorskip("optax")

STEPS = 10


def schedule(count: Any) -> Any:
    return 0.1 / (1 + count)


# The calls of torch and of optax that do the same.
SHARED: dict[str, tuple[str, dict[str, Any], Callable[[], Any]]] = {
    "SGD": ("SGD", {"lr": 0.1}, lambda: optax.sgd(0.1)),
    "SGD, momentum": ("SGD", {"lr": 0.1, "momentum": 0.75}, lambda: optax.sgd(0.1, momentum=0.75)),
    "SGD, nesterov": (
        "SGD",
        {"lr": 0.1, "momentum": 0.75, "nesterov": True, "weight_decay": 0.1},
        lambda: optax.chain(optax.add_decayed_weights(0.1), optax.sgd(0.1, momentum=0.75, nesterov=True)),
    ),
    "SGD, maximize": (
        "SGD",
        {"lr": 0.1, "momentum": 0.75, "maximize": True},
        lambda: optax.chain(optax.scale(-1.0), optax.sgd(0.1, momentum=0.75)),
    ),
    "Adam": (
        "Adam",
        {"lr": 0.1, "betas": (0.5, 0.75), "eps": 1e-2},
        lambda: optax.adam(0.1, b1=0.5, b2=0.75, eps=1e-2),
    ),
    "Adam, coupled": (
        "Adam",
        {"lr": 0.1, "betas": (0.5, 0.75), "weight_decay": 0.1},
        lambda: optax.chain(optax.add_decayed_weights(0.1), optax.adam(0.1, b1=0.5, b2=0.75)),
    ),
    "AdamW": (
        "AdamW",
        {"lr": 0.1, "betas": (0.5, 0.75), "weight_decay": 0.3},
        lambda: optax.adamw(0.1, b1=0.5, b2=0.75, weight_decay=0.3),
    ),
    "Adamax": (
        "Adamax",
        {"lr": 0.1, "betas": (0.5, 0.75), "eps": 1e-2},
        lambda: optax.adamax(0.1, b1=0.5, b2=0.75, eps=1e-2),
    ),
    "RAdam": (
        "RAdam",
        {"lr": 0.1, "betas": (0.5, 0.75), "eps": 0.0},
        lambda: optax.radam(0.1, b1=0.5, b2=0.75, eps=0.0),
    ),
    "Adagrad": (
        "Adagrad",
        {"lr": 0.1, "eps": 0.0, "initial_accumulator_value": 0.25},
        lambda: optax.adagrad(0.1, initial_accumulator_value=0.25, eps=0.0),
    ),
    "Adadelta": (
        "Adadelta",
        {"lr": 0.5, "rho": 0.5, "eps": 1e-2, "weight_decay": 0.1},
        lambda: optax.adadelta(0.5, rho=0.5, eps=1e-2, weight_decay=0.1),
    ),
    "RMSprop": (
        "RMSprop",
        {"lr": 0.1, "alpha": 0.75, "eps": 1e-2},
        lambda: optax.rmsprop(0.1, decay=0.75, eps=1e-2, eps_in_sqrt=False),
    ),
    "RMSprop, momentum": (
        "RMSprop",
        {"lr": 0.1, "alpha": 0.75, "eps": 0.1, "momentum": 0.5, "centered": True},
        lambda: optax.rmsprop(0.1, decay=0.75, eps=0.1, eps_in_sqrt=False, centered=True, momentum=0.5),
    ),
    "Adafactor": (
        "Adafactor",
        {"lr": 0.25, "eps": (0.0, 0.25), "d": 2.0},
        lambda: optax.chain(
            optax.scale_by_factored_rms(min_dim_size_to_factor=0, epsilon=0.0),
            optax.clip_by_block_rms(2.0),
            optax.scale_by_param_block_rms(0.25),
            optax.scale_by_learning_rate(relative_step),
        ),
    ),
}


def relative_step(count: Any) -> Any:
    import jax.numpy as jnp

    return jnp.minimum(0.25, 1 / jnp.sqrt(count + 1.0))


SHAPES = {"conv.weight": (3, 4, 5), "dense.bias": (3,), "dense.weight": (3, 5), "gain": ()}
# optax computes Adafactor's decay rate, and the values of schedules, in float32.
IN_FLOAT32 = ("Adafactor", "adafactor", "adamw", "rmsprop", "muon")


def bound(name: str, dtype: str) -> float:
    """Return by how many units in the last place two runs may differ."""
    return 1e9 if name in IN_FLOAT32 and dtype == "float64" else 16.0


# Put together, or given; the schedule of Adafactor is a function of this file, which is equal to no other.
CASES = [(name, dtype, False) for name in SHARED for dtype in ("float32", "float64")]
CASES += [(name, "float64", True) for name in SHARED if name != "Adafactor"]


@pytest.mark.parametrize(("name", "dtype", "given"), CASES)
def test_torch_to_optax(name: str, dtype: str, given: bool) -> None:
    cls, hyper, make = SHARED[name]
    start, stream = start_of(dtype, SHAPES), gradients_of(dtype, 2 * STEPS, SHAPES)
    expected = TorchRun(cls, start, hyper).run(stream).params
    begun = TorchRun(cls, start, hyper).run(stream[:STEPS])
    with float64("jax"):
        import jax

        tx, state = porting.from_torch(begun.optimizer, begun.named)
        params = jax.tree.map(jax.numpy.asarray, begun.params)
        optimizer, state = porting.to_optax(tx, state, params, make() if given else None)
        found, _ = optax_run(optimizer, state, params, stream[STEPS:])
    assert error(found, expected, start) <= bound(name, dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", [name for name in SHARED if name != "Adafactor"])
def test_optax_to_torch(name: str, dtype: str) -> None:
    cls, hyper, make = SHARED[name]
    start, stream = start_of(dtype, SHAPES), gradients_of(dtype, 2 * STEPS, SHAPES)
    with float64("jax"):
        import jax

        zero = make().init(jax.tree.map(jax.numpy.asarray, start))
        expected, _ = optax_run(make(), zero, start, stream)
        params, state = optax_run(make(), zero, start, stream[:STEPS])
        tx, state = porting.from_optax(make(), state, params, to="numpy")
        kept = {"centered": True} if "centered" in hyper else {}
        run = TorchRun(cls, params, kept)
        porting.to_torch(tx, state, run.optimizer, run.named)
    loaded = {k: run.optimizer.param_groups[0][k] for k in hyper}
    assert loaded == {k: pytest.approx(x) if isinstance(x, float) else x for k, x in hyper.items()}
    assert error(run.run(stream[STEPS:]).params, expected, start) <= bound(name, dtype)


# Made with optax, or with uniopt: `m` is where the functions come from.
OWN: dict[str, Callable[[Any], Any]] = {
    "adabelief": lambda m: m.adabelief(0.1, nesterov=True),
    "adafactor": lambda m: m.adafactor(0.1, min_dim_size_to_factor=2, momentum=0.5, weight_decay_rate=0.01),
    "adagrad": lambda m: m.adagrad(0.1),
    "adamw": lambda m: m.adamw(schedule, weight_decay=0.1, mask=lambda p: {k: np.ndim(x) > 1 for k, x in p.items()}),
    "adan": lambda m: m.adan(0.1, weight_decay=0.1),
    "amsgrad": lambda m: m.amsgrad(0.1),
    "clipped": lambda m: m.chain(m.clip_by_global_norm(1.0), m.adam(0.1, nesterov=True)),
    "lamb": lambda m: m.lamb(0.1, weight_decay=0.1),
    "lars": lambda m: m.lars(0.1, weight_decay=0.1),
    "lion": lambda m: m.lion(0.1),
    "nadamw": lambda m: m.nadamw(0.1),
    "novograd": lambda m: m.novograd(0.1, eps=1e-2),
    "optimistic_adam_v2": lambda m: m.optimistic_adam_v2(0.1),
    "optimistic_gradient_descent": lambda m: m.optimistic_gradient_descent(0.1),
    "partition": lambda m: m.partition(
        {"a": m.adam(0.1), "b": m.sgd(0.2, momentum=0.5)}, {"conv.weight": "a", "dense.bias": "b", "dense.weight": "a"}
    ),
    "rmsprop": lambda m: m.rmsprop(schedule, momentum=0.5, nesterov=True, bias_correction=True),
    "rprop": lambda m: m.rprop(0.1) if m is optax else uniopt.dialects.optax.rprop(0.1),
    "signum": lambda m: m.signum(0.1),
    "sm3": lambda m: m.sm3(0.1),
    "yogi": lambda m: m.yogi(0.1),
}
FEW = {"conv.weight": (3, 4, 5), "dense.bias": (3,), "dense.weight": (3, 5)}


@pytest.mark.parametrize("name", [*OWN, pytest.param("muon", marks=pytest.mark.wide)])
def test_through_uniopt_and_back(name: str) -> None:
    """Ten steps each of optax, of uniopt on NumPy arrays, and of optax again."""

    def make(m: Any) -> Any:
        return (m.contrib if m is optax else m).muon(0.1) if name == "muon" else OWN[name](m)

    start, stream = start_of("float64", FEW), gradients_of("float64", 3 * STEPS, FEW)
    with float64("jax"):
        import jax

        optimizer = make(optax)
        params, state = optax_run(optimizer, optimizer.init(_on_jax(start)), start, stream[:STEPS])
        tx, moved = porting.from_optax(optimizer, state, params, to="numpy")
        assert _switches(tx, moved, start) == _switches(make(uniopt), moved, start)
        reached, moved = uniopt_run(tx, moved, jax.tree.map(np.asarray, params), stream[STEPS : 2 * STEPS], "numpy")

        expected, _ = optax_run(optimizer, state, params, stream[STEPS:])
        for given in [optimizer] if name == "muon" else [optimizer, None]:  # optax does not show all parts of Muon
            back, its_state = porting.to_optax(tx, moved, _on_jax(reached), given)
            found, _ = optax_run(back, its_state, reached, stream[2 * STEPS :])
            assert error(found, expected, start) <= bound(name, "float64")


def _on_jax(named: Any) -> Any:
    import jax

    return jax.tree.map(jax.numpy.asarray, named)


def _switches(tx: Any, state: Any, params: Any) -> list[dict[str, Any]]:
    return [described.switches for described in describe(tx, state, params)]


def test_a_state_of_other_parameters_is_refused() -> None:
    optimizer = optax.adam(0.1)
    state = optimizer.init(_on_jax({"w": np.zeros(3, np.float32)}))
    with pytest.raises(PortingError, match=r"state\[0\].mu\['w'\] has shape \(3,\), expected \(2,\)"):
        porting.from_optax(optimizer, state, {"w": np.zeros(2)})
    with pytest.raises(PortingError, match=r"state\[0\] is ScaleByAdamState, which has no 'e_g'"):
        porting.from_optax(optax.chain(optax.scale_by_adadelta(), optax.scale(0.1)), state, {"w": np.zeros(3)})


def test_a_state_of_a_longer_chain_is_refused() -> None:
    params = _on_jax({"w": np.zeros(3, np.float32)})
    longer = optax.chain(optax.trace(0.5), optax.scale(0.1), optax.trace(0.5))
    with pytest.raises(PortingError, match="state of another transformation"):
        porting.from_optax(optax.chain(optax.trace(0.5), optax.scale(0.1)), longer.init(params), params)


def scale_by_adam(b1: float) -> Any:
    """Return another transformation than that of optax of this name."""

    def update(updates: Any, state: Any, params: Any = None) -> Any:
        return {name: b1 * g for name, g in updates.items()}, state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def test_transformations_that_cannot_be_read_are_refused() -> None:
    params = _on_jax({"w": np.zeros(3, np.float32)})
    around = optax.chain(optax.adam(0.1), optax.stateless(lambda g, p: g))
    for optimizer in (scale_by_adam(0.5), optax.lbfgs(), optax.fromage(0.1), around):
        with pytest.raises(PortingError, match="optax"):
            porting.from_optax(optimizer, optimizer.init(params), params)


def test_a_hyperparameter_that_was_not_closed_over_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a version of optax with one more would have it."""
    params = _on_jax({"w": np.zeros(3, np.float32)})
    optimizer = optax.scale_by_rss()

    def scale_by_rss(initial_accumulator_value: float, eps: float, unknown: float) -> None: ...

    monkeypatch.setattr(sys.modules[optimizer.update.__module__], "scale_by_rss", scale_by_rss)
    with pytest.raises(PortingError, match="unknown of optax's scale_by_rss cannot be read"):
        porting.from_optax(optimizer, optimizer.init(params), params)


def test_schedules_of_optax_run_on_every_library() -> None:
    params = {"w": np.ones(3, np.float32)}
    optimizer = optax.adam(optax.warmup_cosine_decay_schedule(0.0, 0.1, 5, 50))
    tx, _ = porting.from_optax(optimizer, optimizer.init(_on_jax(params)), params, to="numpy")
    assert "join_schedules" in repr(tx)
    assert "cosine_decay_schedule" in repr(tx)


def test_groups_and_a_schedule_of_torch_with_axes_turned_round() -> None:
    start, stream = start_of("float64", FEW), gradients_of("float64", 2 * STEPS, FEW)
    groups = [(["dense.weight"], {"weight_decay": 0.0, "lr": 0.05}), (["conv.weight", "dense.bias"], {})]

    def new() -> TorchRun:
        run = TorchRun("AdamW", start, {"lr": 0.1, "weight_decay": 0.3}, groups)
        run.scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(run.optimizer, 30)
        return run

    expected, begun = new().run(stream).params, new().run(stream[:STEPS])
    with float64("jax"):
        tx, state = porting.from_torch(begun.optimizer, begun.named, "jax", transposed, begun.scheduler)
        params = transposed(begun.params)
        optimizer, state = porting.to_optax(tx, state, _on_jax(params))
        found, state = optax_run(optimizer, state, params, [transposed(g) for g in stream[STEPS:]])
    assert error(found, transposed(expected), transposed(start)) <= 16
    assert set(state.inner_states) == {"group 0", "group 1"}
