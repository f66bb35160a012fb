"""Every backend has the methods of the protocol, with its parameters."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from uniopt.backends import Backend, StandardBackend, registry
from uniopt.backends.fusion.recorder import RECORDER

METHODS = {name: f for name, f in vars(Backend).items() if inspect.isfunction(f) and not name.startswith("_")}
BUILT_IN = [name for name in registry.names() if name != "cupy"]  # CuPy's module needs its compiler


def parameters(f: Any) -> list[tuple[str, Any, bool]]:
    """Return name and kind of each parameter, and whether it may be left out."""
    found = inspect.signature(f).parameters.values()
    return [(p.name, p.kind, p.default is not p.empty) for p in found if p.name != "self"]


@pytest.mark.parametrize("name", METHODS)
def test_methods_have_the_parameters_of_the_protocol(name: str) -> None:
    expected = parameters(METHODS[name])
    assert METHODS[name].__doc__
    for backend in (StandardBackend, RECORDER, *map(registry.get, BUILT_IN)):
        assert parameters(getattr(backend, name)) == expected, backend
