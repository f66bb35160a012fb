"""The MLX optimizer beside MLX's own, on the digits: the same trajectories, eager and inside ``mx.compile``."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.optimizers
import numpy as np
import pytest
import torch
from mlx import nn
from mlx.utils import tree_flatten, tree_map, tree_unflatten

import uniopt
from tests.integrations.digits import images_and_labels, start
from uniopt.dialects import mlx as dialect
from uniopt.errors import HyperparameterError, LeafError, MixedLibrariesError, StateError, TreeStructureError
from uniopt.integrations.mlx import Optimizer

STEPS = 8
X, Y = map(mx.array, images_and_labels())


class Classifier(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = []
        for layer in start().values():
            linear = nn.Linear(*layer["kernel"].shape)
            linear.weight, linear.bias = mx.array(layer["kernel"].T), mx.array(layer["bias"])
            self.layers.append(linear)

    def __call__(self, x: Any) -> Any:
        return self.layers[1](mx.tanh(self.layers[0](x)))


def objective(model: Any) -> Any:
    return nn.losses.cross_entropy(model(X), Y, reduction="mean")


def train(
    model: Any, optimizer: Any, steps: int = STEPS, *, compiled: bool = False, before: Callable[[int], Any] = bool
) -> list[Any]:
    """Return the parameters after each step; `before` is called before each with its number."""
    loss_and_grad = nn.value_and_grad(model, objective)

    def step() -> Any:
        value, grads = loss_and_grad(model)
        optimizer.update(model, grads)
        return value

    if compiled:
        optimizer.init(model.trainable_parameters())
        held = [model.state, optimizer.state]
        step = mx.compile(step, inputs=held, outputs=held)
    path = []
    for k in range(steps):
        before(k)
        step()
        mx.eval(model.parameters(), optimizer.state)
        path.append({name: np.array(p) for name, p in tree_flatten(model.parameters())})
    return path


def assert_near(found: list[Any], expected: list[Any], rtol: float = 1e-6) -> None:
    for x, y in zip(found, expected, strict=True):
        assert x.keys() == y.keys()
        for name in x:
            np.testing.assert_allclose(x[name], y[name], rtol=0, atol=rtol * np.abs(y[name]).max())


PAIRS: dict[str, Callable[[Any], Any]] = {
    "SGD": lambda m: m.SGD(0.5, momentum=0.75, nesterov=True),
    "AdamW": lambda m: m.AdamW(0.01, betas=[0.75, 0.875], weight_decay=0.5),
    "Adafactor": lambda m: m.Adafactor(0.05, relative_step=False, weight_decay=0.25),
    "Lion": lambda m: m.Lion(0.002, weight_decay=0.5),
    "Muon": lambda m: m.Muon(0.02, weight_decay=0.125),
}


@pytest.mark.parametrize(("name", "compiled"), [*((name, False) for name in PAIRS), ("SGD", True), ("AdamW", True)])
def test_walks_as_the_optimizer_of_mlx(name: str, compiled: bool) -> None:
    """The learning rate is set on the way."""
    paths = []
    for optimizer in (Optimizer(PAIRS[name](dialect)), PAIRS[name](mlx.optimizers)):
        rate = optimizer.learning_rate.item()

        def before(k: int, optimizer: Any = optimizer, rate: float = rate) -> None:
            if k == 4:
                optimizer.learning_rate = rate / 2

        paths.append(train(Classifier(), optimizer, compiled=compiled, before=before))
        assert optimizer.learning_rate.item() == pytest.approx(rate / 2, rel=1e-6)
        assert optimizer.step.item() == STEPS
    assert_near(*paths, rtol=1e-4 if name == "Muon" else 2e-6)  # Newton-Schulz steps enlarge a rounding


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
@pytest.mark.parametrize("schedule", [uniopt.linear_schedule(0.5, 0.0, STEPS), mlx.optimizers.cosine_decay(0.5, STEPS)])
def test_schedules(schedule: Any, compiled: bool) -> None:
    optimizer = Optimizer(uniopt.sgd(schedule, momentum=0.5))
    seen: list[float] = []
    found = train(
        Classifier(), optimizer, compiled=compiled, before=lambda k: seen.append(optimizer.learning_rate.item())
    )
    theirs = mlx.optimizers.SGD(lambda step: schedule(step.astype(mx.int32)), momentum=0.5)
    assert_near(found, train(Classifier(), theirs))
    np.testing.assert_allclose(seen, [float(schedule(mx.array(k))) for k in range(STEPS)], rtol=1e-6)
    with pytest.raises(HyperparameterError, match="follows a schedule"):
        optimizer.learning_rate = 0.1


def test_the_state_goes_through_a_file(tmp_path: Path) -> None:
    """Flat as it is, or nested as MLX's own are after loading; half a run and half a run are a whole one."""
    make = partial(Optimizer, uniopt.chain(uniopt.clip_by_global_norm(0.25), uniopt.adamw(0.01)))
    expected = train(Classifier(), make())
    model, first = Classifier(), make()
    train(model, first, STEPS // 2)
    first.learning_rate = 0.01
    mx.save_safetensors(str(tmp_path / "state.safetensors"), first.state)
    held = mx.load(str(tmp_path / "state.safetensors"))
    weights = tree_flatten(model.parameters())
    for state in (held, tree_unflatten(list(held.items()))):
        model.update(tree_unflatten(weights))
        second = make()
        second.state = state
        assert second.learning_rate.item() == pytest.approx(0.01)
        assert_near(train(model, second, STEPS // 2), expected[STEPS // 2 :], 0)


def test_functional_style() -> None:
    """State in, state out, as MLX's own optimizers allow it."""
    optimizer, model = Optimizer(uniopt.adam(0.01)), Classifier()
    optimizer.init(model.trainable_parameters())
    loss_and_grad = nn.value_and_grad(model, objective)

    @mx.compile
    def step(params: Any, state: Any) -> Any:
        model.update(params)
        _, grads = loss_and_grad(model)
        optimizer.state = state
        return optimizer.apply_gradients(grads, params), optimizer.state

    params, state = model.parameters(), optimizer.state
    for _ in range(STEPS):
        params, state = step(params, state)
    expected = train(Classifier(), Optimizer(uniopt.adam(0.01)))
    assert_near([{name: np.array(p) for name, p in tree_flatten(params)}], expected[-1:])


def test_a_state_that_does_not_fit() -> None:
    adam, descent = Optimizer(uniopt.adam(0.1)), Optimizer(uniopt.sgd(0.1))
    params = {"w": mx.ones(3), "b": mx.ones(())}
    adam.apply_gradients(params, params)
    descent.state = adam.state
    with pytest.raises(StateError, match=r"Not expected: inner_state.0.count, inner_state.0.mu.b"):
        descent.apply_gradients(params, params)
    whole = dict(adam.state)
    adam.state = {name: x for name, x in whole.items() if name != "inner_state.0.mu.w"}
    with pytest.raises(StateError, match=r"Missing: inner_state.0.mu.w"):
        adam.apply_gradients(params, params)
    adam.state = {**whole, "inner_state.0.mu.w": mx.ones(4)}
    with pytest.raises(StateError, match=r"'inner_state.0.mu.w'. has shape \(4,\), expected \(3,\)"):
        adam.apply_gradients(params, params)


def test_gradients_of_some_parameters() -> None:
    optimizer = Optimizer(uniopt.adamw(0.1))
    params = {"w": mx.ones(3), "rest": [mx.ones(2), {"b": mx.ones(())}]}
    optimizer.init(params)
    moved = optimizer.apply_gradients({"rest": [mx.ones(2)]}, params)
    assert [name for name, _ in tree_flatten(moved)] == ["rest.0"]
    assert optimizer.state["inner_state.0.mu.w"].tolist() == [0.0] * 3
    assert optimizer.state["inner_state.0.mu.rest.0"].tolist() == pytest.approx([0.1] * 2)
    with pytest.raises(StateError, match="gradients for new, but the state is of"):
        optimizer.apply_gradients({"new": mx.ones(2)}, {"new": mx.ones(2)})


def test_parameters_one_by_one() -> None:
    """`init_single` and `apply_single` treat a parameter as if it were alone, at the optimizer's learning rate."""
    whole, single = Optimizer(uniopt.adam(0.1)), Optimizer(uniopt.adam(0.5))
    single.learning_rate = 0.1
    params = {"w": mx.array([1.0, -2.0]), "b": mx.array(3.0)}
    states: dict[str, dict[str, Any]] = {"w": {}, "b": {}}
    alone = params
    for name, state in states.items():
        single.init_single(params[name], state)
    for _ in range(3):
        params = whole.apply_gradients(params, params)
        alone = {name: single.apply_single(alone[name], alone[name], states[name]) for name in alone}
    assert_near([tree_map(np.array, alone)], [tree_map(np.array, params)])
    begun: dict[str, Any] = {}
    single.apply_single(mx.ones(2), mx.ones(2), begun)
    assert begun.keys() == states["w"].keys()
    with pytest.raises(StateError, match=r"state.'inner_state.0.mu'. has shape"):
        single.apply_single(mx.ones(3), mx.ones(3), begun)


def test_within_multi_optimizer() -> None:
    def build(adam: Any, descent: Any) -> Any:
        return mlx.optimizers.MultiOptimizer([adam, descent], [lambda path, _: path.endswith("weight")])

    ours = build(Optimizer(dialect.Adam(0.01)), Optimizer(dialect.SGD(0.1)))
    theirs = build(mlx.optimizers.Adam(0.01), mlx.optimizers.SGD(0.1))
    assert_near(train(Classifier(), ours), train(Classifier(), theirs))


def test_extra_arguments_and_sixteen_bits() -> None:
    optimizer = Optimizer(uniopt.polyak_sgd(1.0))
    params = {"w": mx.array([3.0, 4.0], dtype=mx.bfloat16)}
    assert optimizer.apply_gradients(params, params, value=mx.array(25.0))["w"].tolist() == [0.0, 0.0]
    assert Optimizer(uniopt.adam(0.5)).apply_gradients(params, params)["w"].dtype == mx.bfloat16


def test_several_learning_rates() -> None:
    two = uniopt.partition({"a": uniopt.sgd(0.5), "b": uniopt.sgd(0.25)}, {"x": "a", "y": "b"})
    optimizer = Optimizer(two)
    params = {"x": mx.array(1.0), "y": mx.array(1.0)}
    moved = optimizer.apply_gradients(params, params)
    assert (moved["x"].item(), moved["y"].item()) == (0.5, 0.75)
    for action in (lambda: optimizer.learning_rate, lambda: setattr(optimizer, "learning_rate", 0.1)):
        with pytest.raises(HyperparameterError, match=r"are 0.5, 0.25; expected one"):
            action()


def test_hyperparameters_that_the_user_has_put_into_the_state() -> None:
    optimizer = Optimizer(uniopt.inject_hyperparams(uniopt.sgd)(learning_rate=0.5, momentum=0.5))
    params = mx.array([2.0])
    optimizer.learning_rate = 0.25
    assert optimizer.apply_gradients(params, params).tolist() == [1.5]
    optimizer.state["hyperparams.momentum"] = mx.array(0.0)
    assert optimizer.apply_gradients(params, params).tolist() == [1.5]


def test_foreign_objects() -> None:
    optimizer = Optimizer(uniopt.sgd(0.1))
    with pytest.raises(MixedLibrariesError, match=r"'w'. is an array of torch.*integrations.torch.Optimizer"):
        optimizer.apply_gradients({"w": torch.ones(2)}, {"w": mx.ones(2)})
    with pytest.raises(MixedLibrariesError, match=r"numpy.*uniopt.compile"):
        optimizer.init({"w": np.ones(2)})
    with pytest.raises(LeafError, match=r"gradients\['w'\] is 1.0 of type float"):
        optimizer.apply_gradients({"w": 1.0}, {"w": mx.ones(2)})
    with pytest.raises(HyperparameterError, match=r"uniopt.dialects.mlx.Adam\(...\)"):
        Optimizer(mlx.optimizers.Adam(1e-3))
    linear, state = torch.nn.Linear(2, 1, bias=False), dict[str, Any]()
    with pytest.raises(MixedLibrariesError, match=r"gradients\['weight'\] is an array of torch.*torch.Optimizer"):
        optimizer.update(linear, {"weight": torch.ones(1, 2)})
    with pytest.raises(TreeStructureError, match=r"gradients for weight, .* in the Linear .* mlx.nn.Module"):
        optimizer.update(linear, {"weight": mx.ones((1, 2))})
    for action in (
        lambda: optimizer.init_single(torch.ones(2), state),
        lambda: optimizer.apply_single(mx.ones(2), torch.ones(2), state),
    ):
        with pytest.raises(MixedLibrariesError, match=r"^parameter is an array of torch.*torch.Optimizer"):
            action()


def test_gradients_of_no_parameter() -> None:
    optimizer = Optimizer(uniopt.sgd(0.1))
    one, two = {"layers": [mx.ones(2)]}, {"layers": [mx.ones(2), {"w": mx.ones(1)}], "b": mx.ones(())}
    with pytest.raises(TreeStructureError, match=r"gradients for layers.1.w, b, but no such parameters in the dict"):
        optimizer.apply_gradients(two, one)


@pytest.mark.parametrize("rate", ["0.1", -0.1, mx.ones(2), uniopt.constant_schedule(0.1)], ids=str)
def test_learning_rates_that_are_none(rate: Any) -> None:
    optimizer = Optimizer(uniopt.sgd(0.5))
    with pytest.raises(HyperparameterError, match="expected a number"):
        optimizer.learning_rate = rate
    assert optimizer.learning_rate.item() == 0.5
