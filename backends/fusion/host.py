"""What the host computes between two passes: scalars, views, matrix products, and all that kernels do not have.

A turn becomes one straight-line Python function that calls NumPy just as eager uniopt does, on the same numbers in the
same order, so that its results have the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import array_api_compat.numpy as xp
import numpy as np
from uniopt.backends.fusion.bfloat16 import narrow, widen
from uniopt.backends.fusion.gathered import NEUTRAL
from uniopt.backends.fusion.library import memory_dtype, number
from uniopt.backends.fusion.operations import INTEGERS
from uniopt.backends.fusion.schedule import Turn, overtaken
from uniopt.backends.fusion.symbol import NotRecordable, Symbol, symbols_in

_OPERATORS = {
    "add": "+", "subtract": "-", "multiply": "*", "divide": "/", "pow": "**", "matmul": "@",
    "equal": "==", "not_equal": "!=", "less": "<", "less_equal": "<=", "greater": ">", "greater_equal": ">=",
    "bitwise_and": "&", "bitwise_or": "|", "bitwise_xor": "^", "floor_divide": "//", "remainder": "%",
}  # fmt: skip
# Where NumPy has a 0-d array, and no scalar. The power of a scalar is a function of its own, another in the last bit.
_ARRAYS = {"input", "constant", "asarray", "astype", "where", "reshape", "permute_dims", "broadcast_to"}


def compile_turn(
    turn: Turn,
    known: Container[Symbol],
    inputs: Mapping[Symbol, int],
    wanted: Container[Symbol],
    scalars: Iterable[Symbol] = (),
    gathered: Mapping[Symbol, Mapping[Symbol, int]] = MappingProxyType({}),
    calls: Mapping[Symbol, int] = MappingProxyType({}),
    absent: Mapping[Symbol, tuple[int, float | bool]] = MappingProxyType({}),
) -> tuple[Callable[..., None] | None, list[int]]:
    """Return the function of a turn, and the positions of the inputs whose arrays it reads or writes.

    The function is called with the list of values by symbol, which has those of the `known` symbols already, the input
    arrays by position, and the positions of missing gradients. It leaves the values of the `wanted` symbols in the
    list. `scalars` are inputs whose values are wanted besides. `gathered` has, for operations that gather numbers of
    several leaves, the position of each number's gradient: a missing one's changes nothing. `calls` has the position of
    the gradient without which an array is not computed, `absent` that of an array that is gathered, and what is in its
    place then.
    """
    return _Turn(known, inputs, gathered, calls, absent).compiled(turn, wanted, scalars)


class _Turn:
    """The text of a turn under way."""

    def __init__(
        self,
        known: Container[Symbol],
        inputs: Mapping[Symbol, int],
        gathered: Mapping[Symbol, Mapping[Symbol, int]],
        calls: Mapping[Symbol, int],
        absent: Mapping[Symbol, tuple[int, float | bool]],
    ) -> None:
        self._known = known
        self._inputs = inputs
        self._gathered = gathered
        self._calls = calls
        self._absent = absent
        self._lines: list[str] = []
        self._objects: dict[str, Any] = {"xp": xp, "np": np, "widen": widen, "narrow": narrow}
        self._names: dict[Symbol, str] = {}  # of what is known in the function
        self._fixed: set[Symbol] = set()  # numbers that are the same in every step
        self._used: list[int] = []

    def compiled(
        self, turn: Turn, wanted: Container[Symbol], scalars: Iterable[Symbol]
    ) -> tuple[Callable[..., None] | None, list[int]]:
        for symbol in scalars:
            self._lines.append(f"v[{symbol.index}] = {self.name(symbol)}")
        for symbol in turn.symbols:
            if symbol in self._known:
                continue
            self._compute(symbol)
            if symbol in wanted:
                self._lines.append(f"v[{symbol.index}] = {self._names[symbol]}")
        names = {out.symbol: self.name(out.symbol) for out in turn.copies}  # all is read before anything is written
        for symbol in overtaken(turn.copies):
            self._lines.append(f"y{symbol.index} = {names[symbol]}.copy()")
            names[symbol] = f"y{symbol.index}"
        for out in turn.copies:
            self._used.append(self._inputs[out.target])
            self._lines.append(f"a[{self._inputs[out.target]}][...] = {names[out.symbol]}")
        if not self._lines:
            return None, []
        body = "\n    ".join(self._lines)
        exec(compile(f"def run(v, a, m):\n    {body}", "<turn>", "exec"), self._objects)
        return self._objects["run"], self._used

    def name(self, x: Any) -> str:
        """Return the name of a value in the function."""
        if isinstance(x, tuple):
            return f"({''.join(self.name(y) + ',' for y in x)})"
        if not isinstance(x, Symbol):
            return self.object(x)
        if x not in self._names:
            if x not in self._inputs:
                return f"v[{x.index}]"  # an earlier turn or pass has left it there
            self._names[x] = f"x{x.index}"
            self._used.append(self._inputs[x])
            self._lines.append(f"x{x.index} = a[{self._inputs[x]}]{'[()]' if x.shape == () else ''}")
        return self._names[x]

    def object(self, x: Any) -> str:
        """Return the name of an object that the function holds."""
        self._objects[f"c{len(self._objects)}"] = x
        return f"c{len(self._objects) - 1}"

    def _compute(self, symbol: Symbol) -> None:
        for x, position in self._gathered.get(symbol, {}).items():
            if x in self._absent:
                continue
            neutral = self.object(np.dtype(x.dtype).type(NEUTRAL[symbol.op]))
            self._lines.append(f"y{x.index} = {neutral} if m and {position} in m else {self.name(x)}")
            self._names[x] = f"y{x.index}"  # nothing else that a missing gradient leaves in place reads it
        text = _expression(symbol, self)
        if symbol.shape == () and all(x in self._fixed for x in symbols_in(symbol.args)):
            self._fixed.add(symbol)
            self._names[symbol] = self.object(eval(text, self._objects))
            return
        self._names[symbol] = f"x{symbol.index}"
        if symbol in self._absent:
            gradient, fill = self._absent[symbol]
            text = f"np.full_like({self._empty(symbol)}, {self.object(fill)}) if m and {gradient} in m else {text}"
        elif symbol in self._calls:
            text = f"{self._empty(symbol)} if m and {self._calls[symbol]} in m else {text}"
        self._lines.append(f"x{symbol.index} = {text}")

    def _empty(self, symbol: Symbol) -> str:
        return f"np.empty({symbol.shape!r}, {self.object(memory_dtype(np, symbol))})"


def _expression(symbol: Symbol, turn: _Turn) -> str:
    op, args, name = symbol.op, symbol.args, turn.name
    if "bfloat16" in {symbol.dtype, *(x.dtype for x in args if isinstance(x, Symbol))}:
        return _bfloat16(symbol, name)
    if op == "constant":
        if symbol.shape == ():
            return turn.object(number(symbol))
        return f"np.full({symbol.shape!r}, {name(args[0])}, dtype={symbol.dtype!r})"
    if op == "astype":
        text = name(args[0])
        if symbol.shape != ():
            return f"np.asarray({text}, dtype={symbol.dtype!r})"
        same = isinstance(args[0], Symbol) and args[0].dtype == symbol.dtype
        return text if same else f"{turn.object(np.dtype(symbol.dtype).type)}({text})"
    if op == "power":
        arrays = (isinstance(x, Symbol) and x.op in _ARRAYS for x in args)
        return " ** ".join(
            f"np.asarray({name(x)})" if known else name(x) for x, known in zip(args, arrays, strict=True)
        )
    if op in _OPERATORS and len(args) == 2 and not (op == "pow" and symbol.shape == ()):
        return f"{name(args[0])} {_OPERATORS[op]} {name(args[1])}"
    if op == "negative":
        return f"-{name(args[0])}"
    if op == "reshape":
        return f"{name(args[0])}.reshape({args[1]!r})"
    if op == "getitem":
        return f"{name(args[0])}[{name(_key(args[1]))}]"
    if op == "asarray":
        return f"np.asarray({name(args[0])}, dtype={symbol.dtype!r})"
    if op == "arange":
        return f"np.arange({', '.join(map(name, args))}, dtype={symbol.dtype!r}).reshape({symbol.shape!r})"
    if op in ("where", "minimum", "maximum") and symbol.shape == () and (text := _choice(symbol, turn)):
        return text
    function = getattr(xp, op)
    keywords = "".join(f", {key}={value!r}" for key, value in symbol.keywords)
    text = f"{turn.object(function)}({', '.join(map(name, args))}{keywords})"
    # NumPy computes with scalars faster than with 0-d arrays; its ufuncs return scalars by themselves.
    return f"{text}[()]" if symbol.shape == () and not isinstance(function, np.ufunc) else text


def _choice(symbol: Symbol, turn: _Turn) -> str:
    """Return a choice between two numbers as an expression of Python's, many times as fast as NumPy's functions."""
    op, args = symbol.op, symbol.args[-2:]
    if any(x.dtype != symbol.dtype for x in args if isinstance(x, Symbol)):
        return ""
    as_scalar = np.dtype(symbol.dtype).type
    x, y = (turn.name(z if isinstance(z, Symbol) else as_scalar(z)) for z in args)
    if op == "where":
        return f"{x} if {turn.name(symbol.args[0])} else {y}"
    if symbol.dtype in INTEGERS:  # else there may be NaN
        return f"{x} if {x} {'<' if op == 'minimum' else '>'} {y} else {y}"
    return ""


def _bfloat16(symbol: Symbol, name: Callable[[Any], str]) -> str:
    """Return the expression where bfloat16 occurs, which the host holds as its bits in uint16."""
    (x, *rest) = symbol.args
    if symbol.op == "astype" and symbol.dtype == "bfloat16":
        return f"narrow({name(x)})"
    if symbol.op == "astype":
        return f"np.asarray(widen({name(x)}), dtype={symbol.dtype!r}){'[()]' if symbol.shape == () else ''}"
    if symbol.op in ("reshape", "permute_dims", "broadcast_to"):
        return f"xp.{symbol.op}({name(x)}, {name(rest[0])})"
    raise NotRecordable(f"{symbol.op} of bfloat16")


def _key(frozen: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(slice(*p[1:]) if isinstance(p, tuple) else p for p in frozen)
