"""The transformations and wrappers: of what optimizer each is made a part, and with what hyperparameters."""

from __future__ import annotations

from typing import Any

from uniopt.conformance import composition
from uniopt.conformance.composition import after, alone, around, before
from uniopt.conformance.problems import PROBLEMS, SPOILED, paired
from uniopt.conformance.reference import OPTIMIZERS, accumulation, averages, clip, constraints, masks, normalize
from uniopt.conformance.reference.chain import clipped_adamw
from uniopt.conformance.reference.descent import along, along_scaled
from uniopt.conformance.reference.lookahead import lookahead
from uniopt.conformance.reference.mechanic import mechanize
from uniopt.conformance.reference.relative import (
    scale_by_param_block_norm,
    scale_by_param_block_rms,
    scale_by_trust_ratio,
)
from uniopt.conformance.reference.sam import sam
from uniopt.conformance.reference.scaling import dynamic_loss_scaling, reduce_on_plateau
from uniopt.conformance.reference.schedule_free import schedule_free_adamw, schedule_free_sgd
from uniopt.conformance.settings import EXCEPT_MATRIX, FALLING, MASK, RATE, Written
from uniopt.conformance.subjects import Subject

import uniopt


def on_odd_steps(step: Any) -> Any:
    """Return whether a step count is odd."""
    return step % 2 == 1


def one_more(updates: Any) -> Any:
    """Return one more than the number of updates so far."""
    return 1 + updates


_ADAMW = {**RATE, "b1": 0.5, "b2": 0.75, "eps": 0.125, "weight_decay": 0.25}
_ADAM = {**RATE, "b1": 0.5, "b2": 0.75, "eps": 0.125}
_MOMENTUM = {**RATE, "momentum": 0.5}
_LABELS = Written(
    {"empty": "quick", "kernel": "slow", "matrix": "slow", "scalar": "quick", "vector": ("quick", "slow")},
    ("quick", "slow", "slow", "slow", "quick", "quick", "slow"),
)
_FEW = (PROBLEMS["normal"], PROBLEMS["brief"])
_SPOILED = (*_FEW, SPOILED)
_SIXTEEN_BITS = ("float64", "float32", "bfloat16", "float16")
_DESCENT = OPTIMIZERS["sgd"]

