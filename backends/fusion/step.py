"""A step as a program made for the arrays it is called with, kept for the next arrays of the same kind."""

from __future__ import annotations

import traceback
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from uniopt.backends.fusion.memory import Memory
from uniopt.backends.fusion.program import Program
from uniopt.backends.fusion.recorder import RECORDER
from uniopt.backends.fusion.recording import NotRecordable, Symbol, recording
from uniopt.backends.fusion.schedule import Output, schedule

Step = Callable[[list[Any], list[Any]], list[Any]]


class FusedStep:
    """The compiled form of ``step(kept, donated)``, which returns new values of `donated`."""

    def __init__(self, step: Step, memory: Memory, *, donate: bool) -> None:
        self._step = step
        self._memory = memory
        self._donate = donate
        self._programs: dict[Any, Program] = {}

    def __call__(self, kept: list[Any], donated: list[Any]) -> list[Any]:
        memory = self._memory
        if not self._donate:
            donated = [memory.copy(x) for x in donated]
        arrays = kept + donated
        signature = tuple(map(memory.signature, arrays))
        program = self._programs.get(signature)
        if program is None:
            program = self._programs[signature] = self._record(kept, donated)
        program(arrays, memory.threads())
        memory.written(donated)
        return donated

    def _record(self, kept: Sequence[Any], donated: Sequence[Any]) -> Program:
        with recording() as made:
            inputs = [made.input(tuple(x.shape), self._memory.dtype(x)) for x in (*kept, *donated)]
            targets = inputs[len(kept) :]
            results = self._step(inputs[: len(kept)], targets)
            outputs = [_output(result, target) for result, target in zip(results, targets, strict=True)]
            return Program(schedule(made, outputs), inputs, self._memory)


def _output(result: Any, target: Symbol) -> Output:
    found = result if isinstance(result, Symbol) else RECORDER.asarray(result)
    if found.shape != target.shape or found.dtype != target.dtype:
        raise NotRecordable(
            f"a leaf of shape {target.shape} and dtype {target.dtype} that becomes one of shape {found.shape} and "
            f"dtype {found.dtype}"
        )
    return Output(found, target)


def where(error: NotRecordable) -> str:
    """Return the line that could not be recorded: the innermost one outside the recorder."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "/fusion/" not in f.filename.replace("\\", "/")]
    return f"{frames[-1].filename}:{frames[-1].lineno}: {frames[-1].line}" if frames else "unknown"


_ = warnings
