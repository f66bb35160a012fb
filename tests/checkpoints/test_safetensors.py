"""The files are safetensors to the package of that name, and its files are read as far as they are ours."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file
from uniopt.backends import registry

import uniopt
from tests.checkpoints.states import PARAMS, TRANSFORMATIONS
from tests.checkpoints.test_round_trip import EXTREMES
from uniopt import errors


@pytest.mark.parametrize("name", TRANSFORMATIONS)
def test_states(name: str, tmp_path: Path) -> None:
    tx = TRANSFORMATIONS[name]
    uniopt.save(tmp_path / "file", tx.init(PARAMS), tx)
    own = {path: x for path, x in uniopt.load(tmp_path / "file").items() if hasattr(x, "dtype")}
    with safe_open(tmp_path / "file", framework="numpy") as file:
        assert set(file.keys()) == set(own)
        for path, x in own.items():
            theirs = file.get_tensor(path)
            assert (theirs.dtype, theirs.shape) == (x.dtype, x.shape)
            assert theirs.tobytes() == x.tobytes()
        assert file.metadata()["transformation"] == repr(tx)


@pytest.mark.parametrize("dtype", EXTREMES)
def test_dtypes(dtype: str, tmp_path: Path) -> None:
    values = EXTREMES[dtype]
    uniopt.save(tmp_path / "file", {"x": values, "y": values[0], "z": values[:0]})
    with safe_open(tmp_path / "file", framework="numpy") as file:
        theirs = file.get_tensor("['x']")
        if dtype == "complex128":  # it has none: pairs of float64, and the header says so
            assert theirs.tolist() == [[x.real, x.imag] for x in values.tolist()]
            assert set(json.loads(file.metadata()["dtypes"]).values()) == {dtype}
        else:
            assert theirs.dtype == values.dtype
            assert theirs.tobytes() == values.tobytes()


def test_bfloat16(tmp_path: Path) -> None:
    x = registry.get("numpy").from_numpy(np.asarray([0.1, -3.0, 1e30], np.float32), "bfloat16")
    uniopt.save(tmp_path / "file", {"x": x})
    with safe_open(tmp_path / "file", framework="numpy") as file:
        theirs = file.get_tensor("['x']")
        assert theirs.dtype == x.dtype
        assert theirs.tobytes() == x.tobytes()


def test_all_values_are_aligned(tmp_path: Path) -> None:
    for length in range(8):
        arrays = {str(i): x[:1] for i, x in enumerate(EXTREMES.values())}
        uniopt.save(tmp_path / "file", {**arrays, "x" * length: 1})
        check_alignment(tmp_path / "file")


def check_alignment(path: Path) -> None:
    content = path.read_bytes()
    first = 8 + int.from_bytes(content[:8], "little")
    assert first % 8 == 0
    entries = json.loads(content[8:first])
    entries.pop("__metadata__")
    sizes = {"16": 2, "32": 4, "64": 8}
    for entry in entries.values():
        assert entry["data_offsets"][0] % sizes.get(entry["dtype"][-2:], 1) == 0


def test_a_file_of_the_package_is_no_checkpoint(tmp_path: Path) -> None:
    save_file({"weight": np.ones(2), "bias": np.ones(1)}, tmp_path / "file")
    with pytest.raises(errors.CheckpointError, match=r"no checkpoint of uniopt.*2 tensors \((bias|weight), "):
        uniopt.load(tmp_path / "file")


def test_a_file_that_the_package_wrote_again_is_read(tmp_path: Path) -> None:
    tx = uniopt.adam(0.1)
    uniopt.save(tmp_path / "file", tx.init({"w": np.ones(3)}), tx)
    with safe_open(tmp_path / "file", framework="numpy") as file:
        save_file(file.get_tensors(), tmp_path / "again", metadata=file.metadata())
    again = uniopt.load(tmp_path / "again", like=tx.init({"w": np.ones(3)}))
    assert again[0].mu["w"].tolist() == [0, 0, 0]
