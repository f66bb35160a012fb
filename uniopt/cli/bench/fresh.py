"""Functions of this package called in a fresh process: what a first call costs, or how high memory has climbed.

``python -m uniopt.cli.bench.fresh MODULE FUNCTION ARGUMENTS`` prints, in its last line, JSON of the result and of what
was warned of.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from collections.abc import Mapping
from importlib import import_module
from typing import Any


class FreshProcessError(Exception):
    """The process failed; the message is the end of what it said."""


def call(module: str, function: str, environment: Mapping[str, str] | None = None, **arguments: Any) -> Any:
    """Return the result of a function, called with these keyword arguments in a fresh process."""
    command = [sys.executable, "-P", "-m", __name__, module, function, json.dumps(arguments)]
    done = subprocess.run(
        command, env={**os.environ, **(environment or {})}, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        said = "\n".join(done.stderr.strip().splitlines()[-5:]) or f"exit status {done.returncode}"
        raise FreshProcessError(said)
    result, warned = json.loads(done.stdout.splitlines()[-1])
    for message in warned:
        warnings.warn(message, stacklevel=2)
    return result


def _main(module: str, function: str, arguments: str) -> None:
    with warnings.catch_warnings(record=True) as heard:
        result = getattr(import_module(module), function)(**json.loads(arguments))
    print(json.dumps([result, [str(w.message) for w in heard]]))


if __name__ == "__main__":
    _main(*sys.argv[1:])
