"""LLVM's instructions, for one element or for a vector of them."""

from __future__ import annotations

import struct

FLOATS = ("float32", "float64")
INTEGERS = ("int32", "int64")
HALVES = ("float16", "bfloat16")
"""The dtypes that are converted, compared with nothing and computed in by nobody."""
DTYPES = (*FLOATS, *INTEGERS, "bool", *HALVES)
SIZES = {"float16": 2, "bfloat16": 2, "float32": 4, "float64": 8, "int32": 4, "int64": 8, "bool": 1}
TYPES = {
    "float16": "half",
    "bfloat16": "i16",
    "float32": "float",
    "float64": "double",
    "int32": "i32",
    "int64": "i64",
    "bool": "i1",
}
"""What a value is between loads and stores."""

_SUFFIXES = {"float": "f32", "double": "f64"}


def memory_type(dtype: str) -> str:
    """Return the LLVM type of an element in memory."""
    return "i8" if dtype == "bool" else TYPES[dtype]


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
        return self.wide(TYPES[dtype])

    def literal(self, element: str, value: str | int) -> str:
        """Return a constant in all lanes."""
        return str(value) if self.width == 1 else "<" + ", ".join([f"{element} {value}"] * self.width) + ">"

    def constant(self, dtype: str, value: float) -> str:
        """Return a number that the dtype represents exactly, in all lanes."""
        if dtype == "bool":
            return self.literal("i1", "true" if value else "false")
        if dtype in INTEGERS:
            return self.literal(TYPES[dtype], int(value))
        return self.literal(TYPES[dtype], _hexadecimal(value))

    def splat(self, dtype: str, scalar: str) -> str:
        """Return one element in all lanes."""
        if self.width == 1:
            return scalar
        t = self.type(dtype)
        first = self.let(f"insertelement {t} poison, {TYPES[dtype]} {scalar}, i64 0")
        return self.let(f"shufflevector {t} {first}, {t} poison, <{self.width} x i32> zeroinitializer")

    def part(self, dtype: str, x: str, first: int, count: int) -> str:
        """Return `count` of the lanes, from `first` on."""
        if count == 1:
            return self.let(f"extractelement {self.type(dtype)} {x}, i64 {first}")
        chosen = ", ".join(f"i32 {i}" for i in range(first, first + count))
        return self.let(f"shufflevector {self.type(dtype)} {x}, {self.type(dtype)} poison, <{count} x i32> <{chosen}>")

    def load(self, dtype: str, pointer: str, stride: str | None = None) -> str:
        """Return the elements that begin at an address, side by side or at a distance of `stride` bytes."""
        element = memory_type(dtype)
        t = self.wide(element)
        if stride is None or self.width == 1:
            x = self.let(f"load {t}, ptr {pointer}, align {SIZES[dtype]}")
        else:
            x = "poison"
            for i in range(self.width):
                one = self.let(f"load {element}, ptr {pointer}, align {SIZES[dtype]}")
                x = self.let(f"insertelement {t} {x}, {element} {one}, i64 {i}")
                pointer = self.let(f"getelementptr i8, ptr {pointer}, i64 {stride}")
        return self.let(f"icmp ne {t} {x}, {self.literal(element, 0)}") if dtype == "bool" else x

    def count(self, dtype: str, pointer: str, stride: str | None = None) -> str:
        """Return the addresses of elements, counted in elements, from the first one on."""
        size = SIZES[dtype]

        def counted(size_in_bytes: str) -> str:
            found = self.let(f"ashr exact i64 {size_in_bytes}, {size.bit_length() - 1}")
            return self.let(f"trunc i64 {found} to {TYPES[dtype]}") if size < SIZES["int64"] else found

        start = self.splat(dtype, counted(self.let(f"ptrtoint ptr {pointer} to i64")))
        if self.width == 1:
            return start
        numbers = f"<{', '.join(f'{TYPES[dtype]} {i}' for i in range(self.width))}>"
        steps = numbers if stride is None else self.binary("mul", dtype, numbers, self.splat(dtype, counted(stride)))
        return self.binary("add", dtype, start, steps)

    def store(self, dtype: str, x: str, pointer: str, stride: str | None = None) -> None:
        """Write the elements from an address on, side by side or at a distance of `stride` bytes."""
        element = memory_type(dtype)
        t = self.wide(element)
        if dtype == "bool":
            x = self.let(f"zext {self.type(dtype)} {x} to {t}")
        if stride is None or self.width == 1:
            self.lines.append(f"store {t} {x}, ptr {pointer}, align {SIZES[dtype]}")
            return
        for i in range(self.width):
            one = self.let(f"extractelement {t} {x}, i64 {i}")
            self.lines.append(f"store {element} {one}, ptr {pointer}, align {SIZES[dtype]}")
            pointer = self.let(f"getelementptr i8, ptr {pointer}, i64 {stride}")

    def call(self, intrinsic: str, dtype: str, *args: str) -> str:
        """Return the result of an LLVM intrinsic whose arguments and result are of the dtype."""
        t = self.type(dtype)
        suffix = _SUFFIXES[TYPES[dtype]]
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


def _hexadecimal(value: float) -> str:
    """Return a float as LLVM reads it, whatever its width: the bits of the float64."""
    return f"0x{struct.unpack('<Q', struct.pack('<d', value))[0]:016X}"
