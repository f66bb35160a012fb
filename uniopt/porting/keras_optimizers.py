"""Keras's optimizers as tables: what their parameters and their variables are in the normal form.

Of a slot, Keras's name is the attribute that lists its variables.
"""

from __future__ import annotations

from typing import Any

from uniopt.porting.constructors import Constructor, Switches, Value, either, is_set, negative

_RATE = {"learning_rate": "learning_rate", "weight_decay": "decoupled_decay"}
_FACTORED = "scale_by_factored_rms"
_SIZE = "scale_by_param_block_rms"


def _moments(rule: str) -> dict[str, Any]:
    return {**_RATE, "beta_1": f"{rule}.b1", "beta_2": f"{rule}.b2", "epsilon": f"{rule}.eps"}


def _adam() -> list[Constructor]:
    plain, largest = "scale_by_adam", "scale_by_amsgrad"
    slots = {"_momentums": "mu", "_velocities": "nu"}
    return [
        Constructor(
            (plain,), _moments(plain), {name: f"{plain}.{own}" for name, own in slots.items()}, {"amsgrad": False}
        ),
        Constructor(
            (largest,),
            _moments(largest),
            {**{name: f"{largest}.{own}" for name, own in slots.items()}, "_velocity_hats": f"{largest}.nu_max"},
            {"amsgrad": True},
        ),
    ]


def _rmsprop() -> list[Constructor]:
    table = []
    for rule, average in (("scale_by_rms", {}), ("scale_by_stddev", {"_average_gradients": "scale_by_stddev.mu"})):
        parameters: dict[str, Value] = {
            **_RATE,
            "learning_rate": _rate,
            "rho": f"{rule}.decay",
            "epsilon": f"{rule}.eps",
            "momentum": "trace.decay",
        }
        slots = {"_velocities": f"{rule}.nu", **average}
        fixed = {"centered": bool(average)}
        for end in ((), ("scale_by_schedule",)):
            table.append(Constructor((rule, *end, "trace"), parameters, {**slots, "_momentums": "trace.trace"}, fixed))
        table.append(Constructor((rule,), parameters, slots, {**fixed, "momentum": 0.0}))
    return table


def _rate(switches: Switches) -> Any:
    """Return the learning rate, which stands before the momentum if it follows a schedule."""
    return switches.get("scale_by_schedule.step_size_fn", switches["learning_rate"])


def _bounded_rate(switches: Switches) -> Any:
    """Return the learning rate of which the schedule is the least with the relative step."""
    return getattr(switches["learning_rate"], "keywords", {}).get("learning_rate", switches["learning_rate"])


def _muon() -> list[Constructor]:
    rule = "scale_by_muon"
    parameters = {
        **_RATE,
        "momentum": f"{rule}.beta",
        "nesterov": is_set(f"{rule}.nesterov"),
        "ns_steps": f"{rule}.ns_steps",
        "muon_a": lambda switches: switches[f"{rule}.ns_coeffs"][0][0],
        "muon_b": lambda switches: switches[f"{rule}.ns_coeffs"][0][1],
        "muon_c": lambda switches: switches[f"{rule}.ns_coeffs"][0][2],
    }
    slots = {"momentums": f"{rule}.mu"}
    others = "scale_by_adam"
    of_others = {
        "learning_rate": "learning_rate",
        "adam_beta_1": f"{others}.b1",
        "adam_beta_2": f"{others}.b2",
        "epsilon": f"{others}.eps",
        "adam_weight_decay": "decoupled_decay",
    }
    return [
        Constructor((rule,), parameters, slots, {"rms_rate": None}),
        Constructor((rule, "scale_by_shape"), {**parameters, "rms_rate": "scale_by_shape.consistent_rms"}, slots),
        Constructor((others,), of_others, {"momentums": f"{others}.mu", "adam_velocities": f"{others}.nu"}),
    ]


