"""The transformations of gradients and updates: of what optimizer each is made a part, with what hyperparameters."""

from __future__ import annotations

from uniopt.conformance import composition
from uniopt.conformance.composition import after, alone, before
from uniopt.conformance.problems import PROBLEMS, SPOILED
from uniopt.conformance.reference import OPTIMIZERS, accumulation, averages, clip, constraints, masks, normalize
from uniopt.conformance.reference.descent import along, along_scaled
from uniopt.conformance.reference.relative import (
    scale_by_param_block_norm,
    scale_by_param_block_rms,
    scale_by_trust_ratio,
)
from uniopt.conformance.reference.scaling import reduce_on_plateau
from uniopt.conformance.settings import ADAMW, FALLING, MASK, RATE
from uniopt.conformance.subjects import FEW, MODERATE, SIXTEEN_BITS, STREAMS, WITH_SPOILED, Subject

import uniopt

_DESCENT = OPTIMIZERS["sgd"]
_COMPARED = (*PROBLEMS.values(), SPOILED)  # complex numbers have no order

TRANSFORMATIONS: dict[str, Subject] = {
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
    "centralize": Subject(before("centralize"), along(normalize.centralize), {"default": RATE}),
    "clip": Subject(before("clip"), along(clip.clip), {"default": {**RATE, "max_delta": 0.5}}, _COMPARED),
    "clip_by_block_rms": Subject(
        before("clip_by_block_rms"), along(clip.clip_by_block_rms), {"default": {**RATE, "threshold": 0.5}}
    ),
    "clip_by_global_norm": Subject(
        before("clip_by_global_norm"),
        along_scaled(clip.clip_by_global_norm),
        {"default": {**RATE, "max_norm": 2.0}, "wide": {**RATE, "max_norm": 1e3}},
        (*STREAMS, SPOILED),
    ),
    "ema": Subject(
        before("ema"),
        averages.ema,
        {"default": {**RATE, "decay": 0.75}, "biased": {**FALLING, "decay": 0.5, "debias": False}},
    ),
    "freeze": Subject(after("freeze", "sgd", "mask"), masks.freeze, {"default": {**RATE, "mask": MASK}}, FEW),
    "identity": Subject(before("identity"), _DESCENT, {"default": RATE}, FEW),
    "kahan_summation": Subject(
        after("kahan_summation", "adamw"), OPTIMIZERS["adamw"], {"default": ADAMW}, FEW, SIXTEEN_BITS, widens=True
    ),
    "keep_params_nonnegative": Subject(
        after("keep_params_nonnegative", "sgd"), constraints.keep_params_nonnegative, {"default": RATE}, _COMPARED
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
    "reduce_on_plateau": Subject(
        before("reduce_on_plateau"),
        reduce_on_plateau,
        {
            "default": {**RATE, "factor": 0.5, "patience": 1},
            "slow": {**RATE, "factor": 0.25, "patience": 1, "cooldown": 1, "accumulation_size": 2, "atol": 0.5},
        },
        FEW,
    ),
    "scale": Subject(before("scale"), along(normalize.scale), {"default": {**RATE, "step_size": 0.5}}, FEW),
    "scale_by_learning_rate": Subject(alone("scale_by_learning_rate"), _DESCENT, {"default": FALLING}, FEW),
    "scale_by_param_block_norm": Subject(
        before("scale_by_param_block_norm"),
        along(scale_by_param_block_norm),
        {"default": RATE, "floor": {**RATE, "min_scale": 2.0}},
        MODERATE,
    ),
    "scale_by_param_block_rms": Subject(
        before("scale_by_param_block_rms"),
        along(scale_by_param_block_rms),
        {"default": RATE, "floor": {**RATE, "min_scale": 0.75}},
        MODERATE,
    ),
    "scale_by_schedule": Subject(composition.scheduled, _DESCENT, {"default": FALLING}, FEW),
    "scale_by_sign": Subject(before("scale_by_sign"), along(normalize.scale_by_sign), {"default": RATE}, FEW),
    "scale_by_trust_ratio": Subject(
        before("scale_by_trust_ratio"),
        along(scale_by_trust_ratio),
        {"default": RATE, "floor": {**RATE, "min_norm": 1.0, "trust_coefficient": 0.5, "eps": 0.25}},
    ),
    "set_to_zero": Subject(before("set_to_zero"), along(normalize.set_to_zero), {"default": RATE}, FEW),
    "trace": Subject(
        before("trace"),
        averages.trace,
        {
            "default": {**RATE, "decay": 0.5},
            "nesterov": {**RATE, "decay": 0.75, "nesterov": True},
            "dampened": {**RATE, "decay": 0.75, "dampening": 0.25, "undampened_first_step": True},
        },
    ),
    "zero_nans": Subject(before("zero_nans"), along(constraints.zero_nans), {"default": RATE}, WITH_SPOILED),
}
"""The transformations that are tested. A new one gets its entry here, or its reason below."""

PARTS = {
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
"""The rules, and an optimizer that each is a part of."""

WITHOUT_CASES: dict[str, str] = {
    **{name: f"it is tested as part of {optimizer}" for name, optimizer in PARTS.items()},
    **dict.fromkeys(
        (
            "clip_by_block_norm",
            "count_by_leaf",
            "decay_first",
            "overwrite_params",
            "scale_by_relative_step",
            "shrink_weights",
        ),
        "it is a part of dialects, which are compared with the frameworks themselves",
    ),
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
