"""What is seen while the libraries train: bars on a terminal, else one line a library."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from uniopt.cli.demo.training import Run


class Progress(Protocol):
    """Told what happens."""

    def start(self, library: str) -> None:
        """Hear that a library begins."""

    def epoch(self, library: str, epoch: int, loss: float) -> None:
        """Hear that it has finished an epoch, and the mean loss of its steps."""

    def finish(self, library: str, run: Run | None, problem: str | None) -> None:
        """Hear that it is done, or why it is not."""


@contextmanager
def shown_on(console: Console, epochs: int) -> Iterator[Progress]:
    """Show the progress on the console: live if it is a terminal, else in lines that a log file can keep."""
    if not console.is_terminal:
        yield _Lines(console)
        return
    columns = (
        TextColumn("{task.description:<16}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TextColumn("epochs"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Bars(*columns, console=console) as bars:
        yield _Live(bars, epochs)


class _Live:
    def __init__(self, bars: Bars, epochs: int) -> None:
        self.bars = bars
        self.epochs = epochs
        self.tasks: dict[str, TaskID] = {}

    def start(self, library: str) -> None:
        self.tasks[library] = self.bars.add_task(library, total=self.epochs, note="")

    def epoch(self, library: str, epoch: int, loss: float) -> None:
        self.bars.update(self.tasks[library], completed=epoch, note=f"loss {loss:.4f}")

    def finish(self, library: str, run: Run | None, problem: str | None) -> None:
        if library in self.tasks:
            self.bars.update(self.tasks[library], note=_summary(run, problem))
            self.bars.stop_task(self.tasks[library])


class _Lines:
    def __init__(self, console: Console) -> None:
        self.console = console

    def start(self, library: str) -> None:
        pass

    def epoch(self, library: str, epoch: int, loss: float) -> None:
        pass

    def finish(self, library: str, run: Run | None, problem: str | None) -> None:
        took = "" if run is None else f" in {run.seconds:.1f} s"
        self.console.print(f"{library}: {_summary(run, problem)}{took}", highlight=False, markup=False, soft_wrap=True)


def _summary(run: Run | None, problem: str | None) -> str:
    if run is None:
        return problem or ""
    return f"loss {run.final_loss:.4f}, test accuracy {run.test_accuracy:.1%}"
