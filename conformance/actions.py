"""What the command does besides running cells: check a record, compare two, write reports again, show findings."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from uniopt.conformance import required, suite
from uniopt.conformance.cells import Selection
from uniopt.conformance.changes import changes, is_worse
from uniopt.conformance.findings import show
from uniopt.conformance.html import html
from uniopt.conformance.junit import junit
from uniopt.conformance.record import Record
from uniopt.conformance.report import markdown, summary
from uniopt.conformance.verification import verify

_REPORTS: dict[str, Callable[[Record], str]] = {"report.html": html, "report.md": markdown, "junit.xml": junit}


def write_reports(record: Record, folder: Path) -> list[Path]:
    """Write every report of a record into a folder, and return their paths."""
    for name, make in _REPORTS.items():
        (folder / name).write_text(make(record), encoding="utf-8")
    return [folder / name for name in _REPORTS]


def run(action: str, paths: Sequence[str]) -> int:
    """Run an action and return the exit code of the command."""
    act, expected = ACTIONS[action]
    if expected is None:
        return act(list(paths))
    if len(paths) != expected:
        print(
            f"uniopt conformance {action}: found {len(paths)} files, expected {expected}. "
            "`uniopt conformance --help` has the commands for records.",
            file=sys.stderr,
        )
        return 2
    try:
        return act(*map(Path, paths))
    except (OSError, ValueError) as error:
        print(f"uniopt conformance {action}: {error}", file=sys.stderr)
        return 2


def _verify(path: Path) -> int:
    wrong = verify(path)
    print("\n".join(wrong) if wrong else f"{path} is sound. {summary(Record.load(path))}")
    return 1 if wrong else 0


def _compare(old: Path, new: Path) -> int:
    before, after = Record.load(old), Record.load(new)
    print("\n".join(changes(before, after)) or "The two records have the same cells, verdicts and distances.")
    return 1 if is_worse(before, after) else 0


def _report(path: Path) -> int:
    print(f"Written: {', '.join(map(str, write_reports(Record.load(path), path.parent)))}")
    return 0


def _required() -> int:
    print(required.write(suite.planned(Selection())[0]))
    return 0


ACTIONS: dict[str, tuple[Callable[..., int], int | None]] = {
    "verify": (_verify, 1),
    "compare": (_compare, 2),
    "report": (_report, 1),
    "required": (_required, 0),
    "findings": (show, None),
}
"""By name: what is done, and with how many files; None for any number of names."""
