"""The dispatch layer: one backend for each array library, found by the type of the arrays it is given."""

from uniopt.backends.errors import (
    BackendNotAvailableError as BackendNotAvailableError,
)
from uniopt.backends.errors import (
    UnioptError as UnioptError,
)
from uniopt.backends.errors import (
    UnknownArrayTypeError as UnknownArrayTypeError,
)
from uniopt.backends.errors import (
    UnsupportedDtypeError as UnsupportedDtypeError,
)
from uniopt.backends.protocol import Backend as Backend
from uniopt.backends.protocol import Node as Node
from uniopt.backends.registry import backend_of as backend_of
from uniopt.backends.registry import find as find
from uniopt.backends.registry import get as get
from uniopt.backends.registry import names as names
from uniopt.backends.registry import register as register
from uniopt.backends.registry import why_unavailable as why_unavailable
from uniopt.backends.standard import StandardBackend as StandardBackend

__all__ = [
    "Backend",
    "BackendNotAvailableError",
    "Node",
    "StandardBackend",
    "UnioptError",
    "UnknownArrayTypeError",
    "UnsupportedDtypeError",
    "backend_of",
    "find",
    "get",
    "names",
    "register",
    "why_unavailable",
]
