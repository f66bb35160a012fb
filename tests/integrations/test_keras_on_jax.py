"""What holds on torch holds on Keras's JAX backend: one process has one backend."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import keras


def test_the_same_tests_on_jax() -> None:
    assert keras.backend.backend() == "torch"
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        str(Path(__file__).with_name("test_keras.py")),
    ]
    done = subprocess.run(
        command,
        env={**os.environ, "KERAS_BACKEND": "jax"},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
