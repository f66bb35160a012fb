"""The schedules, each as the rate of gradient descent, so short that a few steps see all of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from uniopt.conformance import composition
from uniopt.conformance.problems import PROBLEMS
from uniopt.conformance.reference import OPTIMIZERS, cycles, decays
from uniopt.conformance.reference.leaf import Leaf
from uniopt.conformance.reference.steps import Gradients
from uniopt.conformance.settings import FALLING, Written
from uniopt.conformance.subjects import Subject

import uniopt

_PARTS = Written(
    [uniopt.constant_schedule(0.5), FALLING["learning_rate"].for_uniopt],
    [lambda n: 0.5, FALLING["learning_rate"].plain],
)
_CYCLE = {"init_value": 0.125, "peak_value": 0.5, "warmup_steps": 1, "decay_steps": 3}
_FALL = {"init_value": 0.5, "end_value": 0.125, "transition_steps": 4}
_RISE = {"init_value": 0.125, "peak_value": 0.5, "warmup_steps": 2}

_SETTINGS: dict[str, dict[str, dict[str, Any]]] = {
    "constant_schedule": {"default": {"value": 0.25}},
    "cosine_annealing_schedule": {"default": {"init_value": 0.5, "transition_steps": 3, "end_value": 0.125}},
    "cosine_decay_schedule": {"default": {"init_value": 0.5, "decay_steps": 4, "alpha": 0.25, "exponent": 1.5}},
    "cosine_onecycle_schedule": {
        "default": {
            "transition_steps": 5,
            "peak_value": 0.5,
            "pct_start": 0.5,
            "div_factor": 4.0,
            "final_div_factor": 8.0,
        }
    },
    "cosine_restarts_schedule": {
        "default": {"init_value": 0.5, "first_decay_steps": 2, "alpha": 0.25},
        "growing": {"init_value": 0.5, "first_decay_steps": 1, "t_mul": 2.0, "m_mul": 0.75},
    },
    "cyclic_schedule": {
        "default": {"init_value": 0.125, "peak_value": 0.5, "rise_steps": 2},
        "decaying": {
            "init_value": 0.125,
            "peak_value": 0.5,
            "rise_steps": 1,
            "fall_steps": 2,
            "decay_per_cycle": 0.75,
            "decay_per_step": 0.875,
        },
    },
    "exponential_decay": {
        "default": {"init_value": 0.5, "transition_steps": 2, "decay_rate": 0.5, "transition_begin": 1},
        "stairs": {"init_value": 0.5, "transition_steps": 2, "decay_rate": 0.5, "staircase": True, "end_value": 0.2},
    },
    "inverse_sqrt_schedule": {"default": {"init_value": 0.5, "transition_steps": 2, "transition_begin": 1}},
    "inverse_time_decay": {
        "default": {"init_value": 0.5, "transition_steps": 2, "decay_rate": 0.5, "power": 1.5},
        "stairs": {
            "init_value": 0.5,
            "transition_steps": 2,
            "decay_rate": 0.5,
            "transition_begin": 1,
            "staircase": True,
        },
    },
    "join_schedules": {"default": {"schedules": _PARTS, "boundaries": [1]}},
    "linear_onecycle_schedule": {
        "default": {
            "transition_steps": 5,
            "peak_value": 0.5,
            "pct_start": 0.25,
            "pct_final": 0.6,
            "div_factor": 4.0,
            "final_div_factor": 8.0,
        }
    },
    "linear_schedule": {"default": {**_FALL, "transition_steps": 2, "transition_begin": 1}},
    "piecewise_constant_schedule": {"default": {"init_value": 0.5, "boundaries_and_scales": {1: 0.5, 3: 0.25}}},
    "piecewise_interpolate_schedule": {
        "default": {"interpolate_type": "cosine", "init_value": 0.25, "boundaries_and_scales": {2: 2.0, 4: 0.25}},
        "linear": {"interpolate_type": "linear", "init_value": 0.25, "boundaries_and_scales": {2: 2.0, 4: 0.25}},
    },
    "polynomial_restarts_schedule": {"default": {**_FALL, "power": 1.5, "transition_steps": 2}},
    "polynomial_schedule": {"default": {**_FALL, "power": 1.5, "transition_steps": 2, "transition_begin": 1}},
    "sgdr_schedule": {"default": {"cosine_kwargs": [_CYCLE, {**_CYCLE, "peak_value": 0.25}]}},
    "warmup_constant_schedule": {"default": _RISE},
    "warmup_cosine_decay_schedule": {"default": {**_RISE, "decay_steps": 5, "end_value": 0.0625}},
    "warmup_exponential_decay_schedule": {"default": {**_RISE, "transition_steps": 2, "decay_rate": 0.5}},
    "warmup_inverse_sqrt_schedule": {"default": _RISE},
    "warmup_stable_decay_schedule": {
        "default": {**_RISE, "warmup_steps": 1, "stable_steps": 1, "decay_steps": 3, "end_value": 0.0625},
        "root": {**_RISE, "warmup_steps": 1, "stable_steps": 1, "decay_steps": 3, "decay_type": "1-sqrt"},
    },
}
"""The hyperparameters that each schedule is tested with. A new schedule gets its line here."""


def _descent(
    schedule: Callable[..., float], params: list[Leaf], gradients: Gradients, **hyper: Any
) -> Iterator[list[Leaf]]:
    return OPTIMIZERS["sgd"](params, gradients, learning_rate=partial(schedule, **hyper))


SCHEDULES = {
    name: Subject(
        composition.along(name),
        partial(_descent, getattr(decays, name, None) or getattr(cycles, name)),
        settings,
        (PROBLEMS["normal"], PROBLEMS["brief"]),
    )
    for name, settings in _SETTINGS.items()
}
"""The schedules that are tested."""
