"""The control flow of a kernel as LLVM's text: blocks, and the loops that they make."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from uniopt.backends.fusion.lanes import Lanes


@dataclass
class Carried:
    """Values that a loop carries from one round to the next: their names in the loop and after it, what they become."""

    names: list[str]
    become: list[str] = field(default_factory=list)


class ControlFlow:
    """The blocks of a function body under way; `one` writes its instructions for single elements."""

    def __init__(self, one: Lanes) -> None:
        self.lines = one.lines
        self.let = one.let
        self.block = "entry"

    def label(self, name: str) -> None:
        """Begin a block."""
        self.lines.append(f"{name}:")
        self.block = name

    def branch(self, condition: str, yes: str, no: str) -> None:
        """End a block with a choice between two others."""
        self.lines.append(f"br i1 {condition}, label %{yes}, label %{no}")

    @contextmanager
    def loop(
        self, name: str, start: str, stop: str, by: int = 1, types: Sequence[str] = (), initial: Sequence[str] = ()
    ) -> Iterator[Carried]:
        """Write ``for (i64 name = start; name < stop; name += by)`` around what is written inside."""
        carried, before = Carried([f"%{name}.{i}" for i in range(len(types))]), self.block
        self.lines.append(f"br label %{name}.head")
        self.label(f"{name}.head")
        self.lines.append(f"%{name} = phi i64 [ {start}, %{before} ], [ %{name}.after, %{name}.next ]")
        top = len(self.lines)
        self.lines += carried.names  # their lines are written when it is known what they become
        self.branch(self.let(f"icmp slt i64 %{name}, {stop}"), f"{name}.body", f"{name}.done")
        self.label(f"{name}.body")
        yield carried
        for i, (x, t, first, after) in enumerate(zip(carried.names, types, initial, carried.become, strict=True)):
            self.lines[top + i] = f"{x} = phi {t} [ {first}, %{before} ], [ {after}, %{name}.next ]"
        self.lines.append(f"br label %{name}.next")
        self.label(f"{name}.next")
        self.lines.append(f"%{name}.after = add i64 %{name}, {by}")
        self.lines.append(f"br label %{name}.head")
        self.label(f"{name}.done")
