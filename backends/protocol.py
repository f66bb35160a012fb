"""What uniopt asks of an array library."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, Protocol

Array = Any
Device = Any
Dtype = Any


class Node(NamedTuple):
    """How to take apart and rebuild a container type that a library has registered as a tree node."""

    flatten: Callable[[Any], tuple[Iterable[Any], Any, Iterable[Any]]]  # -> children, metadata, entry names
    unflatten: Callable[[Any, Iterable[Any]], Any]  # metadata, children -> container
    by_attribute: bool  # the children are attributes (``.w``), not items (``["w"]``)


class Backend(Protocol):
    """One array library, as uniopt sees it.

    `uniopt.backends.StandardBackend` implements all of it with the functions of the Python Array API standard; a
    library's own class overrides what it does otherwise.
    """

    name: str
    """The library's name, by which users ask for it."""

    array_types: tuple[str, ...]
    """Dotted names of the array classes, such as ``"torch.Tensor"``; subclasses are included."""

    xp: Any
    """The Array API namespace."""

    def why_unavailable(self) -> str | None:
        """Return why the library cannot compute here (no device, no driver), or None where it can."""
        ...

    def version(self) -> str:
        """Return the library's version."""
        ...

    def devices(self) -> list[Device]:
        """Return the devices that arrays can be put on."""
        ...

    def dtypes(self, device: Device = None) -> dict[str, Dtype]:
        """Return the floating-point and complex dtypes that the device really computes in, by standard name."""
        ...

    def dtype(self, name: str) -> Dtype:
        """Return the library's dtype of that name; UnsupportedDtypeError where it has none."""
        ...

    def device(self, x: Array) -> Device | None:
        """Return where `x` lives, comparable by ``==``; None where it has no place yet (under tracing)."""
        ...

    def colocated(self, x: Array, y: Array) -> bool:
        """Return whether `x` and `y` can meet in one operation without a transfer."""
        ...

    def accepts(self, other: Backend) -> bool:
        """Return whether arrays of another backend can meet those of this one: only of itself, as a rule."""
        ...

    def place(self, x: Array, like: Array) -> Array:
        """Return `x` where `like` lives: on its device, with its sharding if the shapes agree, else replicated."""
        ...

    def has_float64(self, like: Array) -> bool:
        """Return whether the place of `like` computes in float64."""
        ...

    def at_step(self, f: Callable[..., Any], count: Array, *args: Any) -> Any:
        """Return ``f(xp, t, *args)`` for the step ``t = count + 1``, a 0-d array in float64 where there is float64."""
        ...

    def astype(self, x: Array, dtype: Dtype) -> Array:
        """Return `x` as an array (not a scalar) of the dtype, `x` itself where that is what it is."""
        ...

    def rounded(self, x: Array, dtype: Dtype) -> Array:
        """Return `x` rounded to a number that `dtype` has, in its own dtype; no compiler leaves the rounding out."""
        ...

    def copy(self, x: Array) -> Array:
        """Return an array of the same values that shares no memory with `x`, and no history for gradients."""
        ...

    def restore(self, x: Array, like: Array, dtype: Dtype) -> Array:
        """Return a result `x` as the same kind of object as the leaf `like`, in the given dtype."""
        ...

    def asarray(self, value: Any, dtype: Dtype | None = None, like: Array | None = None) -> Array:
        """Return a host value (number, list, NumPy array) as an array of this library, placed like `like`."""
        ...

    def from_numpy(self, x: Any, dtype: str | None = None, device: Device | None = None) -> Array:
        """Return a copy of a NumPy array in this library; `dtype` by name, so that bfloat16 can be asked for."""
        ...

    def to_numpy(self, x: Array) -> Any:
        """Return the values as a NumPy array: detached, on the host; bfloat16 as float32, which holds it exactly."""
        ...

    def is_traced(self, x: Array) -> bool:
        """Return whether `x` stands for values that do not exist yet, under the library's tracer."""
        ...

    def cond(
        self, predicate: Array, on_true: Callable[[], list[Array]], on_false: Callable[[], list[Array]]
    ) -> list[Array]:
        """Return what one of two functions returns, by a 0-d boolean array.

        Both would return arrays of the same shapes and dtypes. Where the predicate has a value, only that function is
        called. Elsewhere the library's own conditional decides, or both are called and each array is selected: what
        the other side makes, NaN included, never reaches the result.
        """
        ...

    def node(self, obj: Any) -> Node | None:
        """Return how to take `obj` apart if its type is registered with the library as a tree node."""
        ...

    def compile(self, f: Callable[..., Any]) -> Callable[..., Any]:
        """Return `f` compiled by the library's own compiler, or `f` itself where it has none."""
        ...

    def compile_step(
        self,
        step: Callable[[list[Array], list[Array]], list[Array]],
        *,
        donate: bool,
        parameters: Mapping[int, int],
    ) -> Callable[[list[Array], list[Array]], list[Array]]:
        """Return ``step(kept, donated)``, which returns new values of `donated`, compiled.

        `parameters` tells which of `donated` is the parameter of each gradient among `kept`; such a gradient may be
        None. With `donate`, the memory of `donated` may be used again, and where arrays can be written to, the
        results are the very arrays of `donated`.
        """
        ...

    value_and_grad: Callable[[Callable[..., Array]], Callable[..., tuple[Array, Any]]] | None
    """Turns a scalar function of a tree (first argument) into one of its value and gradient; None without autodiff."""

    pmean: Callable[[Array, Any], Array] | None
    """Returns the mean of an array over a named axis of a mapped function; None where axes have no names."""
