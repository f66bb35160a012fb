"""The safetensors format: the length of a header in 8 bytes, the header in JSON, and the values one after another.

The package of that name wants all values on the host before it writes the first, and says of a file that is cut off
neither where nor within which tensor; here a leaf is on the host only while it is written.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping
from io import BufferedReader
from typing import Any, NamedTuple

from uniopt.backends.dtypes import itemsize
from uniopt.errors import CheckpointError

_CODES = {
    "bool": "BOOL", "float16": "F16", "bfloat16": "BF16", "float32": "F32", "float64": "F64", "complex64": "C64",
    **{f"int{bits}": f"I{bits}" for bits in (8, 16, 32, 64)}, **{f"uint{bits}": f"U{bits}" for bits in (8, 16, 32, 64)},
}  # fmt: skip
_DTYPES = {code: dtype for dtype, code in _CODES.items()}

_METADATA = "__metadata__"

_OTHERS = {
    b"PK": "a zip archive, such as torch.save writes; 'uniopt convert' reads that of an optimizer of torch",
    b"\x80": "a pickle, which uniopt does not read",
    b"\x89HDF": "an HDF5 file, such as keras writes",
}
"""How files begin that are taken for checkpoints."""


class Tensor(NamedTuple):
    """An array in a file: what it is, and which bytes of the file are its values."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


def has(dtype: str) -> bool:
    """Return whether the format has a dtype."""
    return dtype in _CODES


def layout(
    arrays: Iterable[tuple[str, str, tuple[int, ...]]], metadata: Mapping[str, str]
) -> tuple[bytes, list[Tensor]]:
    """Return how a file begins, and its tensors in their order: the widest values first, so that all are aligned.

    Parameters
    ----------
    arrays
        Name, dtype and shape of each.
    metadata
        What else the header says.
    """
    header: dict[str, Any] = {_METADATA: dict(metadata)}
    tensors = []
    end = 0
    for name, dtype, shape in sorted(arrays, key=lambda array: -itemsize(array[1])):
        start, end = end, end + math.prod(shape) * itemsize(dtype)
        header[name] = {"dtype": _CODES[dtype], "shape": list(shape), "data_offsets": [start, end]}
        tensors.append(Tensor(name, dtype, shape, start, end))
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    first = 8 + len(text)
    return len(text).to_bytes(8, "little") + text, [_moved(tensor, first) for tensor in tensors]


def read_layout(file: BufferedReader, path: str) -> tuple[dict[str, str], list[Tensor]]:
    """Return the metadata and the tensors of a file, in the order of their values.

    Raises
    ------
    CheckpointError
        If it is no safetensors file, or damaged; the message says where.
    """
    size = os.fstat(file.fileno()).st_size
    beginning = file.read(9)
    if len(beginning) == 9 and beginning[8:] != b"{":
        kind = next((kind for first, kind in _OTHERS.items() if beginning.startswith(first)), "another format")
        raise CheckpointError(f"{path} is no safetensors file, but {kind}. Pass a file that uniopt.save wrote.")
    first = 8 + int.from_bytes(beginning[:8], "little")
    if len(beginning) < 9 or first > size:
        raise CheckpointError(f"{path} is cut off in its header: it ends at byte {size:,}. {_ADVICE}")
    try:
        header = json.loads(beginning[8:] + file.read(first - 9))
        metadata = dict(header.pop(_METADATA, {}))
        tensors = [_moved(_tensor(name, entry), first) for name, entry in header.items()]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"{path} has a damaged header (bytes 8 to {first:,}): {error}. {_ADVICE}") from error
    tensors.sort(key=lambda tensor: (tensor.start, tensor.end))
    _check_extent(path, tensors, first, size)
    return metadata, tensors


_ADVICE = "Copy it again from where it was written, or load an earlier one."


def _moved(tensor: Tensor, by: int) -> Tensor:
    return tensor._replace(start=tensor.start + by, end=tensor.end + by)


def _tensor(name: str, entry: Mapping[str, Any]) -> Tensor:
    """Return what the header says of a tensor, with offsets from the end of the header."""
    code, shape, (start, end) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
    if code not in _DTYPES:
        raise ValueError(f"{name} has the dtype {code!r}, expected one of {', '.join(_DTYPES)}")
    if not all(type(x) is int and x >= 0 for x in (*shape, start, end)):
        raise ValueError(f"{name} has shape {shape} and offsets {start} to {end}, expected whole numbers")
    if end - start != math.prod(shape) * itemsize(_DTYPES[code]):
        raise ValueError(f"{name} has {end - start} bytes, expected those of shape {shape} in {_DTYPES[code]}")
    return Tensor(name, _DTYPES[code], shape, start, end)


def _check_extent(path: str, tensors: list[Tensor], first: int, size: int) -> None:
    """Raise CheckpointError unless the tensors take the whole file after its header, one after another."""
    position = first
    for tensor in tensors:
        if tensor.start != position:
            raise CheckpointError(
                f"{path} has a damaged header: {tensor.name} begins at byte {tensor.start:,}, expected {position:,}, "
                f"where the one before it ends. {_ADVICE}"
            )
        position = tensor.end
        if position > size:
            raise CheckpointError(
                f"{path} is cut off within {tensor.name}, which takes bytes {tensor.start:,} to {tensor.end:,}: "
                f"the file ends at byte {size:,}. {_ADVICE}"
            )
    if position != size:
        raise CheckpointError(f"{path} goes on after its last value, from byte {position:,} to {size:,}. {_ADVICE}")
