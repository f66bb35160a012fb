"""The wrappers: around what optimizer each is put, and with what hyperparameters."""

from __future__ import annotations

from typing import Any

from uniopt.conformance import composition
from uniopt.conformance.composition import around
from uniopt.conformance.problems import COMPLEX, PROBLEMS, SPOILED, paired
from uniopt.conformance.reference import OPTIMIZERS, accumulation, masks
from uniopt.conformance.reference.chain import clipped_adamw
from uniopt.conformance.reference.lookahead import lookahead
from uniopt.conformance.reference.mechanic import mechanize
from uniopt.conformance.reference.sam import sam
from uniopt.conformance.reference.scaling import dynamic_loss_scaling
from uniopt.conformance.reference.schedule_free import schedule_free_sgd
from uniopt.conformance.settings import ADAMW, EXCEPT_MATRIX, FALLING, MASK, RATE, Written
from uniopt.conformance.subjects import FEW, SIXTEEN_BITS, STREAMS, WITH_SPOILED, Subject


def on_odd_steps(step: Any) -> Any:
    """Return whether a step count is odd."""
    return step % 2 == 1


def one_more(updates: Any) -> Any:
    """Return one more than the number of updates so far."""
    return 1 + updates


_ADAM = {**RATE, "b1": 0.5, "b2": 0.75, "eps": 0.125}
_MOMENTUM = {**RATE, "momentum": 0.5}
_LABELS = Written(
    {"empty": "quick", "kernel": "slow", "matrix": "slow", "scalar": "quick", "vector": ("quick", "slow")},
    ("quick", "slow", "slow", "slow", "quick", "quick", "slow"),
)

_PAIRED = ("normal", "brief", "sparse", "skipped", "even")

WRAPPERS: dict[str, Subject] = {
    "MultiSteps": Subject(
        composition.multi_steps,
        accumulation.multi_steps,
        {
            "default": {**_ADAM, "every_k_schedule": 2},
            "sum": {**_ADAM, "every_k_schedule": 3, "use_grad_mean": False},
            "growing": {**_ADAM, "every_k_schedule": one_more, "skip_not_finite": True},
        },
        (*STREAMS, SPOILED),
    ),
    "apply_if_finite": Subject(
        around("apply_if_finite", "adam", "max_consecutive_errors"),
        accumulation.apply_if_finite,
        {"default": {**_ADAM, "max_consecutive_errors": 2}, "given_up": {**_ADAM, "max_consecutive_errors": 1}},
        WITH_SPOILED,
    ),
    "chain": Subject(composition.clipped_adamw, clipped_adamw, {"default": {**ADAMW, "max_norm": 2.0}}),
    "conditionally_mask": Subject(
        around("conditionally_mask", "sgd", "should_transform_fn"),
        accumulation.conditionally_mask,
        {"default": {**_MOMENTUM, "should_transform_fn": on_odd_steps}},
    ),
    "conditionally_transform": Subject(
        composition.conditional_trace,
        accumulation.conditionally_transform,
        {"default": {**RATE, "decay": 0.5, "should_transform_fn": on_odd_steps}},
    ),
    "dynamic_loss_scaling": Subject(
        around("dynamic_loss_scaling", "sgd", "init_scale", "growth_interval", "growth_factor", "backoff_factor"),
        dynamic_loss_scaling,
        {"default": {**RATE, "init_scale": 4.0, "growth_interval": 1, "growth_factor": 4.0, "backoff_factor": 0.5}},
        WITH_SPOILED,
    ),
    "flatten": Subject(around("flatten", "adamw"), OPTIMIZERS["adamw"], {"default": ADAMW}, FEW),
    "inject_hyperparams": Subject(
        composition.injected,
        accumulation.injected,
        {
            "default": {**ADAMW, "mask": EXCEPT_MATRIX},
            "schedule": {**ADAMW, **FALLING},
            "steps": {**FALLING, "k": 3},
        },
    ),
    "lookahead": Subject(
        around("lookahead", "sgd", "sync_period", "slow_step_size", "reset_state"),
        lookahead,
        {
            "default": {**_MOMENTUM, "sync_period": 2, "slow_step_size": 0.75},
            "reset": {**_MOMENTUM, **FALLING, "sync_period": 3, "slow_step_size": 0.5, "reset_state": True},
        },
        tuple(paired(problem) for problem in (*(PROBLEMS[name] for name in _PAIRED), COMPLEX)),
    ),
    "masked": Subject(composition.masked_trace, masks.masked, {"default": {**RATE, "decay": 0.5, "mask": MASK}}, FEW),
    "master_weights": Subject(
        around("master_weights", "adamw"), OPTIMIZERS["adamw"], {"default": ADAMW}, FEW, SIXTEEN_BITS, widens=True
    ),
    "mechanize": Subject(
        around("mechanize", "sgd", "weight_decay", "eps", "s_init", "num_betas"),
        mechanize,
        {"default": {**_MOMENTUM, "weight_decay": 0.5, "eps": 0.25, "s_init": 1.0, "num_betas": 2}},
        FEW,
    ),
    "named_chain": Subject(
        composition.named_clipped_adamw, clipped_adamw, {"default": {**ADAMW, "max_norm": 2.0}}, FEW
    ),
    "partition": Subject(
        composition.partitioned,
        masks.partition,
        {"default": {"learning_rates": {"quick": 0.25, "slow": 0.0625}, "labels": _LABELS, "decay": 0.5}},
        FEW,
    ),
    "sam": Subject(
        composition.sharpness_aware,
        sam,
        {
            "default": {**_MOMENTUM, "climb": 0.25, "climb_momentum": 0.75},
            "kept": {**_MOMENTUM, "climb": 0.25, "climb_momentum": 0.75, "sync_period": 3, "reset_state": False},
        },
        FEW,
    ),
    "schedule_free": Subject(
        composition.schedule_free, schedule_free_sgd, {"default": {**RATE, "b1": 0.5, "weight_lr_power": 1.0}}
    ),
    "selective_transform": Subject(
        around("selective_transform", "sgd", "freeze_mask"),
        masks.selective_transform,
        {"default": {**RATE, "freeze_mask": MASK}},
        FEW,
    ),
}
"""The wrappers that are tested. A new one gets its entry here."""
