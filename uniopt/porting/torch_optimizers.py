"""torch's optimizers as tables: what their parameters and the entries of their state are in the normal form."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from uniopt.dialects import torch as dialect
from uniopt.errors import PortingError
from uniopt.porting.constructors import Constructor, Switches, either, is_set, negative

_COUPLED = {"lr": "learning_rate", "weight_decay": "coupled_decay", "maximize": "maximize"}
_EITHER = {
    "lr": "learning_rate",
    "weight_decay": either("decoupled_decay", "coupled_decay"),
    "decoupled_weight_decay": is_set("decoupled_decay"),
    "maximize": "maximize",
}
_FIRST_SUM = {"initial_accumulator_value": "scale_by_rss.initial_accumulator_value"}
_MOMENTS = {"exp_avg": "mu", "exp_avg_sq": "nu"}


def _of(rule: str, names: Mapping[str, str]) -> dict[str, str]:
    """Return a table of names with the rule in front of each of the normal form's."""
    return {name: f"{rule}.{own}" for name, own in names.items()}


def _betas(rule: str) -> dict[str, Any]:
    return {"betas": (f"{rule}.b1", f"{rule}.b2"), "eps": f"{rule}.eps"}


def _adam(**decay: Any) -> list[Constructor]:
    plain, largest = "scale_by_adam", "scale_by_amsgrad"
    return [
        Constructor((plain,), {**decay, **_betas(plain)}, _of(plain, _MOMENTS), {"amsgrad": False}),
        Constructor(
            (largest,),
            {**decay, **_betas(largest)},
            _of(largest, {**_MOMENTS, "max_exp_avg_sq": "nu_max"}),
            {"amsgrad": True},
        ),
    ]


def _rmsprop() -> list[Constructor]:
    buffer = {"momentum_buffer": "trace.trace"}
    table = []
    for rule, slots, centered in (
        ("scale_by_rms", {"square_avg": "nu"}, False),
        ("scale_by_stddev", {"square_avg": "nu", "grad_avg": "mu"}, True),
    ):
        own = {**_COUPLED, "alpha": f"{rule}.decay", "eps": f"{rule}.eps", "momentum": "trace.decay"}
        fixed = {"centered": centered}
        table += [
            Constructor((rule,), own, _of(rule, slots), fixed),
            Constructor((rule, "trace"), own, {**_of(rule, slots), **buffer}, fixed),
        ]
    return table


def _bounded_rate(switches: Switches) -> Any:
    """Return the learning rate of which the schedule is the least with the relative step."""
    keywords = getattr(switches["learning_rate"], "keywords", {})
    return keywords.get("learning_rate", switches["learning_rate"])


def _adafactor() -> list[Constructor]:
    rule, size = "scale_by_factored_rms", "scale_by_param_block_rms"
    whole = (rule, "clip_by_block_rms", size)
    parameters = {
        "lr": _bounded_rate,
        "beta2_decay": negative(f"{rule}.decay_rate"),
        "eps": (f"{rule}.epsilon", f"{size}.min_scale"),
        "d": "clip_by_block_rms.threshold",
        "weight_decay": "shrink_weights.weight_decay",
        "maximize": "maximize",
    }
    slots = {"row_var": f"{rule}.mean_over", "col_var": f"{rule}.mean_over", "variance": f"{rule}.v"}
    return [Constructor(whole, parameters, slots), Constructor((*whole, "shrink_weights"), parameters, slots)]


def _adjust_lr_fn(switches: Switches) -> str:
    return "original" if switches.get("scale_by_shape.consistent_rms") is None else "match_rms_adamw"


