"""JAX: arrays, tracers, shardings, and the containers that users register with it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec
from uniopt.backends.dtypes import dtype_name
from uniopt.backends.errors import UnsupportedDtypeError
from uniopt.backends.protocol import Node
from uniopt.backends.standard import StandardBackend

_REPLICATED = PartitionSpec()  # type: ignore[no-untyped-call]  # JAX annotates neither it nor its constructor


def _x64() -> bool:
    return bool(jax.config.read("jax_enable_x64"))  # type: ignore[no-untyped-call]  # the attribute is hidden from type checkers


class JaxBackend(StandardBackend):
    """JAX arrays, eager or traced. float64 exists only where ``jax_enable_x64`` is set."""

    name = "jax"
    array_types = ("jax.Array", "jax.core.Tracer")
    namespace = "jax.numpy"

    def devices(self) -> list[Any]:
        return list(jax.devices())

    def dtypes(self, device: Any = None) -> dict[str, Any]:
        names = ["float16", "bfloat16", "float32", "complex64"]
        if _x64():
            names += ["float64", "complex128"]
        return {name: jnp.dtype(name) for name in names}

    def dtype(self, name: str) -> Any:
        # JAX has the name float64 without x64 too, and silently computes in float32.
        if name in ("float64", "complex128") and not _x64():
            raise UnsupportedDtypeError(
                f"jax computes in {name} only with x64 enabled: call jax.config.update('jax_enable_x64', True) first."
            )
        return jnp.dtype(super().dtype(name))

    def device(self, x: Any) -> Any:
        # A traced array has no place: it gets one when the program is compiled.
        return None if isinstance(x, jax.core.Tracer) else x.sharding

    def colocated(self, x: Any, y: Any) -> bool:
        if isinstance(x, jax.core.Tracer) or isinstance(y, jax.core.Tracer) or x.sharding == y.sharding:
            return True
        # JAX moves an uncommitted array (one that nobody put somewhere) to where it is needed.
        return x.sharding.device_set == y.sharding.device_set or not (x.committed and y.committed)

    def place(self, x: Any, like: Any) -> Any:
        if isinstance(x, jax.core.Tracer) or isinstance(like, jax.core.Tracer):
            return x
        sharding = like.sharding
        if isinstance(sharding, NamedSharding) and x.shape != like.shape:
            sharding = NamedSharding(sharding.mesh, _REPLICATED, memory_kind=sharding.memory_kind)
        if x.sharding == sharding or (not x.committed and not like.committed):
            return x
        return jax.device_put(x, sharding)

    def has_float64(self, like: Any) -> bool:
        return _x64()

    def at_step(self, f: Callable[..., Any], count: Any, *args: Any) -> Any:
        # The hardware has float64 without x64 too, and a scalar costs nothing there. Arrays among the arguments may be
        # differentiated, which happens outside of this context.
        if _x64() or not _has_wide_scalars(count) or any(isinstance(x, jax.Array) for x in args):
            return super().at_step(f, count, *args)
        with jax.enable_x64(True):
            result = super().at_step(f, count, *args)
            wide = isinstance(result, jax.Array) and result.dtype == jnp.float64
            return result.astype(jnp.float32) if wide else result

    def rounded(self, x: Any, dtype: Any) -> Any:
        if x.dtype == dtype:
            return x
        # XLA may take out a cast to fewer bits and back (xla_allow_excess_precision).
        narrow = jax.lax.optimization_barrier(x.astype(dtype))  # type: ignore[no-untyped-call]  # JAX does not annotate it
        return narrow.astype(x.dtype)

    def asarray(self, value: Any, dtype: Any = None, like: Any = None) -> Any:
        array = jnp.asarray(value, dtype=dtype)
        return array if like is None else self.place(array, like)

    def from_numpy(self, x: Any, dtype: str | None = None, device: Any = None) -> Any:
        return jnp.array(x, dtype=self.dtype(dtype or dtype_name(x.dtype)), device=device)

    def to_numpy(self, x: Any) -> Any:
        import numpy as np

        host = x.astype(jnp.float32) if dtype_name(x.dtype) == "bfloat16" else x
        return np.array(host)

    def is_traced(self, x: Any) -> bool:
        return isinstance(x, jax.core.Tracer)

    def cond(self, predicate: Any, on_true: Callable[[], list[Any]], on_false: Callable[[], list[Any]]) -> list[Any]:
        if not self.is_traced(predicate):
            return on_true() if bool(predicate) else on_false()
        found: list[Any] = jax.lax.cond(predicate, on_true, on_false)
        return found

    def node(self, obj: Any) -> Node | None:
        keyed = _children(obj)
        if len(keyed) == 1 and keyed[0][1] is obj:  # its own only child: JAX sees a leaf
            return None
        by_attribute = bool(keyed) and isinstance(keyed[0][0], jax.tree_util.GetAttrKey)
        return Node(_flatten_node, _unflatten_node, by_attribute)

    def compile(self, f: Callable[..., Any]) -> Callable[..., Any]:
        return jax.jit(f)

    def compile_step(
        self, step: Callable[..., list[Any]], *, donate: bool, parameters: Mapping[int, int]
    ) -> Callable[..., list[Any]]:
        if not donate:
            return jax.jit(step)
        compiled = jax.jit(step, donate_argnums=1)

        def run(kept: list[Any], donated: list[Any]) -> list[Any]:
            results: list[Any] = compiled(*_apart(kept, donated))
            return results

        return run

    value_and_grad = staticmethod(jax.value_and_grad)
    pmean = staticmethod(jax.lax.pmean)


def _apart(kept: list[Any], donated: list[Any]) -> tuple[list[Any], list[Any]]:
    """Return the arguments of a step with each donated array in one place: XLA takes the memory of no other."""
    known = set(map(id, donated))
    if len(known) == len(donated) and known.isdisjoint(map(id, kept)):
        return kept, donated
    first: set[int] = set()
    own = []
    for x in donated:
        own.append(jnp.array(x, copy=True) if id(x) in first else x)
        first.add(id(x))
    return [jnp.array(x, copy=True) if id(x) in known else x for x in kept], own


def _has_wide_scalars(x: Any) -> bool:
    """Return whether JAX can compute 0-d arrays in float64 where `x` lives while x64 is off."""
    if not hasattr(jax, "enable_x64"):  # before 0.8, it is lost when the program is lowered
        return False
    platform = jax.default_backend() if isinstance(x, jax.core.Tracer) else next(iter(x.devices())).platform
    return platform in ("cpu", "gpu")


def _children(obj: Any) -> list[tuple[Any, Any]]:
    pairs = jax.tree_util.tree_flatten_with_path(obj, is_leaf=lambda x: x is not obj)[0]
    return [(path[-1] if path else None, child) for path, child in pairs]


def _flatten_node(obj: Any) -> tuple[Iterable[Any], Any, Iterable[Any]]:
    keyed = _children(obj)
    structure = jax.tree_util.tree_structure(obj, is_leaf=lambda x: x is not obj)
    return [child for _, child in keyed], structure, tuple(_entry(key) for key, _ in keyed)


def _entry(key: Any) -> Any:
    for attribute in ("name", "key", "idx"):  # GetAttrKey, DictKey and FlattenedIndexKey, SequenceKey
        if hasattr(key, attribute):
            return getattr(key, attribute)
    return str(key)


def _unflatten_node(structure: Any, children: Iterable[Any]) -> Any:
    return jax.tree_util.tree_unflatten(structure, children)
