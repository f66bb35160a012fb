"""The record as one HTML file that needs no network: a scoreboard, and a page for every cell."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

from uniopt.conformance.record import Record
from uniopt.conformance.walk import PROPERTIES

_MARK = "/*RECORD*/null"


def html(record: Record) -> str:
    """Return the page, with the record and its script within.

    The cells are kept as columns of a table, and texts that many cells share are written once, so that a record of
    thousands of cells is still a file that can be sent by mail.
    """
    page = files("uniopt.conformance").joinpath("page.html").read_text(encoding="utf-8")
    data = {
        "provenance": record.provenance,
        "missing": record.missing,
        "required": record.required,
        "stale": record.stale,
        "summary": record.summary(),
        "properties": PROPERTIES,
        **_shared(record.cells),
    }
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    # Within a script, "</script>" would end it, whatever stands around it.
    return page.replace(_MARK, text.replace("<", "\\u003c"))


def _shared(cells: Any) -> dict[str, Any]:
    """Return the cells with the reasons of their bounds replaced by numbers, and the list of these reasons."""
    numbers: dict[str, int] = {}
    slim = []
    for cell in cells:
        comparisons = {
            oracle: {**c, "reason": numbers.setdefault(c["reason"], len(numbers))}
            for oracle, c in cell["comparisons"].items()
        }
        slim.append({**cell, "comparisons": comparisons})
    return {"reasons": list(numbers), "cells": slim}
