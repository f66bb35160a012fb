"""AdamW with something around it, made of the functions of a library: uniopt, or optax with the same names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def averaged_adamw(library: Any, **of_adamw: float) -> Any:
    """Return AdamW with a running mean of the parameters."""
    return library.chain(library.adamw(**of_adamw), library.params_ema(0.999))


def clipped_adamw(library: Any, **of_adamw: float) -> Any:
    """Return AdamW of gradients that are scaled down to a norm."""
    return library.chain(library.clip_by_global_norm(1.0), library.adamw(**of_adamw))


def finite_adamw(library: Any, **of_adamw: float) -> Any:
    """Return AdamW that leaves out gradients which are not finite."""
    return library.apply_if_finite(library.adamw(**of_adamw), max_consecutive_errors=5)


COMPOSITIONS: dict[str, Callable[..., Any]] = {
    "averaged_adamw": averaged_adamw,
    "clipped_adamw": clipped_adamw,
    "finite_adamw": finite_adamw,
}
"""What is measured besides the optimizers by themselves."""

NOT_IN_OPTAX = {"averaged_adamw"}
"""Compositions of which optax has not every part."""
