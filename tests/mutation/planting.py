"""Planting a fault in the running library: whoever has imported a function has the fault, until it is taken out."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from inspect import unwrap
from types import CellType, FunctionType, ModuleType
from typing import Any

from tests.mutation.faults import Fault

_REGISTERS = re.compile("custom_op|register_fake")


@contextmanager
def planted(fault: Fault) -> Iterator[None]:
    """Run the library with a fault in it.

    The functions stay the objects that they are and get the faulty module's code and defaults; its constants replace
    those of the module.
    """
    module = sys.modules[name_of(fault.module)]
    faulty = ModuleType(module.__name__)
    faulty.__package__ = module.__package__
    exec(compile(_without_registrations(fault.source), fault.name, "exec"), vars(faulty))
    functions = dict(functions_of(module))
    new = dict(functions_of(faulty))
    kept = {name: _parts(f) for name, f in functions.items()}
    cells = list(_cells(module, faulty))
    held = [own.cell_contents for own, _ in cells]
    signed = {f: f.__signature__ for f in vars(module).values() if hasattr(f, "__signature__")}
    constants = list(_constants(module, faulty))
    try:
        for name, f in functions.items():
            _set(f, _parts(new[name]))
        for own, other in cells:
            own.cell_contents = other.cell_contents
        for f in signed:
            f.__signature__ = vars(faulty)[f.__name__].__signature__
        for owner, name, _, value in constants:
            setattr(owner, name, value)
        yield
    finally:
        for name, f in functions.items():
            _set(f, kept[name])
        for (own, _), value in zip(cells, held, strict=True):
            own.cell_contents = value
        for f, signature in signed.items():
            f.__signature__ = signature
        for owner, name, value, _ in constants:
            setattr(owner, name, value)


def _without_registrations(source: str) -> ast.Module:
    """Return a module that makes no operators of torch, of which there can be one of a name."""
    tree = ast.parse(source)
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            node.decorator_list = [x for x in node.decorator_list if not _REGISTERS.search(ast.unparse(x))]
    return tree


def name_of(file: str) -> str:
    """Return the name of the module in a file of the package."""
    return "uniopt." + file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def functions_of(module: ModuleType) -> Iterator[tuple[str, FunctionType]]:
    """Yield the functions and methods that a module defines, with their names in it."""
    for name, given in vars(module).items():
        x = getattr(given, "_init_fn", given)  # an operator of torch keeps it there
        if getattr(x, "__module__", None) != module.__name__ or getattr(x, "__name__", None) != name:
            continue  # another module's, or another name of one
        if isinstance(x, type):
            bare = ((key, _bare(f)) for key, f in vars(x).items())
            yield from ((f"{name}.{key}", f) for key, f in bare if isinstance(f, FunctionType))
        elif isinstance(f := unwrap(x), FunctionType):
            yield name, f  # a decorator's function does not run the text of this module


def _bare(f: Any) -> Any:
    """Return what a static method, a property or a cached one is made of."""
    return next((getattr(f, part) for part in ("__func__", "fget", "func") if hasattr(f, part)), f)


def _constants(module: ModuleType, faulty: ModuleType) -> Iterator[tuple[Any, str, Any, Any]]:
    """Yield the constants of a module and of its classes: who has it, its name, the value, and the faulty one."""
    classes = [(x, vars(faulty)[name]) for name, x in vars(module).items() if _is_class_of(module, name, x)]
    for owner, other in ((module, faulty), *classes):
        for name, x in vars(owner).items():
            if isinstance(x, float | int | tuple | dict) and not name.startswith("__"):
                yield owner, name, x, vars(other)[name]


def _is_class_of(module: ModuleType, name: str, x: Any) -> bool:
    return isinstance(x, type) and x.__module__ == module.__name__ and x.__name__ == name


def _cells(module: ModuleType, faulty: ModuleType) -> Iterator[tuple[CellType, CellType]]:
    """Yield what decorators have kept of a module's functions, such as their signatures, and of the faulty ones."""
    for name, x in vars(module).items():
        if hasattr(x, "__wrapped__") and getattr(x, "__module__", None) == module.__name__:
            yield from zip(_closure(x), _closure(vars(faulty)[name]), strict=True)


def _closure(f: Any) -> tuple[CellType, ...]:
    return getattr(f, "__closure__", None) or ()  # what is written in C has none


def _parts(f: FunctionType) -> tuple[Any, ...]:
    return f.__code__, f.__defaults__, f.__kwdefaults__


def _set(f: FunctionType, parts: tuple[Any, ...]) -> None:
    f.__code__, f.__defaults__, f.__kwdefaults__ = parts
