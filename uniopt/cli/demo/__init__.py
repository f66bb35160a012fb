"""Train the same small network with the same optimizer on every array library here, and compare the runs."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from uniopt.cli.errors import CommandError, require

_DESCRIPTION = """\
Train one network with one optimizer on every array library that is installed:
two layers, the 1,797 handwritten digits of scikit-learn, the same initial
weights and the same mini-batches. The parameters are compared with NumPy's
after each epoch. Gradients come from the library's own autodiff where it has
one (JAX, PyTorch, MLX), else from a backward pass derived by hand; where there
are both, they are compared as well.
"""
_EPILOG = """\
examples:
  uniopt demo
  uniopt demo --optimizer sgd --set learning_rate=0.3 --set momentum=0.9
  uniopt demo --set 'learning_rate=linear_schedule(0.02, 0.0, 110)'
  uniopt demo --backend torch --backend jax --dtype float64 --epochs 5

The folder given by --out gets results.json (every number, with versions and
settings) and curves.png. The exit status is 1 if a library failed, or one that
was asked for by name could not run.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the options of ``uniopt demo``."""
    parser.description = _DESCRIPTION
    parser.epilog = _EPILOG
    parser.add_argument("--optimizer", metavar="NAME", default="adamw", help="a uniopt optimizer (default: adamw)")
    parser.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        dest="assignments",
        help="a hyperparameter: a Python literal, or a schedule of literals; may be repeated",
    )
    parser.add_argument(
        "--backend",
        metavar="NAME",
        action="append",
        default=[],
        dest="backends",
        help="only this library, which then has to run; may be repeated (NumPy always runs, as the reference)",
    )
    parser.add_argument("--device", metavar="NAME", help="such as cpu, gpu, cuda:1 (default: each library's own)")
    parser.add_argument("--dtype", default="float32", help="float32 (default), float64, float16 or bfloat16")
    parser.add_argument(
        "--epochs", metavar="N", type=int, default=10, help="passes over the training images (default: 10)"
    )
    parser.add_argument("--seed", metavar="N", type=int, default=0, help="of the weights and mini-batches (default: 0)")
    parser.add_argument(
        "--out",
        metavar="FOLDER",
        type=Path,
        default=Path("uniopt-demo"),
        help="for the results (default: ./uniopt-demo)",
    )


def run(options: argparse.Namespace) -> int:
    """Run the demonstration and return the exit status."""
    require("rich", "sklearn", "matplotlib", extra="demo", command="uniopt demo")
    from rich.console import Console

    from uniopt import backends
    from uniopt.cli.demo.settings import DTYPES, Settings, read_optimizer

    names = tuple(dict.fromkeys(name.replace("-", "_") for name in options.backends))
    for name in names:
        if name not in backends.names():
            raise CommandError(f"no backend is called {name!r}. Known: {', '.join(backends.names())}")
    if options.dtype not in DTYPES:
        raise CommandError(f"no dtype is called {options.dtype!r}. Known: {', '.join(DTYPES)}")
    for flag, value, least in (("--epochs", options.epochs, 1), ("--seed", options.seed, 0)):
        if value < least:
            raise CommandError(f"{flag} is {value}, expected {least} or more")
    settings = Settings(
        optimizer=options.optimizer,
        hyperparameters=read_optimizer(options.optimizer, options.assignments),
        backends=names,
        device=options.device,
        dtype=options.dtype,
        epochs=options.epochs,
        seed=options.seed,
        out=options.out,
    )
    try:
        settings.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CommandError(f"--out: {settings.out} cannot be made: {error.strerror}") from error

    from uniopt.cli.demo import experiment, plot, progress, report
    from uniopt.cli.demo.data import load_digits

    console = Console()
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console = Console(width=120)  # a file or a pipe has no width of its own
    with console.status("Loading the libraries"):
        candidates = experiment.choose(settings)
    with progress.shown_on(console, settings.epochs) as shown:
        outcomes = experiment.conduct(candidates, settings, load_digits(), shown)
    console.print()
    report.show(console, outcomes, settings)

    (settings.out / "results.json").write_text(report.record(outcomes, settings, ["uniopt", *sys.argv[1:]]))
    plot.draw(outcomes, settings, settings.out / "curves.png")
    console.print(f"\nWrote results.json and curves.png to {settings.out.resolve()}", highlight=False, soft_wrap=True)
    complaints = experiment.complaints(outcomes, settings)
    for complaint in complaints:
        print(f"uniopt demo: {complaint}", file=sys.stderr)
    return 1 if complaints else 0
