"""Rows that compare first calls, in which a step is recorded and compiled: each in a process of its own."""

from __future__ import annotations

import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from uniopt.cli.bench import fresh, optimizers, sides
from uniopt.cli.bench.outcome import Outcome
from uniopt.cli.bench.peers import library
from uniopt.cli.bench.settings import Settings
from uniopt.cli.bench.sides import Side
from uniopt.cli.bench.sizes import SIZES
from uniopt.cli.bench.targets import Row
from uniopt.cli.bench.timing import Ratio

_ROUNDS = 3  # of which each takes torch.compile the better part of a minute


def measure(row: Row, settings: Settings) -> Outcome:
    """Return the ratio of the first calls, on cold caches or uniopt's on a warm one."""
    given = {"backend": row.backend, "optimizer": row.optimizer, "size": row.size.name, "threads": settings.threads}
    uniopt, other = [], []
    rounds = 1 if settings.quick else _ROUNDS
    for _ in range(rounds):
        with TemporaryDirectory() as folder:
            if row.against == "first-call-warm":
                _in_fresh_process(folder, "uniopt", given)
            uniopt.append(_in_fresh_process(folder, "uniopt", given))
            other.append(_in_fresh_process(folder, "torch", given))
    ratio = Ratio.of(uniopt, other)
    measured = {"uniopt": {"seconds": uniopt}, "other": {"seconds": other}, "rounds": rounds}
    return Outcome.of(ratio, row.target, measured, settings.doubt())


def seconds(side: str, backend: str, optimizer: str, size: str, threads: int) -> float:
    """Return how long the first call of a step takes in this process, with the arrays in place."""
    params = SIZES[size].params()
    library("torch").limit(threads)
    made: Side
    if side == "uniopt":
        tx = optimizers.transformation(optimizer)
        made = sides.Compiled(library(backend), tx, params, optimizers.extra(optimizer))
    else:
        from uniopt.cli.bench.peers.torch import Optimizer

        made = Optimizer(optimizer, "compile", library("torch"), params)
    made.give(SIZES[size].gradients(1))
    start = time.perf_counter()
    made.step()
    return time.perf_counter() - start


def _in_fresh_process(folder: str, side: str, given: dict[str, Any]) -> float:
    caches = {name: str(Path(folder) / name) for name in ("TORCHINDUCTOR_CACHE_DIR", "UNIOPT_CACHE_DIR")}
    taken: float = fresh.call("uniopt.cli.bench.first_call", "seconds", caches, side=side, **given)
    return taken
