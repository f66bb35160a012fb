"""The examples in docstrings print what they show, and every public name has a docstring."""

from __future__ import annotations

import doctest
import importlib
import inspect
from importlib.util import find_spec
from pathlib import Path

import pytest

import uniopt
from uniopt import backends

PACKAGES = {"uniopt": uniopt, "uniopt.backends": backends}


def _modules() -> list[str]:
    found = []
    for name, package in PACKAGES.items():
        folder = Path(str(package.__file__)).parent
        for file in sorted(folder.rglob("*.py")):
            parts = file.relative_to(folder).with_suffix("").parts
            found.append(".".join([name, *(part for part in parts if part != "__init__")]))
    return sorted(set(found))


@pytest.mark.parametrize("name", _modules())
def test_examples_print_what_they_show(name: str) -> None:
    if name == "uniopt.backends.cupy" and find_spec("cupy") is None:  # the one library that a test run may lack
        pytest.skip(str(backends.why_unavailable("cupy")))
    result = doctest.testmod(importlib.import_module(name))
    assert result.failed == 0


def test_every_optimizer_has_an_example() -> None:
    finder = doctest.DocTestFinder()
    for name, alias in inspect.getmembers(uniopt.optimizers, inspect.isfunction):
        assert any(test.examples for test in finder.find(alias, name)), f"uniopt.{name} has no example"
