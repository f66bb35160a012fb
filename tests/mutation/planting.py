"""Planting a fault in the running library: whoever has imported a function has the fault, until it is taken out."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from inspect import unwrap
from types import CellType, FunctionType, ModuleType
from typing import Any

from tests.mutation.faults import Fault


@contextmanager
def planted(fault: Fault) -> Iterator[None]:
    """Run the library with a fault in it.

    The functions stay the objects that they are and get the faulty module's code and defaults; its constants replace
    those of the module.
    """
    module = sys.modules[name_of(fault.module)]
    faulty = ModuleType(module.__name__)
    faulty.__package__ = module.__package__
    exec(compile(fault.source, fault.name, "exec"), vars(faulty))
    functions = dict(functions_of(module))
    new = dict(functions_of(faulty))
    kept = {name: _parts(f) for name, f in functions.items()}
    cells = list(_cells(module, faulty))
    held = [own.cell_contents for own, _ in cells]
    signed = {f: f.__signature__ for f in vars(module).values() if hasattr(f, "__signature__")}
    constants = {name: x for name, x in vars(module).items() if isinstance(x, float | int | tuple | dict)}
    try:
        for name, f in functions.items():
            _set(f, _parts(new[name]))
        for own, other in cells:
            own.cell_contents = other.cell_contents
        for f in signed:
            f.__signature__ = vars(faulty)[f.__name__].__signature__
        vars(module).update({name: vars(faulty)[name] for name in constants if not name.startswith("__")})
        yield
    finally:
        for name, f in functions.items():
            _set(f, kept[name])
        for (own, _), value in zip(cells, held, strict=True):
            own.cell_contents = value
        for f, signature in signed.items():
            f.__signature__ = signature
        vars(module).update(constants)


def name_of(file: str) -> str:
    """Return the name of the module in a file of the package."""
    return "uniopt." + file.removesuffix(".py").replace("/", ".")


def functions_of(module: ModuleType) -> Iterator[tuple[str, FunctionType]]:
    """Yield the functions and methods that a module defines, with their names in it."""
    for name, x in vars(module).items():
        if getattr(x, "__module__", None) != module.__name__ or getattr(x, "__name__", None) != name:
            continue  # another module's, or another name of one
        if isinstance(x, FunctionType):
            yield name, unwrap(x)  # a decorator's function does not run the text of this module
        elif isinstance(x, type):
            bare = ((key, getattr(f, "__func__", getattr(f, "fget", f))) for key, f in vars(x).items())
            yield from ((f"{name}.{key}", f) for key, f in bare if isinstance(f, FunctionType))


def _cells(module: ModuleType, faulty: ModuleType) -> Iterator[tuple[CellType, CellType]]:
    """Yield what decorators have kept of a module's functions, such as their signatures, and of the faulty ones."""
    for name, x in vars(module).items():
        if hasattr(x, "__wrapped__") and getattr(x, "__module__", None) == module.__name__:
            yield from zip(x.__closure__ or (), vars(faulty)[name].__closure__ or (), strict=True)


def _parts(f: FunctionType) -> tuple[Any, ...]:
    return f.__code__, f.__defaults__, f.__kwdefaults__


def _set(f: FunctionType, parts: tuple[Any, ...]) -> None:
    f.__code__, f.__defaults__, f.__kwdefaults__ = parts
