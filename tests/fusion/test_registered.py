"""Every optimizer and transformation that uniopt exports is recorded: a fallback to eager steps is a failure."""

from __future__ import annotations

import inspect
from functools import partial
from typing import Any

import numpy as np
import pytest
from uniopt.conformance.settings import SETTINGS

import uniopt
from tests.dialects.torch_runs import SETTINGS as SETTINGS_OF_TORCH
from tests.dialects.torch_runs import build
from tests.fusion.walks import assert_same_bits, compiled, copied, eager, gradients, in_torch, normal, odd_tree
from tests.shown import SHOWN

SUMS = {"clip_by_block_rms", "scale_by_factored_rms", "scale_by_muon", "scale_by_novograd", "scale_by_param_block_rms"}
SUMS |= {"mechanize", "monitor", "normalize", "sam", "scale_by_polyak", "scale_by_trust_ratio", "snapshot"}


def largest(updates: Any) -> Any:
    """Return the largest element of one leaf."""
    return uniopt.backends.backend_of(updates["scalar"]).xp.max(updates["matrix"])


def squares(updates: Any) -> Any:
    """Return the mean square of one leaf."""
    return uniopt.backends.backend_of(updates["scalar"]).xp.mean(updates["matrix"] * updates["matrix"])


SUMS |= {"scale_by_polyak", "scale_by_trust_ratio", "scale_by_param_block_norm", "adaptive_grad_clip", "centralize"}
SUMS |= {"clip_by_block_norm"}
SUMS |= {"clip_by_global_norm", "normalize", "normalize_by_update_norm", "differentially_private_aggregate", "dpsgd"}
OF_EXAMPLES = {"differentially_private_aggregate", "dpsgd"}
SUMS |= {"MultiSteps, without what is large"}
MATRIX = {"empty": False, "kernel": False, "matrix": True, "scalar": False, "vector": (False, False)}
MADE_OF = {  # what a transformation is called with, where its defaults do not do
    "chain": lambda: uniopt.chain(uniopt.trace(0.5), uniopt.scale(-0.5)),
    "named_chain": lambda: uniopt.named_chain(("trace", uniopt.trace(0.5)), ("scale", uniopt.scale(-0.5))),
    "leafwise": lambda: uniopt.leafwise(uniopt.EmptyState, None, lambda xp, g, s: (-g, s)),
    "adaptive_grad_clip": lambda: uniopt.adaptive_grad_clip(0.5),
    "add_decayed_weights": lambda: uniopt.add_decayed_weights(uniopt.linear_schedule(0.5, 0.0, 5)),
    "apply_every": lambda: uniopt.apply_every(3),
    "apply_if_finite": lambda: uniopt.apply_if_finite(uniopt.adam(0.125), 2),
    "conditionally_mask": lambda: uniopt.conditionally_mask(uniopt.adam(0.125), lambda n: n % 2 == 1),
    "conditionally_transform": lambda: uniopt.conditionally_transform(uniopt.adam(0.125), lambda n: n % 2 == 1),
    "count_by_leaf": lambda: uniopt.count_by_leaf(uniopt.adam(uniopt.linear_schedule(0.5, 0.0, 5))),
    "dynamic_loss_scaling": lambda: uniopt.dynamic_loss_scaling(uniopt.adam(0.125), growth_interval=2),
    "inject_hyperparams": lambda: uniopt.inject_hyperparams(uniopt.adamw)(uniopt.linear_schedule(0.5, 0.0, 4)),
    "inject_stateful_hyperparams": lambda: uniopt.inject_hyperparams(uniopt.sgd)(0.125, momentum=0.5),
    "reduce_on_plateau": lambda: uniopt.reduce_on_plateau(0.5, patience=1, cooldown=1, accumulation_size=2),
    "add_noise": lambda: uniopt.add_noise(0.25, 0.5, 3),
    "clip": lambda: uniopt.clip(0.5),
    "clip_by_block_norm": lambda: uniopt.clip_by_block_norm(0.5),
    "clip_by_block_rms": lambda: uniopt.clip_by_block_rms(0.5),
    "clip_by_global_norm": lambda: uniopt.clip_by_global_norm(2.0),
    "decay_first": lambda: uniopt.decay_first(
        uniopt.adam(0.125), uniopt.linear_schedule(0.5, 0.0, 5), 0.25, mask=MATRIX
    ),
    "differentially_private_aggregate": lambda: uniopt.differentially_private_aggregate(2.0, 0.25),
    "dpsgd": lambda: uniopt.dpsgd(0.125, 2.0, 0.25, 7, momentum=0.5),
    "ema": lambda: uniopt.ema(0.5),
    "flatten": lambda: uniopt.flatten(uniopt.adamw(0.125)),
    "freeze": lambda: uniopt.chain(uniopt.adam(0.125), uniopt.freeze(MATRIX)),
    "lookahead": lambda: uniopt.lookahead(uniopt.adam(0.125), sync_period=2, slow_step_size=0.75, reset_state=True),
    "measure_with_ema": lambda: uniopt.chain(
        uniopt.monitor({"largest": uniopt.measure_with_ema(largest, 0.5)}), uniopt.scale(-0.5)
    ),
    "mechanize": lambda: uniopt.mechanize(uniopt.adam(0.125), s_init=0.5),
    "monitor": lambda: uniopt.chain(uniopt.monitor({"norm": squares}), uniopt.scale(-0.5)),
    "multi_transform": lambda: uniopt.multi_transform({"a": uniopt.adam(0.125)}, "a"),
    "sam": lambda: uniopt.sam(uniopt.adam(0.125), uniopt.chain(uniopt.normalize(), uniopt.adam(0.25)), 2),
    "schedule_free": lambda: uniopt.schedule_free(uniopt.sgd(0.125), uniopt.linear_schedule(0.0, 0.125, 2), b1=0.75),
    "selective_transform": lambda: uniopt.selective_transform(uniopt.adam(0.125), freeze_mask=MATRIX),
    "snapshot": lambda: uniopt.chain(uniopt.snapshot("norm", squares), uniopt.scale(-0.5)),
    "masked": lambda: uniopt.masked(
        uniopt.adamw(0.125),
        {"empty": True, "kernel": False, "matrix": True, "scalar": False, "vector": (True, False)},
    ),
    "master_weights": lambda: uniopt.master_weights(uniopt.adamw(0.125)),
    "params_ema": lambda: uniopt.params_ema(0.75),
    "params_mean": lambda: uniopt.params_mean(1, 2),
    "overwrite_params": lambda: uniopt.chain(
        uniopt.adam(0.125), uniopt.overwrite_params(uniopt.params_ema(0.5, False, start=1), 2)
    ),
    "partition": lambda: uniopt.partition(
        {"a": uniopt.adam(0.125), "b": uniopt.sgd(0.25, momentum=0.5)},
        {"empty": "a", "kernel": "b", "matrix": "b", "scalar": "a", "vector": ("a", "b")},
    ),
    "scale": lambda: uniopt.scale(-0.125),
    "scale_by_factored_rms": lambda: uniopt.scale_by_factored_rms(min_dim_size_to_factor=2),
    "scale_by_learning_rate": lambda: uniopt.scale_by_learning_rate(uniopt.cosine_decay_schedule(0.5, 5)),
    "scale_by_muon": lambda: uniopt.masked(uniopt.scale_by_muon(), MATRIX),
    "scale_by_shape": lambda: uniopt.masked(uniopt.scale_by_shape(), MATRIX),
    "scale_by_relative_step": lambda: uniopt.scale_by_relative_step(uniopt.linear_schedule(0.75, 0.25, 3)),
    "scale_by_rprop": lambda: uniopt.scale_by_rprop(0.125),
    "scale_by_schedule": lambda: uniopt.scale_by_schedule(uniopt.warmup_cosine_decay_schedule(0.0, -0.5, 2, 5)),
    "shrink_weights": lambda: uniopt.chain(
        uniopt.sgd(0.125), uniopt.shrink_weights(uniopt.linear_schedule(0.5, 0.0, 5), 0.25)
    ),
    "stateless": lambda: uniopt.stateless(lambda updates, params: uniopt.tree.map(lambda g, p: g - p, updates, params)),
    "stateless_with_tree_map": lambda: uniopt.stateless_with_tree_map(lambda g, p: g - p),
    "trace": lambda: uniopt.trace(0.5, dampening=0.25),
}  # fmt: skip
VARIANTS = {
    "a mean of every step": lambda: uniopt.chain(uniopt.adam(0.125), uniopt.params_mean()),
    "a running mean in float16": lambda: uniopt.params_ema(0.5, debias=False, accumulator_dtype="float16"),
    "adam, clipped": lambda: uniopt.chain(uniopt.zero_nans(), uniopt.clip(0.5), uniopt.adam(0.125)),
    "adam, mu in bfloat16": lambda: uniopt.adam(0.125, mu_dtype="bfloat16"),
    "adam, mu in float16": lambda: uniopt.adam(0.125, mu_dtype="float16"),
    "adam, mu in float64": lambda: uniopt.adam(0.125, mu_dtype="float64"),
    "lion, mu in bfloat16": lambda: uniopt.lion(0.125, mu_dtype="bfloat16"),
    "trace in float16": lambda: uniopt.trace(0.5, accumulator_dtype="float16"),
    "undampened trace": lambda: uniopt.trace(0.5, dampening=0.25, undampened_first_step=True),
    "optimistic, nothing first": lambda: uniopt.scale_by_optimistic_gradient(zero_first_gradient=True),
    "rprop, one step late": lambda: uniopt.scale_by_rprop(0.125, one_step_late=True),
    "kahan summation in a chain": lambda: uniopt.chain(uniopt.adamw(0.125), uniopt.kahan_summation()),
    "stochastic rounding in a chain": lambda: uniopt.chain(uniopt.adamw(0.125), uniopt.stochastic_rounding(3)),
    "a mask from a function": lambda: uniopt.adamw(
        0.125, mask=lambda params: uniopt.tree.map(lambda p: p.ndim > 1, params)
    ),
    "joined schedules": lambda: uniopt.sgd(
        uniopt.join_schedules([uniopt.linear_schedule(0.0, 0.5, 2), uniopt.constant_schedule(0.25)], [2])
    ),
    "a schedule of the user's own": lambda: uniopt.sgd(lambda count: 0.5 / (1 + count) ** 0.5),
    "lookahead, kept states": lambda: uniopt.chain(
        uniopt.trace(0.5), uniopt.lookahead(uniopt.sgd(0.25, 0.5), sync_period=3, slow_step_size=0.5)
    ),
    "sam, nothing reset": lambda: uniopt.sam(uniopt.adam(0.125), uniopt.adam(0.25), 3, reset_state=False),
    "schedule_free, z in bfloat16": lambda: uniopt.schedule_free_adamw(0.125, 2, state_dtype="bfloat16"),
    "labels from paths": lambda: uniopt.partition(
        {"m": uniopt.adam(0.125), "rest": uniopt.sgd(0.25)}, uniopt.path_labels({"*[t]rix": "m"}, otherwise="rest")
    ),
    "MultiSteps": lambda: uniopt.MultiSteps(uniopt.adam(0.125), 2),
    "MultiSteps, of sums": lambda: uniopt.MultiSteps(
        uniopt.adamw(0.125), 2, False, uniopt.skip_not_finite, accumulator_dtype="float16"
    ),
    "MultiSteps, without what is large": lambda: uniopt.MultiSteps(
        uniopt.sgd(0.125), lambda n: 1 + n, True, partial(uniopt.skip_large_updates, max_squared_norm=150.0)
    ),
    "nadam, rising momentum": lambda: uniopt.scale_by_adam(nesterov=True, momentum_decay=0.25),
    "amsgrad in a chain": lambda: uniopt.chain(uniopt.scale_by_amsgrad(), uniopt.scale_by_learning_rate(0.125)),
}  # fmt: skip


