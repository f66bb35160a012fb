"""The results as tables on the terminal, and as a record with provenance."""

from __future__ import annotations

import json
import math
import platform
import sys
from datetime import UTC, datetime
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from uniopt import __version__
from uniopt.cli.demo.comparison import Difference
from uniopt.cli.demo.data import BATCH, TRAINING
from uniopt.cli.demo.experiment import REFERENCE, Outcome
from uniopt.cli.demo.settings import Settings
from uniopt.cli.demo.training import GRADIENT_LIMIT

_EPOCHS_SHOWN = 20
_SCHEMA = 1


def headline(settings: Settings) -> str:
    """Return what was run, in one line."""
    hyper = ", ".join(f"{key}={value!r}" for key, value in settings.hyperparameters.items())
    epochs = "1 epoch" if settings.epochs == 1 else f"{settings.epochs} epochs"
    return f"uniopt.{settings.optimizer}({hyper}), {settings.dtype}, {epochs}, seed {settings.seed}"


def show(console: Console, outcomes: list[Outcome], settings: Settings) -> None:
    """Print the table of results, the differences by epoch, the gradients' comparison, and what did not run."""
    console.print(headline(settings), style="bold", highlight=False, markup=False)
    console.print(_results(outcomes))
    modes = [f"{run.library} {run.execution}" for outcome in outcomes if (run := outcome.run)]
    console.print(f"Steps: {', '.join(modes)}. The time includes compilation and transfers.\n", style="dim")
    compared = [outcome for outcome in outcomes if outcome.differences and outcome.library != REFERENCE]
    if compared:
        console.print("Largest difference from NumPy after each epoch: in ulp, and absolute", style="bold")
        console.print(_by_epoch(compared, console.width))
        console.print(
            f"1 ulp is the spacing of {settings.dtype} numbers at the leaf's largest value or distance moved.\n",
            style="dim",
        )
    for outcome in outcomes:
        if outcome.run and outcome.run.gradient_check:
            check = outcome.run.gradient_check
            _say(
                console,
                f"{outcome.library}: autodiff and the gradient derived by hand differ by at most {_number(check.ulp)} "
                f"ulp ({check.absolute:.1e}) on the first batch",
            )
    for outcome in outcomes:
        if outcome.not_run:
            _say(console, f"{outcome.library}: not run: {outcome.not_run}", style="yellow")
        if outcome.failed:
            _say(console, f"{outcome.library}: FAILED: {outcome.failed}", style="bold red")


def record(outcomes: list[Outcome], settings: Settings, command: list[str]) -> str:
    """Return everything as JSON: settings, provenance, every library's numbers; null is NaN or infinity."""
    content = {
        "schema": _SCHEMA,
        "provenance": {
            "uniopt": __version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
            "platform": platform.platform(),
            "machine": platform.machine(),
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "command": command,
        },
        "settings": {
            "optimizer": settings.optimizer,
            "hyperparameters": {key: _plain(value) for key, value in settings.hyperparameters.items()},
            "transformation": repr(settings.transformation()),
            "backends": list(settings.backends) or "all present",
            "device": settings.device,
            "dtype": settings.dtype,
            "epochs": settings.epochs,
            "batch": BATCH,
            "training_images": TRAINING,
            "seed": settings.seed,
            "reference": REFERENCE,
            "gradient_limit_ulp": GRADIENT_LIMIT,
        },
        "libraries": [_library(outcome) for outcome in outcomes],
    }
    return json.dumps(_finite(content), indent=2, allow_nan=False) + "\n"


def python_and_platform() -> str:
    """Return what the numbers were made with, in one line."""
    return f"uniopt {__version__}, Python {platform.python_version()}, {sys.platform} {platform.machine()}"


def _results(outcomes: list[Outcome]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for name in ("library", "device", "gradient"):
        table.add_column(name)
    for name in ("final\nloss", "test\nacc.", "wall\ntime", "ulp from\nNumPy", "\nabsolute"):
        table.add_column(name, justify="right", no_wrap=True)
    for outcome in outcomes:
        if (run := outcome.run) is None:
            continue
        ulp, absolute = ("-", "-") if outcome.library == REFERENCE else _cells(_worst(outcome.differences))
        table.add_row(
            outcome.library,
            run.device,
            run.gradient,
            f"{run.final_loss:.5f}",
            f"{run.test_accuracy:.1%}",
            f"{run.seconds:.1f} s",
            ulp,
            absolute,
            style="red" if outcome.failed else None,
        )
    return table


def _by_epoch(compared: list[Outcome], width: int) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("epoch", justify="right")
    for outcome in compared:
        table.add_column(outcome.library, justify="right")
    between = "\n" if width < 10 + 18 * len(compared) else " "
    epochs = len(compared[0].differences)
    every = math.ceil(epochs / _EPOCHS_SHOWN)
    for epoch in range(every, epochs + 1, every):
        cells = [_cells(outcome.differences[epoch - 1]) for outcome in compared]
        table.add_row(str(epoch), *(f"{ulp}{between}{absolute:>7}" for ulp, absolute in cells))
    return table


def _worst(differences: list[Difference]) -> Difference | None:
    if not differences:
        return None
    columns = np.asarray(differences)
    return Difference(float(columns[:, 0].max()), float(columns[:, 1].max()))  # NaN where there is one


def _cells(found: Difference | None) -> tuple[str, str]:
    if found is None:
        return "no reference", ""
    return _number(found.ulp), f"{found.absolute:.1e}" if found.absolute else "0"


def _number(ulp: float) -> str:
    if ulp == 0 or not math.isfinite(ulp):
        return "0" if ulp == 0 else str(ulp)
    return f"{ulp:.1f}" if 0.1 <= ulp < 1000 else f"{ulp:.2g}"


def _library(outcome: Outcome) -> dict[str, Any]:
    status = "failed" if outcome.failed else "not run" if outcome.not_run else "trained"
    content: dict[str, Any] = {"library": outcome.library, "status": status}
    if outcome.not_run or outcome.failed:
        content["reason"] = outcome.not_run or outcome.failed
    if outcome.traceback:
        content["traceback"] = outcome.traceback
    if (run := outcome.run) is not None:
        content |= {
            "version": run.version,
            "device": run.device,
            "gradient": run.gradient,
            "execution": run.execution,
            "gradient_check": run.gradient_check and run.gradient_check._asdict(),
            "final_loss": run.final_loss,
            "test_accuracy": run.test_accuracy,
            "seconds": run.seconds,
            "difference_from_numpy": {
                "ulp": [d.ulp for d in outcome.differences],
                "absolute": [d.absolute for d in outcome.differences],
            },
            "step_losses": run.step_losses,
        }
    return content


def _plain(value: Any) -> Any:
    return value if isinstance(value, int | float | str | None) else repr(value)


def _finite(content: Any) -> Any:
    if isinstance(content, dict):
        return {key: _finite(value) for key, value in content.items()}
    if isinstance(content, list):
        return [_finite(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


def _say(console: Console, text: str, style: str | None = None) -> None:
    console.print(text, style=style, highlight=False, markup=False, soft_wrap=True)
