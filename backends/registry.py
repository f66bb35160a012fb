"""Which backend an array belongs to: found by its type, without importing any library."""

from __future__ import annotations

import sys
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from uniopt.backends.errors import BackendNotAvailableError, UnknownArrayTypeError
from uniopt.backends.protocol import Backend

_ENTRY_POINTS = "uniopt.backends"

# Each lives in the module uniopt.backends.<name> and serves the library that is imported as <name>.
_BUILTIN = {
    "numpy": "NumpyBackend",
    "cupy": "CupyBackend",
    "jax": "JaxBackend",
    "torch": "TorchBackend",
    "mlx": "MlxBackend",
    "dask": "DaskBackend",
    "array_api_strict": "ArrayApiStrictBackend",
}
_EXTRAS = {"array_api_strict": "strict"}

_registered: dict[str, Backend] = {}
_by_type: dict[type, Backend] = {}


def register(backend: Backend) -> None:
    """Make a backend known, so that arrays of its `array_types` are routed to it.

    A backend of the same name replaces the earlier one. Packages can instead declare an entry point in the group
    ``uniopt.backends`` that names a backend class or instance; it is loaded when an unknown array type turns up.

    Parameters
    ----------
    backend
        An instance that implements `uniopt.backends.Backend`, such as one of a subclass of `StandardBackend`.
    """
    _registered[backend.name] = backend
    _by_type.clear()


def names() -> list[str]:
    """Return the names of all backends that can be asked for: the built-in ones, then the registered ones."""
    _read_entry_points()
    return [*_BUILTIN, *(name for name in _registered if name not in _BUILTIN)]


def get(name: str) -> Backend:
    """Return the backend of that name, importing its library.

    Raises
    ------
    BackendNotAvailableError
        If no backend has that name, or its library is not installed or cannot be imported.
    """
    if name in _registered:
        return _registered[name]
    if name not in _BUILTIN:
        _read_entry_points()
        if name in _registered:
            return _registered[name]
        raise BackendNotAvailableError(
            f"No backend is called {name!r}. Known: {', '.join(names())}. "
            "Register another with uniopt.backends.register(...)."
        )
    if find_spec(name) is None:
        extra = _EXTRAS.get(name, name)
        install = "numpy" if name == "numpy" else f"'uniopt[{extra}]'"
        raise BackendNotAvailableError(f"{name} is not installed. Install it: pip install {install}")
    try:
        return _load(name)
    except ImportError as error:
        raise BackendNotAvailableError(f"{name} is installed but cannot be imported: {error}") from error


def why_unavailable(name: str) -> str | None:
    """Return why the named backend cannot compute here, or None where it can."""
    try:
        return get(name).why_unavailable()
    except BackendNotAvailableError as error:
        return str(error)


def find(cls: type) -> Backend | None:
    """Return the backend of an array type, or None if no known library has it. Imports no library."""
    try:
        return _by_type[cls]
    except KeyError:
        pass
    backend = _match(cls)
    if backend is None:
        _read_entry_points()
        backend = _match(cls)
    if backend is not None:  # only positive answers are kept, so a later registration is seen
        _by_type[cls] = backend
    return backend


def loaded() -> list[Backend]:
    """Return the backends whose library this process has imported, and the registered ones."""
    for name in _BUILTIN:
        if name in sys.modules and name not in _registered:
            _load(name)
    return list(_registered.values())


def code_is_traced() -> bool:
    """Return whether torch.compile reads the code that calls this, instead of Python running it."""
    torch = sys.modules.get("torch")
    return torch is not None and torch.compiler.is_dynamo_compiling()


def backend_of(x: Any) -> Backend:
    """Return the backend that an array belongs to.

    Raises
    ------
    UnknownArrayTypeError
        If the type is no registered library's; nothing unknown is ever converted to NumPy.
    """
    backend = find(type(x))
    if backend is None:
        raise UnknownArrayTypeError(unknown_type_message(type(x)))
    return backend


def unknown_type_message(cls: type) -> str:
    """Return the explanation that goes with an unknown array type."""
    installed = [name for name in names() if name in _registered or find_spec(name) is not None]
    return (
        f"{cls.__module__}.{cls.__qualname__} is not an array type that uniopt knows. "
        f"Expected an array of one of: {', '.join(names())} (installed here: {', '.join(installed)}). "
        "If it is an array of another library, register a backend for it with uniopt.backends.register(...) "
        f"or an entry point in the group {_ENTRY_POINTS!r}; see 'Add a library' in the documentation."
    )


def _load(name: str) -> Backend:
    if name not in _registered:
        module = import_module(f"uniopt.backends.{name}")
        _registered[name] = getattr(module, _BUILTIN[name])()
    return _registered[name]


def _match(cls: type) -> Backend | None:
    own: Backend | None = getattr(cls, "__uniopt_backend__", None)
    if own is not None:
        return own
    for backend in loaded():  # a type can only exist where its library is loaded
        for dotted in backend.array_types:
            module, _, attribute = dotted.rpartition(".")
            array_type = getattr(sys.modules.get(module), attribute, None)
            if array_type is not None and issubclass(cls, array_type):
                return backend
    return None


@cache
def _read_entry_points() -> None:
    from importlib.metadata import entry_points

    for entry in entry_points(group=_ENTRY_POINTS):
        found = entry.load()
        backend = found() if isinstance(found, type) else found
        _registered.setdefault(backend.name, backend)
