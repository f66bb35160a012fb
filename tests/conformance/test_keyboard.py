"""The HTML report by keyboard alone: everything is reached, opened and left, and the focus is never lost."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator

import pytest
from uniopt.conformance import Record, Selection, run
from uniopt.conformance.html import html

from tests.conformance.webdriver import ARROW_DOWN, ENTER, ESCAPE, TAB, Browser, browser

CHROMEDRIVER = shutil.which("chromedriver")


@pytest.fixture(scope="module")
def record() -> Record:
    return run(Selection(quick=True, backends=["numpy"], optimizers=["adam", "lion"]))


@pytest.fixture(scope="module")
def led(record: Record, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Browser, str]]:
    if CHROMEDRIVER is None:
        pytest.skip("no chromedriver is installed to press keys in a browser")
    report = tmp_path_factory.mktemp("report") / "report.html"
    report.write_text(html(record), encoding="utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with browser(CHROMEDRIVER, port) as found:
        yield found, report.as_uri()


@pytest.fixture
def page(led: tuple[Browser, str]) -> Browser:
    """Return the browser with the report as it is when it is opened."""
    found, address = led
    found.open("about:blank")
    found.open(address)
    return found


def tab_to(page: Browser, name: str) -> None:
    """Press Tab until the element of that name has the focus."""
    seen = []
    for _ in range(40):
        page.press(TAB)
        seen.append(page.focus())
        if seen[-1].startswith(name):
            return
    pytest.fail(f"Tab does not come to {name!r}, only to {seen}")


def test_tab_goes_from_the_top_down(page: Browser) -> None:
    found = []
    for _ in range(13):
        page.press(TAB)
        found.append(page.focus())
    names = ["backend", "dtype", "mode", "verdict", "optimizer", "text", "view"]
    assert found[:2] == ["To the results", "uniopt conformance"]
    assert found[2].endswith("PASS")
    assert found[3:] == [*(f"filter-{name}" for name in names), "filter-reset", "Scoreboard", found[-1]]
    assert found[-1].startswith("adam, numpy float64 eager: PASS")
    assert page.run("return getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_the_first_link_leads_to_the_results(page: Browser) -> None:
    page.press(TAB, ENTER)
    page.wait_for("document.activeElement.id === 'content'")


def test_enter_opens_a_list_then_a_cell_and_escape_leaves_it(page: Browser) -> None:
    tab_to(page, "lion, numpy float64 eager")
    page.press(ENTER)
    page.wait_for("location.hash.includes('view=list')")
    assert page.focus() == "content"
    tab_to(page, "lion/default/brief/numpy/cpu/float64/eager")
    page.press(ENTER)
    page.wait_for("location.hash.startsWith('#cell=lion')")
    page.wait_for("document.title.startsWith('lion/default')")
    assert page.focus() == "content"
    page.press(ESCAPE)
    page.wait_for("location.hash.includes('view=list')")
    page.wait_for("document.activeElement.id === 'content'")


def test_a_filter_keeps_the_focus(page: Browser) -> None:
    tab_to(page, "filter-optimizer")
    page.press(ARROW_DOWN)
    page.wait_for("location.hash === '#optimizer=adam'")
    assert page.focus() == "filter-optimizer"
    page.press(TAB, "l", "i")
    page.wait_for("location.hash.includes('text=li')")
    assert page.focus() == "filter-text"
    page.press(TAB, TAB, ENTER)
    page.wait_for("!location.hash.includes('=')")
    assert page.focus() == "filter-reset"
