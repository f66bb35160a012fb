"""Conversions between dtypes, with the bits that NumPy and ml_dtypes give."""

from __future__ import annotations

from uniopt.backends.fusion.lanes import FLOATS, INTEGERS, SIZES, TYPES, Lanes


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
    return lanes.cast(_conversion(source, target), TYPES[source], x, TYPES[target])


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
    beyond = lanes.compare("ogt", "float64", lanes.call("fabs", "float64", back), lanes.call("fabs", "float64", x))
    inexact = lanes.compare("one", "float64", back, x)
    bits = lanes.cast("bitcast", "float", single, "i32")
    bits = lanes.binary("sub", "int32", bits, convert(lanes, "bool", "int32", beyond))
    bits = lanes.binary("or", "int32", bits, convert(lanes, "bool", "int32", inexact))
    return lanes.cast("bitcast", "i32", bits, "float")


def _to_bfloat16(lanes: Lanes, x: str) -> str:
    """Return the upper half of a float32's bits, rounded to nearest even; NaN stays NaN, quiet, with its sign."""
    bits = lanes.cast("bitcast", "float", x, "i32")
    upper = lanes.binary("lshr", "int32", bits, lanes.constant("int32", 16))
    even = lanes.binary("and", "int32", upper, lanes.constant("int32", 1))
    up = lanes.binary("add", "int32", even, lanes.constant("int32", 0x7FFF))
    rounded = lanes.binary("lshr", "int32", lanes.binary("add", "int32", bits, up), lanes.constant("int32", 16))
    quiet = lanes.binary("or", "int32", upper, lanes.constant("int32", 0x40))
    result = lanes.select(lanes.compare("uno", "float32", x, x), "int32", quiet, rounded)
    return lanes.cast("trunc", "i32", result, "i16")


# What LLVM calls to convert float16 where the processor has no instruction for it. The names are those of compilers'
# run-time libraries, which no Python process is sure to have loaded, so they are defined with the kernel.
HALF_CONVERSIONS = """\
define weak_odr float @__extendhfsf2(half %x) nounwind {
  %half = bitcast half %x to i16
  %all = zext i16 %half to i32
  %rest = and i32 %all, 32767
  %moved = shl i32 %rest, 13
  %tiny = bitcast i32 %moved to float
  %scaled = fmul float %tiny, 0x46F0000000000000 ; 2**112, between the two biases; it takes subnormals along
  %finite = bitcast float %scaled to i32
  %infinite = or i32 %moved, 2139095040
  %large = icmp uge i32 %rest, 31744
  %chosen = select i1 %large, i32 %infinite, i32 %finite
  %sign = and i32 %all, 32768
  %top = shl i32 %sign, 16
  %bits = or i32 %chosen, %top
  %result = bitcast i32 %bits to float
  ret float %result
}
define weak_odr half @__truncsfhf2(float %x) nounwind {
  %all = bitcast float %x to i32
  %rest = and i32 %all, 2147483647
  %down = lshr i32 %rest, 13
  %odd = and i32 %down, 1
  %almost = add i32 %odd, 4095
  %rounded = add i32 %rest, %almost
  %rebiased = sub i32 %rounded, 939524096
  %normal = lshr i32 %rebiased, 13
  %absolute = bitcast i32 %rest to float
  %shifted = fadd float %absolute, 0.5 ; whose last bit is float16's smallest number
  %counted = bitcast float %shifted to i32
  %subnormal = sub i32 %counted, 1056964608
  %small = icmp ult i32 %rest, 947912704
  %finite = select i1 %small, i32 %subnormal, i32 %normal
  %large = icmp uge i32 %rest, 1199570944
  %number = select i1 %large, i32 31744, i32 %finite
  %nan = icmp ugt i32 %rest, 2139095040
  %chosen = select i1 %nan, i32 32256, i32 %number
  %high = lshr i32 %all, 16
  %sign = and i32 %high, 32768
  %bits = or i32 %chosen, %sign
  %half = trunc i32 %bits to i16
  %result = bitcast i16 %half to half
  ret half %result
}
"""
