"""DTensors, seen from one of two processes; the other one does not exist, and nothing is asked of it."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Partial, Replicate, Shard, distribute_tensor
from torch.testing._internal.distributed.fake_pg import FakeStore
from uniopt.backends import torch as shim
from uniopt.backends.torch.memory import CudaShardMemory, ShardMemory

import uniopt
from tests.conftest import require

MEMORY = ShardMemory()
ROWS, COLUMNS, WHOLE = Shard(0), Shard(1), Replicate()


@pytest.fixture(autouse=True)
def mesh() -> Iterator[Any]:
    dist.init_process_group("fake", rank=0, world_size=2, store=FakeStore())
    yield init_device_mesh("cpu", (2,))
    dist.destroy_process_group()


def numbers(*shape: int) -> torch.Tensor:
    return torch.arange(float(np.prod(shape))).reshape(shape)


@pytest.fixture
def make(mesh: Any) -> Any:
    """Makes DTensors with one placement."""

    def make(placement: Any, *shape: int) -> Any:
        if placement.is_partial():
            return DTensor.from_local(numbers(*shape), mesh, [placement])
        return distribute_tensor(numbers(*shape), mesh, [placement])

    return make


def test_arrays_lie_beside_those_that_they_meet(make: Any) -> None:
    backend = require("torch")
    for placement in (ROWS, COLUMNS, WHOLE):
        like = make(placement, 4, 2)
        placed = backend.place(numbers(4, 2), like)
        assert placed.placements == (placement,)
        assert torch.equal(placed.to_local(), like.to_local())
        assert backend.place(like, placed) is like
    vector = backend.place(numbers(4), make(ROWS, 4))
    assert vector.placements == (ROWS,)
    other = numbers(3)
    assert backend.place(other, make(ROWS, 4)) is other


def test_scalars_are_plain(make: Any) -> None:
    backend = require("torch")
    scalar = torch.tensor(2.0)
    for like in (make(ROWS, 4), make(WHOLE), torch.ones(2)):
        assert backend.place(scalar, like) is scalar
        found = backend.place(make(WHOLE) + 2.0, like)
        assert type(found) is torch.Tensor
        assert found == 2.0


def test_values_are_whole(make: Any) -> None:
    backend = require("torch")
    np.testing.assert_array_equal(backend.to_numpy(make(WHOLE, 4, 2)), numbers(4, 2).numpy())
    assert backend.to_numpy(make(ROWS, 4, 2)).shape == (4, 2)
    for predicate, expected in ((make(WHOLE) == 0.0, 1), (make(WHOLE) > 0.0, 2)):
        assert backend.cond(predicate, lambda: [1], lambda: [2]) == [expected]
    # One process alone cannot know.
    sums = SimpleNamespace(placements=(Partial(),), full_tensor=lambda: torch.tensor(False))
    assert backend.cond(sums, lambda: [1], lambda: [2]) == [2]


def test_a_process_sees_its_shard(make: Any) -> None:
    x, plain = make(ROWS, 4, 3), numbers(4, 3)
    shard = x.to_local()
    assert (MEMORY.whole_shape(x), MEMORY.shape(x), MEMORY.dtype(x)) == ((4, 3), (2, 3), "float32")
    assert (MEMORY.whole_shape(plain), MEMORY.shape(plain)) == ((4, 3), (4, 3))
    by_columns = make(COLUMNS, 4, 4)
    assert MEMORY.strides(by_columns) == tuple(4 * step for step in by_columns.to_local().stride())
    assert MEMORY.addresses([x, plain]) == [shard.data_ptr(), plain.data_ptr()]
    assert MEMORY.extent(x) == (shard.data_ptr(), shard.data_ptr() + 24)
    assert MEMORY.view(x).ctypes.data == shard.data_ptr()
    assert MEMORY.out_of_reach(x) is None
    assert CudaShardMemory(torch.device("cpu")).out_of_reach(x) is None
    assert MEMORY.out_of_reach(plain.to("meta")) == "a tensor on meta"


def test_placements_decide_about_a_program(make: Any) -> None:
    rows = MEMORY.signatures([make(ROWS, 4, 4)])
    assert rows == MEMORY.signatures([make(ROWS, 4, 4)])
    assert hash(rows) == hash(MEMORY.signatures([make(ROWS, 4, 4)]))
    assert rows != MEMORY.signatures([make(COLUMNS, 4, 4)])
    assert MEMORY.signatures([make(WHOLE, 2)]) != MEMORY.signatures([numbers(2)])
    assert MEMORY.signatures([make(ROWS, 4, 2)]) != MEMORY.signatures([make(ROWS, 2, 2)])
    both = MEMORY.signatures([make(ROWS, 4, 4), make(COLUMNS, 4, 4)])
    assert both == MEMORY.signatures([make(ROWS, 4, 4), make(COLUMNS, 4, 4)])
    assert both != MEMORY.signatures([make(COLUMNS, 4, 4), make(ROWS, 4, 4)])


def congruent(kept: list[Any], given: list[Any]) -> bool:
    """Return whether shards belong together; the first gradient is the first parameter's, and so on."""
    return MEMORY.congruent(kept, given, {i: i for i in range(2)})


