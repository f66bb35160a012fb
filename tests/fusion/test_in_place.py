"""What a compiled step writes to, and what it leaves as it is."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np
import pytest
import torch
from uniopt.backends import registry

import uniopt
from tests.fusion.walks import assert_same_bits, build, copied, in_numpy, normal, odd_tree, tensor
from uniopt.errors import NotWritableError

LIBRARIES = ["numpy", "torch"]


def make(library: str, seed: object, dtype: str = "float32") -> Any:
    """Return an odd tree of the library."""
    found = odd_tree(normal(seed, dtype))
    return found if library == "numpy" else uniopt.tree.map(tensor, found)


def addresses(tree: Any) -> list[int]:
    arrays = [in_numpy(x) for x in uniopt.tree.leaves(tree)]
    return [x.__array_interface__["data"][0] for x in arrays if x.size]


def expected(tx: uniopt.GradientTransformation, grads: Any, state: Any, params: Any, **extra: Any) -> tuple[Any, Any]:
    """Return what eager NumPy makes of trees of any library: the next parameters and the next state."""

    def array(x: Any) -> Any:
        return in_numpy(x).copy() if isinstance(x, torch.Tensor) else x

    grads, state, params = (uniopt.tree.map(array, part) for part in (grads, state, params))
    updates, state = tx.update(grads, state, params, **extra)
    return uniopt.apply_updates(params, updates), state


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("name", ["adamw", "lamb", "sgd", "sm3"])
def test_the_very_arrays_are_returned(library: str, name: str) -> None:
    tx = build(name)
    params, grads = make(library, "p"), make(library, "g")
    state, step = tx.init(params), uniopt.compile(tx)
    where = addresses((params, state))
    for _ in range(2):
        after, next_state = step(grads, state, params)
        for found, given in zip(
            uniopt.tree.leaves((after, next_state)), uniopt.tree.leaves((params, state)), strict=True
        ):
            assert found is given
        params, state = after, next_state
    assert addresses((params, state)) == where


@pytest.mark.parametrize("library", LIBRARIES)
def test_gradients_and_extra_arguments_are_left_alone(library: str) -> None:
    tx, params, grads = build("polyak_sgd"), make(library, "p"), make(library, "g")
    value = registry.get(library).asarray(3.0)
    before = copied(uniopt.tree.map(in_numpy, (grads, value)))
    uniopt.compile(tx)(grads, tx.init(params), params, value=value)
    assert_same_bits((grads, value), before, "after the step")


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("name", ["adamw", "lamb"])
def test_without_donation_everything_is_left_alone(library: str, name: str) -> None:
    tx = build(name)
    params, grads = make(library, "p"), make(library, "g")
    state, step = tx.init(params), uniopt.compile(tx, donate=False)
    for _ in range(3):
        before = copied(uniopt.tree.map(in_numpy, (params, state)))
        after, next_state = step(grads, state, params)
        assert_same_bits((params, state), before, "the inputs")
        if name == "adamw":
            assert_same_bits((after, next_state), expected(tx, grads, state, params), "the results")
        assert not set(addresses((after, next_state))) & set(addresses((params, state)))
        params, state = after, next_state


def test_earlier_results_survive_without_donation() -> None:
    tx = build("adamw")
    params, grads = make("numpy", "p"), make("numpy", "g")
    state, step = tx.init(params), uniopt.compile(tx, donate=False)
    first, first_state = step(grads, state, params)
    kept = copied((first, first_state))
    step(grads, first_state, first)
    assert_same_bits((first, first_state), kept, "the first results")


def test_parameters_of_a_module_stay_its_parameters() -> None:
    module = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 1))
    module[1].bias.requires_grad_(False)
    params = dict(module.named_parameters())
    tx = uniopt.adamw(0.1)
    state, step = tx.init(params), uniopt.compile(tx)
    where = {name: p.data_ptr() for name, p in params.items()}
    before = copied(uniopt.tree.map(in_numpy, params))
    for _ in range(3):
        module.zero_grad()
        module(torch.ones(2, 3)).sum().backward()
        grads = {name: p.grad for name, p in params.items()}
        after, state = step(grads, state, params)
    for name, p in module.named_parameters():
        assert after[name] is p
        assert isinstance(p, torch.nn.Parameter)
        assert p.data_ptr() == where[name]
        assert p.requires_grad == (name != "1.bias")
        assert p.grad_fn is None
        assert np.array_equal(in_numpy(p), before[name]) == (name == "1.bias"), name


# Autograd


def test_a_step_counts_as_a_change_of_every_tensor_that_it_writes() -> None:
    tx = build("adamw")
    params, grads = make("torch", "p"), make("torch", "g")
    state, step = tx.init(params), uniopt.compile(tx)
    for _ in range(2):
        before = [x._version for x in uniopt.tree.leaves((params, state))]
        others = [x._version for x in uniopt.tree.leaves(grads)]
        step(grads, state, params)
        assert all(x._version > n for x, n in zip(uniopt.tree.leaves((params, state)), before, strict=True))
        assert [x._version for x in uniopt.tree.leaves(grads)] == others


@pytest.mark.parametrize("rule", [lambda xp, g, s: (-g, s), lambda xp, g, s: (-g if xp.sum(g) > 0 else g, s)])
@pytest.mark.filterwarnings("ignore::uniopt.errors.EagerStepWarning")
def test_autograd_notices_that_a_saved_tensor_was_overwritten(rule: Any) -> None:
    """Also where the step could not be compiled."""
    w = torch.nn.Parameter(torch.ones(3))
    loss = (w * w).sum()
    tx = uniopt.leafwise(uniopt.EmptyState, None, rule)
    params = {"w": w}
    uniopt.compile(tx)({"w": torch.ones(3)}, tx.init(params), params)
    assert np.array_equal(in_numpy(w), [0.0] * 3)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@pytest.mark.parametrize("mode", [torch.no_grad, torch.enable_grad, torch.inference_mode])
def test_grad_modes(mode: Any) -> None:
    tx = build("adamw")
    params, grads = make("torch", "p"), make("torch", "g")
    for p in uniopt.tree.leaves(params):
        p.requires_grad_()
    state = tx.init(params)
    wanted = expected(tx, grads, state, params)
    with mode():
        after = uniopt.compile(tx)(grads, state, params)
    assert_same_bits(after, wanted, mode.__name__)
    assert all(p.requires_grad and p.grad_fn is None for p in uniopt.tree.leaves(after[0]))
    assert not any(x.requires_grad for x in uniopt.tree.leaves(after[1]))


def test_tensors_made_in_inference_mode() -> None:
    tx, grads = build("adamw"), make("torch", "g")
    with torch.inference_mode():
        params = make("torch", "p")
        state = tx.init(params)
    wanted = expected(tx, grads, state, params)
    assert_same_bits(uniopt.compile(tx)(grads, state, params), wanted, "outside inference mode")


# Memory that cannot be written to


@pytest.mark.parametrize("eager", [False, True])
@pytest.mark.filterwarnings("ignore::uniopt.errors.EagerStepWarning")
def test_a_read_only_array_is_named_and_nothing_is_written(eager: bool) -> None:
    def rule(xp: Any, g: Any, s: Any) -> Any:
        momentum = s.trace + (g if not eager or xp.all(g == g) else -g)  # noqa: PLR0124  # true but for NaN
        return -0.5 * momentum, s._replace(trace=momentum)

    tx = uniopt.leafwise(uniopt.TraceState, lambda xp, p: {"trace": xp.zeros_like(p)}, rule)
    params, grads = {"a": np.ones(2), "layer": [np.ones(3)]}, {"a": np.ones(2), "layer": [np.ones(3)]}
    state, step = tx.init(params), uniopt.compile(tx)
    for locked, path in ((params["layer"][0], r"params\['layer'\]\[0\]"), (state.trace["a"], r"state.trace\['a'\]")):
        locked.flags.writeable = False
        with pytest.raises(NotWritableError, match=rf"^{path} is read-only. Expected an array .* donate=False"):
            step(grads, state, params)
        locked.flags.writeable = True
    assert_same_bits((params, state), (uniopt.tree.map(np.ones_like, params), tx.init(params)), "after the errors")
    params["layer"][0].flags.writeable = False
    after, _ = uniopt.compile(tx, donate=False)(grads, state, params)
    assert np.array_equal(after["layer"][0], [0.5] * 3)
    assert np.array_equal(params["layer"][0], [1.0] * 3)


@pytest.mark.parametrize("library", LIBRARIES)
def test_an_array_whose_elements_share_memory_is_named(library: str) -> None:
    if library == "numpy":
        w = np.lib.stride_tricks.as_strided(np.ones(3), (4, 3), (0, 8))
        grads = np.ones((4, 3))
    else:
        w, grads = torch.ones(3).expand(4, 3), torch.ones(4, 3)
    tx = uniopt.sgd(0.5)
    with pytest.raises(NotWritableError, match=r"^params has elements that share memory"):
        uniopt.compile(tx)(grads, tx.init(w), w)
    assert np.array_equal(in_numpy(w), np.ones((4, 3)))


def test_a_view_of_conjugates_is_named() -> None:
    w = torch.tensor([1 + 1j, 2 - 1j]).conj()
    tx = uniopt.sgd(0.5)
    with pytest.raises(NotWritableError, match=r"^params shows the memory of another tensor, conjugated"):
        uniopt.compile(tx)(torch.ones_like(w), tx.init(w), w)


# Leaves that are no arrays of their own


@pytest.mark.parametrize("name", ["adamw", "lion", "sgd"])
def test_numpy_scalars_and_numbers_are_leaves(name: str) -> None:
    tx = build(name)
    params = {"a": np.float32(1.5), "b": np.float64(-2.5), "c": np.float16(0.5), "d": 0.75, "e": np.asarray(2.0)}
    grads = {"a": np.float32(0.5), "b": np.float64(1.5), "c": np.float16(-1.0), "d": -1.25, "e": np.asarray(-2.0)}
    state, step = tx.init(params), uniopt.compile(tx)
    for k in range(3):
        wanted = expected(tx, grads, state, params)
        params, state = step(grads, state, params)
        assert_same_bits((params, state), wanted, f"step {k}")
        assert [type(x) for x in uniopt.tree.leaves(params)] == [type(x) for x in uniopt.tree.leaves(wanted[0])]
        assert isinstance(params["a"], np.float32)


def test_a_tree_of_numbers_alone() -> None:
    tx = uniopt.adam(0.1)
    params: Any = {"x": 1.0, "y": (2.0, 3)}
    grads = {"x": 1.0, "y": (-1.0, 0.5)}
    wanted = expected(tx, grads, tx.init(params), params)
    assert_same_bits(uniopt.compile(tx)(grads, tx.init(params), params), wanted, "numbers")


@pytest.mark.parametrize("library", LIBRARIES)
def test_numbers_among_arrays(library: str) -> None:
    array = registry.get(library).from_numpy
    tx = uniopt.adamw(0.5)
    params: Any = {"w": array(np.ones(3, np.float32)), "n": 2.0}
    grads = {"w": array(np.ones(3, np.float32)), "n": array(np.ones((), np.float32))}
    state, step = tx.init(params), uniopt.compile(tx)
    for k in range(3):
        wanted = expected(tx, grads, state, params)
        params, state = step(grads, state, params)
        assert_same_bits((params, state), wanted, f"step {k}")


@pytest.mark.parametrize("library", LIBRARIES)
def test_gradients_are_not_held_beyond_the_call(library: str) -> None:
    """A step that kept those of its first call would cost the memory of all parameters once more."""
    tx, params = build("adamw"), make(library, "held")
    state, step = tx.init(params), uniopt.compile(tx)
    for _ in range(2):
        grads = make(library, "gradients")
        held = [weakref.ref(g) for g in uniopt.tree.leaves(grads)]
        params, state = step(grads, state, params)
        del grads
        assert not any(x() is not None for x in held)
