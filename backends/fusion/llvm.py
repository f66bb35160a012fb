"""A kernel as LLVM's text: `void kernel(const int64_t *table, int64_t rows, const double *arguments)`.

The innermost loop takes `WIDTH` elements at a time, written as vectors, and the rest one by one; so LLVM has nothing to
find out about the addresses, and a reduction has the same partial sums on every machine, whatever its registers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from uniopt.backends.fusion.kernel import Argument, Constant, Instruction, Kernel, Load, Reduction, Source, Value
from uniopt.backends.fusion.lanes import (
    FLOATS,
    SIZES,
    Lanes,
    convert,
    maximum,
    memory_type,
    minimum,
    operate,
)

WIDTH = 16
"""Elements of a vector: two AVX2 registers of float32, so that a long body still has registers to spare."""

_AHEAD = 1024
"""Bytes by which memory is asked for before it is read; it takes a tenth off the time of loops over large arrays."""
_LINE = 64


def emit(kernel: Kernel) -> str:
    """Return the kernel as LLVM's text, the same for every machine."""
    return _Emission(kernel).text()


@dataclass
class _Carried:
    """Values that a loop carries from one round to the next: their names in the loop and after it, what they become."""

    names: list[str]
    become: list[str] = field(default_factory=list)


class _Emission:
    """The text under way."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.lines: list[str] = []
        self.declarations: set[str] = set()
        self.block = "entry"
        self.one = Lanes(self.lines, self.declarations, 1)
        written = {operand for operand, _ in kernel.stores}
        inner = [operand.inner for operand in kernel.operands]
        self.vectorised = "strided" not in inner and all(inner[operand] != "same" for operand in written)
        self.fixed = [i for i in self._loaded() if inner[i] == "same" and i not in written]
        self.kept = [r for r in kernel.reductions if inner[r.operand] == "same"]  # in registers, for a whole inner loop
        self.updated = [r for r in kernel.reductions if inner[r.operand] != "same"]  # in memory, element by element

    def _loaded(self) -> list[int]:
        k = self.kernel
        sources = [*(x for i in k.body for x in i.args), *(x for _, x in k.stores), *(r.source for r in k.reductions)]
        return sorted({x.operand for x in sources if isinstance(x, Load)})

    def text(self) -> str:
        self._rows()
        declarations = "".join(f"{line}\n" for line in sorted(self.declarations))
        body = "".join(line + "\n" if line.endswith(":") else f"  {line}\n" for line in self.lines)
        halves = _HALF_CONVERSIONS if any(o.dtype == "float16" for o in self.kernel.operands) else ""
        head = "define void @kernel(ptr %table, i64 %rows, ptr %arguments) nounwind {\nentry:\n"
        return f"{declarations}{halves}{head}{body}  ret void\n}}\n"

    # The loops

    def _rows(self) -> None:
        k, let = self.kernel, self.one.let
        with self._loop("row", "0", "%rows"):
            base = let(f"mul i64 %row, {k.columns}")
            line = let(f"getelementptr i64, ptr %table, i64 {base}")

            def column(i: int) -> str:
                return let(f"load i64, ptr {let(f'getelementptr i64, ptr {line}, i64 {i}')}, align 8")

            extents = [column(i) for i in range(k.rank)]
            addresses, strides = [], []
            for i in range(len(k.operands)):
                first = k.rank + i * (1 + k.rank)
                addresses.append(let(f"inttoptr i64 {column(first)} to ptr"))
                strides.append([column(first + 1 + j) for j in range(k.rank)])
            arguments = self._arguments()
            # An operand that stays where it is is read before the innermost loop: there has to be something in it.
            some = let(f"icmp sgt i64 {extents[-1]}, 0")
            self._branch(some, "some", "row.next")
            self._label("some")
            self._nest(0, extents, addresses, strides, arguments)

    def _arguments(self) -> list[str]:
        k, let = self.kernel, self.one.let
        base = let(f"mul i64 %row, {len(k.arguments)}")
        line = let(f"getelementptr double, ptr %arguments, i64 {base}")
        found = []
        for i, dtype in enumerate(k.arguments):
            x = self.one.load("float64", let(f"getelementptr double, ptr {line}, i64 {i}"))
            found.append(convert(self.one, "float64", dtype, x))
        return found

    def _nest(
        self,
        depth: int,
        extents: Sequence[str],
        addresses: Sequence[str],
        strides: Sequence[Sequence[str]],
        arguments: Sequence[str],
    ) -> None:
        if depth == self.kernel.rank - 1:
            self._innermost(extents[-1], addresses, [s[-1] for s in strides], arguments)
            return
        let, index = self.one.let, f"i{depth}"
        with self._loop(index, "0", extents[depth]):
            moved = []
            for address, stride in zip(addresses, strides, strict=True):
                offset = let(f"mul i64 %{index}, {stride[depth]}")
                moved.append(let(f"getelementptr i8, ptr {address}, i64 {offset}"))
            self._nest(depth + 1, extents, moved, strides, arguments)

    def _innermost(
        self, extent: str, addresses: Sequence[str], strides: Sequence[str], arguments: Sequence[str]
    ) -> None:
        k, one = self.kernel, self.one
        fixed = {i: one.load(k.operands[i].dtype, addresses[i]) for i in self.fixed}
        uniform: dict[int, str] = {}
        for i, instruction in enumerate(k.body):
            if all(self._is_uniform(x, uniform) for x in instruction.args):
                uniform[i] = self._instruction(one, instruction, uniform, fixed, arguments)

        def step(lanes: Lanes, name: str, partial: Sequence[str]) -> list[str]:
            """Write one round of the loop; return what the reductions' partial results become."""
            pointers = [self._pointer(i, name, addresses, strides) for i in range(len(k.operands))]
            if lanes.width > 1:
                self._prefetch(pointers)
            loads = {i: lanes.splat(k.operands[i].dtype, x) for i, x in fixed.items()}
            loads |= {i: lanes.load(k.operands[i].dtype, pointers[i]) for i in self._loaded() if i not in fixed}
            scalars = [lanes.splat(dtype, x) for dtype, x in zip(k.arguments, arguments, strict=True)]
            values = {i: lanes.splat(k.body[i].dtype, x) for i, x in uniform.items()}
            for i, instruction in enumerate(k.body):
                if i not in values:
                    values[i] = self._instruction(lanes, instruction, values, loads, scalars)
            stored = [self._source(lanes, x, k.operands[i].dtype, values, loads, scalars) for i, x in k.stores]
            updates = []
            for r in self.updated:
                x = self._reduced(lanes, r, values, loads, scalars)
                updates.append(self._combine(lanes, r, lanes.load(k.operands[r.operand].dtype, pointers[r.operand]), x))
            for (i, _), x in zip(k.stores, stored, strict=True):
                lanes.store(k.operands[i].dtype, x, pointers[i])
            for r, x in zip(self.updated, updates, strict=True):
                lanes.store(k.operands[r.operand].dtype, x, pointers[r.operand])
            return [
                self._combine(lanes, r, before, self._reduced(lanes, r, values, loads, scalars))
                for r, before in zip(self.kept, partial, strict=True)
            ]

        dtypes = [k.operands[r.operand].dtype for r in self.kept]
        start, totals = (
            "0",
            [one.constant(dtype, self._identity(r)) for dtype, r in zip(dtypes, self.kept, strict=True)],
        )
        if self.vectorised:
            lanes = Lanes(self.lines, self.declarations, WIDTH)
            start = one.let(f"and i64 {extent}, {-WIDTH}")
            zeros = [lanes.constant(dtype, self._identity(r)) for dtype, r in zip(dtypes, self.kept, strict=True)]
            with self._loop("vector", "0", start, WIDTH, [lanes.type(dtype) for dtype in dtypes], zeros) as partial:
                partial.become = step(lanes, "vector", partial.names)
            totals = [self._fold(r, x) for r, x in zip(self.kept, partial.names, strict=True)]
        with self._loop("element", start, extent, 1, [one.type(dtype) for dtype in dtypes], totals) as partial:
            partial.become = step(one, "element", partial.names)
        for r, dtype, x in zip(self.kept, dtypes, partial.names, strict=True):
            one.store(dtype, self._combine(one, r, one.load(dtype, addresses[r.operand]), x), addresses[r.operand])

    # The body

    def _pointer(self, i: int, index: str, addresses: Sequence[str], strides: Sequence[str]) -> str:
        operand, let = self.kernel.operands[i], self.one.let
        if operand.inner == "same":
            return addresses[i]
        if operand.inner == "next":
            return let(f"getelementptr {memory_type(operand.dtype)}, ptr {addresses[i]}, i64 %{index}")
        offset = let(f"mul i64 %{index}, {strides[i]}")
        return let(f"getelementptr i8, ptr {addresses[i]}, i64 {offset}")

    def _prefetch(self, pointers: Sequence[str]) -> None:
        operands = self.kernel.operands
        self.declarations.add("declare void @llvm.prefetch.p0(ptr, i32, i32, i32)")
        for i in {*self._loaded(), *(r.operand for r in self.updated)}:
            if operands[i].inner == "next":
                for line in range(0, WIDTH * SIZES[operands[i].dtype], _LINE):
                    ahead = self.one.let(f"getelementptr i8, ptr {pointers[i]}, i64 {_AHEAD + line}")
                    self.lines.append(f"call void @llvm.prefetch.p0(ptr {ahead}, i32 0, i32 3, i32 1)")

    def _is_uniform(self, x: Source, uniform: dict[int, str]) -> bool:
        match x:
            case Value(i):
                return i in uniform
            case Load(i):
                return i in self.fixed
        return True

    def _dtype(self, x: Source) -> str | None:
        """Return the dtype of a source; None for a constant, which takes that of what it meets."""
        match x:
            case Value(i):
                return self.kernel.body[i].dtype
            case Load(i):
                return self.kernel.operands[i].dtype
            case Argument(i):
                return self.kernel.arguments[i]
        return None

    def _instruction(
        self,
        lanes: Lanes,
        instruction: Instruction,
        values: dict[int, str],
        loads: dict[int, str],
        arguments: Sequence[str],
    ) -> str:
        if instruction.op == "where":
            dtypes = ["bool", instruction.dtype, instruction.dtype]
        else:
            met = next((d for d in map(self._dtype, instruction.args) if d is not None), instruction.dtype)
            dtypes = [met] * len(instruction.args)
        args = [
            self._source(lanes, x, dtype, values, loads, arguments)
            for x, dtype in zip(instruction.args, dtypes, strict=True)
        ]
        return operate(lanes, instruction.op, instruction.dtype, dtypes, args)

    def _source(
        self,
        lanes: Lanes,
        x: Source,
        dtype: str,
        values: dict[int, str],
        loads: dict[int, str],
        arguments: Sequence[str],
    ) -> str:
        match x:
            case Value(i):
                return values[i]
            case Load(i):
                return loads[i]
            case Argument(i):
                return arguments[i]
            case Constant(value):
                return lanes.constant(dtype, value)

    # Reductions

    def _reduced(
        self, lanes: Lanes, r: Reduction, values: dict[int, str], loads: dict[int, str], arguments: Sequence[str]
    ) -> str:
        target = self.kernel.operands[r.operand].dtype
        source = self._dtype(r.source) or target
        return convert(lanes, source, target, self._source(lanes, r.source, source, values, loads, arguments))

    def _combine(self, lanes: Lanes, r: Reduction, x: str, y: str) -> str:
        dtype = self.kernel.operands[r.operand].dtype
        if r.op == "sum":
            return lanes.binary("fadd" if dtype in FLOATS else "add", dtype, x, y)
        return (maximum if r.op == "max" else minimum)(lanes, dtype, x, y)

    def _identity(self, r: Reduction) -> float:
        dtype = self.kernel.operands[r.operand].dtype
        if r.op == "sum":
            return 0
        largest = float("inf") if dtype in FLOATS else 2 ** (8 * SIZES[dtype] - 1) - 1
        return largest if r.op == "min" else -largest if dtype in FLOATS else -largest - 1

    def _fold(self, r: Reduction, x: str) -> str:
        """Return the lanes added up in pairs: each of the first half with the one half the lanes further on."""
        dtype, width = self.kernel.operands[r.operand].dtype, WIDTH
        while width > 1:
            width //= 2
            t = Lanes(self.lines, self.declarations, 2 * width).type(dtype)
            low, high = (
                self.one.let(
                    f"shufflevector {t} {x}, {t} poison, <{width} x i32> "
                    f"<{', '.join(f'i32 {i}' for i in range(first, first + width))}>"
                )
                for first in (0, width)
            )
            lanes = Lanes(self.lines, self.declarations, width)
            if width == 1:
                low, high = (
                    self.one.let(f"extractelement <1 x {self.one.type(dtype)}> {half}, i64 0") for half in (low, high)
                )
            x = self._combine(lanes, r, low, high)
        return x

    # Blocks

    def _label(self, name: str) -> None:
        self.lines.append(f"{name}:")
        self.block = name

    def _branch(self, condition: str, yes: str, no: str) -> None:
        self.lines.append(f"br i1 {condition}, label %{yes}, label %{no}")

    @contextmanager
    def _loop(
        self, name: str, start: str, stop: str, by: int = 1, types: Sequence[str] = (), initial: Sequence[str] = ()
    ) -> Iterator[_Carried]:
        """Write ``for (i64 name = start; name < stop; name += by)`` around what is written inside."""
        carried, before = _Carried([f"%{name}.{i}" for i in range(len(types))]), self.block
        self.lines.append(f"br label %{name}.head")
        self._label(f"{name}.head")
        self.lines.append(f"%{name} = phi i64 [ {start}, %{before} ], [ %{name}.after, %{name}.next ]")
        top = len(self.lines)
        self.lines += carried.names  # their lines are written when it is known what they become
        self._branch(self.one.let(f"icmp slt i64 %{name}, {stop}"), f"{name}.body", f"{name}.done")
        self._label(f"{name}.body")
        yield carried
        for i, (x, t, first, after) in enumerate(zip(carried.names, types, initial, carried.become, strict=True)):
            self.lines[top + i] = f"{x} = phi {t} [ {first}, %{before} ], [ {after}, %{name}.next ]"
        self.lines.append(f"br label %{name}.next")
        self._label(f"{name}.next")
        self.lines.append(f"%{name}.after = add i64 %{name}, {by}")
        self.lines.append(f"br label %{name}.head")
        self._label(f"{name}.done")


# What LLVM calls to convert float16 where the processor has no instruction for it. The names are those of compilers'
# run-time libraries, which no Python process is sure to have loaded, so they are defined with the kernel.
_HALF_CONVERSIONS = """\
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
