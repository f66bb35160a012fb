"""Other ways of using a library: each walks the same path, and finds what it is there to find."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from uniopt.conformance import Record, Selection, report, run, suite
from uniopt.conformance.cases import Case
from uniopt.conformance.problems import PROBLEMS
from uniopt.conformance.programs import Eager
from uniopt.conformance.reference.leaf import Leaf

import uniopt

PLACES = [
    ("numpy", "cpu+readonly"),
    ("array_api_strict", "cpu+strictest"),
    ("array_api_strict", "no_float64"),
    ("jax", "cpu+strict"),
    ("torch", "cpu+elsewhere"),
]


@pytest.mark.parametrize(("library", "place"), PLACES)
def test_the_path_is_the_same(library: str, place: str) -> None:
    record = run(Selection(backends=[library], devices=[place], optimizers=["adamw"], quick=True, dtypes=["float32"]))
    assert record.exit_code() == 0, report.text(record)
    assert {cell["device"] for cell in record.cells} == {place}


def test_they_are_run_briefly_by_default() -> None:
    planned = suite.planned(Selection(optimizers=["adamw"]))[0]
    special = {(c.backend, c.device_name, c.dtype, c.mode, c.case.problem.name) for c in planned if c.place.special}
    modes = {"numpy": ("eager", "compiled"), "torch": ("eager", "compiled")}
    assert special == {
        (library, place, "float32", mode, "brief")
        for library, place in PLACES
        for mode in modes.get(library, ("eager",))
    }
    assert {c.case.setting for c in planned if c.place.special} == {"default"}
    assert not [c for c in suite.planned(Selection(optimizers=["adamw"], quick=True))[0] if c.place.special]


def descent(params: list[Leaf], stream: list[list[Leaf]]) -> Iterator[list[Leaf]]:
    """Yield the parameters of plain descent at the rate 1/2."""
    values = [list(leaf.values) for leaf in params]
    for gradient in stream:
        for own, leaf in zip(values, gradient, strict=True):
            if leaf is not None:
                own[:] = [p - 0.5 * g for p, g in zip(own, leaf.values, strict=True)]
        yield [Leaf(leaf.shape, list(own)) for leaf, own in zip(params, values, strict=True)]


class Descent:
    """Plain descent by a step that may be written badly."""

    def __init__(self, step: Callable[[Any], Any]) -> None:
        self._step = step

    def init(self, params: Any) -> Any:
        return ()

    def update(self, updates: Any, state: Any, params: Any = None, **extra: Any) -> Any:
        return uniopt.tree.map(self._step, updates), state


def on(library: str, place: str, step: Callable[[Any], Any]) -> Record:
    case = Case("own", "default", PROBLEMS["brief"], {}, lambda: Descent(step), descent, program=Eager)
    where = {"backends": [library], "devices": [place], "dtypes": ["float32"], "modes": ["eager"]}
    return run(Selection(**where, against=["reference"]), [case])


def in_place(g: Any) -> Any:
    g *= -0.5
    return g


def with_new_arrays(g: Any) -> Any:
    import torch

    return g * torch.full((), -0.5, dtype=torch.float32) if isinstance(g, torch.Tensor) else -0.5 * g


def by_a_mask(g: Any) -> Any:
    import array_api_strict as xp

    return -0.5 * xp.reshape(g[xp.ones(g.shape, dtype=xp.bool)], g.shape)


def of_ranks(g: Any) -> Any:
    import jax
    import jax.numpy as jnp

    return g * jnp.full((1,), -0.5, jnp.float32) if isinstance(g, jax.Array) and g.ndim else -0.5 * g


BAD = [
    ("numpy", "cpu+readonly", in_place, "read-only"),
    ("array_api_strict", "cpu+strictest", by_a_mask, "boolean"),
    ("jax", "cpu+strict", of_ranks, "rank"),
    ("torch", "cpu+elsewhere", with_new_arrays, "meta"),
]


@pytest.mark.parametrize(("library", "place", "step", "said"), BAD)
def test_a_careless_step_is_found(library: str, place: str, step: Callable[[Any], Any], said: str) -> None:
    record = on(library, place, step)
    assert record.summary()["FAIL"] == 1, report.text(record)
    assert said in report.text(record)
    assert on(library, place, lambda g: -0.5 * g).summary()["PASS"] == 1


def test_a_careless_step_passes_where_nothing_is_special() -> None:
    for library, place, step, _ in BAD[1:]:  # one that writes to its input is found everywhere
        record = on(library, place.split("+")[0], step)
        assert record.summary()["PASS"] == 1, report.text(record)


def test_torch_is_left_as_it_was() -> None:
    import torch

    on("torch", "cpu+elsewhere", lambda g: -0.5 * g)
    assert torch.get_default_dtype() == torch.float32
    assert torch.zeros(()).device.type == "cpu"
