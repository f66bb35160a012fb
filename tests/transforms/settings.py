"""The transformations with several settings of each of their parameters, and odd trees to try them on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import uniopt

Setting = tuple[str, dict[str, Any]]


def shifted(g: Any, p: Any) -> Any:
    """Add half the parameter, where it is known."""
    return g if p is None else g + 0.5 * p


def held(i: Any, rate: Any) -> Any:
    """Return 0 for the first two steps, and the rate from then on."""
    xp = uniopt.backends.backend_of(i).xp
    return rate * xp.astype(i > 1, xp.float32)


SETTINGS: list[Setting] = [
    ("adaptive_grad_clip", {"clipping": 0.1}),
    ("adaptive_grad_clip", {"clipping": 0.5, "eps": 0.25}),
    ("adaptive_grad_clip", {"clipping": 0.0}),
    ("add_decayed_weights", {"weight_decay": 0.25, "mask": uniopt.weight_decay_mask}),
    ("centralize", {}),
    ("clip", {"max_delta": 0.5}),
    ("clip", {"max_delta": 0.0}),
    ("clip_by_block_rms", {"threshold": 0.5}),
    ("clip_by_block_rms", {"threshold": 3.0}),
    ("clip_by_global_norm", {"max_norm": 0.5}),
    ("clip_by_global_norm", {"max_norm": 20.0}),
    ("clip_by_global_norm", {"max_norm": 1e6}),
    ("clip_by_global_norm", {"max_norm": np.inf}),
    ("ema", {"decay": 0.75}),
    ("ema", {"decay": 0.5, "debias": False}),
    ("keep_params_nonnegative", {}),
    ("normalize", {}),
    ("normalize_by_update_norm", {}),
    ("normalize_by_update_norm", {"scale_factor": -2.0, "eps": 0.5}),
    ("normalize_by_update_norm", {"eps": 0.0}),
    ("scale_by_param_block_norm", {}),
    ("scale_by_param_block_norm", {"min_scale": 2.0}),
    ("scale_by_param_block_rms", {}),
    ("scale_by_param_block_rms", {"min_scale": 0.75}),
    ("scale_by_sign", {}),
    ("scale_by_trust_ratio", {}),
    ("scale_by_trust_ratio", {"min_norm": 1.0, "trust_coefficient": 0.5, "eps": 0.25}),
    ("set_to_zero", {}),
    ("stateless_with_tree_map", {"f": shifted}),
    ("trace", {"decay": 0.75, "nesterov": True}),
    ("trace", {"decay": 1.0}),
    ("zero_nans", {}),
]
"""What optax has too, under the same names."""

WITH_EPSILON: list[Setting] = [
    ("scale_by_factored_rms", {"min_dim_size_to_factor": 2, "decay_rate": 0.75, "decay_rate_fn": held}),
    ("scale_by_factored_rms", {"step_offset": 1, "factored": False, "decay_rate": 0.75, "decay_rate_fn": held}),
]
"""What optax has too, but makes NaN of zeros without an epsilon, which zeros add up to."""

OWN: list[Setting] = [
    ("clip_by_block_norm", {"max_norm": 0.5}),
    ("clip_by_block_norm", {"max_norm": 20.0}),
    ("params_ema", {"decay": 0.75}),
    ("params_ema", {"decay": 0.75, "debias": False}),
    ("params_ema", {"decay": 0.75, "start": 2}),
    ("params_mean", {}),
    ("params_mean", {"start": 1, "every": 2}),
    ("scale_by_factored_rms", {"min_dim_size_to_factor": 2, "epsilon": 0.0, "decay_rate": 0.75, "decay_rate_fn": held}),
    ("scale_by_relative_step", {"learning_rate": 0.75}),
    ("shrink_weights", {"learning_rate": 0.5, "weight_decay": 0.25, "mask": uniopt.weight_decay_mask}),
]

OF_EXAMPLES: list[Setting] = [
    ("differentially_private_aggregate", {"l2_norm_clip": 0.5, "noise_multiplier": 0.0, "key": 0}),
    (
        "dpsgd",
        {
            "learning_rate": 0.5,
            "l2_norm_clip": 2.0,
            "noise_multiplier": 0.0,
            "seed": 0,
            "momentum": 0.5,
            "nesterov": True,
        },
    ),
]
"""What takes the gradients of single examples; optax has it too, with other noise."""


def named(setting: Setting) -> str:
    """Return a setting as the call that it is."""
    name, hyper = setting
    given = [f"{key}={getattr(x, '__name__', x)}" for key, x in hyper.items()]
    return f"{name}({','.join(given)})"


def build(setting: Setting) -> uniopt.GradientTransformation:
    """Return uniopt's transformation."""
    name, hyper = setting
    tx: uniopt.GradientTransformation = getattr(uniopt, name)(**hyper)
    return tx


def nested(make: Callable[..., Any]) -> Any:
    """Return a tree with leaves of every rank up to 5, with axes of length 1, and an empty one."""
    return {
        "dense": {"w": make(3, 5), "b": make(5), "column": make(4, 1)},
        "conv": [make(2, 3, 2, 4), (make(2, 1, 3, 2, 3), make(2, 3, 4))],
        "temperature": make(),
        "nothing": make(0, 4),
        "one": (make(1),),
    }


def per_example(draw: Callable[..., Any], examples: int) -> Callable[..., Any]:
    """Return a function of a shape that draws the gradients of several examples."""
    return lambda *shape: draw(examples, *shape)
