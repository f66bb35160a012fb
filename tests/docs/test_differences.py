"""The pages on how uniopt differs from its peers leave no optimizer out."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import uniopt
import uniopt.optimizers

FOLDER = Path(__file__).parents[2] / "docs" / "differences"


def test_every_optimizer_has_a_row_and_a_section() -> None:
    index = (FOLDER / "index.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`.+?`) \|.*\((\w.*?)#.*\) \|$", index, re.MULTILINE)
    listed = {name: page for cell, page in rows for name in re.findall(r"`(\w+)`", cell)}
    assert sorted(listed) == sorted(name for name, _ in inspect.getmembers(uniopt.optimizers, inspect.isfunction))
    for name, page in listed.items():
        headings = re.findall(r"^## (.*)$", (FOLDER / page).read_text(encoding="utf-8"), re.MULTILINE)
        assert any(name in re.split(r", | and ", heading) for heading in headings), f"{page} has no section on {name}"