def test_shards_that_belong_together(make: Any) -> None:
    a, b = make(ROWS, 4, 2), make(COLUMNS, 4, 2)
    assert congruent([a, b], [a, b])
    assert congruent([None, b], [a, b])
    assert congruent([a, None, torch.tensor(1.0), None], [a, b])
    assert congruent([a, b], [a, b, a, b, torch.tensor(1.0), make(WHOLE, 3), numbers(5)])
    plain = numbers(4, 2)
    assert congruent([plain, b], [plain, b, plain])


def test_shards_that_do_not_belong_together(make: Any) -> None:
    a, b, partial = make(ROWS, 4, 2), make(COLUMNS, 4, 2), make(Partial(), 4, 2)
    for kept in ([b, b], [a, a], [partial, b], [make(WHOLE, 4, 2), b], [numbers(4, 2), b]):
        assert not congruent(kept, [a, b])
    for extra in (numbers(3), make(ROWS, 4), a):
        assert not congruent([a, b, extra], [a, b])
    for slot in (make(WHOLE, 4, 2), partial, numbers(4, 2), make(Partial(), 3)):
        assert not congruent([a, b], [a, b, slot])
    assert not congruent([None, None, make(Partial())], [a, b])


def test_what_can_take_the_place_of_a_shard(make: Any) -> None:
    rows, columns, plain = make(ROWS, 4, 2), make(COLUMNS, 4, 2), numbers(4, 2)
    assert MEMORY.replaces(columns, rows)
    assert MEMORY.replaces(plain, plain)
    for value, x in ((plain, rows), (rows, plain), (rows, make(Partial(), 4, 2)), (make(ROWS, 2, 2), rows)):
        assert not MEMORY.replaces(value, x)
    assert not MEMORY.replaces(numbers(2, 2), plain)


def test_values_are_redistributed(make: Any) -> None:
    for rows in (4, 3, 1):  # also where they cannot be shared evenly
        x, value = make(ROWS, rows, 2), make(WHOLE, rows, 2) + 5.0
        MEMORY.assign(x, value)
        assert x.placements == (ROWS,)
        assert torch.equal(x.to_local(), numbers(rows, 2)[: (rows + 1) // 2] + 5.0)
    plain = numbers(3)
    MEMORY.assign(plain, torch.ones(3))
    assert torch.equal(plain, torch.ones(3))


def test_torch_is_told_of_shards_too(make: Any) -> None:
    x, plain = make(ROWS, 4), numbers(2)
    versions = [y._version for y in (x, x.to_local(), plain)]
    MEMORY.written(MEMORY.watched([x, plain]))
    assert [y._version for y in (x, x.to_local(), plain)] == [version + 1 for version in versions]


def test_one_step_takes_plain_and_distributed_tensors(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    memories: list[Any] = []

    class Noted(ShardMemory):
        def __init__(self) -> None:
            memories.append(self)

    monkeypatch.setattr(shim, "ShardMemory", Noted)
    tx = uniopt.adamw(0.1)
    step = uniopt.compile(tx)
    plain = numbers(4, 2)
    expected = step([plain.clone()], tx.init([plain]), [plain.clone()])[0][0]
    assert not memories
    for _ in range(2):
        params = [make(ROWS, 4, 2)]
        (after,), _ = step([make(ROWS, 4, 2)], tx.init(params), params)
        assert after is params[0]
        assert torch.equal(after.to_local(), expected[:2])
    assert len(memories) == 1
