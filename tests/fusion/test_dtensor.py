"""Compiled steps on torch's distributed tensors, in processes that find each other through a file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_distributed_steps_are_the_undistributed_ones(processes: int, tmp_path: Path) -> None:
    script = Path(__file__).parent / "dtensor.py"
    runs = [
        subprocess.Popen(
            [sys.executable, str(script), str(rank), str(processes), str(tmp_path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(processes)
    ]
    outputs = [run.communicate(timeout=600)[0] for run in runs]
    for run, output in zip(runs, outputs, strict=True):
        assert run.returncode == 0, output
        assert output.endswith("steps agree\n"), output
