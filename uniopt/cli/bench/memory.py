"""Rows that compare how high memory climbs during a compiled step with what it may: each in a process of its own."""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Callable
from pathlib import Path

from uniopt.cli.bench import fresh, optimizers, sides, traffic
from uniopt.cli.bench.outcome import Outcome
from uniopt.cli.bench.peers import library
from uniopt.cli.bench.settings import Settings
from uniopt.cli.bench.sizes import SIZES
from uniopt.cli.bench.targets import Row
from uniopt.cli.bench.timing import Ratio

_LEAST_ALLOWED = 16 * 2**20
_SHARE_ALLOWED = 0.01


def measure(row: Row, settings: Settings) -> Outcome:
    """Return the ratio of the memory that a step takes to the memory that it may take."""
    if not sys.platform.startswith("linux"):
        return Outcome.not_run("the peak of a process can be reset on Linux only")
    peak: int = fresh.call(
        "uniopt.cli.bench.memory",
        "peak_bytes",
        backend=row.backend,
        optimizer=row.optimizer,
        size=row.size.name,
        threads=settings.threads,
    )
    held = 2 * row.size.nbytes + traffic.state_bytes(row.optimizer, row.size)
    allowed = max(_SHARE_ALLOWED * held, _LEAST_ALLOWED)
    measured = {"peak_bytes": peak, "held_bytes": held, "allowed_bytes": allowed}
    return Outcome.of(Ratio.of([peak], [allowed]), row.target, measured, settings.doubt())


def peak_bytes(backend: str, optimizer: str, size: str, threads: int) -> int:
    """Return by how much the resident memory of this process climbs during a compiled step that is warmed up."""
    arrays = library(backend)
    arrays.limit(threads)
    tx = optimizers.transformation(optimizer)
    side = sides.Compiled(arrays, tx, SIZES[size].params(), optimizers.extra(optimizer))
    side.give(SIZES[size].gradients(1))
    for _ in range(2):
        side.step()
    return climb(side.step)


def climb(step: Callable[[], None]) -> int:
    """Return by how many bytes the resident memory of this process climbs while a step runs, twice."""
    gc.collect()
    if hasattr(libc := ctypes.CDLL(None), "malloc_trim"):  # glibc keeps what is freed, and its use would not be seen
        libc.malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from what is resident now; see proc(5)
    before = _resident()["VmRSS"]
    for _ in range(2):
        step()
    return _resident()["VmHWM"] - before


def _resident() -> dict[str, int]:
    """Return the bytes of memory that are resident now (VmRSS), and the most that have been (VmHWM)."""
    lines = [line.split() for line in Path("/proc/self/status").read_text().splitlines()]
    return {words[0].rstrip(":"): 1024 * int(words[1]) for words in lines if words[0] in ("VmRSS:", "VmHWM:")}
