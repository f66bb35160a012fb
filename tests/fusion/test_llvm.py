"""Operations in machine code: every one has NumPy's bits, on every processor."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from uniopt.backends.fusion.arithmetic import OPERATIONS, PREDICATES, supported
from uniopt.backends.fusion.kernel import Instruction, Kernel, Load, Value
from uniopt.backends.fusion.lanes import DTYPES, FLOATS, INTEGERS
from uniopt.backends.fusion.llvm import WIDTH
from uniopt.backends.fusion.machine import Machine, this_machine

from tests.fusion.machine_code import Array, differ, kind, operands_of, run, special


@pytest.fixture(scope="module", params=["here", "generic"])
def machine(request: pytest.FixtureRequest) -> Machine:
    """This processor, and the least of its kind, which has no instruction for float16 and none for rounding."""
    return this_machine() if request.param == "here" else Machine("generic", "")


def combinations(*arrays: Array) -> list[Array]:
    """Return every combination of the arrays' elements, as one array for each argument."""
    return [np.ascontiguousarray(x.reshape(-1)) for x in np.meshgrid(*arrays, indexing="ij")]


def check(machine: Machine, op: str, args: Sequence[Array], expected: Array) -> None:
    """Hold one operation to what is expected, in vectors and, in rows shorter than a vector, one by one."""
    dtype = expected.dtype.name
    assert supported(op, dtype, [x.dtype.name for x in args])
    result = np.empty_like(expected)
    body = (Instruction(op, dtype, tuple(Load(i) for i in range(len(args)))),)
    kernel = Kernel(1, operands_of(*args, result), (), body, ((len(args), Value(0)),))
    for length in (len(result), WIDTH - 1):
        cuts = [slice(i, i + length) for i in range(0, len(result), length)]
        result[:] = expected[::-1]
        run(machine, kernel, [[x[cut] for x in (*args, result)] for cut in cuts])
        wrong = np.flatnonzero(differ(result, expected))[:5]
        assert not len(wrong), [([x[i] for x in args], result[i], expected[i]) for i in wrong]


@pytest.mark.parametrize(
    ("op", "dtype"),
    [(op, d) for table in (OPERATIONS, PREDICATES) for op, (_, dtypes, _) in table.items() for d in dtypes],
)
def test_operation(machine: Machine, op: str, dtype: str) -> None:
    count = (OPERATIONS if op in OPERATIONS else PREDICATES)[op][0]
    args = [np.tile(x, 12 if count == 1 else 1) for x in combinations(*[special(dtype)] * count)]
    with np.errstate(all="ignore"):
        check(machine, op, args, getattr(np, op)(*args))


@pytest.mark.parametrize("dtype", DTYPES)
def test_where(machine: Machine, dtype: str) -> None:
    args = combinations(special("bool"), special(dtype), np.tile(special(dtype), 4))
    check(machine, "where", args, np.where(*args))


@pytest.mark.parametrize("target", DTYPES)
@pytest.mark.parametrize("source", DTYPES)
def test_astype(machine: Machine, source: str, target: str) -> None:
    x = np.tile(special(source), 12)
    with np.errstate(all="ignore"):
        if target in INTEGERS and source not in ("bool", *INTEGERS):  # what is out of range, C leaves to the machine
            x = x[np.abs(x.astype(np.float64)) < np.iinfo(target).max]
        check(machine, "astype", [x], x.astype(kind(target)))


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_every_16_bit_number_and_every_rounding_to_it(machine: Machine, name: str) -> None:
    every = np.arange(65536, dtype=np.uint16).view(kind(name))
    infinity = np.flatnonzero(every == np.inf)[0]
    positive = every[:infinity].astype(np.float64)
    between = (positive[1:] + positive[:-1]) / 2
    ties = [between, np.nextafter(between, np.inf), np.nextafter(between, 0), between.astype(np.float32)]
    ties += [np.nextafter(ties[3], np.float32(np.inf)), np.nextafter(ties[3], np.float32(0)), 2 * positive[-1:]]
    doubles = np.concatenate([*ties, *(-x for x in ties)])
    with np.errstate(all="ignore"):
        for dtype in FLOATS:
            check(machine, "astype", [every], every.astype(dtype))
            check(machine, "astype", [doubles.astype(dtype)], doubles.astype(dtype).astype(kind(name)))


def test_what_is_not_supported() -> None:
    assert not supported("exp", "int32", ["int32"])
    assert not supported("add", "float16", ["float16", "float16"])
    assert not supported("add", "float64", ["float32", "float64"])
    assert not supported("divide", "int32", ["int32", "int32"])
    assert not supported("less", "float32", ["float32", "float32"])
    assert not supported("where", "float32", ["float32", "float32", "float32"])
    assert not supported("astype", "complex64", ["float32"])
