"""Which rows of the table are run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from uniopt.cli.bench.sizes import SIZES
from uniopt.cli.bench.targets import Row, table

_QUICK_SIZE = "10x1e3"
_QUICK_OPTIMIZERS = ("adamw", "sgd")
_NOT_QUICK = ("torch-compile", "first-call-cold", "first-call-warm")  # torch.compile takes most of a minute


@dataclass(frozen=True)
class Selection:
    """What was asked for by name; an empty list asks for all.

    Attributes
    ----------
    backends, optimizers, sizes, against
        Parts of the names of rows.
    quick
        Whether every row is run on small leaves unless sizes are named, and for two optimizers unless they are named.
    device
        Where both sides compute.
    """

    backends: Sequence[str] = ()
    optimizers: Sequence[str] = ()
    sizes: Sequence[str] = ()
    against: Sequence[str] = ()
    quick: bool = False
    device: str = "cpu"

    def rows(self) -> list[Row]:
        """Return the rows that match, in the order of the table."""
        rows = [row for row in table() if row.device == self.device]
        if self.quick:
            rows = [self._quick(row) for row in rows if row.against not in _NOT_QUICK or row.against in self.against]
        found = [
            row
            for row in rows
            if (not self.backends or row.backend in self.backends)
            and (not self.sizes or row.size.name in self.sizes)
            and (not self.against or row.against in self.against)
            and row.optimizer in (self.optimizers or (_QUICK_OPTIMIZERS if self.quick else [row.optimizer]))
        ]
        return list({row.name: row for row in reversed(found)}.values())[::-1]  # of one name, the first

    def _quick(self, row: Row) -> Row:
        """Return the row on small leaves, for which it has no target."""
        small = self.sizes or row.size.name == "10"
        return replace(row, size=row.size if small else SIZES[_QUICK_SIZE], target=None)
