"""Loops in machine code: every layout of memory, what they read and write, and reductions."""

from __future__ import annotations

import itertools
import math
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

import numpy as np
import pytest
from uniopt.backends.fusion.kernel import Argument, Constant, Instruction, Kernel, Load, Operand, Reduction, Value
from uniopt.backends.fusion.lanes import FLOATS, INTEGERS
from uniopt.backends.fusion.llvm import WIDTH
from uniopt.backends.fusion.machine import Machine, this_machine

from tests.fusion.machine_code import EDGES, Array, differ, laid_out, operands_of, row, run, special


def layouts() -> list[tuple[str, tuple[int, ...]]]:
    shapes = [*((n,) for n in EDGES), *((3, n) for n in EDGES), *((2, 3, n) for n in EDGES), (0, 40), (40, 0, 40)]
    return [(how, shape) for how in ("plain", "reversed", "transposed", "broadcast") for shape in shapes]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(("how", "shape"), layouts())
def test_layouts(dtype: str, how: str, shape: tuple[int, ...]) -> None:
    """Several rows, in place, with a mask and with operands broadcast along the outer and the inner loops."""
    rng = np.random.default_rng(len(shape))
    # where(mask, x * a + y, sqrt(a / b) - x), into x; its negative, as float16, and whether it is positive, elsewhere
    body = (
        Instruction("multiply", dtype, (Load(0), Argument(0))),
        Instruction("add", dtype, (Value(0), Load(1))),
        Instruction("divide", dtype, (Argument(0), Argument(1))),
        Instruction("sqrt", dtype, (Value(2),)),
        Instruction("subtract", dtype, (Value(3), Load(0))),
        Instruction("where", dtype, (Load(2), Value(1), Value(4))),
        Instruction("negative", dtype, (Value(5),)),
        Instruction("astype", "float16", (Value(6),)),
        Instruction("greater", "bool", (Value(5), Constant(0))),
    )
    stores = ((0, Value(5)), (3, Value(7)), (4, Value(8)))
    rows, arguments, results, expected = [], [], [], []
    for a, b in [(0.1, 3.0), (-0.7, -1.0), (1e-3, 7.0)]:
        x = laid_out(how, shape, rng.standard_normal(6300).astype(dtype))
        y = laid_out(how, shape, rng.standard_normal(6300).astype(dtype))
        mask = laid_out(how, shape, rng.random(6300) < 0.5)
        if how == "broadcast":
            y = np.broadcast_to(rng.standard_normal((*shape[:-1], 1)).astype(dtype), shape)
            mask = np.broadcast_to(rng.random(shape[-1:]) < 0.5, shape)
        half, sign = np.empty(shape, dtype=np.float16), np.empty_like(mask, shape=shape)
        s, t = np.array([a, b], dtype=dtype)
        new = np.where(mask, x * s + y, np.sqrt(s / t) - x)
        expected += [new, (-new).astype(np.float16), new > 0]
        results += [x, half, sign]
        rows.append([x, y, mask, half, sign])
        arguments.append([a, b])
    kernel = Kernel(len(shape), operands_of(x, y, mask, half, sign), (dtype, dtype), body, stores)
    run(this_machine(), kernel, rows, arguments)
    assert not any(differ(x, y).any() for x, y in zip(results, expected, strict=True))


@pytest.mark.parametrize("shape", [(0,), (3, 0), (0, 3)])
def test_nothing_is_read_where_there_is_nothing(shape: tuple[int, ...]) -> None:
    operands = (Operand("float32", "same"), Operand("float32", "next"))
    kernel = Kernel(len(shape), operands, (), (), ((1, Load(0)),))
    table = np.array([*shape, *[0] * (kernel.columns - len(shape))], dtype=np.int64)  # at address 0
    this_machine().load([kernel])[0](table.ctypes.data, 1, 0)


def test_a_store_that_stays_in_place_is_seen_by_the_next_element() -> None:
    x, total = np.arange(40.0), np.ones(1)
    operands = (Operand("float64", "next"), Operand("float64", "same"))
    body = (Instruction("add", "float64", (Load(0), Load(1))),)
    run(this_machine(), Kernel(1, operands, (), body, ((1, Value(0)),)), [[x, np.broadcast_to(total, 40)]])
    assert total == [1 + sum(range(40))]


def test_arguments_have_their_dtypes() -> None:
    values = {"float32": 0.1, "float64": 0.1, "int32": -(2.0**31), "int64": 2**53 + 1, "bool": 2.0}
    results = [np.zeros(WIDTH + 1, dtype=dtype) for dtype in values]
    stores = tuple((i, Argument(i)) for i in range(len(values)))
    kernel = Kernel(1, operands_of(*results), tuple(values), (), stores)
    run(this_machine(), kernel, [results], [list(values.values())])
    for result, value in zip(results, values.values(), strict=True):
        assert not differ(result, np.full_like(result, value)).any()


def reduction(source: str, accumulator: str, op: Literal["sum", "max", "min"], *arrays: Array) -> Kernel:
    operands = operands_of(*arrays)
    assert [x.dtype for x in operands] == [source, accumulator]
    return Kernel(arrays[0].ndim, operands, (), (), (), (Reduction(op, Load(0), 1),))


