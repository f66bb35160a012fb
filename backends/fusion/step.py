"""A step as a program made for the arrays it is called with, and kept for the next arrays of their kind."""

from __future__ import annotations

import operator
import traceback
import warnings
from collections.abc import Callable, Sequence
from threading import Lock
from typing import Any

import numpy as np
from uniopt.backends.errors import EagerStepWarning, NotWritableError, UnioptError
from uniopt.backends.fusion.memory import Memory, Occupied
from uniopt.backends.fusion.program import Program
from uniopt.backends.fusion.recorder import RECORDER
from uniopt.backends.fusion.recording import NotRecordable, Symbol, recording
from uniopt.backends.fusion.schedule import Output, schedule

Step = Callable[[list[Any], list[Any]], list[Any]]


class EagerStep:
    """A step that runs as it is, and whose results are written into the arrays they replace."""

    def __init__(self, step: Step, memory: Memory, *, donate: bool) -> None:
        self._step = step
        self._memory = memory
        self._donate = donate

    def __call__(self, kept: list[Any], donated: list[Any]) -> list[Any]:
        results = self._step(kept, donated)
        if not self._donate:
            return results
        for i, (x, result) in enumerate(zip(donated, results, strict=True)):
            if (reason := self._memory.refusal(x)) is not None:
                raise NotWritableError(i, reason)
            self._memory.assign(x, result)
        return donated


class FusedStep:
    """A step whose recording runs as a program over memory.

    Parameters
    ----------
    step
        ``step(kept, donated)`` returns new values of `donated`.
    memory
        How the library's arrays lie in memory.
    donate
        Whether the results are written into `donated`, or into copies.
    """

    def __init__(self, step: Step, memory: Memory, *, donate: bool) -> None:
        self._step = step
        self._memory = memory
        self._donate = donate
        self._eager: EagerStep | None = None
        self._programs: dict[Any, Program] = {}
        self._bound: _Bound | None = None
        self._lock = Lock()  # a program's tables are its own, so only one call can use them

    def __call__(self, kept: list[Any], donated: list[Any]) -> list[Any]:
        if self._eager is not None:
            return self._eager(kept, donated)
        targets = donated if self._donate else [self._memory.copy(x) for x in donated]
        with self._lock:
            bound = self._bound
            if bound is None or not bound.fits(kept, targets):
                bound = self._bind(kept, targets)
                if bound is None:
                    return self._eager(kept, donated)  # type: ignore[misc]  # _bind has made it
            bound.run(kept)
        self._memory.written(bound.targets)
        return targets if bound.targets is bound.given else bound.results()

    def _bind(self, kept: list[Any], given: list[Any]) -> _Bound | None:
        """Return what runs these arrays; None if the step cannot be recorded."""
        for x in (*kept, *given):
            if (reason := self._memory.out_of_reach(x)) is not None:
                return self._give_up(NotRecordable(reason))
        bound = _Bound(self._memory, kept, given)
        program = self._programs.get(bound.signature)
        if program is None:
            try:
                program = self._record(bound)
            except NotRecordable as error:
                return self._give_up(error)
            self._programs[bound.signature] = program
        bound.program = program
        self._bound = bound
        return bound

    def _record(self, bound: _Bound) -> Program:
        arrays = [*bound.kept, *bound.targets]
        with recording() as made:
            inputs = [made.input(self._memory.shape(x), self._memory.dtype(x)) for x in arrays]
            targets = inputs[len(bound.kept) :]
            try:
                results = self._step(inputs[: len(bound.kept)], targets)
            except UnioptError:
                raise
            except Exception as error:  # whatever the user's code makes of a symbol: it may run on arrays
                raise NotRecordable(str(error)) from error
            outputs = [_output(result, target) for result, target in zip(results, targets, strict=True)]
            planned = schedule(made, outputs)
            if self._memory.sharded and not planned.elementwise():
                raise _NeedsWhole("a reduction over shards")
            return Program(planned, inputs, self._memory)

    def _give_up(self, error: NotRecordable) -> None:
        """Run eagerly from now on, and say why once."""
        self._eager = EagerStep(self._step, self._memory, donate=self._donate)
        if not isinstance(error, _NeedsWhole):
            warnings.warn(
                f"A step runs eagerly, because it could not be compiled: {error} ({_line(error)}). "
                "Write rules with the functions of the Array API standard, without Python branches on arrays.",
                EagerStepWarning,
                stacklevel=6,
            )


