"""bfloat16 as its bits in uint16, for NumPy, which does not have it, and for libraries with NumPy's interface."""

from __future__ import annotations

from typing import Any

import numpy as np


def widen(bits: Any, xp: Any = np) -> Any:
    """Return bfloat16 bits as float32."""
    return (xp.asarray(bits, dtype=xp.uint32) << 16).view(xp.float32)


def narrow(x: Any, xp: Any = np) -> Any:
    """Return float32 rounded to bfloat16, to nearest and ties to even, as bits; others go through float32."""
    bits = xp.asarray(x, dtype=xp.float32).view(xp.uint32)
    rounded = ((bits + (0x7FFF + ((bits >> 16) & 1))) >> 16).astype(xp.uint16)
    return xp.where(xp.isnan(x), ((bits >> 16) | 0x40).astype(xp.uint16), rounded)