@pytest.mark.parametrize("size", EDGES)
def test_sums_of_float32_are_the_nearest(size: int) -> None:
    x, total = np.random.default_rng(size).standard_normal(size).astype(np.float32), np.full(1, 2.0)
    kernel = reduction("float32", "float64", "sum", x, np.broadcast_to(total, size))
    run(this_machine(), kernel, [[x, np.broadcast_to(total, size)]])
    assert np.float32(total[0]) == np.float32(math.fsum([2.0, *x.tolist()]))


@pytest.mark.parametrize("dtype", FLOATS)
def test_sums_have_the_same_bits_on_every_processor_and_in_every_layout(dtype: str) -> None:
    x = np.random.default_rng(0).standard_normal((1000, 3)).astype(dtype)
    totals = []
    for array, processor in [
        (x[:, 1], this_machine()),
        (x[:, 1].copy(), this_machine()),
        (x[:, 1], Machine("generic", "")),
    ]:
        total = np.zeros(1)
        there = np.broadcast_to(total, 1000)
        run(processor, reduction(dtype, "float64", "sum", array, there), [[array, there]])
        totals.append(total[0])
    lanes = np.zeros(WIDTH)
    for first in range(0, 1000 - WIDTH + 1, WIDTH):
        lanes += x[first : first + WIDTH, 1]
    while len(lanes) > 1:
        lanes = lanes[: len(lanes) // 2] + lanes[len(lanes) // 2 :]
    for rest in x[1000 - 1000 % WIDTH :, 1]:
        lanes = lanes + rest
    assert totals == [lanes[0]] * 3


@pytest.mark.parametrize("how", ["plain", "transposed"])
@pytest.mark.parametrize(("axis", "size"), list(itertools.product([0, 1], EDGES[1:])))
def test_rows_and_columns(how: str, axis: int, size: int) -> None:
    x = laid_out(how, (5, size), np.random.default_rng(size).standard_normal(5000).astype(np.float32))
    x[-1, -1] = np.nan
    for op in ("sum", "max", "min"):
        start, kept = {"sum": 0.5, "max": -1.0, "min": 1.0}[op], "float64" if op == "sum" else "float32"
        found = np.full(x.shape[1 - axis], start, dtype=kept)
        there = np.broadcast_to(np.expand_dims(found, axis), x.shape)
        run(this_machine(), reduction("float32", kept, op, x, there), [[x, there]])
        if op == "sum":
            expected = np.array([math.fsum([start, *line]) for line in np.moveaxis(x, axis, 1).tolist()])
        else:
            expected = {"max": np.max, "min": np.min}[op](x, axis=axis, initial=start)
        assert not differ(found.astype(np.float32), expected.astype(np.float32)).any()


@pytest.mark.parametrize("dtype", ["bool", *INTEGERS])
def test_sums_of_integers(dtype: str) -> None:
    x, found = np.resize(special(dtype), 1000), np.ones(1, dtype=np.int64)
    there = np.broadcast_to(found, 1000)
    run(this_machine(), reduction(dtype, "int64", "sum", x, there), [[x, there]])
    assert found == np.sum(x, dtype=np.int64, initial=1)


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("op", ["max", "min"])
def test_extrema_of_integers(op: Literal["max", "min"], dtype: str) -> None:
    """All on one side of zero, so that zero, which is no identity, would be seen."""
    x = special(dtype)
    x = np.resize(x[x < 0] if op == "max" else x[x > 0], 1000)
    found = np.full(1, np.iinfo(dtype).min if op == "max" else np.iinfo(dtype).max, dtype=dtype)
    there = np.broadcast_to(found, 1000)
    run(this_machine(), reduction(dtype, dtype, op, x, there), [[x, there]])
    assert found == getattr(np, op)(x)


def test_stores_and_several_reductions_in_one_pass() -> None:
    x = np.random.default_rng(0).standard_normal(1000).astype(np.float32)
    before, total, largest = x.copy(), np.zeros(1), np.zeros(1, dtype=np.float32)
    body = (Instruction("square", "float32", (Load(0),)), Instruction("negative", "float32", (Load(0),)))
    reductions = (Reduction("sum", Value(0), 1), Reduction("max", Value(0), 2))
    arrays = x, np.broadcast_to(total, 1000), np.broadcast_to(largest, 1000)
    run(this_machine(), Kernel(1, operands_of(*arrays), (), body, ((0, Value(1)),), reductions), [arrays])
    assert x.tolist() == (-before).tolist()
    assert np.float32(total[0]) == np.float32(math.fsum((before * before).tolist()))
    assert largest[0] == (before * before).max()


def test_rows_are_the_unit_of_threads() -> None:
    """Split among threads or not, in one call or many, every row has the same result."""
    x, rows = np.random.default_rng(0).standard_normal((64, 4097)), 64
    results = []
    for pieces in (1, 2, 64):
        totals = np.zeros(rows)
        there = [np.broadcast_to(totals[i : i + 1], 4097) for i in range(rows)]
        kernel = reduction("float64", "float64", "sum", x[0], there[0])
        (call,) = this_machine().load([kernel])
        table = np.array([row(x[i], there[i]) for i in range(rows)], dtype=np.int64)
        with ThreadPoolExecutor(2) as pool:
            for part in [pool.submit(call, piece.ctypes.data, len(piece), 0) for piece in np.split(table, pieces)]:
                part.result()
        results.append(totals.tobytes())
    assert len(set(results)) == 1
