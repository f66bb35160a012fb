"""Transformations as text, the calls that make them, and back: nothing but uniopt's own constructors is run."""

from __future__ import annotations

import ast
import inspect
import math
from functools import cache, partial
from typing import Any

import uniopt
from uniopt.dialects import rates
from uniopt.dialects.keras.gradient_descent import layer_labels
from uniopt.errors import HyperparameterError
from uniopt.optimizers.newton_schulz import dimension_numbers, matrix_labels
from uniopt.transformation import Bound, GradientTransformation

_FLOORS = ("uniopt.chain", "uniopt.optimizers.", "uniopt.schedules.", "uniopt.transforms.")


def write(tx: GradientTransformation) -> str:
    """Return the call that makes a transformation; HyperparameterError if it is made of more than calls and numbers."""
    text = repr(tx)
    try:
        same = read(text) == tx
    except HyperparameterError as error:
        raise HyperparameterError(f"{text} cannot be written to a configuration. {error}") from None
    if not same:
        raise HyperparameterError(
            f"{text} cannot be written to a configuration: the call makes something else. Put it in a subclass of the "
            "optimizer whose constructor takes no transformation."
        )
    return text


def read(text: str) -> GradientTransformation:
    """Return the transformation that a call makes; HyperparameterError if it calls more than uniopt's constructors."""
    try:
        found = _value(ast.parse(text, mode="eval").body)
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError) as error:
        raise HyperparameterError(
            f"{error} Expected calls of uniopt's transformations and schedules, on numbers, text and one another. Put "
            "other transformations in a subclass of the optimizer whose constructor takes none."
        ) from None
    if not isinstance(found, GradientTransformation):
        raise HyperparameterError(f"{text!r} is no transformation, expected a call such as adam(learning_rate=0.001).")
    return found


def _value(node: ast.expr) -> Any:
    match node:
        case ast.Name(id=name) if name in _names():
            return _names()[name]
        case ast.Call(func=ast.Name() | ast.Call(func=ast.Name(id="inject_hyperparams"))):
            arguments = {str(x.arg): _value(x.value) for x in node.keywords}
            return _value(node.func)(*map(_value, node.args), **arguments)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand)
        case ast.List() | ast.Tuple():
            return (list if isinstance(node, ast.List) else tuple)(map(_value, node.elts))
        case ast.Dict() if None not in node.keys:
            return {_value(key): _value(x) for key, x in zip(node.keys, node.values, strict=True) if key is not None}
        case ast.Constant(value=value):
            return value
    raise ValueError(f"Found {ast.unparse(node)!r}.")


@cache
def _names() -> dict[str, Any]:
    """Return what may stand for something, by the names that transformations print."""
    shown = {name: getattr(uniopt, name) for name in dir(uniopt) if not name.startswith("_")}
    return {
        "inf": math.inf,
        "nan": math.nan,
        "MultiSteps": uniopt.MultiSteps,
        "MuonDimensionNumbers": uniopt.MuonDimensionNumbers,
        "WrappedSchedule": uniopt.WrappedSchedule,
        "dimension_numbers": partial(Bound, dimension_numbers),
        "layer_labels": partial(Bound, layer_labels),
        "matrix_labels": partial(Bound, matrix_labels),
        **{name: f for name, f in vars(rates).items() if inspect.isfunction(f) and f.__module__ == rates.__name__},
        **{name: f for name, f in shown.items() if inspect.isfunction(f) and f.__module__.startswith(_FLOORS)},
    }
