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
