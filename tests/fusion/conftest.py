"""Kernels are kept where no other test run finds them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True, scope="session")
def _kernels(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNIOPT_CACHE_DIR", str(tmp_path_factory.mktemp("kernels")))
        yield
