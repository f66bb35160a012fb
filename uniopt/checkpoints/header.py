"""What the header of a checkpoint says beside its arrays: version, library, hyperparameters, slots, other leaves."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from io import BufferedReader
from typing import Any, NamedTuple

from uniopt.checkpoints import bits, container
from uniopt.checkpoints.container import Tensor
from uniopt.errors import CheckpointError

VERSION = 1
"""Of the header. A file of a later version is refused: what it says may mean something else."""

Value = bool | int | float | complex | str | None
"""A leaf that is no array."""


class StoredArray(NamedTuple):
    """An array in a checkpoint: its own dtype and shape, and the tensor that has its values."""

    dtype: str
    shape: tuple[int, ...]
    tensor: Tensor


@dataclass(frozen=True)
class Header:
    """What a checkpoint says of itself.

    Attributes
    ----------
    uniopt
        Version of uniopt that wrote it.
    libraries
        Name and version of the libraries that the arrays were of.
    transformation
        The call that makes the transformation, hyperparameters included; None where it was not given.
    slots
        The paths down to the last field of a state, under which arrays are.
    values
        Leaves that are no arrays, by path.
    dtypes
        Of the arrays that are stored in another dtype, by path.
    version
        Of this header.
    """

    uniopt: str
    libraries: tuple[str, ...]
    transformation: str | None
    slots: tuple[str, ...]
    values: dict[str, Value]
    dtypes: dict[str, str]
    version: int = VERSION

    def metadata(self) -> dict[str, str]:
        """Return it as the texts that safetensors has room for."""
        texts = {
            "format": "uniopt",
            "version": str(self.version),
            "uniopt": self.uniopt,
            "libraries": json.dumps(self.libraries),
            "slots": json.dumps(self.slots),
            "values": json.dumps({path: _written(value) for path, value in self.values.items()}),
            "dtypes": json.dumps(self.dtypes),
        }
        return texts if self.transformation is None else {**texts, "transformation": self.transformation}

    def slot_of(self, path: str) -> str:
        """Return the slot that an array is under; its own path where there is none."""
        return max((slot for slot in self.slots if path.startswith(slot)), key=len, default=path)


def read_header(file: BufferedReader, path: str | os.PathLike[str]) -> tuple[Header, dict[str, StoredArray]]:
    """Return the header of a checkpoint, and its arrays by their paths.

    Raises
    ------
    CheckpointError
        If it is no checkpoint, one of a later version, or damaged.
    """
    name = os.fspath(path)
    metadata, tensors = container.read_layout(file, name)
    if metadata.get("format") != "uniopt":
        names = ", ".join(tensor.name for tensor in tensors[:3]) + (", ..." if len(tensors) > 3 else "")
        raise CheckpointError(
            f"{name} is a safetensors file, but no checkpoint of uniopt: its header does not say so. It has "
            f"{len(tensors)} tensors ({names}). Pass a file that uniopt.save wrote; safetensors itself reads this one."
        )
    try:
        version = int(metadata["version"])
        if version > VERSION:
            raise CheckpointError(
                f"{name} has version {version} of the header and was written by uniopt {metadata.get('uniopt', '?')}; "
                f"expected version {VERSION} or earlier. Install a later uniopt."
            )
        header = _parsed(metadata, version)
        arrays = {tensor.name: _stored(tensor, header.dtypes.get(tensor.name)) for tensor in tensors}
    except CheckpointError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise CheckpointError(f"{name} has a damaged header: {type(error).__name__}: {error}.") from error
    return header, arrays


def _parsed(metadata: dict[str, str], version: int) -> Header:
    values = json.loads(metadata["values"])
    return Header(
        uniopt=metadata["uniopt"],
        libraries=tuple(json.loads(metadata["libraries"])),
        transformation=metadata.get("transformation"),
        slots=tuple(json.loads(metadata["slots"])),
        values={path: complex(*value) if isinstance(value, list) else value for path, value in values.items()},
        dtypes=dict(json.loads(metadata["dtypes"])),
        version=version,
    )


def _written(value: Value) -> Any:
    return [value.real, value.imag] if isinstance(value, complex) else value


def _stored(tensor: Tensor, dtype: str | None) -> StoredArray:
    if dtype is None:
        return StoredArray(tensor.dtype, tensor.shape, tensor)
    if bits.stored_as(dtype, tensor.shape[:-1]) != (tensor.dtype, tensor.shape):
        raise ValueError(f"{tensor.name} of {dtype} is stored as {tensor.dtype} of shape {tensor.shape}")
    return StoredArray(dtype, tensor.shape[:-1], tensor)
