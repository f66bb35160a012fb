"""A step as a program made for the arrays it is called with, and kept for the next arrays of their kind."""

from __future__ import annotations

import inspect
import linecache
import traceback
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from threading import Lock
from typing import Any, NamedTuple

from uniopt.backends.errors import EagerStepWarning
from uniopt.backends.fusion.binding import Binding, Runs
from uniopt.backends.fusion.branches import Branches, Outcomes
from uniopt.backends.fusion.eager import EagerStep
from uniopt.backends.fusion.layout import Strides
from uniopt.backends.fusion.memory import Memory
from uniopt.backends.fusion.outline import Outline, outline
from uniopt.backends.fusion.program import Program
from uniopt.backends.fusion.recorder import RECORDER
from uniopt.backends.fusion.recording import UndecidedError, recording
from uniopt.backends.fusion.schedule import Output, Schedule
from uniopt.backends.fusion.scheduler import schedule
from uniopt.backends.fusion.separate import Parts, Plan, separate
from uniopt.backends.fusion.symbol import NotRecordable, Symbol

_MOST_PROGRAMS = 32
_NONE: frozenset[int] = frozenset()

Step = Callable[[list[Any], list[Any]], list[Any]]
Make = Callable[[Schedule, Mapping[Symbol, Strides], Memory, Parts | None], Runs]


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
    program
        What makes a program of a schedule.
    """

    def __init__(
        self,
        step: Step,
        memory: Memory,
        *,
        donate: bool,
        parameters: Mapping[int, int],
        program: type[Program] | Make = Program,
    ) -> None:
        self._step = step
        self._memory = memory
        self._parameters = parameters
        self._program = program
        self._donate = donate
        self._eager: EagerStep | None = None
        self._programs: dict[Any, _Recorded] = {}
        self._known: dict[int, Outline] = {}  # of gradients
        self._bound: Binding | None = None
        self._lock = Lock()  # a program's tables are its own, so only one call can use them

    def again(self, kept: list[Any], donated: list[Any]) -> list[Any] | None:
        """Return the results where it is quickly seen that all arrays are as in the latest call; None elsewhere."""
        if self._eager is not None or not self._donate:
            return None
        with self._lock:
            bound = self._bound
            if bound is None or not bound.again(kept, donated):
                return None
        return self._results(bound, donated)

    def __call__(self, kept: list[Any], donated: list[Any]) -> list[Any]:
        memory = self._memory
        if (results := self.again(kept, donated)) is not None:
            return results
        kept = memory.resolved(kept)
        if self._eager is not None:
            with memory.untracked():
                return self._eager(kept, donated)
        targets = donated if self._donate else [memory.copy(x) for x in donated]
        with self._lock:
            bound = self._bound
            try:
                if bound is None or not bound.run(kept, targets):
                    with memory.untracked():
                        bound = self._bind(kept, targets)
                    bound.run(kept, targets)
            except NotRecordable as error:
                with memory.untracked():
                    return self._give_up(error, kept, donated)
        return self._results(bound, targets)

    def _results(self, bound: Binding, targets: list[Any]) -> list[Any]:
        self._memory.written(bound.watched)
        return targets if bound.targets is bound.given else bound.results()

    def _bind(self, kept: list[Any], given: list[Any]) -> Binding:
        """Return what runs these arrays; NotRecordable if the step cannot be recorded."""
        for x in (*kept, *given):
            if x is not None and (reason := self._memory.out_of_reach(x)) is not None:
                raise NotRecordable(reason)
        if not self._memory.congruent(kept, given, self._parameters):
            raise _NeedsWhole("parts that do not belong together")
        bind = partial(Binding, self._memory, kept, given, self._parameters, self._known)
        bound = bind([])
        for missing in (None, bound.missing) if bound.missing else (_NONE,):
            key = bound.signature, missing
            found = self._programs.get(key) or self._programs.setdefault(key, self._record(bind, missing))
            if found.program.serves(bound.missing):
                break
        while len(self._programs) > _MOST_PROGRAMS:  # of patterns of missing gradients there is no end
            del self._programs[next(iter(self._programs))]
        if found.captured:
            bound = bind(found.captured)
        bound.program = found.program
        bound.kept = []  # gradients are not to be held beyond the call
        self._bound = bound
        return bound

    def _record(self, bind: Callable[[list[Any]], Binding], without: frozenset[int] | None) -> _Recorded:
        """Return the program for steps without some gradients; for those without any ones, if it is None."""
        memory, missing, bound = self._memory, without or _NONE, bind([])
        kept, targets = bound.outlines(), [outline(memory, x) for x in bound.targets]
        self._known |= {i: kept[i] for i in self._parameters if i not in bound.missing}
        if memory.sharded:  # whether sums are needed is to be the same in every process, whatever its shards
            whole_kept, whole_targets = ([x._replace(shape=x.whole_shape) for x in xs] for xs in (kept, targets))
            whole = self._plan(whole_kept, whole_targets, missing)
            if not whole.planned.elementwise():
                raise _NeedsWhole("an operation on whole arrays")
        plan = self._plan(kept, targets, missing)
        if memory.sharded and _new_numbers(whole.outputs) != _new_numbers(plan.outputs):
            raise _NeedsWhole("a number that belongs to a leaf without a shard here")
        captured = [x for x, _ in plan.made.captured]
        strides = [x.strides for x in (*(bind(captured).outlines() if captured else kept), *targets)]
        if plan.made.conditions and self._program is Program and not memory.sharded:  # a device would be waited for
            return _Recorded(Branches(partial(self._branch, kept, targets, captured, strides)), captured)
        again = partial(self._plan, kept, targets, captured=captured)
        parts = self._parts(plan, again) if without is None else None
        planned = plan.planned if parts is None else parts.schedule
        inputs = dict(zip(plan.inputs, strides, strict=True))
        return _Recorded(self._program(planned, inputs, memory, parts), captured)

    def _branch(
        self,
        kept: Sequence[Outline],
        targets: Sequence[Outline],
        captured: list[Any],
        strides: Sequence[Strides],
        outcomes: Outcomes,
        without: frozenset[int] | None,
    ) -> Program:
        """Return the program for conditions that have turned out so; while there are more, it asks the next one."""
        again = partial(self._plan, kept, targets, captured=captured, outcomes=outcomes)
        with self._memory.untracked():
            plan = again(without or _NONE)
            parts = self._parts(plan, again) if without is None else None
        planned = plan.planned if parts is None else parts.schedule
        return Program(planned, dict(zip(plan.inputs, strides, strict=True)), self._memory, parts, plan.asked)

    def _parts(self, plan: Plan, again: Callable[[frozenset[int]], Plan]) -> Parts | None:
        """Return the parts of a plan without missing gradients; `again` makes one with them."""
        positions = list(self._parameters)

        def without(gradients: Iterable[int]) -> Plan | None:
            try:
                with self._memory.untracked():
                    other = again(frozenset(positions[i] for i in gradients))
            except NotRecordable:
                return None
            return other if (other.asked is None) == (plan.asked is None) else None

        return separate(plan, without)

    def _plan(
        self,
        kept: Sequence[Outline],
        targets: Sequence[Outline],
        missing: frozenset[int],
        captured: Sequence[Any] = (),
        outcomes: Outcomes | None = None,
    ) -> Plan:
        """Return a recording of the step on arrays of these shapes and dtypes, and how to run it."""
        with recording(self._outline, outcomes, self._memory.has_float64) as made:
            read, written = (
                [made.input(x.shape, x.dtype, backwards=min(x.strides, default=0) < 0) for x in xs]
                for xs in (kept, targets)
            )
            parameters = {read[i]: written[k] for i, k in self._parameters.items()}
            for x in captured:
                made.capture(x)
            try:
                results = self._step([None if i in missing else x for i, x in enumerate(read)], written)
                outputs = [_output(result, target) for result, target in zip(results, written, strict=True)]
                return Plan(made, read, written, parameters, outputs, schedule(made, outputs))
            except NotRecordable:
                raise
            except UndecidedError as error:
                planned = schedule(made, [], [error.predicate])
                return Plan(made, read, written, parameters, [], planned, error.predicate)
            except Exception as error:  # whatever the user's code makes of a symbol: it may run on arrays
                raise NotRecordable(str(error)) from error

    def _outline(self, x: Any) -> tuple[tuple[int, ...], str] | None:
        memory = self._memory
        if not memory.holds(x):
            return None
        if (reason := memory.out_of_reach(x)) is not None:
            raise NotRecordable(reason)
        if memory.sharded and memory.shape(x):
            raise _NeedsWhole("an array that the program holds")
        return memory.shape(x), memory.dtype(x)

    def _give_up(self, why: NotRecordable, kept: list[Any], donated: list[Any]) -> list[Any]:
        """Run eagerly, now and from now on. If that works, say once why."""
        eager = EagerStep(self._step, self._memory, donate=self._donate)
        results = eager(kept, donated)  # may be wrong in itself, which it says in the library's own words
        self._eager = eager
        if not isinstance(why, _NeedsWhole):
            warnings.warn(
                f"A compiled step runs operation by operation: {why}{_line(why)}. Steps are compiled that run on one "
                "device, and are written in the functions of the Array API standard, without Python branches on "
                "arrays.",
                EagerStepWarning,
                stacklevel=_callers_level(),
            )
        return results


class _Recorded(NamedTuple):
    """A program, and the arrays that it found in the hyperparameters."""

    program: Runs
    captured: list[Any]


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


def _new_numbers(outputs: list[Output]) -> list[bool]:
    """Return which of the outputs are 0-d, and change."""
    return [out.target.shape == () and out.symbol is not out.target for out in outputs]


def _line(error: NotRecordable) -> str:
    """Return the line that could not be recorded: the innermost one outside the recorder and the libraries."""
    frames = traceback.walk_tb((error.__cause__ or error).__traceback__)
    modules = [(frame.f_globals.get("__name__", ""), frame, line) for frame, line in frames]
    skipped = ("uniopt.backends.", "numpy.", "torch.", "array_api_compat.")
    outside = [(frame.f_code.co_filename, line) for name, frame, line in modules if not name.startswith(skipped)]
    if not outside:
        return ""
    file, line = outside[-1]
    return f" ({file}:{line}: {linecache.getline(file, line).strip()})"


def _callers_level() -> int:
    """Return how many frames above the caller of this function the one is that called the compiled step."""
    level, frame = 1, inspect.currentframe()
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] in ("uniopt", "torch"):
        level, frame = level + 1, frame.f_back
    return level - 1
