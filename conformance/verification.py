"""Whether a record is what a run has written: nothing changed or left out, every verdict following from its numbers."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from uniopt.conformance.record import SCHEMA, digest
from uniopt.conformance.verdicts import Verdict

_PARTS = ("optimizer", "setting", "problem", "backend", "device", "dtype", "mode")


def verify(path: str | Path) -> list[str]:
    """Return what is wrong with the record in a file; nothing if it is sound.

    Parameters
    ----------
    path
        The file, ``record.json``.

    Notes
    -----
    The digest tells a record that was edited or damaged from one that was not. It is no signature: whoever edits a
    record can write another digest. What follows is checked besides: each verdict from the largest differences, bounds
    and properties, each largest difference from the curve, the summary from the verdicts.
    """
    try:
        document = json.loads(Path(path).read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        return [f"{path} is no JSON document: {error}"]
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        found = document.get("schema") if isinstance(document, dict) else type(document).__name__
        return [f"{path} is no conformance record of the schema {SCHEMA!r}: found {found!r}"]
    return list(_wrong(document))


def _wrong(document: Mapping[str, Any]) -> Iterator[str]:
    if document.get("sha256") != (expected := digest(document)):
        yield f"the digest is {document.get('sha256')}, that of the contents {expected}: it has been changed"
    cells = document["cells"]
    if not cells:
        yield "there is no cell in it: nothing was tested"
    counted = Counter(cell["verdict"] for cell in cells)
    summary = {verdict.value: counted[verdict.value] for verdict in Verdict}
    if document["summary"] != summary:
        yield f"the summary says {document['summary']}, the cells {summary}"
    for name, count in Counter(cell["name"] for cell in cells).items():
        if count > 1:
            yield f"{name} is in it {count} times"
    for cell in cells:
        yield from (f"{cell['name']}: {wrong}" for wrong in _wrong_in(cell))


def _wrong_in(cell: Mapping[str, Any]) -> Iterator[str]:
    if cell["name"] != "/".join(cell[part] for part in _PARTS):
        yield "the name is not made of its parts"
    verdicts = set()
    for oracle, c in cell["comparisons"].items():
        largest = float(c["max_ulp"])
        if f"{largest:.4g}" != max(c["curve"], key=float) or float(c["worst"]["ulp"]) != largest:
            yield f"against {oracle}, {c['max_ulp']} ulp are not the largest of its steps"
        within = Verdict.PASS if largest <= c["tight"] else Verdict.INEXACT if largest <= c["wide"] else Verdict.FAIL
        if c["verdict"] != within:
            yield f"against {oracle}, {c['max_ulp']} ulp are called {c['verdict']}, expected {within}"
        verdicts.add(within)
    if cell["waived"] and cell["verdict"] not in (Verdict.FAIL, Verdict.INEXACT):
        yield f"{cell['verdict']} is waived, which only FAIL and INEXACT can be"
    if cell["verdict"] in (Verdict.UNSUPPORTED, Verdict.NOT_RUN):
        if verdicts or not cell["reason"]:
            yield f"{cell['verdict']} needs a reason, and nothing to be compared"
        return
    if not verdicts or Verdict.FAIL in verdicts or any(cell["properties"].values()):
        expected = Verdict.FAIL
    else:
        expected = Verdict.INEXACT if Verdict.INEXACT in verdicts else Verdict.PASS
    if cell["verdict"] != expected:
        yield f"the verdict is {cell['verdict']}, expected {expected}"
