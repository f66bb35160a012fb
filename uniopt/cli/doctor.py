"""List the array libraries: what is installed, where and in what it computes, and why something does not work."""

from __future__ import annotations

import argparse
import json
import platform
from typing import Any

from uniopt import __version__, backends
from uniopt.cli.errors import require
from uniopt.cli.probe import DTYPES, Library, examine

_DESCRIPTION = """\
List each array library that uniopt knows: its version, its devices, the
floating-point dtypes that it really computes in (each one is tried), the
compilers that uniopt can use with it, and the reason where something does
not work.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the options of ``uniopt doctor``."""
    parser.description = _DESCRIPTION
    parser.add_argument("--json", action="store_true", help="print a machine-readable record instead of a table")


def run(options: argparse.Namespace) -> int:
    """Examine every library and print what was found; a library that is broken is a finding, not a failure."""
    if not options.json:
        require("rich", extra="cli", command="uniopt doctor (without --json)")
    found = [examine(name) for name in backends.names()]
    if options.json:
        print(json.dumps(_record(found), indent=2))
    else:
        _show(found)
    return 0


def _record(found: list[Library]) -> dict[str, Any]:
    return {
        "uniopt": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "libraries": [
            library._asdict()
            | {
                "devices": [device._asdict() for device in library.devices],
                "compilers": [compiler._asdict() for compiler in library.compilers],
            }
            for library in found
        ],
    }


def _show(found: list[Library]) -> None:
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(highlight=False)
    console.print(f"uniopt {__version__}, Python {platform.python_version()}, {platform.platform()}\n", soft_wrap=True)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for name in ("library", "version", "device"):
        table.add_column(name, no_wrap=True)
    for name in DTYPES:
        table.add_column(name.replace("float", "f").replace("complex", "c"), justify="center", no_wrap=True)
    for library in found:
        for i, device in enumerate(library.devices):
            marks = ("yes" if dtype in device.computes_in else "[dim]-[/dim]" for dtype in DTYPES)
            table.add_row(*(("", "") if i else (library.name, library.version)), device.name, *marks)
    console.print(table)
    for title, lines in (
        ("Cannot run here", [(library.name, str(library.problem)) for library in found if library.problem]),
        ("No float64", [line for library in found for line in _without_float64(library)]),
        ("Compilers", _compiler_lines(found)),
    ):
        if lines:
            console.print(title, style="bold")
            grid = Table.grid(padding=(0, 2))
            for name, text in lines:
                grid.add_row(f"  {name}", escape(text))
            console.print(grid)
            console.print()


def _without_float64(library: Library) -> list[tuple[str, str]]:
    """Return where a library has no float64, and why. It is the dtype that is most often believed to be there."""
    refused = [device for device in library.devices if "float64" in device.refuses]
    return [(f"{library.name}, {device.name}", device.refuses["float64"]) for device in refused]


def _compiler_lines(found: list[Library]) -> list[tuple[str, str]]:
    lines: dict[tuple[str, str], list[str]] = {}
    for library in found:
        for compiler in library.compilers:
            detail = compiler.detail if compiler.found else f"not usable: {compiler.detail}"
            lines.setdefault((compiler.name, detail), []).append(library.name)
    return [(name, f"{detail} (for {', '.join(libraries)})") for (name, detail), libraries in lines.items()]
