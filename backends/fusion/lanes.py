"""One operation as LLVM instructions, on one element or on a vector of them: NumPy's results, bit for bit.

Every operation here is exact or rounds once, as IEEE 754 and NumPy have it; no instruction carries a fast-math flag, so
LLVM neither contracts nor reorders. Names and results follow the Array API standard where NumPy does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial

FLOATS = ("float32", "float64")
INTEGERS = ("int32", "int64")
HALVES = ("float16", "bfloat16")
"""The dtypes that are converted, compared with nothing and computed in by nobody."""
DTYPES = (*FLOATS, *INTEGERS, "bool", *HALVES)

SIZES = {"float16": 2, "bfloat16": 2, "float32": 4, "float64": 8, "int32": 4, "int64": 8, "bool": 1}
_TYPES = {"float16": "half", "bfloat16": "i16", "float32": "float", "float64": "double", "int32": "i32", "int64": "i64"}
_TYPES["bool"] = "i1"
_SUFFIXES = {"float": "f32", "double": "f64"}
_BITS = {"float16": "i16", "float32": "i32", "float64": "i64"}


def memory_type(dtype: str) -> str:
    """Return the LLVM type of an element in memory."""
    return "i8" if dtype == "bool" else _TYPES[dtype]


class Lanes:
    """The instructions of a function body, written for `width` elements at a time (1: a scalar)."""

    def __init__(self, lines: list[str], declarations: set[str], width: int) -> None:
        self.lines = lines
        self.declarations = declarations
        self.width = width

    def let(self, instruction: str) -> str:
        """Append an instruction and return the name of its result."""
        name = f"%v{len(self.lines)}"
        self.lines.append(f"{name} = {instruction}")
        return name

    def wide(self, element: str) -> str:
        """Return the type of the lanes, given that of an element."""
        return element if self.width == 1 else f"<{self.width} x {element}>"

    def type(self, dtype: str) -> str:
        """Return the type that values of the dtype have between loads and stores."""
        return self.wide(_TYPES[dtype])

    def literal(self, element: str, value: str | int) -> str:
        """Return a constant in all lanes."""
        return str(value) if self.width == 1 else "<" + ", ".join([f"{element} {value}"] * self.width) + ">"

    def constant(self, dtype: str, value: float) -> str:
        """Return a number that the dtype represents exactly, in all lanes."""
        if dtype == "bool":
            return self.literal("i1", "true" if value else "false")
        if dtype in INTEGERS:
            return self.literal(_TYPES[dtype], int(value))
        return self.literal(_TYPES[dtype], _hexadecimal(value))

    def splat(self, dtype: str, scalar: str) -> str:
        """Return one element in all lanes."""
        if self.width == 1:
            return scalar
        t = self.type(dtype)
        first = self.let(f"insertelement {t} poison, {_TYPES[dtype]} {scalar}, i64 0")
        return self.let(f"shufflevector {t} {first}, {t} poison, <{self.width} x i32> zeroinitializer")

    def load(self, dtype: str, pointer: str) -> str:
        """Return the elements at an address that is aligned to one element."""
        element = memory_type(dtype)
        x = self.let(f"load {self.wide(element)}, ptr {pointer}, align {SIZES[dtype]}")
        return self.let(f"icmp ne {self.wide(element)} {x}, {self.literal(element, 0)}") if dtype == "bool" else x

    def store(self, dtype: str, x: str, pointer: str) -> None:
        """Write the elements to an address that is aligned to one element."""
        element = memory_type(dtype)
        if dtype == "bool":
            x = self.let(f"zext {self.type(dtype)} {x} to {self.wide(element)}")
        self.lines.append(f"store {self.wide(element)} {x}, ptr {pointer}, align {SIZES[dtype]}")

    def call(self, intrinsic: str, dtype: str, *args: str) -> str:
        """Return the result of an LLVM intrinsic whose arguments and result are of the dtype."""
        t = self.type(dtype)
        suffix = _SUFFIXES[_TYPES[dtype]]
        name = f"@llvm.{intrinsic}.{suffix if self.width == 1 else f'v{self.width}{suffix}'}"
        self.declarations.add(f"declare {t} {name}({', '.join([t] * len(args))})")
        return self.let(f"call {t} {name}({', '.join(f'{t} {x}' for x in args)})")

    def select(self, condition: str, dtype: str, x: str, y: str) -> str:
        """Return `x` where the condition holds, else `y`."""
        t = self.type(dtype)
        return self.let(f"select {self.wide('i1')} {condition}, {t} {x}, {t} {y}")

    def compare(self, predicate: str, dtype: str, x: str, y: str) -> str:
        """Return the truth of a comparison: LLVM's predicate of floats, ``"oeq"``, ``"ult"`` ..., or of integers."""
        instruction = "fcmp" if dtype in (*FLOATS, *HALVES) else "icmp"
        return self.let(f"{instruction} {predicate} {self.type(dtype)} {x}, {y}")

    def binary(self, instruction: str, dtype: str, x: str, y: str) -> str:
        """Return the result of an LLVM instruction of two arguments."""
        return self.let(f"{instruction} {self.type(dtype)} {x}, {y}")

    def cast(self, instruction: str, source: str, x: str, target: str) -> str:
        """Return the result of an LLVM conversion between two element types."""
        return self.let(f"{instruction} {self.wide(source)} {x} to {self.wide(target)}")

    def bits(self, dtype: str, x: str) -> str:
        """Return a float's bits as an integer."""
        return self.cast("bitcast", _TYPES[dtype], x, _BITS[dtype])


