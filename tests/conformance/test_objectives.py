"""Problems with an objective: their gradients are those of their values, and every oracle follows its own path."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from uniopt.conformance import digits, oracles
from uniopt.conformance.cases import Case, all_cases, exported
from uniopt.conformance.cells import Selection, plan
from uniopt.conformance.objectives import OBJECTIVES
from uniopt.conformance.reference import OPTIMIZERS
from uniopt.conformance.reference.leaf import Leaf
from uniopt.conformance.suite import run

import uniopt
from uniopt import tree

SGD = {"learning_rate": 0.125}


def case(problem: str, name: str = "sgd") -> Case:
    return Case(name, "own", OBJECTIVES[problem], SGD, getattr(uniopt, name), OPTIMIZERS[name])


@pytest.mark.parametrize("name", OBJECTIVES)
def test_gradients_are_derivatives(name: str) -> None:
    """By central differences along random directions."""
    problem, rng = OBJECTIVES[name], np.random.default_rng(1)
    start = tree.leaves(problem.params)
    _, gradient = problem.at(0, start)
    for _ in range(5):
        direction = [np.asarray(rng.standard_normal(x.shape)) for x in start]
        slope = sum(float(np.sum(g * d)) for g, d in zip(tree.leaves(gradient), direction, strict=True))
        ahead, behind = (
            problem.at(0, [x + h * d for x, d in zip(start, direction, strict=True)])[0] for h in (1e-5, -1e-5)
        )
        assert (ahead - behind) / 2e-5 == pytest.approx(slope, rel=1e-6, abs=1e-8)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_gradient_descent_goes_down(name: str) -> None:
    path = oracles.Oracles(["reference"])._path("reference", next(plan([case(name)], Selection(backends=["numpy"]))))
    values = [OBJECTIVES[name].at(0, leaves)[0] for leaves in path]
    assert len(values) == 7
    assert all(after < before for before, after in pairwise(values))


def test_every_optimizer_meets_every_objective() -> None:
    met = {(c.optimizer, c.problem.name) for c in all_cases() if c.problem.objective is not None}
    assert met == {(name, problem) for name in exported() for problem in OBJECTIVES}


def test_an_optimizer_is_told_the_value_where_it_is() -> None:
    """Polyak's step depends on it."""
    polyak = Case("polyak_sgd", "own", OBJECTIVES["quadratic"], {}, uniopt.polyak_sgd, OPTIMIZERS["polyak_sgd"])
    record = run(Selection(backends=["numpy", "torch"], against=["reference", "numpy"]), [polyak])
    assert {cell["verdict"] for cell in record.cells} == {"PASS"}
    assert {cell["mode"] for cell in record.cells} == {"eager", "compiled"}


def test_an_error_comes_back_through_the_gradient() -> None:
    """A step that is a little too long in the first step alone is seen in every later gradient."""

    def hasty(params: list[Leaf], gradients: Any, *, learning_rate: float) -> Iterator[list[Leaf]]:
        for n, leaves in enumerate(OPTIMIZERS["sgd"](params, gradients, learning_rate=learning_rate)):
            yield [Leaf(x.shape, [v * 1.01 for v in x.values]) if n == 0 else x for x in leaves]

    wrong = Case("own", "own", OBJECTIVES["rosenbrock"], SGD, uniopt.sgd, hasty)
    (cell,) = run(
        Selection(backends=["numpy"], dtypes=["float64"], modes=["eager"], against=["reference"]), [wrong]
    ).cells
    assert cell["verdict"] == "FAIL"
    assert all(float(ulp) > 1e6 for ulp in cell["comparisons"]["reference"]["curve"])


def test_a_reference_that_takes_all_gradients_at_once_is_refused() -> None:
    def hoarding(params: list[Leaf], gradients: Any, *, learning_rate: float) -> Iterator[list[Leaf]]:
        yield from OPTIMIZERS["sgd"](params, list(gradients), learning_rate=learning_rate)

    wrong = Case("own", "own", OBJECTIVES["saddle"], SGD, uniopt.sgd, hoarding)
    with pytest.raises(RuntimeError, match="before it has said where the last one led"):
        run(Selection(backends=["numpy"], against=["reference"]), [wrong])


def modes(names: Sequence[str]) -> set[str]:
    cells = plan([case("saddle")], Selection(cells=["*"], backends=list(names)))
    return {cell.mode for cell in cells}


def test_gradients_that_are_made_between_two_steps_are_in_no_loop_of_a_library() -> None:
    assert modes(["jax"]) == {"eager", "traced"}
    assert modes(["torch"]) == {"eager", "compiled"}


def test_the_digits_are_those_of_scikit_learn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert digits._text() == digits.FILE.read_text(encoding="utf-8")
    images, labels = digits.load()
    assert images.shape == (40, 64)
    assert labels.sum(axis=0).tolist() == [4.0] * 10
    spoiled = tmp_path / "digits.csv"
    spoiled.write_text(digits.FILE.read_text(encoding="utf-8").replace("16", "15", 1))
    monkeypatch.setattr(digits, "FILE", spoiled)
    with pytest.raises(ValueError, match="has the SHA-256"):
        digits.load()
