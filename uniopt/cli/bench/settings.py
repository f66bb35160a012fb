"""How a run measures."""

from __future__ import annotations

from dataclasses import dataclass

from uniopt.cli.bench import threads

ROUNDS = 15
SECONDS = 2.0
QUICK_ROUNDS = 5


@dataclass(frozen=True)
class Settings:
    """How a run measures.

    Attributes
    ----------
    threads
        Threads that every side may use.
    quick
        Whether a few rounds on small leaves are enough, to see that everything works; then nothing is judged.
    """

    threads: int = 1
    quick: bool = False

    @property
    def rounds(self) -> int:
        """Return in how many rounds the sides take turns at least."""
        return QUICK_ROUNDS if self.quick else ROUNDS

    @property
    def seconds(self) -> float:
        """Return for how long they do so at least."""
        return 0.0 if self.quick else SECONDS

    def doubt(self, *cores: float) -> str:
        """Return why a measurement cannot be judged, or nothing where it can."""
        if self.quick:
            return f"{self.rounds} rounds on small leaves show that it runs, not how fast"
        return threads.doubt(self.threads, list(cores)) if cores else ""
