"""Operations on elements: NumPy's results, bit for bit.

Every one is exact or rounds once, as IEEE 754 and NumPy have it, or is a call of NumPy's own loop; no instruction
carries a fast-math flag, so LLVM neither contracts nor reorders. Names are those of the Array API standard.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial

from uniopt.backends.fusion.calls import call
from uniopt.backends.fusion.conversion import convert
from uniopt.backends.fusion.inner_loops import BINARY, DIVISIONS, UNARY
from uniopt.backends.fusion.lanes import DTYPES, FLOATS, INTEGERS, SIZES, TYPES, Lanes

# Each takes the lanes, the dtype of its arguments, and the arguments.

Emit = Callable[..., str]


def _instruction(name: str, lanes: Lanes, dtype: str, *args: str) -> str:
    return lanes.binary(name, dtype, *args)


def _intrinsic(name: str, lanes: Lanes, dtype: str, *args: str) -> str:
    return lanes.call(name, dtype, *args)


def _compare(floats: str, integers: str, lanes: Lanes, dtype: str, x: str, y: str) -> str:
    return lanes.compare(floats if dtype in FLOATS else integers, dtype, x, y)


def _positive(lanes: Lanes, dtype: str, x: str) -> str:
    return x


def _negative(lanes: Lanes, dtype: str, x: str) -> str:
    if dtype in FLOATS:
        return lanes.let(f"fneg {lanes.type(dtype)} {x}")
    return lanes.binary("sub", dtype, lanes.constant(dtype, 0), x)


def _absolute(lanes: Lanes, dtype: str, x: str) -> str:
    if dtype in FLOATS:
        return lanes.call("fabs", dtype, x)
    negative = lanes.compare("slt", dtype, x, lanes.constant(dtype, 0))
    return lanes.select(negative, dtype, _negative(lanes, dtype, x), x)


def _square(lanes: Lanes, dtype: str, x: str) -> str:
    return lanes.binary("fmul" if dtype in FLOATS else "mul", dtype, x, x)


def _reciprocal(lanes: Lanes, dtype: str, x: str) -> str:
    return lanes.binary("fdiv", dtype, lanes.constant(dtype, 1), x)


def _sign(lanes: Lanes, dtype: str, x: str) -> str:
    """Zero of either sign gives +0; NaN gives itself."""
    zero, one, minus = (lanes.constant(dtype, value) for value in (0, 1, -1))
    rest = zero
    if dtype in FLOATS:
        rest = lanes.select(lanes.compare("uno", dtype, x, x), dtype, x, zero)
    negative = lanes.select(_compare("olt", "slt", lanes, dtype, x, zero), dtype, minus, rest)
    return lanes.select(_compare("ogt", "sgt", lanes, dtype, x, zero), dtype, one, negative)


def _extremum(floats: str, integers: str, lanes: Lanes, dtype: str, x: str, y: str) -> str:
    """NaN wins, the first one if both are; of two zeros, whatever their signs, the second is taken."""
    result = lanes.select(_compare(floats, integers, lanes, dtype, x, y), dtype, x, y)
    return lanes.select(lanes.compare("uno", dtype, x, x), dtype, x, result) if dtype in FLOATS else result


maximum = partial(_extremum, "ogt", "sgt")
minimum = partial(_extremum, "olt", "slt")


def _clip(lanes: Lanes, dtype: str, x: str, low: str, high: str) -> str:
    return minimum(lanes, dtype, maximum(lanes, dtype, x, low), high)


def _where(lanes: Lanes, dtype: str, condition: str, x: str, y: str) -> str:
    return lanes.select(condition, dtype, x, y)


def _isnan(lanes: Lanes, dtype: str, x: str) -> str:
    return lanes.compare("uno", dtype, x, x)


def _against_infinity(predicate: str, lanes: Lanes, dtype: str, x: str) -> str:
    return lanes.compare(predicate, dtype, _absolute(lanes, dtype, x), lanes.constant(dtype, float("inf")))


def _signbit(lanes: Lanes, dtype: str, x: str) -> str:
    bits = f"int{8 * SIZES[dtype]}"
    x = lanes.cast("bitcast", TYPES[dtype], x, TYPES[bits])
    return lanes.compare("slt", bits, x, lanes.constant(bits, 0))


def _logical(instruction: str, lanes: Lanes, dtype: str, x: str, y: str) -> str:
    return lanes.binary(instruction, "bool", convert(lanes, dtype, "bool", x), convert(lanes, dtype, "bool", y))


def _logical_not(lanes: Lanes, dtype: str, x: str) -> str:
    return lanes.binary("xor", "bool", convert(lanes, dtype, "bool", x), lanes.constant("bool", True))


def _invert(lanes: Lanes, dtype: str, x: str) -> str:
    return lanes.binary("xor", dtype, x, lanes.constant(dtype, True if dtype == "bool" else -1))


def _shift(instruction: str, lanes: Lanes, dtype: str, x: str, by: str) -> str:
    """By as many bits as there are, or more, or less than none: all bits go (LLVM: undefined)."""
    inside = lanes.compare("ult", dtype, by, lanes.constant(dtype, 8 * SIZES[dtype]))
    if instruction == "ashr":
        return lanes.binary(
            "ashr", dtype, x, lanes.select(inside, dtype, by, lanes.constant(dtype, 8 * SIZES[dtype] - 1))
        )
    zero = lanes.constant(dtype, 0)
    return lanes.select(inside, dtype, lanes.binary("shl", dtype, x, lanes.select(inside, dtype, by, zero)), zero)


def _either(floats: str, integers: str, lanes: Lanes, dtype: str, *args: str) -> str:
    return lanes.binary(floats if dtype in FLOATS else integers, dtype, *args)


_NUMBERS = (*FLOATS, *INTEGERS)
_ALL = (*_NUMBERS, "bool")
OPERATIONS: dict[str, tuple[int, Sequence[str], Emit]] = {
    "add": (2, _NUMBERS, partial(_either, "fadd", "add")),
    "subtract": (2, _NUMBERS, partial(_either, "fsub", "sub")),
    "multiply": (2, _NUMBERS, partial(_either, "fmul", "mul")),
    "divide": (2, FLOATS, partial(_instruction, "fdiv")),
    "reciprocal": (1, FLOATS, _reciprocal),
    "positive": (1, _NUMBERS, _positive),
    "negative": (1, _NUMBERS, _negative),
    "abs": (1, _NUMBERS, _absolute),
    "square": (1, _NUMBERS, _square),
    "sign": (1, _NUMBERS, _sign),
    "maximum": (2, _NUMBERS, maximum),
    "minimum": (2, _NUMBERS, minimum),
    "clip": (3, _NUMBERS, _clip),
    "sqrt": (1, FLOATS, partial(_intrinsic, "sqrt")),
    "floor": (1, FLOATS, partial(_intrinsic, "floor")),
    "ceil": (1, FLOATS, partial(_intrinsic, "ceil")),
    "trunc": (1, FLOATS, partial(_intrinsic, "trunc")),
    "round": (1, FLOATS, partial(_intrinsic, "rint")),  # to even; LLVM's roundeven may call what no libm has
    "copysign": (2, FLOATS, partial(_intrinsic, "copysign")),
    "bitwise_and": (2, (*INTEGERS, "bool"), partial(_instruction, "and")),
    "bitwise_or": (2, (*INTEGERS, "bool"), partial(_instruction, "or")),
    "bitwise_xor": (2, (*INTEGERS, "bool"), partial(_instruction, "xor")),
    "bitwise_invert": (1, (*INTEGERS, "bool"), _invert),
    "bitwise_left_shift": (2, INTEGERS, partial(_shift, "shl")),
    "bitwise_right_shift": (2, INTEGERS, partial(_shift, "ashr")),
    **{op: (1, FLOATS, partial(call, op)) for op in sorted(UNARY)},
    **{op: (2, _NUMBERS if op in DIVISIONS else FLOATS, partial(call, op)) for op in sorted(BINARY)},
}
PREDICATES: dict[str, tuple[int, Sequence[str], Emit]] = {
    "equal": (2, _ALL, partial(_compare, "oeq", "eq")),
    "not_equal": (2, _ALL, partial(_compare, "une", "ne")),
    "less": (2, _NUMBERS, partial(_compare, "olt", "slt")),
    "less_equal": (2, _NUMBERS, partial(_compare, "ole", "sle")),
    "greater": (2, _NUMBERS, partial(_compare, "ogt", "sgt")),
    "greater_equal": (2, _NUMBERS, partial(_compare, "oge", "sge")),
    "logical_and": (2, _ALL, partial(_logical, "and")),
    "logical_or": (2, _ALL, partial(_logical, "or")),
    "logical_xor": (2, _ALL, partial(_logical, "xor")),
    "logical_not": (1, _ALL, _logical_not),
    "isnan": (1, FLOATS, _isnan),
    "isfinite": (1, FLOATS, partial(_against_infinity, "olt")),
    "isinf": (1, FLOATS, partial(_against_infinity, "oeq")),
    "signbit": (1, FLOATS, _signbit),
}


def supported(op: str, dtype: str, args: Iterable[str]) -> bool:
    """Return whether `op` on arguments of these dtypes, with a result of `dtype`, can be part of a kernel.

    Arguments of one operation have one dtype (`where`'s condition apart); `astype` is between any two of `DTYPES`.
    """
    args = tuple(args)
    if op == "astype":
        return len(args) == 1 and args[0] in DTYPES and dtype in DTYPES
    if op == "where":
        return dtype in DTYPES and args == ("bool", dtype, dtype)
    if op in OPERATIONS:
        count, dtypes, _ = OPERATIONS[op]
        return dtype in dtypes and args == (dtype,) * count
    if op in PREDICATES:
        count, dtypes, _ = PREDICATES[op]
        return dtype == "bool" and len(args) == count and len(set(args)) == 1 and args[0] in dtypes
    return False


def operate(lanes: Lanes, op: str, dtype: str, dtypes: Sequence[str], args: Sequence[str]) -> str:
    """Return the result of `op` with a result of `dtype` on arguments of `dtypes`."""
    if op == "astype":
        return convert(lanes, dtypes[0], dtype, *args)
    if op == "where":
        return _where(lanes, dtype, *args)
    emit = (OPERATIONS if op in OPERATIONS else PREDICATES)[op][2]
    return emit(lanes, dtypes[0], *args)
