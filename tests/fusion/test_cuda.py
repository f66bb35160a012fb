"""Compiled steps on a CUDA device, on CuPy's arrays and on torch's tensors, against compiled NumPy."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch

import uniopt
from tests.fusion import walks
from tests.fusion.walks import (
    ELEMENTWISE,
    WITH_SUMS,
    assert_same_bits,
    build,
    compiled,
    copied,
    gradients,
    in_numpy,
    in_torch,
    normal,
    odd_tree,
    units,
)

REASON = uniopt.backends.why_unavailable("cupy")
pytestmark = pytest.mark.skipif(REASON is not None, reason=f"NOT RUN: {REASON}")

POWERS = {"ftrl", "noisy_sgd"}
"""Optimizers that call functions of float32, which CUDA has within 2 ulp; the others' are of float64, rounded once."""
MAGNIFIED = {"ftrl": 128.0}
"""In ulp, by how much a step with powers may differ: ftrl subtracts two that are nearly equal; 64 was the most seen.

The others have ``1 - b**t`` in float64, of which half an ulp becomes several; 4 was the most seen, and 9 in a state,
which may differ by twice as much.
"""
PAUSE = 500_000_000  # clock cycles, a fraction of a second: a step takes less than a thousandth of that


@pytest.fixture(params=["cupy", "torch"])
def library(request: pytest.FixtureRequest) -> str:
    """Each library that has arrays on CUDA devices."""
    if request.param == "torch" and not torch.cuda.is_available():
        pytest.skip("NOT RUN: torch.cuda.is_available() is False")
    name: str = request.param
    return name


def put(library: str, tree: Any) -> Any:
    """Return a tree of NumPy's arrays as one of copies on the device, with the same order of elements in memory."""
    if library == "torch":
        return uniopt.tree.map(lambda x: x.to("cuda"), in_torch(tree))
    import cupy

    return uniopt.tree.map(lambda x: cupy.array(x, order="K"), tree)


def get(library: str, tree: Any) -> Any:
    """Return a tree of arrays on the device as one of NumPy's, bfloat16 as its bits."""
    if library == "torch":
        return uniopt.tree.map(lambda x: in_numpy(x.cpu()), tree)
    import cupy

    return uniopt.tree.map(cupy.asnumpy, tree)


def walk(library: str, tx: uniopt.GradientTransformation, params: Any, stream: list[Any]) -> Iterator[Any]:
    """Yield ``(params, state)`` after each compiled step on a device, as NumPy's arrays."""
    on_device = [put(library, grads) for grads in stream]
    for after in compiled(tx, put(library, params), on_device, len(stream)):
        yield get(library, after)


def assert_equal(library: str, tx: uniopt.GradientTransformation, params: Any, stream: list[Any]) -> None:
    expected = compiled(tx, copied(params), stream, len(stream))
    for k, pair in enumerate(zip(walk(library, tx, params, stream), expected, strict=True), 1):
        assert_same_bits(*pair, f"step {k}")


def assert_near(
    library: str, tx: uniopt.GradientTransformation, params: Any, stream: list[Any], bound: float = 2.0
) -> None:
    """Fail unless each step on a device is the eager one but for its roundings."""
    step = uniopt.compile(tx)

    def run(*trees: Any, **extra: Any) -> Any:
        return get(library, step(*(put(library, x) for x in trees), **extra))

    walks.assert_near(run, tx, params, stream, bound)


# Results


@pytest.mark.parametrize(
    ("library", "dtype"),
    [*product(("cupy", "torch"), ("float32", "float64", "float16")), ("torch", "bfloat16")],
    indirect=["library"],
)
@pytest.mark.parametrize(("name", "setting"), ELEMENTWISE)
def test_elementwise_optimizers(library: str, name: str, setting: str, dtype: str) -> None:
    tx, params = build(name, setting), odd_tree(normal((name, setting), dtype))
    stream = gradients((name, setting), dtype, 5)
    if dtype == "float64" or (name in POWERS and dtype == "float32"):
        assert_near(library, tx, params, stream, MAGNIFIED.get(name, 8.0))
    elif name not in POWERS:
        assert_equal(library, tx, params, stream)


@pytest.mark.parametrize(("name", "setting"), [case for case in WITH_SUMS if case[0] != "muon"])
def test_optimizers_with_sums(library: str, name: str, setting: str) -> None:
    assert_near(library, build(name, setting), odd_tree(normal(name, "float32")), gradients(name, "float32", 5))


