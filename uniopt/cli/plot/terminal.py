"""Curves in the terminal: dots of Braille in colours, or letters where there are no colours to tell curves apart."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from rich.console import Console
from rich.text import Text

from uniopt.cli.plot.curves import Curve

_ROWS = 17
_MARGIN = 11  # the numbers on the left
_COLORS = ("cyan", "yellow", "magenta", "green", "red", "blue")
_DOTS = np.asarray([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]])  # the bits of a cell, 4 rows of 2 dots
_BRAILLE = 0x2800


def draw(curves: list[Curve]) -> None:
    """Print the curves in one pair of axes, with what each is above them."""
    console = Console(highlight=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console = Console(highlight=False, width=100)  # a file or a pipe has no width of its own
    columns = max(10, min(console.width, 120) - _MARGIN - 2)
    in_unicode = console.encoding.startswith("utf")
    in_color = console.color_system is not None and not console.no_color
    marks = [
        None if in_unicode and (in_color or len(curves) == 1) else chr(ord("a") + i % 26) for i in range(len(curves))
    ]
    styles = [_COLORS[i % len(_COLORS)] for i in range(len(curves))]
    side, corner, floor = "│└─" if in_unicode else "|+-"

    for curve, mark, style in zip(curves, marks, styles, strict=True):
        console.print(Text(f"{mark or '━━'}  ", style).append(curve.text, "default"), soft_wrap=True)
    low, high = _bounds(curves)
    cells = [_cells(curve, columns, low, high) for curve in curves]
    labels = {0: high, _ROWS // 2: (low + high) / 2, _ROWS - 1: low}
    for row in range(_ROWS):
        line = Text(f"{labels[row]:.4g}".rjust(_MARGIN) if row in labels else " " * _MARGIN).append(f" {side}")
        for column in range(columns):
            there = [i for i, found in enumerate(cells) if found[row, column]]
            line.append(*_cell(there, [found[row, column] for found in cells], marks, styles))
        console.print(line, soft_wrap=True)
    last = int(curves[0].steps[-1])
    console.print(" " * _MARGIN + f" {corner}{floor * columns}", soft_wrap=True)
    middle = str(last // 2).center(columns - 1 - len(str(last)))
    console.print(" " * (_MARGIN + 2) + f"0{middle}{last}".rstrip(), soft_wrap=True)


def _bounds(curves: list[Curve]) -> tuple[float, float]:
    low = min(float(curve.values.min()) for curve in curves)
    high = max(float(curve.values.max()) for curve in curves)
    if high > low:
        return low, high
    width = abs(high) or 1.0  # nothing changes: a line in the middle
    return low - width, high + width


def _cells(curve: Curve, columns: int, low: float, high: float) -> Any:
    """Return for each cell the bits of the dots that a curve sets there."""
    width, height = 2 * columns, 4 * _ROWS
    x = np.linspace(0, curve.steps[-1], 64 * width)
    across = np.minimum((np.arange(len(x)) / 64).astype(int), width - 1)
    up = np.round((np.interp(x, curve.steps, curve.values) - low) / (high - low) * (height - 1)).astype(int)
    lowest, highest = np.full(width, height), np.full(width, -1)
    np.minimum.at(lowest, across, up)
    np.maximum.at(highest, across, up)
    cells = np.zeros((_ROWS, columns), int)
    for i in range(width):
        # A jump is drawn as a line from where the curve was.
        bottom = min(lowest[i], highest[i - 1] + 1) if i and lowest[i] > highest[i - 1] else lowest[i]
        top = max(highest[i], lowest[i - 1] - 1) if i and highest[i] < lowest[i - 1] else highest[i]
        for y in range(bottom, top + 1):
            row = height - 1 - y
            cells[row // 4, i // 2] |= _DOTS[row % 4, i % 2]
    return cells


def _cell(there: list[int], bits: list[int], marks: list[str | None], styles: list[str]) -> tuple[str, str]:
    """Return the character and the style of a cell that some of the curves meet; the first one is in front."""
    if not there:
        return " ", ""
    mark = marks[there[0]]
    return (chr(_BRAILLE | int(np.bitwise_or.reduce([bits[i] for i in there]))) if mark is None else mark), styles[
        there[0]
    ]