TRANSFORMATIONS: dict[str, Subject] = {
    "MultiSteps": Subject(
        composition.multi_steps,
        accumulation.multi_steps,
        {
            "default": {**_ADAM, "every_k_schedule": 2},
            "sum": {**_ADAM, "every_k_schedule": 3, "use_grad_mean": False},
            "growing": {**_ADAM, "every_k_schedule": one_more, "skip_not_finite": True},
        },
        (*PROBLEMS.values(), SPOILED),
    ),
    "adaptive_grad_clip": Subject(
        before("adaptive_grad_clip"),
        along(clip.adaptive_grad_clip),
        {"default": {**RATE, "clipping": 0.5}, "eps": {**RATE, "clipping": 0.25, "eps": 1.5}},
    ),
    "add_decayed_weights": Subject(
        before("add_decayed_weights"),
        constraints.add_decayed_weights,
        {
            "default": {**RATE, "weight_decay": 0.25},
            "masked": {**FALLING, "weight_decay": 0.5, "mask": MASK},
            "schedule": {**RATE, "weight_decay": FALLING["learning_rate"]},
        },
    ),
    "add_noise": Subject(
        before("add_noise"), OPTIMIZERS["noisy_sgd"], {"default": {**RATE, "eta": 0.5, "gamma": 0.75, "key": 7}}
    ),
    "apply_every": Subject(
        before("apply_every"), accumulation.apply_every, {"default": {**RATE, "k": 2}, "three": {**FALLING, "k": 3}}
    ),
    "apply_if_finite": Subject(
        around("apply_if_finite", "adam", "max_consecutive_errors"),
        accumulation.apply_if_finite,
        {"default": {**_ADAM, "max_consecutive_errors": 2}, "given_up": {**_ADAM, "max_consecutive_errors": 1}},
        _SPOILED,
    ),
    "centralize": Subject(before("centralize"), along(normalize.centralize), {"default": RATE}),
    "chain": Subject(composition.clipped_adamw, clipped_adamw, {"default": {**_ADAMW, "max_norm": 2.0}}),
    "clip": Subject(before("clip"), along(clip.clip), {"default": {**RATE, "max_delta": 0.5}}, (*_FEW, SPOILED)),
    "clip_by_block_rms": Subject(
        before("clip_by_block_rms"), along(clip.clip_by_block_rms), {"default": {**RATE, "threshold": 0.5}}
    ),
    "clip_by_global_norm": Subject(
        before("clip_by_global_norm"),
        along_scaled(clip.clip_by_global_norm),
        {"default": {**RATE, "max_norm": 2.0}, "wide": {**RATE, "max_norm": 1e3}},
        (*PROBLEMS.values(), SPOILED),
    ),
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
        _SPOILED,
    ),
    "ema": Subject(
        before("ema"),
        averages.ema,
        {"default": {**RATE, "decay": 0.75}, "biased": {**FALLING, "decay": 0.5, "debias": False}},
    ),
    "flatten": Subject(around("flatten", "adamw"), OPTIMIZERS["adamw"], {"default": _ADAMW}, _FEW),
    "freeze": Subject(after("freeze", "sgd", "mask"), masks.freeze, {"default": {**RATE, "mask": MASK}}, _FEW),
    "identity": Subject(before("identity"), _DESCENT, {"default": RATE}, _FEW),
    "inject_hyperparams": Subject(
        composition.injected_adamw,
        OPTIMIZERS["adamw"],
        {"default": {**_ADAMW, "mask": EXCEPT_MATRIX}, "schedule": {**_ADAMW, **FALLING}},
    ),
    "kahan_summation": Subject(
        after("kahan_summation", "adamw"), OPTIMIZERS["adamw"], {"default": _ADAMW}, _FEW, _SIXTEEN_BITS, widens=True
    ),
    "keep_params_nonnegative": Subject(
        after("keep_params_nonnegative", "sgd"), constraints.keep_params_nonnegative, {"default": RATE}
    ),
    "lookahead": Subject(
        around("lookahead", "sgd", "sync_period", "slow_step_size", "reset_state"),
        lookahead,
        {
            "default": {**_MOMENTUM, "sync_period": 2, "slow_step_size": 0.75},
            "reset": {**_MOMENTUM, **FALLING, "sync_period": 3, "slow_step_size": 0.5, "reset_state": True},
        },
        tuple(paired(PROBLEMS[name]) for name in ("normal", "brief", "sparse", "skipped")),
    ),
    "masked": Subject(composition.masked_trace, masks.masked, {"default": {**RATE, "decay": 0.5, "mask": MASK}}, _FEW),
    "master_weights": Subject(
        around("master_weights", "adamw"), OPTIMIZERS["adamw"], {"default": _ADAMW}, _FEW, _SIXTEEN_BITS, widens=True
    ),
    "mechanize": Subject(
        around("mechanize", "sgd", "weight_decay", "eps", "s_init", "num_betas"),
        mechanize,
        {"default": {**_MOMENTUM, "weight_decay": 0.5, "eps": 0.25, "s_init": 1.0, "num_betas": 2}},
        _FEW,
    ),
    "named_chain": Subject(
        composition.named_clipped_adamw, clipped_adamw, {"default": {**_ADAMW, "max_norm": 2.0}}, _FEW
    ),
    "normalize": Subject(before("normalize"), along_scaled(normalize.normalize), {"default": RATE}),
    "normalize_by_update_norm": Subject(
        before("normalize_by_update_norm"),
        along_scaled(normalize.normalize_by_update_norm),
        {"default": RATE, "turned": {**RATE, "scale_factor": -2.0, "eps": 0.5}},
    ),
    "params_ema": Subject(
        after("params_ema", "sgd", "decay", "debias"),
        averages.params_ema,
        {"default": {**RATE, "decay": 0.75}, "biased": {**RATE, "decay": 0.5, "debias": False}},
        observe=uniopt.averaged_params,
    ),
    "params_mean": Subject(
        after("params_mean", "sgd", "start", "every"),
        averages.params_mean,
        {"default": RATE, "some": {**RATE, "start": 1, "every": 2}},
        observe=uniopt.averaged_params,
    ),
    "partition": Subject(
        composition.partitioned,
        masks.partition,
        {"default": {"learning_rates": {"quick": 0.25, "slow": 0.0625}, "labels": _LABELS, "decay": 0.5}},
        _FEW,
    ),
    "reduce_on_plateau": Subject(
        before("reduce_on_plateau"),
        reduce_on_plateau,
        {
            "default": {**RATE, "factor": 0.5, "patience": 1},
            "slow": {**RATE, "factor": 0.25, "patience": 1, "cooldown": 1, "accumulation_size": 2, "atol": 0.5},
        },
        _FEW,
    ),
    "sam": Subject(
        composition.sharpness_aware,
        sam,
        {
            "default": {**_MOMENTUM, "climb": 0.25, "climb_momentum": 0.75},
            "kept": {**_MOMENTUM, "climb": 0.25, "climb_momentum": 0.75, "sync_period": 3, "reset_state": False},
        },
        _FEW,
    ),
    "scale": Subject(before("scale"), along(normalize.scale), {"default": {**RATE, "step_size": 0.5}}, _FEW),
    "scale_by_learning_rate": Subject(alone("scale_by_learning_rate"), _DESCENT, {"default": FALLING}, _FEW),
    "scale_by_param_block_norm": Subject(
        before("scale_by_param_block_norm"),
        along(scale_by_param_block_norm),
        {"default": RATE, "floor": {**RATE, "min_scale": 2.0}},
    ),
    "scale_by_param_block_rms": Subject(
        before("scale_by_param_block_rms"),
        along(scale_by_param_block_rms),
        {"default": RATE, "floor": {**RATE, "min_scale": 0.75}},
    ),
    "scale_by_schedule": Subject(composition.scheduled, _DESCENT, {"default": FALLING}, _FEW),
    "scale_by_sign": Subject(before("scale_by_sign"), along(normalize.scale_by_sign), {"default": RATE}, _FEW),
    "scale_by_trust_ratio": Subject(
        before("scale_by_trust_ratio"),
        along(scale_by_trust_ratio),
        {"default": RATE, "floor": {**RATE, "min_norm": 1.0, "trust_coefficient": 0.5, "eps": 0.25}},
    ),
    "schedule_free": Subject(
        composition.schedule_free, schedule_free_sgd, {"default": {**RATE, "b1": 0.5, "weight_lr_power": 1.0}}
    ),
    "schedule_free_adamw": Subject(
        alone("schedule_free_adamw"),
        schedule_free_adamw,
        {
            "default": {**RATE, "warmup_steps": 3},
            "decay": {**RATE, "b1": 0.5, "b2": 0.75, "eps": 0.125, "weight_decay": 0.25},
        },
    ),
    "schedule_free_sgd": Subject(
        alone("schedule_free_sgd"),
        schedule_free_sgd,
        {
            "default": RATE,
            "warmup": {**RATE, "warmup_steps": 3, "b1": 0.5, "weight_decay": 0.25, "weight_lr_power": 0.5},
        },
    ),
    "selective_transform": Subject(
        around("selective_transform", "sgd", "freeze_mask"),
        masks.selective_transform,
        {"default": {**RATE, "freeze_mask": MASK}},
        _FEW,
    ),
    "set_to_zero": Subject(before("set_to_zero"), along(normalize.set_to_zero), {"default": RATE}, _FEW),
    "trace": Subject(
        before("trace"),
        averages.trace,
        {
            "default": {**RATE, "decay": 0.5},
            "nesterov": {**RATE, "decay": 0.75, "nesterov": True},
            "dampened": {**RATE, "decay": 0.75, "dampening": 0.25, "undampened_first_step": True},
        },
    ),
    "zero_nans": Subject(before("zero_nans"), along(constraints.zero_nans), {"default": RATE}, _SPOILED),
}
"""The transformations and wrappers that are tested. A new one gets its entry here, or its reason below."""

