"""NaN and inf in a gradient go where the arithmetic takes them, in every library, and nowhere else."""

from __future__ import annotations

import inspect
from functools import cache
from typing import Any

import numpy as np
import pytest
from uniopt.conformance import reference
from uniopt.conformance.reference.leaf import Leaf
from uniopt.conformance.settings import SETTINGS, Written

import uniopt
from tests.conftest import require
from tests.optimizers.settings import EVERY, ONE_EACH, Setting
from tests.properties.problems import host, moved, settled

STEPS = 3
ILL = {"nan": np.nan, "inf": np.inf, "-inf": -np.inf}
VALUES = [2.0 + (-0.75) ** step for step in range(STEPS)]

# What a number in a leaf does to its neighbours, in the optimizers that add up or compare: the whole tree, or its leaf.
OF_THE_TREE = {"polyak_sgd"}
OF_A_LEAF = {"adafactor", "fromage", "lamb", "lars", "muon", "novograd", "sm3"}


def start() -> Any:
    return {
        "empty": np.zeros((0, 2)),
        "kernel": [np.asarray([[[3.0]]]), None],
        "matrix": np.asarray([[1.0, -2.0], [0.5, 1.5]]),
        "scalar": np.asarray(0.75),
        "vector": (np.asarray([1.0, 2.0, -3.0]), np.asarray([0.5])),
    }


def gradient(ill: float | None) -> Any:
    """Return a gradient, with an ill number in the matrix and in the first vector."""
    tree = {
        "empty": np.zeros((0, 2)),
        "kernel": [np.asarray([[[0.5]]]), None],
        "matrix": np.asarray([[0.25, -0.5], [1.0, 2.0]]),
        "scalar": np.asarray(-1.0),
        "vector": (np.asarray([0.5, -1.0, 0.25]), np.asarray([2.0])),
    }
    if ill is not None:
        tree["matrix"][0, 1] = tree["vector"][0][1] = ill  # type: ignore[index]
    return tree


@cache
def path(case: Setting, library: str, dtype: str, ill: float | None) -> list[list[Any]]:
    """Return the parameters after each of three steps, the second of which has an ill gradient."""
    backend, tx = require(library), case.build()
    params = moved(start(), backend, dtype)
    state, found = tx.init(params), []
    with np.errstate(all="ignore"):
        for step, value in enumerate(VALUES):
            grads = moved(gradient(ill if step == 1 else None), backend, dtype)
            updates, state = tx.update(grads, state, params, value=backend.from_numpy(np.asarray(value), dtype))
            params, state = settled(uniopt.apply_updates(params, updates), backend), settled(state, backend)
            found.append(uniopt.tree.leaves(host(params, backend)))
    return found


def by_hand(case: Setting, ill: float) -> list[list[Any]]:
    """Return the same path from the naive loops."""
    loops = reference.OPTIMIZERS[case.optimizer]
    hyper = {key: x.plain if isinstance(x, Written) else x for key, x in SETTINGS[case.optimizer][case.name].items()}
    if "values" in inspect.signature(loops).parameters:
        hyper["values"] = tuple(VALUES)

    def leaves(tree: Any) -> list[Leaf]:
        return [Leaf((0,), []) if x is None else Leaf.of(x) for x in uniopt.tree.flatten(tree)[0]]

    stream = [leaves(gradient(ill if step == 1 else None)) for step in range(STEPS)]
    present = [x is not None for x in uniopt.tree.flatten(start())[0]]
    return [
        [np.reshape(leaf.values, leaf.shape) for leaf, here in zip(step, present, strict=True) if here]
        for step in loops(leaves(start()), stream, **hyper)
    ]


def kinds(x: Any) -> list[Any]:
    """Return, for each element, whether it is NaN, inf, -inf or a number."""
    x = np.asarray(x)
    kind: list[Any] = np.select([np.isnan(x), x == np.inf, x == -np.inf], ["nan", "inf", "-inf"], "number").tolist()
    return kind


def ends(case: Setting, ill: str) -> bool:
    """Return whether the loops come to an end."""
    if case.optimizer == "adafactor" and case.name in ("factored", "decay"):
        return ill == "nan"  # inf makes a factor 0, by which Python's floats cannot be divided
    return str(case) != "muon/spectral"  # Jacobi rotations go on until nothing is left to rotate


COMPARED = [(case, ill) for case in EVERY for ill in ILL if ends(case, ill)]


@pytest.mark.parametrize(("case", "ill"), COMPARED, ids=str)
def test_what_is_not_finite_goes_where_the_loops_take_it(case: Setting, ill: str) -> None:
    found = path(case, "numpy", "float64", ILL[ill])
    for step, (mine, theirs) in enumerate(zip(found, by_hand(case, ILL[ill]), strict=True)):
        assert [kinds(x) for x in mine] == [kinds(x) for x in theirs], f"step {step}"


WIDE = [pytest.param(name, marks=pytest.mark.wide) for name in ("jax", "dask")]


@pytest.mark.parametrize("library", ["torch", "mlx", "array_api_strict", *WIDE])
@pytest.mark.parametrize("ill", ILL)
@pytest.mark.parametrize("case", ONE_EACH, ids=str)
def test_it_goes_there_in_every_library(case: Setting, ill: str, library: str) -> None:
    found, expected = (path(case, name, "float32", ILL[ill]) for name in (library, "numpy"))
    for step, (mine, theirs) in enumerate(zip(found, expected, strict=True)):
        assert [kinds(x) for x in mine] == [kinds(x) for x in theirs], f"step {step}"


@pytest.mark.parametrize("ill", ILL)
@pytest.mark.parametrize("case", [case for case in EVERY if case.optimizer not in OF_THE_TREE], ids=str)
def test_it_goes_nowhere_else(case: Setting, ill: str) -> None:
    found, healthy = (path(case, "numpy", "float64", x) for x in (ILL[ill], None))
    marked = uniopt.tree.leaves(uniopt.tree.map(np.isfinite, gradient(ILL[ill])))
    for step, (mine, theirs) in enumerate(zip(found, healthy, strict=True)):
        for x, y, well in zip(mine, theirs, marked, strict=True):
            away = np.full(well.shape, well.all()) if case.optimizer in OF_A_LEAF else well
            np.testing.assert_array_equal(np.where(away, x, 0.0), np.where(away, y, 0.0), err_msg=f"step {step}")


@pytest.mark.parametrize("case", EVERY, ids=str)
def test_nan_is_never_lost(case: Setting) -> None:
    for step in path(case, "numpy", "float64", np.nan)[1:]:
        for x, g in zip(step, uniopt.tree.leaves(gradient(np.nan)), strict=True):
            assert np.isnan(x[np.isnan(g)]).all()
