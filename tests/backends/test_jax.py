"""JAX: tracers, devices and shardings, float64 for scalars, and memory that is given away."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec
from uniopt.backends import jax as shim
from uniopt.backends.dtypes import dtype_name

from tests.conftest import float64, require
from uniopt.errors import UnsupportedDtypeError

F = np.float32


@pytest.fixture
def mesh() -> Any:
    return jax.make_mesh((4,), ("x",), axis_types=(jax.sharding.AxisType.Auto,))


def on(device: int, *values: float) -> Any:
    """Return an array that somebody has put on a device."""
    return jax.device_put(jnp.asarray(values or (1.0, 2.0), F), jax.devices()[device])


def test_64_bits_are_there_with_x64_only() -> None:
    backend = require("jax")
    assert backend.devices() == jax.devices()
    assert set(backend.dtypes()) == {"float16", "bfloat16", "float32", "complex64"}
    for name in ("float64", "complex128"):
        with pytest.raises(UnsupportedDtypeError, match=f"jax computes in {name} only with x64 enabled"):
            backend.dtype(name)
    with float64("jax"):
        assert set(backend.dtypes()) == {"float16", "bfloat16", "float32", "complex64", "float64", "complex128"}
        assert backend.dtype("float64") == np.float64
    assert backend.dtype("int32") == np.int32


def test_what_is_traced_has_no_place() -> None:
    backend, seen = require("jax"), []
    far = on(1)

    def f(x: Any) -> Any:
        seen.append((backend.is_traced(x), backend.device(x), backend.colocated(x, far), backend.colocated(far, x)))
        assert backend.place(x, far) is x
        assert backend.place(far, x) is far
        return x

    jax.jit(f)(on(0))
    assert seen == [(True, None, True, True)]
    assert not backend.is_traced(far)
    assert backend.device(far) == far.sharding


def test_who_can_meet(mesh: Any) -> None:
    backend = require("jax")
    free, first, second = jnp.ones(4), on(0), on(1)
    assert backend.colocated(first, on(0))
    assert not backend.colocated(first, second)
    assert backend.colocated(free, second)
    assert backend.colocated(second, free)
    with jax.default_device(jax.devices()[1]):
        free_elsewhere = jnp.ones(4)
    assert not free_elsewhere.committed
    assert backend.colocated(free, free_elsewhere)
    assert backend.place(free, free_elsewhere) is free
    spread, whole = (jax.device_put(free, NamedSharding(mesh, PartitionSpec(*axes))) for axes in (("x",), ()))
    assert spread.sharding != whole.sharding
    assert backend.colocated(spread, whole)
    assert not backend.colocated(spread, first)


def test_arrays_go_where_others_are(mesh: Any) -> None:
    backend = require("jax")
    free, first, second = jnp.ones(2), on(0), on(1)
    assert backend.place(first, on(0)) is first
    assert backend.place(free, jnp.ones(3)) is free
    assert backend.place(first, second).devices() == {jax.devices()[1]}
    assert backend.place(free, second).devices() == {jax.devices()[1]}
    assert backend.place(second, free).devices() == {jax.devices()[0]}
    assert backend.place(jnp.ones(()), second).devices() == {jax.devices()[1]}
    rows = NamedSharding(mesh, PartitionSpec("x"))
    like = jax.device_put(jnp.ones(4), rows)
    assert backend.place(jnp.zeros(4), like).sharding == rows
    for other in (jnp.zeros(()), jnp.zeros(3), on(2)):
        placed = backend.place(other, like)
        assert placed.sharding == NamedSharding(mesh, PartitionSpec())
        np.testing.assert_array_equal(placed, other)
    assert backend.asarray([1.0, 2.0], like=second).devices() == {jax.devices()[1]}
    assert backend.from_numpy(np.ones(2, F), device=jax.devices()[3]).devices() == {jax.devices()[3]}
    assert dtype_name(backend.from_numpy(np.ones(1), "bfloat16").dtype) == "bfloat16"


def test_arrays_stay_in_their_kind_of_memory(mesh: Any) -> None:
    backend = require("jax")
    for kind in {memory.kind for memory in jax.devices()[0].addressable_memories()}:
        like = jax.device_put(jnp.ones(4), NamedSharding(mesh, PartitionSpec("x"), memory_kind=kind))
        assert backend.place(jnp.zeros(()), like).sharding.memory_kind == kind


def at_first_step(f: Any, *args: Any, jitted: bool = False) -> Any:
    """Return what `at_step` makes of a function in step 3."""
    backend = require("jax")

    def at(count: Any) -> Any:
        return backend.at_step(f, count, *args)

    return (jax.jit(at) if jitted else at)(backend.asarray(2, dtype=jnp.int32))


@pytest.mark.parametrize("jitted", [False, True])
def test_scalars_are_computed_in_float64_and_rounded_once(jitted: bool) -> None:
    def third(xp: Any, t: Any, *_: Any) -> Any:
        assert t.dtype == np.float64
        return (t * 0.1 + 1e-9) * (1.0 / 7.0)

    found = at_first_step(third, "a", 1.0, jitted=jitted)
    assert found.dtype == F
    assert found == F((3 * 0.1 + 1e-9) * (1.0 / 7.0))


@pytest.mark.parametrize("jitted", [False, True])
def test_other_scalars_stay_as_they_are(jitted: bool) -> None:
    found = at_first_step(lambda xp, t: xp.astype(t, xp.int32), jitted=jitted)
    assert (found.dtype, int(found)) == (np.int32, 3)
    assert at_first_step(lambda xp, t: None) is None
    assert at_first_step(lambda xp, t: 0.1) == 0.1


def test_arrays_may_be_differentiated_so_they_stay_in_float32() -> None:
    def scaled(xp: Any, t: Any, rate: Any) -> Any:
        assert t.dtype == F
        return t * rate

    assert jax.grad(lambda rate: at_first_step(scaled, rate))(jnp.asarray(0.5)) == 3.0


def test_where_there_is_no_float64_scalars_are_computed_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    def is_narrow(xp: Any, t: Any) -> Any:
        assert t.dtype == F
        return t

    monkeypatch.setattr(jax, "default_backend", lambda: "tpu")
    assert at_first_step(is_narrow, jitted=True) == 3.0
    for platform, expected in (("tpu", False), ("cpu", True), ("gpu", True)):
        x = SimpleNamespace(devices=lambda platform=platform: [SimpleNamespace(platform=platform)])
        assert shim._has_wide_scalars(x) == expected
    monkeypatch.delattr(jax, "enable_x64")  # as before JAX 0.8
    assert not shim._has_wide_scalars(jnp.ones(()))
    assert at_first_step(is_narrow) == 3.0


def test_compilers_do_not_take_out_a_rounding() -> None:
    backend = require("jax")
    text = str(jax.make_jaxpr(lambda x: backend.rounded(x, jnp.bfloat16))(jnp.ones(2)))
    assert "optimization_barrier" in text
    assert text.index("bf16") < text.index("optimization_barrier") < text.rindex("f32")


def test_one_side_of_a_condition_is_called_or_traced() -> None:
    backend = require("jax")

    def refuse() -> list[Any]:
        raise AssertionError("the side that is not taken was called")

    x = jnp.ones(2)
    assert backend.cond(jnp.asarray(True), lambda: [x], refuse)[0] is x
    assert backend.cond(jnp.asarray(False), refuse, lambda: [x])[0] is x
    text = str(jax.make_jaxpr(lambda x: backend.cond(x.sum() > 0, lambda: [2 * x], lambda: [-x]))(x))
    assert "cond[" in text


def test_given_memory_is_used_again() -> None:
    backend = require("jax")

    def step(kept: list[Any], donated: list[Any]) -> list[Any]:
        return [x + kept[0] for x in donated]

    for donate in (False, True):
        compiled = backend.compile_step(step, donate=donate, parameters={})
        kept, donated = [jnp.ones(2)], [jnp.ones(2), jnp.full(2, 5.0)]
        (first, second) = compiled(kept, donated)
        np.testing.assert_array_equal(first, [2.0, 2.0])
        np.testing.assert_array_equal(second, [6.0, 6.0])
        assert [x.is_deleted() for x in (*kept, *donated)] == [False, donate, donate]


def test_an_array_in_several_places_is_given_away_once() -> None:
    compiled = require("jax").compile_step(
        lambda kept, donated: [x + kept[0] for x in donated], donate=True, parameters={}
    )
    x = jnp.full(2, 3.0)
    first, second = compiled([x, None], [x, x])
    np.testing.assert_array_equal(first, [6.0, 6.0])
    np.testing.assert_array_equal(second, [6.0, 6.0])


@pytest.mark.parametrize(("twice", "kept_too"), [(False, False), (True, False), (False, True), (True, True)])
def test_only_what_is_in_several_places_is_copied(twice: bool, kept_too: bool) -> None:
    x, y, z = (jnp.full(2, value) for value in (1.0, 2.0, 3.0))
    kept, donated = [x if kept_too else z, None, z], [x, x if twice else y]
    found = [x for part in shim._apart(kept, donated) for x in part]
    copied = [kept_too, False, False, False, twice]
    for new, old, is_copy in zip(found, [*kept, *donated], copied, strict=True):
        assert (new is not old) == is_copy
        if is_copy:
            assert new.unsafe_buffer_pointer() != old.unsafe_buffer_pointer()
            np.testing.assert_array_equal(new, old)
