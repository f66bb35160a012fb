"""What is different between two records: cells with another verdict, larger differences, cells that came or went."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from uniopt.conformance.record import Record
from uniopt.conformance.verdicts import Verdict

_BEST_FIRST = (Verdict.PASS, Verdict.UNSUPPORTED, Verdict.INEXACT, Verdict.NOT_RUN, Verdict.FAIL)


def is_worse(before: Record, after: Record) -> bool:
    """Return whether some cell has a worse verdict in the second record than in the first, or is not in it."""
    found = {cell["name"]: cell["verdict"] for cell in after.cells}
    return any(
        cell["name"] not in found or _rank(found[cell["name"]]) > _rank(cell["verdict"]) for cell in before.cells
    )


def changes(before: Record, after: Record) -> Iterator[str]:
    """Yield a line for each difference: provenance first, then worse verdicts, better ones, other distances, cells."""
    yield from _versions(before.provenance, after.provenance)
    old, new = ({cell["name"]: cell for cell in record.cells} for record in (before, after))
    both = [name for name in old if name in new]
    moved = [name for name in both if old[name]["verdict"] != new[name]["verdict"]]
    for name in sorted(moved, key=lambda name: -_rank(new[name]["verdict"])):
        a, b = old[name]["verdict"], new[name]["verdict"]
        yield f"{'worse ' if _rank(b) > _rank(a) else 'better'}  {a} -> {b}  {name}"
    for name in both:
        if name not in moved:
            yield from (f"{line}  {name}" for line in _distances(old[name]["comparisons"], new[name]["comparisons"]))
    yield from (f"gone    {old[name]['verdict']}  {name}" for name in old if name not in new)
    yield from (f"new     {new[name]['verdict']}  {name}" for name in new if name not in old)


def _rank(verdict: str) -> int:
    return _BEST_FIRST.index(Verdict(verdict))


def _versions(a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[str]:
    """Yield what ran in another version, from another source or elsewhere."""
    old, new = (
        {
            "uniopt": p["uniopt"],
            "commit": p["source"]["commit"],
            "python": p["python"],
            "platform": p["platform"],
            **p["peers"],
            **p["libraries"],
        }
        for p in (a, b)
    )
    for name in old | new:
        if old.get(name) != new.get(name):
            yield f"{name}: {old.get(name) or '-'} -> {new.get(name) or '-'}"


def _distances(a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[str]:
    for oracle in {**a, **b}:
        was, now = (side.get(oracle, {}).get("max_ulp") for side in (a, b))
        if was != now:
            spoken = " -> ".join("-" if x is None else f"{float(x):.4g}" for x in (was, now))
            yield f"differs against {oracle}: {spoken} ulp"
