"""A browser that is led by keys, through the W3C protocol of chromedriver."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

TAB, ENTER, ESCAPE, ARROW_DOWN = "\ue004", "\ue007", "\ue00c", "\ue015"
_SECONDS = 30.0


class Browser:
    """One session: it opens addresses, presses keys and says what has the focus."""

    def __init__(self, driver: str) -> None:
        self._session = driver  # until there is a session
        options = {"goog:chromeOptions": {"args": ["--headless", "--no-sandbox", "--disable-gpu"]}}
        made = self._call("POST", "/session", {"capabilities": {"alwaysMatch": options}})
        self._session += f"/session/{made['sessionId']}"

    def open(self, address: str) -> None:
        self._call("POST", "/url", {"url": address})

    def press(self, *keys: str) -> None:
        strokes = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        self._call("POST", "/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": strokes}]})

    def run(self, script: str) -> Any:
        return self._call("POST", "/execute/sync", {"script": script, "args": []})

    def wait_for(self, condition: str) -> None:
        """Wait until an expression in the page's language is true."""
        end = time.monotonic() + _SECONDS
        while not self.run(f"return Boolean({condition})"):
            assert time.monotonic() < end, f"{condition} did not come true; the address is {self.address()}"
            time.sleep(0.05)

    def address(self) -> str:
        return str(self._call("GET", "/url"))

    def focus(self) -> str:
        """Return the name of the element that has the focus: its label, its id or its text."""
        return str(
            self.run(
                "const e = document.activeElement;"
                "return e.getAttribute('aria-label') || e.id || e.textContent.trim().slice(0, 80);"
            )
        )

    def close(self) -> None:
        self._call("DELETE", "")

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = Request(self._session + path, data, {"Content-Type": "application/json"}, method=method)
        with urlopen(request, timeout=_SECONDS) as answer:
            return json.load(answer)["value"]


@contextmanager
def browser(chromedriver: str, port: int) -> Iterator[Browser]:
    """Start a driver on a port and a browser; stop both at the end."""
    process = subprocess.Popen([chromedriver, f"--port={port}", "--silent"])
    try:
        address = f"http://127.0.0.1:{port}"
        _wait_for(address)
        led = Browser(address)
        try:
            yield led
        finally:
            led.close()
    finally:
        process.terminate()
        process.wait(_SECONDS)


def _wait_for(address: str) -> None:
    end = time.monotonic() + _SECONDS
    while True:
        try:
            urlopen(f"{address}/status", timeout=_SECONDS).close()
            return
        except URLError:
            assert time.monotonic() < end, "chromedriver does not answer"
            time.sleep(0.05)
