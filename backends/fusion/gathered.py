"""What is gathered from several leaves: which operations do that, and what becomes of it without a leaf.

Mostly these are numbers, such as norms of leaves, or an array of each, such as the norms of every example's gradient.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from uniopt.backends.fusion.operations import FLOATS
from uniopt.backends.fusion.schedule import Group, Output
from uniopt.backends.fusion.symbol import Symbol, identity, symbols_in, users

_INFINITY = float("inf")
NEUTRAL: Mapping[str, float | bool] = {
    "add": 0, "maximum": -_INFINITY, "minimum": _INFINITY,
    "logical_and": True, "bitwise_and": True, "logical_or": False, "bitwise_or": False,
}  # fmt: skip
"""What gathers one thing after another, and the number that changes nothing."""


@dataclass
class Gathered:
    """What the symbols of a recording need.

    Attributes
    ----------
    needs
        For each symbol the gradients (with their parameters) whose part it belongs to, as bits: one or none.
    shared
        The symbols of no part that depend on gradients all the same.
    gathered
        For each operation that gathers, those of its arguments that belong to a part.
    own
        The inputs that are written to with no need of any gradient, and yet belong to a part, such as a leaf's counter.
    """

    needs: dict[Symbol, int] = field(default_factory=dict)
    shared: set[Symbol] = field(default_factory=set)
    gathered: dict[Symbol, list[Symbol]] = field(default_factory=dict)
    own: dict[Symbol, int] = field(default_factory=dict)
    _read: dict[Symbol, int] = field(default_factory=dict)
    _inputs: dict[Symbol, int] = field(default_factory=dict)

    def part(self, out: Output) -> int:
        """Return the part that an output belongs to, as bits: one or none."""
        return self.needs[out.symbol] | self.own.get(out.target, 0)

    def arrays(self) -> dict[Symbol, float | bool] | None:
        """Return the arrays that are gathered, each with what changes nothing; None if one has several of that."""
        found: dict[Symbol, float | bool] = {}
        for symbol, args in self.gathered.items():
            for x in (x for x in args if x.shape != ()):
                if found.setdefault(x, NEUTRAL[symbol.op]) != NEUTRAL[symbol.op]:
                    return None
        return found

    @cached_property
    def apart(self) -> set[Symbol]:
        """Return the arrays at which parts and the rest meet: what is gathered, and what parts read of that."""
        read = {x for symbol, bits in self.needs.items() if bits for x in symbols_in(symbol.args)}
        return {x for x in (read & self.shared).union(*self.gathered.values()) if x.shape != ()}

    def of(self, group: Group) -> int:
        """Return the parts that a loop belongs to, as bits: none for one that everybody needs."""
        found = 0
        for x in (*group.computed, *group.reductions, *(group.stored_in.keys() - self.apart)):
            found |= self.needs[x]
        for _, memory in group.stores:
            found |= self.own.get(memory, 0)
        return found

    def reads(self, out: Output, x: Symbol) -> bool:
        """Return whether an output depends on an input that is no gradient and no parameter."""
        return bool(self._read[out.symbol] & self._inputs.get(x, 0))


def gather(
    symbols: Sequence[Symbol], outputs: Sequence[Output], parameters: Mapping[Symbol, Symbol]
) -> Gathered | None:
    """Return what the symbols of a recording need; None if an operation needs several gradients and gathers nothing."""
    own = {x: 1 << i for i, pair in enumerate(parameters.items()) for x in pair}
    starts = _starts(symbols, own)
    found = Gathered(_inputs={out.target: 1 << i for i, out in enumerate(outputs) if out.target not in own})
    reached = _reached(symbols, outputs, own)
    for symbol in (x for x in symbols if x in reached):
        args = [x for x in symbols_in(symbol.args) if x in found.needs]
        bits = own.get(symbol, 0)
        for x in args:
            bits |= found.needs[x]
        common = any(x in found.shared for x in args)
        several = bits.bit_count() > 1
        shares = bits and (symbol in starts or (common and _gathers(symbol) and reached[symbol] & ~bits))
        if several or shares:
            if several and not _gathers(symbol):
                return None
            found.gathered[symbol] = [x for x in args if found.needs[x]]
            bits, common = 0, True
        found.needs[symbol] = bits
        if common and not bits:
            found.shared.add(symbol)
        found._read[symbol] = found._inputs.get(symbol, 0)
        for x in args:
            found._read[symbol] |= found._read[x]
    return found


def _gathers(symbol: Symbol) -> bool:
    if symbol.op not in NEUTRAL or any(
        (x.dtype, x.shape) != (symbol.dtype, symbol.shape) for x in symbols_in(symbol.args)
    ):
        return False
    return symbol.dtype == "bool" if isinstance(NEUTRAL[symbol.op], bool) else symbol.dtype in (*FLOATS, "int32")


def _value(x: Any) -> Any:
    """Return the number that an argument is, whatever its form; None for others."""
    if isinstance(x, Symbol):
        return x.args[0] if x.op == "constant" else None
    return x


def _starts(symbols: Sequence[Symbol], own: Mapping[Symbol, int]) -> set[Symbol]:
    """Return where gathering starts from something that is of no leaf, and goes on with the second leaf.

    That is not to be skipped with the first one. What every leaf has besides, such as an epsilon for each, is.
    """
    bits: dict[Symbol, int] = {}
    candidates: set[Symbol] = set()
    for symbol in symbols:
        bits[symbol] = own.get(symbol, 0)
        for x in symbols_in(symbol.args):
            bits[symbol] |= bits[x]
        if bits[symbol].bit_count() == 1 and _gathers(symbol):
            others = [x for x in symbol.args if not bits.get(x)]
            if any(_value(x) != NEUTRAL[symbol.op] for x in others):
                candidates.add(symbol)
    uses = users(symbols)
    return {
        x
        for x in candidates
        if uses[x]
        and all(
            _gathers(use)
            and use.op == x.op
            and any(y is not x for y in use.args)
            and all(y is x or (y not in candidates and (bits.get(y, 0) & ~bits[x]).bit_count() == 1) for y in use.args)
            for use in uses[x]
        )
    }


def _reached(symbols: Sequence[Symbol], outputs: Iterable[Output], own: Mapping[Symbol, int]) -> dict[Symbol, int]:
    """Return, for each symbol that an output needs, the parameters whose next values depend on it, as bits.

    There is one bit more, for the numbers in the state.
    """
    number = 1 << len(own)
    found: dict[Symbol, int] = {}
    for out in outputs:
        bits = own.get(out.target, 0 if out.target.shape else number)
        found[out.symbol] = found.get(out.symbol, 0) | bits
    for symbol in reversed(symbols):
        for x in symbols_in(symbol.args) if symbol in found else ():
            found[x] = found.get(x, 0) | found[symbol]
    return found


def are_alike(
    whole: Gathered, outputs: Sequence[Output], part: Gathered, others: Sequence[Output], *, missing: int
) -> bool:
    """Return whether a recording without some gradients, as bits, is the whole one without what belongs to them."""
    keys: dict[Any, int] = {}
    first, second = _Keys(whole, keys, missing), _Keys(part, keys, 0)
    for out, other in zip(outputs, others, strict=True):
        if whole.part(out) & missing:
            if other.symbol is not other.target:
                return False
        elif first.of(out.symbol) != second.of(other.symbol):
            return False
    return True


class _Keys:
    """Numbers that two symbols share if they stand for the same operations on the same inputs."""

    def __init__(self, found: Gathered, keys: dict[Any, int], missing: int) -> None:
        self._found = found
        self._keys = keys
        self._missing = missing
        self._known: dict[Symbol, int] = {}

    def of(self, symbol: Symbol) -> int:
        left = [symbol]
        while left:
            x = left[-1]
            args = self._gathered(x) if _gathers(x) else x.args
            unknown = [y for y in symbols_in(args) if y not in self._known]
            left += unknown
            if not unknown:
                self._known[left.pop()] = self._key(x, args)
        return self._known[symbol]

    def _key(self, x: Symbol, args: Sequence[Any]) -> int:
        alone = args[0] if len(args) == 1 and isinstance(args[0], Symbol) else None
        if alone is not None and (_gathers(x) or (x.op == "astype" and x.dtype == alone.dtype)):
            return self._known[alone]
        parts = identity(args, self._known.__getitem__)
        return self._keys.setdefault((x.op, parts, x.keywords, x.shape, x.dtype), len(self._keys))

    def _gathered(self, symbol: Symbol) -> list[Any]:
        """Return all that is gathered by one operation after another of the same kind, but for what changes nothing."""
        found: list[Any] = []
        left = [symbol]
        while left:
            x = left.pop()
            if _value(x) == NEUTRAL[symbol.op] or (isinstance(x, Symbol) and self._found.needs[x] & self._missing):
                continue
            if x is symbol or (x in self._found.gathered and x.op == symbol.op):
                left += reversed(x.args)
            else:
                found.append(x)
        return found
