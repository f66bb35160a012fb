"""Rows that compare a step with the memory traffic it cannot do without, at the bandwidth of a plain copy."""

from __future__ import annotations

import statistics
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from uniopt.cli.bench import optimizers, sides, timing, traffic
from uniopt.cli.bench.outcome import Outcome
from uniopt.cli.bench.peers import Library, library
from uniopt.cli.bench.settings import Settings
from uniopt.cli.bench.targets import Row
from uniopt.cli.bench.timing import Ratio

_COPIED = 2**28  # bytes, far more than any cache holds


def measure(row: Row, settings: Settings) -> Outcome:
    """Return the ratio of a step's time to that of copying as many bytes as it has to move."""
    tx = optimizers.transformation(row.optimizer)
    arrays = library(row.backend, row.device)
    side = sides.Compiled(arrays, tx, row.size.params(), optimizers.extra(row.optimizer))
    side.give(row.size.gradients(1))
    for _ in range(3):
        side.step()
    bytes_needed = traffic.fewest_bytes(row.optimizer, row.size)
    with ThreadPoolExecutor(settings.threads) as pool:
        copy = Copy(_COPIED, pool, settings.threads) if row.device == "cpu" else DeviceCopy(_COPIED, arrays)
        a, b = timing.alternate([side.step, copy], settings.rounds, settings.seconds)
    floor = b.scaled(bytes_needed / copy.traffic)
    speed = copy.traffic / statistics.median(b.seconds)
    measured = {"bytes": bytes_needed, "copy_bytes_per_s": speed, **timing.compared(a, floor)}
    return Outcome.of(Ratio.of(a.seconds, floor.seconds), row.target, measured, settings.doubt(a.cores, b.cores))


class Copy:
    """A copy of one array to another, by as many threads as every side has."""

    def __init__(self, nbytes: int, pool: ThreadPoolExecutor, threads: int) -> None:
        source, target = np.ones(nbytes // 4, dtype=np.float32), np.zeros(nbytes // 4, dtype=np.float32)
        self.traffic = 2 * source.nbytes
        self._parts = list(zip(np.array_split(target, threads), np.array_split(source, threads), strict=True))
        self._pool = pool

    def __call__(self) -> None:
        if len(self._parts) == 1:
            np.copyto(*self._parts[0])
            return
        list(self._pool.map(lambda part: np.copyto(*part), self._parts))


class DeviceCopy:
    """A copy of one array to another on a device."""

    def __init__(self, nbytes: int, library: Library) -> None:
        ones = np.ones(nbytes // 4, dtype=np.float32)
        self.traffic = 2 * ones.nbytes
        self._library = library
        self._source, self._target = library.put(ones), library.put(2 * ones)

    def __call__(self) -> None:
        self._target[...] = self._source
        self._library.finish({"target": self._target})
