"""One way to write down how a leaf is optimized, whichever chain of rules does it.

Frameworks put the same arithmetic together differently. In the normal form

- weight decay is either coupled (added to the gradient first) or decoupled (beside the step, times the learning rate),
- the learning rate comes last, so that no slot has it, nor its sign, inside,
- rules that do nothing are gone, and so are switches that make no difference any more,
- factored second moments are named by the axis that they are the mean over, and keep it with length 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from uniopt.dialects.rates import at_most_inverse_sqrt
from uniopt.optimizers.adafactor import factored_axes
from uniopt.porting.parts import Part
from uniopt.porting.simplify import simplify


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
        The hyperparameters that have decided what slots begin with, and decide nothing any more; Muon's epsilon, if it
        is too small to decide anything.
    """

    switches: dict[str, Any] = field(default_factory=dict)
    first_values: dict[str, Any] = field(default_factory=dict)
    places: dict[str, Place] = field(default_factory=dict)
    counts: bool = False


def normal_form(parts: Sequence[Part], shape: tuple[int, ...]) -> NormalForm:
    """Return the normal form of the parts of a leaf of some shape."""
    writer = _Writer(shape)
    active = [(k, part) for k, part in enumerate(parts) if not _does_nothing(part, shape)]
    for n, (k, part) in enumerate(active):
        writer.take(k, part, [later for _, later in active[n + 1 :]], is_first=n == 0)
    return writer.finish()


@dataclass(frozen=True)
class _Rate:
    """The factors that have been met so far: a number, and at most one schedule."""

    factor: float = 1.0
    schedule: Any = None

    def is_1(self) -> bool:
        return self.factor == 1.0 and self.schedule is None

    def has_learning_rate(self, value: Any) -> bool:
        """Return whether the whole is a learning rate, negated."""
        return bool(self == (_Rate(-1.0, value) if callable(value) else _Rate(-value)))


