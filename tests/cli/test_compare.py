"""The command that compares two optimizers: distances, what it says, its options and exit codes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from uniopt.cli import main
from uniopt.cli.compare.calls import read
from uniopt.cli.compare.comparison import Comparison, compare
from uniopt.cli.compare.runs import Runner
from uniopt.errors import UnsupportedDtypeError

PAGE = Path(__file__).parents[2] / "docs" / "dialects.md"


def compared(first: str, second: str, steps: int = 12) -> Comparison:
    return compare(read(first), read(second), "numpy", "float64", steps)


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
