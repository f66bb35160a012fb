"""The modes beside a plain loop: each walks the same path, and a fault that only it can have is found."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest
from uniopt.conformance import Record, Selection, cells, peers, report, run, suite
from uniopt.conformance.problems import PROBLEMS

import uniopt

NEW = [("jax", "vmap"), ("torch", "vmap"), ("jax", "scan"), ("jax", "sharded")]


def of(make: Any, library: str, mode: str, **more: Any) -> Record:
    """Return the record of an optimizer of one's own, compared with NumPy alone."""
    case = cells.Case("own", "default", PROBLEMS["even" if mode == "sharded" else "brief"], {}, make, None)
    selection = Selection(backends=[library], modes=[mode], dtypes=["float32"], against=["numpy"], **more)
    return run(selection, [case])


@pytest.mark.parametrize(("library", "mode"), NEW)
@pytest.mark.parametrize("optimizer", ["adamw", "params_ema", "lookahead"])
def test_a_mode_walks_the_same_path(optimizer: str, library: str, mode: str) -> None:
    record = run(Selection(optimizers=[optimizer], backends=[library], modes=[mode], against=["reference", "numpy"]))
    assert record.exit_code() == 0, report.text(record)
    assert [cell["mode"] for cell in record.cells] == [mode]
    assert set(record.cells[0]["comparisons"]) == {"reference", "numpy"}
    assert record.cells[0]["compilations"] == (1 if mode == "scan" else None)


class _Crossing:
    """Descent whose runs, or shards, hear of one another: the mean over the first axis is taken off."""

    def init(self, params: Any) -> Any:
        return ()

    def update(self, updates: Any, state: Any, params: Any = None, **extra: Any) -> Any:
        return uniopt.tree.map(self._step, updates), state

    def _step(self, g: Any) -> Any:
        import numpy as np

        return -0.5 * g if isinstance(g, np.ndarray) else -0.5 * g + 1e-3 * g.sum()


@pytest.mark.parametrize(("library", "mode"), NEW)
def test_other_numbers_are_found(library: str, mode: str) -> None:
    record = of(_Crossing, library, mode)
    assert record.exit_code() == 1
    assert "against numpy: first in step 1" in report.text(record)


def test_runs_of_a_batch_that_hear_of_one_another_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    setup = peers.setup("torch")
    assert setup is not None

    def crossing(f: Any) -> Any:
        import torch

        return lambda *arrays: [torch.roll(x, 1, 0) for x in torch.func.vmap(f)(*arrays)]

    monkeypatch.setattr(setup, "vmap", crossing)
    assert of(lambda: uniopt.sgd(0.5), "torch", "vmap").exit_code() == 1


class _Gathering(_Crossing):
    """Descent that loses how the parameters are shared."""

    def _step(self, g: Any) -> Any:
        import jax

        return -0.5 * g if not isinstance(g, jax.Array) else jax.device_put(-0.5 * g, jax.devices()[0])


def test_a_lost_sharding_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uniopt, "apply_updates", lambda params, updates: updates)
    record = of(_Gathering, "jax", "sharded")
    assert "params['matrix'] was" in record.cells[0]["properties"]["leaves"]


def test_every_leaf_with_axes_is_shared_by_four_devices() -> None:
    import jax

    setup = peers.setup("jax")
    assert setup is not None
    shares = setup.shares(jax.devices()[0])
    for leaf in uniopt.tree.leaves(PROBLEMS["even"].params):
        assert len(shares(leaf.shape).device_set) == 4
        assert shares(leaf.shape).is_fully_replicated == (leaf.ndim == 0)


def test_by_default_they_are_run_briefly_and_not_in_a_quick_run() -> None:
    planned = suite.planned(Selection(backends=["jax", "torch"], optimizers=["adamw"]))[0]
    found = {
        (c.backend, c.mode): (c.case.setting, c.case.problem.name, c.dtype) for c in planned if c.mode in peers.NEEDED
    }
    assert found == {
        ("jax", "vmap"): ("default", "brief", "float64"),
        ("torch", "vmap"): ("default", "brief", "float64"),
        ("jax", "scan"): ("default", "brief", "float32"),
        ("jax", "sharded"): ("default", "even", "float32"),
    }
    quick = suite.planned(Selection(backends=["jax", "torch"], optimizers=["adamw"], quick=True))[0]
    assert not {cell.mode for cell in quick} & peers.NEEDED.keys()
    assert not suite.planned(Selection(backends=["numpy"], modes=["vmap", "scan", "sharded"]))[0]


@pytest.mark.parametrize(
    ("flags", "verdict", "code"), [("", "PASS", 0), ("--xla_force_host_platform_device_count=1", "NOT RUN", 3)]
)
def test_too_few_devices_are_said(flags: str, verdict: str, code: int) -> None:
    """The command asks JAX for four devices, unless the user has said how many there are."""
    asked = ["--backend", "jax", "--optimizer", "sgd", "--mode", "sharded", "--against", "reference"]
    command = [sys.executable, "-m", "uniopt.conformance", *asked]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "XLA_FLAGS": flags}, check=False)
    assert done.returncode == code, done.stderr
    assert f"1 cells: 1 {verdict}" in done.stdout
    if code:
        assert "NOT RUN  jax sharded: sharded takes 4 devices, and there is 1 cpu: set XLA_FLAGS" in done.stdout
