"""Every error that uniopt raises on purpose. Each message says where, what was found, what was expected, what to do."""

from __future__ import annotations

from uniopt.backends.errors import BackendNotAvailableError as BackendNotAvailableError
from uniopt.backends.errors import EagerStepWarning as EagerStepWarning
from uniopt.backends.errors import NotWritableError as NotWritableError
from uniopt.backends.errors import UnioptError as UnioptError
from uniopt.backends.errors import UnknownArrayTypeError as UnknownArrayTypeError
from uniopt.backends.errors import UnsupportedDtypeError as UnsupportedDtypeError


class CheckpointError(UnioptError, ValueError):
    """A file is no checkpoint, is damaged, or was written by a later version."""


class HyperparameterError(UnioptError, ValueError):
    """A hyperparameter is no number, 0-d array or schedule, or lies outside its range."""


class ScheduleError(UnioptError, ValueError):
    """A schedule returned something other than one number."""


class TreeStructureError(UnioptError, ValueError):
    """Two trees that must have the same leaves and containers do not."""


class LeafError(UnioptError, TypeError):
    """A leaf is no array, or an array that cannot be optimized, such as one of integers."""


class ShapeError(UnioptError, ValueError):
    """An array has another shape than the one it is used with."""


class DtypeKindError(UnioptError, TypeError):
    """A gradient is of another kind (real, complex, integer) than its parameter."""


class MixedLibrariesError(UnioptError, TypeError):
    """One tree holds arrays of several libraries."""


class MixedDevicesError(UnioptError, ValueError):
    """A gradient and its parameter live on different devices."""


class StateError(UnioptError, ValueError):
    """A state was made by another transformation or for another tree."""


class StateKeyError(UnioptError, KeyError):
    """A name is not in a state, or is there more than once where one is asked for."""

    __str__ = Exception.__str__  # KeyError shows the message in quotes


class MissingParamsError(UnioptError, ValueError):
    """A transformation needs the parameters, but `update` was called without them."""


class MissingArgumentError(UnioptError, TypeError):
    """A transformation needs an extra keyword argument that `update` was not given."""

    def __str__(self) -> str:
        return f"{super().__str__()} In optax.chain it comes through uniopt.integrations.optax.wrap alone."


class PortingError(UnioptError, ValueError):
    """An optimizer, or its state, cannot be represented in the other framework."""


__all__ = [
    "BackendNotAvailableError",
    "CheckpointError",
    "DtypeKindError",
    "EagerStepWarning",
    "HyperparameterError",
    "LeafError",
    "MissingArgumentError",
    "MissingParamsError",
    "MixedDevicesError",
    "MixedLibrariesError",
    "NotWritableError",
    "PortingError",
    "ScheduleError",
    "ShapeError",
    "StateError",
    "StateKeyError",
    "TreeStructureError",
    "UnioptError",
    "UnknownArrayTypeError",
    "UnsupportedDtypeError",
]
