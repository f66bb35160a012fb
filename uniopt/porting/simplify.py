"""Switches of rules that make no difference: any more, for this leaf, or at all."""

from __future__ import annotations

from typing import Any

import numpy as np

from uniopt.porting.parts import Part

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


def simplify(part: Part, hyper: dict[str, Any], slots: dict[str, Any], shape: tuple[int, ...]) -> None:
    """Take out switches and slots of a rule that make no difference, or give them the one value that stands for all."""
    epsilon = hyper.get("eps", hyper.get("epsilon"))
    if epsilon == 0.0 and part.name in _PLACES_OF_EPSILON:
        if part.name == "scale_by_amsgrad" and hyper["eps_before_correction"]:
            hyper["bias_correction_nu_max"] = True
        hyper |= _PLACES_OF_EPSILON[part.name]
    if part.name == "scale_by_shape":
        hyper["fans"] = hyper.pop("weight_dimension_numbers").fans(shape)
    if part.name == "scale_by_muon":
        hyper["average_gradients"] = True  # a sum becomes orthogonal as the average does
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
    return bool(abs(limit - hyper["threshold"]) < 1e-3 * limit)
