"""A file that is not what it should be gives an error that says which file, which leaf and where; nothing is run."""

from __future__ import annotations

import json
import pickle
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import uniopt
from uniopt import errors

TX = uniopt.adam(0.1)
PARAMS = {"w": np.ones((2, 3), np.float32), "b": np.ones(3, np.float32)}


def state() -> Any:
    return TX.update(PARAMS, TX.init(PARAMS))[1]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    uniopt.save(tmp_path / "file", state(), TX)
    return tmp_path / "file"


def parts(path: Path) -> tuple[dict[str, Any], bytes]:
    content = path.read_bytes()
    end = 8 + int.from_bytes(content[:8], "little")
    return json.loads(content[8:end]), content[end:]


def rewrite(path: Path, header: Any, values: bytes) -> None:
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + values)


def message(path: Path, like: Any = None, error: type[Exception] = errors.CheckpointError) -> str:
    with pytest.raises(error) as raised:
        uniopt.load(path, like=like)
    assert str(path) in str(raised.value)
    assert isinstance(raised.value, ValueError)
    return str(raised.value)


def test_a_file_that_is_cut_off_anywhere(path: Path) -> None:
    content = path.read_bytes()
    header, values = parts(path)
    first = len(content) - len(values)
    by_end = sorted((entry["data_offsets"], name) for name, entry in header.items() if name != "__metadata__")
    for size in range(len(content)):
        path.write_bytes(content[:size])
        text = message(path, like=TX.init(PARAMS))
        assert f"ends at byte {size:,}" in text
        if size < first:
            assert "cut off in its header" in text
            continue
        (start, end), name = next((x, name) for x, name in by_end if first + x[1] > size)
        assert f"cut off within {name}, which takes bytes {first + start:,} to {first + end:,}" in text


def test_a_file_that_goes_on(path: Path) -> None:
    size = path.stat().st_size
    path.write_bytes(path.read_bytes() + b"\0" * 3)
    assert f"from byte {size:,} to {size + 3:,}" in message(path)


def test_every_damaged_byte_of_the_header_is_an_error_or_harmless(path: Path) -> None:
    """Whatever byte is another one, nothing but the two errors comes out, or what was saved, or a name is different."""
    content = path.read_bytes()
    like, known = TX.init(PARAMS), uniopt.load(path, like=TX.init(PARAMS))
    end = len(content) - len(parts(path)[1])
    seen = 0
    for i in range(end):
        path.write_bytes(content[:i] + bytes([content[i] ^ 0x11]) + content[i + 1 :])
        try:
            loaded = uniopt.load(path, like=like)
        except (errors.CheckpointError, errors.StateError):
            seen += 1
            continue
        for x, y in zip(uniopt.tree.leaves(loaded), uniopt.tree.leaves(known), strict=True):
            assert x.dtype == y.dtype
            assert x.shape == y.shape
    assert seen > end / 2


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda entry: entry.update(dtype="F8_E4M3"), "has the dtype 'F8_E4M3', expected one of BOOL, F16"),
        (lambda entry: entry.update(shape=[2, 4]), r"has 24 bytes, expected those of shape \(2, 4\) in float32"),
        (lambda entry: entry.update(shape=[-2, -3]), "expected whole numbers"),
        (lambda entry: entry.update(shape=[2.0, 3]), "expected whole numbers"),
        (lambda entry: entry.update(shape="text"), "damaged header"),
        (lambda entry: entry.update(data_offsets=[8]), "damaged header"),
        (lambda entry: entry.update(data_offsets=[x + 4 for x in entry["data_offsets"]]), "begins at byte"),
        (lambda entry: entry.pop("shape"), "damaged header"),
    ],
)
def test_entries_that_cannot_be(change: Any, found: str, path: Path) -> None:
    header, values = parts(path)
    change(header["[0]ScaleByAdamState.mu['w']"])
    rewrite(path, header, values)
    text = message(path)
    assert re.search(found, text), text


