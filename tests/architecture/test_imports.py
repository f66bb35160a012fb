"""Who may import what: arrows point one way, and frameworks are imported in their own files only."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FRAMEWORKS = {"torch", "jax", "jaxlib", "mlx", "cupy", "dask", "array_api_strict", "optax", "flax", "equinox", "keras"}
FLOORS = ["backends", "uniopt", "conformance", "uniopt/cli"]  # each may use itself and those before it
SOURCES = sorted(path for part in ("backends", "uniopt", "conformance") for path in (ROOT / part).rglob("*.py"))


def floor(module: str) -> int | None:
    for prefix, level in (("uniopt.cli", 3), ("uniopt.conformance", 2), ("uniopt.backends", 0), ("uniopt", 1)):
        if module == prefix or module.startswith(prefix + "."):
            return level
    return None


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    parts = parts if parts[0] == "uniopt" else ("uniopt", *parts)
    return ".".join(parts).removesuffix(".__init__")


def imported(path: Path) -> set[str]:
    """Return the full names of all modules that a file imports, at its top or inside functions."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively; the parts of the package need absolute imports"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def own_library(path: Path) -> str | None:
    """Return the library that a file is allowed to import, by its place and name, or those of its folder."""
    relative = path.relative_to(ROOT)
    homes = {"backends", "uniopt/integrations", "uniopt/porting", "conformance/peers", "uniopt/cli/bench/peers"}
    places = (relative, relative.parent)
    return next((place.stem for place in places if str(place.parent) in homes), None)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_frameworks_are_imported_in_their_own_file_only(path: Path) -> None:
    used = {name.partition(".")[0] for name in imported(path)} & FRAMEWORKS
    allowed = {own_library(path)} | ({"jax"} if own_library(path) == "optax" else set())
    assert used <= allowed


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down(path: Path) -> None:
    own = floor(module_name(path))
    assert own is not None
    for name in imported(path):
        level = floor(name)
        # `from uniopt import backends` names a lower floor by way of the package itself.
        assert level is None or level <= own, f"{path.name} on {FLOORS[own]} imports {name} from above"


def test_importing_uniopt_imports_no_framework() -> None:
    code = "import sys, uniopt; print(' '.join({m.partition('.')[0] for m in sys.modules}))"
    loaded = set(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    )
    assert not loaded & (FRAMEWORKS | {"optree", "array_api_compat", "rich", "matplotlib", "sklearn", "ml_dtypes"})


def test_importing_uniopt_is_about_as_fast_as_importing_numpy() -> None:
    """At most 1.5 times the processor's time: the median of alternating runs, each in a fresh process."""

    def seconds(module: str) -> float:
        code = f"import time; t = time.process_time(); import {module}; print(time.process_time() - t)"
        return float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)

    seconds("numpy"), seconds("uniopt")  # files into the cache
    ratios = sorted(seconds("uniopt") / seconds("numpy") for _ in range(9))
    assert ratios[4] <= 1.5
