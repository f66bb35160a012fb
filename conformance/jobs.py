"""A run in several processes, each with its share of the cases."""

from __future__ import annotations

import multiprocessing
import queue
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from uniopt.conformance import suite
from uniopt.conformance.cells import Selection
from uniopt.conformance.record import Record, entry
from uniopt.conformance.runner import run_cells
from uniopt.conformance.third_party import Guests
from uniopt.conformance.waivers import Waiver

_PATIENCE = 1.0  # seconds between looks at whether the processes are alive


def run(
    selection: Selection,
    guests: Guests,
    jobs: int,
    on_entry: Callable[[dict[str, Any]], None],
    given: Sequence[Waiver] = (),
) -> Record:
    """Return the record of a run in `jobs` processes; `on_entry` is told of each cell when it is done.

    Raises
    ------
    RuntimeError
        If a process ends before its cells do.
    """
    cells, oracles = suite.planned(selection, guests.cases())
    entries: dict[str, dict[str, Any]] = {}
    for made in _entries(selection, guests, jobs):
        on_entry(made)
        entries[made["name"]] = made
    # In the order of one process, so that the number of jobs leaves no trace in the record.
    return suite.recorded([entries[cell.name] for cell in cells], cells, oracles, selection, given)


def _entries(selection: Selection, guests: Guests, jobs: int) -> Iterator[dict[str, Any]]:
    context = multiprocessing.get_context("spawn")  # JAX and torch have threads, which a fork would lose
    done: Any = context.Queue()
    shares = [replace(selection, shards=(*selection.shards, (k, jobs))) for k in range(jobs)]
    workers = [context.Process(target=_work, args=(share, guests, done), daemon=True) for share in shares]
    for worker in workers:
        worker.start()
    running = len(workers)
    while running:
        try:
            made = done.get(timeout=_PATIENCE)
        except queue.Empty:
            if dead := [worker.exitcode for worker in workers if worker.exitcode]:
                raise RuntimeError(f"A process of the suite ended with the exit code {dead[0]}.") from None
            continue
        if made is None:
            running -= 1
        else:
            yield made
    for worker in workers:
        worker.join()


def _work(selection: Selection, guests: Guests, done: Any) -> None:
    guests.register()
    for result in run_cells(*suite.planned(selection, guests.cases())):
        done.put(entry(result))
    done.put(None)