class _Writer:
    """Writes down a normal form part by part."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.form = NormalForm()
        self._shape = shape
        self._names: list[str] = []
        self._rate = _Rate()
        self._maximize = False
        self._coupled: Any = 0.0
        self._decoupled: Any = 0.0
        self._beside: list[tuple[int, Part]] = []  # decays that may follow the learning rate of the whole

    def take(self, k: int, part: Part, following: Sequence[Part], *, is_first: bool) -> None:
        """Go on with the next part, the `k`-th of all."""
        is_decay = part.name == "add_decayed_weights" and part.hyper["min_scale"] is None and self._rate.is_1()
        if is_first and following and part.name == "scale" and part.hyper["step_size"] == -1.0:
            self._maximize = True
        elif part.name in _SCALARS:
            factor, schedule = _SCALARS[part.name](part.hyper)
            if schedule is not None and self._rate.schedule is not None:
                self._add_rate()
            self._rate = _Rate(self._rate.factor * factor, schedule or self._rate.schedule)
        elif is_decay and not self._names and self._coupled == 0.0:
            self._coupled = part.hyper["weight_decay"]
        elif is_decay and self._decoupled == 0.0 and _are_one_rate(following):
            self._decoupled = part.hyper["weight_decay"]
        elif _may_be_beside(part, following) and not self._beside and self._decoupled == 0.0:
            self._beside.append((k, part))
        else:
            self._add(k, part)

    def finish(self) -> NormalForm:
        """Return what has been written, with the learning rate and the decays."""
        for k, part in self._beside:
            if self._rate.has_learning_rate(part.hyper["learning_rate"]):
                self._decoupled = part.hyper["weight_decay"]
            else:
                self._add_rule(k, part, 1.0)
        if not self._names and self._coupled == 0.0:  # of gradient descent the two are the same
            self._coupled, self._decoupled = self._decoupled, 0.0
        is_number = self._rate.schedule is None
        self.form.switches |= {
            "rules": tuple(self._names),
            "learning_rate": -self._rate.factor if is_number else self._rate.schedule,
            "rate_factor": 1.0 if is_number else -self._rate.factor,
            "coupled_decay": self._coupled,
            "decoupled_decay": self._decoupled,
            "maximize": self._maximize,
        }
        return self.form

    def _add(self, k: int, part: Part) -> None:
        """Add a rule; what has been multiplied before it moves behind it, if it may."""
        is_number = self._rate.schedule is None
        if not (self._rate.is_1() or (is_number and part.name in _LINEAR) or part.name in _PROPORTIONAL):
            self._add_rate()
        self._add_rule(k, part, self._rate.factor)
        if part.name in _NEGATIVE:
            self._rate = _Rate(-self._rate.factor, self._rate.schedule)

    def _add_rate(self) -> None:
        """Add what has been multiplied so far as a rule of its own."""
        rate, self._rate = self._rate, _Rate()
        name = self._free("scale" if rate.schedule is None else "scale_by_schedule")
        if rate.schedule is None:
            self.form.switches[f"{name}.step_size"] = rate.factor
        else:
            self.form.switches |= {f"{name}.step_size_fn": rate.schedule, f"{name}.rate_factor": rate.factor}

    def _add_rule(self, k: int, part: Part, factor: float) -> None:
        """Add a rule, whose linear slots have a factor inside."""
        name = self._free(part.name)
        form, hyper, slots = self.form, dict(part.hyper), dict.fromkeys(part.slots)
        uses = _COUNT_FOR.get(part.name)
        form.counts |= part.count is not None and (uses is None or any(bool(hyper[switch]) for switch in uses))
        for switch in _FIRST_VALUES.get(part.name, ()):
            form.first_values[f"{name}.{switch}"] = hyper.pop(switch)
        if part.name == "scale_by_muon" and hyper["eps"] <= _LEAST_BESIDE_A_NORM:
            form.first_values[f"{name}.eps"] = hyper.pop("eps")
        simplify(part, hyper, slots, self._shape)
        if part.name == "scale_by_factored_rms":
            places = _factored(k, hyper, self._shape)
        elif part.name == "scale_by_muon" and not part.hyper["average_gradients"]:
            places = {"mu": Place(k, "mu", 1.0 / (1.0 - hyper["beta"]))}
        else:
            linear = _LINEAR.get(part.name, ())
            places = {slot: Place(k, slot, factor if slot in linear else 1.0) for slot in slots}
        form.places |= {f"{name}.{slot}": place for slot, place in places.items()}
        form.switches |= {f"{name}.{switch}": x for switch, x in hyper.items() if not _is_no_dtype(switch, x)}

    def _free(self, name: str) -> str:
        """Return a name, numbered if it has been used, and use it."""
        free = name if name not in self._names else f"{name} {self._names.count(name) + 1}"
        self._names.append(free)
        return free


def _number_or_schedule(value: Any, sign: float) -> tuple[float, Any]:
    return (sign, value) if callable(value) else (sign * value, None)


_SCALARS: dict[str, Callable[[dict[str, Any]], tuple[float, Any]]] = {
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

_LEAST_BESIDE_A_NORM = 1e-7
"""What makes no difference when it is added to the norm of a matrix, but for gradients near 0."""

_COUNT_FOR = {
    "scale_by_rss": ("rate_decay",),
    "scale_by_rms": ("bias_correction",),
    "scale_by_stddev": ("bias_correction",),
    "scale_by_muon": ("bias_correction",),
    "scale_by_adam": ("bias_correction", "eps_before_correction"),
    "scale_by_adamax": ("bias_correction",),
}
"""The rules that count for some of their switches only."""


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
            rows, columns = hyper["weight_dimension_numbers"].fans(shape)
            return hyper["consistent_rms"] is None and bool(columns <= rows)
    return False


def _may_be_beside(part: Part, following: Sequence[Part]) -> bool:
    """Return whether a decay is one of the parameters alone: behind all else, or where nothing after it sees them."""
    if part.name == "decayed":
        return not any(later.wants_params for later in following)
    return part.name == "shrink_weights" and not following


def _are_one_rate(parts: Sequence[Part]) -> bool:
    """Return whether parts only multiply, by not more than one schedule."""
    scalars = [_SCALARS[part.name](part.hyper) for part in parts if part.name in _SCALARS]
    return len(scalars) == len(parts) and sum(schedule is not None for _, schedule in scalars) <= 1


def _is_no_dtype(switch: str, value: Any) -> bool:
    return switch.endswith("_dtype") and value is None


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
