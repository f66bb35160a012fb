"""A backend for any library that follows the Python Array API standard; the others override where they depart."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from importlib import import_module
from typing import Any

from uniopt.backends.dtypes import dtype_kind, dtype_name
from uniopt.backends.errors import UnsupportedDtypeError
from uniopt.backends.protocol import Array, Device, Dtype, Node


class StandardBackend:
    """The `Backend` of a library whose namespace is complete; subclass it to add a library.

    Parameters are class attributes: `name`, `array_types`, and `namespace`, the module that implements the standard.
    """

    name: str
    array_types: tuple[str, ...]
    namespace: str
    distributions: tuple[str, ...] = ()
    """Names on the package index, where they differ from `name`; the first installed one gives the version."""
    lacks: Mapping[str, str] = {}
    """Data types that the library's documentation says are not there, by pattern, each with the reason: the conformance
    suite takes them as UNSUPPORTED once it has seen that asking for one raises UnsupportedDtypeError."""
    value_and_grad: Callable[..., Any] | None = None
    pmean: Callable[[Array, Any], Array] | None = None

    @cached_property
    def xp(self) -> Any:
        return import_module(self.namespace)

    def why_unavailable(self) -> str | None:
        return None

    def version(self) -> str:
        from importlib.metadata import version  # slow to import

        return version((self.distributions or (self.name,))[0])

    def devices(self) -> list[Device]:
        return list(self.xp.__array_namespace_info__().devices())

    def dtypes(self, device: Device = None) -> dict[str, Dtype]:
        found = self.xp.__array_namespace_info__().dtypes(device=device)
        return {name: dtype for name, dtype in found.items() if dtype_kind(name) in ("real", "complex")}

    def dtype(self, name: str) -> Dtype:
        try:
            return getattr(self.xp, name)
        except AttributeError:
            known = ", ".join(sorted(self.dtypes()))
            raise UnsupportedDtypeError(
                f"{self.name} has no dtype {name!r}; its floating-point dtypes are {known}. Ask for one of those."
            ) from None

    def device(self, x: Array) -> Device | None:
        return x.device

    def colocated(self, x: Array, y: Array) -> bool:
        return bool(self.device(x) == self.device(y))

    def accepts(self, other: Any) -> bool:
        return other is self

    def place(self, x: Array, like: Array) -> Array:
        return x if self.colocated(x, like) else x.to_device(self.device(like))

    def has_float64(self, like: Array) -> bool:
        return "float64" in self.dtypes(self.device(like))

    def at_step(self, f: Callable[..., Any], count: Array, *args: Any) -> Any:
        wide = self.dtype("float64" if self.has_float64(count) else "float32")
        return f(self.xp, self.astype(count, wide) + 1, *args)

    def astype(self, x: Array, dtype: Dtype) -> Array:
        return x if x.dtype == dtype else self.xp.astype(x, dtype)

    def rounded(self, x: Array, dtype: Dtype) -> Array:
        return self.astype(self.astype(x, dtype), x.dtype)

    def copy(self, x: Array) -> Array:
        return self.xp.asarray(x, copy=True)

    def restore(self, x: Array, like: Array, dtype: Dtype) -> Array:
        return self.astype(x, dtype)

    def asarray(self, value: Any, dtype: Dtype | None = None, like: Array | None = None) -> Array:
        return self.xp.asarray(value, dtype=dtype, device=None if like is None else self.device(like))

    def from_numpy(self, x: Any, dtype: str | None = None, device: Device | None = None) -> Array:
        target = self.dtype(dtype or dtype_name(x.dtype))
        return self.xp.asarray(x, dtype=target, device=device, copy=True)

    def to_numpy(self, x: Array) -> Any:
        import numpy as np

        return np.asarray(x)

    def is_traced(self, x: Array) -> bool:
        return False

    def cond(
        self, predicate: Array, on_true: Callable[[], list[Array]], on_false: Callable[[], list[Array]]
    ) -> list[Array]:
        if self.is_traced(predicate):
            return self.select(predicate, on_true, on_false)
        return on_true() if bool(predicate) else on_false()

    def select(
        self, predicate: Array, on_true: Callable[[], list[Array]], on_false: Callable[[], list[Array]]
    ) -> list[Array]:
        """Return `cond` for a predicate that has no value yet, in a library that has no conditional of its own."""
        return [
            x if x is y else self.xp.where(self.place(predicate, x), x, y)
            for x, y in zip(on_true(), on_false(), strict=True)
        ]

    def node(self, obj: Any) -> Node | None:
        return None

    def compile(self, f: Callable[..., Any]) -> Callable[..., Any]:
        return f

    def compile_step(
        self, step: Callable[..., list[Array]], *, donate: bool, parameters: Mapping[int, int]
    ) -> Callable[..., list[Array]]:
        return step
