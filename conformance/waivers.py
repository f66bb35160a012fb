"""Waivers: cells that are known not to pass, each with the verdict and the reason. They are data, and may not go stale.

A waived cell keeps its verdict wherever it is shown; it only does not fail the run. The suite's own are in
``waivers.toml`` beside this file::

    [[waiver]]
    cells = "adam/*/huge/mylib/*/float32/*"
    verdict = "FAIL"
    reason = "mylib 1.2 flushes what is below 1e-38 to zero"
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from uniopt.conformance.verdicts import Verdict

OWN = Path(__file__).with_name("waivers.toml")


class WaiverError(ValueError):
    """A file of waivers is not what it should be."""


@dataclass(frozen=True)
class Waiver:
    """A pattern of cell names, the verdict that these cells may have, and why."""

    cells: str
    verdict: str
    reason: str

    def names(self, cell: dict[str, Any]) -> bool:
        """Return whether it is about a cell, whatever its verdict is."""
        return fnmatchcase(cell["name"], self.cells)

    def holds(self, cell: dict[str, Any]) -> bool:
        """Return whether a cell is waived by it."""
        return bool(cell["verdict"] == self.verdict) and self.names(cell)


def load(path: Path) -> list[Waiver]:
    """Return the waivers in a file.

    Raises
    ------
    WaiverError
        If it cannot be read, or an entry has other keys, another verdict than FAIL or INEXACT, or no reason.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise WaiverError(f"The waivers in {path} cannot be read: {error}.") from error
    if document.keys() - {"waiver"}:
        raise WaiverError(f"{path} has {', '.join(document)}, expected tables [[waiver]] and nothing else.")
    return [_checked(entry, path) for entry in document.get("waiver", [])]


def _checked(entry: dict[str, Any], path: Path) -> Waiver:
    needed = [field.name for field in fields(Waiver)]
    if sorted(entry) != sorted(needed) or not all(isinstance(x, str) and x for x in entry.values()):
        raise WaiverError(f"{path} has the waiver {entry}, expected a text for each of {', '.join(needed)}.")
    if entry["verdict"] not in (Verdict.FAIL, Verdict.INEXACT):
        raise WaiverError(f"{path} waives the verdict {entry['verdict']!r}, expected FAIL or INEXACT.")
    return Waiver(**entry)


def waived(waivers: Sequence[Waiver], cells: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the entries of cells with the reason of the first waiver that holds for each, or the empty string."""
    return [{**cell, "waived": next((w.reason for w in waivers if w.holds(cell)), "")} for cell in cells]


def stale(waivers: Iterable[Waiver], cells: Sequence[dict[str, Any]], is_part: bool) -> list[str]:
    """Return what is wrong with the waivers that hold for none of the cells that ran.

    Parameters
    ----------
    waivers
        Those to be judged.
    cells
        The entries of the cells that ran.
    is_part
        Whether other cells than these may be meant: then a waiver that is about none of them is not judged.
    """
    wrong = []
    for waiver in waivers:
        verdicts = {cell["verdict"] for cell in cells if waiver.names(cell)}
        if waiver.verdict in verdicts or (is_part and not verdicts):
            continue
        found = f"they are {', '.join(sorted(verdicts))}" if verdicts else "no such cell ran"
        wrong.append(f"the waiver of {waiver.verdict} for {waiver.cells} holds for no cell: {found}")
    return wrong