class _NeedsWhole(NotRecordable):
    """A program needs whole arrays, and has only its process's shards. Documented, so that it needs no warning."""


class _Bound:
    """A program, and the arrays whose addresses it knows."""

    program: Program

    def __init__(self, memory: Memory, kept: list[Any], given: list[Any]) -> None:
        self._memory = memory
        self.given = given
        self.targets = self._writable(given)
        self._occupied = Occupied()
        for i, x in enumerate(self.targets):
            where = memory.extent(x)
            if self._occupied.meets(where):  # two leaves share memory; each has its own next value
                x = memory.copy(x)
                self.targets = [*self.targets[:i], x, *self.targets[i + 1 :]]
                where = memory.extent(x)
            self._occupied.add(where)
        self.kept = self._apart(kept)
        self._kept_signature = tuple(map(memory.signature, self.kept))
        self._target_signature = tuple(map(memory.signature, self.targets))
        self.signature = self._kept_signature, self._target_signature
        self._addresses = [memory.address(x) for x in self.targets]

    def fits(self, kept: list[Any], given: list[Any]) -> bool:
        """Return whether these are the arrays, or of the kind, that the program is bound to."""
        signature = self._memory.signature
        if len(given) != len(self.given) or not all(map(operator.is_, given, self.given)):
            return False
        if tuple(map(signature, kept)) != self._kept_signature:
            return False
        if self._memory.pinned:
            return True
        addresses = list(map(self._memory.address, self.targets))
        return addresses == self._addresses and tuple(map(signature, self.targets)) == self._target_signature

    def run(self, kept: list[Any]) -> None:
        """Write the results into the targets."""
        memory = self._memory
        kept = self._apart(kept)
        self.program([*kept, *self.targets], [*map(memory.address, kept), *self._addresses], memory.threads())

    def results(self) -> list[Any]:
        """Return the targets as the kinds of objects that were given."""
        return [y[()] if isinstance(x, np.generic) else y for x, y in zip(self.given, self.targets, strict=True)]

    def _writable(self, given: list[Any]) -> list[Any]:
        if not any(isinstance(x, np.generic) for x in given):
            for i, x in enumerate(given):
                if (reason := self._memory.refusal(x)) is not None:
                    raise NotWritableError(i, reason)
            return given
        return self._writable([np.array(x) if isinstance(x, np.generic) else x for x in given])

    def _apart(self, kept: list[Any]) -> list[Any]:
        """Return the arrays that are only read, copied where they share memory with a target."""
        apart, meets, extent = kept, self._occupied.meets, self._memory.extent
        for i, x in enumerate(kept):
            if isinstance(x, np.generic) or meets(extent(x)):
                apart = [*apart[:i], self._memory.copy(x), *apart[i + 1 :]]
        return apart


def _output(result: Any, target: Symbol) -> Output:
    found = result if isinstance(result, Symbol) else RECORDER.asarray(result)
    if found.shape != target.shape or found.dtype != target.dtype:
        raise NotRecordable(
            f"a leaf of shape {target.shape} and dtype {target.dtype} becomes one of shape {found.shape} and dtype "
            f"{found.dtype}"
        )
    return Output(found, target)


def _line(error: NotRecordable) -> str:
    """Return the line that could not be recorded: the innermost one outside the recorder."""
    frames: Sequence[traceback.FrameSummary] = traceback.extract_tb((error.__cause__ or error).__traceback__)
    outside = [frame for frame in frames if "/fusion/" not in frame.filename.replace("\\", "/")]
    return f"{outside[-1].filename}:{outside[-1].lineno}: {outside[-1].line}" if outside else "while it was scheduled"
