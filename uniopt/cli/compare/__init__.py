"""Compare two optimizers, each written as a framework's own call, and make the second one equal the first."""

from __future__ import annotations

import argparse

from uniopt.cli.errors import CommandError

_DESCRIPTION = """\
Run two optimizers from the same parameters with the same gradients, and say
by how much and from which step they differ, which of their switches differ,
and how the second is to be called so that it equals the first, or why no call
does. An optimizer is written as in its framework, without the parameters; all
of them run on uniopt's own rules, so no framework has to be installed.
"""
_EPILOG = """\
optimizers:
  torch.NAME, mlx.NAME, keras.NAME, optax.NAME   of that framework
  uniopt.NAME or NAME                            uniopt's own
  Arguments are Python literals and schedules of uniopt or optax.

examples:
  uniopt compare "torch.RMSprop(lr=1e-2)" "optax.rmsprop(1e-2)"
  uniopt compare "torch.Adam(lr=1e-3)" "mlx.Adam(learning_rate=1e-3)"
  uniopt compare --backend jax --dtype float32 "keras.SGD(0.1, momentum=0.9)" \\
      "torch.SGD(lr=0.1, momentum=0.9)"

Distances are in units of one ulp of the leaf's largest value or distance
moved, and as a share of the distance moved.

exit codes:
  0  the two take the same steps, but for rounding
  1  they differ, or one of them cannot run
  2  wrong usage
  3  the library that was asked for cannot run
"""
_DTYPES = ("float64", "float32")
_MOST_STEPS = 10_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the options of ``uniopt compare``."""
    parser.description, parser.epilog = _DESCRIPTION, _EPILOG
    parser.add_argument("first", metavar="FIRST", help='such as "torch.RMSprop(lr=1e-2)"')
    parser.add_argument("second", metavar="SECOND", help='such as "optax.rmsprop(1e-2)"')
    parser.add_argument("--backend", metavar="NAME", default="numpy", help="the library to run on (default: numpy)")
    parser.add_argument("--dtype", default="float64", help="float64 (default) or float32")
    parser.add_argument("--steps", metavar="N", type=int, default=50, help="steps on each problem (default: 50)")


def run(options: argparse.Namespace) -> int:
    """Compare the two and return the exit status."""
    from uniopt import backends
    from uniopt.cli.compare import report
    from uniopt.cli.compare.calls import read
    from uniopt.cli.compare.comparison import compare
    from uniopt.cli.present import unavailable
    from uniopt.errors import UnioptError

    library = options.backend.replace("-", "_")
    if library not in backends.names():
        raise CommandError(f"no backend is called {options.backend!r}. Known: {', '.join(backends.names())}")
    if options.dtype not in _DTYPES:
        raise CommandError(f"--dtype is {options.dtype!r}, expected one of {', '.join(_DTYPES)}")
    if not 3 <= options.steps <= _MOST_STEPS:
        raise CommandError(f"--steps is {options.steps}, expected a number from 3 to {_MOST_STEPS}")
    first, second = read(options.first), read(options.second)
    if reason := unavailable(library):
        raise CommandError(reason, status=3)
    try:
        found = compare(first, second, library, options.dtype, options.steps)
    except UnioptError as error:  # of a step
        raise CommandError(str(error), status=1) from error
    print(report.text(found))
    return 0 if found.both.confirmed else 1