@pytest.mark.parametrize(("name", "setting"), [case for case in WITH_SUMS if case[0] == "muon"])
def test_matrix_products(library: str, name: str, setting: str) -> None:
    """In float64, whose roundings the iterations of muon magnify as well, but not to be seen."""
    tx, params, stream = build(name, setting), odd_tree(normal(name, "float64")), gradients(name, "float64", 3)
    expected = compiled(tx, copied(params), stream, 3)
    for pair in zip(walk(library, tx, params, stream), expected, strict=True):
        for x, y in zip(*map(uniopt.tree.leaves, pair), strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", ["adamw", "lion", "noisy_sgd"])
def test_complex_leaves(library: str, name: str) -> None:
    tx, params, stream = build(name), odd_tree(normal(name, "complex64")), gradients(name, "complex64", 3)
    with np.errstate(invalid="ignore"):  # the sign of a complex 0
        expected = [copied(x) for x in compiled(tx, copied(params), stream, 3)]
    for pair in zip(walk(library, tx, params, stream), expected, strict=True):
        for x, y in zip(*map(uniopt.tree.leaves, pair), strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6)


def leaves(name: str, dtype: str = "float32") -> list[Any]:
    """Return leaves of all sizes, the largest one of thousands of blocks."""
    make = normal(name, dtype)
    return [make(n) for n in (1, 8191, 8193)] + [make(300, 257).T, make(3_000_001), make(0, 2), make()]


@pytest.mark.parametrize("name", ["adamw", "rprop"])
def test_large_leaves(library: str, name: str) -> None:
    assert_equal(library, build(name), leaves("large"), [leaves("gradients"), leaves("others")])


@pytest.mark.parametrize("name", ["lamb", "adafactor", "sm3"])
def test_sums_over_large_leaves(library: str, name: str) -> None:
    """Near to compiled NumPy, which adds up in float64 too, and the same every time."""
    tx, params, stream = build(name), leaves("large"), [leaves("gradients")] * 2
    found = list(walk(library, tx, params, stream))
    assert units(found[0], next(compiled(tx, copied(params), stream, 1))) <= 2
    assert_same_bits(list(walk(library, tx, params, stream)), found, "the same steps again")


def test_missing_gradients(library: str) -> None:
    params, grads = leaves("missing"), leaves("gradients")
    patterns: list[tuple[int, ...]] = [(), (0, 4), (), tuple(range(7)), (6,), (1,)]
    stream = [[None if i in none else g for i, g in enumerate(grads)] for none in patterns]
    assert_equal(library, build("adamw"), params, stream)


# Memory


@pytest.mark.parametrize("donate", [True, False])
def test_arrays_are_updated_in_place_or_left_alone(library: str, donate: bool) -> None:
    tx, start = build("adamw"), leaves("in place")
    params, grads = put(library, start), put(library, leaves("gradients"))
    state = tx.init(params)
    given = uniopt.tree.leaves((params, state))
    before = get(library, given)
    after = uniopt.tree.leaves(uniopt.compile(tx, donate=donate)(grads, state, params))
    if donate:
        assert all(x is y for x, y in zip(after, given, strict=True))
    else:
        assert_same_bits(get(library, given), before, "what was given")
        assert not any(x is y for x, y in zip(after, given, strict=True))


def test_gradients_that_are_gone_before_the_step_has_run(library: str) -> None:
    """Their memory goes to what is made next; the queue sees to it that it is written to after the step."""
    tx, start = build("adamw"), leaves("gone")
    stream = [leaves(f"gradient {k}") for k in range(3)]
    params = put(library, start)
    state, step = tx.init(params), uniopt.compile(tx)
    on_device = [put(library, grads) for grads in stream]
    for grads in on_device * 10:
        params, state = step([2.0 * g for g in grads], state, params)
        _ = [3.0 * g for g in grads]  # takes the memory of the gradients that the step was called with
    doubled = [[np.asarray(2 * g) for g in grads] for grads in stream] * 10
    *_, expected = compiled(tx, copied(start), doubled, len(doubled))
    assert_same_bits(get(library, (params, state)), expected, "the last step")


@pytest.mark.parametrize("name", ["adamw", "lamb"])
def test_a_parameter_that_shares_memory_with_its_gradient(library: str, name: str) -> None:
    start = normal(name, "float32")(10_000)
    params = put(library, [start])
    tx = build(name)
    found = uniopt.compile(tx)(params, tx.init(params), params)
    expected = uniopt.compile(tx)([start.copy()], tx.init([start]), [start.copy()])
    assert units(get(library, found), expected) <= 2


def test_torch_sees_that_tensors_were_written() -> None:
    if not torch.cuda.is_available():
        pytest.skip("NOT RUN: torch.cuda.is_available() is False")
    weight = torch.nn.Parameter(torch.ones(3, device="cuda"))
    loss = (weight * weight).sum()
    versions = weight._version
    tx = uniopt.sgd(0.5)
    params, _ = uniopt.compile(tx)([torch.ones(3, device="cuda")], tx.init([weight]), [weight])
    assert params[0] is weight
    assert weight._version > versions
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


# Queues


class Stream:
    """A stream that is the library's current one inside of the context, and waits for no other."""

    def __init__(self, library: str) -> None:
        if library == "torch":
            own = torch.cuda.Stream()
            self._enter: Callable[[], Any] = lambda: torch.cuda.stream(own)
            self.pause: Callable[[], None] = lambda: torch.cuda._sleep(PAUSE)
            self.done: Callable[[], bool] = own.query
        else:
            import cupy

            stream = cupy.cuda.Stream(non_blocking=True)
            code = "long long start = clock64(); while (clock64() - start < cycles) {}"
            wait = cupy.RawKernel(f'extern "C" __global__ void wait(long long cycles) {{ {code} }}', "wait")
            self._enter = lambda: stream
            self.pause = lambda: wait((1,), (1,), (np.int64(PAUSE),))
            self.done = lambda: bool(stream.done)

    def __enter__(self) -> Stream:
        self._context = self._enter()
        self._context.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._context.__exit__(*error)


@pytest.mark.parametrize("name", ["adamw", "lamb", "muon"])
def test_a_step_is_put_in_the_current_stream_and_waits_for_nothing(library: str, name: str) -> None:
    tx, make = build(name), normal(name, "float32")
    start, grads = [make(30, 20), make(7)], [make(30, 20), make(7)]
    expected = list(walk(library, tx, start, [grads] * 4))
    step = uniopt.compile(tx)
    with Stream(library) as stream:
        params, given = put(library, start), put(library, grads)
        state = tx.init(params)
        for k in range(4):
            if k == 2:  # everything has been compiled
                stream.pause()
            doubled = [g + g for g in given]  # not there before the pause is over
            params, state = step([0.5 * g for g in doubled], state, params)
        assert not stream.done()
        found = get(library, (params, state))
    assert_same_bits(found, expected[-1], "after the pause")


def test_streams_take_turns(library: str) -> None:
    """The tables of addresses that one stream has are not there yet in another one."""
    tx, start, grads = build("adamw"), leaves("turns"), leaves("gradients")
    streams = [Stream(library) for _ in range(2)]
    params, given = put(library, start), put(library, grads)
    state, step = tx.init(params), uniopt.compile(tx)
    finish(library)
    for k in range(6):
        with streams[k // 2 % 2] as stream:
            if k % 2:
                stream.pause()
            params, state = step(given, state, params)
        finish(library)
    *_, expected = compiled(tx, copied(start), [grads] * 6, 6)
    assert_same_bits(get(library, (params, state)), expected, "the last step")


def finish(library: str) -> None:
    """Wait for the device."""
    if library == "torch":
        torch.cuda.synchronize()
    else:
        import cupy

        cupy.cuda.Device().synchronize()


def test_a_thread_that_has_never_used_the_device(library: str) -> None:
    tx, start, grads = build("adamw"), leaves("threads"), leaves("gradients")
    params, given = put(library, start), put(library, grads)
    state, step = tx.init(params), uniopt.compile(tx)
    finish(library)
    found: list[Any] = []
    worker = threading.Thread(target=lambda: found.append(get(library, step(given, state, params))))
    worker.start()
    worker.join()
    assert_same_bits(found[0], next(compiled(tx, copied(start), [grads], 1)), "the step")


def test_another_device_than_the_current_one(library: str) -> None:
    import cupy

    if cupy.cuda.runtime.getDeviceCount() < 2:
        pytest.skip("NOT RUN: there is one CUDA device, and this takes two")
    start, grads = leaves("devices"), leaves("gradients")
    for name in ("adamw", "noisy_sgd"):  # the second one has calls of the library
        tx = build(name)
        if library == "torch":
            params, given = ([torch.from_numpy(x.copy()).to("cuda:1") for x in leaf] for leaf in (start, grads))
        else:
            with cupy.cuda.Device(1):
                params, given = put(library, start), put(library, grads)
        found = uniopt.compile(tx)(given, tx.init(params), params)
        assert units(get(library, found), next(compiled(tx, copied(start), [grads], 1))) <= 4


# Kernels


def test_kernels_are_kept_on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    from uniopt.backends import cupy as backend
    from uniopt.backends.fusion.cuda_arithmetic import PRELUDE

    body = 'extern "C" __global__ void kernel(const Index *table, const int *chunks) {}'
    backend._function(f"{PRELUDE}\n{body}\n")
    monkeypatch.setattr(backend, "translate", None)
    backend._function(f"{PRELUDE}\n{body}\n")(1, 0, 0)
    with pytest.raises(TypeError):
        backend._function(f"{PRELUDE}\n{body} // another one\n")
