"""Copies of parameters for a state, which shares no memory with them: a step may overwrite them."""

from __future__ import annotations

from typing import Any

from uniopt.step import Step


def copies(step: Step, leaves: list[Any]) -> list[Any]:
    """Return copies for a first state, which has no part in how the parameters were made."""
    return [None if x is None else step.backend.copy(x) for x in leaves]


def copies_as(step: Step, params: list[Any], like: list[Any]) -> list[Any]:
    """Return copies that are made in a step, in the dtypes of other leaves, which stay where there is no gradient."""
    return [y if p is None else step.backend.astype(1 * p, y.dtype) for p, y in zip(params, like, strict=True)]
