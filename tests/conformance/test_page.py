"""The HTML report in a real browser: it draws its scoreboard, filters it, and has a page for every cell."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pytest
from uniopt.conformance import Record, Selection, run
from uniopt.conformance.html import html

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
Open = Callable[..., str]


@pytest.fixture(scope="module")
def record() -> Record:
    return run(Selection(quick=True, backends=["numpy", "array_api_strict"], optimizers=["adam", "lion", "clip"]))


@pytest.fixture(scope="module")
def opened(record: Record, tmp_path_factory: pytest.TempPathFactory) -> Open:
    """Return a function that opens the page at an address, and returns what is in it once its script has run."""
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed to open the page in")
    folder = tmp_path_factory.mktemp("report")
    (folder / "report.html").write_text(html(record), encoding="utf-8")

    def dump(address: str = "", *options: str) -> str:
        done = subprocess.run(
            [
                str(CHROMIUM),
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                f"--user-data-dir={folder / 'profile'}",
                "--virtual-time-budget=5000",
                "--dump-dom",
                *options,
                f"{(folder / 'report.html').as_uri()}{address}",
            ],
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )
        return done.stdout.partition("<script>")[0]  # the data and the program stand behind what is drawn

    return dump


def test_the_scoreboard_has_every_optimizer_and_library(record: Record, opened: Open) -> None:
    drawn = opened()
    assert f"{len(record.cells)} of {len(record.cells)} cells" in drawn
    for name in ("adam", "lion", "clip"):
        assert f'<th scope="row">{name}</th>' in drawn
    for column in ("numpy float64 eager", "array_api_strict float32 eager"):
        assert f'<th scope="col">{column}</th>' in drawn
    assert ">FAIL" not in drawn
    assert re.search(r'class="PASS"><a href="[^"]+" aria-label="adam, numpy float64 eager: PASS [^"]+ ulp', drawn)


def test_filters_stand_in_the_address(record: Record, opened: Open) -> None:
    chosen = [c for c in record.cells if c["optimizer"] == "lion" and c["backend"] == "numpy"]
    drawn = opened("#optimizer=lion&backend=numpy&view=list")
    assert f"{len(chosen)} of {len(record.cells)} cells" in drawn
    assert [c["name"] for c in chosen if f">{c['name']}</a>" not in drawn] == []
    assert ">adam/" not in drawn
    assert "0 of " in opened("#text=nosuchcell")


def test_every_cell_has_a_page(record: Record, opened: Open) -> None:
    for cell in (record.cells[0], record.cells[-1]):
        drawn = opened("#cell=" + quote(cell["name"], safe=""))
        assert cell["command"] in drawn
        assert drawn.count("<svg") == len(cell["comparisons"])
        for c in cell["comparisons"].values():
            assert drawn.count("<circle") >= len(c["curve"]) > 1
            assert c["reason"].replace("<", "&lt;") in drawn
        assert all(f">{name}</th>" in drawn for name in cell["properties"])


def test_it_needs_no_network(record: Record) -> None:
    page = html(record)
    assert not re.findall(r"""(?:src|href)=["'](?:https?:)?//""", page)
    assert not re.findall(r"@import|url\(|fetch\(|XMLHttpRequest", page)


def test_no_text_of_a_record_ends_the_script(record: Record) -> None:
    """A traceback may hold anything."""
    hostile = "</script><script>alert(1)</script><!--"
    spoiled = replace(record, cells=[{**record.cells[0], "reason": hostile}])
    page = html(spoiled)
    assert page.count("</script>") == 1
    data = page.partition("const RECORD = ")[2].partition(";\nconst VERDICTS")[0]
    assert json.loads(data)["cells"][0]["reason"] == hostile


def test_the_page_is_as_wide_as_a_phone(opened: Open, tmp_path: Path) -> None:
    """What is wider scrolls within its frame."""
    drawn = opened("", "--window-size=500,900")
    assert 'class="scroll" tabindex="0" role="region"' in drawn
    assert 'name="viewport" content="width=device-width, initial-scale=1"' in drawn
