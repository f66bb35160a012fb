"""From a group of symbols to the body of a kernel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from uniopt.backends.fusion.kernel import Argument, Constant, Instruction, Load, Reduction, Source, Value
from uniopt.backends.fusion.operations import HALVES, INTEGERS
from uniopt.backends.fusion.schedule import Group
from uniopt.backends.fusion.symbol import Shape, Symbol


@dataclass
class Body:
    """The body of a kernel, and what its loads, stores and arguments stand for.

    Attributes
    ----------
    memories
        The inputs and symbols whose memory the operands are.
    arguments
        The 0-d symbols and numbers that are the run-time scalars, with the dtypes they are passed in.
    """

    memories: list[Symbol]
    arguments: list[tuple[Symbol | float, str]]
    instructions: list[Instruction]
    stores: list[tuple[int, Source]]
    reductions: list[Reduction]
    reduced: list[Symbol]  # what the reductions compute; their operands follow the memories


def kept_shape(reduction: Symbol) -> Shape:
    """Return the shape of a reduction with its axes kept, of length 1."""
    axes = dict(reduction.keywords)["axis"]
    return tuple(1 if a in axes else n for a, n in enumerate(reduction.args[0].shape))


def lower(group: Group) -> Body:
    """Return the body that computes a group."""
    return _Lowering(group).body


class _Lowering:
    def __init__(self, group: Group) -> None:
        self.group = group
        self.body = Body([], [], [], [], [], list(group.reductions))
        self.operands: dict[Symbol, int] = {}
        self.values: dict[Symbol, Source] = {}
        for symbol in sorted(group.computed, key=lambda x: x.index):
            self.values[symbol] = self._compute(symbol)
        for symbol, memory in group.stores:
            what = self._source(symbol, symbol.dtype)
            self.body.stores.append((self._operand(memory), what))
        sources = [self._source(symbol.args[0], symbol.dtype) for symbol in group.reductions]
        first = len(self.operands)
        for i, (symbol, source) in enumerate(zip(group.reductions, sources, strict=True)):
            self.body.reductions.append(Reduction(symbol.op, source, first + i))  # type: ignore[arg-type]  # REDUCTIONS

    def _operand(self, memory: Symbol) -> int:
        if memory not in self.operands:
            self.operands[memory] = len(self.operands)
            self.body.memories.append(memory)
        return self.operands[memory]

    def _compute(self, symbol: Symbol) -> Source:
        dtypes = _argument_dtypes(symbol)
        own = symbol.op.startswith("bitwise_")  # shifts and masks
        args = tuple(self._source(x, dtype, own) for x, dtype in zip(symbol.args, dtypes, strict=True))
        return self._emit(symbol.op, symbol.dtype, args)

    def _emit(self, op: str, dtype: str, args: tuple[Source, ...]) -> Value:
        self.body.instructions.append(Instruction(op, dtype, args))
        return Value(len(self.body.instructions) - 1)

    def _source(self, x: Symbol | float, dtype: str, own: bool = False) -> Source:
        """Return what an instruction reads for `x`, in a dtype; whether an integer belongs to the kernel is `own`."""
        if isinstance(x, Symbol) and x.op == "constant" and not isinstance(x.args[0], Symbol):
            x = x.args[0]
        if not isinstance(x, Symbol):
            if dtype == "bool":
                return Constant(bool(x))
            if dtype in INTEGERS and (own or float(x) != x):
                return Constant(int(x))
            return self._argument(float(x), dtype)
        if x in self.values:
            found = self.values[x]
        elif x in self.group.stored_in:
            found = self.values[x] = Load(self._operand(self.group.stored_in[x]))
        else:
            found = self._argument(x, x.dtype)
        return found if x.dtype == dtype else self._emit("astype", dtype, (found,))

    def _argument(self, x: Symbol | float, dtype: str) -> Source:
        if dtype in HALVES:
            return self._emit("astype", dtype, (self._argument(x, "float32"),))
        self.body.arguments.append((x, dtype))
        found = Argument(len(self.body.arguments) - 1)
        if isinstance(x, Symbol):  # numbers are not told apart by their values, or another value were another kernel
            self.values[x] = found
        return found


def _argument_dtypes(symbol: Symbol) -> Sequence[str]:
    """Return the dtypes in which an instruction reads its arguments."""
    if symbol.op == "astype":
        return [symbol.args[0].dtype]
    if symbol.op == "where":
        return ["bool", symbol.dtype, symbol.dtype]
    dtypes = [x.dtype for x in symbol.args if isinstance(x, Symbol)]
    return [max(dtypes, key=lambda name: (name.startswith("float"), name))] * len(symbol.args)
