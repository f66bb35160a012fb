"""The base of every error that uniopt raises on purpose, and the errors of the dispatch layer."""

from __future__ import annotations


class UnioptError(Exception):
    """Base class of all errors raised by uniopt."""


class UnknownArrayTypeError(UnioptError, TypeError):
    """An object was used as an array, but no registered backend knows its type."""


class BackendNotAvailableError(UnioptError, ImportError):
    """A backend was asked for by name whose library is not installed or cannot run here."""


class UnsupportedDtypeError(UnioptError, TypeError):
    """A data type was asked for that the library or the device does not have."""


class NotWritableError(UnioptError, ValueError):
    """A compiled step was to update an array in place that cannot be written to.

    Parameters
    ----------
    index
        Which of the arrays it is.
    reason
        Why, as the end of a sentence that begins with the array.
    path
        The expression that reaches the array, where it is known.
    """

    def __init__(self, index: int, reason: str, path: str | None = None) -> None:
        super().__init__(
            f"{path or f'Array {index}'} {reason}. Expected an array of its own that can be updated in place; "
            "pass a copy, or compile with donate=False."
        )
        self.index = index
        self.reason = reason


class EagerStepWarning(RuntimeWarning):
    """A step that was to be compiled runs operation by operation."""
