"""The command ``uniopt conformance``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from uniopt.conformance.cells import Selection
    from uniopt.conformance.record import Record

DESCRIPTION = """\
Compare every optimizer, transformation, schedule and dialect, library by
library, with naive float64 loops, NumPy and the frameworks' own.
"""
EPILOG = """\
verdicts:
  PASS         within the tight bound of every oracle, and every property holds
  INEXACT      within the wide bound, outside a tight one
  FAIL         outside a wide bound, a property does not hold, or an error was raised
  UNSUPPORTED  the library has no such data type; declared, and seen to raise the error
  NOT RUN      the library is not installed, or finds no device or too few

exit codes:
  0  nothing that ran here failed
  1  a cell failed and is not waived; a waiver holds for no cell; a required
     cell is not planned; a record is not sound, or worse than another
  2  wrong usage, or no cell to run
  3  a backend or a peer that was asked for by name could not run

records:
  uniopt conformance verify RECORD       whether it is what a run has written
  uniopt conformance compare OLD NEW     what has changed from one to another
  uniopt conformance report RECORD       write its reports again, beside it

what a whole run must have:
  uniopt conformance required            write the list of it anew

the other libraries:
  uniopt conformance findings [NAME ...] show again what was found of them
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command to a parser."""
    parser.description, parser.epilog = DESCRIPTION, EPILOG
    parser.add_argument(
        "cells",
        nargs="*",
        metavar="CELL",
        help="cell names as --list prints them, or patterns such as 'adam/*/torch/*'; '*' is every cell there is",
    )
    named = {
        "backend": "a library, such as torch, or package.module:Backend",
        "device": "a device, such as cpu or cuda:1 (default: the library's first)",
        "dtype": "a data type (default: float64 and float32, and the others for what is made for them)",
        "mode": "eager, traced by the library's own compiler, compiled by uniopt, vmap, scan or sharded",
        "optimizer": "an optimizer, a transformation or a schedule, such as adamw or clip; a dialect's constructor, "
        "such as torch.AdamW; or one of your own, as package.module:factory, torch:package.module.Class or "
        "optax:package.module.factory",
        "against": "an oracle: reference, numpy, optax, torch, mlx or keras",
    }
    for name, text in named.items():
        parser.add_argument(f"--{name}", action="append", default=[], metavar="NAME", help=f"{text}; repeatable")
    parser.add_argument(
        "--reference", default="", metavar="NAME", help="what an optimizer of your own should be, such as adam"
    )
    parser.add_argument(
        "--map",
        default="",
        metavar="THEIRS=OURS,...",
        help="which of its parameters is which of the reference's, such as lr=learning_rate,betas=b1:b2",
    )
    parser.add_argument(
        "--waivers", type=Path, metavar="FILE", help="cells that may FAIL or be INEXACT, each with a reason, in TOML"
    )
    parser.add_argument("--list", action="store_true", help="print the names of the cells, and run none")
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER", help="write record.json, report.html, report.md and junit.xml there"
    )
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="processes to run in (default: 1)")
    parser.add_argument("--shard", type=_shard, metavar="K/N", help="part K of N of the cases, K from 1 to N")
    parser.add_argument("--quick", action="store_true", help="one brief problem instead of all")


def run(args: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    from uniopt.conformance import actions, jobs, peers, suite, waivers
    from uniopt.conformance.cells import Selection
    from uniopt.conformance.progress import Progress
    from uniopt.conformance.third_party import Guests, ThirdPartyError

    if args.cells[:1] and args.cells[0] in actions.ACTIONS:
        return actions.run(args.cells[0], args.cells[1:])
    peers.prepare()
    guests = Guests(args.optimizer, args.backend, args.reference, args.map)
    try:
        named, cases = guests.register(), guests.cases()
        given = waivers.load(args.waivers) if args.waivers else []
    except (ThirdPartyError, waivers.WaiverError) as error:
        print(f"uniopt conformance: {error}", file=sys.stderr)
        return 2
    selection = Selection(
        args.cells,
        named,
        args.device,
        args.dtype,
        args.mode,
        args.optimizer,
        args.against,
        args.quick,
        [args.shard] if args.shard else [],
    )
    if wrong := _unknown(selection):
        print(f"uniopt conformance: {wrong}", file=sys.stderr)
        return 2
    cells, _ = suite.planned(selection, cases)
    if not cells:
        print(
            "uniopt conformance: no cell matches, so nothing was tested. `uniopt conformance --list` names the cells.",
            file=sys.stderr,
        )
        return 2
    if args.list:
        print("\n".join(cell.name for cell in cells))
        return 0
    with Progress(len(cells)) as progress:
        if args.jobs > 1:
            record = jobs.run(
                selection, guests, args.jobs, lambda cell: progress.saw(cell["verdict"], cell["name"]), given
            )
        else:
            record = suite.run(selection, cases, lambda r: progress.saw(r.verdict.value, r.cell.name), given)
    _show(record)
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        record.save(args.out / "record.json")
        print(f"Written: {args.out / 'record.json'}, {', '.join(map(str, actions.write_reports(record, args.out)))}")
    return record.exit_code()


def _shard(text: str) -> tuple[int, int]:
    """Return the part that ``K/N`` names, counted from 0."""
    k, slash, n = text.partition("/")
    if not (slash and k.isdecimal() and n.isdecimal() and 1 <= int(k) <= int(n)):
        raise argparse.ArgumentTypeError(f"found {text!r}, expected K/N with K from 1 to N, such as 3/16")
    return int(k) - 1, int(n)


def _unknown(selection: Selection) -> str:
    """Return which name is not known, and which are."""
    from uniopt.conformance.cases import registered
    from uniopt.conformance.cells import DTYPES, MODES, ORACLES

    from uniopt import backends

    choices = (
        ("backend", selection.backends, backends.names()),
        ("optimizer", [name for name in selection.optimizers if ":" not in name], list(registered())),
        ("dtype", selection.dtypes, DTYPES),
        ("mode", selection.modes, MODES),
        ("oracle", selection.against, ORACLES),
    )
    for what, asked, known in choices:
        if unknown := [name for name in asked if name not in known]:
            return f"no {what} is called {unknown[0]!r}. Known: {', '.join(known)}."
    return ""


def _show(record: Record) -> None:
    """Print the report: in colour where rich is installed and the output is a terminal, else plain."""
    from uniopt.conformance import report

    try:
        from rich.console import Console
        from rich.table import Table
    except ImportError:
        print(report.text(record))
        return
    if not sys.stdout.isatty():
        print(report.text(record))
        return
    console = Console(highlight=False)
    head, rows = report.matrix(record)
    table = Table(*head)
    for row in rows:
        table.add_row(*(_coloured(entry) for entry in row))
    for line in report.problems(record):
        console.print(line, markup=False)
    console.print(table)
    console.print("\n".join([*report.notes(record), report.summary(record)]), markup=False)


def _coloured(entry: str) -> str:
    colours = {"PASS": "green", "INEXACT": "yellow", "FAIL": "red", "UNSUPPORTED": "cyan", "NOT": "magenta"}
    colour = colours.get(entry.split(" ", maxsplit=1)[0])
    return f"[{colour}]{entry}[/]" if colour else entry
