"""Compiled steps on torch's distributed tensors, in processes that find each other through a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.processes import run_together


@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_distributed_steps_are_the_undistributed_ones(processes: int, tmp_path: Path) -> None:
    run_together(Path(__file__).parent / "dtensor.py", processes, tmp_path, ends_with="steps agree")
