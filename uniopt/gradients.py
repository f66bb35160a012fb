"""Whether each gradient fits its parameter: its shape, kind of number and device."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from uniopt.backends.dtypes import dtype_kind, dtype_name
from uniopt.backends.protocol import Backend
from uniopt.errors import DtypeKindError, MixedDevicesError, ShapeError, TreeStructureError

_NOUNS = {"updates": "The gradient ", "params": "its parameter "}


def check_gradients(
    backend: Backend,
    grads: list[Any],
    params: list[Any],
    path: Callable[[int, str], str],
    names: tuple[str, str],
    per_example: Callable[[], bool],
) -> None:
    """Raise the error that says what is wrong with the first gradient that does not fit.

    Parameters
    ----------
    backend
        The library of all of them.
    grads, params
        The leaves of both trees; a gradient may be None.
    path
        Returns the expression that reaches a leaf, by its position and the name of its tree.
    names
        What the trees are called.
    per_example
        Returns whether a gradient may have a first axis of examples, which its parameter has not.
    """
    if _are_alike(backend, grads, params):
        return
    for i, (g, p) in enumerate(zip(grads, params, strict=True)):
        if g is not None:
            _check(backend, g, p, partial(path, i), names, per_example)


def _are_alike(backend: Backend, grads: list[Any], params: list[Any]) -> bool:
    """Return whether there is a gradient for each parameter, of its shape and dtype and in its place."""
    if type(None) in map(type, (*grads, *params)):
        return False
    return (
        [x.shape for x in grads] == [x.shape for x in params]
        and [x.dtype for x in grads] == [x.dtype for x in params]
        and all(map(backend.colocated, grads, params))
    )


def _check(
    backend: Backend,
    g: Any,
    p: Any,
    path: Callable[[str], str],
    names: tuple[str, str],
    per_example: Callable[[], bool],
) -> None:
    def named(number: int) -> str:
        return f"{_NOUNS.get(names[number], '')}{path(names[number])}"

    if p is None:
        raise TreeStructureError(
            f"{path(names[1])} is None, but {path(names[0])} has shape {tuple(g.shape)}. "
            "Expected a parameter for each gradient; pass None as the gradient too."
        )
    if g.shape != p.shape and not ((of_examples := per_example()) and g.shape[1:] == p.shape):
        expected = "the gradient of each example, along a first axis" if of_examples else "the same shape"
        raise ShapeError(
            f"{named(0)} has shape {tuple(g.shape)}, {named(1)} has shape {tuple(p.shape)}. "
            f"Expected {expected}; uniopt does not broadcast."
        )
    if g.dtype != p.dtype:
        kinds = dtype_kind(dtype_name(g.dtype)), dtype_kind(dtype_name(p.dtype))
        if kinds[0] != kinds[1]:
            raise DtypeKindError(
                f"{named(0)} is {kinds[0] or 'not numeric'} ({g.dtype}), {named(1)} is {kinds[1]} ({p.dtype}). "
                f"Expected a {kinds[1]} gradient; convert it first."
            )
    if not backend.colocated(g, p):
        raise MixedDevicesError(
            f"{named(0)} is on {backend.device(g)}, {named(1)} on {backend.device(p)}. "
            "Expected both on one device; move the gradient to the parameter's."
        )
