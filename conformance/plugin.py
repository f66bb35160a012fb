"""A pytest plugin: tests that take `xp`, `backend` or `device` run on each array library.

``pytest --uniopt-backend torch`` runs them on one. Without the option they run on every library, and are skipped, with
the reason, where one cannot run here; a library that was asked for by name and cannot run is a failure.
"""

from __future__ import annotations

from typing import Any

import pytest

from uniopt import backends

_PARAMETER = "uniopt_backend"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--uniopt-backend``."""
    parser.getgroup("uniopt").addoption(
        "--uniopt-backend",
        action="append",
        default=[],
        metavar="NAME",
        help="the array library that the fixtures xp, backend and device are of, or package.module:Backend; "
        "repeatable (default: all)",
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that needs a backend once for each."""
    if _PARAMETER not in metafunc.fixturenames:
        return
    from uniopt.conformance.third_party import Guests, ThirdPartyError

    asked = metafunc.config.getoption("--uniopt-backend")
    try:
        names = Guests(backends=asked).register() or backends.names()
    except ThirdPartyError as error:
        raise pytest.UsageError(str(error)) from error
    metafunc.parametrize(_PARAMETER, names, indirect=True)


@pytest.fixture
def uniopt_backend(request: pytest.FixtureRequest) -> Any:
    """Return the backend of a name."""
    reason = backends.why_unavailable(request.param)
    if reason is not None and request.config.getoption("--uniopt-backend"):
        pytest.fail(f"{request.param} was asked for by name: {reason}", pytrace=False)
    if reason is not None:
        pytest.skip(reason)
    return backends.get(request.param)


@pytest.fixture
def backend(uniopt_backend: Any) -> Any:
    """Return a `uniopt.backends.Backend`."""
    return uniopt_backend


@pytest.fixture
def xp(backend: Any) -> Any:
    """Return the library's namespace, with the functions of the standard."""
    return backend.xp


@pytest.fixture
def device(backend: Any) -> Any:
    """Return the library's first device."""
    return backend.devices()[0]
