"""How far a run is, on one line of the terminal."""

from __future__ import annotations

import sys
import time
from collections import Counter


class Progress:
    """One line on a terminal that says how far the run is and how long it may take; nothing where there is none."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._counts: Counter[str] = Counter()
        self._started = time.monotonic()

    def __enter__(self) -> Progress:
        return self

    def saw(self, verdict: str, name: str) -> None:
        """Count a cell that is done, and draw the line anew."""
        self._counts[verdict] += 1
        if sys.stderr.isatty():
            print(f"\r\x1b[2K{self.line(name)}"[:160], end="", file=sys.stderr, flush=True)

    def line(self, name: str) -> str:
        """Return the line: cells done, verdicts, the time that the others take at this pace, and the latest cell."""
        done = sum(self._counts.values())
        left = (time.monotonic() - self._started) / max(done, 1) * (self._total - done)
        verdicts = ", ".join(f"{count} {verdict}" for verdict, count in self._counts.items())
        return f"{done}/{self._total}  {verdicts}  {left // 60:.0f}:{left % 60:02.0f} left  {name}"

    def __exit__(self, *_: object) -> None:
        if sys.stderr.isatty():
            print("\r\x1b[2K", end="", file=sys.stderr)
