"""The record of a run: one JSON document with everything that was measured, and where."""

from __future__ import annotations

import json
import os
import platform
import shlex
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from uniopt.cli.bench.outcome import Outcome, Verdict
from uniopt.cli.bench.runner import peer_of
from uniopt.cli.bench.settings import Settings
from uniopt.cli.bench.sizes import SEED
from uniopt.cli.bench.targets import AGAINST, Row
from uniopt.conformance.provenance import provenance

SCHEMA = "uniopt-bench/1"


@dataclass
class Record:
    """What a run has shown so far.

    Attributes
    ----------
    provenance
        What was run, on what, from which source, by which command.
    settings
        Rounds and threads, as they were set and as the libraries report them.
    missing
        Backends that were asked for by name and cannot run, with the reason.
    rows
        One entry for each row that is known.
    """

    provenance: Mapping[str, Any]
    settings: Mapping[str, Any]
    missing: Mapping[str, str]
    rows: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def start(
        cls, rows: Iterable[Row], settings: Settings, threads: Mapping[str, str], missing: Mapping[str, str]
    ) -> Record:
        """Return the record of a run in which nothing is known yet."""
        planned = list(rows)
        libraries = dict.fromkeys(row.backend for row in planned if row.backend in threads)
        peers = dict.fromkeys(peer for row in planned if (peer := peer_of(row)))
        origin = {
            **provenance(libraries, [*peers, "llvmlite"]),
            "flags": dict(threads),
            "seed": SEED,
            "command": shlex.join(["uniopt", *sys.argv[1:]]),
            "processor": _processor(),
            "cores": os.cpu_count(),
        }
        return cls(origin, {**asdict(settings), "rounds": settings.rounds, "seconds": settings.seconds}, missing)

    def add(self, row: Row, outcome: Outcome) -> None:
        """Add what is known of a row."""
        where = f"--backend {row.backend}" if row.device == "cpu" else f"--device {row.device} --backend {row.backend}"
        self.rows.append(
            {
                "name": row.name,
                "backend": row.backend,
                "device": row.device,
                "optimizer": row.optimizer,
                "size": row.size.name,
                "leaves": len(row.size.shapes),
                "elements": row.size.elements,
                "against": row.against,
                "against_is": AGAINST[row.against],
                "target": row.target,
                "verdict": outcome.verdict.value,
                "ratio": outcome.ratio and asdict(outcome.ratio),
                "reason": outcome.reason,
                "warnings": outcome.warnings,
                "measured": dict(outcome.measured),
                "command": f"uniopt bench {where} --optimizer {row.optimizer} --size {row.size.name} "
                f"--against {row.against}",
            }
        )

    def save(self, path: Path) -> None:
        """Write the record to a file."""
        document = {"schema": SCHEMA, "summary": self.summary(), **asdict(self)}
        path.write_text(json.dumps(document, indent=1, allow_nan=False) + "\n", encoding="utf-8")

    def summary(self) -> dict[str, int]:
        """Return how many rows have each verdict."""
        counted = Counter(row["verdict"] for row in self.rows)
        return {verdict.value: counted[verdict.value] for verdict in Verdict}

    def exit_code(self) -> int:
        """Return 1 after a failure or a missed target, 3 where a backend asked for did not run, 2 without any row."""
        summary = self.summary()
        if any(summary[verdict] for verdict in (Verdict.DIFFERS, Verdict.FAILED, Verdict.MISSED)):
            return 1
        if self.missing:
            return 3
        return 0 if sum(summary.values()) > summary[Verdict.NOT_RUN] else 2


def _processor() -> str:
    """Return the processor's name, which Linux says in one place only."""
    table = Path("/proc/cpuinfo")
    lines = table.read_text().splitlines() if table.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
