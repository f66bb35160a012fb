"""MLX's optimizers as tables: what their parameters and the entries of their state are in the normal form."""

from __future__ import annotations

from typing import Any

from uniopt.errors import PortingError
from uniopt.porting.constructors import Constructor, Switches, Value, is_set, negative

_FACTORED = "scale_by_factored_rms"
_SIZE = "scale_by_param_block_rms"


def _adam(**decay: str) -> list[Constructor]:
    rule = "scale_by_adam"
    parameters = {
        "learning_rate": "learning_rate",
        "betas": (f"{rule}.b1", f"{rule}.b2"),
        "eps": f"{rule}.eps",
        "bias_correction": is_set(f"{rule}.bias_correction"),
        **decay,
    }
    return [Constructor((rule,), parameters, {"m": f"{rule}.mu", "v": f"{rule}.nu"})]


def _own_rate(switches: Switches) -> Any:
    """Return the learning rate that is not bounded by the relative step."""
    return None if _is_relative(switches) else _rate(switches)


def _rate(switches: Switches) -> Any:
    return switches.get("scale_by_schedule.step_size_fn", switches["learning_rate"])


def _is_relative(switches: Switches) -> bool:
    return "learning_rate" in getattr(_rate(switches), "keywords", {})


def _warms_up(switches: Switches) -> bool:
    return _is_relative(switches) and callable(_rate(switches).keywords["learning_rate"])


def _adafactor() -> list[Constructor]:
    table = []
    slots = {
        "exp_avg_sq_row": f"{_FACTORED}.mean_over",
        "exp_avg_sq_col": f"{_FACTORED}.mean_over",
        "exp_avg_sq": f"{_FACTORED}.v",
    }
    for sizes in ((_SIZE,), ()):
        parameters: dict[str, Value] = {
            "learning_rate": _own_rate,
            "eps": (f"{_FACTORED}.epsilon", f"{_SIZE}.min_scale"),
            "clip_threshold": "clip_by_block_rms.threshold",
            "decay_rate": negative(f"{_FACTORED}.decay_rate"),
            "relative_step": _is_relative,
            "warmup_init": _warms_up,
        }
        fixed = {"scale_parameter": bool(sizes)}
        whole = (_FACTORED, "clip_by_block_rms", *sizes)
        table.append(Constructor(whole, parameters, slots, {**fixed, "beta_1": None, "weight_decay": 0.0}))
        averaged: dict[str, Value] = {**parameters, "beta_1": "ema.decay"}
        for end in (("ema",), ("scale_by_schedule", "ema")):
            fixed_end = {**fixed, "weight_decay": 0.0}
            table.append(Constructor((*whole, *end), averaged, {**slots, "exp_avg": "ema.ema"}, fixed_end))
    return table


def _rate_of_average(switches: Switches) -> Any:
    """Return the learning rate of a momentum that is an average, where the normal form has a sum."""
    decay = switches["trace.decay"]
    if decay == 1.0:
        raise PortingError(
            "Muon of mlx averages, and no average is in proportion to a sum that forgets nothing (decay 1)."
        )
    return switches["learning_rate"] / (1.0 - decay)


OPTIMIZERS: dict[str, list[Constructor]] = {
    "SGD": [
        Constructor((), {"learning_rate": "learning_rate", "weight_decay": "coupled_decay"}, {}, {"momentum": 0.0}),
        Constructor(
            ("trace",),
            {
                "learning_rate": "learning_rate",
                "weight_decay": "coupled_decay",
                "momentum": "trace.decay",
                "dampening": "trace.dampening",
                "nesterov": is_set("trace.nesterov"),
            },
            {"v": "trace.trace"},
        ),
    ],
    "RMSprop": [
        Constructor(
            ("scale_by_rms",),
            {"learning_rate": "learning_rate", "alpha": "scale_by_rms.decay", "eps": "scale_by_rms.eps"},
            {"v": "scale_by_rms.nu"},
        )
    ],
    "Adagrad": [
        Constructor(
            ("scale_by_rss",),
            {"learning_rate": "learning_rate", "eps": "scale_by_rss.eps"},
            {"v": "scale_by_rss.sum_of_squares"},
        )
    ],
    "AdaDelta": [
        Constructor(
            ("scale_by_adadelta",),
            {"learning_rate": "learning_rate", "rho": "scale_by_adadelta.rho", "eps": "scale_by_adadelta.eps"},
            {"v": "scale_by_adadelta.e_g", "u": "scale_by_adadelta.e_x"},
        )
    ],
    "Adam": _adam(),
    "AdamW": _adam(weight_decay="decoupled_decay"),
    "Adamax": [
        Constructor(
            ("scale_by_adamax",),
            {
                "learning_rate": "learning_rate",
                "betas": ("scale_by_adamax.b1", "scale_by_adamax.b2"),
                "eps": "scale_by_adamax.eps",
            },
            {"m": "scale_by_adamax.mu", "v": "scale_by_adamax.nu"},
        )
    ],
    "Lion": [
        Constructor(
            ("scale_by_lion",),
            {
                "learning_rate": "learning_rate",
                "betas": ("scale_by_lion.b1", "scale_by_lion.b2"),
                "weight_decay": "decoupled_decay",
            },
            {"m": "scale_by_lion.mu"},
        )
    ],
    "Adafactor": _adafactor(),
    "Muon": [
        *(
            Constructor(
                rules,
                {
                    "learning_rate": "learning_rate",
                    "momentum": "scale_by_muon.beta",
                    "weight_decay": "coupled_decay",
                    "nesterov": is_set("scale_by_muon.nesterov"),
                    "ns_steps": "scale_by_muon.ns_steps",
                },
                {"v": "scale_by_muon.mu"},
            )
            for rules in (("scale_by_muon", "scale_by_shape"), ("scale_by_muon",))
        ),
        Constructor(
            ("trace",),
            {
                "learning_rate": _rate_of_average,
                "momentum": "trace.decay",
                "weight_decay": "coupled_decay",
                "nesterov": is_set("trace.nesterov"),
            },
            {"v": "trace.trace"},
        ),
    ],
}
"""The forms that each has."""
