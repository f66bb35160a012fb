"""The record of a run: one JSON document, from which every report is made."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from uniopt.conformance.provenance import provenance
from uniopt.conformance.runner import Result
from uniopt.conformance.third_party import options_of
from uniopt.conformance.verdicts import Comparison, Verdict

SCHEMA = "uniopt-conformance/3"


@dataclass(frozen=True)
class Record:
    """What a run has shown.

    Attributes
    ----------
    provenance
        What was run, on what, from which source, by which command.
    missing
        What was asked for by name and could not run, with the reason.
    cells
        One entry for each cell: its name and parts, verdict, reason, why it is waived, comparisons, properties,
        seconds, and the command that runs it alone.
    required
        The version of the required list, and which of its cells were not planned; None for these where a part of the
        plan was asked for.
    stale
        What is wrong with waivers that hold for no cell.
    """

    provenance: dict[str, Any]
    missing: dict[str, str]
    cells: Sequence[dict[str, Any]]
    required: dict[str, Any]
    stale: Sequence[str] = ()

    @classmethod
    def of(
        cls,
        cells: Sequence[dict[str, Any]],
        missing: dict[str, str],
        required: dict[str, Any],
        stale: Sequence[str] = (),
        peers: Iterable[str] = (),
    ) -> Record:
        """Return the record of the entries of cells that have just been run."""
        libraries = dict.fromkeys(cell["backend"] for cell in cells if cell["verdict"] != Verdict.NOT_RUN)
        return cls(provenance(libraries, peers), missing, cells, required, stale)

    @classmethod
    def load(cls, path: str | Path) -> Record:
        """Return the record in a file.

        Raises
        ------
        ValueError
            If the file is no record of this version.
        """
        document = json.loads(Path(path).read_text(encoding="utf-8"))
        if not isinstance(document, dict) or document.get("schema") != SCHEMA:
            raise ValueError(f"{path} is no conformance record of the schema {SCHEMA!r}.")
        return cls(**{field.name: document[field.name] for field in fields(cls)})

    def save(self, path: str | Path) -> None:
        """Write the record to a file."""
        document = {"schema": SCHEMA, "summary": self.summary(), **asdict(self)}
        document["sha256"] = digest(document)
        Path(path).write_text(json.dumps(document, indent=1, allow_nan=False) + "\n", encoding="utf-8")

    def summary(self) -> dict[str, int]:
        """Return how many cells have each verdict."""
        counted = Counter(cell["verdict"] for cell in self.cells)
        return {verdict.value: counted[verdict.value] for verdict in Verdict}

    def exit_code(self) -> int:
        """Return 1 after a failure, 3 where something asked for by name did not run, 2 without any cell, else 0.

        A cell that is FAIL and waived is no failure; a stale waiver or a required cell that is not planned is one.
        """
        summary = self.summary()
        failed = any(cell["verdict"] == Verdict.FAIL and not cell["waived"] for cell in self.cells)
        if failed or self.stale or self.required["missing"]:
            return 1
        if self.missing:
            return 3
        return 0 if sum(summary.values()) > summary[Verdict.NOT_RUN] else 2


def digest(document: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a record without its own entry ``sha256``, whatever its indentation and order are."""
    rest = {key: value for key, value in document.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def entry(result: Result) -> dict[str, Any]:
    """Return what the record has of a cell."""
    cell = result.cell
    return {
        "name": cell.name,
        "optimizer": cell.case.optimizer,
        "setting": cell.case.setting,
        "problem": cell.case.problem.name,
        "backend": cell.backend,
        "device": cell.device_name,
        "dtype": cell.dtype,
        "mode": cell.mode,
        "verdict": result.verdict.value,
        "reason": result.reason,
        "comparisons": {oracle: _comparison(comparison) for oracle, comparison in result.comparisons.items()},
        "properties": result.properties,
        "compilations": result.compilations,
        "seconds": round(result.seconds, 4),
        "command": shlex.join(["uniopt", "conformance", *options_of(cell.backend), *cell.case.options, cell.name])
        if cell.case.is_registered()
        else "",
    }


def _comparison(comparison: Comparison) -> dict[str, Any]:
    return {
        "verdict": comparison.verdict.value,
        "max_ulp": repr(comparison.worst.ulp),
        "tight": comparison.bound.tight,
        "wide": comparison.bound.wide,
        "reason": comparison.bound.reason,
        "worst": _place(comparison.worst),
        "diverges": comparison.diverges and _place(comparison.diverges),
        "curve": [f"{ulp:.4g}" for ulp in comparison.curve],
    }


def _place(place: Any) -> dict[str, Any]:
    """Numbers as text, as Python writes them: JSON has no infinity and no NaN."""
    fields = asdict(place)
    return {**fields, **{name: repr(fields[name]) for name in ("expected", "found", "ulp")}}