@pytest.mark.parametrize("key", ["version", "slots", "values", "dtypes", "libraries", "uniopt"])
def test_metadata_that_is_missing_or_wrong(key: str, path: Path) -> None:
    header, values = parts(path)
    for wrong in (None, "{", "7.5"):
        changed = {**header["__metadata__"], key: wrong}
        rewrite(path, header | {"__metadata__": {k: x for k, x in changed.items() if x is not None}}, values)
        if key == "uniopt" and wrong is not None:  # any text will do
            uniopt.load(path)
        else:
            assert "damaged header" in message(path)


@pytest.mark.parametrize(
    "text", [b"{", b"{}}", b"[]", b"null", b'{"a": 1}', b'{"__metadata__": 3}', b"{" * 5000, b"\xff\xfe"]
)
def test_a_header_that_is_none(text: bytes, path: Path) -> None:
    path.write_bytes(len(text).to_bytes(8, "little") + text)
    message(path)


def test_entries_in_another_order_are_the_same(path: Path) -> None:
    header, values = parts(path)
    rewrite(path, dict(reversed(header.items())), values)
    loaded = uniopt.load(path, like=TX.init(PARAMS))
    assert loaded[0].mu["w"].tolist() == state()[0].mu["w"].tolist()


@pytest.mark.parametrize("dtype", ["complex128", "float64", "nonsense"])
def test_a_dtype_that_cannot_be_stored_so(dtype: str, path: Path) -> None:
    header, values = parts(path)
    header["__metadata__"]["dtypes"] = json.dumps({"[0]ScaleByAdamState.mu['w']": dtype})
    rewrite(path, header, values)
    assert f"mu['w'] of {dtype} is stored as float32 of shape (2, 3)" in message(path)


def test_a_later_version(path: Path) -> None:
    header, values = parts(path)
    header["__metadata__"] |= {"version": "2", "uniopt": "7.1.0", "slots": "something new"}
    rewrite(path, header, values)
    text = message(path)
    assert "version 2" in text
    assert "uniopt 7.1.0" in text
    assert "Install a later uniopt" in text


def test_tensors_of_somebody_else(path: Path) -> None:
    header, values = parts(path)
    for metadata in ({}, {"format": "pt"}):
        rewrite(path, header | {"__metadata__": metadata}, values)
        text = message(path)
        assert "no checkpoint of uniopt" in text
        assert "5 tensors ([0]ScaleByAdamState.count" in text


class Bomb:
    """A pickle of it would make a file."""

    def __reduce__(self) -> Any:
        return open, ("exploded", "w")


