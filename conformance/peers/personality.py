"""What a personality of a library consists of."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any


def _as_it_is(x: Any) -> Any:
    return x


@dataclass(frozen=True)
class Personality:
    """A way of using a library.

    Attributes
    ----------
    session
        A context manager in which the library is set up in this way.
    treat
        What is done to each array that an optimizer is given.
    """

    session: Callable[[], AbstractContextManager[Any]] = nullcontext
    treat: Callable[[Any], Any] = _as_it_is
