"""What keras gives all of its optimizers: decay in place, clipping, averages of the parameters, accumulation."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from inspect import Parameter
from typing import Any

from uniopt import hyperparameters
from uniopt.chain import chain
from uniopt.dialects.rates import of_last_mini_steps
from uniopt.errors import HyperparameterError
from uniopt.transformation import GradientTransformation
from uniopt.transforms.accumulate import MultiSteps
from uniopt.transforms.clip import clip, clip_by_block_norm
from uniopt.transforms.decay_first import decay_first
from uniopt.transforms.global_norm import clip_by_global_norm
from uniopt.transforms.overwrite_params import overwrite_params
from uniopt.transforms.params_average import params_ema
from uniopt.transforms.scale import scale
from uniopt.typing import Mask, Scalar

Constructor = Callable[..., GradientTransformation]
Decay = Callable[[GradientTransformation, Scalar | None], GradientTransformation]
"""Returns a transformation before which the parameters decay by a rate; as it is for a rate of None."""


def optimizer(rule: Constructor) -> Constructor:
    """Make one of keras's optimizers of a function of the parameters that it alone has.

    Those that all have stand in keras's order between its positional ones and its keyword-only ones. A function that
    takes a `Decay` as ``decayed`` applies the weight decay by itself.
    """
    own = dict(inspect.signature(rule).parameters)
    decays = own.pop("decayed", None) is not None
    last = [p.replace(kind=Parameter.POSITIONAL_OR_KEYWORD) for p in own.values() if p.kind is Parameter.KEYWORD_ONLY]
    first = [p for p in own.values() if p.kind is not Parameter.KEYWORD_ONLY]
    *between, mask = (p for name, p in _SHARED.items() if name == "weight_decay_mask" or name not in own)
    signature = inspect.Signature([*first, *between, *last, mask], return_annotation="GradientTransformation")

    @functools.wraps(rule)
    def constructor(*args: Any, **kwargs: Any) -> GradientTransformation:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        given = {name: x for name, x in bound.arguments.items() if name in own}
        shared = {name: bound.arguments[name] for name in _SHARED}
        return _with_all_features(rule, given, decays, **shared)

    constructor.__signature__ = signature  # type: ignore[attr-defined]  # inspect reads it
    return constructor


def _with_all_features(
    rule: Constructor,
    given: dict[str, Any],
    decays: bool,
    /,
    weight_decay: Scalar | None = None,
    clipnorm: Scalar | None = None,
    clipvalue: Scalar | None = None,
    global_clipnorm: Scalar | None = None,
    use_ema: bool = False,
    ema_momentum: Scalar = 0.99,
    ema_overwrite_frequency: int | None = None,
    loss_scale_factor: Scalar | None = None,
    gradient_accumulation_steps: int | None = None,
    name: str | None = None,
    *,
    weight_decay_mask: Mask | None = None,
) -> GradientTransformation:
    """Return the optimizer of `rule`, which applies the weight decay by itself if it `decays`, with what all have."""
    mini_steps = _mini_steps(gradient_accumulation_steps)
    rate = hyperparameters.learning_rate(given["learning_rate"])
    if callable(rate) and mini_steps > 1:
        rate = of_last_mini_steps(rate, mini_steps)

    mask = hyperparameters.mask("weight_decay_mask", weight_decay_mask)

    def decayed(tx: GradientTransformation, by: Scalar | None) -> GradientTransformation:
        return tx if by is None else decay_first(tx, rate, by, mask)

    given = {**given, "learning_rate": rate}
    tx = rule(**given, decayed=decayed) if decays else decayed(rule(**given), weight_decay)
    clipping = _clipping(clipnorm=clipnorm, clipvalue=clipvalue, global_clipnorm=global_clipnorm)
    tx = chain(*clipping, tx) if clipping else tx
    if mini_steps > 1:
        tx = MultiSteps(tx, mini_steps)
    if loss_scale_factor is not None:
        tx = chain(scale(1 / hyperparameters.positive("loss_scale_factor", loss_scale_factor)), tx)
    if not use_ema:
        return tx
    average = params_ema(hyperparameters.decay_rate("ema_momentum", ema_momentum), debias=False, start=mini_steps)
    if ema_overwrite_frequency:
        frequency = hyperparameters.fixed_integer("ema_overwrite_frequency", ema_overwrite_frequency, at_least=1)
        average = overwrite_params(average, frequency, mini_steps)
    return chain(tx, average)


def _mini_steps(gradient_accumulation_steps: int | None) -> int:
    if not gradient_accumulation_steps:
        return 1
    return hyperparameters.fixed_integer("gradient_accumulation_steps", gradient_accumulation_steps, at_least=2)


def _clipping(**bounds: Scalar | None) -> list[GradientTransformation]:
    given = {name: x for name, x in bounds.items() if x is not None}
    if len(given) > 1:
        raise HyperparameterError(f"{' and '.join(given)} are given, expected only one of them.")
    # A number that is not above 0 means no clipping.
    return [_CLIPS[name](x) for name, x in given.items() if not (isinstance(x, int | float) and x <= 0)]


_CLIPS: dict[str, Constructor] = {
    "clipnorm": clip_by_block_norm,
    "clipvalue": clip,
    "global_clipnorm": clip_by_global_norm,
}
_SHARED = {
    name: p
    for name, p in inspect.signature(_with_all_features).parameters.items()
    if p.kind is not Parameter.POSITIONAL_ONLY
}
