"""Different parts that compute the same but for rounding, brought into one form."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

from uniopt.cli.compare.switches import Part, Switches, is_parts, parts, switches
from uniopt.dialects.rates import at_most_inverse_sqrt
from uniopt.transformation import GradientTransformation

_RATE = "scale_by_learning_rate"
_MULTIPLY = ("scale_by_param_block_rms", "scale_by_shape", "scale")
"""Parts that multiply by what does not depend on the gradients."""

RISEN = 1000.0
"""A `momentum_decay` with which the momentum has risen in the first step: 0.96**1000 is lost beside 1."""


def formula(tx: GradientTransformation, *, steady: bool = True, dampened: bool = True) -> Switches:
    """Return the switches of a transformation in a form that many others with the same steps share.

    Where two forms are equal, so are the steps, but for rounding.

    Parameters
    ----------
    tx
        The transformation.
    steady
        Whether a learning rate that is a number stays as it is, so that it may stand inside the momentum or outside.
    dampened
        Whether a dampening stays as it is, and is not made a part of the learning rate.
    """
    return switches(_form(parts(tx), steady, dampened))


def _form(found: Iterable[Part], steady: bool, dampened: bool) -> list[Part]:
    def inside(x: Any) -> Any:
        if isinstance(x, dict):
            return {name: inside(y) for name, y in x.items()}
        return tuple(_form(x, steady, dampened)) if is_parts(x) else x

    whole = [part._replace(switches=inside(part.switches)) for part in found]
    apart = [part for x in whole for part in _decay_apart(_relative_step_as_rate(_without_idle(x)))]
    ordered = _rate_last(apart, steady)
    return _shrinking_as_sum(ordered if dampened else _undampened(ordered))


def _without_idle(part: Part) -> Part:
    """Return the part with those switches set alike that make no difference beside its others."""
    changed = dict(part.switches)
    if part.name == "scale_by_amsgrad" and changed["eps_before_correction"]:  # which corrects the maximum
        changed["bias_correction_nu_max"] = True
    if part.name == "scale_by_adam" and (changed["momentum_decay"] or 0.0) >= RISEN:
        changed["momentum_decay"] = None
    if changed.get("eps") == 0.0:
        corrects = part.name != "scale_by_adam" or changed["bias_correction"]
        before = ["eps_before_correction"] if corrects and changed.get("eps_root") == 0.0 else []
        changed |= {name: False for name in ("eps_in_sqrt", "eps_in_maximum", *before) if name in changed}
    return part._replace(switches=changed)


def _relative_step_as_rate(part: Part) -> Part:
    if part.name != "scale_by_relative_step":
        return part
    return _rate(at_most_inverse_sqrt(part.switches["learning_rate"]))


def _decay_apart(part: Part) -> list[Part]:
    """Return a decay before other parts and these; behind them, if they do not see the parameters."""
    if part.name != "decay_first":
        return [part]
    held = {name: x for name, x in part.switches.items() if name != "inner"}
    inner = part.switches["inner"]
    if held["mask"] is not None or any(x.reads_params for x in inner):
        return [part._replace(switches=held), *inner]
    return [*inner, Part("shrink_weights", {name: x for name, x in held.items() if name != "mask"}, True)]


def _rate_last(found: list[Part], steady: bool) -> list[Part]:
    """Move a learning rate behind what multiplies too, and behind the momentum if it is steady."""
    moved: list[Part] = []
    for part in found:
        if not moved or moved[-1].name != _RATE:
            moved.append(part)
            continue
        rate, flip_sign = (moved[-1].switches[name] for name in ("learning_rate", "flip_sign"))
        if part.name == "scale" and part.switches["step_size"] == -1.0:
            moved[-1] = _rate(rate, not flip_sign)
        elif part.name in _MULTIPLY or (part.name in ("trace", "ema") and steady and not callable(rate)):
            moved.insert(-1, part)
        else:
            moved.append(part)
    return moved


def _undampened(found: list[Part]) -> list[Part]:
    """Make a dampening that never changes a part of the learning rate behind it."""
    found = list(found)
    for i, (part, after) in enumerate(pairwise(found)):
        held = part.switches
        if part.name != "trace" or after.name != _RATE or callable(rate := after.switches["learning_rate"]):
            continue
        if not held["undampened_first_step"] and not held["nesterov"]:
            found[i] = part._replace(switches={**held, "dampening": 0.0})
            found[i + 1] = _rate(rate * (1 - held["dampening"]), after.switches["flip_sign"])
    return found


def _shrinking_as_sum(found: list[Part]) -> list[Part]:
    """Write a decay that multiplies the parameters as the sum before the learning rate that it is, but for rounding."""
    if len(found) < 2:
        return found
    *others, rate, last = found
    same = last.name == "shrink_weights" and rate.name == _RATE and rate.switches["flip_sign"]
    if not same or last.switches["learning_rate"] != rate.switches["learning_rate"]:
        return found
    added = {"weight_decay": last.switches["weight_decay"], "min_scale": None}
    return [*others, Part("add_decayed_weights", added, True), rate]


def _rate(learning_rate: Any, flip_sign: bool = True) -> Part:
    return Part(_RATE, {"learning_rate": learning_rate, "flip_sign": flip_sign}, False)
