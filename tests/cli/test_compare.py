"""Comparisons of two calls: what is read, how far they are apart, and which call makes one equal the other."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax as real_optax
import pytest
import torch as real_torch

import uniopt
from tests.dialects import keras_runs, mlx_runs, torch_runs
from uniopt.cli import main
from uniopt.cli.compare import comparison, search
from uniopt.cli.compare.calls import CONSTRUCTORS, Call, read
from uniopt.cli.compare.formula import formula
from uniopt.cli.compare.runs import Runner, problems
from uniopt.cli.errors import CommandError
from uniopt.dialects import keras, mlx, optax, torch
from uniopt.errors import UnsupportedDtypeError

PAGE = Path(__file__).parents[2] / "docs" / "dialects.md"
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
SETTINGS: dict[str, Any] = {"torch": torch_runs, "mlx": mlx_runs, "keras": keras_runs}


def compared(first: str, second: str, steps: int = 12) -> comparison.Comparison:
    return comparison.compare(read(first), read(second), "numpy", "float64", steps)


@pytest.mark.parametrize(
    ("first", "second", "call"),
    [
        ("torch.RMSprop(lr=1e-2)", "optax.rmsprop(1e-2)", "optax.rmsprop(0.01, decay=0.99, eps_in_sqrt=False)"),
        ("torch.Adam()", "mlx.Adam(1e-3)", "mlx.Adam(0.001, bias_correction=True)"),
        ("torch.Adam(betas=(0.8, 0.9))", "optax.adam(1.0)", "optax.adam(0.001, b1=0.8, b2=0.9)"),
        ("optax.adam(0.1, b1=0.5)", "torch.Adam()", "torch.Adam(lr=0.1, betas=(0.5, 0.999))"),
        ("keras.Adam(epsilon=0.0)", "torch.Adam()", "torch.Adam(eps=0.0)"),
        ("torch.AdamW(eps=0.0)", "keras.AdamW()", "keras.AdamW(weight_decay=0.01, epsilon=0.0)"),
        ("torch.AdamW()", "optax.adamw(1e-3)", "optax.adamw(0.001, weight_decay=0.01)"),
        ("torch.AdamW()", "optax.adam(1e-3)", "optax.adamw(learning_rate=0.001, weight_decay=0.01)"),
        ("mlx.Lion(0.1, weight_decay=0.2)", "keras.Lion()", "keras.Lion(learning_rate=0.1, weight_decay=0.2)"),
        ("torch.SGD(0.1, weight_decay=0.5)", "mlx.SGD(1.0)", "mlx.SGD(0.1, weight_decay=0.5)"),
        ("mlx.SGD(0.5, 0.75, dampening=0.25)", "torch.SGD(0.5, 0.75, 0.5)", "torch.SGD(0.375, 0.75, 0.0)"),
        ("mlx.SGD(0.5, 0.75, dampening=0.25)", "optax.sgd(0.5, 0.75)", "optax.sgd(0.375, 0.75)"),
        ("torch.Adagrad()", "mlx.Adagrad(0.1)", "mlx.Adagrad(0.01, eps=1e-10)"),
        (
            "torch.Adagrad(eps=0.0)",
            "keras.Adagrad()",
            "keras.Adagrad(learning_rate=0.01, initial_accumulator_value=0.0, epsilon=0.0)",
        ),
        ("mlx.Adafactor()", "keras.Adafactor()", "keras.Adafactor(learning_rate=0.01)"),
        (
            "keras.RMSprop(momentum=0.9, centered=True)",
            "optax.rmsprop(0.1)",
            "optax.rmsprop(0.001, eps=1e-07, centered=True, momentum=0.9)",
        ),
        ("keras.SGD(0.1, momentum=0.9)", "torch.SGD()", "torch.SGD(lr=0.1, momentum=0.9)"),
        ("keras.Nadam()", "torch.NAdam()", "torch.NAdam(lr=0.001, eps=1e-07, momentum_decay=1.0)"),
        ("optax.nadam(1e-3)", "torch.NAdam()", "torch.NAdam(lr=0.001, momentum_decay=1000.0)"),
        ("torch.NAdam(momentum_decay=1e4)", "optax.nadam(1e-3)", "optax.nadam(0.002)"),
        ("keras.Lamb()", "optax.adam(1e-3)", "optax.lamb(learning_rate=0.001, eps=1e-07)"),
        (
            "optax.sgd(exponential_decay(0.1, 10, 0.5))",
            "torch.SGD()",
            "torch.SGD(lr=exponential_decay(init_value=0.1, transition_steps=10, decay_rate=0.5, "
            "transition_begin=0, staircase=False, end_value=None))",
        ),
        ("torch.Adam(amsgrad=True, eps=0.0)", "keras.Adam()", "keras.Adam(epsilon=0.0, amsgrad=True)"),
    ],
)
def test_the_call_that_makes_the_second_equal_the_first(first: str, second: str, call: str) -> None:
    found = compared(first, second)
    assert not found.both.confirmed
    assert found.switches
    assert found.nearest is not None
    assert str(found.nearest.call) == call
    assert found.nearest.confirmed
    assert not found.obstacles
    assert max(x.ulp for x in found.nearest.apart if x.step is None) < 50


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("torch.RMSprop(lr=1e-2)", "optax.rmsprop(1e-2)"),
        ("torch.AdamW(weight_decay=0.5)", "optax.adamw(1e-3)"),
        ("torch.Adadelta(rho=0.5, weight_decay=0.5)", "optax.adadelta(0.5)"),
        ("torch.SGD(0.125, 0.75, nesterov=True)", "optax.sgd(0.5)"),
    ],
)
@pytest.mark.usefixtures("x64")
def test_the_frameworks_themselves_agree_with_what_is_found(first: str, second: str) -> None:
    found = compared(first, second).nearest
    assert found is not None
    assert found.confirmed
    start, stream = np.linspace(-1.0, 1.0, 5), np.random.default_rng(3).standard_normal((10, 5))
    parameter = real_torch.from_numpy(start.copy()).requires_grad_()
    optimizer = getattr(real_torch.optim, found.wanted.name)([parameter], **found.wanted.arguments)
    tx = eval(str(found.call), {"optax": real_optax})
    params = jnp.asarray(start)
    state = tx.init(params)
    for gradient in stream:
        parameter.grad = real_torch.from_numpy(gradient.copy())
        optimizer.step()
        updates, state = tx.update(jnp.asarray(gradient), state, params)
        params = real_optax.apply_updates(params, updates)
    np.testing.assert_allclose(np.asarray(params), parameter.detach().numpy(), rtol=1e-6)


@pytest.mark.parametrize(
    ("first", "second", "nearest", "obstacles"),
    [
        (
            "keras.Adam()",
            "torch.Adam()",
            "torch.Adam(eps=1e-07)",
            {"scale_by_adam.eps_before_correction": (True, False)},
        ),
        (
            "torch.SGD(0.1, 0.9, 0.5)",
            "mlx.SGD(0.1)",
            "mlx.SGD(0.1, momentum=0.9, dampening=0.5)",
            {"trace.undampened_first_step": (True, False)},
        ),
        (
            "torch.Adam(weight_decay=0.1)",
            "optax.adam(1e-3)",
            "optax.adamw(learning_rate=0.001, weight_decay=0.1)",
            {
                "order": (
                    ("add_decayed_weights", "scale_by_adam", "scale_by_learning_rate"),
                    ("scale_by_adam", "add_decayed_weights", "scale_by_learning_rate"),
                )
            },
        ),
        (
            "torch.Adam(amsgrad=True)",
            "optax.amsgrad(1e-3)",
            "optax.amsgrad(0.001, bias_correction_nu=False)",
            {"scale_by_amsgrad.bias_correction_nu_max": (True, False)},
        ),
        (
            "torch.Adagrad()",
            "optax.adagrad(0.01)",
            "optax.adagrad(0.01, initial_accumulator_value=0.0, eps=1e-10)",
            {"scale_by_rss.eps_in_sqrt": (False, True)},
        ),
        ("optax.rprop(0.1)", "torch.Rprop(0.1)", "torch.Rprop(0.1)", {"scale_by_rprop.one_step_late": (True, False)}),
    ],
)
def test_what_no_argument_sets(first: str, second: str, nearest: str, obstacles: dict[str, tuple[Any, Any]]) -> None:
    found = compared(first, second)
    assert found.nearest is not None
    assert str(found.nearest.call) == nearest
    assert not found.nearest.confirmed
    assert {name: pair for name, pair in found.obstacles.items() if name in obstacles} == obstacles
    assert len(found.obstacles) <= len(obstacles) + 1


def test_an_epsilon_of_0_is_proposed() -> None:
    found = compared("torch.Adagrad()", "optax.adagrad(0.1)").without_epsilon
    assert found is not None
    assert found.confirmed
    assert str(found.wanted) == "torch.Adagrad(eps=0.0)"
    assert str(found.call) == "optax.adagrad(0.01, initial_accumulator_value=0.0, eps=0.0)"
    assert compared("torch.SGD(0.1, 0.9, 0.5)", "mlx.SGD(0.1)").without_epsilon is None


@pytest.mark.parametrize(
    ("dialect", "name", "setting"), [(dialect, *case) for dialect, runs in SETTINGS.items() for case in runs.CASES]
)
def test_every_call_of_a_dialect_is_found_from_the_default_one(dialect: str, name: str, setting: str) -> None:
    """What is looked for can be had, so not finding it is a fault of the search."""
    options = SETTINGS[dialect].SETTINGS[name][setting]
    plain = Call(dialect, name, {})
    required = "learning_rate" if dialect == "mlx" and name != "Adafactor" else None
    begun = plain.but(learning_rate=0.5) if required else plain
    wanted = begun.but(**options)
    found, apart = search.nearest(wanted, begun)
    assert apart == 0, found


@pytest.mark.parametrize("dialect", CONSTRUCTORS)
def test_all_optimizers_of_a_dialect_are_known(dialect: str) -> None:
    expected = {"torch": torch_runs.SETTINGS, "mlx": mlx_runs.SETTINGS, "keras": keras_runs.SETTINGS}.get(dialect)
    if expected is not None:
        assert CONSTRUCTORS[dialect].keys() == expected.keys()
    assert all(callable(make) for make in CONSTRUCTORS[dialect].values())
    assert "chain" not in CONSTRUCTORS[dialect]


def test_distances_and_where_they_begin() -> None:
    twice = {x.problem: x for x in compared("sgd(0.5)", "sgd(1.0)").both.apart}
    assert twice["normal"].share == pytest.approx(1.0)
    assert twice["normal"].step == 1
    assert twice["sparse"].step == 2  # whose first gradients are 0
    later = {x.problem: x for x in compared("sgd(0.5)", "sgd(0.5, momentum=0.5)").both.apart}
    assert later["normal"].step == 2
    falling = compared("sgd(0.5)", "sgd(piecewise_constant_schedule(0.5, {7: 0.5}))").both.apart
    assert {x.step for x in falling if x.problem == "normal"} == {8}


def test_the_same_steps_in_other_words() -> None:
    found = compared("torch.AdamW(weight_decay=0.5)", "optax.adamw(1e-3, weight_decay=0.5)")
    assert found.both.confirmed
    assert found.both.conditions() == ["gradients are None, since torch counts the steps of each leaf by itself"]
    found = compared("keras.SGD(0.1, momentum=0.5)", "optax.sgd(0.1, 0.5)")
    assert found.both.confirmed
    assert found.both.conditions() == ["the learning rate changes, since only one of them has it inside the momentum"]
    assert compared("uniopt.adam(0.1)", "optax.adam(0.1)").both.conditions() == []


@pytest.mark.parametrize("name", ["keras.SGD(0.1, momentum=0.5)", "optax.rmsprop(0.1, momentum=0.5)"])
def test_a_rate_inside_the_momentum_counts_where_it_changes(name: str) -> None:
    outside = {"keras.SGD(0.1, momentum=0.5)": "torch.SGD(0.1, 0.5)"}.get(
        name, "torch.RMSprop(0.1, alpha=0.9, momentum=0.5)"
    )
    falling = "linear_schedule(0.1, 0.0, 12)"
    found = compared(name.replace("0.1", falling), outside.replace("0.1", falling))
    assert not found.both.confirmed
    assert found.nearest is not None
    assert not found.nearest.confirmed


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


@pytest.mark.parametrize(
    ("text", "call"),
    [
        (" torch.optim.Adam( lr = 1e-2 ) ", "torch.Adam(lr=0.01)"),
        ("uniopt.dialects.keras.Adam(0.5)", "keras.Adam(0.5)"),
        ("mlx.optimizers.Adam(1e-2, betas=[0.5, 0.75])", "mlx.Adam(0.01, betas=[0.5, 0.75])"),
        ("adamw(1e-3)", "uniopt.adamw(0.001)"),
        ("optax.sgd(optax.constant_schedule(0.5))", "optax.sgd(constant_schedule(value=0.5))"),
        ("sgd(uniopt.constant_schedule(0.5))", "uniopt.sgd(constant_schedule(value=0.5))"),
    ],
)
def test_calls_are_read_as_they_are_written_in_their_frameworks(text: str, call: str) -> None:
    assert str(read(text)) == call
    assert read(str(read(text))) == read(text)


def test_arguments_that_are_defaults_are_left_out() -> None:
    call = read("torch.Adam(0.5, eps=1e-4)")
    assert str(call.but(eps=1e-8, weight_decay=0)) == "torch.Adam(0.5)"
    assert str(call.but(lr=1e-3, amsgrad=True)) == "torch.Adam(0.001, eps=0.0001, amsgrad=True)"
    assert str(read("torch.Adam(eps=1e-8)").but(lr=0.5)) == "torch.Adam(lr=0.5, eps=1e-08)"  # as it was given


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("torch.Adam", "'torch.Adam' is no call of an optimizer. One is, for example, torch.Adam(lr=1e-3)"),
        ("torch.Adam(", "is no Python expression"),
        ("(" * 5000, "is no Python expression"),
        ("pytorch.Adam()", "No dialect is called 'pytorch'"),
        ("torch.RMSProp()", "torch has no optimizer 'RMSProp'. Do you mean 'RMSprop'?"),
        ("torch.LBFGS()", "torch has no optimizer 'LBFGS'"),
        ("adam.__globals__()", "No dialect is called 'adam'"),
        ("open('x')", "uniopt has no optimizer 'open'"),
        ("torch.Adam(learning_rate=1e-3)", "torch.Adam has no parameter 'learning_rate'. It has: lr, betas"),
        ("torch.RMSprop(aplha=0.9)", "torch.RMSprop has no parameter 'aplha'. Do you mean 'alpha'?"),
        ("optax.sgd(0.1, 0.9, dampening=0.5)", "optax.sgd has no parameter 'dampening'"),
        ("torch.Adam(model.parameters())", "torch's first argument, the parameters, is left out"),
        ("mlx.Adam()", "mlx.Adam(): missing a required argument: 'learning_rate'"),
        ("torch.Adam(1, (0.9, 0.999), 1e-8, 0, False, True)", "too many positional arguments"),
        ("torch.Adam(lr=-1)", "torch.Adam(lr=-1): lr is -1, expected a number not below 0"),
        ("torch.Adam(lr=__import__('os'))", "no Python literal"),
        ("torch.Adam(*[1])", "torch.Adam is given arguments with a star"),
        ("torch.Adam(**{'lr': 1})", "torch.Adam is given arguments with a star"),
    ],
)
def test_what_is_no_call_is_refused(text: str, words: str) -> None:
    with pytest.raises(CommandError, match=re.escape(words)):
        read(text)


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["torch.Adam()", "adam"], 2, "'adam' is no call of an optimizer"),
        (["sgd(1.0)", "sgd(1.0)", "--backend=tensorflow"], 2, "no backend is called 'tensorflow'. Known:"),
        (["sgd(1.0)", "sgd(1.0)", "--dtype=int8"], 2, "--dtype is 'int8', expected one of float64, float32"),
        (["sgd(1.0)", "sgd(1.0)", "--steps=2"], 2, "--steps is 2, expected a number from 3 to 10000"),
    ],
)
def test_wrong_usage(words: list[str], status: int, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", *words]) == status
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert message in err


def test_switches_without_effect_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "sgd(0.5)", "optax.sgd(0.5, nesterov=False)", "--steps=3"]) == 0
    assert "without effect" not in capsys.readouterr().out
    assert main(["compare", "adafactor(0.5)", "adafactor(0.5, min_dim_size_to_factor=1000)", "--steps=3"]) == 0
    out = capsys.readouterr().out
    assert "These switches differ, without effect here.\n\nswitch " in out
    assert "scale_by_factored_rms.min_dim_size_to_factor" in out


def test_a_switch_without_effect_is_no_obstacle(capsys: pytest.CaptureFixture[str]) -> None:
    """The first step size of Rprop is within the bounds anyhow."""
    assert main(["compare", "uniopt.rprop(0.5)", "torch.Rprop()", "--steps=5"]) == 1
    out = capsys.readouterr().out
    assert "  torch.Rprop(lr=0.5)\nwhich a run confirms: equal in every bit.\n\nThese switches differ, without" in out
    assert "scale_by_rprop.bound_every_size" in out


def test_what_only_seems_to_be_the_same_is_reported(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("uniopt.cli.compare.search.nearest", lambda first, second: (second, 0))
    assert main(["compare", "sgd(0.5)", "torch.SGD(0.25)", "--steps=3"]) == 1
    assert "  torch.SGD(0.25)\nbut the two do not take the same steps:\n\nproblem " in capsys.readouterr().out


def test_a_step_that_fails_is_reported(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*given: Any) -> None:
        raise UnsupportedDtypeError("no bfloat16 here")

    monkeypatch.setattr(Runner, "_apart", refuse)
    assert main(["compare", "sgd(1.0)", "sgd(1.0)"]) == 1
    assert capsys.readouterr().err == "uniopt compare: error: no bfloat16 here\n"


def test_a_library_that_cannot_run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("uniopt.cli.present.unavailable", lambda name: f"{name} is not installed")
    assert main(["compare", "sgd(1.0)", "sgd(1.0)", "--backend", "torch"]) == 3
    assert "torch is not installed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("library", "dtype"),
    [
        *((library, "float64") for library in ("torch", "jax", "mlx", "dask", "array-api-strict")),
        ("torch", "float32"),
        ("jax", "float32"),
    ],
)
def test_every_library(library: str, dtype: str, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["--backend", library, "--dtype", dtype, "--steps", "3"]
    assert main(["compare", "torch.SGD(0.5, momentum=0.5)", "mlx.SGD(0.5)", *where]) == 1
    out = capsys.readouterr().out
    assert f"3 steps in {dtype} on {library.replace('-', '_')}" in out
    assert "  mlx.SGD(0.5, momentum=0.5)\nwhich a run confirms: equal in every bit.\n" in out
    assert main(["compare", "sgd(0.5)", "torch.SGD(0.5)", *where]) == 0
    assert "The two take the same steps, but for rounding." in capsys.readouterr().out


def test_matrices_alone_where_one_takes_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "torch.Muon()", "mlx.Muon(1e-3)", "--steps", "4"]) == 1
    out = capsys.readouterr().out
    assert "with matrices alone, since one of the two takes nothing else" in out
    assert not re.search("at 0x", out)
    assert max(map(len, out.splitlines())) < 130


def test_a_part_that_only_one_has_is_one_row(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "keras.Muon()", "mlx.Muon(1e-3)", "--steps", "3"]) == 1
    out = capsys.readouterr().out
    assert "partition.stages.muon, parts in order\n  first   scale_by_muon, scale_by_shape" in out
    assert "partition.stages.muon.scale_by_muon" not in out
    assert "add_decayed_weights\n  first   -\n  second  weight_decay=0.01, min_scale=None\n" in out


def test_the_page_shows_what_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    shown = re.findall(r'\$ uniopt compare "([^"]+)" "([^"]+)"\n```\n\n```text\n(.*?)```', PAGE.read_text(), re.DOTALL)
    assert len(shown) == 2
    for first, second, text in shown:
        assert main(["compare", first, second]) == 1
        assert capsys.readouterr().out == text


def test_help_explains_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["compare", "--help"])
    out = capsys.readouterr().out
    for option in ("--backend", "--dtype", "--steps", "exit codes", "torch.NAME"):
        assert option in out
