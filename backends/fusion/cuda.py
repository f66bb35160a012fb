"""A kernel as CUDA C++: one launch of `kernel(const long long *table, const int *chunks)` covers all rows of a table.

A block of threads works on one chunk of one row; `chunks` holds, for each block, the row and which of its chunks. A
row without reductions is cut into runs of `CHUNK` elements. A row with reductions holds the loops over the results
first and the loops that are added up last; so many `lanes` of a block share the work on one result, and where that is
much, several blocks take a `piece` each and leave partial results, all in an order that no machine changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from uniopt.backends.fusion.cuda_arithmetic import PRELUDE, TYPES, extremum, operate
from uniopt.backends.fusion.kernel import Argument, Constant, Kernel, Load, Reduction, Source, Value
from uniopt.backends.fusion.operations import FLOATS, INTEGERS

OPTIONS = ("--fmad=false", "--ftz=false", "--prec-div=true", "--prec-sqrt=true")
"""What NVRTC has to be told, so that every operation is IEEE 754's."""

THREADS = 256
"""Threads of a block."""

CHUNK = 8192
"""Elements that a block takes of a row without reductions."""

_UNROLLED = 4  # elements that a thread has under way at a time: memory answers late


def emit(kernel: Kernel) -> str:
    """Return the kernel as CUDA C++, the same for every device.

    A row of the table has 64-bit integers: the extents of the loops; for each operand its address and, for each loop,
    the bytes between elements; for each argument the address of a value of its dtype; and, with reductions, the
    number of results, of elements for each, of lanes, and of elements in a piece. The partial results of an operand
    are as many as there are results, one piece behind the other.
    """
    return _Emission(kernel).text()


def columns(kernel: Kernel) -> int:
    """Return the length of a row of the kernel's table."""
    return kernel.columns + len(kernel.arguments) + (4 if kernel.reductions else 0)


