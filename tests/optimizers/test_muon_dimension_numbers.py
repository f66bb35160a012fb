"""Which axes of a parameter Muon takes for rows and columns, and what it says of axes that there are not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import uniopt
from uniopt import MuonDimensionNumbers
from uniopt.errors import HyperparameterError

GRADS = {"w": np.asarray([[1.0, 2.0, 3.0], [-1.0, 0.5, 2.0]]), "b": np.ones(3)}


def first_update(numbers: Any) -> Any:
    tx = uniopt.muon(0.1, muon_weight_dimension_numbers=numbers)
    return tx.update(GRADS, tx.init(GRADS), GRADS)[0]


def test_a_vector_is_no_matrix() -> None:
    tx = uniopt.scale_by_muon()
    with pytest.raises(HyperparameterError, match=r"At updates\['b'\]: MuonDimensionNumbers.* rank 1"):
        tx.update(GRADS, tx.init(GRADS))


@pytest.mark.parametrize("axes", [(0, 2), (-3, 1), (0, 0), (1, -1)])
def test_axes_have_to_be_there_and_to_differ(axes: tuple[int, int]) -> None:
    with pytest.raises(HyperparameterError, match=r"\['w'\]: MuonDimensionNumbers.* rank 2; expected .* axes that it"):
        first_update({"w": MuonDimensionNumbers(*axes), "b": None})


def test_axes_of_other_integers() -> None:
    expected = first_update({"w": MuonDimensionNumbers(0, (1,)), "b": None})["w"]
    found = first_update({"w": MuonDimensionNumbers(np.int64(-2), np.int64(1)), "b": None})["w"]
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("axis", ["rows", 0.5, None])
def test_an_axis_is_an_integer(axis: Any) -> None:
    with pytest.raises(HyperparameterError, match=r"output_axis is .*, expected an integer"):
        MuonDimensionNumbers(0, axis)


@pytest.mark.parametrize("numbers", [{"w": 3, "b": None}, lambda params: {"w": "rows", "b": None}])
def test_dimension_numbers_are_nothing_else(numbers: Any) -> None:
    with pytest.raises(HyperparameterError, match=r"for params\['w'\] are .*, expected MuonDimensionNumbers"):
        first_update(numbers)
