"""What is loaded has the bits, dtypes, containers and kinds of what was saved; training goes on as if uninterrupted."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from uniopt.backends import Backend
from uniopt.backends.dtypes import dtype_name

import uniopt
from tests.checkpoints.states import TRANSFORMATIONS, bits, on, run
from tests.conftest import EVERYWHERE, float64, require
from uniopt import errors


class Pair(NamedTuple):
    first: Any
    second: Any


@pytest.mark.parametrize("name", TRANSFORMATIONS)
def test_training_goes_on_as_if_uninterrupted(name: str, backend: Backend, tmp_path: Path) -> None:
    tx = TRANSFORMATIONS[name]
    start = on(backend)
    half, state = run(tx, start, tx.init(start), range(3))
    uniopt.save(tmp_path / "half", {"params": half, "state": state}, tx)
    loaded = uniopt.load(tmp_path / "half", like={"params": start, "state": tx.init(start)})
    assert bits(loaded) == bits({"params": half, "state": state})
    leaves, structure = uniopt.tree.flatten(loaded)
    known, expected = uniopt.tree.flatten({"params": half, "state": state})
    assert structure == expected
    assert [type(x) for x in leaves] == [type(x) for x in known]
    assert bits(run(tx, *loaded.values(), range(3, 6))) == bits(run(tx, half, state, range(3, 6)))


EXTREMES = {
    "float16": np.arange(2**16, dtype=np.uint16).view(np.float16),
    "float32": np.asarray([0.0, -0.0, 1e-45, -1e-45, 3.4e38, np.inf, -np.inf, 0.1], np.float32),
    "float64": np.asarray([0.0, -0.0, 5e-324, 1.7e308, np.inf, -np.inf, 0.1, 1 + 2**-52]),
    "complex64": np.asarray([1e-45 - 2j, complex(-0.0, np.inf)], np.complex64),
    "complex128": np.asarray([5e-324 - 2j, complex(-0.0, np.inf)]),
    "int8": np.asarray([-128, 127], np.int8),
    "int16": np.asarray([-(2**15), 2**15 - 1], np.int16),
    "int32": np.asarray([-(2**31), 2**31 - 1], np.int32),
    "int64": np.asarray([-(2**63), 2**63 - 1]),
    "uint8": np.asarray([0, 255], np.uint8),
    "uint16": np.asarray([0, 2**16 - 1], np.uint16),
    "uint32": np.asarray([0, 2**32 - 1], np.uint32),
    "uint64": np.asarray([0, 2**64 - 1], np.uint64),
    "bool": np.asarray([True, False]),
}
LACKS = {"dask": {"float16"}, "array_api_strict": {"float16"}, "mlx": {"complex128"}}
"""What a library does not have."""


@pytest.mark.parametrize("dtype", EXTREMES)
def test_every_bit_is_kept(dtype: str, backend: Backend, tmp_path: Path) -> None:
    if dtype in LACKS.get(backend.name, ()):
        with pytest.raises(uniopt.errors.UnsupportedDtypeError):
            backend.dtype(dtype)
        return
    values = EXTREMES[dtype]
    with float64(backend.name):
        shapes = {"flat": values, "matrix": values.reshape(2, -1), "scalar": values[1], "none": values[:0]}
        arrays = {key: backend.from_numpy(np.asarray(x)) for key, x in shapes.items()}
        uniopt.save(tmp_path / "file", arrays)
        blank = uniopt.tree.map(lambda x: backend.from_numpy(np.zeros(x.shape, values.dtype)), arrays)
        loaded = uniopt.load(tmp_path / "file", like=blank)
        assert bits(loaded) == bits(arrays)
        assert {key: type(x) for key, x in loaded.items()} == {key: type(x) for key, x in arrays.items()}
    assert bits(arrays)[0][-1] == values.tobytes(), "the library itself changes the values"
    stored = uniopt.load(tmp_path / "file")["['flat']"]
    assert stored.dtype == values.dtype
    assert stored.tobytes() == values.tobytes()


@pytest.mark.parametrize("name", [name for name in EVERYWHERE if name not in ("dask", "array_api_strict")])
def test_every_number_of_bfloat16_is_kept(name: str, tmp_path: Path) -> None:
    backend = require(name)
    wide = (np.arange(2**16, dtype=np.uint32) << 16).view(np.float32)
    one = np.ones((), np.float32)
    with np.errstate(invalid="ignore"):  # there are NaN among them
        saved = {"x": backend.from_numpy(wide, "bfloat16"), "one": backend.from_numpy(one, "bfloat16")}
    uniopt.save(tmp_path / "file", saved)
    like = {"x": backend.from_numpy(np.zeros_like(wide), "bfloat16"), "one": backend.from_numpy(0 * one, "bfloat16")}
    loaded = uniopt.load(tmp_path / "file", like=like)
    assert dtype_name(loaded["x"].dtype) == "bfloat16"
    numbers = ~np.isnan(wide)
    assert backend.to_numpy(loaded["x"])[numbers].tobytes() == wide[numbers].tobytes()
    assert np.isnan(backend.to_numpy(loaded["x"])[~numbers]).all()
    assert float(backend.to_numpy(loaded["one"])) == 1
    stored = uniopt.load(tmp_path / "file")["['x']"]
    assert stored.dtype.name == "bfloat16"
    assert stored.view(np.uint16)[numbers].tolist() == np.arange(2**16)[numbers].tolist()


def test_a_number_that_was_set_before_saving(backend: Backend, tmp_path: Path) -> None:
    """Where the state that is asked for has a 0-d array, the number becomes one."""
    tx = uniopt.inject_hyperparams(uniopt.adam)(0.5)
    params = on(backend)
    state = tx.init(params)
    uniopt.save(tmp_path / "set", uniopt.tree_set(state, learning_rate=0.25, b1=0), tx)
    loaded = uniopt.load(tmp_path / "set", like=state)
    for name, value in (("learning_rate", 0.25), ("b1", 0.0)):
        found, like = loaded.hyperparams[name], state.hyperparams[name]
        assert (type(found), found.dtype, float(found)) == (type(like), like.dtype, value)
    uniopt.save(tmp_path / "odd", uniopt.tree_set(state, learning_rate=True), tx)
    with pytest.raises(errors.StateError, match=r"hyperparams\['learning_rate'\] is a number in the file, float32"):
        uniopt.load(tmp_path / "odd", like=state)


def test_numbers_and_texts(tmp_path: Path) -> None:
    tree = {
        "none": None, "yes": True, "whole": 2**80, "tenth": 0.1, "infinite": -np.inf, "complex": 1 - 0.5j,
        "text": "é\n\"'\ud7ff", ("a", 1): [np.float32(0.1), np.float64(0.1)], "empty": (),
        "ordered": OrderedDict(b=1, a=2), "pair": Pair(None, {}),
    }  # fmt: skip
    uniopt.save(tmp_path / "file", tree)
    blank = uniopt.tree.map(lambda x: type(x)(), tree)
    loaded = uniopt.load(tmp_path / "file", like=blank)
    assert loaded == tree
    assert [type(x) for x in uniopt.tree.leaves(loaded)] == [type(x) for x in uniopt.tree.leaves(tree)]
    assert list(loaded["ordered"]) == ["b", "a"]
    uniopt.save(tmp_path / "file", {"x": float("nan")})
    assert np.isnan(uniopt.load(tmp_path / "file")["['x']"])


def test_a_single_array_and_nothing_at_all(tmp_path: Path) -> None:
    uniopt.save(tmp_path / "one", np.arange(3))
    assert uniopt.load(tmp_path / "one", like=np.zeros(3, int)).tolist() == [0, 1, 2]
    uniopt.save(tmp_path / "none", ())
    assert uniopt.load(tmp_path / "none", like=()) == ()
    assert uniopt.load(tmp_path / "none") == {}


def test_arrays_that_are_not_contiguous(tmp_path: Path) -> None:
    x = np.arange(24, dtype=np.float32).reshape(4, 6)
    uniopt.save(tmp_path / "file", {"a": x.T[::2], "b": np.broadcast_to(np.float32(2), (3,))})
    loaded = uniopt.load(tmp_path / "file")
    assert loaded["['a']"].tolist() == x.T[::2].tolist()
    assert loaded["['b']"].tolist() == [2, 2, 2]


def test_loaded_arrays_are_the_callers_own(backend: Backend, tmp_path: Path) -> None:
    """A compiled step may take their memory."""
    tx = uniopt.adam(0.1)
    params = {"w": backend.from_numpy(np.ones(4, np.float32))}
    uniopt.save(tmp_path / "file", tx.init(params))
    state = uniopt.load(tmp_path / "file", like=tx.init(params))
    step = uniopt.compile(tx)
    for _ in range(2):
        params, state = step({"w": backend.from_numpy(np.ones(4, np.float32))}, state, params)
    assert int(backend.to_numpy(uniopt.tree_get(state, "count"))) == 2
