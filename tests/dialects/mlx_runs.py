"""mlx's own optimizers, and the settings in which the dialect is held against them."""

from __future__ import annotations

from typing import Any

from uniopt.conformance.dialects import falling
from uniopt.conformance.dialects import mlx as own
from uniopt.conformance.peers.mlx import follow
from uniopt.conformance.problems import Problem

from tests.dialects.problems import Tree
from uniopt import GradientTransformation
from uniopt.dialects import mlx as dialect

RATE = 2.0**-6  # a power of 2, because mlx holds it in float32

SETTINGS = own.SETTINGS
CASES = [(name, setting) for name, settings in SETTINGS.items() for setting in settings]


def _given(name: str, setting: str, rate: Any) -> dict[str, Any]:
    options = SETTINGS[name][setting]
    return {**options, "learning_rate": rate} if name != "Adafactor" or "learning_rate" in options else options


def build(name: str, setting: str, falls_at: int) -> GradientTransformation:
    """Return uniopt's transformation; at some step its learning rate falls to a quarter."""
    rate = falling(RATE, falls_at).for_uniopt
    tx: GradientTransformation = getattr(dialect, name)(**_given(name, setting, rate))
    return tx


def of_peer(name: str, setting: str, falls_at: int, start: Tree, stream: list[Tree]) -> list[list[Any]]:
    """Return the leaves at the start and after each step of mlx's own optimizer."""
    hyper = _given(name, setting, falling(RATE, falls_at).plain)
    return follow(name, hyper, Problem(name, start, tuple(stream)))
