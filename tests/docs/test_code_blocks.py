"""Every Python block of README and of the site runs, in a fresh process, with warnings as errors."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from uniopt import backends

ROOT = Path(__file__).parents[2]
RUNNER = Path(__file__).with_name("run_blocks.py")
PAGES = [ROOT / "README.md", *sorted(p for p in (ROOT / "docs").rglob("*.md") if "_build" not in p.parts)]

blocks = runpy.run_path(str(RUNNER))["blocks"]


def _cases() -> list[Any]:
    """One case a page; in README one a block, and one for each block that needs a device of its own."""
    cases = []
    for page in PAGES:
        found = blocks(page)
        together = [] if page.name == "README.md" else [b for b in found if b.needs is None]
        alone = [b for b in found if b not in together]
        name = str(page.relative_to(ROOT))
        if together:
            cases.append(pytest.param(page, "page", [b.line for b in together], None, id=name))
        for b in alone:
            cases.append(pytest.param(page, "console", [b.line], b.needs, id=f"{name}:{b.line}"))
    return cases


def _run(page: Path, mode: str, lines: list[int], folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", str(RUNNER), str(page), mode, *map(str, lines)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.parametrize(("page", "mode", "lines", "needs"), _cases())
def test_blocks_run(page: Path, mode: str, lines: list[int], needs: str | None, tmp_path: Path) -> None:
    if needs and (reason := backends.why_unavailable(needs)):
        pytest.skip(f"needs {needs}: {reason}")
    done = _run(page, mode, lines, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_library_has_blocks_on_its_page_and_in_readme() -> None:
    readme = "".join(b.source for b in blocks(ROOT / "README.md"))
    for name in backends.names():
        page = ROOT / "docs" / "libraries" / f"{name.replace('_', '-')}.md"
        assert blocks(page), f"{page} has no block that runs"
        assert f"import {name}" in readme, f"README has no example for {name}"


@pytest.mark.parametrize(
    ("mode", "source"),
    [
        ("page", "```python\n1 / 0\n```\n"),
        ("page", "```python\nimport warnings\nwarnings.warn('old')\n```\n"),
        ("page", "```pycon\n>>> 1 + 1\n3\n```\n"),
        ("page", "```pycon\nno prompt\n```\n"),
        ("console", "```python\nraise ValueError\n```\n"),
        ("console", "```python\nfor i in range(2):\n    i\nprint(i)\n```\n"),  # no blank line after the loop
        ("console", "```python\nfor i in range(2):\n```\n"),
    ],
)
def test_a_faulty_block_is_seen(mode: str, source: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(source)
    assert _run(page, mode, [b.line for b in blocks(page)], tmp_path).returncode != 0


def test_blocks_of_a_page_share_names(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "```python\nx = 1\n```\n\n```pycon\n>>> x\n1\n>>> y = 2\n```\n\n```python\nassert x + y == 3\n```\n"
    )
    assert _run(page, "page", [b.line for b in blocks(page)], tmp_path).returncode == 0


def test_a_page_continues_another(tmp_path: Path) -> None:
    (tmp_path / "first.md").write_text("```python\nx = 1\n```\n")
    (tmp_path / "second.md").write_text("<!-- continues: first.md -->\n\n```python\ny = x + 1\n```\n")
    third = tmp_path / "third.md"
    third.write_text("<!-- continues: second.md -->\n\n```pycon\n>>> x + y\n3\n```\n")
    assert _run(third, "page", [b.line for b in blocks(third)], tmp_path).returncode == 0
    alone = tmp_path / "alone.md"
    alone.write_text("```python\ny = x + 1\n```\n")
    assert _run(alone, "page", [b.line for b in blocks(alone)], tmp_path).returncode != 0
