"""A kernel as LLVM's text: `void kernel(const int64_t *table, int64_t rows, const double *arguments)`.

The innermost loop takes `WIDTH` elements at a time, written as vectors, and the rest one by one; so LLVM has nothing to
find out about the addresses, and a reduction has the same partial results on every machine, whatever its registers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from uniopt.backends.fusion.arithmetic import maximum, minimum, operate
from uniopt.backends.fusion.calls import FRAME, called
from uniopt.backends.fusion.control_flow import ControlFlow
from uniopt.backends.fusion.conversion import HALF_CONVERSIONS, convert
from uniopt.backends.fusion.inner_loops import LANES
from uniopt.backends.fusion.kernel import Argument, Constant, Instruction, Kernel, Load, Reduction, Source, Value
from uniopt.backends.fusion.lanes import FLOATS, SIZES, Lanes, memory_type

WIDTH = 16
"""Elements of a vector: two AVX2 registers of float32, so that a long body still has registers to spare."""

_AHEAD = 256
"""Bytes by which memory is asked for before it is read. Further ahead lies another page too often."""
_LINE = 64
_NOTHING = f"@nothing = private constant [{8 * LANES} x i8] zeroinitializer"


def emit(kernel: Kernel) -> str:
    """Return the kernel as LLVM's text, the same for every machine."""
    return _Emission(kernel).text()


@dataclass
class _Body:
    """The names that the kernel's sources have, for some lanes."""

    kernel: Kernel
    lanes: Lanes
    loads: dict[int, str]
    arguments: list[str]
    values: dict[int, str] = field(default_factory=dict)

    def knows(self, x: Source) -> bool:
        return x.index in self.values if isinstance(x, Value) else not isinstance(x, Load) or x.operand in self.loads

    def dtype(self, x: Source) -> str | None:
        """Return the dtype of a source; None for a constant, which takes that of what it meets."""
        match x:
            case Value(i):
                return self.kernel.body[i].dtype
            case Load(i):
                return self.kernel.operands[i].dtype
            case Argument(i):
                return self.kernel.arguments[i]
        return None

    def source(self, x: Source, dtype: str) -> str:
        match x:
            case Value(i):
                return self.values[i]
            case Load(i):
                return self.loads[i]
            case Argument(i):
                return self.arguments[i]
            case Constant(value):
                return self.lanes.constant(dtype, value)

    def compute(self, instruction: Instruction) -> str:
        met = next((d for d in map(self.dtype, instruction.args) if d is not None), instruction.dtype)
        dtypes = [met] * len(instruction.args)
        if instruction.op == "where":
            dtypes = ["bool", instruction.dtype, instruction.dtype]
        args = [self.source(x, dtype) for x, dtype in zip(instruction.args, dtypes, strict=True)]
        return operate(self.lanes, instruction.op, instruction.dtype, dtypes, args)

    def load(self, operand: int, pointer: str, stride: str | None = None) -> str:
        """Return an operand's elements from an address on."""
        found = self.kernel.operands[operand]
        return (self.lanes.count if found.counted else self.lanes.load)(found.dtype, pointer, stride)

    def spread(self, lanes: Lanes) -> _Body:
        """Return the same for other lanes, all of which have the one element that is known here."""
        k = self.kernel
        return _Body(
            k,
            lanes,
            {i: lanes.splat(k.operands[i].dtype, x) for i, x in self.loads.items()},
            [lanes.splat(dtype, x) for dtype, x in zip(k.arguments, self.arguments, strict=True)],
            {i: lanes.splat(k.body[i].dtype, x) for i, x in self.values.items()},
        )


