"""keras's own optimizers, and the settings in which the dialect is held against them."""

from __future__ import annotations

from typing import Any

from uniopt.conformance.dialects import falling
from uniopt.conformance.dialects import keras as own
from uniopt.conformance.peers.keras import follow
from uniopt.conformance.problems import Problem

from tests.dialects.problems import Tree
from uniopt import GradientTransformation
from uniopt.dialects import keras as dialect

RATE = 2.0**-6

SETTINGS = own.SETTINGS
CASES = [(name, setting) for name, settings in SETTINGS.items() for setting in settings]


def build(name: str, setting: str, falls_at: int) -> GradientTransformation:
    """Return uniopt's transformation; at some step its learning rate falls to a quarter."""
    rate = falling(RATE, falls_at).for_uniopt
    tx: GradientTransformation = getattr(dialect, name)(learning_rate=rate, **SETTINGS[name][setting])
    return tx


def of_peer(name: str, setting: str, falls_at: int, start: Tree, stream: list[Tree]) -> list[list[Any]]:
    """Return the leaves at the start and after each step of keras's own optimizer."""
    hyper = {**SETTINGS[name][setting], "learning_rate": falling(RATE, falls_at).plain}
    return follow(name, hyper, Problem(name, start, tuple(stream)))
