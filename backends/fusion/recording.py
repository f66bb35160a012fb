"""Recordings: the operations of a program, written down instead of carried out.

Equal operations on equal symbols are one symbol, so that a rule that computes a thing twice is recorded as computing it
once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from operator import attrgetter
from typing import Any

from uniopt.backends.fusion.symbol import Shape, Symbol, identity

_INDEX = attrgetter("index")


class UndecidedError(Exception):
    """A recording meets a condition, and has not been told how it turns out."""

    def __init__(self, predicate: Symbol) -> None:
        super().__init__("a condition that has not been decided")
        self.predicate = predicate


class Recording:
    """The symbols of one program, in the order in which they can be computed.

    Attributes
    ----------
    symbols
        All of them.
    captured
        Arrays that the program found in its hyperparameters instead of among its inputs, and their symbols.
    conditions
        How many conditions it has met.
    has_float64
        Whether there is float64 where the program will run.
    """

    def __init__(
        self,
        outline: Callable[[Any], tuple[Shape, str] | None],
        outcomes: Sequence[bool] | None = None,
        has_float64: bool = True,
    ) -> None:
        self.symbols: list[Symbol] = []
        self.captured: list[tuple[Any, Symbol]] = []
        self.conditions = 0
        self.has_float64 = has_float64
        self._outline = outline
        self._outcomes = outcomes
        self._known: dict[Any, Symbol] = {}

    def input(self, shape: Shape, dtype: str, *, backwards: bool = False) -> Symbol:
        """Return the symbol of a further input, whose elements may lie `backwards` in memory."""
        return self.record("input", (len(self.symbols), backwards), (), tuple(shape), dtype)

    def capture(self, x: Any) -> Symbol | None:
        """Return the symbol of an array that the program holds; None if it is no array of the recorded library."""
        for known, symbol in self.captured:
            if known is x:
                return symbol
        outline = self._outline(x)
        if outline is None:
            return None
        self.captured.append((x, self.input(*outline)))
        return self.captured[-1][1]

    def decide(self, predicate: Symbol) -> bool | None:
        """Return how the next condition turns out, or None if both sides are to be recorded.

        Raises
        ------
        UndecidedError
            If it is not known.
        """
        self.conditions += 1
        if self._outcomes is None:
            return None
        if self.conditions > len(self._outcomes):
            raise UndecidedError(predicate)
        return self._outcomes[self.conditions - 1]

    def record(
        self, op: str, args: tuple[Any, ...], keywords: tuple[tuple[str, Any], ...], shape: Shape, dtype: str
    ) -> Symbol:
        """Return the symbol of an operation, the same one for the same operation."""
        key = (op, identity(args, _INDEX), keywords, shape, dtype)
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = Symbol(self, len(self.symbols), op, args, keywords, shape, dtype)
            self.symbols.append(known)
        return known


_current: ContextVar[Recording] = ContextVar("recording")


def current() -> Recording:
    """Return the recording that is being made."""
    return _current.get()


@contextmanager
def recording(
    outline: Callable[[Any], tuple[Shape, str] | None],
    outcomes: Sequence[bool] | None = None,
    has_float64: bool = True,
) -> Iterator[Recording]:
    """Make a recording; symbols are made inside the context.

    Parameters
    ----------
    outline
        Returns the shape and the dtype of an array of the library that is recorded, and None for what is none.
    outcomes
        How the first conditions turn out; by default both sides of all are recorded.
    has_float64
        Whether there is float64 where the program will run.
    """
    token = _current.set(Recording(outline, outcomes, has_float64))
    try:
        yield _current.get()
    finally:
        _current.reset(token)
