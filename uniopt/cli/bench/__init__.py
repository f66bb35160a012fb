"""The command ``uniopt bench``: how long uniopt's steps take in comparison with the frameworks' own."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from uniopt.cli.errors import CommandError

if TYPE_CHECKING:
    from uniopt.cli.bench.selection import Selection

_DESCRIPTION = """\
Compare the times of uniopt's steps with those of the frameworks' optimizers,
of formulas written by hand, and of a plain copy of memory. Both sides run in
this process, with equally many threads, and take turns after they have been
warmed up and have arrived at the same numbers.
"""
_EPILOG = """\
verdicts:
  MET         the median ratio is at most the target
  MISSED      it is more
  NOT JUDGED  measured in too few rounds, or with more threads than were allowed
  DIFFERS     the two sides do not compute the same, so no time was taken
  FAILED      a side raised an error
  NOT RUN     what the row needs is not here

exit codes:
  0  every row that ran met its target, or was not judged
  1  a row missed its target, failed, or the results differ
  2  wrong usage, or no row ran
  3  a backend that was asked for by name cannot run

The whole table takes hours. These are good beginnings:
  uniopt bench --quick
  uniopt bench --backend numpy --optimizer adamw
  uniopt bench --size gpt2 --against torch-fused --out bench
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the options of ``uniopt bench``."""
    parser.description, parser.epilog = _DESCRIPTION, _EPILOG
    named = {
        "backend": "a library: numpy, torch, jax or cupy",
        "optimizer": "such as adamw, clipped_adamw, or torch.AdamW in torch's dialect",
        "size": "leaves: 10, 10x1e3, 200x1e4, 2e7 or gpt2",
        "against": "what uniopt is compared with, such as torch-fused",
    }
    for name, text in named.items():
        parser.add_argument(f"--{name}", action="append", default=[], metavar="NAME", help=f"{text}; repeatable")
    parser.add_argument(
        "--device", choices=("cpu", "cuda"), default="cpu", help="where both sides compute (default: cpu)"
    )
    parser.add_argument("--quick", action="store_true", help="a few rounds on small leaves; nothing is judged")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="threads for every side (default: 1)")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="write record.json and report.md there")


def run(options: argparse.Namespace) -> int:
    """Run the benchmark and return the exit status."""
    if options.threads < 1:
        raise CommandError(f"--threads is {options.threads}, expected 1 or more")
    from uniopt.cli.bench import report, runner, threads
    from uniopt.cli.bench.record import Record
    from uniopt.cli.bench.selection import Selection
    from uniopt.cli.bench.settings import Settings
    from uniopt.cli.present import unavailable

    selection = Selection(
        options.backend, options.optimizer, options.size, options.against, options.quick, options.device
    )
    _refuse_unknown(selection)
    rows = selection.rows()
    if not rows:
        raise CommandError("no row of the table is of all the names that were given; docs/benchmark.md has the table")
    settings = Settings(options.threads, options.quick)
    if options.out:
        try:
            options.out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CommandError(f"--out: {options.out} cannot be made: {error.strerror}") from error
    threads.prescribe(options.threads)
    absent = {name: reason for name in options.backend if (reason := unavailable(name))}
    record = Record.start(rows, settings, runner.limit_threads(rows, options.threads), absent)
    print(report.opening(record), flush=True)
    for row, outcome in runner.run(rows, settings):
        record.add(row, outcome)
        print(report.line(record.rows[-1]), flush=True)
        if options.out:  # after each row, since a run takes long and may be interrupted
            record.save(options.out / "record.json")
            (options.out / "report.md").write_text(report.markdown(record), encoding="utf-8")
    print(report.closing(record))
    return record.exit_code()


def _refuse_unknown(selection: Selection) -> None:
    from uniopt.cli.bench import targets
    from uniopt.cli.bench.sizes import SIZES

    for what, asked, known in (
        ("backend", selection.backends, sorted({row.backend for row in targets.table()})),
        ("optimizer", selection.optimizers, sorted({row.optimizer for row in targets.table()})),
        ("size", selection.sizes, list(SIZES)),
        ("other side", selection.against, list(targets.AGAINST)),
    ):
        if unknown := [name for name in asked if name not in known]:
            raise CommandError(f"no {what} is called {unknown[0]!r}. Known: {', '.join(known)}")