@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_a_pickle_is_not_read(protocol: int, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    path.write_bytes(pickle.dumps(Bomb(), protocol=protocol))
    assert "is no safetensors file" in message(path)
    assert not (path.parent / "exploded").exists()


def test_files_of_others(path: Path) -> None:
    import torch

    torch.save({"x": torch.ones(2)}, path)
    assert "a zip archive, such as torch.save writes; 'uniopt convert'" in message(path)
    np.save(path.with_suffix(".npy"), np.ones(2))
    assert "is no safetensors file" in message(path.with_suffix(".npy"))
    path.write_bytes(b"")
    assert "cut off" in message(path)
    with pytest.raises(FileNotFoundError):
        uniopt.load(path.parent / "nothing")


def test_another_state_names_what_is_missing_and_what_is_too_much(path: Path) -> None:
    like = uniopt.adam(0.1).init({"w": PARAMS["w"], "bias": PARAMS["b"]})
    text = message(path, like, errors.StateError)
    assert "Not in the file: [0]ScaleByAdamState.mu['bias'], [0]ScaleByAdamState.nu['bias']." in text
    assert "Not in like: [0]ScaleByAdamState.mu['b'], [0]ScaleByAdamState.nu['b']." in text
    assert "It was saved with chain(scale_by_adam(b1=0.9" in text


def test_many_leaves_are_not_all_written_out(path: Path) -> None:
    like = TX.init({**PARAMS, **{str(i): np.ones(1) for i in range(50)}})
    text = message(path, like, errors.StateError)
    assert ", 95 more. It was saved with" in text
    assert len(text) < 1000


class Twins(NamedTuple):
    m: Any
    mu: Any


def test_slots_of_which_one_begins_like_another(path: Path) -> None:
    uniopt.save(path, Twins({"a": np.ones(1), "b": np.ones(1)}, {"a": np.ones(1), "b": np.ones(1)}))
    text = message(path, {}, errors.StateError)
    assert "Not in like: Twins.m (2 leaves), Twins.mu (2 leaves)." in text


def test_slots_that_are_missing_as_a_whole_are_named_once(path: Path) -> None:
    like = uniopt.chain(uniopt.trace(0.9), uniopt.scale(-0.1)).init(PARAMS)
    text = message(path, like, errors.StateError)
    assert "Not in the file: [0]TraceState.trace (2 leaves). Not in like: [0]ScaleByAdamState.count, " in text
    assert "[0]ScaleByAdamState.mu (2 leaves), [0]ScaleByAdamState.nu (2 leaves)." in text


@pytest.mark.parametrize(
    ("like", "found"),
    [
        (
            TX.init({**PARAMS, "w": np.ones((3, 2), np.float32)}),
            r"mu\['w'\] is float32 of shape \(2, 3\) in the file, float32 of shape \(3, 2\) in like",
        ),
        (
            TX.init({**PARAMS, "b": np.ones(3)}),
            r"nu\['b'\] is float32 of shape \(3,\) in the file, float64 of shape \(3,\) in like",
        ),
        (TX.init({**PARAMS, "b": None}), r"mu\['b'\] is float32 of shape \(3,\) in the file, None in like"),
        (uniopt.tree_set(state(), count=0), r"count is int32 of shape \(\) in the file, a number in like"),
        (uniopt.tree_set(state(), count="0"), "a str in like"),
        (uniopt.yogi(0.1).init(PARAMS), None),
        (uniopt.adabelief(0.1).init(PARAMS), r"Not in the file: \[0\]ScaleByBeliefState"),
        ((), "Not in like"),
    ],
)
def test_another_leaf_is_named_with_what_it_is(like: Any, found: str | None, path: Path) -> None:
    if found is None:  # yogi has Adam's state
        uniopt.load(path, like=like)
        return
    text = message(path, like, errors.StateError)
    assert re.search(found, text), text


def test_what_cannot_be_saved_is_named_and_the_old_file_stays(path: Path) -> None:
    import jax

    before = path.read_bytes()
    for wrong, found in (
        ({"a": {1, 2}}, r"\['a'\] is of type set, expected an array, a number, a text or None"),
        ({"a": [print]}, r"\['a'\]\[0\] is of type builtin_function"),
        ({"a": np.asarray(["x"])}, r"\['a'\] has dtype <U1"),
        ({"a": np.ones(2, ">f4")}, r"\['a'\] has dtype >f4"),
        ({"a": np.asarray([None])}, r"\['a'\] has dtype object"),
        ({"a": jax.random.key(0)}, r"\['a'\] has dtype key<fry>.*jax.random.key_data"),
        (print, "The state is of type builtin_function"),
    ):
        with pytest.raises(errors.LeafError, match=found):
            uniopt.save(path, wrong)

    def traced(x: Any) -> Any:
        uniopt.save(path, {"a": x})
        return x

    with pytest.raises(errors.LeafError, match=r"\['a'\] is traced"):
        jax.jit(traced)(np.ones(2))
    with pytest.raises(errors.HyperparameterError, match="Call the optimizer first"):
        uniopt.save(path, {"a": 1}, uniopt.adam)
    assert path.read_bytes() == before
    assert [x.name for x in path.parent.iterdir()] == ["file"]


def test_two_keys_that_print_alike(path: Path) -> None:
    class Same:
        def __init__(self, order: int) -> None:
            self.order = order

        def __repr__(self) -> str:
            return "same"

        def __lt__(self, other: Any) -> bool:
            return bool(self.order < other.order)

    with pytest.raises(errors.LeafError, match=r"Two leaves of the state are at \[same\]"):
        uniopt.save(path, {Same(1): 1, Same(2): 2})
