"""What goes wrong between two libraries: another data type, no copy, an array that stays as and where it is."""

from __future__ import annotations

import ast
from collections.abc import Iterator

MISTAKEN = {
    "float16": "bfloat16",
    "bfloat16": "float16",
    "float32": "float64",
    "float64": "float32",
    "complex64": "complex128",
    "complex128": "complex64",
    "uint16": "int32",
    "int16": "int32",
    "real": "complex",
    "complex": "real",
    "integer": "boolean",
    "boolean": "integer",
}
"""Data types, and their kinds, as names and as attributes."""

METHODS = {
    "astype", "clone", "compute", "copy", "detach", "float", "full_tensor", "redistribute", "resolve_conj",
    "resolve_neg", "to", "to_device", "to_local",
}  # fmt: skip
"""Which return an array like the one that they belong to."""

FUNCTIONS = {
    "_local", "array", "as_tensor", "asarray", "astype", "device_put", "distribute_tensor", "from_array", "from_numpy",
    "optimization_barrier", "place",
}  # fmt: skip
"""Which return an array like their first argument."""


def slips(node: ast.AST) -> Iterator[str]:
    """Yield what could stand in the place of an expression."""
    match node:
        case ast.Constant(value=str(name)) if name in MISTAKEN:
            yield repr(MISTAKEN[name])
        case ast.Attribute(value, name) if name in MISTAKEN:
            yield f"{ast.unparse(value)}.{MISTAKEN[name]}"
        case ast.Call(ast.Attribute(_, "astype"), [array, _]):  # the function, not the method
            yield f"({ast.unparse(array)})"
        case ast.Call(ast.Attribute(array, name)) if name in METHODS:
            yield ast.unparse(array)
        case ast.Call(ast.Attribute(_, name) | ast.Name(name), [array, *_]) if name in FUNCTIONS:
            yield f"({ast.unparse(array)})"