DIALECTS = {f"torch's {name}": partial(build, name, list(settings)[-1]) for name, settings in SETTINGS_OF_TORCH.items()}
DIALECTS["torch's Muon"] = lambda: uniopt.masked(uniopt.dialects.torch.Muon(), MATRIX)
VARIANTS |= DIALECTS
SUMS |= {"torch's Adafactor", "torch's Muon"}


def exported() -> dict[str, Any]:
    """Return the functions that return transformations and are no optimizers of the conformance suite."""
    found = {}
    for name, f in SHOWN.items():
        if inspect.isfunction(f) and name not in SETTINGS:
            returned = inspect.signature(f).return_annotation
            if "GradientTransformation" in str(returned):
                found[name] = MADE_OF.get(name, f)
    return found


def made(name: str, dtype: str, steps: int) -> tuple[uniopt.GradientTransformation, Any, list[Any]]:
    """Return a transformation, and the parameters and gradients that it takes."""
    params, stream = odd_tree(normal(name, dtype)), gradients(name, dtype, steps)
    if name.startswith("lookahead"):
        params = uniopt.LookaheadParams(fast=params, slow=odd_tree(normal((name, "slow"), dtype)))
    if name in OF_EXAMPLES:
        stream = [uniopt.tree.map(lambda *x: np.stack(x), g, *stream) for g in stream]
    return (exported() | VARIANTS)[name](), params, stream


def test_nothing_is_made_up() -> None:
    assert MADE_OF.keys() <= exported().keys()
    assert (exported() | VARIANTS).keys() >= SUMS


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", [*exported(), *VARIANTS])
def test_transformations(name: str, dtype: str) -> None:
    """Warnings are errors here, those of a fallback too."""
    tx, params, stream = made(name, dtype, 4)
    walks = (
        eager(tx, copied(params), stream, 4),
        compiled(tx, copied(params), stream, 4),
        compiled(tx, in_torch(params), [in_torch(g) for g in stream], 4),
    )
    for k, (expected, by_numpy, by_torch) in enumerate(zip(*walks, strict=True)):
        assert_same_bits(by_torch, by_numpy, f"torch, step {k}")
        if name not in SUMS:
            assert_same_bits(by_numpy, expected, f"NumPy, step {k}")
        else:
            for x, y in zip(uniopt.tree.leaves(by_numpy), uniopt.tree.leaves(expected), strict=True):
                tolerance = 1e-5 if y.dtype == np.float32 else 2**-7
                np.testing.assert_allclose(x.astype(np.float64), y.astype(np.float64), rtol=tolerance, atol=tolerance)
