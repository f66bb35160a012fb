"""Calls of optimizers: what is read, what is refused, and how they are written."""

from __future__ import annotations

import re

import pytest

from tests.dialects import keras_runs, mlx_runs, torch_runs
from uniopt.cli.compare.calls import CONSTRUCTORS, read
from uniopt.cli.errors import CommandError


@pytest.mark.parametrize("dialect", CONSTRUCTORS)
def test_all_optimizers_of_a_dialect_are_known(dialect: str) -> None:
    expected = {"torch": torch_runs.SETTINGS, "mlx": mlx_runs.SETTINGS, "keras": keras_runs.SETTINGS}.get(dialect)
    if expected is not None:
        assert CONSTRUCTORS[dialect].keys() == expected.keys()
    assert all(callable(make) for make in CONSTRUCTORS[dialect].values())
    assert "chain" not in CONSTRUCTORS[dialect]


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
        ("torch.Adam(lr=1e-3, lr=1e-2)", "an argument is given twice"),
        ("torch.Adam(lr=-1)", "torch.Adam(lr=-1): lr is -1, expected a number not below 0"),
        ("torch.Adam(lr=__import__('os'))", "no Python literal"),
        ("torch.Adam(*[1])", "torch.Adam is given arguments with a star"),
        ("torch.Adam(**{'lr': 1})", "torch.Adam is given arguments with a star"),
    ],
)
def test_what_is_no_call_is_refused(text: str, words: str) -> None:
    with pytest.raises(CommandError, match=re.escape(words)):
        read(text)
