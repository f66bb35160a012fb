"""Optimizers written once against the Python Array API standard, for NumPy, CuPy, JAX, PyTorch, MLX and Dask arrays."""

import os as _os

_here = _os.path.dirname(__file__)
if not _os.path.isdir(_os.path.join(_here, "backends")):
    # In a checkout, `backends` and `conformance` stand beside this package; a wheel has them inside.
    __path__.append(_os.path.dirname(_here))

# Functions with the name of their module: whoever imports the module later would put it in their place.
from uniopt.chain import chain as chain
from uniopt.compile import compile as compile
from uniopt.leafwise import leafwise as leafwise
from uniopt.summary import summary as summary

__version__ = "0.1.0"

_places: dict[str, tuple[str, str]] = {}


def _place(name: str) -> tuple[str, str] | None:
    """Return the module that a public name comes from, and its name there, as `__init__.pyi` says."""
    if not _places:
        import ast

        with open(_os.path.join(_here, "__init__.pyi"), encoding="utf-8") as file:
            nodes = ast.parse(file.read()).body
        imports = [node for node in nodes if isinstance(node, ast.ImportFrom)]
        _places.update({x.asname or x.name: (str(node.module), x.name) for node in imports for x in node.names})
    return _places.get(name)


def __getattr__(name: str) -> object:
    from importlib import import_module

    place = _place(name)
    if place is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, own_name = place
    value = import_module(f"uniopt.{name}") if module == "uniopt" else getattr(import_module(module), own_name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    _place("")
    return sorted({*globals(), *_places})
