"""Forty handwritten digits, four of each, for the problems that fit something.

``python -m uniopt.conformance.digits`` writes ``digits.csv`` anew from the data that come with scikit-learn.

E. Alpaydin and C. Kaynak, "Optical recognition of handwritten digits", UCI machine learning repository, 1998.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

FILE = Path(__file__).with_name("digits.csv")
CLASSES, OF_EACH = 10, 4
_HEAD = f"# A digit in a row: 64 pixels from 0 to 16, row by row, and its class. The first {OF_EACH} of each class.\n"
_SHA256 = "c7b881195dc5d6d1e4aa444bbb05119176ba520e3e030acdde9cc0212efb11db"


def load() -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return the images, of shape (40, 64) with pixels in [0, 1], and their labels, one-hot.

    Raises
    ------
    ValueError
        If the file is not the one that was written.
    """
    text = FILE.read_text(encoding="utf-8")
    if (found := _checksum(text)) != _SHA256:
        raise ValueError(f"{FILE} has the SHA-256 {found}, expected {_SHA256}. Install uniopt anew.")
    rows = np.loadtxt(text.splitlines(), delimiter=",", dtype=np.int64)
    return rows[:, :-1] / 16.0, np.eye(CLASSES)[rows[:, -1]]


def _checksum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _text() -> str:
    """Return what the file has to hold."""
    from sklearn import datasets

    pixels, digits = datasets.load_digits(return_X_y=True)
    chosen = sorted(i for digit in range(CLASSES) for i in np.flatnonzero(digits == digit)[:OF_EACH])
    rows = (",".join(str(int(x)) for x in (*pixels[i], digits[i])) for i in chosen)
    return _HEAD + "".join(f"{row}\n" for row in rows)


if __name__ == "__main__":
    FILE.write_text(_text(), encoding="utf-8")
    print(f"{FILE}: SHA-256 {_checksum(_text())}")
