"""One way to write down how a leaf is optimized, whichever chain of rules does it.

Frameworks put the same arithmetic together differently. In the normal form

- weight decay is either coupled (added to the gradient first) or decoupled (beside the step, times the learning rate),
- the learning rate comes last, so that no slot has it, nor its sign, inside,
- rules that do nothing are gone, and so are switches that make no difference any more,
- factored second moments are named by the axis that they are the mean over, and keep it with length 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from uniopt.dialects.rates import at_most_inverse_sqrt
from uniopt.optimizers.adafactor import factored_axes
from uniopt.porting.parts import Part


@dataclass(frozen=True)
class Place:
    """Where a slot of the normal form is kept.

    Attributes
    ----------
    part
        Which of the leaf's parts has it.
    name
        The field of its state.
    factor
        What the slot is multiplied by there.
    axis
        The axis that is left out there; None for none.
    """

    part: int
    name: str
    factor: float = 1.0
    axis: int | None = None


@dataclass
class NormalForm:
    """The normal form of the parts that treat a leaf.

    Attributes
    ----------
    switches
        Hyperparameters by name: those of a rule as ``"scale_by_adam.b1"``, and ``"learning_rate"``, ``"rate_factor"``
        (beside a schedule), ``"coupled_decay"``, ``"decoupled_decay"`` and ``"maximize"``.
    places
        Where each slot is, by names such as ``"scale_by_adam.mu"``.
    counts
        Whether the number of steps decides anything.
    first_values
        The hyperparameters that have decided what slots begin with, and decide nothing any more.
    """

    switches: dict[str, Any] = field(default_factory=dict)
    first_values: dict[str, Any] = field(default_factory=dict)
    places: dict[str, Place] = field(default_factory=dict)
    counts: bool = False


def normal_form(parts: Sequence[Part], shape: tuple[int, ...]) -> NormalForm:
    """Return the normal form of the parts of a leaf of some shape."""
    form = NormalForm()
    rate = _Rate()
    coupled, maximize = 0.0, False
    beside: list[tuple[int, Part]] = []  # decays that are to follow the learning rate of the whole
    decoupled: Any = 0.0
    names: list[str] = []
    active = [(k, part) for k, part in enumerate(parts) if not _does_nothing(part, shape)]
    for n, (k, part) in enumerate(active):
        following = [later for _, later in active[n + 1 :]]
        if n == 0 and part.name == "scale" and part.hyper["step_size"] == -1.0 and following:
            maximize = True
        elif part.name in _SCALARS:
            scalar, schedule = _SCALARS[part.name](part.hyper)
            if schedule is not None and rate.schedule is not None:
                _add_rate(form, names, rate)
                rate = _Rate()
            rate = _Rate(rate.factor * scalar, schedule or rate.schedule)
        elif part.name == "add_decayed_weights" and _is_plain_decay(part) and not names and rate.is_1():
            coupled = part.hyper["weight_decay"]
        elif part.name == "add_decayed_weights" and _is_plain_decay(part) and rate.is_1() and _are_scalars(following):
            decoupled = part.hyper["weight_decay"]
        elif (part.name == "shrink_weights" and not following) or (
            part.name == "decayed" and not any(later.wants_params for later in following)
        ):
            beside.append((k, part))
        else:
            if not (rate.is_1() or (rate.schedule is None and part.name in _LINEAR) or part.name in _PROPORTIONAL):
                _add_rate(form, names, rate)
                rate = _Rate()
            _add(form, names, k, part, shape, rate.factor)
            if part.name in _NEGATIVE:
                rate = _Rate(-rate.factor, rate.schedule)
    learning_rate = -rate.factor if rate.schedule is None else rate.schedule
    for k, part in beside:
        if _equal(part.hyper["learning_rate"], learning_rate):
            decoupled = part.hyper["weight_decay"]
        else:
            _add(form, names, k, part, shape, 1.0)
    if not names:  # of gradient descent the two are the same
        coupled, decoupled = (decoupled if coupled == 0.0 else coupled), 0.0
    form.switches |= {
        "rules": tuple(names),
        "learning_rate": learning_rate,
        "rate_factor": 1.0 if rate.schedule is None else -rate.factor,
        "coupled_decay": coupled,
        "decoupled_decay": decoupled,
        "maximize": maximize,
    }
    return form


@dataclass(frozen=True)
class _Rate:
    """The factors that have been met so far: a number, and at most one schedule."""

    factor: float = 1.0
    schedule: Any = None

    def is_1(self) -> bool:
        return self.factor == 1.0 and self.schedule is None


def _number_or_schedule(value: Any, sign: float) -> tuple[float, Any]:
    return (sign, value) if callable(value) else (sign * value, None)


_SCALARS = {
    "scale": lambda hyper: (hyper["step_size"], None),
    "scale_by_relative_step": lambda hyper: (-1.0, at_most_inverse_sqrt(hyper["learning_rate"])),
    "scale_by_schedule": lambda hyper: (1.0, hyper["step_size_fn"]),
    "scale_by_learning_rate": lambda hyper: _number_or_schedule(
        hyper["learning_rate"], -1.0 if hyper["flip_sign"] else 1.0
    ),
}
"""The rules that only multiply: by a number and a schedule."""

_LINEAR = {"trace": ("trace",), "ema": ("ema",)}
"""The rules of which a number may be taken out, and the slots that then lack it."""

_PROPORTIONAL = ("scale_by_param_block_rms", "scale_by_shape")
"""The rules that anything may be taken out of: they multiply by what does not depend on the gradients."""

_NEGATIVE = ("scale_by_asgd",)
"""The rules whose result is negated already."""

_FIRST_VALUES = {
    "scale_by_rss": ("initial_accumulator_value",),
    "scale_by_rms": ("initial_scale",),
    "scale_by_stddev": ("initial_scale",),
    "scale_by_rprop": ("learning_rate",),
}
"""Hyperparameters that decide what a slot begins with, and nothing afterwards."""

_PLACES_OF_EPSILON = {
    "scale_by_adam": {"eps_before_correction": False},
    "scale_by_amsgrad": {"eps_before_correction": False},
    "scale_by_radam": {"eps_before_correction": False},
    "scale_by_adamax": {"eps_in_maximum": True},
    "scale_by_rms": {"eps_in_sqrt": True},
    "scale_by_stddev": {"eps_in_sqrt": True},
    "scale_by_rss": {"eps_in_sqrt": True},
    "scale_by_factored_rms": {"clamp_estimate": False},
}
"""Where epsilon stands, which is all the same where it is 0."""

_COUNT_FOR = {
    "scale_by_rss": ("rate_decay",),
    "scale_by_rms": ("bias_correction",),
    "scale_by_stddev": ("bias_correction",),
    "scale_by_muon": ("bias_correction",),
    "scale_by_adam": ("bias_correction", "eps_before_correction"),
    "scale_by_adamax": ("bias_correction",),
}
"""The rules that count for some of their switches only."""


_LEAST_BESIDE_A_NORM = 1e-7
"""What is at most this makes no difference when it is added to the norm of a matrix, but for gradients near 0."""


def _does_nothing(part: Part, shape: tuple[int, ...]) -> bool:
    hyper = part.hyper
    match part.name:
        case "identity":
            return True
        case "trace":  # what was the last gradient is of no further use
            return bool(hyper["decay"] == 0.0 and hyper["dampening"] == 0.0)
        case "add_decayed_weights" | "shrink_weights" | "decayed":
            return not callable(hyper["weight_decay"]) and bool(hyper["weight_decay"] == 0.0)
        case "scale":
            return bool(hyper["step_size"] == 1.0)
        case "scale_by_shape":
            inputs, outputs = hyper["weight_dimension_numbers"].fans(shape)
            return hyper["consistent_rms"] is None and bool(outputs <= inputs)
    return False


def _is_plain_decay(part: Part) -> bool:
    return part.hyper["min_scale"] is None


def _are_scalars(parts: Sequence[Part]) -> bool:
    return all(part.name in _SCALARS for part in parts)


def _equal(x: Any, y: Any) -> bool:
    return bool(x == y)


def _add_rate(form: NormalForm, names: list[str], rate: _Rate) -> None:
    """Add what has been multiplied so far as a rule of its own, where it cannot be moved on."""
    name = _free(names, "scale" if rate.schedule is None else "scale_by_schedule")
    names.append(name)
    if rate.schedule is None:
        form.switches[f"{name}.step_size"] = rate.factor
    else:
        form.switches |= {f"{name}.step_size_fn": rate.schedule, f"{name}.rate_factor": rate.factor}


def _add(form: NormalForm, names: list[str], k: int, part: Part, shape: tuple[int, ...], factor: float) -> None:
    """Add a rule, whose slots are multiplied by what has been met before it."""
    name = _free(names, part.name)
    names.append(name)
    hyper, slots = dict(part.hyper), dict.fromkeys(part.slots)
    uses = _COUNT_FOR.get(part.name)
    form.counts |= part.count is not None and (uses is None or any(bool(hyper[switch]) for switch in uses))
    for switch in _FIRST_VALUES.get(part.name, ()):
        form.first_values[f"{name}.{switch}"] = hyper.pop(switch)
    _leave_out_what_is_over(part, hyper, slots, shape)
    places = {slot: Place(k, slot, factor if slot in _LINEAR.get(part.name, ()) else 1.0) for slot in slots}
    if part.name == "scale_by_muon" and not hyper["average_gradients"]:
        places = {"mu": Place(k, "mu", 1.0 / (1.0 - hyper["beta"]))}
        hyper["average_gradients"] = True
    if part.name == "scale_by_factored_rms":
        places = _factored(k, hyper, shape)
    for slot, place in places.items():
        form.places[f"{name}.{slot}"] = place
    for switch, value in hyper.items():
        if not (switch.endswith("_dtype") and value is None):
            form.switches[f"{name}.{switch}"] = value


def _free(names: Sequence[str], name: str) -> str:
    """Return a name, numbered if it has been used."""
    return name if name not in names else f"{name} {names.count(name) + 1}"


def _leave_out_what_is_over(part: Part, hyper: dict[str, Any], slots: dict[str, Any], shape: tuple[int, ...]) -> None:
    """Remove the switches, and give the values, that can make no difference any more."""
    epsilon = hyper.get("eps", hyper.get("epsilon"))
    if epsilon == 0.0 and part.name in _PLACES_OF_EPSILON:
        if part.name == "scale_by_amsgrad" and hyper["eps_before_correction"]:
            hyper["bias_correction_nu_max"] = True
        hyper |= _PLACES_OF_EPSILON[part.name]
    if part.name == "scale_by_shape":
        hyper["fans"] = hyper.pop("weight_dimension_numbers").fans(shape)
    if part.name == "scale_by_muon" and hyper["eps"] <= _LEAST_BESIDE_A_NORM:
        hyper["eps"] = 0.0
    if part.name == "scale_by_muon" and len(shape) == 2:  # whose transpose becomes orthogonal alike
        hyper.pop("weight_dimension_numbers")
    if part.name == "scale_by_rss":
        hyper["rate_decay"] = hyper["rate_decay"] or 0.0
    if part.name == "scale_by_radam" and not _reaches_threshold(hyper):
        hyper.pop("above_threshold")
    if part.name == "scale_by_rprop":
        sizes = np.asarray(part.slots["step_sizes"])
        if np.all((sizes >= hyper["min_step_size"]) & (sizes <= hyper["max_step_size"])):
            hyper["bound_every_size"] = False
    if part.name == "trace" and not np.any(part.slots.get("is_initial_step", False)):
        hyper["undampened_first_step"] = False
        slots.pop("is_initial_step", None)


def _reaches_threshold(hyper: dict[str, Any]) -> bool:
    """Return whether the length of RAdam's average may come to exactly the threshold, which it does in the limit."""
    limit = 2.0 / (1.0 - hyper["b2"]) - 1.0
    return abs(limit - hyper["threshold"]) < 1e-3 * limit


def _factored(k: int, hyper: dict[str, Any], shape: tuple[int, ...]) -> dict[str, Place]:
    """Return the places of the second moments, and put the two axes in place of what decides on them."""
    chosen = (hyper.pop(name) for name in ("factored", "min_dim_size_to_factor", "last_axes"))
    axes = factored_axes(shape, *chosen)
    hyper["axes"] = None if axes is None else tuple(sorted(axes))
    if axes is None:
        return {"v": Place(k, "v")}
    second, largest = axes
    return {
        f"mean_over_{largest}": Place(k, "v_row", axis=largest),
        f"mean_over_{second}": Place(k, "v_col", axis=second),
    }
