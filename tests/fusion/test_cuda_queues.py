"""Compiled steps on a CUDA device: the memory that they write, and the queues, threads and devices that they run in."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import uniopt
from tests.fusion.on_cuda import NEEDS_CUDA, get, leaves, put, walk
from tests.fusion.walks import assert_same_bits, build, compiled, copied, normal, units

pytestmark = NEEDS_CUDA

PAUSE = 500_000_000  # clock cycles, a fraction of a second: a step takes less than a thousandth of that


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
