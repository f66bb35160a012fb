"""Calls of optimizers: read from text without running it, built, and written out again."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any

from uniopt import dialects, optimizers
from uniopt.cli.errors import CommandError
from uniopt.cli.expressions import WRONG_SYNTAX, evaluate
from uniopt.errors import UnioptError
from uniopt.transformation import GradientTransformation

Constructor = Callable[..., GradientTransformation]

_EXAMPLE = "One is, for example, torch.Adam(lr=1e-3)"


def _classes(dialect: Any) -> dict[str, Constructor]:
    return {name: f for name, f in vars(dialect).items() if inspect.isfunction(f) and name[0].isupper()}


_NATIVE: dict[str, Constructor] = {name: f for name, f in vars(optimizers).items() if inspect.isfunction(f)}
_OF_OPTAX: dict[str, Constructor] = {
    name: f
    for name, f in vars(dialects.optax).items()
    if inspect.isfunction(f) and (name in _NATIVE or f.__module__ == dialects.optax.__name__)
}

CONSTRUCTORS: dict[str, dict[str, Constructor]] = {
    "uniopt": _NATIVE,
    "optax": _OF_OPTAX,
    "torch": _classes(dialects.torch),
    "mlx": _classes(dialects.mlx),
    "keras": _classes(dialects.keras),
}
"""The optimizers of each dialect, uniopt's own among them, by their names there."""


@dataclass(frozen=True)
class Call:
    """A call of a dialect's optimizer.

    Attributes
    ----------
    dialect, name
        Where the optimizer is from, and what it is called there.
    arguments
        What it is called with, by the names of the parameters.
    positional
        How many of the arguments are written without their names.
    """

    dialect: str
    name: str
    arguments: dict[str, Any]
    positional: int = 0

    def transformation(self) -> GradientTransformation:
        """Return what the call returns."""
        return CONSTRUCTORS[self.dialect][self.name](**self.arguments)

    def parameters(self) -> dict[str, inspect.Parameter]:
        """Return the parameters of the optimizer; none that optax lacks where it is one of optax's."""
        found = inspect.signature(CONSTRUCTORS[self.dialect][self.name]).parameters
        added = dialects.optax.ADDED.get(self.name, ()) if self.dialect == "optax" else ()
        return {name: p for name, p in found.items() if name not in added}

    def but(self, **changes: Any) -> Call:
        """Return the call with other arguments; one that is the parameter's default is left out."""
        changed = {**self.arguments, **changes}
        ordered = {name: (changed[name], p.default) for name, p in self.parameters().items() if name in changed}
        kept = {
            name: x
            for i, (name, (x, default)) in enumerate(ordered.items())
            if i < self.positional or name not in changes or not _alike(x, default)
        }
        return replace(self, arguments=kept)

    def __str__(self) -> str:
        written = [
            repr(x) if i < self.positional else f"{name}={x!r}" for i, (name, x) in enumerate(self.arguments.items())
        ]
        return f"{self.dialect}.{self.name}({', '.join(written)})"


def read(text: str) -> Call:
    """Return the call that a text such as ``torch.Adam(lr=1e-3)`` is, and see that it can be carried out.

    Raises
    ------
    CommandError
        If it is anything else, or the optimizer refuses its arguments.
    """
    text = text.strip()
    try:
        node = ast.parse(text, mode="eval").body
    except WRONG_SYNTAX:
        raise CommandError(f"{text!r} is no Python expression. Expected the call of an optimizer. {_EXAMPLE}") from None
    if not isinstance(node, ast.Call):
        raise CommandError(f"{text!r} is no call of an optimizer. {_EXAMPLE}")
    dialect, name = _constructor(node.func, text)
    call = Call(dialect, name, {}, len(node.args))
    given = [_argument(x, call) for x in node.args]
    named = {str(x.arg): _argument(x.value if x.arg else None, call) for x in node.keywords}
    if len(named) < len(node.keywords):
        raise CommandError(f"{text}: an argument is given twice")
    known = call.parameters()
    if unknown := [x for x in named if x not in known]:
        near = _similar(unknown[0], known)
        raise CommandError(f"{dialect}.{name} has no parameter {unknown[0]!r}.{near} It has: {', '.join(known)}")
    try:
        bound = inspect.Signature(list(known.values())).bind(*given, **named)
        call = replace(call, arguments=dict(bound.arguments))
        call.transformation()
    except (UnioptError, TypeError, ValueError, ArithmeticError) as error:
        raise CommandError(f"{text}: {error}") from error
    return call


def _constructor(function: ast.expr, text: str) -> tuple[str, str]:
    """Return the dialect and the name of an optimizer that is written as a path, such as ``torch.optim.Adam``."""
    path = ast.unparse(function).split(".")
    known = [part for part in path[:-1] if part in CONSTRUCTORS]
    if len(path) > 1 and not known:
        raise CommandError(f"No dialect is called {path[0]!r}, as in {text!r}. Known: {', '.join(CONSTRUCTORS)}")
    dialect, name = known[-1] if known else "uniopt", path[-1]
    names = CONSTRUCTORS[dialect]
    if name not in names:
        near = _similar(name, names)
        raise CommandError(f"{dialect} has no optimizer {name!r}.{near} It has: {', '.join(sorted(names))}")
    return dialect, name


def _argument(node: ast.expr | None, call: Call) -> Any:
    where = f"{call.dialect}.{call.name}"
    if node is None or isinstance(node, ast.Starred):
        raise CommandError(f"{where} is given arguments with a star. Expected them one by one")
    try:
        return evaluate(ast.unparse(node))
    except CommandError as error:
        without = " torch's first argument, the parameters, is left out." if call.dialect == "torch" else ""
        raise CommandError(f"{where}: {error}.{without}") from error


def _similar(name: str, known: Iterable[str]) -> str:
    """Return the question whether another name was meant, if there is a similar one."""
    names = {x.lower(): x for x in known}
    return "".join(f" Do you mean {names[x]!r}?" for x in get_close_matches(name.lower(), names, n=1))


def _alike(a: Any, b: Any) -> bool:
    return type(a) is type(b) and bool(a == b)
