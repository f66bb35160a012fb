"""The examples in docstrings print what they show, and an optimizer's docstring says all that the others say."""

from __future__ import annotations

import doctest
import importlib
import inspect
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from uniopt.conformance.problems import PROBLEMS
from uniopt.conformance.settings import SETTINGS, Written

import uniopt
import uniopt.optimizers
from uniopt import backends
from uniopt.transforms.mask import MaskedState
from uniopt.transforms.scale import EmptyState, ScaleByScheduleState

PACKAGES = {"uniopt": uniopt, "uniopt.backends": backends}
OPTIMIZERS = [name for name, _ in inspect.getmembers(uniopt.optimizers, inspect.isfunction)]


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


def sections(doc: str) -> dict[str, str]:
    """Return the sections of a docstring by their titles; the text before the first one has none."""
    titles = list(re.finditer(r"^(\w+)\n-+\n", doc, re.MULTILINE))
    ends = [match.start() for match in titles[1:]] + [len(doc)]
    found = {match[1]: doc[match.end() : end] for match, end in zip(titles, ends, strict=True)}
    return {"": doc[: titles[0].start()] if titles else doc, **found}


def states(name: str) -> set[type]:
    """Return the classes of the states that an optimizer makes with the settings it is tested with."""
    found: set[type] = set()

    def look(state: Any) -> None:
        if type(state).__name__.endswith("State"):
            found.add(type(state))
        if isinstance(state, dict):
            state = list(state.values())
        for part in state if isinstance(state, list | tuple) else ():
            look(part)

    for hyper in SETTINGS[name].values():
        tx = getattr(uniopt, name)(**{k: x.for_uniopt if isinstance(x, Written) else x for k, x in hyper.items()})
        look(tx.init(PROBLEMS["normal"].params))
    return found


SILENT = {EmptyState, MaskedState, ScaleByScheduleState}
"""The states of what an optimizer is made of, where they hold nothing but a schedule's count."""


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_docstring_of_an_optimizer(name: str) -> None:
    alias = getattr(uniopt, name)
    parts = sections(inspect.getdoc(alias) or "")
    assert list(parts) == ["", "Parameters", "Returns", "Raises", "Notes", "References", "Examples"]
    assert "math:" in parts[""], "it has no formula"
    listed = re.findall(r"^(\w[\w, ]*)$", parts["Parameters"], re.MULTILINE)
    assert sorted(", ".join(listed).split(", ")) == sorted(inspect.signature(alias).parameters)
    assert [library for library in ("optax", "torch", "mlx", "keras") if library not in parts["Notes"]] == []
    assert doctest.DocTestParser().get_examples(parts["Examples"])


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_docstring_says_what_the_state_holds(name: str) -> None:
    returns = sections(inspect.getdoc(getattr(uniopt, name)) or "")["Returns"]
    found = states(name) - SILENT
    assert [state.__name__ for state in found if f"`{state.__name__}`" not in returns] == []
    assert re.search(r"dtypes?\b|int32", returns), "it says no dtype"
    assert found or "no state" in returns
