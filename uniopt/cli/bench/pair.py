"""Rows that compare two sides in this process: they take the same steps, have to agree, and then take turns."""

from __future__ import annotations

import gc
import statistics
from collections.abc import Callable
from dataclasses import asdict

import numpy as np

from uniopt.cli.bench import agreement, optimizers, sides, timing
from uniopt.cli.bench.by_hand import ByHand
from uniopt.cli.bench.outcome import Outcome
from uniopt.cli.bench.peers import library
from uniopt.cli.bench.settings import Settings
from uniopt.cli.bench.sides import Side
from uniopt.cli.bench.sizes import Leaves, Size
from uniopt.cli.bench.targets import Row
from uniopt.cli.bench.timing import Ratio

_STEPS = 3  # that both sides take before they are compared
_TRIALS = 5  # rounds that decide which of several peers is the fastest

# torch adds up the squares of a leaf in float32: the norm of 2e7 normal numbers is 1.0e-3 too small, that of the 3.9e7
# of GPT-2's embedding 2.7e-3 (torch 2.13).
_INEXACT = {("adafactor", "torch"): 4e-3}

Make = Callable[[Leaves], Side]


def measure(row: Row, settings: Settings) -> Outcome:
    """Return the ratio of uniopt's time to that of the fastest peer, whose results are the same.

    Raises
    ------
    ResultsDifferError
        If they are not the same.
    """
    ours, peers = _sides(row)
    name, peer = _fastest(peers, row.size)
    first, second = ours(row.size.params()), peer(row.size.params())
    agreed = _walk(first, second, row)
    a, b = timing.alternate([first.step, second.step], settings.rounds, settings.seconds)
    _check_finite(first)
    measured = {"peer": name, "agreement": asdict(agreed), **timing.compared(a, b)}
    return Outcome.of(Ratio.of(a.seconds, b.seconds), row.target, measured, settings.doubt(a.cores, b.cores))


def _sides(row: Row) -> tuple[Make, dict[str, Make]]:
    """Return how to make uniopt's side, and how to make each of those that the fastest is taken of."""
    arrays, optimizer = library(row.backend, row.device), row.optimizer
    tx, extra = optimizers.transformation(optimizer, row.against), optimizers.extra(optimizer)

    def compiled(params: Leaves) -> Side:
        return sides.Compiled(arrays, tx, params, extra)

    match row.against:
        case "eager":
            return compiled, {"uniopt eager": lambda params: sides.Eager(arrays, tx, params, extra)}
        case "by-hand":
            return lambda params: sides.Update(arrays, tx, params), {
                "by hand": lambda params: ByHand(arrays, optimizer, params)
            }
        case "optax":
            from uniopt.cli.bench.peers import optax

            return compiled, {"optax": lambda params: optax.Jitted(optimizer, arrays, params)}
        case "torch-optimizer":
            return _torch(row, "uniopt"), {"fused": _torch(row, "fused")}
    forms = {"torch-fused": ["fused"], "torch-eager": ["foreach", "for-loop"], "torch-compile": ["compile"]}
    return compiled, {form: _torch(row, form) for form in forms[row.against]}


def _torch(row: Row, form: str) -> Make:
    from uniopt.cli.bench.peers import torch

    return lambda params: torch.Optimizer(row.optimizer, form, library("torch", row.device), params)


def _fastest(peers: dict[str, Make], size: Size) -> tuple[str, Make]:
    if len(peers) == 1:
        return next(iter(peers.items()))
    made = {name: make(size.params()) for name, make in peers.items()}
    gradients = size.gradients(1)
    for side in made.values():
        side.give(gradients)
        side.step()
    times = timing.alternate([side.step for side in made.values()], _TRIALS)
    medians = {name: statistics.median(t.seconds) for name, t in zip(made, times, strict=True)}
    del made, side  # before the next ones are made: of a model, each takes gigabytes
    gc.collect()
    name = min(medians, key=lambda name: medians[name])
    return name, peers[name]


def _walk(first: Side, second: Side, row: Row) -> agreement.Agreement:
    for step in range(1, _STEPS + 1):
        gradients = row.size.gradients(step)
        for side in (first, second):
            side.give(gradients)
            side.step()
    start = row.size.params()
    if row.against == "by-hand":  # updates are compared, which move from nothing
        start = {name: np.zeros_like(x) for name, x in start.items()}
    peer = row.against.partition("-")[0]
    share = {"moved": _INEXACT[row.optimizer, peer]} if (row.optimizer, peer) in _INEXACT else {}
    return agreement.compare(first.values(), second.values(), start, **share)


def _check_finite(side: Side) -> None:
    if not all(np.isfinite(x).all() for x in side.values().values()):
        raise FloatingPointError("The parameters left the finite numbers while the steps were timed.")
