"""Running a script in several processes that find each other through a file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def run_together(script: Path, processes: int, folder: Path, *, ends_with: str) -> None:
    """Run ``python script RANK PROCESSES FOLDER`` for every rank; all have to end well, and with that line."""
    runs = [
        subprocess.Popen(
            [sys.executable, str(script), str(rank), str(processes), str(folder)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(processes)
    ]
    outputs = [run.communicate(timeout=600)[0] for run in runs]
    for run, output in zip(runs, outputs, strict=True):
        assert run.returncode == 0, output
        assert output.endswith(f"{ends_with}\n"), output
