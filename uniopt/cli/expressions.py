"""Values that are written on the command line: Python literals, and calls of the schedules that uniopt exports."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable
from typing import Any

from uniopt import schedules
from uniopt.cli.errors import CommandError
from uniopt.errors import UnioptError

SCHEDULES: dict[str, Callable[..., Any]] = {name: f for name, f in vars(schedules).items() if inspect.isfunction(f)}

WRONG_SYNTAX = (SyntaxError, ValueError, RecursionError, MemoryError)
"""What Python raises for a text that it cannot read."""


def evaluate(text: str) -> Any:
    """Return what an expression stands for. Nothing in it is run but schedules, on literals and on one another.

    Raises
    ------
    CommandError
        If it is anything else, or a schedule refuses its arguments.
    """
    try:
        return _value(ast.parse(text.strip(), mode="eval").body)
    except WRONG_SYNTAX as error:
        if isinstance(error, UnioptError):
            raise CommandError(str(error)) from error
        raise CommandError(
            f"{text!r} is no Python literal (text needs quotes) and no schedule of literals. "
            f"Schedules: {', '.join(sorted(SCHEDULES))}"
        ) from None
    except (TypeError, ArithmeticError) as error:
        raise CommandError(str(error)) from error


def _value(node: ast.expr) -> Any:
    match node:
        case ast.Call(
            func=ast.Name(id=name)
            | ast.Attribute(ast.Name(id="uniopt" | "optax"), name)
            | ast.Attribute(ast.Attribute(ast.Name(id="uniopt" | "optax"), "schedules"), name)
        ) if name in SCHEDULES:
            arguments = [_value(x) for x in node.args]
            return SCHEDULES[name](*arguments, **{str(x.arg): _value(x.value) for x in node.keywords})
        case ast.List():
            return [_value(x) for x in node.elts]
        case ast.Tuple():
            return tuple(_value(x) for x in node.elts)
        case ast.Dict() if None not in node.keys:
            return {_value(key): _value(x) for key, x in zip(node.keys, node.values, strict=True) if key is not None}
        case _:
            return ast.literal_eval(node)
