"""What a library or a device does not have, by its own documentation: declared, and checked in every run.

Declarations stand here, and in the attribute `lacks` of the backends that others have written.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from uniopt.backends import Backend

from uniopt.errors import UnsupportedDtypeError


@dataclass(frozen=True)
class Gap:
    """A data type that is not there: patterns of backend, device and data type, the reason, and the error raised."""

    backend: str
    device: str
    dtype: str
    reason: str
    error: type[Exception] = UnsupportedDtypeError


GAPS = (
    Gap("array_api_strict", "*", "*float16", "the Array API standard defines no 16-bit floats"),
    Gap("array_api_strict", "no_*64", "float64", "the device is made to be one without float64", ValueError),
    Gap("dask", "*", "*float16", "dask.array names no 16-bit floats"),
    Gap("mlx", "gpu*", "float64", "MLX has float64 on the CPU only"),
    Gap("torch", "mps*", "float64", "Metal has no float64", TypeError),
)


def find(backend: Backend, device: str, dtype: str) -> Gap | None:
    """Return the gap that is declared for a data type on a device, or None."""
    asked = (backend.name, device, dtype)
    lacks = getattr(backend, "lacks", {})
    for gap in (*GAPS, *(Gap(backend.name, "*", pattern, reason) for pattern, reason in lacks.items())):
        if all(fnmatchcase(value, p) for value, p in zip(asked, (gap.backend, gap.device, gap.dtype), strict=True)):
            return gap
    return None


def check(gap: Gap, steps: Callable[[], Any]) -> str:
    """Return what is wrong with a declaration: steps that need the data type are taken, or raise another error."""
    try:
        steps()
    except gap.error:
        return ""
    except Exception as error:
        return f"declared to raise {gap.error.__name__}, but raised {type(error).__name__}: {error}"
    return f"declared as missing ({gap.reason}), but it works: take the declaration out"
