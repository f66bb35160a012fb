"""The dialect of optax: uniopt's own optimizers, but for those that optax computes in another way."""

from __future__ import annotations

import inspect
from functools import partial

import jax.numpy as jnp
import numpy as np
import optax
import pytest
from optax._src import alias

import uniopt
from uniopt.dialects import optax as dialect

NOT_HERE = {"lbfgs"}
ALIASES = sorted(
    name
    for name, x in vars(alias).items()
    if name[0] != "_" and name not in NOT_HERE and (inspect.isfunction(x) or isinstance(x, partial))
)
OTHERS = {"rprop", "optimistic_gradient_descent", "polyak_sgd"}


def test_the_names_are_those_of_optax() -> None:
    ours = {
        name for name, x in vars(dialect).items() if inspect.isfunction(x) and x.__module__.startswith("uniopt.opt")
    }
    assert sorted((ours - {"scale_by_optimistic_gradient", "scale_by_polyak", "scale_by_rprop"}) | OTHERS) == ALIASES


@pytest.mark.parametrize("name", [name for name in ALIASES if name not in OTHERS])
def test_what_is_the_same_is_the_same(name: str) -> None:
    assert getattr(dialect, name) is getattr(uniopt, name)


@pytest.mark.parametrize("name", ALIASES)
def test_parameters_are_those_of_optax(name: str) -> None:
    theirs = inspect.signature(getattr(optax, name)).parameters
    ours = inspect.signature(getattr(dialect, name)).parameters
    assert list(ours)[: len(theirs)] == list(theirs)
    assert tuple(list(ours)[len(theirs) :]) == dialect.ADDED.get(name, ())
    for parameter, p in theirs.items():
        assert ours[parameter].default == ("float32" if p.default is jnp.float32 else p.default)


@pytest.mark.parametrize("scaling", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("bound", [0.125, 10.0])
@pytest.mark.usefixtures("x64")
def test_polyak_sgd(scaling: float, bound: float) -> None:
    rng = np.random.default_rng(2)
    ours, theirs = (module.polyak_sgd(bound, scaling, f_min=-1.0, eps=0.5) for module in (dialect, optax))
    grads = [rng.standard_normal(4) for _ in range(4)]
    mine, other = ours.init(grads[0]), theirs.init(grads[0])
    for n, g in enumerate(grads):
        found, mine = ours.update(g, mine, g, value=float(n))
        expected, other = theirs.update(g, other, g, value=float(n))
        np.testing.assert_allclose(found, np.asarray(expected), rtol=1e-13)
