"""What a user hands to an integration: checked, with an error that says which integration takes it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from uniopt.backends import registry
from uniopt.errors import HyperparameterError, LeafError, MixedLibrariesError, UnknownArrayTypeError
from uniopt.transformation import GradientTransformation, stage_of, transformation

_TAKEN_BY = {
    "jax": "a transformation takes them as it is, tx.update(grads, state, params)",
    "mlx": "uniopt.integrations.mlx.Optimizer takes them",
    "torch": "uniopt.integrations.torch.Optimizer takes them",
}
_BY_ITSELF = "uniopt.compile(tx) takes them as they are"
_DIALECTS = ("keras", "mlx", "torch")


def transformation_of(tx: Any) -> GradientTransformation:
    """Return what was given as a transformation; HyperparameterError if it is another library's optimizer."""
    library = next((base.__module__.partition(".")[0] for base in type(tx).__mro__ if _is_optimizer(base)), None)
    if library in _DIALECTS:
        name = type(tx).__name__
        raise HyperparameterError(
            f"tx is {library}'s own optimizer {name}, expected a transformation of uniopt, such as uniopt.adam(1e-3). "
            f"The one that computes the same is made by uniopt.dialects.{library}.{name}(...)."
        )
    return transformation(stage_of(tx))


def _is_optimizer(base: type) -> bool:
    return base.__name__ == "Optimizer"


def check_array(x: Any, library: str, path: Callable[[], str]) -> None:
    """Raise an error unless `x` is an array of that library; it says what takes the arrays of `x`'s own."""
    backend = registry.find(type(x))
    if backend is not None and backend.name == library:
        return
    expected = f"expected an array of {library}"
    if backend is not None:
        raise MixedLibrariesError(
            f"{path()} is an array of {backend.name} ({type(x).__name__}), {expected}. For arrays of {backend.name}, "
            f"{_TAKEN_BY.get(backend.name, _BY_ITSELF)}."
        )
    if type(x).__module__ == "builtins":
        raise LeafError(f"{path()} is {x!r} of type {type(x).__name__}, {expected}. Convert it first.")
    raise UnknownArrayTypeError(f"At {path()}: {registry.unknown_type_message(type(x))}")
