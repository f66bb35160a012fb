"""Operations on elements in CUDA C++: IEEE 754's results, each rounded once, and CUDA's functions such as exp.

Names are those of the Array API standard. The compiler must not contract a multiplication and an addition, nor take
subnormal numbers for zero: see `uniopt.backends.fusion.cuda.OPTIONS`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from uniopt.backends.fusion.inner_loops import UNARY
from uniopt.backends.fusion.operations import FLOATS, INTEGERS

TYPES = {
    "float16": "unsigned short",
    "bfloat16": "unsigned short",
    "float32": "float",
    "float64": "double",
    "int32": "int",
    "int64": "long long",
    "bool": "bool",
}
"""What a value is between loads and stores: the 16-bit floats are their bits, converted and computed in by nobody."""

TRANSCENDENTAL = (*sorted(UNARY), "atan2", "hypot", "pow", "power")
"""Functions that CUDA has under the standard's names (power is its operator), for floats, within 1 or 2 ulp."""

PRELUDE = """\
typedef long long Index;
typedef unsigned long long Bits;

// Positions seldom need more than 32 bits, and dividing 64 takes several times as long.
__device__ inline Index quotient(Index n, Index d) {
  return ((n | d) >> 32) == 0 ? (Index)((unsigned)n / (unsigned)d) : n / d;
}
template <class T> __device__ inline T add(T x, T y) { return x + y; }
// NaN wins; of two zeros, whatever their signs, the second is taken.
template <class T> __device__ inline T maximum(T x, T y) { return x != x ? x : x > y ? x : y; }
template <class T> __device__ inline T minimum(T x, T y) { return x != x ? x : x < y ? x : y; }
template <class T> __device__ inline T sign(T x) { return x > 0 ? (T)1 : x < 0 ? (T)-1 : x != x ? x : (T)0; }
// Shifting by as many bits as there are, or more, or less than none, takes all bits away.
__device__ inline int shift_left(int x, int by) { return (unsigned)by < 32 ? (int)((unsigned)x << by) : 0; }
__device__ inline int shift_right(int x, int by) { return x >> ((unsigned)by < 32 ? by : 31); }
__device__ inline Index shift_left(Index x, Index by) { return (Bits)by < 64 ? (Index)((Bits)x << by) : 0; }
__device__ inline Index shift_right(Index x, Index by) { return x >> ((Bits)by < 64 ? by : 63); }
// Towards minus infinity, step by step as NumPy does it: of floats, and of integers, of which a division by 0 gives 0.
template <class T> __device__ inline T float_remainder(T x, T y) {
  const T rest = fmod(x, y);
  return rest == 0 ? (T)copysign((T)0, y) : (rest < 0) != (y < 0) ? rest + y : rest;
}
template <class T> __device__ inline T float_quotient(T x, T y) {
  if (y == 0) return x / y;
  const T rest = fmod(x, y);
  T exact = (x - rest) / y;
  if (rest != 0 && (rest < 0) != (y < 0)) exact -= 1;
  if (exact == 0) return copysign((T)0, x / y);
  const T whole = floor(exact);
  return exact - whole > (T)0.5 ? whole + 1 : whole;
}
template <class T> __device__ inline T integer_remainder(T x, T y) {
  const T rest = y == 0 || y == -1 ? 0 : x % y;
  return rest != 0 && (rest < 0) != (y < 0) ? rest + y : rest;
}
template <class T> __device__ inline T integer_quotient(T x, T y) {
  if (y == 0 || y == -1) return y == 0 ? 0 : (T)(0 - (Bits)x);
  return x / y - (x % y != 0 && (x < 0) != (y < 0));
}
__device__ inline float from_float16(unsigned short x) {
  float y;
  asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x));
  return y;
}
__device__ inline unsigned short to_float16(float x) {
  unsigned short y;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y) : "f"(x));
  return y;
}
__device__ inline unsigned short to_float16(double x) {
  unsigned short y;
  asm("cvt.rn.f16.f64 %0, %1;" : "=h"(y) : "d"(x));
  return y;
}
__device__ inline float from_bfloat16(unsigned short x) { return __uint_as_float((unsigned)x << 16); }
__device__ inline unsigned short to_bfloat16(float x) {
  const unsigned bits = __float_as_uint(x);
  const unsigned rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
  return (unsigned short)(x != x ? bits >> 16 | 0x40 : rounded);
}
"""


def convert(source: str, target: str, x: str) -> str:
    """Return a conversion from one dtype to another; the 16-bit floats pass through float32, float64 to float16 not."""
    if source == target:
        return x
    if source in ("float16", "bfloat16"):
        return convert("float32", target, f"from_{source}({x})")
    if target in ("float16", "bfloat16"):
        return f"to_{target}({x if (source, target) == ('float64', 'float16') else convert(source, 'float32', x)})"
    return f"({x} != 0)" if target == "bool" else f"({TYPES[target]}){x}"


