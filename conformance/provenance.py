"""Where a record comes from: what was run, on what, from which source, by which command."""

from __future__ import annotations

import platform
import shlex
import subprocess
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from uniopt.conformance.problems import SEED

import uniopt
from uniopt import backends


def provenance(libraries: Iterable[str], peers: Iterable[str]) -> dict[str, Any]:
    """Return the provenance of a run on these libraries, compared with these peers."""
    return {
        "uniopt": uniopt.__version__,
        "source": source(),
        "libraries": {name: backends.get(name).version() for name in libraries},
        "peers": {name: _version(name) for name in peers},
        "numpy": _version("numpy"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "gpus": gpus(),
        "flags": {
            "jax_enable_x64": "on in float64 cells, off in the others",
            "jax_default_matmul_precision": "highest",
            "dask scheduler": "synchronous",
        },
        "seed": SEED,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join(["uniopt", "conformance", *_arguments()]),
    }


def gpus() -> list[str]:
    """Return name and driver of each of NVIDIA's graphics processors; nothing where its driver is not installed."""
    command = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout.splitlines()
    except (OSError, subprocess.SubprocessError):
        return []


def source() -> dict[str, Any]:
    """Return the git commit of the checkout that runs, and whether it is clean; nulls for an installed package."""
    root = Path(uniopt.__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return {"commit": None, "clean": None}
    commit, changes = _git(root, "rev-parse", "HEAD"), _git(root, "status", "--porcelain")
    return {"commit": commit, "clean": None if changes is None else changes == ""}


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True, timeout=30)
    except (OSError, subprocess.SubprocessError):  # no git, or none that may read this folder
        return None
    return done.stdout.strip()


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _arguments() -> list[str]:
    """Return the arguments after the subcommand; none where the suite was called from Python."""
    name = Path(sys.argv[0]).name
    if name == "uniopt" and sys.argv[1:2] == ["conformance"]:
        return sys.argv[2:]
    return sys.argv[1:] if Path(sys.argv[0]).parent.name == "conformance" else []
