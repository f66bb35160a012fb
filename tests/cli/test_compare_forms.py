"""Transformations that take the same steps have the same form, and others another one."""

from __future__ import annotations

from typing import Any

import pytest

import uniopt
from uniopt.cli.compare.formula import formula
from uniopt.cli.compare.runs import Runner, problems
from uniopt.dialects import keras, mlx, optax, torch

MASK = uniopt.weight_decay_mask
SGDW = uniopt.chain(uniopt.trace(0.5), uniopt.add_decayed_weights(0.25), uniopt.scale_by_learning_rate(0.5))
LAMB_BEHIND = uniopt.chain(
    uniopt.scale_by_adam(eps=1e-7),
    uniopt.scale_by_trust_ratio(),
    uniopt.add_decayed_weights(0.25),
    uniopt.scale_by_learning_rate(0.5),
)
ADAFACTOR_BEFORE = uniopt.chain(
    uniopt.scale_by_factored_rms(True, 0.8, 0, 0, None, last_axes=True, clamp_estimate=True),
    uniopt.clip_by_block_rms(1.0),
    uniopt.scale_by_param_block_rms(1e-3),
    uniopt.add_decayed_weights(0.25),
    uniopt.scale_by_relative_step(0.5),
)
UNCORRECTED = uniopt.scale_by_adam(eps=0.0, bias_correction=False)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (torch.AdamW(0.5, weight_decay=0.25), uniopt.adamw(0.5, weight_decay=0.25)),
        (keras.SGD(0.5, 0.5, weight_decay=0.25), SGDW),
        (mlx.Adafactor(), keras.Adafactor(0.01)),
        (torch.SGD(0.5, momentum=0.0), optax.sgd(0.5, momentum=0.0)),
        (keras.Adam(0.5, epsilon=0.0, amsgrad=True), torch.Adam(0.5, eps=0.0, amsgrad=True)),
        (torch.Adagrad(0.5, initial_accumulator_value=0.5, eps=0.0), optax.adagrad(0.5, 0.5, eps=0.0)),
    ],
)  # fmt: skip
def test_equal_forms_take_equal_steps(one: Any, other: Any) -> None:
    assert formula(one) == formula(other)
    apart = Runner("numpy", "float64", problems(12)).apart(one, other)
    assert all(x.step is None for x in apart if x.problem != "late")


@pytest.mark.parametrize(
    "one_and_other",
    [
        (torch.Adafactor(0.5, weight_decay=0.25), keras.Adafactor(0.5, weight_decay=0.25)),
        (keras.Lamb(0.5, weight_decay=0.25), uniopt.lamb(0.5, eps=1e-7, weight_decay=0.25)),
        (torch.Adam(0.5, weight_decay=0.25), torch.AdamW(0.5, weight_decay=0.25)),
        (torch.Adam(0.5, maximize=True), torch.Adam(0.5)),
        (keras.Lamb(0.5, weight_decay=0.25), LAMB_BEHIND),
        (torch.Adafactor(0.5, weight_decay=0.25), ADAFACTOR_BEFORE),
        (torch.NAdam(0.5, momentum_decay=100.0), uniopt.nadam(0.5)),
        (uniopt.scale_by_adam(eps=0.0, bias_correction=False, eps_before_correction=True), UNCORRECTED),
        (uniopt.chain(uniopt.scale(2.0), uniopt.scale(3.0)), uniopt.chain(uniopt.scale(4.0), uniopt.scale(3.0))),
        (keras.SGD(0.5, use_ema=True, ema_overwrite_frequency=2), keras.SGD(0.5)),
        (keras.SGD(0.5, weight_decay=0.5, weight_decay_mask=MASK), keras.SGD(0.5, weight_decay=0.5)),
    ],
)  # fmt: skip
def test_other_steps_have_other_forms(one_and_other: tuple[Any, Any]) -> None:
    one, other = one_and_other
    assert formula(one) != formula(other)