_RULES = {
    "scale_by_adadelta": "adadelta",
    "scale_by_adam": "adam",
    "scale_by_adamax": "adamax",
    "scale_by_adan": "adan",
    "scale_by_amsgrad": "amsgrad",
    "scale_by_asgd": "asgd",
    "scale_by_belief": "adabelief",
    "scale_by_factored_rms": "adafactor",
    "scale_by_ftrl": "ftrl",
    "scale_by_lion": "lion",
    "scale_by_muon": "muon",
    "scale_by_novograd": "novograd",
    "scale_by_optimistic_gradient": "optimistic_gradient_descent",
    "scale_by_polyak": "polyak_sgd",
    "scale_by_radam": "radam",
    "scale_by_rms": "rmsprop",
    "scale_by_rprop": "rprop",
    "scale_by_rss": "adagrad",
    "scale_by_shape": "muon",
    "scale_by_sm3": "sm3",
    "scale_by_stddev": "rmsprop",
    "scale_by_yogi": "yogi",
}

WITHOUT_CASES: dict[str, str] = {
    **{name: f"it is tested as part of {optimizer}" for name, optimizer in _RULES.items()},
    "differentially_private_aggregate": "it takes the gradients of single examples, which no problem has",
    "dpsgd": "it takes the gradients of single examples, which no problem has",
    "inject_stateful_hyperparams": "another name of inject_hyperparams",
    "leafwise": "what it computes is the caller's function",
    "measure_with_ema": "it is a part of monitor",
    "monitor": "it changes nothing: what it measures is in its state",
    "multi_transform": "another name of partition",
    "snapshot": "it changes nothing: what it measures is in its state",
    "stateless": "what it computes is the caller's function",
    "stateless_with_tree_map": "what it computes is the caller's function",
    "stochastic_rounding": "it rounds by chance, so no path is the right one",
}
"""Why the other transformations have no cases."""
