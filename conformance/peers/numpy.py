"""NumPy: arrays that nobody may write to, as they come from a memory map or from JAX."""

from __future__ import annotations

from typing import Any

from uniopt.conformance.peers.personality import Personality


def _read_only(x: Any) -> Any:
    x.flags.writeable = False
    return x


PERSONALITIES = {"readonly": Personality(treat=_read_only)}