def operate(op: str, dtype: str, dtypes: Sequence[str], args: Sequence[str]) -> str:
    """Return the result of `op` with a result of `dtype` on arguments of `dtypes`; the arguments are names."""
    if op == "astype":
        return convert(dtypes[0], dtype, args[0])
    if op in ("logical_and", "logical_or", "logical_xor", "logical_not"):
        args = [convert(d, "bool", x) for d, x in zip(dtypes, args, strict=True)]
        dtypes = ["bool"] * len(args)
    if op in _OPERATORS:
        x, y = args
        if dtype in INTEGERS and op in ("add", "subtract", "multiply"):  # which wrap around
            x, y = _unsigned(dtype, x), _unsigned(dtype, y)
        text = f"{x} {_OPERATORS[op]} {y}"
        return f"({TYPES[dtype]})({text})" if dtype in INTEGERS or dtype == "bool" else text
    if op in _FLOAT_FUNCTIONS:
        return f"{_FLOAT_FUNCTIONS[op]}{'f' if dtypes[0] == 'float32' else ''}({', '.join(args)})"
    return _OTHERS[op](dtypes[-1], *args)


def extremum(op: str, dtype: str) -> str:
    """Return the number of a floating-point dtype that changes no maximum (minimum) it is part of."""
    return f"({TYPES[dtype]})__uint_as_float({'0xff800000u' if op == 'max' else '0x7f800000u'})"


_OPERATORS = {
    "add": "+", "subtract": "-", "multiply": "*", "divide": "/",
    "equal": "==", "not_equal": "!=", "less": "<", "less_equal": "<=", "greater": ">", "greater_equal": ">=",
    "bitwise_and": "&", "bitwise_or": "|", "bitwise_xor": "^",
    "logical_and": "&", "logical_or": "|", "logical_xor": "^",
}  # fmt: skip
_FLOAT_FUNCTIONS = {name: name for name in (*TRANSCENDENTAL, "sqrt", "floor", "ceil", "trunc", "copysign", "nextafter")}
_FLOAT_FUNCTIONS["round"] = "rint"  # to even
_FLOAT_FUNCTIONS["power"] = "pow"


def _unsigned(dtype: str, x: str) -> str:
    return f"(unsigned {TYPES[dtype]}){x}"


def _negative(dtype: str, x: str) -> str:
    return f"({TYPES[dtype]})(0 - {_unsigned(dtype, x)})" if dtype in INTEGERS else f"-{x}"


def _abs(dtype: str, x: str) -> str:
    if dtype in FLOATS:
        return f"fabs{'f' if dtype == 'float32' else ''}({x})"
    return f"({x} < 0 ? {_negative(dtype, x)} : {x})"


def _against_infinity(comparison: str) -> Callable[..., str]:
    return lambda dtype, x: f"{_abs(dtype, x)} {comparison} {extremum('min', dtype)}"


def _logaddexp(dtype: str, x: str, y: str) -> str:
    f = "f" if dtype == "float32" else ""
    beyond = [f"{a} + log1p{f}(exp{f}({b} - {a}))" for a, b in ((x, y), (y, x))]
    return f"({x} == {y} ? {x} + ({TYPES[dtype]}){math.log(2)!r} : {x} > {y} ? {beyond[0]} : {beyond[1]})"


def _division(part: str) -> Callable[..., str]:
    return lambda dtype, x, y: f"{'integer' if dtype in INTEGERS else 'float'}_{part}({x}, {y})"


_OTHERS: dict[str, Callable[..., str]] = {
    "positive": lambda dtype, x: x,
    "negative": _negative,
    "abs": _abs,
    "square": lambda dtype, x: operate("multiply", dtype, [dtype, dtype], [x, x]),
    "reciprocal": lambda dtype, x: f"1 / {x}",
    "sign": lambda dtype, x: f"sign({x})",
    "maximum": lambda dtype, x, y: f"maximum({x}, {y})",
    "minimum": lambda dtype, x, y: f"minimum({x}, {y})",
    "remainder": _division("remainder"),
    "floor_divide": _division("quotient"),
    "logaddexp": _logaddexp,
    "clip": lambda dtype, x, low, high: f"minimum(maximum({x}, {low}), {high})",
    "where": lambda dtype, condition, x, y: f"({condition} ? {x} : {y})",
    "isnan": lambda dtype, x: f"{x} != {x}",
    "isfinite": _against_infinity("<"),
    "isinf": _against_infinity("=="),
    "signbit": lambda dtype, x: f"{operate('copysign', dtype, [dtype], [f'({TYPES[dtype]})1', x])} < 0",
    "logical_not": lambda dtype, x: f"!{x}",
    "bitwise_invert": lambda dtype, x: f"!{x}" if dtype == "bool" else f"~{x}",
    "bitwise_left_shift": lambda dtype, x, by: f"shift_left({x}, {by})",
    "bitwise_right_shift": lambda dtype, x, by: f"shift_right({x}, {by})",
}
