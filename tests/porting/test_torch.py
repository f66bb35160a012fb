"""torch's optimizers in the middle of a run: ten steps of torch, ten of uniopt, and ten of torch again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from tests.conftest import float64
from tests.dialects.torch_runs import CASES, SETTINGS
from tests.porting.runs import Named, TorchRun, error, gradients_of, shapes_of, start_of, uniopt_run
from uniopt import porting

STEPS = 10
ONE_EACH = [(name, list(settings)[-1]) for name, settings in SETTINGS.items()]
KEPT = ("decoupled_weight_decay",)  # what decides how a weight decay is written; all others are loaded


def bound(name: str, dtype: str) -> float:
    """Return by how many units in the last place two runs may differ."""
    if name == "Muon":  # two orders of addition may round to neighbours in bfloat16
        return 1e-3 / float(np.finfo(dtype).eps)
    return 8.0


def transposed(named: Named) -> Any:
    """Return a nested tree with the axes turned round, as for a framework with inputs first."""
    tree: dict[str, Any] = {}
    for name, x in named.items():
        layer, _, slot = name.partition(".")
        tree.setdefault(layer, {})[slot.replace("weight", "kernel")] = x.T if x.ndim == 2 else x
    return tree


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("name", "setting"), CASES)
def test_there_and_back(name: str, setting: str, dtype: str) -> None:
    """The optimizer on the way back has torch's own defaults before it is loaded."""
    hyper, shapes = SETTINGS[name][setting], shapes_of(name)
    start, stream = start_of(dtype, shapes), gradients_of(dtype, 3 * STEPS, shapes)
    whole = TorchRun(name, start, hyper).run(stream[: 2 * STEPS])
    begun = TorchRun(name, start, hyper).run(stream[:STEPS])
    tx, state = porting.from_torch(begun.optimizer, begun.named, to="numpy")
    params, state = uniopt_run(tx, state, begun.params, stream[STEPS : 2 * STEPS], "numpy")
    assert error(params, whole.params, start) <= bound(name, dtype)

    back = TorchRun(name, params, {k: v for k, v in hyper.items() if k in KEPT})
    porting.to_torch(tx, state, back.optimizer, back.named)
    whole.run(stream[2 * STEPS :])
    assert error(back.run(stream[2 * STEPS :]).params, whole.params, start) <= 2 * bound(name, dtype)
    assert_same_state(back, whole, bound(name, dtype))


def assert_same_state(found: TorchRun, expected: TorchRun, ulps: float) -> None:
    """All that torch keeps is the same, but for steps that decide nothing."""
    for p, q in zip(found.named.values(), expected.named.values(), strict=True):
        theirs = expected.optimizer.state[q]
        ours = found.optimizer.state[p]
        assert set(ours) == set(theirs)
        for key, value in theirs.items():
            if key == "step" and type(expected.optimizer).__name__ in ("Adadelta", "RMSprop", "Rprop"):
                continue
            largest = max(float(value.abs().max()), 1e-30)
            assert float((ours[key] - value).abs().max()) <= 16 * ulps * largest * torch.finfo(value.dtype).eps, key


@pytest.mark.parametrize("library", ["jax", "torch", "mlx"])
@pytest.mark.parametrize(("name", "setting"), [*ONE_EACH, ("Muon", "default")])
def test_to_every_library_with_axes_turned_round(name: str, setting: str, library: str) -> None:
    hyper, shapes = SETTINGS[name][setting], shapes_of(name)
    start, stream = start_of("float64", shapes), gradients_of("float64", 3 * STEPS, shapes)
    whole = TorchRun(name, start, hyper).run(stream[: 2 * STEPS])
    begun = TorchRun(name, start, hyper).run(stream[:STEPS])
    with float64(library):
        tx, state = porting.from_torch(begun.optimizer, begun.named, library, transposed)
        later = [transposed(g) for g in stream[STEPS : 2 * STEPS]]
        params, state = uniopt_run(tx, state, transposed(begun.params), later, library)
        assert error(params, transposed(whole.params), transposed(start)) <= bound(name, "float64")

        reached = {name: x.T.copy() if x.ndim == 2 else x for name, x in _named(params).items()}
        back = TorchRun(name, reached, {k: v for k, v in hyper.items() if k in KEPT})
        porting.to_torch(tx, state, back.optimizer, back.named, transposed)
    whole.run(stream[2 * STEPS :])
    assert error(back.run(stream[2 * STEPS :]).params, whole.params, start) <= 2 * bound(name, "float64")


def _named(tree: Any) -> Named:
    return {
        f"{layer}.{slot.replace('kernel', 'weight')}" if slot else layer: x
        for layer, slots in tree.items()
        for slot, x in slots.items()
    }


@pytest.mark.parametrize(("name", "setting"), ONE_EACH)
def test_a_parameter_without_gradients(name: str, setting: str) -> None:
    """One has had none yet, another has paused: torch counts by parameter."""
    hyper, shapes = SETTINGS[name][setting], shapes_of(name)
    start, stream = start_of("float64", shapes), gradients_of("float64", 3 * STEPS, shapes)
    late, pausing = sorted(shapes)[:2]
    stream = [
        {k: g for k, g in gradient.items() if not (k == late and n < 15) and not (k == pausing and n % 3 == 0)}
        for n, gradient in enumerate(stream)
    ]
    whole = TorchRun(name, start, hyper).run(stream[: 2 * STEPS])
    begun = TorchRun(name, start, hyper).run(stream[:STEPS])
    tx, state = porting.from_torch(begun.optimizer, begun.named, to="numpy")
    later = [{k: g.get(k) for k in shapes} for g in stream[STEPS : 2 * STEPS]]
    params, state = uniopt_run(tx, state, begun.params, later, "numpy")
    assert error(params, whole.params, start) <= bound(name, "float64")

    back = TorchRun(name, params, {k: v for k, v in hyper.items() if k in KEPT})
    porting.to_torch(tx, state, back.optimizer, back.named)
    whole.run(stream[2 * STEPS :])
    assert error(back.run(stream[2 * STEPS :]).params, whole.params, start) <= 2 * bound(name, "float64")
