"""One line exports an optimizer, every public name is documented, and the package shows nothing by accident."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import uniopt
import uniopt.optimizers
from tests.shown import SHOWN

ROOT = Path(__file__).parents[2]
OPTIMIZERS = sorted(name for name, value in vars(uniopt.optimizers).items() if inspect.isfunction(value))
PUBLIC = sorted(name for name in SHOWN if not name.startswith("_"))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_takes_one_line_in_each_list_of_exports(name: str) -> None:
    for path in (ROOT / "uniopt/optimizers/__init__.py", ROOT / "uniopt/__init__.pyi"):
        lines = [line for line in path.read_text().splitlines() if line.endswith(f" as {name}")]
        assert len(lines) == 1, path


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_documents_every_parameter(name: str) -> None:
    function = getattr(uniopt, name)
    documentation = inspect.getdoc(function)
    assert documentation
    section = documentation.partition("Parameters\n----------\n")[2].partition("\n\nReturns\n")[0]
    names = {n.strip() for line in section.splitlines() if not line.startswith(" ") for n in line.split(",")}
    assert names == set(inspect.signature(function).parameters)
    for heading in ("Returns", "Raises", "References", "Examples"):
        assert f"\n{heading}\n---" in documentation, heading


@pytest.mark.parametrize("name", PUBLIC)
def test_public_names_are_documented(name: str) -> None:
    value = getattr(uniopt, name)
    if inspect.ismodule(value) or inspect.isclass(value) or inspect.isfunction(value):
        assert inspect.getdoc(value)
    else:  # a type alias: documented by the string below it
        body = ast.parse((ROOT / "uniopt/typing.py").read_text()).body
        targets = [node.target.id for node in body if isinstance(node, ast.AnnAssign)]
        following = body[body.index(next(n for n in body if isinstance(n, ast.AnnAssign) and n.target.id == name)) + 1]
        assert name in targets
        assert isinstance(following, ast.Expr)


@pytest.mark.parametrize("name", ["backends", "dialects", "errors", "porting", "random", "schedules", "tree"])
def test_modules_are_there_before_anything_of_them_is_used(name: str) -> None:
    code = f"import uniopt; print(uniopt.{name}.__name__)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.strip() == f"uniopt.{name}"


def test_the_package_shows_nothing_by_accident() -> None:
    modules = {name for name in PUBLIC if inspect.ismodule(getattr(uniopt, name))}
    assert modules >= {"backends", "errors", "random", "tree"}
    for name in set(PUBLIC) - modules:
        owner = getattr(getattr(uniopt, name), "__module__", "uniopt.typing")
        assert owner.startswith(("uniopt", "typing", "collections")), name


@pytest.mark.parametrize("path", sorted(ROOT.glob("uniopt/optimizers/*.py")), ids=lambda path: path.name)
def test_an_optimizer_file_knows_no_library(path: Path) -> None:
    source = path.read_text()
    assert ".item()" not in source
    assert "backend" not in source
