"""What the tests share: a folder for kernels, ways to compile graphs, and the libraries of CUDA devices."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
import torch
from uniopt.backends.fusion import step as fused
from uniopt.backends.fusion.recording import recording
from uniopt.backends.torch.graph import compiled

from tests.fusion.graphs import Compiler, on_graphs


@pytest.fixture(autouse=True, scope="session")
def _kernels(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNIOPT_CACHE_DIR", str(tmp_path_factory.mktemp("kernels")))
        yield


@pytest.fixture
def uncompiled(monkeypatch: pytest.MonkeyPatch) -> None:
    on_graphs(monkeypatch, lambda graph: graph)


@pytest.fixture
def compiler(monkeypatch: pytest.MonkeyPatch) -> Compiler:
    found = Compiler()
    on_graphs(monkeypatch, partial(torch.compile, fullgraph=True, dynamic=False, backend=found))
    return found


@pytest.fixture
def inductor(monkeypatch: pytest.MonkeyPatch) -> None:
    on_graphs(monkeypatch, compiled)


@pytest.fixture(params=["cupy", "torch"])
def library(request: pytest.FixtureRequest) -> str:
    """Each library that has arrays on CUDA devices."""
    if request.param == "torch" and not torch.cuda.is_available():
        pytest.skip("NOT RUN: torch.cuda.is_available() is False")
    name: str = request.param
    return name


@pytest.fixture
def recordings(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that gets longer with each recording."""
    found: list[int] = []

    def counted(*args: Any) -> Any:
        found.append(1)
        return recording(*args)

    monkeypatch.setattr(fused, "recording", counted)
    return found
