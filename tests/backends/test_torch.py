"""PyTorch: functions that the standard has and torch has not, parameters, gradients and devices."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from uniopt.backends.dtypes import dtype_name

import uniopt
from tests.conftest import require

META = torch.device("meta")
MPS = torch.device("mps")
WIDE = {"float64", "complex128"}


@pytest.mark.parametrize("name", ["maximum", "minimum"])
def test_the_larger_and_the_smaller_of_arrays_and_numbers(name: str) -> None:
    x, y = np.asarray([-1.0, 0.5, 2.0]), np.asarray([1.0, 0.25, np.nan])
    own, expected = getattr(require("torch").xp, name), getattr(np, name)
    tensors = torch.from_numpy(x), torch.from_numpy(y)
    np.testing.assert_array_equal(own(*tensors).numpy(), expected(x, y))
    for number in (0.5, 1):
        for tensor, array in zip(tensors, (x, y), strict=True):
            np.testing.assert_array_equal(own(tensor, number).numpy(), expected(array, number))
            np.testing.assert_array_equal(own(number, tensor).numpy(), expected(number, array))


def test_signs() -> None:
    sign = require("torch").xp.sign
    np.testing.assert_array_equal(sign(torch.tensor([-2.0, 0.0, 0.5, np.nan])).numpy(), [-1.0, 0.0, 1.0, np.nan])
    np.testing.assert_allclose(sign(torch.tensor([3 + 4j, 0j])).numpy(), [0.6 + 0.8j, 0j], rtol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_signs_of_special_numbers(dtype: torch.dtype) -> None:
    sign, info = require("torch").xp.sign, torch.finfo(dtype)
    numbers = [np.inf, info.max, 1.0, info.tiny / 4, 0.0]
    x = torch.tensor([np.nan, *numbers, *(-number for number in numbers)] * 9, dtype=dtype, requires_grad=True)
    expected = torch.where(torch.isnan(x), x, torch.sign(x))
    for found in (sign(x), torch.vmap(sign)(x), torch.vmap(sign)(x.reshape(9, -1)).reshape(-1)):
        torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)
        assert not torch.signbit(found[found == 0]).any()
    assert not torch.autograd.grad(sign(x).sum(), x)[0].any()


def test_accelerators_are_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = require("torch")
    for available, found in ((False, []), (True, [torch.device("cuda", 0), torch.device("cuda", 1)])):
        accelerator = SimpleNamespace(
            is_available=lambda available=available: available,
            current_accelerator=lambda: torch.device("cuda"),
            device_count=lambda: 2,
        )
        monkeypatch.setattr(torch, "accelerator", accelerator)
        assert backend.devices() == [torch.device("cpu"), *found]


def test_metal_has_no_float64() -> None:
    backend = require("torch")
    assert backend.dtypes().keys() == backend.dtypes("cpu").keys() == backend.dtypes(torch.device("cpu")).keys()
    assert backend.dtypes().keys() - backend.dtypes("mps").keys() == WIDE
    assert backend.dtypes(MPS).keys() == backend.dtypes("mps").keys() == {"float16", "bfloat16", "float32", "complex64"}
    assert backend.has_float64(torch.ones(1))
    assert not backend.has_float64(SimpleNamespace(device=MPS))


def test_arrays_are_put_on_the_device_that_is_asked_for() -> None:
    backend, x = require("torch"), torch.ones(2)
    like = torch.ones(3, device=META)
    assert not backend.colocated(x, like)
    assert backend.place(x, like).device == META
    assert backend.place(x[0], like).device == META
    assert backend.place(x, torch.ones(3)) is x
    assert backend.asarray([1.0], like=like).device == META
    assert backend.from_numpy(np.ones(2), "float32", META).device == META
    assert backend.from_numpy(np.ones(2), "float32", META).dtype == torch.float32


@pytest.mark.parametrize(
    "tx",
    [
        uniopt.masked(uniopt.adam(1e-3), {"b": False}),
        uniopt.partition({"x": uniopt.adam(1e-3), "y": uniopt.sgd(1e-2, momentum=0.9)}, {"b": "y"}),
        uniopt.muon(1e-3),
        uniopt.masked(uniopt.reduce_on_plateau(), {"b": False}),
    ],
    ids=repr,
)
def test_the_state_of_a_part_without_leaves_is_where_the_others_are(tx: uniopt.GradientTransformation) -> None:
    """A vector is no part of what muon multiplies; else the first array of the state could be on the CPU."""
    state = tx.init({"b": torch.ones(3, device="meta")})
    assert {x.device.type for x in uniopt.tree.leaves(state)} == {"meta"}


def test_a_copy_has_no_history() -> None:
    backend, x = require("torch"), torch.ones(2, requires_grad=True)
    copy = backend.copy(2 * x)
    assert not copy.requires_grad
    np.testing.assert_array_equal(backend.to_numpy(2 * x), [2.0, 2.0])


def test_values_of_views_are_what_they_show() -> None:
    backend, x = require("torch"), torch.tensor([1.0 + 2.0j, 3.0 - 4.0j])
    assert x.conj().is_conj()
    assert x.conj().imag.is_neg()
    for view in (x.conj(), x.conj().imag):
        found = backend.to_numpy(view)
        np.testing.assert_array_equal(found, np.conj(x.numpy()) if view.is_complex() else [-2.0, 4.0])


def test_a_parameter_stays_one() -> None:
    backend = require("torch")
    for requires_grad in (True, False):
        like = torch.nn.Parameter(torch.ones(2), requires_grad=requires_grad)
        with torch.no_grad():
            found = backend.restore(torch.zeros(2, dtype=torch.float64), like, torch.float32)
            plain = backend.restore(torch.zeros(2), torch.ones(2), torch.float32)
        assert isinstance(found, torch.nn.Parameter)
        assert found.requires_grad == requires_grad
        assert found.dtype == torch.float32
        assert not isinstance(plain, torch.nn.Parameter)
    updated = backend.restore(2.0 * like, like, torch.float32)  # with gradients, it is part of a graph
    assert not isinstance(updated, torch.nn.Parameter)
    differentiable = torch.nn.Parameter(torch.ones(2))
    assert backend.restore(2.0 * differentiable, differentiable, torch.float32).grad_fn is not None


def test_rounding_can_be_differentiated() -> None:
    x = torch.ones(2, requires_grad=True)
    require("torch").rounded(3.0 * x, torch.bfloat16).sum().backward()
    assert x.grad is not None
    np.testing.assert_array_equal(x.grad.numpy(), [3.0, 3.0])


def test_compilers_cannot_look_inside_a_rounding() -> None:
    backend, graphs = require("torch"), []

    def keep(graph: torch.fx.GraphModule, inputs: list[Any]) -> Any:
        graphs.append([node.target for node in graph.graph.nodes])
        return graph.forward

    def rounded(x: torch.Tensor) -> Any:
        return backend.rounded(x, torch.bfloat16)

    third = torch.ones(2) / 3
    assert torch.equal(torch.compile(rounded, backend=keep)(third), rounded(third))
    ((*_, target, _),) = graphs
    assert str(target) == "uniopt.rounded.default"


def test_compiled_functions_are_one_graph() -> None:
    def f(x: torch.Tensor) -> Any:
        torch._dynamo.graph_break()
        return x + 1

    with pytest.raises(torch._dynamo.exc.Unsupported):
        require("torch").compile(f)(torch.ones(2))


def test_what_is_traced() -> None:
    backend, seen = require("torch"), []

    def f(x: torch.Tensor) -> Any:
        seen.append(backend.is_traced(x))
        return x + 1

    x = torch.ones(2)
    f(x)
    torch.func.vmap(f)(x)
    assert seen == [False, True]
    compiled = torch.compile(lambda x: x + (1 if backend.is_traced(x) else 0), backend="eager")
    np.testing.assert_array_equal(compiled(x).numpy(), [2.0, 2.0])


def test_names_of_dtypes_are_known_before_the_first_is_asked_for() -> None:
    from uniopt.backends import dtypes

    known = dtypes._names[torch.dtype]
    assert {known[dtype] for dtype in require("torch").dtypes().values()} == {*require("torch").dtypes()}
    assert dtype_name(torch.bool) == known[torch.bool] == "bool"
