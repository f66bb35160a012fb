"""Every hyperparameter is checked when its optimizer is built; the error names it as it was given."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from uniopt.conformance.cases import exported

import uniopt
from uniopt.errors import HyperparameterError, TreeStructureError

VECTOR = np.ones(3)


@dataclass(frozen=True)
class Kind:
    """What a hyperparameter may be: values inside its range, values outside, and what an error calls the range."""

    inside: tuple[Any, ...]
    outside: tuple[Any, ...]
    called: str


NUMBER = Kind((-2.0, 0, 1.5, np.float32(0.5), np.asarray(0.5)), ("fast", VECTOR, float("nan"), True, [1.0]), "a number")
NONNEGATIVE = Kind((0.0, 0.5, 7), (-1.0, -1e-30, *NUMBER.outside), "a number not below 0")
RATE = Kind((*NONNEGATIVE.inside, uniopt.constant_schedule(0.5)), NONNEGATIVE.outside, "or a schedule")
DECAY = Kind((0.0, 0.5, 0.999), (-0.5, 1.0, 1.5, float("inf"), *NUMBER.outside), "a number in [0, 1)")
POSITIVE = Kind((1e-30, 0.5, 7), (0.0, *NONNEGATIVE.outside), "a number")
POSITIVE_RATE = Kind((*POSITIVE.inside, uniopt.constant_schedule(0.5)), POSITIVE.outside, "a number")
NONPOSITIVE = Kind((-2.0, 0.0), (0.5, 1, *NUMBER.outside), "a number")
SHARE = Kind((1.0, *DECAY.inside[1:]), (0.0, -0.5, 1.5, *NUMBER.outside), "a number")
AT_LEAST_1 = Kind((1.0, 1.5), (0.5, -1.0, *NUMBER.outside), "a number not below 1")
INTEGER = Kind((1, np.int64(5)), (-1, 1.5, "many", None, VECTOR, True), "an integer")
SEED = Kind((0, 2**64 - 1, np.int64(5)), (-1, 2**64, 1.5, "many", VECTOR), "an integer in [0, 18446744073709551616)")
DTYPE = Kind((None, "bfloat16", np.float32), ("int32", "float33", 3, VECTOR, [1.0]), "a floating-point dtype")
MASK = Kind((None, True, {"w": False}, lambda params: True), (1, "w", {"w": 0.5}, VECTOR), "True or False")
SWITCH = Kind((True, False, np.True_), (1, 0.5, "no", None, VECTOR), "True or False")

RANGES: dict[str, Kind] = {
    **dict.fromkeys(("learning_rate", "adam_learning_rate", "scaling"), RATE),
    **dict.fromkeys(("weight_decay", "weight_decay_rate", "adam_weight_decay"), RATE),
    **dict.fromkeys(
        ("b1", "b2", "b3", "rho", "decay", "momentum", "dampening", "eta_minus", "adam_b1", "adam_b2"), DECAY
    ),
    **dict.fromkeys(
        ("eps", "eps_root", "adam_eps_root", "min_norm", "eta", "decay_rate", "trust_coefficient"), NONNEGATIVE
    ),
    **dict.fromkeys(("initial_accumulator_value", "initial_scale", "max_learning_rate", "lambd", "t0"), NONNEGATIVE),
    **dict.fromkeys(("l1_regularization_strength", "l2_regularization_strength"), NONNEGATIVE),
    **dict.fromkeys(("l2_shrinkage_regularization_strength", "min_step_size", "max_step_size"), NONNEGATIVE),
    **dict.fromkeys(
        ("alpha", "beta", "gamma", "f_min", "threshold", "decay_offset", "consistent_rms", "optimism"), NUMBER
    ),
    **dict.fromkeys(("mu_dtype", "accumulator_dtype", "dtype_momentum", "state_dtype"), DTYPE),
    "weight_lr_power": NUMBER,
    "warmup_steps": Kind((0, np.int64(5), None), (-1, 1.5, "many", VECTOR, True), "an integer"),
    **dict.fromkeys(("mask", "weight_decay_mask", "trust_ratio_mask"), MASK),
    **dict.fromkeys(("nesterov", "centered", "bias_correction", "bias_correction_mu", "bias_correction_nu"), SWITCH),
    **dict.fromkeys(("factored", "multiply_by_parameter_scale", "adaptive", "eps_in_sqrt"), SWITCH),
    "undampened_first_step": SWITCH,
    "clipping_threshold": POSITIVE,
    "eta_plus": AT_LEAST_1,
    "learning_rate_power": NONPOSITIVE,
    "key": SEED,
    "seed": SEED,
    "min_dim_size_to_factor": INTEGER,
    "ns_steps": Kind(INTEGER.inside, (0, *INTEGER.outside), "an integer not below 1"),
    "variant": Kind(("sps", "sps+"), ("sps++", None, VECTOR), "one of sps, sps+"),
    "preconditioning": Kind(("frobenius", "aol"), ("nuclear", None, VECTOR), "one of frobenius, "),
    "ns_coeffs": Kind(
        ("dion", (3, -4, 2), [(3, -4, 2)], np.ones((2, 3))), (1.0, (1, 2), "fast", [(1, 2)], [[1] * 3] * 9), ""
    ),
    "muon_weight_dimension_numbers": Kind((None, uniopt.MuonDimensionNumbers(1, 0)), (), ""),
}
"""What each hyperparameter may be, by its name."""

EXCEPTIONS = {
    ("adadelta", "eps"): POSITIVE,
    ("asgd", "learning_rate"): RATE,
    ("ftrl", "beta"): NONNEGATIVE,
    ("ftrl", "learning_rate"): POSITIVE_RATE,
    ("muon", "beta"): DECAY,
    ("optimistic_adam", "learning_rate"): NONNEGATIVE,
    ("rprop", "learning_rate"): NONNEGATIVE,
    ("schedule_free_adamw", "b1"): SHARE,
    ("schedule_free_sgd", "b1"): SHARE,
    ("signum", "beta"): DECAY,
}
"""Where a name means something else."""

NEEDED = {"nesterov": {"momentum": 0.5}, "dampening": {"momentum": 0.5}, "undampened_first_step": {"momentum": 0.5}}
"""What has to be given with some of them, where the optimizer takes it."""


def hyperparameters() -> Iterator[tuple[str, str]]:
    """Yield every optimizer with every one of its hyperparameters."""
    for name, make in exported().items():
        for parameter in inspect.signature(make).parameters:
            yield name, parameter


def build(name: str, parameter: str, value: Any) -> uniopt.GradientTransformation:
    make = exported()[name]
    names = inspect.signature(make).parameters
    given = {key: 0.5 for key, x in names.items() if x.default is x.empty}
    given |= {key: x for key, x in NEEDED.get(parameter, {}).items() if key in names}
    tx: uniopt.GradientTransformation = make(**{**given, parameter: value})
    return tx


@pytest.mark.parametrize(("name", "parameter"), list(hyperparameters()))
def test_a_value_outside_its_range_is_refused_by_name(name: str, parameter: str) -> None:
    kind = EXCEPTIONS.get((name, parameter)) or RANGES[parameter]
    for value in kind.outside:
        with pytest.raises(HyperparameterError) as caught:
            build(name, parameter, value)
        message = str(caught.value)
        shown = value["w"] if isinstance(value, dict) else value  # an error names the place in a tree
        assert re.match(rf"{parameter}\S* is ", message), message
        assert f"is {shown!r}, expected " in message
        assert kind.called in message


@pytest.mark.parametrize(("name", "parameter"), list(hyperparameters()))
def test_a_value_inside_its_range_is_taken(name: str, parameter: str) -> None:
    for value in (EXCEPTIONS.get((name, parameter)) or RANGES[parameter]).inside:
        assert isinstance(build(name, parameter, value), uniopt.GradientTransformation)


@pytest.mark.parametrize("value", [1j, True, [0.5]], ids=["complex", "boolean", "vector"])
def test_an_array_of_another_library_has_to_be_one_real_number(value: Any) -> None:
    assert isinstance(uniopt.adam(torch.tensor(0.5), b1=torch.tensor(0)), uniopt.GradientTransformation)
    for parameter in ("learning_rate", "b1"):
        with pytest.raises(HyperparameterError, match=rf"{parameter} is tensor\(.*\), expected a number "):
            uniopt.adam(**{"learning_rate": 0.5, parameter: torch.tensor(value)})


@pytest.mark.parametrize("name", exported())
def test_none_is_no_learning_rate_but_where_it_has_a_meaning(name: str) -> None:
    parameter = "max_learning_rate" if name == "polyak_sgd" else "learning_rate"
    if inspect.signature(exported()[name]).parameters[parameter].default is None:
        build(name, parameter, None)
        return
    with pytest.raises(HyperparameterError, match=f"{parameter} is None, expected "):
        build(name, parameter, None)


@pytest.mark.parametrize("name", ["sgd", "rmsprop"])
def test_nesterov_needs_momentum(name: str) -> None:
    with pytest.raises(HyperparameterError, match="nesterov is True without momentum; expected momentum="):
        exported()[name](0.1, nesterov=True)


MASKED = [(name, parameter) for name, parameter in hyperparameters() if parameter.endswith("mask")]


@pytest.mark.parametrize(("name", "parameter"), MASKED)
def test_a_mask_of_another_structure_is_refused(name: str, parameter: str) -> None:
    params = {"w": np.ones((2, 2)), "b": np.ones(2)}
    decaying = "weight_decay_rate" if name == "adafactor" else "weight_decay"
    tx = exported()[name](0.5, **{decaying: 0.5, parameter: {"w": True, "c": False}})
    with pytest.raises(TreeStructureError, match=r"mask.*\['c'\]"):
        tx.update(params, tx.init(params), params)


@pytest.mark.parametrize(("name", "parameter"), MASKED)
def test_no_mask_marks_every_leaf(name: str, parameter: str) -> None:
    params = {"w": np.ones((2, 2)), "b": np.ones(2)}
    decaying = "weight_decay_rate" if name == "adafactor" else "weight_decay"
    found = []
    for mask in (None, True):
        tx = exported()[name](0.5, **{decaying: 0.5, parameter: mask})
        found.append(tx.update(params, tx.init(params), params)[0])
    for key in params:
        np.testing.assert_array_equal(found[0][key], found[1][key])
