"""The constructors of the dialects: each has cases, beside its own framework, and faults in them are found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from types import FunctionType
from typing import Any

import numpy as np
import pytest
from uniopt.conformance import Record, Selection, cases, gaps, peers, report, suite
from uniopt.conformance.cells import ORACLES
from uniopt.conformance.dialects import DIALECTS, constructors
from uniopt.conformance.oracles import Oracles
from uniopt.conformance.suite import run

import uniopt
from tests.mutation.corpus import faults_of
from tests.mutation.planting import planted
from uniopt import dialects
from uniopt.cli import main


def on_numpy(*names: str, cell: str = "", **more: Any) -> Record:
    """Return the record of some constructors, eager on NumPy in float64, or of what else is asked for."""
    asked = {"dtypes": ["float64"], "modes": ["eager"], "backends": ["numpy"], **more}
    chosen = [f"{name}/{cell}/numpy/cpu/float64/eager" for name in names] if cell else ()
    return run(Selection(optimizers=names, cells=chosen, **asked))


def exchange(monkeypatch: pytest.MonkeyPatch, name: str, wrong: Callable[..., Any]) -> None:
    """Let a constructor be another function, which is given the right one and the hyperparameters."""
    framework, _, constructor = name.partition(".")
    module = getattr(dialects, framework)
    right = getattr(module, constructor)
    monkeypatch.setattr(module, constructor, wraps(right)(lambda **hyper: wrong(right, **hyper)))


def test_every_constructor_has_a_case() -> None:
    assert constructors().keys() == DIALECTS.keys() == {c.optimizer for c in cases.all_cases() if c.dialect}
    assert Counter(name.partition(".")[0] for name in DIALECTS) == {"torch": 13, "mlx": 10, "keras": 14, "optax": 3}


def test_a_constructor_without_a_case_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    right = dialects.torch.SGD
    newcomer = FunctionType(right.__code__, right.__globals__, "Newcomer", right.__defaults__)
    monkeypatch.setattr(dialects.torch, "Newcomer", newcomer, raising=False)
    with pytest.raises(LookupError, match=r"exports torch.Newcomer without a conformance case. Add a line to SETTINGS"):
        cases.all_cases()


def test_a_case_without_a_constructor_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(cases.DIALECTS, "mlx.Adan", DIALECTS["mlx.Adam"])
    with pytest.raises(LookupError, match=r"SETTINGS has mlx.Adan, which uniopt.dialects does not export"):
        cases.all_cases()


def test_settings_are_few_and_tell_things_apart() -> None:
    """No two settings of a constructor make the same transformation."""
    made = {(case.optimizer, repr(case.transformation())) for case in cases.all_cases() if case.dialect}
    found = Counter(name for name, _ in made)
    assert found == {name: len(subject.settings) for name, subject in DIALECTS.items()}
    assert max(found.values()) <= 6


def test_each_is_held_against_its_own_framework() -> None:
    record = run(Selection(backends=["numpy"], optimizers=list(DIALECTS), quick=True, against=ORACLES))
    assert record.exit_code() == 0, report.text(record)
    assert {cell["verdict"] for cell in record.cells} == {"PASS"}
    assert {cell["optimizer"] for cell in record.cells} == DIALECTS.keys()
    for cell in record.cells:
        assert cell["optimizer"].partition(".")[0] in cell["comparisons"], cell["name"]


@pytest.mark.parametrize("name", ["torch.AdamW", "torch.ASGD", "torch.NAdam"])
@pytest.mark.parametrize("problem", ["skipped", "late"])
def test_torch_counts_the_steps_of_each_parameter(name: str, problem: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert on_numpy(name, cell=f"default/{problem}", against=["torch"]).summary()["PASS"] == 1
    exchange(monkeypatch, name, lambda right, **hyper: _together(right(**hyper)))
    assert on_numpy(name, cell=f"default/{problem}", against=["torch"]).summary()["FAIL"] == 1
    assert on_numpy(name, cell="default/normal", against=["torch"]).summary()["PASS"] == 1


def _together(tx: uniopt.GradientTransformation) -> uniopt.GradientTransformation:
    """Return a transformation that counts the steps of all leaves together."""
    return uniopt.transformation.transformation(uniopt.transformation.stage_of(tx).inner)


@pytest.mark.parametrize(
    ("name", "cell", "module", "line"),
    [
        ("torch.Adam", "amsgrad/brief", "dialects/torch/adam.py", "bias_correction_nu_max=False"),
        ("torch.SGD", "dampened/brief", "dialects/torch/gradient_descent.py", "undampened_first_step=False"),
        ("mlx.RMSprop", "default/brief", "dialects/mlx.py", "scale_by_rms(alpha, eps, eps_in_sqrt=True)"),
        ("mlx.Muon", "plain/brief", "dialects/mlx.py", "scale(1 + momentum)"),
        ("keras.SGD", "accumulated/brief", "dialects/rates.py", "count * every - (every - 1)"),
        ("optax.rprop", "etas/brief", "dialects/optax.py", "chain(late, scale(1.0))"),
    ],
)
def test_one_wrong_token_is_found(name: str, cell: str, module: str, line: str) -> None:
    framework = name.partition(".")[0]
    assert on_numpy(name, cell=cell, against=[framework]).exit_code() == 0
    chosen = [fault for fault in faults_of(module) if line in fault.line]
    assert chosen
    for fault in chosen:
        with planted(fault):
            record = on_numpy(name, cell=cell, against=[framework])
        assert record.summary()["FAIL"] == 1, fault.line
        assert f"against {framework}: first in step" in report.text(record)


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("torch.AdamW", {"weight_decay": 1e-3}),
        ("keras.RMSprop", {"epsilon": 1e-6}),
        ("mlx.Lion", {"betas": (0.9, 0.999)}),
        ("optax.polyak_sgd", {"f_min": 0.25}),
    ],
)
def test_another_default_is_found(name: str, fault: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    assert on_numpy(name, cell="default/normal").exit_code() == 0
    exchange(monkeypatch, name, lambda right, **hyper: right(**{**fault, **hyper}))
    assert on_numpy(name, cell="default/normal").summary()["FAIL"] == 1


def test_without_the_framework_the_other_libraries_are_compared_with_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    known = peers.why_absent
    monkeypatch.setattr(peers, "why_absent", lambda name: "keras is not here" if name == "keras" else known(name))
    asked = Selection(optimizers=["keras.Nadam"], backends=["numpy", "torch"], devices=["cpu"], dtypes=["float64"])
    record = run(asked)
    assert {(c["backend"], c["mode"], c["verdict"], *c["comparisons"]) for c in record.cells} == {
        ("numpy", "eager", "NOT RUN"),
        ("numpy", "compiled", "PASS", "numpy"),
        ("torch", "eager", "PASS", "numpy"),
        ("torch", "compiled", "PASS", "numpy"),
        ("torch", "vmap", "PASS", "numpy"),
    }
    assert "NOT RUN  numpy eager: keras is not here" in report.text(record)
    assert record.exit_code() == 0
    assert run(replace(asked, against=["keras", "numpy"])).exit_code() == 3
    whole = suite.planned(Selection())[0]
    assert suite.recorded([], whole, Oracles(ORACLES), Selection()).required["missing"] == []


def test_what_computes_in_bfloat16_needs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    record = run(Selection(backends=["array_api_strict"], optimizers=["torch.Muon"], dtypes=["float32"]))
    assert {(cell["verdict"], cell["reason"]) for cell in record.cells} == {
        ("UNSUPPORTED", "torch.Muon needs bfloat16: the Array API standard defines no 16-bit floats")
    }
    monkeypatch.setattr(gaps, "GAPS", (gaps.Gap("numpy", "*", "bfloat16", "planted"),))
    record = on_numpy("torch.Muon")
    assert {cell["verdict"] for cell in record.cells} == {"FAIL"}
    assert "take the declaration out" in record.cells[0]["reason"]


def test_peers_begin_where_the_data_type_can() -> None:
    """In float64, from what float32 holds: else the rounding of the start would count as an error of the optimizer."""
    (cell,) = suite.planned(Selection(cells=["torch.SGD/default/normal/numpy/cpu/float32/eager"]))[0]
    start = Oracles(["torch"]).of(cell)["torch"][0]
    for x, given in zip(start, uniopt.tree.flatten(cell.case.problem.params)[0], strict=True):
        if given is not None:
            assert x is not None
            assert x.dtype == np.float64
            np.testing.assert_array_equal(x, given.astype(np.float32))


def test_the_default_settings_alone_run_where_an_operation_takes_long() -> None:
    planned = suite.planned(Selection(backends=["jax", "dask", "mlx"], optimizers=["keras.SGD", "mlx.Adam"]))[0]
    slow = [c for c in planned if c.backend in ("jax", "dask") or c.mode == "traced"]
    assert {(c.case.setting, c.case.problem.name) for c in slow} == {("default", "brief"), ("default", "even")}
    assert {c.case.setting for c in planned if c.backend == "mlx"} > {"default", "nesterov", "corrected"}


@pytest.mark.parametrize("name", ["torch.AdamW", "optax.rprop"])
def test_the_command_knows_their_names(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["conformance", "--list", "--optimizer", name]) == 0
    listed = capsys.readouterr().out.split()
    assert f"{name}/default/normal/torch/cpu/float32/compiled" in listed
    assert all(cell.startswith(f"{name}/") for cell in listed)
    assert main(["conformance", f"{name}/default/brief/numpy/cpu/float64/eager"]) == 0
    assert "1 cells: 1 PASS" in capsys.readouterr().out
    assert main(["conformance", "--optimizer", name.replace(".", ".My")]) == 2
