"""What holds on torch holds on Keras's JAX backend: one process has one backend."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import keras
import pytest

ROOT = Path(__file__).parents[2]
PORTED = "float64 and keras-keras and not (Adam or NAdam or SGD or Adagrad)"  # one of each kind of slot
RUNS = {
    "integrations": ["tests/integrations/test_keras.py"],
    "porting": ["tests/porting/test_mlx_and_keras.py", "-m", "not wide", "-k", PORTED],
}


@pytest.mark.parametrize("name", RUNS)
def test_the_same_tests_on_jax(name: str) -> None:
    assert keras.backend.backend() == "torch"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *RUNS[name]],
        env={**os.environ, "KERAS_BACKEND": "jax"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
