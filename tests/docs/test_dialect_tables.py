"""The tables of the dialects are of all optimizers, and say what the frameworks do."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import pytest

DOCS = Path(__file__).parents[2] / "docs"
TABLES = runpy.run_path(str(DOCS / "_ext" / "dialect_tables.py"))
PAGE = (DOCS / "differences" / "switches.md").read_text(encoding="utf-8")


def rows(family: str) -> dict[str, dict[str, str]]:
    """Return the cells of a table by row and dialect."""
    head, _, *lines = (
        [cell.strip() for cell in line.strip("|").split("|")] for line in TABLES["table"](family).splitlines()
    )
    dialects = [cell.strip("`").partition(".")[0] for cell in head[1:]]
    return {cells[0]: dict(zip(dialects, cells[1:], strict=True)) for cells in lines}


def test_the_page_has_every_family_once() -> None:
    families = TABLES["families"]()
    assert sorted(re.findall(r"^```{dialect-table} (\w+)$", PAGE, re.MULTILINE)) == sorted(families)
    assert re.findall(r"^## (\w+)$", PAGE, re.MULTILINE) == re.findall(r"{dialect-table} (\w+)", PAGE)


@pytest.mark.parametrize("dialect", ["torch", "mlx", "keras"])
def test_every_optimizer_of_a_framework_is_in_a_family(dialect: str) -> None:
    found = [calls[dialect].name for calls in TABLES["families"]().values() if dialect in calls]
    assert sorted(found) == sorted(TABLES["CONSTRUCTORS"][dialect])


@pytest.mark.parametrize(
    ("family", "row", "cells"),
    [
        (
            "rmsprop",
            "`scale_by_rms.eps_in_sqrt`",
            {"uniopt": "`True`", "torch": "`False`", "mlx": "`False`", "keras": "`True`"},
        ),
        ("rmsprop", "`scale_by_rms.decay`", {"uniopt": "`0.9`", "torch": "`0.99`", "mlx": "`0.99`", "keras": "`0.9`"}),
        ("adam", "`scale_by_adam.bias_correction`", {"torch": "`True`", "mlx": "`False`", "keras": "`True`"}),
        ("adam", "`scale_by_adam.eps_before_correction`", {"torch": "`False`", "mlx": "`False`", "keras": "`True`"}),
        ("adam", "steps are counted", {"uniopt": "for all leaves", "torch": "for each leaf"}),
        ("adamw", "`weight_decay`", {"uniopt": "`0.0001`", "torch": "`0.01`", "mlx": "`0.01`", "keras": "`0.004`"}),
        (
            "adamw",
            "learning rate",
            {"uniopt": "no default", "torch": "`0.001`", "mlx": "no default", "keras": "`0.001`"},
        ),
        ("sgd", "`trace.undampened_first_step`", {"torch": "`True`", "mlx": "`False`"}),
        ("lion", "`weight_decay`", {"uniopt": "`0.001`", "mlx": "`0.0`", "keras": "`0.0`"}),
        ("rprop", "`scale_by_rprop.one_step_late`", {"uniopt": "`False`", "optax": "`True`", "torch": "`False`"}),
        ("muon", "`scale_by_muon.ns_dtype`", {"uniopt": "`None`", "torch": "`'bfloat16'`"}),
        ("adafactor", "`scale_by_factored_rms.last_axes`", {"uniopt": "`False`", "torch": "`True`", "mlx": "`True`"}),
        (
            "sgd",
            "with momentum and decay",
            {
                "torch": "`add_decayed_weights`, `trace`, `scale_by_learning_rate`",
                "keras": "`decay_first` of (`scale_by_learning_rate`, `trace`)",
            },
        ),
        (
            "rmsprop",
            "with momentum and decay",
            {
                "uniopt": "`scale_by_rms`, `scale_by_learning_rate`, `trace`",
                "torch": "`add_decayed_weights`, `scale_by_rms`, `trace`, `scale_by_learning_rate`",
            },
        ),
    ],
)
def test_what_the_tables_say(family: str, row: str, cells: dict[str, Any]) -> None:
    found = rows(family)[row]
    assert {dialect: found[dialect] for dialect in cells} == cells


@pytest.mark.parametrize("family", TABLES["families"]())
def test_a_row_shows_a_difference(family: str) -> None:
    for name, cells in rows(family).items():
        different = {cell for cell in cells.values() if cell}
        assert len(different) > 1 or name in ("parts", "with momentum and decay")
        assert not re.search(r"at 0x|<function", "".join(cells.values()))