class _Emission:
    """The text under way."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.lines: list[str] = []
        self.declarations: set[str] = set()
        self.one = self._lanes(1)
        self.flow = ControlFlow(self.one)
        inner = [operand.inner for operand in kernel.operands]
        stored = {operand for operand, _ in kernel.stores}
        sources = [x for instruction in kernel.body for x in instruction.args]
        sources += [x for _, x in kernel.stores] + [r.source for r in kernel.reductions]
        self.loaded = sorted({x.operand for x in sources if isinstance(x, Load)})
        self.fixed = [i for i in self.loaded if inner[i] == "same" and i not in stored]
        widths = [LANES, WIDTH, 1] if any(called(kernel)) and not kernel.reductions else [WIDTH, 1]
        self.widths = widths if all(inner[i] != "same" for i in stored) else [1]
        read = [i for i in self.loaded if inner[i] == "next" and not kernel.operands[i].counted]
        self.streams = read if kernel.stores else []
        self.kept = [r for r in kernel.reductions if inner[r.operand] == "same"]  # in registers, for a whole inner loop
        self.updated = [r for r in kernel.reductions if inner[r.operand] != "same"]  # in memory, element by element

    def text(self) -> str:
        self._rows()
        declarations = "".join(f"{line}\n" for line in sorted(self.declarations))
        body = "".join(line + "\n" if line.endswith(":") else f"  {line}\n" for line in self.lines)
        dtypes = [x.dtype for x in self.kernel.operands] + [x.dtype for x in self.kernel.body]
        halves = HALF_CONVERSIONS if "float16" in dtypes else ""
        head = "define void @kernel(ptr %table, i64 %rows, ptr %arguments) nounwind {\nentry:\n"
        frame = FRAME if any(called(self.kernel)) else ""
        return f"{declarations}{halves}{head}{frame}{body}  ret void\n}}\n"

    def _lanes(self, width: int) -> Lanes:
        return Lanes(self.lines, self.declarations, width)

    def _rows(self) -> None:
        k, let = self.kernel, self.one.let
        with self.flow.loop("row", "0", "%rows"):
            line = let(f"getelementptr i64, ptr %table, i64 {let(f'mul i64 %row, {k.columns}')}")
            cells = (self.one.load("int64", let(f"getelementptr i64, ptr {line}, i64 {i}")) for i in range(k.columns))
            extents = [next(cells) for _ in range(k.rank)]
            addresses, strides = [], []
            for _ in k.operands:
                addresses.append(let(f"inttoptr i64 {next(cells)} to ptr"))
                strides.append([next(cells) for _ in range(k.rank)])
            arguments = self._arguments()
            # An operand that stays where it is is read before the innermost loop: there has to be something in it.
            self.flow.branch(let(f"icmp sgt i64 {extents[-1]}, 0"), "some", "row.next")
            self.flow.label("some")
            self._nest(extents, addresses, strides, arguments)

    def _arguments(self) -> list[str]:
        dtypes, let = self.kernel.arguments, self.one.let
        line = let(f"getelementptr double, ptr %arguments, i64 {let(f'mul i64 %row, {len(dtypes)}')}")
        found = []
        for i, dtype in enumerate(dtypes):
            held = "int64" if dtype == "int64" else "float64"  # which has all numbers of the other dtypes
            cell = self.one.load(held, let(f"getelementptr double, ptr {line}, i64 {i}"))
            found.append(convert(self.one, held, dtype, cell))
        return found

    def _nest(
        self,
        extents: Sequence[str],
        addresses: Sequence[str],
        strides: Sequence[Sequence[str]],
        arguments: list[str],
    ) -> None:
        if len(extents) == 1:
            self._innermost(extents[0], addresses, [steps[0] for steps in strides], arguments)
            return
        let, index = self.one.let, f"loop{len(extents)}"
        with self.flow.loop(index, "0", extents[0]):
            offsets = [let(f"mul i64 %{index}, {steps[0]}") for steps in strides]
            moved = [let(f"getelementptr i8, ptr {x}, i64 {by}") for x, by in zip(addresses, offsets, strict=True)]
            self._nest(extents[1:], moved, [steps[1:] for steps in strides], arguments)

    def _innermost(self, extent: str, addresses: Sequence[str], strides: Sequence[str], arguments: list[str]) -> None:
        k, one = self.kernel, self.one
        uniform = _Body(k, one, {}, arguments)
        uniform.loads |= {i: uniform.load(i, addresses[i]) for i in self.fixed}
        for i, instruction in enumerate(k.body):
            if all(map(uniform.knows, instruction.args)):
                uniform.values[i] = uniform.compute(instruction)
        dtypes = [k.operands[r.operand].dtype for r in self.kept]
        start, partial = (
            "0",
            [one.constant(dtype, _identity(r, dtype)) for r, dtype in zip(self.kept, dtypes, strict=True)],
        )
        for width in self.widths:
            lanes = self._lanes(width)
            name, stop, initial = "element", extent, partial
            if width > 1:
                name, stop = f"vector{width}", one.let(f"and i64 {extent}, {-width}")
                initial = [
                    lanes.constant(dtype, _identity(r, dtype)) for r, dtype in zip(self.kept, dtypes, strict=True)
                ]
            # What a round reads is loaded before the round before it stores: a load of an address that equals that of a
            # store but for a multiple of 4096 waits for it, and arrays may lie in any way to each other.
            early = self.streams if width > 1 else []
            types = [lanes.type(dtype) for dtype in (*dtypes, *(k.operands[i].dtype for i in early))]
            initial = [*initial, *self._loads(lanes, early, addresses, start, stop)]
            with self.flow.loop(name, start, stop, width, types, initial) as carried:
                body = uniform.spread(lanes)
                body.loads |= dict(zip(early, carried.names[len(dtypes) :], strict=True))
                following = self._loads(lanes, early, addresses, one.let(f"add i64 %{name}, {width}"), stop)
                totals = self._round(body, f"%{name}", addresses, strides, carried.names[: len(dtypes)])
                carried.become = [*totals, *following]
            start, partial = stop, carried.names[: len(dtypes)]
            if width > 1:
                partial = [self._fold(r, dtype, x) for r, dtype, x in zip(self.kept, dtypes, partial, strict=True)]
        for r, dtype, x in zip(self.kept, dtypes, partial, strict=True):
            before = one.load(dtype, addresses[r.operand])
            one.store(dtype, _combine(one, r, dtype, before, x), addresses[r.operand])

    def _round(
        self, body: _Body, index: str, addresses: Sequence[str], strides: Sequence[str], partial: Sequence[str]
    ) -> list[str]:
        """Write one round of the innermost loop; return what the partial results of reductions become."""
        k, lanes = self.kernel, body.lanes
        pointers, steps = [], []
        for operand, address, stride in zip(k.operands, addresses, strides, strict=True):
            t, offset = memory_type(operand.dtype), index
            if operand.inner == "strided":
                t, offset = "i8", self.one.let(f"mul i64 {index}, {stride}")
            moved = operand.inner != "same"
            pointers.append(self.one.let(f"getelementptr {t}, ptr {address}, i64 {offset}") if moved else address)
            steps.append(stride if operand.inner == "strided" else None)

        def reduced(r: Reduction, before: str) -> str:
            dtype = k.operands[r.operand].dtype
            source = body.dtype(r.source) or dtype
            return _combine(lanes, r, dtype, before, convert(lanes, source, dtype, body.source(r.source, source)))

        moving = [i for i in self.loaded if i not in body.loads]
        for i in moving:
            if k.operands[i].inner == "next" and not k.operands[i].counted and lanes.width > 1:
                self._prefetch(pointers[i], lanes.width * SIZES[k.operands[i].dtype])
        body.loads |= {i: body.load(i, pointers[i], steps[i]) for i in moving}
        for i, instruction in enumerate(k.body):
            if i not in body.values:
                body.values[i] = body.compute(instruction)
        stores = [(i, body.source(x, k.operands[i].dtype)) for i, x in k.stores]
        stores += [
            (r.operand, reduced(r, body.load(r.operand, pointers[r.operand], steps[r.operand]))) for r in self.updated
        ]
        for i, x in stores:
            lanes.store(k.operands[i].dtype, x, pointers[i], steps[i])
        return [reduced(r, before) for r, before in zip(self.kept, partial, strict=True)]

    def _loads(
        self, lanes: Lanes, operands: Sequence[int], addresses: Sequence[str], index: str, stop: str
    ) -> list[str]:
        """Return contiguous operands' elements from an index on; of nothing, where that is not below `stop`."""
        if not operands:
            return []
        let, found = self.one.let, []
        self.declarations.add(_NOTHING)
        inside = let(f"icmp slt i64 {index}, {stop}")
        for i in operands:
            dtype = self.kernel.operands[i].dtype
            pointer = let(f"getelementptr {memory_type(dtype)}, ptr {addresses[i]}, i64 {index}")
            self._prefetch(pointer, lanes.width * SIZES[dtype])
            found.append(lanes.load(dtype, let(f"select i1 {inside}, ptr {pointer}, ptr @nothing")))
        return found

    def _prefetch(self, pointer: str, size: int) -> None:
        self.declarations.add("declare void @llvm.prefetch.p0(ptr, i32, i32, i32)")
        for line in range(0, size, _LINE):
            ahead = self.one.let(f"getelementptr i8, ptr {pointer}, i64 {_AHEAD + line}")
            self.lines.append(f"call void @llvm.prefetch.p0(ptr {ahead}, i32 0, i32 3, i32 1)")

    def _fold(self, r: Reduction, dtype: str, x: str) -> str:
        """Return the lanes combined in pairs: each of the first half with the one half the lanes further on."""
        width = WIDTH
        while width > 1:
            width //= 2
            low, high = (self._lanes(2 * width).part(dtype, x, first, width) for first in (0, width))
            x = _combine(self._lanes(width), r, dtype, low, high)
        return x


def _combine(lanes: Lanes, r: Reduction, dtype: str, x: str, y: str) -> str:
    if r.op == "sum":
        return lanes.binary("fadd" if dtype in FLOATS else "add", dtype, x, y)
    return (maximum if r.op == "max" else minimum)(lanes, dtype, x, y)


def _identity(r: Reduction, dtype: str) -> float:
    """Return what changes nothing that it is combined with."""
    if r.op == "sum":
        return 0
    if dtype in FLOATS:
        return float("-inf" if r.op == "max" else "inf")
    lowest = -1 << (8 * SIZES[dtype] - 1)
    return lowest if r.op == "max" else -lowest - 1
