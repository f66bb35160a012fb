"""What a person reads of a record: lines for a terminal, and a Markdown page."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from uniopt.conformance.record import Record
from uniopt.conformance.verdicts import Verdict

_WORST_FIRST = (Verdict.FAIL, Verdict.NOT_RUN, Verdict.INEXACT, Verdict.UNSUPPORTED, Verdict.PASS)
Row = tuple[str, ...]


def matrix(record: Record) -> tuple[Row, list[Row]]:
    """Return head and rows of the scoreboard: a row for each optimizer, a column for each library, dtype and mode."""
    groups: dict[str, dict[str, list[dict[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for cell in record.cells:
        where = cell["backend"] if cell["device"] in ("cpu", "-") else f"{cell['backend']} {cell['device']}"
        groups[f"{where} {cell['dtype']} {cell['mode']}"][cell["optimizer"]].append(cell)
    optimizers = list(dict.fromkeys(cell["optimizer"] for cell in record.cells))
    rows = [(column, *(_entry(cells[name]) for name in optimizers)) for column, cells in groups.items()]
    return ("", *optimizers), rows


def _entry(cells: list[dict[str, Any]]) -> str:
    """Return the worst verdict of some cells, with the largest difference from any oracle in ulp."""
    if not cells:
        return ""
    worst = next(v for v in _WORST_FIRST if any(cell["verdict"] == v for cell in cells))
    ulps = [float(c["max_ulp"]) for cell in cells for c in cell["comparisons"].values()]
    return f"{worst.value} {max(ulps):.3g}" if ulps else worst.value


def problems(record: Record) -> Iterator[str]:
    """Yield what is wrong, cell by cell, with the command that runs the cell alone."""
    for cell in record.cells:
        if cell["verdict"] not in (Verdict.FAIL, Verdict.INEXACT):
            continue
        yield f"{cell['verdict']}{', waived' if cell['waived'] else ''}  {cell['name']}"
        yield from (f"  {line}" for line in details(cell))


def details(cell: dict[str, Any]) -> Iterator[str]:
    """Yield what is wrong with a cell: its error, where it diverges from its oracles, and how to run it again."""
    if cell["waived"]:
        yield f"waived: {cell['waived']}"
    yield from cell["reason"].rstrip().splitlines()
    for oracle, c in cell["comparisons"].items():
        if c["diverges"]:
            yield _divergence(oracle, c)
    yield from (f"{name}: {wrong}" for name, wrong in cell["properties"].items() if wrong)
    if cell["command"]:
        yield f"run: {cell['command']}"


def _divergence(oracle: str, c: dict[str, Any]) -> str:
    at = c["diverges"]
    index = f"[{', '.join(map(str, at['index']))}]" if at["index"] else ""
    return (
        f"against {oracle}: first in step {at['step']} at {at['leaf']}{index}, expected {at['expected']}, found "
        f"{at['found']}, {float(at['ulp']):.4g} ulp (at most {float(c['max_ulp']):.4g}; tight {c['tight']:g}, "
        f"wide {c['wide']:g})"
    )


def not_run(record: Record) -> Iterator[str]:
    """Yield the libraries that did not run, and what else was asked for in vain."""
    reasons = {
        cell["backend"] if cell["device"].startswith("-") else f"{cell['backend']} {cell['mode']}": cell["reason"]
        for cell in record.cells
        if cell["verdict"] == Verdict.NOT_RUN
    }
    for name, reason in {**reasons, **record.missing}.items():
        yield f"NOT RUN  {name}: {reason}"


def unsupported(record: Record) -> Iterator[str]:
    """Yield the declared gaps that were seen, once each."""
    found = {
        f"UNSUPPORTED  {cell['dtype']} on {cell['backend']} {cell['device']}: {cell['reason']}"
        for cell in record.cells
        if cell["verdict"] == Verdict.UNSUPPORTED
    }
    yield from sorted(found)


def plan(record: Record) -> Iterator[str]:
    """Yield the required cells that are not in the plan, and the waivers that hold for nothing."""
    yield from (f"NOT PLANNED  {name}: is on the required list" for name in record.required["missing"] or ())
    yield from (f"STALE  {wrong}" for wrong in record.stale)


def notes(record: Record) -> list[str]:
    """Return what there is to say besides the scoreboard and the cells that do not pass."""
    return [*unsupported(record), *not_run(record), *plan(record)]


def coverage(record: Record) -> str:
    """Return how the cells compare with the required list."""
    missing, version = record.required["missing"], record.required["version"]
    if missing is None:
        return f"a part of the required list, version {version}"
    return f"required list, version {version}: {f'{len(missing)} cells missing' if missing else 'complete'}"


def summary(record: Record) -> str:
    """Return one line: how many cells have each verdict."""
    counts = [f"{count} {name}" for name, count in record.summary().items() if count]
    if waived := sum(bool(cell["waived"]) for cell in record.cells):
        counts.append(f"{waived} of them waived")
    seconds = sum(cell["seconds"] for cell in record.cells)
    return f"{len(record.cells)} cells: {', '.join(counts)} ({seconds:.0f} s); {coverage(record)}"


def text(record: Record) -> str:
    """Return the report as plain text."""
    head, rows = matrix(record)
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    lines = [
        "  ".join(entry.ljust(width) for entry, width in zip(row, widths, strict=True)).rstrip()
        for row in (head, *rows)
    ]
    return "\n".join([*problems(record), *lines, *notes(record), summary(record)])


def markdown(record: Record) -> str:
    """Return the report as a Markdown page."""
    head, rows = matrix(record)
    p = record.provenance
    libraries = ", ".join(f"{name} {version}" for name, version in {**p["libraries"], **p["peers"]}.items())
    source = p["source"]["commit"] or "installed"
    state = {True: "clean", False: "with local changes", None: "unknown"}[p["source"]["clean"]]
    lines = [
        "# uniopt conformance",
        "",
        summary(record) + ". Each entry: the worst verdict, and the largest difference from any oracle in ulp.",
        "",
        *(f"| {' | '.join(row)} |" for row in (head, ("---",) * len(head), *rows)),
        "",
        f"- uniopt {p['uniopt']}, commit {source} ({state}), {p['date']}",
        f"- {libraries}; Python {p['python']}, {p['platform']}; seed {p['seed']}",
        *(f"- {gpu}" for gpu in p.get("gpus", ())),
        f"- `{p['command']}`",
    ]
    below = [*problems(record), *notes(record)]
    return "\n".join([*lines, *(["", "```text", *below, "```"] if below else []), ""])
