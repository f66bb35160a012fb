"""The tests that pytest collects, as trials."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import pytest
from _pytest.runner import runtestprotocol

from tests.mutation.trials import RAISES, Trial

_QUIET = ("-qqq", "--no-header", "--no-summary", "-p", "no:cacheprovider", "-p", "no:faulthandler", "-s")
_LATE = ("-W", "ignore:Module already imported:pytest.PytestAssertRewriteWarning")


def with_tests(args: Sequence[str], use: Callable[[list[Trial]], None]) -> None:
    """Call a function with the tests that pytest collects for these arguments; each can be run as often as wanted."""
    plugin = _Tests(use)
    pytest.main([*_QUIET, *_LATE, *args], plugins=[plugin])
    if plugin.error is not None:
        raise plugin.error
    assert plugin.collected, f"no tests in {args}"


class _Tests:
    """A plugin of pytest that hands the tests over instead of running them."""

    def __init__(self, use: Callable[[list[Trial]], None]) -> None:
        self.use = use
        self.collected = 0
        self.error: Exception | None = None

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        self.collected = len(session.items)
        try:
            self.use([Trial(item.nodeid, partial(_failure, item)) for item in session.items])
        except Exception as error:  # pytest would print it as one of its own
            self.error = error
        return True


def _failure(item: pytest.Item) -> str:
    for report in runtestprotocol(item, log=False):
        if report.failed:
            crash = getattr(report.longrepr, "reprcrash", None)
            message = (crash.message if crash else str(report.longrepr)).partition("\n")[0]
            asserted = message.startswith(("assert", "AssertionError", "Failed:"))
            return message if asserted else f"{RAISES} {message}"
    return ""