OPTIMIZERS: dict[str, list[Constructor]] = {
    "SGD": [
        Constructor((), {**_COUPLED, "momentum": "trace.decay", "nesterov": is_set("trace.nesterov")}),
        Constructor(
            ("trace",),
            {
                **_COUPLED,
                "momentum": "trace.decay",
                "dampening": "trace.dampening",
                "nesterov": is_set("trace.nesterov"),
            },
            {"momentum_buffer": "trace.trace"},
        ),
    ],
    "Adam": _adam(**_EITHER),
    "AdamW": _adam(lr="learning_rate", weight_decay="decoupled_decay", maximize="maximize"),
    "NAdam": [
        Constructor(
            ("scale_by_adam",),
            {**_EITHER, **_betas("scale_by_adam"), "momentum_decay": "scale_by_adam.momentum_decay"},
            _of("scale_by_adam", {**_MOMENTS, "mu_product": "mu_product"}),
        )
    ],
    "RAdam": [
        Constructor(("scale_by_radam",), {**_EITHER, **_betas("scale_by_radam")}, _of("scale_by_radam", _MOMENTS))
    ],
    "Adamax": [
        Constructor(
            ("scale_by_adamax",),
            {**_COUPLED, **_betas("scale_by_adamax")},
            _of("scale_by_adamax", {"exp_avg": "mu", "exp_inf": "nu"}),
        )
    ],
    "Adagrad": [
        Constructor(
            ("scale_by_rss",),
            {
                **_COUPLED,
                "eps": "scale_by_rss.eps",
                "lr_decay": "scale_by_rss.rate_decay",
                "initial_accumulator_value": "scale_by_rss.initial_accumulator_value",
            },
            {"sum": "scale_by_rss.sum_of_squares"},
        )
    ],
    "Adadelta": [
        Constructor(
            ("scale_by_adadelta",),
            {**_COUPLED, "rho": "scale_by_adadelta.rho", "eps": "scale_by_adadelta.eps"},
            {"square_avg": "scale_by_adadelta.e_g", "acc_delta": "scale_by_adadelta.e_x"},
        )
    ],
    "RMSprop": _rmsprop(),
    "Adafactor": _adafactor(),
    "Rprop": [
        Constructor(
            ("scale_by_rprop",),
            {
                "lr": "scale_by_rprop.learning_rate",
                "etas": ("scale_by_rprop.eta_minus", "scale_by_rprop.eta_plus"),
                "step_sizes": ("scale_by_rprop.min_step_size", "scale_by_rprop.max_step_size"),
                "maximize": "maximize",
            },
            {"prev": "scale_by_rprop.prev_updates", "step_size": "scale_by_rprop.step_sizes"},
        )
    ],
    "ASGD": [
        Constructor(
            ("scale_by_asgd",),
            {
                "lr": "scale_by_asgd.learning_rate",
                "lambd": "scale_by_asgd.lambd",
                "alpha": "scale_by_asgd.alpha",
                "t0": "scale_by_asgd.t0",
                "weight_decay": "coupled_decay",
                "maximize": "maximize",
            },
            {"ax": "scale_by_asgd.ax", "eta": "scale_by_asgd.eta"},
        )
    ],
    "Muon": [
        *(
            Constructor(
                rules,
                {
                    "lr": "learning_rate",
                    "weight_decay": "decoupled_decay",
                    "momentum": "scale_by_muon.beta",
                    "nesterov": "scale_by_muon.nesterov",
                    "ns_coefficients": lambda switches: switches["scale_by_muon.ns_coeffs"][0],
                    "ns_steps": "scale_by_muon.ns_steps",
                    "eps": "scale_by_muon.eps",
                    "adjust_lr_fn": _adjust_lr_fn,
                },
                {"momentum_buffer": "scale_by_muon.mu"},
            )
            for rules in (("scale_by_muon", "scale_by_shape"), ("scale_by_muon",))
        )
    ],
}
"""The forms that each has."""

WITHOUT_STEP = ("SGD", "Muon")
"""Those that count no steps."""

_FLAGS = {"foreach", "fused", "capturable", "differentiable", "maximize"}


def optimizer_of(group: Mapping[str, Any]) -> str:
    """Return the class of optimizer that a group of parameters in a ``state_dict()`` is of, by its entries.

    Raises
    ------
    PortingError
        If there is none, or more than one. That of AdamW is that of Adam with a decoupled decay.
    """
    own = {name: set(inspect.signature(getattr(dialect, name)).parameters) - _FLAGS for name in OPTIMIZERS}
    known = set().union(*own.values())
    found = [name for name, entries in own.items() if entries == known & group.keys()]
    if found != ["AdamW"] and len(found) == 1:
        return found[0]
    raise PortingError(
        f"The state_dict has groups with {', '.join(sorted(map(str, group)))}, by which the class of its optimizer "
        "cannot be told. Load it into an optimizer, and pass that."
    )
