"""Draw what depends on the step count, in the terminal or as a picture."""

from __future__ import annotations

import argparse
from pathlib import Path

from uniopt.cli.errors import CommandError, require

_DESCRIPTION = """\
Draw one schedule or several in the same axes: in the terminal, or with --out
as a picture. A schedule is written as in Python, with numbers, lists, dicts
and other schedules as its arguments; the documentation lists them.
"""
_EPILOG = """\
examples:
  uniopt plot schedule "warmup_cosine_decay_schedule(0, 1e-3, 100, 1000)"
  uniopt plot schedule --steps 300 "exponential_decay(0.1, 100, 0.5)" \\
      "exponential_decay(0.1, 100, 0.5, staircase=True)"
  uniopt plot schedule --out rate.png \\
      "join_schedules([linear_schedule(0, 1, 10), constant_schedule(1)], [10])"
"""
_MOST_STEPS = 10**9


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the options of ``uniopt plot``."""
    parser.description = "Draw what depends on the step count."
    kinds = parser.add_subparsers(dest="kind", metavar="KIND", title="what can be drawn")
    schedule = kinds.add_parser(
        "schedule",
        help="one schedule or several in the same axes",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=parser.formatter_class,
    )
    schedule.add_argument("schedules", metavar="SCHEDULE", nargs="+", help='such as "linear_schedule(0.1, 0.0, 100)"')
    schedule.add_argument(
        "--steps", metavar="N", type=int, help="draw the steps from 0 to N (default: as many as show what happens)"
    )
    schedule.add_argument("--out", metavar="FILE.png", type=Path, help="write a picture there, and draw nothing here")
    parser.set_defaults(print_help=parser.print_help)


def run(options: argparse.Namespace) -> int:
    """Draw the schedules and return the exit status."""
    if options.kind is None:
        options.print_help()
        return 2
    picture = options.out is not None
    require("matplotlib" if picture else "rich", extra="plot", command="uniopt plot")
    if options.steps is not None and not 1 <= options.steps <= _MOST_STEPS:
        raise CommandError(f"--steps is {options.steps}, expected a number from 1 to {_MOST_STEPS}")
    if picture and options.out.suffix.lower() != ".png":
        raise CommandError(f"--out is {str(options.out)!r}, expected the name of a file that ends with .png")

    from uniopt.cli.plot.curves import curves

    found = curves(options.schedules, options.steps)
    if not picture:
        from uniopt.cli.plot import terminal

        terminal.draw(found)
        return 0

    from uniopt.cli.plot.picture import draw

    try:
        draw(found, options.out)
    except OSError as error:
        raise CommandError(f"--out: {options.out} cannot be written: {error.strerror}") from error
    print(f"Wrote {options.out}")
    return 0
