"""The record as JUnit XML, for the services that show the results of tests."""

from __future__ import annotations

from collections import defaultdict
from typing import Any
from xml.etree import ElementTree as ET

from uniopt.conformance.record import Record
from uniopt.conformance.report import details
from uniopt.conformance.verdicts import Verdict


def junit(record: Record) -> str:
    """Return a document with a test suite for each library, and a test case for each of its cells.

    A cell that is FAIL has a failure, with what is printed of it. UNSUPPORTED, NOT RUN and a FAIL that is waived are
    skipped, with the reason. INEXACT passes, as it does for the exit code, and its output says by how much it is off.
    """
    by_library: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for cell in record.cells:
        by_library[cell["backend"]].append(cell)
    root = ET.Element("testsuites", {"name": "uniopt conformance", **_counts(record.cells)})
    for library, cells in by_library.items():
        suite = ET.SubElement(
            root, "testsuite", {"name": library, "timestamp": record.provenance["date"], **_counts(cells)}
        )
        for cell in cells:
            _case(suite, cell)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _counts(cells: Any) -> dict[str, str]:
    skipped = sum(cell["verdict"] in (Verdict.UNSUPPORTED, Verdict.NOT_RUN) or _is_waived(cell) for cell in cells)
    return {
        "tests": str(len(cells)),
        "failures": str(sum(cell["verdict"] == Verdict.FAIL and not _is_waived(cell) for cell in cells)),
        "errors": "0",
        "skipped": str(skipped),
        "time": f"{sum(cell['seconds'] for cell in cells):.3f}",
    }


def _is_waived(cell: dict[str, Any]) -> bool:
    return bool(cell["verdict"] == Verdict.FAIL and cell["waived"])


def _case(suite: ET.Element, cell: dict[str, Any]) -> None:
    case = ET.SubElement(
        suite,
        "testcase",
        classname=f"{cell['backend']}.{cell['optimizer']}",
        name=cell["name"],
        time=f"{cell['seconds']:.3f}",
    )
    text = "\n".join(details(cell))
    if _is_waived(cell):
        ET.SubElement(case, "skipped", message=f"FAIL, waived: {cell['waived']}")
        ET.SubElement(case, "system-out").text = text
    elif cell["verdict"] == Verdict.FAIL:
        ET.SubElement(case, "failure", message=text.splitlines()[0] if text else "FAIL").text = text
    elif cell["verdict"] in (Verdict.UNSUPPORTED, Verdict.NOT_RUN):
        ET.SubElement(case, "skipped", message=f"{cell['verdict']}: {cell['reason']}")
    elif cell["verdict"] == Verdict.INEXACT:
        ET.SubElement(case, "system-out").text = text
