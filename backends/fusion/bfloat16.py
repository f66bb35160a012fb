"""bfloat16 as its bits in uint16, for NumPy, which does not have it."""

from __future__ import annotations

from typing import Any

import numpy as np


def widen(bits: Any) -> Any:
    """Return bfloat16 bits as float32."""
    return (np.asarray(bits, dtype=np.uint32) << 16).view(np.float32)


def narrow(x: Any) -> Any:
    """Return float32 rounded to bfloat16, to nearest and ties to even, as bits; others go through float32."""
    bits = np.asarray(x, dtype=np.float32).view(np.uint32)
    rounded = ((bits + (0x7FFF + ((bits >> 16) & 1))) >> 16).astype(np.uint16)
    return np.where(np.isnan(x), ((bits >> 16) | 0x40).astype(np.uint16), rounded)
