"""Show what a checkpoint holds, from its header alone."""

from __future__ import annotations

import argparse
import ast
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from uniopt.checkpoints.header import Header, StoredArray, read_header
from uniopt.cli.errors import CommandError, require
from uniopt.errors import CheckpointError

if TYPE_CHECKING:
    from rich.table import Table

_DESCRIPTION = """\
Show what is in a file that uniopt.save or 'uniopt convert' wrote: the slots of
the state with their shapes, dtypes and bytes, the leaves that are no arrays,
the transformation with its hyperparameters, and what wrote it. The values are
not read, so a large file takes no longer than a small one.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the options of ``uniopt inspect``."""
    parser.description = _DESCRIPTION
    parser.add_argument("file", metavar="FILE", help="the checkpoint")


def run(options: argparse.Namespace) -> int:
    """Print the tables of one file."""
    require("rich", extra="cli", command="uniopt inspect")
    try:
        with open(options.file, "rb") as file:
            header, arrays = read_header(file, options.file)
            size = os.fstat(file.fileno()).st_size
    except (CheckpointError, OSError) as error:
        raise CommandError(str(error), status=1) from error
    _show(options.file, size, header, arrays)
    return 0


def _show(path: str, size: int, header: Header, arrays: dict[str, StoredArray]) -> None:
    from rich.console import Console
    from rich.markup import escape

    console = Console(highlight=False)
    libraries = ", ".join(header.libraries) or "no library"
    console.print(
        f"{escape(path)}: {size:,} bytes, version {header.version}, written by uniopt {header.uniopt} "
        f"from arrays of {libraries}\n",
        soft_wrap=True,
    )
    console.print(_slots(header, arrays))
    if header.values:
        console.print("Leaves that are no arrays", style="bold")
        console.print(_grid((path, repr(value)) for path, value in header.values.items()))
    if header.transformation is not None:
        console.print("Transformation", style="bold")
        console.print(_grid(_stages(header.transformation)))


def _slots(header: Header, arrays: dict[str, StoredArray]) -> Table:
    """Return the table of `uniopt.summary`, without devices."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    from uniopt.summary import LeafSummary, Summary

    summary = Summary(
        tuple(
            LeafSummary(path, header.slot_of(path), x.shape, x.dtype, x.tensor.end - x.tensor.start, device="")
            for path, x in arrays.items()
        )
    )
    headings, *rows, total = (row[:-1] for row in summary.rows())
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for heading in headings:
        table.add_column(heading, justify="right" if heading in ("arrays", "bytes") else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(escape, row))
    table.add_section()
    table.add_row(*total)
    return table


def _grid(lines: Iterator[tuple[str, str]]) -> Table:
    from rich.markup import escape
    from rich.table import Table

    grid = Table.grid(padding=(0, 2))
    grid.add_column(overflow="fold")
    grid.add_column(overflow="fold")
    for name, text in lines:
        grid.add_row(f"  {escape(name)}", escape(text))
    grid.add_row()
    return grid


def _stages(text: str) -> Iterator[tuple[str, str]]:
    """Yield the name and the hyperparameters of each part of a transformation, those within another one indented."""
    try:
        yield from _calls(ast.parse(text, mode="eval").body, "")
    except SyntaxError:  # a function among them prints as no expression
        yield text, ""


def _calls(node: ast.expr, indent: str) -> Iterator[tuple[str, str]]:
    match node:
        case ast.Call(func=ast.Name(id="chain"), args=parts):
            for part in parts:
                yield from _calls(part, indent)
        case ast.Call(func=function, args=args, keywords=keywords):
            within = [x for x in args if isinstance(x, ast.Call | ast.Dict)]
            plain = [x for x in args if x not in within]
            yield indent + ast.unparse(function), ", ".join(map(ast.unparse, (*plain, *keywords)))
            for part in within:
                yield from _calls(part, indent + "  ")
        case ast.Dict(keys=keys, values=parts):
            for key, part in zip(keys, parts, strict=True):
                yield f"{indent}{'**' if key is None else ast.unparse(key)}:", ""
                yield from _calls(part, indent + "  ")
        case _:
            yield indent + ast.unparse(node), ""
