"""What a person reads: a line for each row as soon as it is known, and a Markdown page of the whole record."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping
from typing import Any

from uniopt.cli.bench.outcome import Verdict
from uniopt.cli.bench.record import Record
from uniopt.cli.bench.targets import AGAINST

_HEAD = ("row", "uniopt", "other", "ratio", "quartiles", "cpu", "target", "verdict")
_WIDTHS = (48, 9, 9, 7, 13, 7, 6, 0)


def opening(record: Record) -> str:
    """Return what is said before the first row: the settings, and the head of the table."""
    origin, settings = record.provenance, record.settings
    lines = [
        f"uniopt {origin['uniopt']}, Python {origin['python']}, {origin['processor']}, {origin['cores']} cores",
        f"{_rounds(settings)}; threads for every side: {settings['threads']}",
        *(f"  {name}: {says}" for name, says in origin["flags"].items()),
        "",
        _line(_HEAD),
    ]
    return "\n".join(lines)


def line(row: dict[str, Any]) -> str:
    """Return the line of a row, with what there is to say about it below."""
    reason = [row["reason"]] if row["reason"] and row["verdict"] != Verdict.NOT_JUDGED else []  # said once, at the end
    return "\n    ".join([_line(_entries(row)), *reason, *row["warnings"]])


def closing(record: Record) -> str:
    """Return what is said after the last row."""
    counts = ", ".join(f"{count} {verdict}" for verdict, count in record.summary().items() if count)
    doubts = dict.fromkeys(row["reason"] for row in record.rows if row["verdict"] == Verdict.NOT_JUDGED)
    missing = [f"{name} was asked for, and cannot run: {reason}" for name, reason in record.missing.items()]
    return "\n".join(["", *missing, *(f"Not judged: {doubt}." for doubt in doubts), counts or "No row."])


def markdown(record: Record) -> str:
    """Return the record as a page."""
    origin, settings = record.provenance, record.settings
    source = origin["source"]
    commit = f", commit {source['commit'][:12]}{'' if source['clean'] else ' with changes'}" if source["commit"] else ""
    gpus = "".join(f"; {gpu}" for gpu in origin["gpus"])
    versions = ", ".join(f"{k} {v}" for k, v in {**origin["libraries"], **origin["peers"]}.items() if v)
    parts = [
        "# Benchmark",
        f"uniopt {origin['uniopt']}{commit}; {versions}; Python {origin['python']}; {origin['processor']}, "
        f"{origin['cores']} cores{gpus}; {origin['platform']}; {origin['date']}. {_rounds(settings)}, "
        f"threads for every side: {settings['threads']}. `{origin['command']}`",
        ", ".join(f"{count} {verdict}" for verdict, count in record.summary().items() if count),
    ]
    for against, text in AGAINST.items():
        rows = [row for row in record.rows if row["against"] == against]
        if rows:
            parts += [f"## Against {text}", "\n".join(_table(rows))]
    return "\n\n".join(parts) + "\n"


def _rounds(settings: Mapping[str, Any]) -> str:
    return f"At least {settings['rounds']} rounds and {settings['seconds']:g} s"


def _table(rows: list[dict[str, Any]]) -> Iterator[str]:
    yield f"| {' | '.join(_HEAD)} | |"
    yield f"|{'---|' * (len(_HEAD) + 1)}"
    for row in rows:
        said = " ".join([row["reason"], *row["warnings"]]).replace("|", "/").replace("\n", " ").strip()
        yield f"| {' | '.join(_entries(row))} | {said} |"


def _line(entries: tuple[str, ...]) -> str:
    return "  ".join(f"{entry:<{width}}" for entry, width in zip(entries, _WIDTHS, strict=True)).rstrip()


def _entries(row: dict[str, Any]) -> tuple[str, ...]:
    ratio = row["ratio"]
    return (
        row["name"],
        _time(row, "uniopt"),
        _time(row, "other"),
        f"{ratio['median']:.3g}" if ratio else "",
        f"{ratio['lower']:.3g}-{ratio['upper']:.3g}" if ratio else "",
        f"{processor['median']:.3g}" if (processor := row["measured"].get("processor_ratio")) else "",
        "" if row["target"] is None else f"{row['target']:g}",
        row["verdict"],
    )


def _time(row: dict[str, Any], side: str) -> str:
    """Return the median time of a step, or what else was compared."""
    measured = row["measured"]
    if "peak_bytes" in measured:
        return f"{measured['peak_bytes' if side == 'uniopt' else 'allowed_bytes'] / 2**20:.3g} MiB"
    if side not in measured:
        return ""
    seconds = statistics.median(measured[side]["seconds"])
    unit, scale = next((u, s) for u, s in (("s", 1.0), ("ms", 1e3), ("us", 1e6)) if seconds * s >= 1 or u == "us")
    return f"{seconds * scale:.3g} {unit}"