def _one(rule: str, parameters: dict[str, Any], slots: dict[str, str], *after: str) -> list[Constructor]:
    """Return the forms of an optimizer of one rule, and others that do nothing but multiply."""
    own = {name: f"{rule}.{field}" for name, field in slots.items()}
    return _decaying((rule, *after), {**_RATE, **parameters}, own)


def _decaying(rules: tuple[str, ...], parameters: dict[str, Any], slots: dict[str, str]) -> list[Constructor]:
    """Return the forms with and without a decay that comes before what the rules do with the parameters."""
    decayed = {**parameters, "weight_decay": "decayed.weight_decay"}
    return [Constructor(rules, parameters, slots), Constructor(("decayed", *rules), decayed, slots)]


OPTIMIZERS: dict[str, list[Constructor]] = {
    "SGD": [
        Constructor(
            (),
            {"learning_rate": "learning_rate", "weight_decay": either("decoupled_decay", "coupled_decay")},
            {},
            {"momentum": 0.0},
        ),
        *(
            Constructor(
                (*first, "trace"),
                {
                    **_RATE,
                    "learning_rate": _rate,
                    "momentum": "trace.decay",
                    "nesterov": is_set("trace.nesterov"),
                },
                {"momentums": "trace.trace"},
            )
            for first in ((), ("scale_by_schedule",))
        ),
    ],
    "RMSprop": _rmsprop(),
    "Adam": _adam(),
    "AdamW": _adam(),
    "Adadelta": _one(
        "scale_by_adadelta",
        {"rho": "scale_by_adadelta.rho", "epsilon": "scale_by_adadelta.eps"},
        {"_accumulated_grads": "e_g", "_accumulated_delta_vars": "e_x"},
    ),
    "Adagrad": _one(
        "scale_by_rss",
        {
            "epsilon": "scale_by_rss.eps",
            "initial_accumulator_value": "scale_by_rss.initial_accumulator_value",
        },
        {"_accumulators": "sum_of_squares"},
    ),
    "Adamax": _one("scale_by_adamax", _moments("scale_by_adamax"), {"_m": "mu", "_u": "nu"}),
    "Adafactor": _decaying(
        (_FACTORED, "clip_by_block_rms", _SIZE),
        {
            **_RATE,
            "learning_rate": _bounded_rate,
            "beta_2_decay": negative(f"{_FACTORED}.decay_rate"),
            "epsilon_1": f"{_FACTORED}.epsilon",
            "epsilon_2": f"{_SIZE}.min_scale",
            "clip_threshold": "clip_by_block_rms.threshold",
        },
        {"_r": f"{_FACTORED}.mean_over", "_c": f"{_FACTORED}.mean_over", "_v": f"{_FACTORED}.v"},
    ),
    "Nadam": _one(
        "scale_by_adam",
        _moments("scale_by_adam"),
        {"_momentums": "mu", "_velocities": "nu", "_u_product": "mu_product"},
    ),
    "Ftrl": _one(
        "scale_by_ftrl",
        {
            "learning_rate": "scale_by_ftrl.learning_rate",
            **{
                name: f"scale_by_ftrl.{name}"
                for name in (
                    "learning_rate_power",
                    "initial_accumulator_value",
                    "l1_regularization_strength",
                    "l2_regularization_strength",
                    "l2_shrinkage_regularization_strength",
                    "beta",
                )
            },
        },
        {"_accumulators": "accumulator", "_linears": "linear"},
    ),
    "Lion": _one(
        "scale_by_lion",
        {"beta_1": "scale_by_lion.b1", "beta_2": "scale_by_lion.b2"},
        {"_momentums": "mu"},
    ),
    "Lamb": _one(
        "scale_by_adam",
        _moments("scale_by_adam"),
        {"_momentums": "mu", "_velocities": "nu"},
        "scale_by_trust_ratio",
    ),
    "Muon": _muon(),
}
"""The forms that each has."""
