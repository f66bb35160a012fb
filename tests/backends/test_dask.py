"""Dask's arrays: lazy, and in the chunks of the arrays beside them."""

from __future__ import annotations

from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
from uniopt.backends.dtypes import dtype_name

from tests.conftest import require


def test_values_take_the_chunks_of_their_neighbour() -> None:
    backend = require("dask")
    like = da.from_array(np.ones((4, 2)), chunks=(1, 2))
    with dask.config.set({"array.chunk-size": "8B"}):  # by itself, Dask would now cut every element off
        assert backend.asarray(np.zeros((4, 2)), like=like).chunks == like.chunks
        assert backend.asarray(np.zeros((3, 2)), like=like).chunks == ((3,), (2,))
        assert backend.asarray(np.zeros((4, 2))).chunks == ((4,), (2,))
        assert backend.from_numpy(np.zeros(3)).chunks == ((3,),)


def test_nothing_is_computed_until_it_is_asked_for() -> None:
    backend = require("dask")

    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("a Dask array was computed")

    with dask.config.set(scheduler=refuse):
        x = backend.from_numpy(np.asarray([1.0, 2.0], np.float32))
        made = [backend.copy(x), backend.astype(x, np.float64), backend.rounded(x, np.float64), backend.place(x, x)]
        made += backend.cond(x[0] > 0, lambda: [x], lambda: [-x])
        made.append(backend.restore(2 * x, x, np.float64))
        with pytest.raises(AssertionError, match="was computed"):
            backend.to_numpy(x)
    assert [dtype_name(y.dtype) for y in made] == ["float32", "float64", "float32", "float32", "float32", "float64"]
    for y in made[:-1]:
        np.testing.assert_array_equal(backend.to_numpy(y), [1.0, 2.0])
    backend.to_numpy(x)[...] = 9
    np.testing.assert_array_equal(backend.to_numpy(x), [1.0, 2.0])
