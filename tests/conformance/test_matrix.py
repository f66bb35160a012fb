"""The suite on every library: briefly in the ordinary run, whole in the wide one."""

from __future__ import annotations

import pytest
from uniopt.conformance import Selection, report
from uniopt.conformance.cells import ORACLES
from uniopt.conformance.suite import run

EVERYWHERE = ["numpy", "array_api_strict", "torch", "jax", "mlx", "dask"]


@pytest.mark.parametrize("name", EVERYWHERE)
def test_adamw_on_every_library(name: str) -> None:
    record = run(Selection(backends=[name], optimizers=["adamw"], quick=True, against=ORACLES))
    assert record.exit_code() == 0, report.text(record)
    assert ("float64", "eager") in {(cell["dtype"], cell["mode"]) for cell in record.cells}
    compared = {oracle for cell in record.cells if cell["dtype"] == "float64" for oracle in cell["comparisons"]}
    assert {"reference", "optax", "torch"} <= compared


@pytest.mark.wide
@pytest.mark.parametrize("name", EVERYWHERE)
def test_every_optimizer_on_every_library(name: str) -> None:
    record = run(Selection(backends=[name]))
    assert record.exit_code() == 0, report.text(record)


@pytest.mark.wide
@pytest.mark.filterwarnings("ignore:.*is deprecated:DeprecationWarning:torch")  # its compiler loads what it deprecates
def test_torchs_own_compiler() -> None:
    cells = ["sgd/momentum/brief/torch/cpu/float32/traced", "adamw/default/brief/torch/cpu/float32/traced"]
    record = run(Selection(cells=cells))
    assert record.exit_code() == 0, report.text(record)


@pytest.mark.wide
def test_strict_without_float64() -> None:
    record = run(
        Selection(backends=["array_api_strict"], devices=["no_float64", "device1"], quick=True, against=ORACLES)
    )
    assert record.exit_code() == 0, report.text(record)
    assert record.summary()["UNSUPPORTED"] > 0
    assert record.summary()["PASS"] > 0
