"""Every public name has a docstring and an entry in the API reference, and the site builds without a warning."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from sphinx.util.inventory import InventoryFile

import uniopt
import uniopt.typing
from tests.shown import SHOWN

ROOT = Path(__file__).parents[2]


def _exported() -> list[str]:
    """The names that `uniopt` re-exports; what else stands in it are its submodules, loaded on the way."""
    body = ast.parse(Path(str(uniopt.__file__)).with_suffix(".pyi").read_text(encoding="utf-8")).body
    aliases = [alias for node in body if isinstance(node, ast.ImportFrom) for alias in node.names]
    return [alias.asname for alias in aliases if alias.asname and not alias.asname.startswith("_")]


def _own(module: ModuleType) -> list[str]:
    """The public names of a module: those in ``__all__``, or else what it defines."""
    if hasattr(module, "__all__"):
        return list(module.__all__)
    return [n for n, x in vars(module).items() if n[0] != "_" and getattr(x, "__module__", None) == module.__name__]


def _public() -> list[str]:
    """The dotted names of all that users may use, as they reach it."""
    names = []
    for name in _exported():
        found = getattr(uniopt, name)
        names += [f"uniopt.{name}.{inner}" for inner in _own(found)] if inspect.ismodule(found) else [f"uniopt.{name}"]
    return names


def _get(dotted: str) -> object:
    found: object = uniopt
    for part in dotted.split(".")[1:]:
        found = getattr(found, part)
    return found


def test_no_public_name_is_overlooked() -> None:
    loaded = {name for name, x in SHOWN.items() if name[0] != "_" and not inspect.ismodule(x)}
    assert loaded <= set(_exported())


@pytest.mark.parametrize("name", [name for name in _public() if name.rpartition(".")[2] not in uniopt.typing.__all__])
def test_public_name_has_a_docstring(name: str) -> None:
    doc = inspect.getdoc(_get(name)) or ""
    assert doc, f"{name} has no docstring"
    assert not doc.startswith(f"{name.rpartition('.')[2]}("), f"{name} has only the docstring that its class makes"


def test_every_error_is_explained() -> None:
    page = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    assert [name for name in uniopt.errors.__all__ if f"`{name}`" not in page and f".{name}`" not in page] == []


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [
        sys.executable,
        "-m",
        "sphinx",
        "-W",
        "--keep-going",
        "-q",
        "-b",
        "html",
        str(ROOT / "docs"),
        str(folder),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.mark.slow
def test_site_builds_without_a_warning(site: Path) -> None:
    assert (site / "index.html").exists()


@pytest.mark.slow
def test_reference_has_every_public_name(site: Path) -> None:
    inventory = InventoryFile.loads((site / "objects.inv").read_bytes(), uri="")
    entries = {entry for kind, found in inventory.data.items() if kind.startswith("py:") for entry in found}
    # An error that uniopt.backends raises has its one entry in uniopt.errors.
    moved = {name: name.replace("backends", "errors") for name in _public() if name.endswith("Error")}
    missing = [name for name in _public() if moved.get(name, name) not in entries]
    assert not missing
