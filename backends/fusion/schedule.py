"""A program as a schedule: passes over memory, each of several loops, and the host's turns between them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from uniopt.backends.fusion.functions import ELEMENTWISE
from uniopt.backends.fusion.symbol import Symbol, symbols_in

REDUCTIONS = ("sum", "max", "min")
VIEWS = ("reshape", "permute_dims", "broadcast_to", "getitem", "real", "imag")


@dataclass(frozen=True, eq=False)
class Output:
    """A symbol whose value the program returns, in the memory of an input."""

    symbol: Symbol
    target: Symbol  # an input of the same shape and dtype


@dataclass(eq=False)
class Group:
    """What one loop over one shape computes in a pass."""

    shape: tuple[int, ...]
    stores: list[tuple[Symbol, Symbol]] = field(default_factory=list)  # (what, the input or symbol whose memory)
    reductions: list[Symbol] = field(default_factory=list)
    computed: set[Symbol] = field(default_factory=set)
    stored_in: dict[Symbol, Symbol] = field(default_factory=dict)  # symbols to be loaded, and whose memory has them


@dataclass(eq=False)
class Turn:
    """The host's work between two passes."""

    symbols: list[Symbol] = field(default_factory=list)
    copies: list[Output] = field(default_factory=list)  # results of the host that belong into inputs


@dataclass(frozen=True)
class Schedule:
    """A program: turns and passes alternate, beginning with a turn.

    Attributes
    ----------
    aliases
        Symbols whose value is to be found in the memory of an input, once they have been computed.
    outputs
        What is computed, but for inputs that stay as they are.
    needed
        The symbols that this takes, arguments first.
    """

    turns: list[Turn]
    passes: list[list[Group]]
    aliases: dict[Symbol, Symbol]
    outputs: list[Output]
    needed: list[Symbol]

    def elementwise(self) -> bool:
        """Return whether no element of a result depends on another position's elements."""
        groups = [group for groups in self.passes for group in groups]
        positions = any(x.op == "arange" for group in groups for x in group.stored_in)
        if positions or any(group.reductions for group in groups):
            return False
        return all(
            symbol.op in ELEMENTWISE
            or symbol.op == "constant"
            or all(x.shape == () or 0 in x.shape for x in (symbol, *symbols_in(symbol.args)))
            for turn in self.turns
            for symbol in turn.symbols
        )

    def symbols(self) -> list[Symbol]:
        """Return all symbols that are computed or read, some of them several times."""
        found = [symbol for turn in self.turns for symbol in turn.symbols]
        for groups in self.passes:
            for group in groups:
                found += [*group.computed, *group.stored_in, *group.reductions]
        return found


def root(x: Symbol) -> Symbol:
    """Return the symbol whose memory a view shows."""
    while x.op in VIEWS:
        x = x.args[0]
    return x


def overtaken(copies: Iterable[Output]) -> set[Symbol]:
    """Return what copies that are made one after another would find overwritten by an earlier one."""
    found, written = set(), set()
    for out in copies:
        if root(out.symbol) in written:
            found.add(out.symbol)
        written.add(out.target)
    return found