class _Emission:
    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        sources = [x for instruction in kernel.body for x in instruction.args]
        sources += [x for _, x in kernel.stores] + [r.source for r in kernel.reductions]
        self.loaded = sorted({x.operand for x in sources if isinstance(x, Load)})

    def text(self) -> str:
        lines = [
            f'extern "C" __global__ void __launch_bounds__({THREADS}) kernel(const Index *table, const int *chunks) {{',
            *_indented(self._row()),
            *_indented(self._reductions() if self.kernel.reductions else self._elements()),
            "}",
        ]
        return PRELUDE + "\n" + "\n".join(lines) + "\n"

    def _row(self) -> Iterator[str]:
        k = self.kernel
        yield f"const Index *row = table + (Index)chunks[2 * blockIdx.x] * {columns(k)};"
        yield "const Index number = chunks[2 * blockIdx.x + 1];"
        column = iter(range(columns(k)))
        for d in range(k.rank):
            c = next(column)
            if d > 0 or not k.reductions:
                yield f"const Index n{d} = row[{c}];"
        for i, operand in enumerate(k.operands):
            yield f"char *const p{i} = (char *)row[{next(column)}];"
            for d in range(k.rank):
                c = next(column)
                if d < k.rank - 1 or operand.inner == "strided":
                    yield f"const Index s{i}_{d} = row[{c}];"
        for i, dtype in enumerate(k.arguments):
            yield f"const {TYPES[dtype]} a{i} = *(const {TYPES[dtype]} *)row[{next(column)}];"
        for name in ("results", "each", "lanes", "piece") if k.reductions else ():
            yield f"const Index {name} = row[{next(column)}];"

    # Without reductions

    def _elements(self) -> Iterator[str]:
        k = self.kernel
        moves = any(operand.inner != "same" for operand in k.operands)
        count = _UNROLLED if moves else 1  # what does not move is scalars' work, and there is one element of it
        yield f"const Index size = {' * '.join(f'n{d}' for d in range(k.rank))};"
        yield f"const Index start = number * {CHUNK};"
        yield f"const Index stop = size < start + {CHUNK} ? size : start + {CHUNK};"
        yield f"for (Index first = start + threadIdx.x; first < stop; first += {count * THREADS}) {{"
        loads = [f"{TYPES[k.operands[i].dtype]} l{i}[{count}];" for i in self.loaded]
        yield from _indented(loads)
        for part in (self._loads(), self._stores()) if loads else (self._stores(),):
            yield "  #pragma unroll"
            yield f"  for (int u = 0; u < {count}; ++u) {{"
            yield f"    const Index element = first + u * {THREADS};"
            yield "    if (element < stop) {"
            yield from _indented(part, 6)
            yield "    }"
            yield "  }"
        yield "}"

    def _loads(self) -> Iterator[str]:
        yield from self._position(self.loaded, "element")
        for i in self.loaded:
            yield f"l{i}[u] = {self._element(i)};"

    def _stores(self) -> Iterator[str]:
        k = self.kernel
        loads = {i: f"l{i}[u]" for i in self.loaded}
        yield from self._position((i for i, _ in k.stores), "element")
        yield from self._values(loads)
        for i, x in k.stores:
            yield f"{self._element(i)} = {self._source(x, k.operands[i].dtype, loads)};"

    # With reductions

    def _reductions(self) -> Iterator[str]:
        k = self.kernel
        yield f"const Index groups = (results * lanes + {THREADS - 1}) / {THREADS};"
        yield "const Index part = number / groups;"
        yield f"const Index result = number % groups * ({THREADS} / lanes) + threadIdx.x / lanes;"
        yield "const Index lane = threadIdx.x % lanes;"
        yield "const Index stop = each < (part + 1) * piece ? each : (part + 1) * piece;"
        for j, r in enumerate(k.reductions):
            yield f"{self._sum_type(r)} r{j} = {self._neutral(r)};"
        yield "if (result < results) {"
        yield "  #pragma unroll 4"
        yield "  for (Index m = part * piece + lane; m < stop; m += lanes) {"
        yield from _indented(self._position(self.loaded, "result * each + m"), 4)
        loads = {i: f"l{i}" for i in self.loaded}
        yield from _indented((f"const {TYPES[k.operands[i].dtype]} l{i} = {self._element(i)};" for i in self.loaded), 4)
        yield from _indented(self._values(loads), 4)
        for j, r in enumerate(k.reductions):
            dtype = k.operands[r.operand].dtype
            x = self._source(r.source, dtype, loads)
            yield f"    r{j} = {_COMBINE[r.op]}(r{j}, ({self._sum_type(r)}){x});"
        yield "  }"
        yield "}"
        for j, r in enumerate(k.reductions):
            yield f"__shared__ {self._sum_type(r)} t{j}[{THREADS}];"
            yield f"t{j}[threadIdx.x] = r{j};"
        yield "for (Index half = lanes / 2; half > 0; half /= 2) {"
        yield "  __syncthreads();"
        yield "  if (lane < half) {"
        for j, r in enumerate(k.reductions):
            yield f"    t{j}[threadIdx.x] = {_COMBINE[r.op]}(t{j}[threadIdx.x], t{j}[threadIdx.x + half]);"
        yield "  }"
        yield "}"
        yield "if (lane == 0 && result < results) {"
        yield from _indented(self._position((r.operand for r in k.reductions), "result * each"))
        for j, r in enumerate(k.reductions):
            t = TYPES[k.operands[r.operand].dtype]
            at = f"*({t} *)(p{r.operand} + part * results * sizeof({t}){self._offset(r.operand)})"
            yield f"  {at} = ({t})t{j}[threadIdx.x];"
        yield "}"

    def _sum_type(self, r: Reduction) -> str:
        return "double" if r.op == "sum" else TYPES[self.kernel.operands[r.operand].dtype]

    def _neutral(self, r: Reduction) -> str:
        return "0" if r.op == "sum" else extremum(r.op, self.kernel.operands[r.operand].dtype)

    # Elements

    def _position(self, operands: Iterable[int], element: str) -> Iterator[str]:
        """Write the indices of an element in the loops, as far as the operands need them."""
        needed = "".join(map(self._offset, operands))
        if not needed:
            return
        yield f"const Index i = {element};"
        flat = "i"
        for d in reversed(range(1, self.kernel.rank)):
            yield f"const Index q{d} = quotient({flat}, n{d});"
            if f"i{d}" in needed:
                yield f"const Index i{d} = {flat} - q{d} * n{d};"
            flat = f"q{d}"
        if "i0" in needed:
            yield f"const Index i0 = {flat};"

    def _offset(self, operand: int) -> str:
        """Return the bytes from an operand's address to its element, as what follows the address in a sum."""
        k = self.kernel
        steps = [f"s{operand}_{d} * i{d}" for d in range(k.rank - 1)]
        match k.operands[operand].inner:
            case "next":
                steps.append(f"i{k.rank - 1} * sizeof({TYPES[k.operands[operand].dtype]})")
            case "strided":
                steps.append(f"i{k.rank - 1} * s{operand}_{k.rank - 1}")
        return "".join(f" + {step}" for step in steps)

    def _element(self, operand: int) -> str:
        found, t = self.kernel.operands[operand], TYPES[self.kernel.operands[operand].dtype]
        place = f"(p{operand}{self._offset(operand)})"
        return f"({t})((Index){place} / (Index)sizeof({t}))" if found.counted else f"*({t} *){place}"

    def _values(self, loads: dict[int, str]) -> Iterator[str]:
        for i, instruction in enumerate(self.kernel.body):
            found = [self._dtype(x) for x in instruction.args]
            met = next((dtype for dtype in found if dtype is not None), instruction.dtype)
            dtypes = ["bool", instruction.dtype, instruction.dtype] if instruction.op == "where" else [met] * len(found)
            args = [self._source(x, dtype, loads) for x, dtype in zip(instruction.args, dtypes, strict=True)]
            yield f"const {TYPES[instruction.dtype]} v{i} = {operate(instruction.op, instruction.dtype, dtypes, args)};"

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

    def _source(self, x: Source, dtype: str, loads: dict[int, str]) -> str:
        match x:
            case Value(i):
                return f"v{i}"
            case Load(i):
                return loads[i]
            case Argument(i):
                return f"a{i}"
            case Constant(value):
                return _literal(value, dtype)


_COMBINE = {"sum": "add", "max": "maximum", "min": "minimum"}


def _literal(value: int | bool, dtype: str) -> str:
    if dtype in INTEGERS:  # through its bits: there is no literal for the lowest number
        bits = 32 if dtype == "int32" else 64
        return f"({TYPES[dtype]}){value & ((1 << bits) - 1):#x}ull"
    return f"({TYPES[dtype]}){int(value)}" if dtype in FLOATS else ("true" if value else "false")


def _indented(lines: Iterable[str], by: int = 2) -> Iterator[str]:
    return (" " * by + line for line in lines)
