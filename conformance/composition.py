"""Optimizers that have a transformation or a schedule as a part.

Each function here returns a ``make(library, **hyper)``: it makes the optimizer of the functions of a library, uniopt or
another one with the same names.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

Make = Callable[..., Any]


def alone(name: str) -> Make:
    """Return what makes the optimizer that a function returns."""
    return partial(_alone, name)


def before(name: str) -> Make:
    """Return what makes gradient descent along what a transformation makes of the gradients."""
    return partial(_before, name)


def after(name: str, optimizer: str, *own: str) -> Make:
    """Return what makes an optimizer whose updates a transformation changes; its `own` hyperparameters go to it."""
    return partial(_after, name, optimizer, own)


def around(name: str, optimizer: str, *own: str) -> Make:
    """Return what makes an optimizer inside a wrapper, which is given its `own` hyperparameters."""
    return partial(_around, name, optimizer, own)


def along(name: str) -> Make:
    """Return what makes gradient descent at the rate of a schedule."""
    return partial(_along, name)


def of_dialect(dialect: str, name: str) -> Make:
    """Return what makes the optimizer that a dialect's constructor returns."""
    return partial(_of_dialect, dialect, name)


def _of_dialect(dialect: str, name: str, library: Any, /, **hyper: Any) -> Any:
    return getattr(getattr(library.dialects, dialect), name)(**hyper)


def _alone(name: str, library: Any, /, **hyper: Any) -> Any:
    return getattr(library, name)(**hyper)


def _before(name: str, library: Any, /, *, learning_rate: Any, **hyper: Any) -> Any:
    return library.chain(getattr(library, name)(**hyper), library.scale_by_learning_rate(learning_rate))


def _after(name: str, optimizer: str, own: tuple[str, ...], library: Any, /, **hyper: Any) -> Any:
    given = {key: hyper.pop(key) for key in own if key in hyper}
    return library.chain(getattr(library, optimizer)(**hyper), getattr(library, name)(**given))


def _around(name: str, optimizer: str, own: tuple[str, ...], library: Any, /, **hyper: Any) -> Any:
    given = {key: hyper.pop(key) for key in own if key in hyper}
    return getattr(library, name)(getattr(library, optimizer)(**hyper), **given)


def _along(name: str, library: Any, /, **hyper: Any) -> Any:
    return library.sgd(getattr(library, name)(**hyper))


def clipped_adamw(library: Any, /, *, max_norm: float, **of_adamw: Any) -> Any:
    """Return `chain` of a clipping and AdamW."""
    return library.chain(library.clip_by_global_norm(max_norm), library.adamw(**of_adamw))


def named_clipped_adamw(library: Any, /, *, max_norm: float, **of_adamw: Any) -> Any:
    """Return the same by `named_chain`."""
    clipping, adamw = library.clip_by_global_norm(max_norm), library.adamw(**of_adamw)
    return library.named_chain(("clip", clipping), ("adamw", adamw))


def injected(library: Any, /, *, learning_rate: Any, k: int | None = None, **of_adamw: Any) -> Any:
    """Return AdamW, or descent along sums of `k` gradients, with its hyperparameters in the state."""
    if k is None:
        return library.inject_hyperparams(library.adamw)(learning_rate=learning_rate, **of_adamw)
    rate = library.inject_hyperparams(library.scale_by_learning_rate)(learning_rate=learning_rate)
    return library.chain(library.inject_hyperparams(library.apply_every)(k=k), rate)


def multi_steps(library: Any, /, *, skip_not_finite: bool = False, **hyper: Any) -> Any:
    """Return Adam inside `MultiSteps`."""
    if skip_not_finite:
        hyper["should_skip_update_fn"] = library.skip_not_finite
    own = ("every_k_schedule", "use_grad_mean", "should_skip_update_fn")
    return _around("MultiSteps", "adam", own, library, **hyper).gradient_transformation()


def masked_trace(library: Any, /, *, learning_rate: Any, decay: float, mask: Any) -> Any:
    """Return gradient descent with momentum for some of the leaves."""
    return library.chain(library.masked(library.trace(decay), mask), library.scale_by_learning_rate(learning_rate))


def conditional_trace(library: Any, /, *, learning_rate: Any, decay: float, should_transform_fn: Any) -> Any:
    """Return gradient descent with momentum in some of the steps."""
    momentum = library.conditionally_transform(library.trace(decay), should_transform_fn)
    return library.chain(momentum, library.scale_by_learning_rate(learning_rate))


def partitioned(library: Any, /, *, learning_rates: dict[str, float], labels: Any, decay: float) -> Any:
    """Return momentum with a rate for each label."""
    return library.partition({label: library.sgd(rate, decay) for label, rate in learning_rates.items()}, labels)


def sharpness_aware(
    library: Any, /, *, learning_rate: float, momentum: float, climb: float, climb_momentum: float, **own: Any
) -> Any:
    """Return `sam` of two optimizers with momentum."""
    return library.sam(library.sgd(learning_rate, momentum), library.sgd(climb, climb_momentum), **own)


def scheduled(library: Any, /, *, learning_rate: Any) -> Any:
    """Return gradient descent by `scale_by_schedule`."""
    return library.chain(library.scale_by_schedule(learning_rate), library.scale(-1.0))


def schedule_free(library: Any, /, *, learning_rate: float, **hyper: Any) -> Any:
    """Return `schedule_free` of gradient descent."""
    return library.schedule_free(library.sgd(learning_rate), learning_rate, **hyper)
