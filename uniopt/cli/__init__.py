"""The command ``uniopt``: a demonstration, a look at this machine, proofs, times, checkpoints, drawings."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from uniopt.cli.errors import CommandError

# What each command needs is imported when it is asked for, so that `uniopt --help` is there at once.
_COMMANDS = {
    "demo": ("uniopt.cli.demo", "train one network with one optimizer on every library here, and compare the runs"),
    "doctor": (
        "uniopt.cli.doctor",
        "list the array libraries: versions, devices, dtypes, compilers, what is wrong",
    ),
    "bench": ("uniopt.cli.bench", "compare the times of steps with those of the frameworks' own optimizers"),
    "inspect": ("uniopt.cli.inspect", "show what a checkpoint holds: slots, shapes, dtypes, hyperparameters"),
    "convert": ("uniopt.cli.convert", "turn a checkpoint of torch into one that uniopt.load reads"),
    "plot": ("uniopt.cli.plot", "draw schedules in the terminal or as a picture"),
    "compare": ("uniopt.cli.compare", "say by how much two optimizers differ, and how to call one like the other"),
    "conformance": ("uniopt.conformance.cli", "prove that the optimizers walk the same path on every library"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status: 0, 1 where something failed, 2 where it was misused.

    As of a program that a signal ends, it is 130 after an interrupt, and 141 if the reader of the output has gone.
    """
    try:
        try:
            return _run(sys.argv[1:] if arguments is None else list(arguments))
        finally:
            sys.stdout.flush()  # here, where the error can be caught; the interpreter would do it when it ends
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what is left in the buffer
        return 141


def _run(given: list[str]) -> int:
    parser = _parser(next((word for word in given if not word.startswith("-")), None))
    options = parser.parse_args(given)
    if options.command is None:
        parser.print_help()
        return 2
    try:
        status: int = options.run(options)
    except CommandError as error:
        print(f"uniopt {options.command}: error: {error}", file=sys.stderr)
        return error.status
    except KeyboardInterrupt:
        print(f"uniopt {options.command}: interrupted", file=sys.stderr)
        return 130
    return status


def _parser(wanted: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="uniopt",
        description="Optimizers written once against the Python Array API standard,\n"
        "for NumPy, CuPy, JAX, PyTorch, MLX and Dask arrays.",
        epilog="'uniopt COMMAND --help' tells more about a command.",
        formatter_class=_Format,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    for name, (module_name, summary) in _COMMANDS.items():
        command = commands.add_parser(name, help=summary, formatter_class=_Format)
        if name == wanted:
            module = import_module(module_name)
            module.add_arguments(command)
            command.set_defaults(run=module.run)
    return parser


class _Format(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=28)


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from uniopt import __version__

        print(f"uniopt {__version__}")
        parser.exit()
