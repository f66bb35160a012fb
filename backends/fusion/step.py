"""A step as a program made for the arrays it is called with, and kept for the next arrays of their kind."""

from __future__ import annotations

import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from threading import Lock
from typing import Any

from uniopt.backends.errors import EagerStepWarning, NotWritableError, UnioptError
from uniopt.backends.fusion.binding import Binding
from uniopt.backends.fusion.memory import Memory
from uniopt.backends.fusion.program import Program
from uniopt.backends.fusion.recorder import RECORDER
from uniopt.backends.fusion.recording import NotRecordable, Symbol, recording
from uniopt.backends.fusion.schedule import Output, schedule
from uniopt.backends.fusion.separate import separate

_MOST_PROGRAMS = 32

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
    parameters
        Which of `donated` is the parameter of each gradient among `kept`; such a gradient may be None.
    """

    def __init__(self, step: Step, memory: Memory, *, donate: bool, parameters: Mapping[int, int]) -> None:
        self._step = step
        self._memory = memory
        self._parameters = parameters
        self._donate = donate
        self._eager: EagerStep | None = None
        self._programs: dict[Any, Program] = {}
        self._bound: Binding | None = None
        self._lock = Lock()  # a program's tables are its own, so only one call can use them

    def __call__(self, kept: list[Any], donated: list[Any]) -> list[Any]:
        if self._eager is not None:
            return self._eager(kept, donated)
        targets = donated if self._donate else [self._memory.copy(x) for x in donated]
        with self._lock:
            bound = self._bound
            if bound is None or not bound.run(kept, targets):
                bound = self._bind(kept, targets)
                if bound is None:
                    return self._eager(kept, donated)  # type: ignore[misc]  # _bind has made it
                bound.run(kept, targets)
        self._memory.written(bound.targets)
        return targets if bound.targets is bound.given else bound.results()

    def _bind(self, kept: list[Any], given: list[Any]) -> Binding | None:
        """Return what runs these arrays; None if the step cannot be recorded."""
        for x in (*kept, *given):
            if x is not None and (reason := self._memory.out_of_reach(x)) is not None:
                return self._give_up(NotRecordable(reason))
        bound = Binding(self._memory, kept, given, self._parameters)
        whole = self._programs.get((bound.signature, None))
        key = bound.signature, None if whole is None or whole.separable or not bound.missing else bound.missing
        program = self._programs.get(key)
        try:
            if program is None:
                program = self._programs[key] = self._record(bound, key[1] or frozenset())
            if bound.missing and not program.separable and key[1] is None:
                key = bound.signature, bound.missing
                program = self._programs[key] = self._record(bound, bound.missing)
        except NotRecordable as error:
            return self._give_up(error)
        while len(self._programs) > _MOST_PROGRAMS:  # of patterns of missing gradients there is no end
            del self._programs[next(iter(self._programs))]
        bound.program = program
        self._bound = bound
        return bound

    def _record(self, bound: Binding, missing: frozenset[int]) -> Program:
        arrays = [*bound.kept, *bound.targets]
        with recording() as made:
            inputs = [made.input(self._memory.shape(x), self._memory.dtype(x)) for x in arrays]
            targets = inputs[len(bound.kept) :]
            try:
                kept = [None if i in missing else x for i, x in enumerate(inputs[: len(bound.kept)])]
                results = self._step(kept, targets)
            except UnioptError:
                raise
            except Exception as error:  # whatever the user's code makes of a symbol: it may run on arrays
                raise NotRecordable(str(error)) from error
            outputs = [_output(result, target) for result, target in zip(results, targets, strict=True)]
            planned = schedule(made, outputs)
            if self._memory.sharded and not planned.elementwise():
                raise _NeedsWhole("a reduction over shards")
            parameters = {inputs[i]: targets[k] for i, k in self._parameters.items()}
            parts = None if missing else separate(made.symbols, outputs, planned, parameters)
            return Program(planned, inputs, self._memory, parts)

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
