"""The arrays that a program runs on: whether it may write to them, and that none of them shares memory with another."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from uniopt.backends.dtypes import itemsize
from uniopt.backends.errors import NotWritableError
from uniopt.backends.fusion.layout import contiguous
from uniopt.backends.fusion.memory import Memory
from uniopt.backends.fusion.outline import Outline, outline

_Numbers = np.ndarray[Any, Any]
_NONE: frozenset[int] = frozenset()
_NoneType = type(None)


class Runs(Protocol):
    """A program: it writes into the targets among its arrays."""

    separable: bool
    """Whether it has parts, which missing gradients leave out."""

    def serves(self, missing: frozenset[int]) -> bool:
        """Return whether it can run without the parts of those gradients."""
        ...

    def __call__(self, arrays: Sequence[Any], addresses: list[int], threads: int, missing: frozenset[int]) -> object:
        """Run on arrays that lie at those addresses; something of the same shape stands for a missing gradient.

        The very list of addresses of an earlier call says that all arrays lie where they did.
        """
        ...


class Binding:
    """A program, and the arrays that it writes to.

    Parameters
    ----------
    memory
        How the arrays lie in memory.
    kept
        Arrays that are read, only to know of what kind they are; None for a missing gradient.
    given
        The arrays to be written to. They are held, so that their addresses stay good.
    parameters
        Which of `given` is the parameter of each gradient among `kept`.
    known
        What gradients were like that have been seen.
    captured
        Arrays that the program holds, and reads like those of `kept`, which they follow.

    Attributes
    ----------
    targets
        What is written to: `given` itself, or a list with copies of those that are no arrays of their own.
    watched
        Whose writing the library has to be told of.
    signature
        What decides about the program.

    Raises
    ------
    NotWritableError
        If one of `given` cannot be written to.
    """

    program: Runs

    def __init__(
        self,
        memory: Memory,
        kept: list[Any],
        given: list[Any],
        parameters: Mapping[int, int],
        known: Mapping[int, Outline],
        captured: list[Any],
    ) -> None:
        self._memory = memory
        self._captured = captured
        kept = kept + captured
        self._parameters = parameters
        self.missing = _missing(kept)
        self.given = given
        self.targets = self._writable(given)
        self._separate_targets()
        self.watched = memory.watched(self.targets)
        self._addresses = memory.addresses(self.targets)
        self._places = memory.places(self.targets)
        self._has_scalars = any(isinstance(x, np.generic) for x in kept)
        self._examples = self._count_examples(kept) if self.missing else None
        self._expected = {i: self._expectation(i, known.get(i)) for i in self.missing}
        self._read: list[int] | None = None  # where the arrays of the latest run lay that are read
        self._latest: list[int] = []  # and where all lay
        arrays = self._arrays(kept)
        self._kind = memory.signatures(arrays)  # before anything is copied
        self._unseen = self.missing  # what is known of their kind is their parameters'
        starts = np.array(memory.addresses(arrays), dtype=np.int64)
        ranges = np.array([memory.extent(x) for x in arrays], dtype=np.int64).reshape(-1, 2)
        self._from, self._to = ranges[:, 0] - starts, ranges[:, 1] - starts
        self._shared = self._meets_target(ranges[:, 0], ranges[:, 1])
        self._shared[list(self.missing)] = False
        self._copies = bool(self._shared.any())
        self.kept = self._apart(arrays)
        read = tuple(self.outlines()) if self.missing else memory.signatures(self.kept)
        self.signature = read, memory.signatures(self.targets)
        self._guard = None if self.missing or self._has_scalars else memory.guard([*arrays, *self.targets])

    def outlines(self) -> list[Outline]:
        """Return the outlines of what is read, of missing gradients those that they are expected to have."""
        return [self._expected.get(i) or outline(self._memory, x) for i, x in enumerate(self.kept)]

    def again(self, kept: list[Any], given: list[Any]) -> bool:
        """Do the same as `run` where the library has a quick way to see that all arrays are as they were."""
        guard = self._guard
        if guard is None or not all(map(operator.is_, given, self.given)):
            return False
        arrays = kept + self._captured if self._captured else kept
        if not guard([*arrays, *self.targets]) or self._memory.addresses(self.targets) != self._addresses:
            return False
        return self._go(arrays, _NONE)

    def run(self, kept: list[Any], given: list[Any]) -> bool:
        """Write the results into the targets; return False, with nothing done, if other arrays were given."""
        memory = self._memory
        if self._captured:
            kept = kept + self._captured
        if len(given) != len(self.given) or not all(map(operator.is_, given, self.given)):
            return False
        if memory.places(self.targets) != self._places:
            return False
        missing = _missing(kept)
        if missing != self.missing and not (self.program.separable and self.program.serves(missing)):
            return False
        arrays = self._arrays(kept) if missing or self._has_scalars else kept
        kind = memory.signatures(arrays)
        if (kind != self._kind or self._unseen - missing) and not self._accept(kind, arrays, missing):
            return False
        return self._go(arrays, missing)

    def _accept(self, kind: Any, arrays: list[Any], missing: frozenset[int]) -> bool:
        """Return whether all that differs from what is known are gradients that were missing, and are as expected."""
        memory, n = self._memory, len(arrays)
        differ = {i % n for i, (found, wanted) in enumerate(zip(kind, self._kind, strict=True)) if found != wanted}
        arrived = (differ | self._unseen) - missing
        if any(outline(memory, arrays[i]) != self._expected.get(i) for i in arrived):
            return False
        self._kind = tuple(x if i % n in arrived else y for i, (x, y) in enumerate(zip(kind, self._kind, strict=True)))
        for i in arrived:
            (start,) = memory.addresses([arrays[i]])
            first, stop = memory.extent(arrays[i])
            self._from[i], self._to[i] = first - start, stop - start
        self._unseen -= arrived
        return True

    def _go(self, arrays: list[Any], missing: frozenset[int]) -> bool:
        """Run the program, unless other arrays than before share memory with a target."""
        memory = self._memory
        addresses = memory.addresses(arrays)
        if missing or self._copies or addresses != self._read:
            starts = np.array(addresses, dtype=np.int64)
            shared = self._meets_target(starts + self._from, starts + self._to)
            if missing:
                shared[list(missing)] = False
            if self._copies or shared.any():
                if (shared != self._shared).any():
                    return False
                arrays = self._apart(arrays)
                addresses = memory.addresses(arrays)
            # With copies or missing gradients it is looked at anew each time.
            self._read = None if missing or self._copies else addresses
            self._latest = [*addresses, *self._addresses]
        left_out = missing if self.program.separable else _NONE
        self.program([*arrays, *self.targets], self._latest, memory.threads(), left_out)
        return True

    def results(self) -> list[Any]:
        """Return the targets as the kinds of objects that were given."""
        return [y[()] if isinstance(x, np.generic) else y for x, y in zip(self.given, self.targets, strict=True)]

    def _arrays(self, kept: list[Any]) -> list[Any]:
        """Return arrays alone: a missing gradient is represented by its parameter, of each example if there are any."""
        if any(x is None for x in kept):
            kept = [self._stand_in(i) if x is None else x for i, x in enumerate(kept)]
        if not self._has_scalars:
            return kept
        return [np.asarray(x) if isinstance(x, np.generic) else x for x in kept]

    def _stand_in(self, i: int) -> Any:
        parameter = self.targets[self._parameters[i]]
        return parameter if self._examples is None else self._memory.repeated(parameter, self._examples)

    def _count_examples(self, kept: list[Any]) -> int | None:
        """Return of how many examples gradients are; None if they are shaped like their parameters."""
        shape = self._memory.shape
        first = next((i for i in self._parameters if kept[i] is not None), None)
        if first is None or len(shape(kept[first])) == len(shape(self.targets[self._parameters[first]])):
            return None
        return shape(kept[first])[0]

    def _expectation(self, i: int, known: Outline | None) -> Outline:
        """Return what a missing gradient would be like: as it was, or like its parameter."""
        like = outline(self._memory, self.targets[self._parameters[i]])
        examples = () if self._examples is None else (self._examples,)
        shape, whole = (*examples, *like.shape), (*examples, *like.whole_shape)
        if known is not None and (known.shape, known.whole_shape) == (shape, whole):
            return known
        if known is None and not examples:
            return like
        dtype = like.dtype if known is None else known.dtype
        return Outline(shape, dtype, contiguous(shape, itemsize(dtype)), whole)

    def _apart(self, arrays: list[Any]) -> list[Any]:
        """Return the arrays that are read, copied where they share memory with a target."""
        if not self._copies:
            return arrays
        return [self._memory.copy(x) if shared else x for x, shared in zip(arrays, self._shared, strict=True)]

    def _writable(self, given: list[Any]) -> list[Any]:
        for i, x in enumerate(given):
            if not isinstance(x, np.generic) and (reason := self._memory.refusal(x)) is not None:
                raise NotWritableError(i, reason)
        if any(isinstance(x, np.generic) for x in given):
            return [np.array(x) if isinstance(x, np.generic) else x for x in given]
        return given

    def _separate_targets(self) -> None:
        """Give every target memory of its own; two leaves that share some have different next values."""
        ranges = [self._memory.extent(x) for x in self.targets]
        order = sorted((i for i, (start, stop) in enumerate(ranges) if start < stop), key=lambda i: ranges[i])
        furthest = 0
        for i in order:
            start, stop = ranges[i]
            if start < furthest:
                copy = self._memory.copy(self.targets[i])
                self.targets = [copy if k == i else x for k, x in enumerate(self.targets)]
                ranges[i] = self._memory.extent(copy)
            else:
                furthest = stop
        own = sorted(span for span in ranges if span[0] < span[1])
        self._starts = np.array([start for start, _ in own], dtype=np.int64)
        self._stops = np.array([0, *(stop for _, stop in own)], dtype=np.int64)

    def _meets_target(self, starts: _Numbers, stops: _Numbers) -> _Numbers:
        """Return, for each range of addresses, whether it shares a byte with a target."""
        # Of the targets that begin before a range ends, the last is the one that reaches furthest.
        last = self._starts.searchsorted(stops)
        return (self._stops.take(last) > starts) & np.less(starts, stops)


def _missing(kept: list[Any]) -> frozenset[int]:
    """Return the positions of missing gradients."""
    if _NoneType not in map(type, kept):
        return _NONE
    return frozenset(i for i, x in enumerate(kept) if x is None)
