"""Which names in a function could be mistaken for each other: those of numbers, of switches, and of arrays."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from typing import TypeAlias

Span: TypeAlias = tuple[int, int, int]
"""Line, column and last column: an attribute begins where the name of its object does."""

Names: TypeAlias = Mapping[Span, list[str]]
"""What could stand in the place of a name."""

KINDS = {
    "Scalar": "number",
    "Scalar | None": "number",
    "ScalarOrSchedule": "number",
    "ScalarOrSchedule | None": "number",
    "float": "number",
    "int": "number",
    "Integer": "number",
    "Integer | None": "number",
    "bool": "switch",
    "Array": "array",
}
"""Kinds by annotation. What a rule assigns, and the slots of its state ``s``, are arrays too."""


def mistakable(function: ast.FunctionDef) -> Names:
    """Return, for each name that is read, its two neighbours among the names of its kind that are known there."""
    known, outlines = list(_known(function)), set(_outlines(function))
    found = {}
    for node in _names(function):
        text = ast.unparse(node)
        kind = next((k for k, name, _ in known if name == text), None)
        alike = list(dict.fromkeys(name for k, name, line in known if k == kind and line < node.lineno))
        if isinstance(node.ctx, ast.Load) and text in alike and not (kind == "array" and span(node) in outlines):
            i = alike.index(text)
            found[span(node)] = list(dict.fromkeys(x for x in (alike[i - 1], alike[(i + 1) % len(alike)]) if x != text))
    return found


def span(node: ast.Name | ast.Attribute) -> Span:
    """Return where a name stands."""
    return node.lineno, node.col_offset, node.end_col_offset or 0


def _known(function: ast.FunctionDef) -> Iterator[tuple[str, str, int]]:
    """Yield kind and text of each name, and the line after which it is known."""
    args = [*function.args.args, *function.args.kwonlyargs]
    for arg in args:
        annotation = "" if arg.annotation is None else ast.unparse(arg.annotation)
        if annotation in KINDS:
            yield KINDS[annotation], arg.arg, 0
    if all(arg.arg != "xp" for arg in args):
        return
    of_loops = {
        node.id
        for loop in ast.walk(function)
        if isinstance(loop, ast.comprehension)
        for node in ast.walk(loop.target)
        if isinstance(node, ast.Name)
    }
    for node in _names(function):
        text = ast.unparse(node)
        if isinstance(node, ast.Attribute) or (isinstance(node.ctx, ast.Store) and text not in of_loops):
            yield "array", text, 0 if isinstance(node, ast.Attribute) else node.lineno


def _outlines(function: ast.FunctionDef) -> Iterator[Span]:
    """Yield the names of arrays of which only shape and dtype are asked: any other of that shape does as well."""
    for node in ast.walk(function):
        like = isinstance(node, ast.Call) and ast.unparse(node.func).endswith("_like")
        if like or (isinstance(node, ast.Attribute) and node.attr in ("shape", "ndim", "dtype")):
            yield from (span(x) for x in ast.walk(node) if isinstance(x, ast.Name | ast.Attribute))


def _names(function: ast.FunctionDef) -> list[ast.Name | ast.Attribute]:
    """Return the names and the slots of the state, in the order of the text."""
    nodes = [
        node
        for node in ast.walk(function)
        if isinstance(node, ast.Name)
        or (
            isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id == "s"
            and node.attr != "_replace"
        )
    ]
    return sorted(nodes, key=lambda node: (node.lineno, node.col_offset))
