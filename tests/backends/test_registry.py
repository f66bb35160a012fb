"""Which backend is found, by name and by type: the built-in ones, registered ones and those of other packages."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib import metadata
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from uniopt.backends import Backend, StandardBackend, registry

from uniopt.errors import BackendNotAvailableError, UnknownArrayTypeError

BUILT_IN = ["numpy", "cupy", "jax", "torch", "mlx", "dask", "array_api_strict"]


class Own(StandardBackend):
    name = "own"
    array_types = ("a_library_that.is_not_there.Array", "own_library.NoArray", "own_library.Array")
    namespace = "array_api_strict"


class OwnArray:
    pass


@pytest.fixture(autouse=True)
def _as_in_a_new_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing is registered, and no other package has backends."""
    monkeypatch.setattr(registry, "_registered", {})
    monkeypatch.setattr(registry, "_by_type", {})
    monkeypatch.setattr(metadata, "entry_points", lambda *, group: [])
    read = registry._read_entry_points
    read.cache_clear()
    yield
    read.cache_clear()


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> Backend:
    """A backend that is not registered, of a library that is loaded."""
    library = ModuleType("own_library")
    vars(library)["Array"] = OwnArray
    monkeypatch.setitem(sys.modules, "own_library", library)
    return Own()


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment with NumPy alone."""
    monkeypatch.setattr(registry, "find_spec", lambda name: object() if name == "numpy" else None)
    monkeypatch.setattr(registry, "sys", SimpleNamespace(modules={"numpy": np}))


def plug(monkeypatch: pytest.MonkeyPatch, *found: Any) -> list[str]:
    """Let other packages have backends; return the list that will have what is loaded."""
    loaded: list[str] = []

    def entry(x: Any) -> Any:
        def load() -> Any:
            loaded.append(x.name)
            return x

        return SimpleNamespace(load=load)

    def entry_points(*, group: str) -> list[Any]:
        assert group == "uniopt.backends"
        return [entry(x) for x in found]

    monkeypatch.setattr(metadata, "entry_points", entry_points)
    return loaded


def test_built_in_backends_have_names() -> None:
    assert registry.names() == BUILT_IN
    for name in ("numpy", "torch", "array_api_strict"):
        assert registry.get(name).name == name
        assert registry.get(name) is registry.get(name)
        assert registry.why_unavailable(name) is None
    assert registry.names() == BUILT_IN


def test_a_registered_backend_is_found_by_name_and_by_type(own: Backend) -> None:
    assert registry.find(OwnArray) is None  # which is not remembered
    registry.register(own)
    assert registry.names() == [*BUILT_IN, "own"]
    assert registry.get("own") is own
    assert registry.find(OwnArray) is own
    assert registry.find(type("Derived", (OwnArray,), {})) is own
    assert registry.backend_of(OwnArray()) is own
    assert own in registry.loaded()


def test_a_backend_replaces_one_of_its_name() -> None:
    class Mine(type(registry.get("numpy"))):  # type: ignore[misc]  # the built-in class is loaded by name
        pass

    assert registry.find(np.ndarray) is registry.get("numpy")
    mine = Mine()
    registry.register(mine)
    assert registry.names() == BUILT_IN
    assert registry.get("numpy") is mine
    assert registry.find(np.ndarray) is mine


def test_a_type_may_name_its_backend(own: Backend) -> None:
    assert registry.find(type("Array", (), {"__uniopt_backend__": own})) is own


def test_types_are_matched_once(monkeypatch: pytest.MonkeyPatch) -> None:
    matched: list[type] = []
    match = registry._match

    def counted(cls: type) -> Any:
        matched.append(cls)
        return match(cls)

    monkeypatch.setattr(registry, "_match", counted)
    monkeypatch.setattr(registry, "_read_entry_points", lambda: pytest.fail("asked other packages"))
    for _ in range(2):
        found = registry.find(np.ndarray)
        assert found is not None
        assert found.name == "numpy"
    assert matched == [np.ndarray]


def test_only_libraries_that_are_imported_are_asked(bare: None) -> None:
    assert registry.find(int) is None
    assert [backend.name for backend in registry.loaded()] == ["numpy"]
    first = registry.get("numpy")
    assert registry.loaded() == [first]


@pytest.mark.parametrize(
    ("name", "install"),
    [("torch", "'uniopt[torch]'"), ("array_api_strict", "'uniopt[strict]'"), ("numpy", "numpy")],
)
def test_a_library_that_is_not_installed(monkeypatch: pytest.MonkeyPatch, name: str, install: str) -> None:
    monkeypatch.setattr(registry, "find_spec", lambda name: None)
    message = f"{name} is not installed. Install it: pip install {install}"
    assert registry.why_unavailable(name) == message
    with pytest.raises(BackendNotAvailableError) as caught:
        registry.get(name)
    assert str(caught.value) == message


def test_a_library_that_cannot_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> Any:
        assert name == "uniopt.backends.torch"
        raise ImportError("a file is missing")

    monkeypatch.setattr(registry, "import_module", fail)
    assert registry.why_unavailable("torch") == "torch is installed but cannot be imported: a file is missing"


def test_an_unknown_name_and_an_unknown_type(bare: None, own: Backend) -> None:
    with pytest.raises(BackendNotAvailableError) as no_name:
        registry.get("own")
    assert f"No backend is called 'own'. Known: {', '.join(BUILT_IN)}. " in str(no_name.value)
    registry.register(own)
    with pytest.raises(UnknownArrayTypeError) as no_type:
        registry.backend_of(object())
    text = str(no_type.value)
    assert text.startswith("builtins.object is not an array type that uniopt knows.")
    assert f"one of: {', '.join(BUILT_IN)}, own (installed here: numpy, own)." in text


def test_other_packages_have_backends(monkeypatch: pytest.MonkeyPatch, own: Backend) -> None:
    class Third(Own):
        name = "third"
        array_types = ()

    third = Third()
    loaded = plug(monkeypatch, Own, third)
    registry.get("numpy")
    assert not loaded  # they are asked for what nobody else knows
    found = registry.find(OwnArray)
    assert isinstance(found, Own)
    assert loaded == ["own", "third"]
    assert registry.names() == [*BUILT_IN, "own", "third"]
    assert (registry.get("own"), registry.get("third")) == (found, third)
    assert loaded == ["own", "third"]


def test_the_backend_of_another_package_is_found_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    plug(monkeypatch, Own)
    assert isinstance(registry.get("own"), Own)


def test_a_registered_backend_goes_before_another_packages(monkeypatch: pytest.MonkeyPatch, own: Backend) -> None:
    plug(monkeypatch, Own)
    registry.register(own)
    assert registry.names() == [*BUILT_IN, "own"]
    assert registry.get("own") is own