def _hexadecimal(value: float) -> str:
    """Return a float as LLVM reads it, whatever its width: the bits of the float64."""
    import struct

    return f"0x{struct.unpack('<Q', struct.pack('<d', value))[0]:016X}"


# Conversions


def convert(lanes: Lanes, source: str, target: str, x: str) -> str:
    """Return NumPy's (for bfloat16, ml_dtypes') conversion from one dtype to another.

    The 16-bit floats pass through float32; only float64 to float16 is rounded directly, as NumPy does.
    """
    if source == target:
        return x
    if source == "float16":
        return convert(lanes, "float32", target, lanes.cast("fpext", "half", x, "float"))
    if source == "bfloat16":
        shifted = lanes.binary("shl", "int32", lanes.cast("zext", "i16", x, "i32"), lanes.constant("int32", 16))
        return convert(lanes, "float32", target, lanes.cast("bitcast", "i32", shifted, "float"))
    if target == "float16":
        single = _to_odd(lanes, x) if source == "float64" else convert(lanes, source, "float32", x)
        return lanes.cast("fptrunc", "float", single, "half")
    if target == "bfloat16":
        return _to_bfloat16(lanes, convert(lanes, source, "float32", x))
    if target == "bool":
        return lanes.compare("une" if source in FLOATS else "ne", source, x, lanes.constant(source, 0))
    return lanes.cast(_conversion(source, target), _TYPES[source], x, _TYPES[target])


def _conversion(source: str, target: str) -> str:
    if source in FLOATS:
        return "fptosi" if target in INTEGERS else "fpext" if SIZES[target] > SIZES[source] else "fptrunc"
    if target in FLOATS:
        return "uitofp" if source == "bool" else "sitofp"
    return "zext" if source == "bool" else "sext" if SIZES[target] > SIZES[source] else "trunc"


def _to_odd(lanes: Lanes, x: str) -> str:
    """Return float64 as float32 rounded to odd, which a second rounding, to fewer bits, takes as if it were the first.

    The nearest float32 is moved towards zero if it lies beyond `x`; if it is not `x`, its last bit is set.
    """
    single = lanes.cast("fptrunc", "double", x, "float")
    back = lanes.cast("fpext", "float", single, "double")
    beyond = lanes.compare("ogt", "float64", _absolute(lanes, "float64", back), _absolute(lanes, "float64", x))
    inexact = lanes.compare("one", "float64", back, x)
    bits = lanes.bits("float32", single)
    bits = lanes.binary("sub", "int32", bits, convert(lanes, "bool", "int32", beyond))
    bits = lanes.binary("or", "int32", bits, convert(lanes, "bool", "int32", inexact))
    return lanes.cast("bitcast", "i32", bits, "float")


def _to_bfloat16(lanes: Lanes, x: str) -> str:
    """Return the upper half of a float32's bits, rounded to nearest even; NaN stays NaN, quiet, with its sign."""
    bits = lanes.bits("float32", x)
    upper = lanes.binary("lshr", "int32", bits, lanes.constant("int32", 16))
    even = lanes.binary("and", "int32", upper, lanes.constant("int32", 1))
    up = lanes.binary("add", "int32", even, lanes.constant("int32", 0x7FFF))
    rounded = lanes.binary("lshr", "int32", lanes.binary("add", "int32", bits, up), lanes.constant("int32", 16))
    sign = lanes.binary("and", "int32", upper, lanes.constant("int32", 0x8000))
    quiet = lanes.binary("or", "int32", sign, lanes.constant("int32", 0x7FC0))
    result = lanes.select(lanes.compare("uno", "float32", x, x), "int32", quiet, rounded)
    return lanes.cast("trunc", "i32", result, "i16")


# Operations: each takes the lanes, the dtype of its arguments, and the arguments.

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
_OPERATIONS: dict[str, tuple[int, Sequence[str], Emit]] = {
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
}
_PREDICATES: dict[str, tuple[int, Sequence[str], Emit]] = {
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
    if op in _OPERATIONS:
        count, dtypes, _ = _OPERATIONS[op]
        return dtype in dtypes and args == (dtype,) * count
    if op in _PREDICATES:
        count, dtypes, _ = _PREDICATES[op]
        return dtype == "bool" and len(args) == count and len(set(args)) == 1 and args[0] in dtypes
    return False


def operate(lanes: Lanes, op: str, dtype: str, dtypes: Sequence[str], args: Sequence[str]) -> str:
    """Return the result of `op` with a result of `dtype` on arguments of `dtypes`."""
    if op == "astype":
        return convert(lanes, dtypes[0], dtype, *args)
    if op == "where":
        return _where(lanes, dtype, *args)
    emit = (_OPERATIONS if op in _OPERATIONS else _PREDICATES)[op][2]
    return emit(lanes, dtypes[0], *args)
